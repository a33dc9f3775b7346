//! The routes on a real server, asked by a client that can also misbehave.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use moorline_wire::{Code, Ending, SessionId};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa::OpenApi;

use super::openapi::Api;
use super::route::{Routes, Who};
use crate::app::App;
use crate::clock;
use crate::config::{Config, Http, Timing};
use crate::metrics::{Metrics, Wait};
use crate::store::{FILE, House, SessionRow, Store};

mod administration;
mod bodies;
mod enrolment;
mod logins;
mod matrix;
mod pages;
mod refusals;
mod staff;

/// An unknown, but well-formed session.
const NO_SESSION: &str = "s-aaaaaaaaaaaaaaaaaaaaaaaaaa";
/// An unknown, but well-formed device.
const NO_DEVICE: &str = "d-aaaaaaaaaaaaaaaa";

/// A broker on a port of its own, with a data folder of its own.
struct Broker {
    app: App,
    folder: TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    text: String,
}

impl Answer {
    /// Reads the head of a response and what follows.
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), text: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// It must be this refusal, in the form that every refusal has.
    #[track_caller]
    fn refuses(&self, code: Code) {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (code.http_status(), Some(code.name())), "{self:?}");
        let has_remedy = |text: &str| text.ends_with('.') && text.contains(". ");
        assert!(body["message"].as_str().is_some_and(has_remedy), "{body}");
        assert_eq!(body["request_id"].as_str(), self.headers.get("x-request-id").map(String::as_str));
    }
}

impl Broker {
    fn config(folder: &TempDir) -> Config {
        let http = Http { workers: 1, ..Http::default() };
        let (listen, data_dir) = (([127, 0, 0, 1], 0).into(), folder.path().join("data"));
        Config { listen, data_dir, demo: true, http, ..Config::default() }
    }

    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Self::config(&folder);
        change(&mut config);
        Self { app: App::start(Arc::new(config)).await.unwrap(), folder }
    }

    fn host(&self) -> String {
        self.app.address.to_string()
    }

    /// One request with `Host` and `Connection: close`, and these headers.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.host());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        self.raw(format!("{head}\r\n{body}").as_bytes()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], &body.to_string()).await
    }

    /// Sends the bytes as they are and reads until the broker closes.
    async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.app.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Answer::parse(&until_closed(&mut stream).await)
    }

    /// The request that opens a WebSocket, with these headers on top.
    async fn upgrade(&self, path: &str, protocol: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocol),
        ];
        all.extend_from_slice(headers);
        self.send("GET", path, &all, "").await
    }

    /// The same, but only the head of the answer is waited for: a socket that opens does not end.
    async fn upgrade_head(&self, path: &str, protocol: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {protocol}\r\n",
            self.host()
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.app.address).await.unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let reading = async {
            let has_head = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
            while !has_head(&bytes) && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
        };
        clock::within(Duration::from_secs(5), Wait::HttpBody, reading).await.unwrap();
        Answer::parse(&bytes)
    }
}

/// The whole answer, or everything until the other side closes; neither within 5 s fails the test.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        // A reset is an end, too.
        while !is_whole(&bytes) && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
    };
    let read = clock::within(Duration::from_secs(5), Wait::HttpBody, reading).await;
    assert!(read.is_ok(), "no answer and no end; so far: {}", String::from_utf8_lossy(&bytes));
    bytes
}

/// Whether the bytes are a head and as much of a body as it announces.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let announced =
        Answer::parse(bytes).headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
    // Events go on and on: their head is the answer.
    let endless =
        Answer::parse(bytes).headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    endless || announced.is_some_and(|length| bytes.len() >= end + 4 + length)
}

/// The path of a pattern with an unknown id in it.
fn path_of(pattern: &str) -> String {
    let kinds = [
        ("devices", NO_DEVICE),
        ("people", "p-aaaaaaaaaaaaaaaa"),
        ("grants", "g-aaaaaaaaaaaaaaaa"),
        ("tokens", "t-aaaaaaaaaaaaaaaa"),
        ("logins", "l-aaaaaaaaaaaaaaaa"),
    ];
    let id = kinds.iter().find(|(kind, _)| pattern.contains(kind)).map_or(NO_SESSION, |(_, id)| id);
    pattern.replace("{id}", id).replace("{file:.+}", "nothing.js")
}

fn session_row(id: &str, started: i64) -> SessionRow {
    SessionRow {
        id: id.parse().unwrap(),
        device: NO_DEVICE.parse().unwrap(),
        device_name: "pump".into(),
        login: "root".into(),
        person: "demo".into(),
        command: None,
        started: jiff::Timestamp::from_second(started).unwrap(),
        ended: None,
        ending: None,
        house: House::Plain,
        traced: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
    }
}

#[test]
fn the_openapi_document_has_every_route_but_the_pages_and_no_other() {
    let document = serde_json::to_value(Api::openapi()).unwrap();
    let mut described: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let of_pages = |pattern: &str| super::PAGES.contains(&pattern) || pattern == "/{file:.+}";
    let routes = Routes::listed().lines.into_iter().filter(|(_, pattern, _)| !of_pages(pattern));
    let mut routed: Vec<String> = routes.map(|(method, pattern, _)| format!("{method} {pattern}")).collect();
    described.sort();
    routed.sort();
    assert_eq!(described, routed);
}

#[test]
fn whatever_is_not_a_probe_a_page_a_login_or_a_socket_of_agents_is_for_persons() {
    let ways_in = [
        "/api/v1/login",
        "/api/v1/login/oidc",
        "/api/v1/login/oidc/callback",
        "/api/v1/invitation",
        "/api/v1/invitation/accept",
    ];
    for (method, pattern, who) in Routes::listed().lines {
        let api = pattern.starts_with("/api/v1/") && pattern != "/api/v1/openapi.json";
        let way_in = ways_in.contains(&pattern);
        assert_eq!(is_for_persons(who), api && !way_in, "{method} {pattern}");
        let reads = method == Method::GET || method == Method::HEAD;
        assert!(
            reads || way_in || is_for_persons(who),
            "{method} {pattern} changes something without a person"
        );
    }
}

fn is_for_persons(who: Who) -> bool {
    !matches!(who, Who::Anyone | Who::Local | Who::Program)
}

#[actix_web::test]
async fn outside_demo_mode_nobody_is_let_in_and_told_why() {
    let broker = Broker::start_with(|config| config.demo = false).await;
    for (method, pattern, who) in Routes::listed().lines {
        if !is_for_persons(who) {
            continue;
        }
        let answer = broker.json(method.as_str(), &path_of(pattern), json!({})).await;
        answer.refuses(Code::LOGIN_EXPIRED);
        assert!(answer.json()["message"].as_str().unwrap().contains("No login is set up"), "{answer:?}");
    }
    let login = json!({ "name": "demo", "password": "correct horse battery" });
    broker.json("POST", "/api/v1/login", login).await.refuses(Code::LOGIN_REFUSED);
    assert_eq!(broker.get("/livez").await.status, 200);
}

#[actix_web::test]
async fn the_demo_knows_one_administrator_and_begins_without_devices_and_sessions() {
    let broker = Broker::start().await;
    let me = broker.get("/api/v1/me").await;
    assert_eq!(
        me.json(),
        json!({
            "person": "demo", "mode": "demo", "roles": ["admin"], "second_factor": "off",
            "recovery_codes": 0, "ways": [],
            "version": env!("CARGO_PKG_VERSION")
        })
    );
    assert_eq!(broker.get("/api/v1/devices").await.json(), json!({ "devices": [] }));
    for query in ["", "?state=live", "?state=ended", "?state=all", "?device=d-aaaaaaaaaaaaaaaa"] {
        let list = broker.get(&format!("/api/v1/sessions{query}")).await;
        assert_eq!(list.json(), json!({ "sessions": [], "next": null }), "{query}");
    }
}

#[actix_web::test]
async fn sessions_of_a_former_process_are_listed_as_ended_by_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Broker::config(&folder);
    let store = Store::open(&config.data_dir.join(FILE), &Timing::default(), Metrics::new()).await.unwrap();
    let ended: SessionId = NO_SESSION.parse().unwrap();
    store.session_started(&session_row(NO_SESSION, 1_800_000_000)).await.unwrap();
    store.session_ended(&ended, &Ending::killed("anna", Some("tea")), clock::wall()).await.unwrap();
    let left = "s-bbbbbbbbbbbbbbbbbbbbbbbbbb";
    store.session_started(&session_row(left, 1_800_000_001)).await.unwrap();

    let broker = Broker { app: App::start(Arc::new(config)).await.unwrap(), folder };
    let list = broker.get("/api/v1/sessions?state=ended").await.json();
    let told: Vec<_> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| (session["id"].as_str().unwrap(), session["ending"]["text"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (left, "The broker was restarted. Open a new session."),
            (NO_SESSION, "anna ended this session: tea")
        ]
    );
    let one = broker.get(&format!("/api/v1/sessions/{left}")).await.json();
    assert_eq!((one["state"].as_str(), one["ending"]["code"].as_str()), (Some("ended"), Some("gone")));
    assert_eq!(one["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(one["started"], "2027-01-15T08:00:01.000000Z");
    // Killing what is over already is no fault, and a ticket for it is none.
    assert_eq!(
        broker.send("DELETE", &format!("/api/v1/sessions/{left}"), &[], "").await.json(),
        json!({ "killed": false })
    );
    broker.send("POST", &format!("/api/v1/sessions/{left}/tickets"), &[], "").await.refuses(Code::GONE);
}

#[actix_web::test]
async fn ended_sessions_are_told_in_pages_and_found_by_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = Broker::config(&folder);
    let store = Store::open(&config.data_dir.join(FILE), &Timing::default(), Metrics::new()).await.unwrap();
    let ids: Vec<String> = ["a", "b", "c"].map(|letter| format!("s-{}", letter.repeat(26))).to_vec();
    for (id, at) in ids.iter().zip([7, 8, 8]) {
        store.session_started(&session_row(id, at)).await.unwrap();
        let ended = jiff::Timestamp::from_second(at + 1).unwrap();
        let ending = Ending::killed("anna", Some(&format!("tea at {at}")));
        store.session_ended(&id.parse().unwrap(), &ending, ended).await.unwrap();
    }
    let broker = Broker { app: App::start(Arc::new(config)).await.unwrap(), folder };
    let told = async |query: &str| {
        let list = broker.get(&format!("/api/v1/sessions?state=ended{query}")).await.json();
        let sessions = list["sessions"].as_array().unwrap().iter();
        let ids: Vec<String> = sessions.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, list["next"].as_str().map(str::to_owned))
    };
    let (first, next) = told("&limit=2").await;
    assert_eq!(first, [ids[2].clone(), ids[1].clone()]);
    assert_eq!(told(&format!("&limit=2&after={}", next.unwrap())).await, (vec![ids[0].clone()], None));
    assert_eq!(told("&limit=3").await.1, None, "a page that is just full is the last one");
    assert_eq!(told("&q=ANNA+7").await, (vec![ids[0].clone()], None));
    assert_eq!(told("&q=bert").await, (vec![], None));
}

#[actix_web::test]
async fn a_broker_that_stops_says_so_takes_nothing_new_and_ends_in_time() {
    let broker = Broker::start().await;
    let ready = broker.get("/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["reasons"]), (&json!(true), &json!([])));
    let names: Vec<_> = ready["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["listening", "serving", "arbiters", "store"]);
    broker.app.stop_taking();
    let ready = broker.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()["reasons"][0].as_str()),
        (503, Some("The broker is being stopped."))
    );
    broker.json("POST", "/api/v1/sessions", json!({})).await.refuses(Code::GOING_AWAY);
    broker.upgrade("/agent/v1/link", "moorline.link.v1", &[]).await.refuses(Code::GOING_AWAY);
    // One connection that says nothing does not hold it up.
    let _idle = TcpStream::connect(broker.app.address).await.unwrap();
    let address = broker.app.address;
    clock::within(Duration::from_secs(5), Wait::Drain, broker.app.drain()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

#[actix_web::test]
async fn a_taken_port_and_a_taken_folder_are_named_with_a_remedy() {
    let broker = Broker::start().await;
    let mut config = Broker::config(&broker.folder);
    let folder = App::start(Arc::new(config.clone())).await.err().unwrap();
    assert_eq!(folder.code, Code::STORE_FAILED);
    assert!(
        folder.text.contains("Another broker works in") && folder.text.contains("--set data_dir="),
        "{folder}"
    );
    config.listen = broker.app.address;
    let port = App::start(Arc::new(config)).await.err().unwrap();
    assert_eq!(port.code, Code::PORT_IN_USE);
    let text = format!("{} is taken by another program.", broker.app.address);
    assert!(port.text.starts_with(&text) && port.text.contains("--set listen="), "{port}");
}

#[actix_web::test]
async fn what_was_asked_stands_in_the_metrics_by_route_and_not_by_path() {
    let broker = Broker::start().await;
    broker.get(&format!("/api/v1/sessions/{NO_SESSION}")).await;
    broker.get("/api/v1/no/such/route").await;
    let text = broker.get("/metrics").await.text;
    assert!(
        text.contains(r#"moorline_http_request_seconds_count{route="/api/v1/sessions/{id}",status="404"} 1"#),
        "{text}"
    );
    assert!(!text.contains(NO_SESSION) && !text.contains("such"), "{text}");
}
