//! Whatever stands in a body: random bytes, bodies that are almost right, keys that nobody knows, too much of it. The
//! answer is a refusal in the form of all refusals, never a failure, and the broker does not grow.
//!
//! `TESTS_FUZZ_SECONDS` says for how long (`make test`: ten seconds), `TESTS_SEED` repeats a run.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::staff::{LAB, Staff};
use super::*;

/// A body for every route that reads one, as it could be meant. A route that is not here is sent `{}`.
fn meant(line: &str) -> Value {
    match line {
        "POST /api/v1/login" => json!({ "name": "root", "password": "correct horse", "code": "123456" }),
        "POST /api/v1/invitation" => json!({ "secret": "s" }),
        "POST /api/v1/invitation/accept" => {
            json!({ "secret": "s", "name": "eve", "password": "correct horse battery", "code": "1" })
        }
        "POST /api/v1/me/password" => json!({ "old": "wrong", "new": "correct horse battery" }),
        "POST /api/v1/me/totp" | "POST /api/v1/me/oidc" => json!({ "password": "wrong" }),
        "POST /api/v1/me/totp/confirm" => json!({ "code": "123456" }),
        "POST /api/v1/me/totp/off" | "POST /api/v1/me/totp/recovery-codes" => {
            json!({ "password": "wrong", "code": "123456" })
        }
        "POST /api/v1/tokens" => {
            json!({ "label": "ci", "scopes": ["shell"], "expires": "2020-01-01T00:00:00Z" })
        }
        "POST /api/v1/people" => json!({ "name": "eve", "roles": ["operator"], "groups": ["ops"] }),
        "PATCH /api/v1/people/{id}" => json!({ "roles": ["admin"], "groups": [], "disabled": true }),
        "POST /api/v1/grants" => {
            json!({ "who": "role:operator", "acts": ["shell"], "devices": "lab", "logins": "pi",
                    "until": "2030-01-01T00:00:00Z" })
        }
        "PATCH /api/v1/devices/{id}" => {
            json!({ "name": "bench", "accept_host_keys": true, "tags": ["lab"] })
        }
        "POST /api/v1/sessions" => {
            json!({ "device": LAB, "cols": 80, "rows": 24, "login": "pi", "command": "uname" })
        }
        "POST /api/v1/install-keys" => {
            json!({ "label": "lab", "mode": "pending", "uses_max": 3, "tags": ["lab"], "expires": "2030-01-01T00:00:00Z" })
        }
        "PUT /api/v1/devices/{id}/private-key" => {
            json!({ "private_key": "-----BEGIN", "passphrase": "x", "login_with": "key" })
        }
        "PUT /api/v1/log" => json!({ "filter": "info" }),
        _ => json!({}),
    }
}

/// Every route that reads a body, by the description of the API, as method, path and what could be meant.
fn targets() -> Vec<(String, String, Value)> {
    let document = serde_json::to_value(Api::openapi()).unwrap();
    let mut targets = Vec::new();
    for (pattern, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            if described["requestBody"].is_null() {
                continue;
            }
            let method = method.to_uppercase();
            let path =
                if pattern.contains("devices") { pattern.replace("{id}", LAB) } else { path_of(pattern) };
            let meant = meant(&format!("{method} {pattern}"));
            targets.push((method, path, meant));
        }
    }
    assert!(targets.len() >= 15, "{targets:?}");
    targets
}

/// A connection that is kept from one request to the next.
struct Line<'a> {
    broker: &'a Broker,
    stream: Option<TcpStream>,
}

impl Line<'_> {
    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncookie: moorline=cookie-of-root\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.broker.host(),
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes).await
    }

    async fn raw(&mut self, bytes: &[u8]) -> Answer {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.broker.app.address).await.unwrap(),
        };
        // One that answers before it has read everything may close.
        let _ = stream.write_all(bytes).await;
        let answer = Answer::parse(&until_closed(&mut stream).await);
        let ends = answer.status >= 400 || answer.headers.contains_key("connection");
        self.stream = (!ends && answer.status != 0).then_some(stream);
        answer
    }
}

/// A value that is of another kind, or too much of one.
fn odd(random: &mut StdRng) -> Value {
    match random.random_range(0..11) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1.5e300),
        5 => json!(""),
        6 => json!("\u{0}\u{1b}[2J\u{202e}\u{fffd}"),
        7 => json!("x".repeat(random.random_range(1..20_000))),
        8 => json!(vec![Value::Null; random.random_range(0..2000)]),
        9 => (0..random.random_range(1..300)).fold(json!(1), |inner, _| json!([inner])),
        _ => json!({ "a": { "b": [1, "2", null] } }),
    }
}

/// Something in it is not as it was.
fn bent(random: &mut StdRng, meant: &Value) -> Value {
    let mut bent = meant.clone();
    let Value::Object(fields) = &mut bent else { return odd(random) };
    let names: Vec<String> = fields.keys().cloned().collect();
    match random.random_range(0..5) {
        0 => drop(fields.insert("unknown".into(), odd(random))),
        1 if !names.is_empty() => drop(fields.remove(&names[random.random_range(0..names.len())])),
        2 => return odd(random),
        _ if !names.is_empty() => {
            let name = names[random.random_range(0..names.len())].clone();
            fields.insert(name, odd(random));
        }
        _ => {}
    }
    bent
}

/// Bytes of a text are lost, changed, doubled.
fn mutated(random: &mut StdRng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len().max(1));
        match random.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.random()),
            2 if at < bytes.len() => bytes[at] = random.random(),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            _ => bytes.extend_from_within(at.min(bytes.len())..),
        }
    }
    bytes
}

fn body(random: &mut StdRng, meant: &Value) -> Vec<u8> {
    match random.random_range(0..4) {
        0 => (0..random.random_range(0..400)).map(|_| random.random()).collect(),
        1 => bent(random, meant).to_string().into_bytes(),
        2 => {
            let bent = bent(random, meant).to_string().into_bytes();
            mutated(random, bent)
        }
        _ => mutated(random, meant.to_string().into_bytes()),
    }
}

/// Never a failure; and a refusal says itself in the form of all refusals.
fn is_well(path: &str, answer: &Answer) -> bool {
    let says = answer.json()["code"].as_str().is_some_and(|code| Code::named(code).is_some());
    // The log itself is not started in these tests.
    let unstarted = path == "/api/v1/log" && answer.status == 500;
    let served = (200..500).contains(&answer.status) || unstarted;
    served && (answer.status < 400 || says)
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

async fn staff() -> Staff {
    Staff::with(|config| {
        config.limits.people = 20;
        config.limits.grants = 20;
        // Every guess is looked at: what is asked here is not whether they are counted.
        config.login.failures = 1_000_000;
    })
    .await
}

#[actix_web::test]
async fn whatever_stands_in_a_body_is_refused_in_words_and_costs_nothing_that_stays() {
    let given = std::env::var("TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    let seconds = std::env::var("TESTS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    println!("repeat it with TESTS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (staff, targets) = (staff().await, targets());
    let mut line = Line { broker: &staff.broker, stream: None };
    let until = clock::now() + Duration::from_secs(seconds.unwrap_or(10));
    let (mut sent, mut before) = (0_u64, 0);
    while clock::now() < until {
        let (method, path, meant) = &targets[random.random_range(0..targets.len())];
        let body = body(&mut random, meant);
        let answer = line.send(method, path, &body).await;
        let shown = String::from_utf8_lossy(&body);
        let shown: String = shown.chars().take(400).collect();
        assert!(is_well(path, &answer), "seed {seed}: {method} {path} {shown:?} gave {answer:?}");
        sent += 1;
        if sent == 200 {
            before = resident_bytes();
        }
    }
    assert!(sent > 200, "only {sent} were sent");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 96 << 20, "seed {seed}: {grown} bytes more after {sent} bodies");
    assert_eq!(staff.asks("root", "GET", "/api/v1/me", json!({})).await.status, 200, "seed {seed}");
    assert_eq!(staff.broker.get("/livez").await.status, 200);
}

#[actix_web::test]
async fn no_query_makes_the_broker_fail() {
    let (staff, mut random) = (staff().await, StdRng::seed_from_u64(rand::random()));
    let mut line = Line { broker: &staff.broker, stream: None };
    for n in 0..300 {
        let bytes: Vec<u8> = (0..random.random_range(0..64)).map(|_| random.random()).collect();
        let query: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let path = ["/api/v1/audit", "/api/v1/sessions", "/api/v1/access"][n % 3];
        line.send("GET", &format!("{path}?{query}=1"), b"").await.refuses(Code::BAD_REQUEST);
    }
}

#[actix_web::test]
async fn a_key_that_nobody_knows_is_refused_wherever_a_body_is_read() {
    let staff = staff().await;
    for (method, path, mut meant) in targets() {
        meant["unknown"] = json!(1);
        let answer = staff.asks("root", &method, &path, meant.clone()).await;
        answer.refuses(Code::BAD_REQUEST);
        assert!(answer.text.contains("unknown"), "{method} {path}: {answer:?}");
        // Nested deeper than anything that is meant.
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let mut line = Line { broker: &staff.broker, stream: None };
        line.send(&method, &path, deep.as_bytes()).await.refuses(Code::BAD_REQUEST);
    }
}

#[actix_web::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let staff = staff().await;
    for (method, path, _) in targets() {
        let mut line = Line { broker: &staff.broker, stream: None };
        let large = vec![b' '; 70_000];
        line.send(&method, &path, &large).await.refuses(Code::TOO_LARGE);
        // In pieces, without saying how much there will be.
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncookie: moorline=cookie-of-root\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            staff.broker.host()
        )
        .into_bytes();
        for _ in 0..70 {
            bytes.extend_from_slice(b"400\r\n");
            bytes.extend_from_slice(&[b' '; 1024]);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Line { broker: &staff.broker, stream: None }.raw(&bytes).await.refuses(Code::TOO_LARGE);
    }
}
