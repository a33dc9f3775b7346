//! Mutated bodies and queries on every route that takes one: taken or refused, and never a failure of the broker.
//! `TESTS_FUZZ_SECONDS` goes on for longer, `TESTS_SEED` runs what was printed again.

use super::*;

/// Method, pattern and a good body of every route that has one, but for the log, which is not started in these tests.
const BODIES: &[(&str, &str, &str)] = &[
    ("POST", "/api/v1/login", r#"{"name":"anna","password":"correct horse"}"#),
    ("POST", "/api/v1/invitation", r#"{"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#),
    ("POST", "/api/v1/invitation/accept", r#"{"secret":"AAAA","name":"anna","password":"correct horse"}"#),
    ("POST", "/api/v1/logout", "{}"),
    ("POST", "/api/v1/me/password", r#"{"old":"correct horse","new":"battery staple"}"#),
    ("POST", "/api/v1/tokens", r#"{"label":"ci","scopes":["shell"],"expires":"2027-01-01T00:00:00Z"}"#),
    ("POST", "/api/v1/people", r#"{"name":"ben","roles":["operator"],"groups":["night"]}"#),
    ("PATCH", "/api/v1/people/{id}", r#"{"roles":["watcher"],"groups":[],"disabled":true}"#),
    ("POST", "/api/v1/people/{id}/invitations", "{}"),
    (
        "POST",
        "/api/v1/grants",
        r#"{"who":"group:night","acts":["shell"],"devices":"lab,!prod","logins":"pi"}"#,
    ),
    ("PATCH", "/api/v1/devices/{id}", r#"{"name":"lab 1","accept_host_keys":true,"tags":["lab"]}"#),
    (
        "PUT",
        "/api/v1/devices/{id}/private-key",
        r#"{"private_key":"-----BEGIN","passphrase":"x","login_with":"key"}"#,
    ),
    (
        "POST",
        "/api/v1/sessions",
        r#"{"device":"d-aaaaaaaaaaaaaaaa","login":"pi","cols":80,"rows":24,"command":"ls"}"#,
    ),
    ("POST", "/api/v1/devices/{id}/approve", "{}"),
    ("POST", "/api/v1/devices/{id}/revoke", "{}"),
    (
        "POST",
        "/api/v1/install-keys",
        r#"{"label":"lab","mode":"pending","uses_max":3,"tags":["lab"],"expires":"2027-01-01T00:00:00Z"}"#,
    ),
    ("POST", "/api/v1/sessions/{id}/tickets", "{}"),
];

/// What is put into a body: what JSON, text and numbers have at their ends.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "0.1",
    "\\u0000",
    "\\ud800",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{0}",
    "\"x\":1,",
    "\"name\":",
];

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % end.max(1)
    }
}

fn mutated(random: &mut Random, body: &str) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            3 if !bytes.is_empty() => drop(bytes.drain(at..(at + 1 + random.below(9)).min(bytes.len()))),
            4 => bytes.extend_from_within(at..),
            // Deeper than anybody nests.
            _ => drop(bytes.splice(at..at, std::iter::repeat_n(b'[', random.below(2000)))),
        }
        bytes.truncate(16 * 1024);
    }
    bytes
}

#[test]
fn every_route_with_a_body_is_tried() {
    let with_body = ["POST", "PUT", "PATCH"];
    let routes = Routes::listed();
    let listed = routes.lines.iter().filter(|(method, _, _)| with_body.contains(&method.as_str()));
    let mut routed: Vec<_> = listed.map(|(method, pattern, _)| format!("{method} {pattern}")).collect();
    routed.retain(|line| line != "PUT /api/v1/log");
    let mut tried: Vec<_> = BODIES.iter().map(|(method, pattern, _)| format!("{method} {pattern}")).collect();
    routed.sort();
    tried.sort();
    assert_eq!(routed, tried);
}

#[actix_web::test]
async fn no_body_and_no_query_makes_the_broker_fail() {
    let broker = Broker::start().await;
    let now = clock::wall().as_microsecond() as u64;
    let seed = std::env::var("TESTS_SEED").ok().map_or(now, |text| text.parse().unwrap()) | 1;
    let seconds = std::env::var("TESTS_FUZZ_SECONDS").ok().map_or(5, |text| text.parse().unwrap());
    eprintln!("seed: TESTS_SEED={seed}");
    let (mut random, until) = (Random(seed), clock::now() + Duration::from_secs(seconds));
    let mut tried = 0;
    while clock::now() < until {
        let (method, pattern, body) = BODIES[random.below(BODIES.len())];
        let body = mutated(&mut random, body);
        // A query of the same bytes: every route with one reads it strictly.
        let query: String = body.iter().take(64).map(|byte| format!("%{byte:02x}")).collect();
        let head = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            path_of(pattern),
            broker.host(),
            body.len()
        );
        let answer = broker.raw(&[head.as_bytes(), &body].concat()).await;
        assert!((200..500).contains(&answer.status), "{method} {pattern} {body:02x?}: {answer:?}");
        for path in ["/api/v1/audit", "/api/v1/sessions", "/api/v1/access"] {
            let answer = broker.get(&format!("{path}?{query}=1")).await;
            assert_eq!(answer.status, 400, "{path}?{query}: {answer:?}");
        }
        tried += 1;
    }
    eprintln!("{tried} bodies");
    assert!(tried > 20, "nothing was tried");
    assert_eq!(broker.get("/livez").await.status, 200);
}
