//! Every route, asked by everybody: what each of them gets stands in one table.

use super::staff::{EVERYBODY, LAB, SESSION, Staff, YARD, add_grant, add_token};
use super::*;

/// Method and pattern, and the status for each of [`EVERYBODY`]. Bodies are `{}`: 400 means that it was let in.
#[rustfmt::skip]
const TABLE: &[(&str, [u16; 7])] = &[
    // anonymous, expired, walt (watcher), oper (operator, his session), other (operator elsewhere), root, demoted (token)
    ("GET /livez",                             [200, 200, 200, 200, 200, 200, 200]),
    ("GET /readyz",                            [200, 200, 200, 200, 200, 200, 200]),
    ("GET /metrics",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /api/v1/openapi.json",               [200, 200, 200, 200, 200, 200, 200]),
    ("GET /api/v1/login",                      [200, 200, 200, 200, 200, 200, 200]),
    // No provider is set in these tests.
    ("GET /api/v1/login/oidc",                 [404, 404, 404, 404, 404, 404, 404]),
    ("GET /api/v1/login/oidc/callback",        [404, 404, 404, 404, 404, 404, 404]),
    ("POST /api/v1/login",                     [400, 400, 400, 400, 400, 400, 400]),
    ("POST /api/v1/invitation",                [400, 400, 400, 400, 400, 400, 400]),
    ("POST /api/v1/invitation/accept",         [400, 400, 400, 400, 400, 400, 400]),
    ("POST /api/v1/logout",                    [401, 401, 200, 200, 200, 200, 403]),
    ("GET /api/v1/me",                         [401, 401, 200, 200, 200, 200, 200]),
    ("GET /api/v1/me/logins",                  [401, 401, 200, 200, 200, 200, 403]),
    ("DELETE /api/v1/me/logins/{id}",          [401, 401, 404, 404, 404, 404, 403]),
    ("POST /api/v1/me/password",               [401, 401, 400, 400, 400, 400, 403]),
    ("POST /api/v1/me/totp",                   [401, 401, 400, 400, 400, 400, 403]),
    ("POST /api/v1/me/totp/confirm",           [401, 401, 400, 400, 400, 400, 403]),
    ("POST /api/v1/me/totp/recovery-codes",    [401, 401, 400, 400, 400, 400, 403]),
    ("POST /api/v1/me/totp/off",               [401, 401, 400, 400, 400, 400, 403]),
    ("POST /api/v1/me/oidc",                   [401, 401, 400, 400, 400, 400, 403]),
    ("DELETE /api/v1/me/oidc",                 [401, 401, 400, 400, 400, 404, 403]),
    ("GET /api/v1/tokens",                     [401, 401, 200, 200, 200, 200, 403]),
    ("POST /api/v1/tokens",                    [401, 401, 400, 400, 400, 400, 403]),
    ("DELETE /api/v1/tokens/{id}",             [401, 401, 404, 404, 404, 404, 403]),
    ("GET /api/v1/people",                     [401, 401, 403, 403, 403, 200, 403]),
    ("POST /api/v1/people",                    [401, 401, 403, 403, 403, 400, 403]),
    ("GET /api/v1/people/{id}",                [401, 401, 403, 403, 403, 404, 403]),
    ("PATCH /api/v1/people/{id}",              [401, 401, 403, 403, 403, 404, 403]),
    ("DELETE /api/v1/people/{id}",             [401, 401, 403, 403, 403, 404, 403]),
    ("POST /api/v1/people/{id}/invitations",   [401, 401, 403, 403, 403, 404, 403]),
    ("DELETE /api/v1/people/{id}/totp",        [401, 401, 403, 403, 403, 404, 403]),
    ("DELETE /api/v1/people/{id}/oidc",        [401, 401, 403, 403, 403, 404, 403]),
    ("GET /api/v1/grants",                     [401, 401, 403, 403, 403, 200, 403]),
    ("POST /api/v1/grants",                    [401, 401, 403, 403, 403, 400, 403]),
    ("DELETE /api/v1/grants/{id}",             [401, 401, 403, 403, 403, 404, 403]),
    ("GET /api/v1/access",                     [401, 401, 403, 403, 403, 400, 403]),
    ("GET /api/v1/audit",                      [401, 401, 403, 403, 403, 200, 403]),
    ("GET /api/v1/install-keys",               [401, 401, 403, 403, 403, 200, 403]),
    ("POST /api/v1/install-keys",              [401, 401, 403, 403, 403, 400, 403]),
    ("DELETE /api/v1/install-keys/{id}",       [401, 401, 403, 403, 403, 404, 403]),
    ("GET /api/v1/devices",                    [401, 401, 200, 200, 200, 200, 200]),
    ("GET /api/v1/devices/{id}",               [401, 401, 200, 200, 404, 200, 404]),
    ("PATCH /api/v1/devices/{id}",             [401, 401, 403, 200, 404, 200, 404]),
    ("DELETE /api/v1/devices/{id}",            [401, 401, 403, 200, 404, 200, 404]),
    ("GET /api/v1/devices/{id}/private-key",   [401, 401, 403, 403, 403, 404, 403]),
    ("PUT /api/v1/devices/{id}/private-key",   [401, 401, 403, 403, 403, 400, 403]),
    ("DELETE /api/v1/devices/{id}/private-key", [401, 401, 403, 403, 403, 404, 403]),
    // It does not wait for approval. What revokes comes late, as what ends something.
    ("POST /api/v1/devices/{id}/approve",      [401, 401, 403, 400, 404, 400, 404]),
    ("POST /api/v1/devices/{id}/rotate-key",   [401, 401, 403, 200, 404, 200, 404]),
    ("POST /api/v1/devices/{id}/revoke",       [401, 401, 403, 200, 404, 200, 404]),
    ("GET /api/v1/sessions",                   [401, 401, 200, 200, 200, 200, 200]),
    ("POST /api/v1/sessions",                  [401, 401, 400, 400, 400, 400, 400]),
    ("DELETE /api/v1/sessions",                [401, 401, 400, 400, 400, 400, 400]),
    ("GET /api/v1/sessions/{id}",              [401, 401, 200, 200, 404, 200, 404]),
    ("DELETE /api/v1/sessions/{id}",           [401, 401, 403, 200, 404, 200, 404]),
    ("POST /api/v1/sessions/{id}/tickets",     [401, 401, 201, 201, 404, 201, 404]),
    ("GET /api/v1/sessions/{id}/terminal",     [401, 401, 101, 101, 404, 101, 404]),
    ("GET /api/v1/actors",                     [401, 401, 403, 403, 403, 200, 403]),
    ("GET /api/v1/events",                     [401, 401, 403, 403, 403, 200, 403]),
    // The log itself is not started in these tests.
    ("GET /api/v1/log",                        [401, 401, 403, 403, 403, 500, 403]),
    ("PUT /api/v1/log",                        [401, 401, 403, 403, 403, 400, 403]),
    // The agent proves who it is inside.
    ("GET /agent/v1/link",                     [101, 101, 101, 101, 101, 101, 101]),
    ("GET /",                                  [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /",                                 [200, 200, 200, 200, 200, 200, 200]),
    ("GET /devices",                           [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /devices",                          [200, 200, 200, 200, 200, 200, 200]),
    ("GET /welcome",                           [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /welcome",                          [200, 200, 200, 200, 200, 200, 200]),
    ("GET /account",                           [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /account",                          [200, 200, 200, 200, 200, 200, 200]),
    ("GET /people",                            [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /people",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /grants",                            [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /grants",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /install-keys",                      [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /install-keys",                     [200, 200, 200, 200, 200, 200, 200]),
    ("GET /sessions",                          [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /sessions",                         [200, 200, 200, 200, 200, 200, 200]),
    ("GET /actors",                            [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /actors",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /audit",                             [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /audit",                            [200, 200, 200, 200, 200, 200, 200]),
    ("GET /s/{id}",                            [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /s/{id}",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /d/{id}",                            [200, 200, 200, 200, 200, 200, 200]),
    ("HEAD /d/{id}",                           [200, 200, 200, 200, 200, 200, 200]),
    ("GET /{file:.+}",                         [404, 404, 404, 404, 404, 404, 404]),
    ("HEAD /{file:.+}",                        [404, 404, 404, 404, 404, 404, 404]),
];

/// The path of a pattern, with the device of the lab and its session in it.
fn path_in_the_lab(pattern: &str) -> String {
    match pattern {
        pattern if pattern.contains("devices/{id}") => pattern.replace("{id}", LAB),
        pattern if pattern.contains("sessions/{id}") => pattern.replace("{id}", SESSION),
        pattern => path_of(pattern),
    }
}

/// What ends something comes after all else, and logging out last.
fn order(line: &str) -> (usize, usize) {
    // A device that is forgotten cannot be revoked any more, and one that is revoked has no session to look at.
    let ends = match line {
        "POST /api/v1/logout" => 4,
        "DELETE /api/v1/devices/{id}" => 3,
        line if line.ends_with("/revoke") => 2,
        line => usize::from(line.starts_with("DELETE")),
    };
    (ends, TABLE.iter().position(|(listed, _)| *listed == line).unwrap_or(0))
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let mut routed: Vec<String> =
        Routes::listed().lines.iter().map(|(method, pattern, _)| format!("{method} {pattern}")).collect();
    let mut listed: Vec<String> = TABLE.iter().map(|(line, _)| (*line).to_owned()).collect();
    routed.sort();
    listed.sort();
    assert_eq!(routed, listed);
}

#[actix_web::test]
async fn everybody_gets_from_every_route_what_the_table_says() {
    let mut wrong = Vec::new();
    for (column, name) in EVERYBODY.into_iter().enumerate() {
        // What one of them ends is there for the next.
        let staff = Staff::new().await;
        let mut lines: Vec<&(&str, [u16; 7])> = TABLE.iter().collect();
        lines.sort_by_key(|(line, _)| order(line));
        for (line, expected) in lines {
            let (method, pattern) = line.split_once(' ').unwrap();
            let path = path_in_the_lab(pattern);
            let answer = match *line {
                "GET /agent/v1/link" => staff.upgrades(name, &path, "moorline.link.v1", false).await,
                "GET /api/v1/sessions/{id}/terminal" => {
                    staff.upgrades(name, &path, "moorline.term.v1", true).await
                }
                _ => staff.asks(name, method, &path, json!({})).await,
            };
            if answer.status != expected[column] {
                wrong.push(format!(
                    "{name}: {line} gave {} and not {}: {}",
                    answer.status, expected[column], answer.text
                ));
            }
            // An error says nothing but itself.
            assert!(answer.status < 400 || !answer.text.contains("device d-"), "{answer:?}");
        }
        staff.broker.app.drain().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[actix_web::test]
async fn what_somebody_may_not_see_is_answered_as_what_is_not_there() {
    let staff = Staff::new().await;
    for name in ["other", "demoted"] {
        let (hidden, missing) = (format!("/api/v1/devices/{LAB}"), format!("/api/v1/devices/{NO_DEVICE}"));
        let (session, none) =
            (format!("/api/v1/sessions/{SESSION}"), format!("/api/v1/sessions/{NO_SESSION}"));
        for (method, hidden, missing) in [
            ("GET", hidden.clone(), missing.clone()),
            ("PATCH", hidden.clone(), missing.clone()),
            ("DELETE", hidden, missing),
            ("GET", session.clone(), none.clone()),
            ("DELETE", session.clone(), none.clone()),
            ("POST", format!("{session}/tickets"), format!("{none}/tickets")),
        ] {
            let (one, other) = (
                staff.asks(name, method, &hidden, json!({})).await,
                staff.asks(name, method, &missing, json!({})).await,
            );
            let told = |answer: &Answer| {
                (answer.status, answer.json()["code"].clone(), answer.json()["message"].clone())
            };
            assert_eq!(told(&one), told(&other), "{name} {method} {hidden}");
            assert_eq!(one.status, 404);
        }
        let body = |device: &str| json!({ "device": device, "cols": 80, "rows": 24 });
        staff.asks(name, "POST", "/api/v1/sessions", body(LAB)).await.refuses(Code::UNKNOWN_DEVICE);
        staff.asks(name, "POST", "/api/v1/sessions", body(NO_DEVICE)).await.refuses(Code::UNKNOWN_DEVICE);
    }
    let names = async |name: &str| {
        let devices = staff.asks(name, "GET", "/api/v1/devices", json!({})).await.json();
        let sessions = staff.asks(name, "GET", "/api/v1/sessions", json!({})).await.json();
        let ids = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
        };
        (ids(&devices["devices"]), ids(&sessions["sessions"]))
    };
    let (lab, yard, session) = (LAB.to_owned(), YARD.to_owned(), SESSION.to_owned());
    assert_eq!(names("root").await, (vec![lab.clone(), yard.clone()], vec![session.clone()]));
    assert_eq!(names("walt").await, (vec![lab.clone()], vec![session.clone()]));
    assert_eq!(names("oper").await, (vec![lab], vec![session]));
    assert_eq!(names("other").await, (vec![yard], vec![]));
    assert_eq!(names("demoted").await, (vec![], vec![]));
}

#[actix_web::test]
async fn ended_sessions_that_somebody_may_not_see_take_no_place_on_their_pages() {
    let staff = Staff::new().await;
    let id = |letter: u8| format!("s-{}{}", "a".repeat(25), char::from(letter));
    // Every fifth of those that end one after the other is in the lab, the others in the yard.
    for (second, letter) in (b'a'..=b'z').enumerate() {
        let device = if second % 5 == 0 { LAB } else { YARD };
        let at = jiff::Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap();
        let row = SessionRow { device: device.parse().unwrap(), ..session_row(&id(letter), at.as_second()) };
        staff.store.session_started(&row).await.unwrap();
        let ending = Ending::killed("root", Some("tea"));
        staff.store.session_ended(&row.id, &ending, at).await.unwrap();
    }
    let pages = async |name: &str, query: &str| {
        let (mut told, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/sessions?state=ended&limit=2{query}{after}");
            let page = staff.asks(name, "GET", &path, json!({})).await.json();
            let ids = page["sessions"].as_array().unwrap().iter();
            told.push(ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
            let Some(next) = page["next"].as_str() else { return told };
            assert!(told.concat().iter().any(|id| next.ends_with(id)), "{name} is told of a place: {next}");
            after = format!("&after={next}");
        }
    };
    let seen = |letters: &str| letters.bytes().map(id).collect::<Vec<_>>();
    assert_eq!(pages("walt", "").await, [seen("zu"), seen("pk"), seen("fa")]);
    assert_eq!(pages("other", "").await.concat(), seen("yxwvtsrqonmljihgedcb"));
    assert_eq!(pages("demoted", "&q=tea").await, [seen("")]);
    assert_eq!(pages("root", "&q=tea").await.concat().len(), 26);
}

#[actix_web::test]
async fn a_session_is_opened_by_whoever_may_as_a_login_that_they_may() {
    let staff = Staff::new().await;
    let wants = async |name: &str, device: &str, login: Option<&str>, command: Option<&str>| {
        let body = json!({ "device": device, "cols": 80, "rows": 24, "login": login, "command": command });
        staff.asks(name, "POST", "/api/v1/sessions", body).await
    };
    // Let in as far as the device, which is not connected.
    for login in [None, Some("pi")] {
        wants("oper", LAB, login, None).await.refuses(Code::DEVICE_OFFLINE);
    }
    wants("other", YARD, Some("root"), Some("uname")).await.refuses(Code::DEVICE_OFFLINE);
    wants("root", LAB, Some("root"), None).await.refuses(Code::DEVICE_OFFLINE);
    for (login, command) in [(Some("root"), None), (Some("pi"), Some("uname")), (Some("pi "), None)] {
        let refused = wants("oper", LAB, login, command).await;
        assert!(matches!(refused.status, 403 | 400), "{refused:?}");
    }
    wants("oper", LAB, Some("root"), None).await.refuses(Code::POLICY);
    wants("oper", LAB, Some("pi"), Some("uname")).await.refuses(Code::POLICY);
    wants("walt", LAB, Some("pi"), None).await.refuses(Code::POLICY);
}

#[actix_web::test]
async fn sessions_are_ended_by_their_owner_or_by_whoever_was_given_that() {
    let staff = Staff::new().await;
    let kills = async |name: &str, query: &str| {
        let answer = staff.asks(name, "DELETE", &format!("/api/v1/sessions?{query}"), json!({})).await;
        answer.json()["killed"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
    };
    for name in ["walt", "other", "demoted"] {
        assert_eq!(kills(name, "user=oper").await, 0, "{name}");
        assert_eq!(kills(name, &format!("device={LAB}")).await, 0, "{name}");
    }
    add_grant(&staff.store, "person:other", "kill", "lab", "root").await;
    assert_eq!(kills("other", "user=oper").await, 0, "that is for another login");
    add_grant(&staff.store, "person:other", "kill", "lab", "pi").await;
    assert_eq!(kills("other", "user=oper").await, 1);
    assert_eq!(kills("root", "user=oper").await, 0, "it is over");
}

#[actix_web::test]
async fn an_api_token_does_what_it_is_for_and_no_more() {
    let staff = Staff::new().await;
    let root = staff.store.person_named("root").await.unwrap().unwrap();
    add_token(&staff.store, &root, "killer", "kill").await;
    add_token(&staff.store, &root, "full", "admin,manage").await;
    let asks = async |token: &str, method: &str, path: &str| {
        let shown = [("authorization", format!("Bearer {token}"))];
        staff.shown(&shown, method, path, json!({})).await.status
    };
    let (session, device) = (format!("/api/v1/sessions/{SESSION}"), format!("/api/v1/devices/{LAB}"));
    assert_eq!(asks("mlt_killer", "GET", "/api/v1/people").await, 403);
    assert_eq!(asks("mlt_killer", "PATCH", &device).await, 403);
    assert_eq!(asks("mlt_killer", "GET", &device).await, 200);
    assert_eq!(asks("mlt_full", "GET", "/api/v1/people").await, 200);
    assert_eq!(asks("mlt_full", "PATCH", &device).await, 200);
    assert_eq!(asks("mlt_full", "DELETE", &session).await, 403);
    assert_eq!(asks("mlt_killer", "DELETE", &session).await, 200);
    for bad in ["mlt_invented", "killer", "mlt_killer "] {
        let status = asks(bad, "GET", "/api/v1/me").await;
        // Blanks at the end of a header are not part of it.
        assert_eq!(status, if bad.ends_with(' ') { 200 } else { 401 }, "{bad:?}");
    }
    // A bad token is not made good by a cookie; a proxy's own password is not for us.
    for (header, status) in [("Bearer mlt_invented", 401), ("Basic cm9vdDpyb290", 200)] {
        let both = [("authorization", header.to_owned()), ("cookie", "moorline=cookie-of-root".to_owned())];
        assert_eq!(staff.shown(&both, "GET", "/api/v1/me", json!({})).await.status, status, "{header}");
    }
}

#[actix_web::test]
async fn metrics_are_not_told_to_whoever_comes_through_a_proxy_on_this_machine() {
    let staff = Staff::new().await;
    for header in ["x-forwarded-for", "forwarded"] {
        let answer = staff.broker.send("GET", "/metrics", &[(header, "127.0.0.1")], "").await;
        answer.refuses(Code::POLICY);
    }
}
