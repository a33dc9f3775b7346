//! People, grants, tokens and the audit over HTTP, as an administrator uses them.

use super::staff::{LAB, SESSION, Staff, YARD, add_provider_login};
use super::*;
use crate::access::Role;
use crate::id::PersonId;
use crate::store::{PersonRow, PersonState, ProviderAccount};

const PASSWORD: &str = "correct horse battery";

impl Staff {
    async fn root(&self, method: &str, path: &str, body: Value) -> Answer {
        self.asks("root", method, path, body).await
    }

    async fn id_of(&self, name: &str) -> String {
        self.store.person_named(name).await.unwrap().unwrap().id.into()
    }
}

#[actix_web::test]
async fn a_person_is_invited_sets_a_password_and_does_what_a_grant_gives() {
    let staff = Staff::new().await;
    let new = json!({ "name": "Nina", "roles": ["operator", "operator"], "groups": ["night", "day"] });
    let made = staff.root("POST", "/api/v1/people", new.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((&made["name"], &made["state"]), (&json!("nina"), &json!("active")));
    assert_eq!((&made["roles"], &made["groups"]), (&json!(["operator"]), &json!(["day", "night"])));
    staff.root("POST", "/api/v1/people", new).await.refuses(Code::BAD_REQUEST);
    let secret = made["invitation"].as_str().unwrap();
    let body = json!({ "secret": secret, "password": PASSWORD });
    let accepted = staff.asks("anonymous", "POST", "/api/v1/invitation/accept", body).await;
    assert_eq!(accepted.json(), json!({ "person": "nina" }));
    let cookie = accepted.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let nina = [("cookie", cookie)];
    let sees = async |device: &str| {
        staff.shown(&nina, "GET", &format!("/api/v1/devices/{device}"), json!({})).await.status
    };
    assert_eq!((sees(LAB).await, sees(YARD).await), (404, 404));
    let grant = json!({ "who": "group:night", "acts": ["shell"], "devices": "yard", "logins": "pi" });
    let grant = staff.root("POST", "/api/v1/grants", grant).await;
    assert_eq!(grant.status, 201, "{grant:?}");
    assert_eq!((sees(LAB).await, sees(YARD).await), (404, 200));
    let id = grant.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(staff.root("DELETE", &format!("/api/v1/grants/{id}"), json!({})).await.status, 200);
    assert_eq!(sees(YARD).await, 404);
    // Disabled: the cookie is worth nothing, also after they may log in again.
    let person = format!("/api/v1/people/{}", made["id"].as_str().unwrap());
    let disabled = staff.root("PATCH", &person, json!({ "disabled": true })).await;
    assert_eq!(disabled.json()["state"], "disabled");
    assert_eq!(sees(YARD).await, 401);
    staff.root("PATCH", &person, json!({ "disabled": false })).await;
    assert_eq!(sees(YARD).await, 401);
}

#[actix_web::test]
async fn the_last_administrator_stays_one() {
    let staff = Staff::new().await;
    let root = format!("/api/v1/people/{}", staff.id_of("root").await);
    for (method, body) in [
        ("PATCH", json!({ "roles": ["operator"] })),
        ("PATCH", json!({ "disabled": true })),
        ("DELETE", json!({})),
    ] {
        let refused = staff.root(method, &root, body).await;
        refused.refuses(Code::BAD_REQUEST);
        assert!(refused.text.contains("last administrator"), "{refused:?}");
    }
    // One who cannot log in yet is no other: `expired` has no password.
    let oper = staff.id_of("oper").await;
    staff.root("PATCH", &format!("/api/v1/people/{oper}"), json!({ "roles": ["admin"] })).await;
    staff.root("DELETE", &root, json!({})).await.refuses(Code::BAD_REQUEST);
    assert!(staff.store.set_password(&oper.parse().unwrap(), None, "$argon2id$x").await.unwrap());
    assert_eq!(staff.root("DELETE", &root, json!({})).await.status, 200);
    staff.root("GET", "/api/v1/me", json!({})).await.refuses(Code::LOGIN_EXPIRED);
}

#[actix_web::test]
async fn bad_people_and_bad_grants_are_refused_with_what_is_wrong() {
    let staff = Staff::new().await;
    for bad in [
        json!({ "name": "", "roles": [] }),
        json!({ "name": "demo", "roles": [] }),
        json!({ "name": "a b", "roles": [] }),
        json!({ "name": "esc\u{1b}[31m", "roles": [] }),
        json!({ "name": "x", "roles": ["king"] }),
        json!({ "name": "x", "roles": [], "groups": ["A"] }),
        json!({ "name": "x", "roles": [], "password": "hidden" }),
    ] {
        staff.root("POST", "/api/v1/people", bad).await.refuses(Code::BAD_REQUEST);
    }
    let good = json!({ "who": "person:oper", "acts": ["shell"], "devices": "lab", "logins": "pi" });
    for (key, bad) in [
        ("who", json!("oper")),
        ("who", json!("person:nobody")),
        ("acts", json!([])),
        ("acts", json!(["everything"])),
        ("devices", json!("")),
        ("devices", json!("Lab")),
        ("logins", json!("")),
        ("logins", json!("-oProxyCommand=x")),
        ("until", json!("tomorrow")),
        ("reason", json!("none")),
    ] {
        let mut grant = good.clone();
        grant[key] = bad;
        staff.root("POST", "/api/v1/grants", grant).await.refuses(Code::BAD_REQUEST);
    }
    for bad in [json!(["Lab"]), json!([LAB]), json!(["a b"]), json!(vec!["x"; 65])] {
        staff
            .root("PATCH", &format!("/api/v1/devices/{LAB}"), json!({ "tags": bad }))
            .await
            .refuses(Code::BAD_REQUEST);
    }
}

/// Who manages a device does not decide by its tags who may what with it.
#[actix_web::test]
async fn tags_and_host_keys_are_for_administrators() {
    let staff = Staff::new().await;
    let path = format!("/api/v1/devices/{LAB}");
    for change in [json!({ "tags": ["yard"] }), json!({ "tags": [] }), json!({ "accept_host_keys": true })] {
        staff.asks("oper", "PATCH", &path, change).await.refuses(Code::POLICY);
    }
    let renamed = staff.asks("oper", "PATCH", &path, json!({ "name": "bench" })).await.json();
    assert_eq!((&renamed["name"], &renamed["tags"]), (&json!("bench"), &json!(["lab"])));
    let tagged = staff.root("PATCH", &path, json!({ "tags": ["yard", "env=prod", "yard"] })).await.json();
    assert_eq!(tagged["tags"], json!(["env=prod", "yard"]));
    assert_eq!(staff.asks("oper", "GET", &path, json!({})).await.status, 404);
    assert_eq!(staff.asks("other", "GET", &path, json!({})).await.status, 200);
}

#[actix_web::test]
async fn access_is_explained_act_by_act() {
    let staff = Staff::new().await;
    let explained = async |person: &str, device: &str, login: &str| {
        let path = format!("/api/v1/access?person={person}&device={device}{login}");
        staff.root("GET", &path, json!({})).await.json()
    };
    let act = |access: &Value, name: &str| {
        let acts = access["acts"].as_array().unwrap();
        acts.iter().find(|act| act["act"] == name).unwrap().clone()
    };
    let oper = explained("oper", LAB, "").await;
    assert_eq!(oper["login"], "pi");
    let shell = act(&oper, "shell");
    assert_eq!((&shell["allowed"], shell["grant"].is_string()), (&json!(true), true));
    assert_eq!(act(&oper, "kill")["reason"], "No grant gives them this.");
    let as_root = act(&explained("oper", LAB, "&login=root").await, "shell");
    assert_eq!(as_root["reason"], "Their grants for this device are for other logins.");
    assert_eq!(
        act(&explained("oper", YARD, "").await, "shell")["reason"],
        "Their grants for this are for other devices."
    );
    assert_eq!(act(&explained("demoted", YARD, "").await, "shell")["reason"], "The person has no role.");
    assert_eq!(
        act(&explained("walt", LAB, "").await, "kill")["reason"],
        "The person's role cannot be given this."
    );
    assert_eq!(
        act(&explained("root", YARD, "").await, "manage")["reason"],
        "An administrator may do everything."
    );
    staff
        .root("GET", &format!("/api/v1/access?person=nobody&device={LAB}"), json!({}))
        .await
        .refuses(Code::UNKNOWN);
}

#[actix_web::test]
async fn a_token_is_shown_once_and_is_ones_own() {
    let staff = Staff::new().await;
    let later = (clock::wall() + jiff::SignedDuration::from_hours(24)).to_string();
    let new = |expires: &str| json!({ "label": "ci", "scopes": ["shell"], "expires": expires });
    let made = staff.asks("oper", "POST", "/api/v1/tokens", new(&later)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (made, secret) = (made.json(), made.json()["secret"].as_str().unwrap().to_owned());
    let shown = [("authorization", format!("Bearer {secret}"))];
    let me = staff.shown(&shown, "GET", "/api/v1/me", json!({})).await.json();
    assert_eq!((&me["person"], &me["mode"]), (&json!("oper"), &json!("token")));
    let list = staff.asks("oper", "GET", "/api/v1/tokens", json!({})).await;
    assert!(!list.text.contains(&secret) && list.json()["tokens"][0]["label"] == "ci", "{list:?}");
    assert_eq!(staff.asks("other", "GET", "/api/v1/tokens", json!({})).await.json(), json!({ "tokens": [] }));
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    staff.asks("other", "DELETE", &path, json!({})).await.refuses(Code::UNKNOWN);
    assert_eq!(staff.root("DELETE", &path, json!({})).await.status, 200, "an administrator may end it");
    staff.shown(&shown, "GET", "/api/v1/me", json!({})).await.refuses(Code::LOGIN_EXPIRED);
    for bad in ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "never"] {
        staff.asks("oper", "POST", "/api/v1/tokens", new(bad)).await.refuses(Code::BAD_REQUEST);
    }
    for (key, bad) in [("label", json!("")), ("label", json!("a\nb")), ("scopes", json!(["king"]))] {
        let mut body = new(&later);
        body[key] = bad;
        staff.asks("oper", "POST", "/api/v1/tokens", body).await.refuses(Code::BAD_REQUEST);
    }
}

#[actix_web::test]
async fn as_many_people_grants_and_tokens_are_kept_as_may_be() {
    let staff = Staff::with(|config| {
        config.limits.people = 7;
        config.limits.grants = 5;
        config.limits.tokens_per_person = 1;
    })
    .await;
    let later = (clock::wall() + jiff::SignedDuration::from_hours(24)).to_string();
    let wishes = [
        (
            "/api/v1/people",
            json!({ "name": "one.more", "roles": [] }),
            json!({ "name": "two.more", "roles": [] }),
        ),
        (
            "/api/v1/grants",
            json!({ "who": "role:operator", "acts": ["watch"], "devices": "*", "logins": "*" }),
            json!({ "who": "role:watcher", "acts": ["watch"], "devices": "*", "logins": "*" }),
        ),
        (
            "/api/v1/tokens",
            json!({ "label": "a", "scopes": [], "expires": later }),
            json!({ "label": "b", "scopes": [], "expires": later }),
        ),
    ];
    for (path, last, one_too_many) in wishes {
        let taken = staff.root("POST", path, last).await;
        assert_eq!(taken.status, 201, "{taken:?}");
        staff.root("POST", path, one_too_many).await.refuses(Code::LIMIT);
    }
}

#[actix_web::test]
async fn what_was_done_stands_in_the_audit_with_who_what_where_and_how_it_ended() {
    let staff = Staff::new().await;
    let wrong = json!({ "name": "eve\u{1b}[2J", "password": "a guess" });
    staff.asks("anonymous", "POST", "/api/v1/login", wrong).await.refuses(Code::LOGIN_REFUSED);
    staff.asks("oper", "PATCH", &format!("/api/v1/devices/{LAB}"), json!({ "name": "bench" })).await;
    let refused = staff
        .asks(
            "oper",
            "POST",
            "/api/v1/sessions",
            json!({ "device": LAB, "cols": 80, "rows": 24, "login": "root" }),
        )
        .await;
    let killed = staff.root("DELETE", &format!("/api/v1/sessions/{SESSION}"), json!({})).await;
    assert_eq!(killed.status, 200);
    let audit = staff.root("GET", "/api/v1/audit", json!({})).await.json();
    let lines: Vec<String> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            format!("{} {} {} {}", text("who"), text("what"), text("on"), text("outcome"))
        })
        .collect();
    assert_eq!(
        lines,
        [
            format!("root session_kill {SESSION} done"),
            format!("oper session_create {LAB} policy"),
            format!("oper device_rename {LAB} done"),
            "eve[2J login  login_refused".to_owned(),
        ]
    );
    let entry = &audit["entries"][1];
    assert_eq!((&entry["from"], &entry["request_id"]), (&json!("127.0.0.1"), &refused.json()["request_id"]));
    assert!(!audit.to_string().contains("a guess"));
    // Page by page.
    let page = staff.root("GET", "/api/v1/audit?limit=3", json!({})).await.json();
    assert_eq!(page["entries"].as_array().unwrap().len(), 3);
    let rest = staff.root("GET", &format!("/api/v1/audit?before={}", page["next"]), json!({})).await.json();
    assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let of_oper = staff.root("GET", "/api/v1/audit?who=oper&what=device_rename", json!({})).await.json();
    assert_eq!(of_oper["entries"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn an_administrator_sees_how_people_log_in_and_takes_a_lost_second_factor_away() {
    let staff = Staff::new().await;
    let oper = staff.id_of("oper").await;
    let person = format!("/api/v1/people/{oper}");
    let ways = async || staff.root("GET", &person, json!({})).await.json()["ways"].clone();
    assert_eq!(ways().await, json!([]));
    let id = oper.parse().unwrap();
    assert!(staff.store.begin_totp(&id, b"secret").await.unwrap());
    let login = staff.store.logins(&id).await.unwrap().remove(0).id;
    assert!(staff.store.confirm_totp(&id, b"secret", 1, &[], &login, clock::wall()).await.unwrap());
    assert_eq!(ways().await, json!(["totp"]));
    assert_eq!(
        staff.root("DELETE", &format!("{person}/totp"), json!({})).await.json(),
        json!({ "done": true })
    );
    assert_eq!(ways().await, json!([]));
    staff.asks("oper", "GET", "/api/v1/me", json!({})).await.refuses(Code::LOGIN_EXPIRED);
    staff.root("DELETE", &format!("{person}/totp"), json!({})).await.refuses(Code::UNKNOWN);
    let audit = staff.root("GET", "/api/v1/audit?what=totp_reset", json!({})).await.json();
    let outcome = |at: usize| audit["entries"][at]["outcome"].as_str().unwrap();
    assert_eq!((outcome(0), outcome(1), &audit["entries"][0]["on"]), ("unknown", "done", &json!(oper)));
}

#[actix_web::test]
async fn an_administrator_takes_an_account_of_the_provider_away_and_the_logins_that_rest_on_it() {
    let staff = Staff::new().await;
    let id: PersonId = staff.id_of("oper").await.parse().unwrap();
    let person = format!("/api/v1/people/{id}");
    let ways = async || staff.root("GET", &person, json!({})).await.json()["ways"].clone();
    let account = ProviderAccount { issuer: "https://id.example".into(), subject: "7".into() };
    assert!(staff.store.link(&id, &account, clock::wall()).await.unwrap());
    let row = staff.store.person(&id).await.unwrap().unwrap();
    add_provider_login(&staff.store, &row, "by-provider", &account).await;
    assert_eq!(ways().await, json!(["provider"]));
    let works = async |name: &str| staff.asks(name, "GET", "/api/v1/me", json!({})).await.status == 200;
    assert!(works("oper").await && works("by-provider").await);
    let unlink = async || staff.root("DELETE", &format!("{person}/oidc"), json!({})).await;
    assert_eq!(unlink().await.json(), json!({ "done": true }));
    assert_eq!(ways().await, json!([]));
    assert!(works("oper").await, "the other login does not rest on it");
    staff.asks("by-provider", "GET", "/api/v1/me", json!({})).await.refuses(Code::LOGIN_EXPIRED);
    unlink().await.refuses(Code::UNKNOWN);
    let nobody = "/api/v1/people/p-aaaaaaaaaaaaaaaa/oidc";
    staff.root("DELETE", nobody, json!({})).await.refuses(Code::UNKNOWN);
    let audit = staff.root("GET", "/api/v1/audit?what=person_unlink", json!({})).await.json();
    let rows: Vec<_> =
        audit["entries"].as_array().unwrap().iter().map(|row| (&row["on"], &row["outcome"])).collect();
    let (oper, none) = (json!(id.as_str()), json!("p-aaaaaaaaaaaaaaaa"));
    assert_eq!(rows, [(&none, &json!("unknown")), (&oper, &json!("unknown")), (&oper, &json!("done"))]);
    // An administrator whom the provider alone lets in, where no other could log in.
    let root = staff.store.person_named("root").await.unwrap().unwrap();
    staff.store.change_person(&PersonRow { roles: vec![Role::Admin], ..row }).await.unwrap();
    staff.store.change_person(&PersonRow { state: PersonState::Disabled, ..root }).await.unwrap();
    assert!(staff.store.link(&id, &account, clock::wall()).await.unwrap());
    let last = staff.asks("oper", "DELETE", &format!("{person}/oidc"), json!({})).await;
    last.refuses(Code::BAD_REQUEST);
    assert!(last.text.contains("the last administrator"), "{last:?}");
}

/// Once a listener was asked only every five minutes who they are.
#[actix_web::test]
async fn the_events_end_with_the_login_or_the_right_to_hear_them() {
    let staff = Staff::with(|config| config.login.check = Duration::from_secs(1)).await;
    let root = staff.store.person_named("root").await.unwrap().unwrap();
    let listens = async || {
        let head = format!(
            "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\ncookie: moorline=cookie-of-root\r\n\r\n",
            staff.broker.host()
        );
        let mut stream = TcpStream::connect(staff.broker.app.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = vec![0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first, b"HTTP/1.1 200");
        stream
    };
    let ends = async |mut stream: TcpStream| {
        let mut rest = Vec::new();
        // The last piece of a chunked answer: the connection itself is kept.
        let over = async {
            while !rest.ends_with(b"\r\n0\r\n\r\n") && stream.read_buf(&mut rest).await.unwrap_or(0) > 0 {}
        };
        clock::within(Duration::from_secs(10), Wait::HttpBody, over).await.is_ok()
    };
    let stream = listens().await;
    // Nobody says that this was changed: it is found by looking.
    staff.store.change_person(&PersonRow { roles: vec![Role::Operator], ..root.clone() }).await.unwrap();
    assert!(ends(stream).await, "demoted, and still listening");
    staff.store.change_person(&root).await.unwrap();
    let stream = listens().await;
    staff.store.end_logins(&root.id).await.unwrap();
    assert!(ends(stream).await, "logged out, and still listening");
}

/// Whoever reached a demo could have made an account, or an install key, that counts once its folder is used without demo
/// mode.
#[actix_web::test]
async fn in_demo_mode_nobody_makes_or_changes_accounts_what_they_are_given_or_install_keys() {
    let broker = Broker::start().await;
    for (method, path) in [
        ("POST", "/api/v1/people"),
        ("PATCH", "/api/v1/people/p-aaaaaaaaaaaaaaaa"),
        ("DELETE", "/api/v1/people/p-aaaaaaaaaaaaaaaa"),
        ("POST", "/api/v1/people/p-aaaaaaaaaaaaaaaa/invitations"),
        ("POST", "/api/v1/grants"),
        ("DELETE", "/api/v1/people/p-aaaaaaaaaaaaaaaa/oidc"),
        ("DELETE", "/api/v1/grants/g-aaaaaaaaaaaaaaaa"),
        ("POST", "/api/v1/install-keys"),
        ("DELETE", "/api/v1/install-keys/k-aaaaaaaaaaaaaaaa"),
    ] {
        let refused = broker.json(method, path, json!({ "name": "eve", "roles": ["admin"] })).await;
        refused.refuses(Code::POLICY);
        assert!(refused.text.contains("Demo mode lets nobody in for later"), "{refused:?}");
    }
    assert_eq!(broker.get("/api/v1/people").await.json(), json!({ "people": [] }));
    assert_eq!(broker.get("/api/v1/install-keys").await.json(), json!({ "install_keys": [] }));
}
