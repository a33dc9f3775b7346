//! Install keys, and devices that wait, are approved and are revoked, over HTTP.

use super::staff::{LAB, SESSION, Staff, device};
use super::*;
use crate::store::{DeviceRow, Standing};

/// A device of the lab that waits for approval.
const NEW: &str = "d-newaaaaaaaaaaaaa";

fn new_key() -> Value {
    let expires = (clock::wall() + jiff::SignedDuration::from_hours(24)).to_string();
    json!({ "label": "the roof", "mode": "pending", "uses_max": 2, "tags": ["roof", "lab", "roof"], "expires": expires })
}

#[actix_web::test]
async fn an_install_key_is_shown_once_and_ended_by_an_administrator() {
    let staff = Staff::new().await;
    let made = staff.asks("root", "POST", "/api/v1/install-keys", new_key()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (made, key) = (made.json(), made.json()["key"].as_str().unwrap().to_owned());
    assert!(moorline_wire::install_key::parts(&key).is_some(), "not of the form of a key");
    let list = staff.asks("root", "GET", "/api/v1/install-keys", json!({})).await;
    assert!(!list.text.contains(&key[22..]), "it is shown again");
    let listed = &list.json()["install_keys"][0];
    assert_eq!((&listed["label"], &listed["mode"]), (&json!("the roof"), &json!("pending")));
    assert_eq!((&listed["uses"], &listed["uses_max"]), (&json!(0), &json!(2)));
    assert_eq!((&listed["tags"], &listed["over"]), (&json!(["lab", "roof"]), &json!(false)));
    assert_eq!(listed["created_by"], "root");
    let path = format!("/api/v1/install-keys/{}", made["id"].as_str().unwrap());
    staff.asks("oper", "DELETE", &path, json!({})).await.refuses(Code::POLICY);
    assert_eq!(staff.asks("root", "DELETE", &path, json!({})).await.status, 200);
    staff.asks("root", "DELETE", &path, json!({})).await.refuses(Code::UNKNOWN);
    let audit = staff.asks("root", "GET", "/api/v1/audit", json!({})).await;
    assert!(!audit.text.contains(&key[22..]), "the audit has the secret");
    for what in ["install_key_create", "install_key_end"] {
        assert!(audit.text.contains(what), "no {what} in {}", audit.text);
    }
}

#[actix_web::test]
async fn an_install_key_that_makes_no_sense_is_refused_and_so_is_one_too_many() {
    let staff = Staff::with(|config| config.limits.install_keys = 1).await;
    for (name, bad) in [
        ("label", json!("")),
        ("label", json!("a\u{1b}]0;owned\u{7}")),
        ("label", json!("x".repeat(65))),
        ("mode", json!("king")),
        ("uses_max", json!(0)),
        ("uses_max", json!(-1)),
        ("uses_max", json!(1_000_001)),
        ("tags", json!(["a\u{1b}[2J"])),
        ("tags", json!(["d-aaaaaaaaaaaaaaaa"])),
        ("expires", json!("2020-01-01T00:00:00Z")),
        ("expires", json!("2999-01-01T00:00:00Z")),
        ("secret", json!("mine")),
    ] {
        let mut key = new_key();
        key[name] = bad;
        let refused = staff.asks("root", "POST", "/api/v1/install-keys", key).await;
        refused.refuses(Code::BAD_REQUEST);
        assert!(!refused.text.contains("\\u001b"), "{refused:?}");
    }
    assert_eq!(staff.asks("root", "POST", "/api/v1/install-keys", new_key()).await.status, 201);
    staff.asks("root", "POST", "/api/v1/install-keys", new_key()).await.refuses(Code::LIMIT);
}

#[actix_web::test]
async fn who_manages_a_device_approves_it_and_revokes_it_once_each() {
    let staff = Staff::new().await;
    let waiting =
        DeviceRow { standing: Standing::Pending, tags: vec!["lab".parse().unwrap()], ..device(NEW) };
    staff.store.enroll(&waiting).await.unwrap();
    let (path, wish) =
        (format!("/api/v1/devices/{NEW}"), json!({ "device": NEW, "cols": 80, "rows": 24, "login": "pi" }));
    let post =
        async |name: &str, what: &str| staff.asks(name, "POST", &format!("{path}/{what}"), json!({})).await;
    let shown = staff.asks("walt", "GET", &path, json!({})).await.json();
    assert_eq!((&shown["state"], &shown["may_manage"]), (&json!("pending"), &json!(false)));
    staff.asks("oper", "POST", "/api/v1/sessions", wish.clone()).await.refuses(Code::DEVICE_PENDING);
    for what in ["approve", "revoke", "rotate-key"] {
        post("walt", what).await.refuses(Code::POLICY);
        post("other", what).await.refuses(Code::UNKNOWN_DEVICE);
    }
    let approved = post("oper", "approve").await.json();
    assert_eq!((&approved["state"], &approved["may_manage"]), (&json!("offline"), &json!(true)));
    post("oper", "approve").await.refuses(Code::BAD_REQUEST);
    staff.asks("oper", "POST", "/api/v1/sessions", wish.clone()).await.refuses(Code::DEVICE_OFFLINE);
    assert_eq!(post("oper", "rotate-key").await.json()["key_asked"], true);
    post("oper", "rotate-key").await.refuses(Code::BAD_REQUEST);
    assert_eq!(post("oper", "revoke").await.json()["state"], "revoked");
    post("oper", "revoke").await.refuses(Code::BAD_REQUEST);
    post("oper", "approve").await.refuses(Code::BAD_REQUEST);
    staff.asks("oper", "POST", "/api/v1/sessions", wish).await.refuses(Code::DEVICE_REVOKED);
    let audit = staff.asks("root", "GET", "/api/v1/audit?who=oper", json!({})).await.json();
    let told: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|row| row["what"].clone()).collect();
    for what in ["device_approve", "device_revoke"] {
        assert_eq!(
            told.iter().filter(|told| **told == what).count(),
            if what == "device_approve" { 3 } else { 2 }
        );
    }
}

#[actix_web::test]
async fn revoking_a_device_ends_its_sessions_and_says_why() {
    let staff = Staff::new().await;
    let path = format!("/api/v1/devices/{LAB}/revoke");
    assert_eq!(staff.asks("root", "POST", &path, json!({})).await.status, 200);
    let session = staff.asks("root", "GET", &format!("/api/v1/sessions/{SESSION}"), json!({})).await.json();
    assert_eq!((&session["state"], &session["ending"]["by"]), (&json!("ended"), &json!("root")));
    assert!(session["ending"]["text"].as_str().unwrap().contains("revoked"), "{session}");
}

#[actix_web::test]
async fn what_would_act_on_a_terminal_or_hide_itself_is_no_name_no_tag_and_no_reason() {
    let staff = Staff::new().await;
    let path = format!("/api/v1/devices/{LAB}");
    for bad in ["a\u{1b}[31m", "a\u{9b}2J", "a\u{7}", "a\nb", "\u{202e}toor", "ro\u{200b}ot"] {
        for change in [json!({ "name": bad }), json!({ "tags": [bad] })] {
            let refused = staff.asks("root", "PATCH", &path, change).await;
            refused.refuses(Code::BAD_REQUEST);
            assert!(!refused.text.contains("\\u001b") && !refused.text.contains(bad), "{refused:?}");
        }
        let encoded: String = bad.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let kill = format!("/api/v1/sessions/{SESSION}?reason={encoded}");
        staff.asks("root", "DELETE", &kill, json!({})).await.refuses(Code::BAD_REQUEST);
    }
    let shown = staff.asks("root", "GET", &path, json!({})).await.json();
    assert_eq!((&shown["name"], &shown["tags"]), (&json!(format!("device {LAB}")), &json!(["lab"])));
}
