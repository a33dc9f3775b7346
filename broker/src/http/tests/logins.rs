//! Logging in and out over HTTP, as a browser does.

use super::staff::{Staff, invented};
use super::*;
use crate::identity::Identity;

const PASSWORD: &str = "correct horse battery";

/// The invitation for a first administrator, as `init` makes it.
async fn invitation(folder: &TempDir) -> String {
    let config = Arc::new(Config { demo: false, ..Broker::config(folder) });
    let path = config.data_dir.join(FILE);
    let store = Store::open(&path, &config.timing, Metrics::new()).await.unwrap();
    let identity = Identity::new(config, store.clone(), Metrics::new());
    let secret = identity.invite(None).await.unwrap().reveal().to_owned();
    store.close().await;
    secret
}

/// A broker whose first administrator has not come yet.
async fn fresh(change: impl FnOnce(&mut Config)) -> (Broker, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { demo: false, ..Broker::config(&folder) };
    change(&mut config);
    let secret = invitation(&folder).await;
    (Broker { app: App::start(Arc::new(config)).await.unwrap(), folder }, secret)
}

impl Broker {
    /// A request of one of the broker's own pages, with this cookie.
    async fn page(&self, method: &str, path: &str, cookie: &str, body: Value) -> Answer {
        let origin = format!("http://{}", self.host());
        let headers = [
            ("content-type", "application/json"),
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("cookie", cookie),
        ];
        self.send(method, path, &headers, &if method == "GET" { String::new() } else { body.to_string() })
            .await
    }

    async fn log_in(&self, name: &str, password: &str, cookie: &str) -> Answer {
        self.page("POST", "/api/v1/login", cookie, json!({ "name": name, "password": password })).await
    }
}

/// The cookie of an answer as a browser shows it, and its attributes.
fn cookie(answer: &Answer) -> (String, String) {
    let header = answer.headers.get("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    let (pair, attributes) = header.split_once(';').unwrap();
    (pair.to_owned(), attributes.to_owned())
}

#[actix_web::test]
async fn the_first_administrator_sets_a_password_and_is_in() {
    let (broker, secret) = fresh(|_| ()).await;
    let look = broker.page("POST", "/api/v1/invitation", "", json!({ "secret": secret })).await;
    assert_eq!(look.json(), json!({ "person": null }));
    let body = json!({ "secret": secret, "name": "anna", "password": PASSWORD });
    let accepted = broker.page("POST", "/api/v1/invitation/accept", "", body.clone()).await;
    assert_eq!(accepted.json(), json!({ "person": "anna" }));
    let (own, attributes) = cookie(&accepted);
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    let me = broker.page("GET", "/api/v1/me", &own, json!({})).await.json();
    assert_eq!(
        (&me["person"], &me["mode"], &me["roles"]),
        (&json!("anna"), &json!("login"), &json!(["admin"]))
    );
    broker.page("POST", "/api/v1/invitation/accept", "", body).await.refuses(Code::LOGIN_REFUSED);
    broker
        .page("POST", "/api/v1/invitation", "", json!({ "secret": invented() }))
        .await
        .refuses(Code::LOGIN_REFUSED);
    // Whoever has no cookie is told to log in, and no more that nothing is set up.
    let nobody = broker.get("/api/v1/me").await;
    nobody.refuses(Code::LOGIN_EXPIRED);
    assert!(nobody.text.contains("Log in to go on."), "{nobody:?}");
}

#[actix_web::test]
async fn a_login_is_a_new_cookie_each_time_and_ends_the_one_that_was_shown() {
    let (broker, secret) = fresh(|_| ()).await;
    let body = json!({ "secret": secret, "name": "anna", "password": PASSWORD });
    let (first, _) = cookie(&broker.page("POST", "/api/v1/invitation/accept", "", body).await);
    let works = async |cookie: &str| broker.page("GET", "/api/v1/me", cookie, json!({})).await.status == 200;
    let refused = broker.log_in("anna", "wrong", &first).await;
    refused.refuses(Code::LOGIN_REFUSED);
    assert!(!refused.headers.contains_key("set-cookie") && works(&first).await);
    let (second, _) = cookie(&broker.log_in("anna", PASSWORD, &first).await);
    assert!(second != first && works(&second).await && !works(&first).await);
    let (third, _) = cookie(&broker.log_in("anna", PASSWORD, "moorline=planted").await);
    assert!(works(&second).await && works(&third).await && !works("moorline=planted").await);
    // Logged out: the cookie is removed, and worth nothing to whoever kept it.
    let out = broker.page("POST", "/api/v1/logout", &second, json!({})).await;
    let (removed, attributes) = cookie(&out);
    assert_eq!((removed.as_str(), attributes.contains("Max-Age=0")), ("moorline=", true));
    assert!(!works(&second).await && works(&third).await);
}

#[actix_web::test]
async fn a_page_of_another_site_can_neither_log_in_nor_use_a_login() {
    let staff = Staff::new().await;
    let other = [("origin", "http://evil.example".to_owned())];
    let cross = [("sec-fetch-site", "cross-site".to_owned())];
    for foreign in [other, cross] {
        for (method, path) in [
            ("POST", "/api/v1/login"),
            ("POST", "/api/v1/logout"),
            ("POST", "/api/v1/me/password"),
            ("POST", "/api/v1/people"),
            ("DELETE", "/api/v1/grants/g-aaaaaaaaaaaaaaaa"),
        ] {
            let shown = [foreign.to_vec(), staff.shows("root")].concat();
            staff.shown(&shown, method, path, json!({})).await.refuses(Code::ORIGIN);
        }
    }
    let form = [("content-type", "text/plain"), ("cookie", "moorline=cookie-of-root")];
    staff.broker.send("POST", "/api/v1/people", &form, "{}").await.refuses(Code::MEDIA_TYPE);
}

#[actix_web::test]
async fn over_https_the_cookie_is_for_this_host_alone_and_no_other_is_taken() {
    let (broker, secret) = fresh(|config| {
        config.http.origins = vec!["https://moorline.example.org".into()];
    })
    .await;
    let https = [
        ("host", "moorline.example.org"),
        ("origin", "https://moorline.example.org"),
        ("content-type", "application/json"),
    ];
    let body = json!({ "secret": secret, "name": "anna", "password": PASSWORD }).to_string();
    let (own, attributes) = cookie(&broker.send("POST", "/api/v1/invitation/accept", &https, &body).await);
    assert!(own.starts_with("__Host-moorline=") && attributes.contains("Secure"), "{own} {attributes}");
    assert!(attributes.contains("Path=/") && !attributes.contains("Domain"), "{attributes}");
    let me = async |host: &str, cookie: &str| {
        broker.send("GET", "/api/v1/me", &[("host", host), ("cookie", cookie)], "").await.status
    };
    let value = own.split_once('=').unwrap().1;
    assert_eq!(me("moorline.example.org", &own).await, 200);
    // A cookie without the prefix can be planted by whoever sits on the way.
    assert_eq!(me("moorline.example.org", &format!("moorline={value}")).await, 401);
    assert_eq!(me(&broker.host(), &own).await, 401);
}

#[actix_web::test]
async fn browsers_are_held_to_https_where_a_listed_proxy_says_that_they_came_by_it() {
    let https = ("host", "moorline.example.org");
    for (proxies, said, held) in [
        (&["127.0.0.1"][..], "https", true),
        (&["127.0.0.1"], "http, https", true),
        // Whoever stands before the proxy can have written the first.
        (&["127.0.0.1"], "https, http", false),
        (&[], "https", false),
    ] {
        let (broker, _) = fresh(|config| {
            config.http.origins =
                vec!["https://moorline.example.org".into(), "http://plain.example.org".into()];
            config.http.trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        })
        .await;
        let answer = broker.send("GET", "/livez", &[https, ("x-forwarded-proto", said)], "").await;
        assert_eq!(answer.headers.contains_key("strict-transport-security"), held, "{proxies:?} {said}");
        for host in [&*broker.host(), "plain.example.org"] {
            let answer =
                broker.send("GET", "/livez", &[("host", host), ("x-forwarded-proto", said)], "").await;
            assert!(!answer.headers.contains_key("strict-transport-security"), "{host}");
        }
    }
}

#[actix_web::test]
async fn passwords_are_not_taken_where_everybody_on_the_way_could_read_them() {
    let open = |config: &mut Config| config.http.hosts = vec!["moorline.lan:8080".into()];
    let (broker, secret) = fresh(open).await;
    let headers = [("host", "moorline.lan:8080"), ("content-type", "application/json")];
    let login = json!({ "name": "anna", "password": PASSWORD }).to_string();
    let accept = json!({ "secret": secret, "name": "anna", "password": PASSWORD }).to_string();
    for (path, body) in [("/api/v1/login", &login), ("/api/v1/invitation/accept", &accept)] {
        let refused = broker.send("POST", path, &headers, body).await;
        refused.refuses(Code::POLICY);
        assert!(refused.text.contains("https"), "{refused:?}");
    }
    let (broker, _) = fresh(|config| {
        open(config);
        config.login.allow_http = true;
    })
    .await;
    broker.send("POST", "/api/v1/login", &headers, &login).await.refuses(Code::LOGIN_REFUSED);
}

#[actix_web::test]
async fn ones_own_logins_are_listed_and_ended_and_nobody_elses() {
    let staff = Staff::new().await;
    let list = staff.asks("oper", "GET", "/api/v1/me/logins", json!({})).await.json();
    let own = &list["logins"][0];
    assert_eq!((list["logins"].as_array().unwrap().len(), &own["this"]), (1, &json!(true)));
    assert_eq!((&own["agent"], &own["address"]), (&json!("test"), &json!("127.0.0.1")));
    let path = format!("/api/v1/me/logins/{}", own["id"].as_str().unwrap());
    staff.asks("other", "DELETE", &path, json!({})).await.refuses(Code::UNKNOWN);
    assert_eq!(staff.asks("oper", "DELETE", &path, json!({})).await.json(), json!({ "done": true }));
    staff.asks("oper", "GET", "/api/v1/me", json!({})).await.refuses(Code::LOGIN_EXPIRED);
}

#[actix_web::test]
async fn no_password_and_no_secret_is_in_an_answer_or_a_metric() {
    let (broker, secret) = fresh(|_| ()).await;
    let body = json!({ "secret": secret, "name": "anna", "password": PASSWORD });
    broker.page("POST", "/api/v1/invitation/accept", "", body).await;
    let answers = [
        broker.log_in("anna", "a guess that is wrong", "").await,
        broker
            .page("POST", "/api/v1/login", "", json!({ "name": 7, "password": "a guess that is wrong" }))
            .await,
        broker
            .page("POST", "/api/v1/login", "", json!({ "name": "x", "password": ["a guess that is wrong"] }))
            .await,
        broker.page("POST", "/api/v1/invitation", "", json!({ "secret": secret, "more": 1 })).await,
        broker.get("/metrics").await,
    ];
    for answer in answers {
        assert!(!answer.text.contains("a guess") && !answer.text.contains(&secret), "{answer:?}");
    }
    let text = broker.get("/metrics").await.text;
    assert!(text.contains("moorline_auth_failures_total{kind=\"password\"} 1"), "{text}");
}

/// A code of an authenticator; each step is taken once.
fn code(secret: &str, step: i64) -> String {
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    crate::identity::code_at(&secret, clock::wall().as_second() / 30 + step).to_string()
}

#[actix_web::test]
async fn where_a_second_factor_is_required_nothing_else_is_let_through_until_there_is_one() {
    let (broker, secret) = fresh(|config| config.login.totp = crate::config::Totp::Required).await;
    let body = json!({ "secret": secret, "name": "anna", "password": PASSWORD });
    let (own, _) = cookie(&broker.page("POST", "/api/v1/invitation/accept", "", body).await);
    assert_eq!(broker.page("GET", "/api/v1/me", &own, json!({})).await.json()["second_factor"], "missing");
    for (method, path) in [
        ("GET", "/api/v1/devices"),
        ("GET", "/api/v1/people"),
        ("GET", "/api/v1/me/logins"),
        ("POST", "/api/v1/me/password"),
        ("POST", "/api/v1/tokens"),
        ("POST", "/api/v1/sessions"),
    ] {
        broker.page(method, path, &own, json!({})).await.refuses(Code::SECOND_FACTOR_MISSING);
    }
    let terminal = format!("/api/v1/sessions/{NO_SESSION}/terminal");
    let origin = format!("http://{}", broker.host());
    let headers = [("cookie", own.as_str()), ("origin", origin.as_str())];
    broker.upgrade(&terminal, "moorline.term.v1", &headers).await.refuses(Code::SECOND_FACTOR_MISSING);

    let totp = async |path: &str, body: Value| {
        broker.page("POST", &format!("/api/v1/me/totp{path}"), &own, body).await
    };
    totp("", json!({ "password": "wrong" })).await.refuses(Code::LOGIN_REFUSED);
    let begun = totp("", json!({ "password": PASSWORD })).await.json();
    let shared = begun["secret"].as_str().unwrap();
    assert!(begun["uri"].as_str().unwrap().starts_with("otpauth://totp/moorline:anna?secret="), "{begun}");
    assert!(begun["qr"].as_str().unwrap().contains("<svg"), "{begun}");
    totp("/confirm", json!({ "code": "000000" })).await.refuses(Code::CODE_REFUSED);
    let confirmed = totp("/confirm", json!({ "code": code(shared, -1) })).await.json();
    assert_eq!(confirmed["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(broker.page("GET", "/api/v1/people", &own, json!({})).await.status, 200);

    broker.log_in("anna", PASSWORD, "").await.refuses(Code::SECOND_FACTOR);
    let with = |code: String| json!({ "name": "anna", "password": PASSWORD, "code": code });
    broker.page("POST", "/api/v1/login", "", with("000000".into())).await.refuses(Code::CODE_REFUSED);
    let again = broker.page("POST", "/api/v1/login", "", with(code(shared, 0))).await;
    assert_eq!(again.json(), json!({ "person": "anna" }));
    let proof = |code: &str| json!({ "password": PASSWORD, "code": code });
    totp("/off", proof("000000")).await.refuses(Code::CODE_REFUSED);
    totp("/recovery-codes", proof("000000")).await.refuses(Code::CODE_REFUSED);
    let old = confirmed["recovery_codes"][0].as_str().unwrap();
    let renewed = totp("/recovery-codes", proof(old)).await.json();
    assert_eq!(renewed["recovery_codes"].as_array().unwrap().len(), 10);
    let audit = broker.page("GET", "/api/v1/audit", &own, json!({})).await.json();
    let acts = audit["entries"].as_array().unwrap().iter().map(|entry| (&entry["what"], &entry["outcome"]));
    let told = [
        ("recovery_codes_renew", "done"),
        ("recovery_codes_renew", "code_refused"),
        ("totp_off", "code_refused"),
        ("login", "done"),
        ("login", "code_refused"),
        ("totp_confirm", "done"),
        ("totp_confirm", "code_refused"),
        ("totp_begin", "done"),
        ("totp_begin", "login_refused"),
        ("invitation_accept", "done"),
    ];
    let told = told.map(|(what, outcome)| (json!(what), json!(outcome)));
    assert!(acts.eq(told.iter().map(|(what, outcome)| (what, outcome))), "{audit}");
    let recovery = renewed["recovery_codes"][0].as_str().unwrap();
    assert!([shared, old, recovery].iter().all(|secret| !audit.to_string().contains(secret)), "{audit}");
    totp("/off", proof(confirmed["recovery_codes"][1].as_str().unwrap())).await.refuses(Code::CODE_REFUSED);
    assert_eq!(totp("/off", proof(recovery)).await.status, 200);
    broker.page("GET", "/api/v1/people", &own, json!({})).await.refuses(Code::SECOND_FACTOR_MISSING);
}
