//! Requests that are refused: other pages, other hosts, other bodies, too slow, too large.

use super::*;

/// Pages that are not this broker's, however they look.
fn foreign_origins(broker: &Broker) -> Vec<String> {
    let port = broker.app.address.port();
    vec![
        "null".to_owned(),
        "http://evil.example".into(),
        format!("http://evil.example:{port}"),
        "http://127.0.0.1".into(),
        format!("http://127.0.0.1:{}", port - 1),
        format!("http://127.0.0.1:{port}0"),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}.evil.example"),
        format!("http://127.0.0.1:{port}@evil.example"),
        format!("http://127.0.0.2:{port}"),
        format!("http://0.0.0.0:{port}"),
        format!("http://127.0.0.1:{port} http://evil.example"),
        String::new(),
    ]
}

#[actix_web::test]
async fn a_terminal_is_opened_by_pages_of_this_broker_only() {
    let broker = Broker::start().await;
    let path = format!("/api/v1/sessions/{NO_SESSION}/terminal");
    for origin in foreign_origins(&broker) {
        let answer = broker.upgrade(&path, "moorline.term.v1", &[("origin", &origin)]).await;
        assert_eq!(answer.status, 403, "{origin:?}: {answer:?}");
        answer.refuses(Code::ORIGIN);
    }
    broker.upgrade(&path, "moorline.term.v1", &[]).await.refuses(Code::ORIGIN);
    let own = format!("http://{}", broker.host());
    let twice = [("origin", own.as_str()), ("origin", "http://evil.example")];
    broker.upgrade(&path, "moorline.term.v1", &twice).await.refuses(Code::ORIGIN);
    // Of this broker: then only the session is missing.
    let localhost = format!("http://localhost:{}", broker.app.address.port());
    for origin in [own, localhost] {
        broker.upgrade(&path, "moorline.term.v1", &[("origin", &origin)]).await.refuses(Code::UNKNOWN);
    }
}

#[actix_web::test]
async fn an_agents_link_is_not_opened_by_any_page() {
    let broker = Broker::start().await;
    for origin in ["http://evil.example".to_owned(), format!("http://{}", broker.host())] {
        let answer = broker.upgrade("/agent/v1/link", "moorline.link.v1", &[("origin", &origin)]).await;
        answer.refuses(Code::ORIGIN);
    }
}

#[actix_web::test]
async fn nothing_is_changed_for_pages_of_another_site() {
    let broker = Broker::start().await;
    let body = json!({ "device": NO_DEVICE, "cols": 80, "rows": 24 }).to_string();
    let json = ("content-type", "application/json");
    for origin in foreign_origins(&broker) {
        broker
            .send("POST", "/api/v1/sessions", &[json, ("origin", &origin)], &body)
            .await
            .refuses(Code::ORIGIN);
        broker
            .send("DELETE", "/api/v1/sessions?user=demo", &[("origin", &origin)], "")
            .await
            .refuses(Code::ORIGIN);
    }
    for site in ["cross-site", "same-site", "nonsense"] {
        broker
            .send("POST", "/api/v1/sessions", &[json, ("sec-fetch-site", site)], &body)
            .await
            .refuses(Code::ORIGIN);
    }
    for site in ["same-origin", "none"] {
        let answer = broker.send("POST", "/api/v1/sessions", &[json, ("sec-fetch-site", site)], &body).await;
        answer.refuses(Code::UNKNOWN_DEVICE);
    }
}

#[actix_web::test]
async fn another_page_is_let_in_when_the_settings_name_it() {
    let broker = Broker::start_with(|config| {
        config.http.origins = vec!["https://Moorline.example.org/".into()];
        config.http.hosts = vec!["inner.example.org:8443".into()];
    })
    .await;
    let origin = ("origin", "https://moorline.example.org");
    broker.send("DELETE", "/api/v1/sessions", &[origin], "").await.refuses(Code::BAD_REQUEST);
    for host in ["moorline.example.org", "MOORLINE.example.org", "inner.example.org:8443"] {
        assert_eq!(broker.send("GET", "/livez", &[("host", host)], "").await.status, 200, "{host}");
    }
}

#[actix_web::test]
async fn a_request_that_names_another_host_is_misdirected() {
    let broker = Broker::start().await;
    let port = broker.app.address.port();
    for host in [
        "evil.example",
        "",
        "localhost",
        "127.0.0.1",
        &format!("evil.example:{port}"),
        &format!("0.0.0.0:{port}"),
    ] {
        for path in ["/", "/livez", "/api/v1/me", "/agent/v1/link"] {
            let answer = broker.send("GET", path, &[("host", host)], "").await;
            assert_eq!(answer.status, 421, "{host:?}{path}: {answer:?}");
        }
    }
    for head in ["GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.0\r\n"] {
        let answer = broker.raw(format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        assert!(matches!(answer.status, 400 | 421), "{answer:?}");
    }
    let own = broker.host();
    let twice =
        format!("GET /livez HTTP/1.1\r\nhost: {own}\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert!(matches!(broker.raw(twice.as_bytes()).await.status, 400 | 421));
    assert_eq!(broker.send("GET", "/livez", &[("host", &format!("LocalHost:{port}"))], "").await.status, 200);
}

#[actix_web::test]
async fn a_listener_on_every_address_is_named_by_number_only() {
    let broker = Broker::start_with(|config| {
        config.demo = false;
        config.listen = ([0, 0, 0, 0], 0).into();
    })
    .await;
    let port = broker.app.address.port();
    for (host, status) in
        [("127.0.0.1", 200), ("10.1.2.3", 200), ("[fe80::1]", 200), ("rebound.example", 421)]
    {
        let answer = broker.send("GET", "/livez", &[("host", &format!("{host}:{port}"))], "").await;
        assert_eq!(answer.status, status, "{host}");
    }
    let (host, other) = (format!("127.0.0.1:{port}"), format!("http://10.1.2.3:{port}"));
    let own = format!("http://{host}");
    let headers = |origin| [("host", host.as_str()), ("origin", origin)];
    broker.send("DELETE", "/api/v1/sessions", &headers(&own), "").await.refuses(Code::LOGIN_EXPIRED);
    broker.send("DELETE", "/api/v1/sessions", &headers(&other), "").await.refuses(Code::ORIGIN);
}

#[actix_web::test]
async fn a_body_that_is_not_the_expected_json_is_refused() {
    let broker = Broker::start().await;
    let good = json!({ "device": NO_DEVICE, "cols": 80, "rows": 24 }).to_string();
    let kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/json",
        "application/jsonx",
    ];
    for kind in kinds {
        let answer = broker.send("POST", "/api/v1/sessions", &[("content-type", kind)], &good).await;
        answer.refuses(Code::MEDIA_TYPE);
    }
    broker.send("POST", "/api/v1/sessions", &[], &good).await.refuses(Code::MEDIA_TYPE);
    for bad in [
        json!([]),
        json!({}),
        json!({ "device": 7, "cols": 80, "rows": 24 }),
        json!({ "device": "nonsense", "cols": 80, "rows": 24 }),
        json!({ "device": NO_DEVICE, "cols": -1, "rows": 24 }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 70_000 }),
        json!({ "device": NO_DEVICE, "cols": 0, "rows": 24 }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 1001 }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 24, "collumns": 80 }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 24, "login": "" }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 24, "login": "-oProxyCommand=x" }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 24, "login": "a b" }),
        json!({ "device": NO_DEVICE, "cols": 80, "rows": 24, "command": "" }),
    ] {
        broker.json("POST", "/api/v1/sessions", bad).await.refuses(Code::BAD_REQUEST);
    }
    let typed = broker.send(
        "POST",
        "/api/v1/sessions",
        &[("content-type", "Application/JSON; charset=utf-8")],
        &good,
    );
    typed.await.refuses(Code::UNKNOWN_DEVICE);
}

#[actix_web::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let broker = Broker::start().await;
    let json = ("content-type", "application/json");
    broker.send("POST", "/api/v1/sessions", &[json], &"x".repeat(70_000)).await.refuses(Code::TOO_LARGE);
    let announced = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: 99999999999\r\n\r\n",
        broker.host()
    );
    broker.raw(announced.as_bytes()).await.refuses(Code::TOO_LARGE);
    let chunked = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n11170\r\n{}\r\n0\r\n\r\n",
        broker.host(),
        "x".repeat(70_000)
    );
    broker.raw(chunked.as_bytes()).await.refuses(Code::TOO_LARGE);
}

#[actix_web::test]
async fn what_does_not_exist_is_unknown_and_another_method_is_not_served() {
    let broker = Broker::start().await;
    for id in [NO_SESSION, "nonsense", "s-", "%00", "s-AAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        broker.get(&format!("/api/v1/sessions/{id}")).await.refuses(Code::UNKNOWN);
        broker.send("DELETE", &format!("/api/v1/sessions/{id}"), &[], "").await.refuses(Code::UNKNOWN);
        broker.send("POST", &format!("/api/v1/sessions/{id}/tickets"), &[], "").await.refuses(Code::UNKNOWN);
    }
    for id in [NO_DEVICE, "nonsense"] {
        let path = format!("/api/v1/devices/{id}");
        broker.get(&path).await.refuses(Code::UNKNOWN_DEVICE);
        broker.send("DELETE", &path, &[], "").await.refuses(Code::UNKNOWN_DEVICE);
        broker.json("PATCH", &path, json!({ "name": "x" })).await.refuses(Code::UNKNOWN_DEVICE);
    }
    for path in ["/api", "/api/", "/api/v1", "/api/v2/me", "/api/v1/me/", "/agent/v1/nothing"] {
        broker.get(path).await.refuses(Code::UNKNOWN);
    }
    for (method, path) in
        [("PUT", "/api/v1/sessions"), ("POST", "/livez"), ("TRACE", "/"), ("OPTIONS", "/api/v1/me")]
    {
        let answer = broker.send(method, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (405, Some("bad_request")),
            "{method} {path}"
        );
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[actix_web::test]
async fn a_query_with_an_unknown_key_or_without_a_filter_is_refused() {
    let broker = Broker::start().await;
    for (method, query) in [
        ("GET", "?sate=live"),
        ("GET", "?state=dead"),
        ("GET", "?device=nonsense"),
        ("GET", "?limit=0"),
        ("GET", "?limit=501"),
        ("GET", "?q=a+b+c+d+e+f+g+h+i"),
        ("GET", "?state=ended&after=nonsense"),
        ("GET", "?state=ended&after=9.nonsense"),
        ("GET", "?after=9.s-aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("DELETE", ""),
        ("DELETE", "?reason=tea"),
        ("DELETE", "?users=demo"),
        ("DELETE", "?user=demo&reason=%1b%5b2J"),
    ] {
        broker.send(method, &format!("/api/v1/sessions{query}"), &[], "").await.refuses(Code::BAD_REQUEST);
    }
    let killed = broker.send("DELETE", "/api/v1/sessions?user=demo&reason=tea", &[], "").await;
    assert_eq!(killed.json(), json!({ "killed": 0 }));
}

#[actix_web::test]
async fn whoever_sends_too_slowly_is_not_waited_for() {
    let broker = Broker::start_with(|config| {
        config.timing.http_header = Duration::from_secs(1);
        config.timing.http_body = Duration::from_millis(200);
    })
    .await;
    // A head that never ends.
    let mut stream = TcpStream::connect(broker.app.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = Answer::parse(&until_closed(&mut stream).await);
    assert!(matches!(answer.status, 0 | 408), "{answer:?}");
    // A body that never ends.
    let head = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: 100\r\n\r\n{{\"dev",
        broker.host()
    );
    broker.raw(head.as_bytes()).await.refuses(Code::HELLO_TIMEOUT);
    assert_eq!(broker.get("/livez").await.status, 200);
}

#[actix_web::test]
async fn a_head_that_is_no_http_or_too_large_is_refused() {
    let broker = Broker::start().await;
    let own = broker.host();
    for head in [
        "\u{16}\u{3}\u{1}nonsense\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("GET /livez HTTP/1.1\r\nhost: {own}\r\nbad header\r\n\r\n"),
        format!(
            "POST /api/v1/sessions HTTP/1.1\r\nhost: {own}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("GET /livez HTTP/1.1\r\nhost: {own}\r\nx: {}\r\n\r\n", "x".repeat(200_000)),
    ] {
        let mut stream = TcpStream::connect(broker.app.address).await.unwrap();
        // It may close before it has read everything.
        let _ = stream.write_all(head.as_bytes()).await;
        let status = Answer::parse(&until_closed(&mut stream).await).status;
        assert!(
            (400..500).contains(&status) || status == 0,
            "{status} for {:?}",
            &head[..40.min(head.len())]
        );
    }
    assert_eq!(broker.get("/livez").await.status, 200);
}
