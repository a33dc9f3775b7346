//! What the broker refuses to browsers and to programs that are none.

use anyhow::{Result, bail, ensure};
use moorline_tests::raw::{Raw, Upgrade, upgrade_request};
use moorline_tests::{Broker, Kind, Stage, World, once, wait};
use moorline_wire::Code;
use moorline_wire::term::SUBPROTOCOL;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

once! {
    a_page_of_another_origin_is_refused_before_the_upgrade,
    a_page_of_another_origin_may_not_use_the_api,
    a_request_to_another_host_is_refused,
    a_body_that_is_not_what_is_expected_is_refused,
    an_expired_ticket_is_refused,
    a_ticket_is_good_for_once_and_for_its_session,
    a_terminal_without_a_hello_is_closed_in_time,
    a_terminal_of_another_version_is_told_so,
    a_terminal_of_an_unknown_session_is_refused_before_the_upgrade,
    a_frame_out_of_place_is_refused,
    an_oversized_frame_is_refused_before_it_is_read,
    paths_that_are_none_are_not_found,
    the_page_is_served_with_a_strict_policy_compressed_and_cached,
    the_openapi_document_describes_every_route,
    every_metric_has_the_prefix_and_no_id_in_its_labels,
    a_device_is_renamed_and_forgotten,
}

async fn a_page_of_another_origin_is_refused_before_the_upgrade(stage: &Stage) -> Result<()> {
    stage.announce("origin");
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let (host, path) = (world.broker.address.to_string(), format!("/api/v1/sessions/{session}/terminal"));
    let own = world.broker.origin();
    let port = world.broker.address.port();
    let others = [
        "null".to_owned(),
        "http://evil.example".into(),
        "http://localhost".into(),
        "http://127.0.0.1".into(),
        format!("http://127.0.0.1:{}", port - 1),
        format!("http://127.0.0.1:{port}0"),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}.evil.example"),
        format!("http://127.0.0.1:{port}@evil.example"),
        format!("http://evil.example:{port}"),
        format!("http://0.0.0.0:{port}"),
        format!("{own}/"),
        format!("file://127.0.0.1:{port}"),
    ];
    for origin in others.iter().map(|origin| Some(origin.as_str())).chain([None]) {
        match Raw::upgrade(&world.broker, upgrade_request(&host, &path, origin, SUBPROTOCOL)?).await? {
            Upgrade::Refused(status, body) => {
                ensure!(status == 403 && body["code"] == "origin", "{origin:?}: {status} {body}");
                ensure!(body["message"].as_str().is_some_and(|text| text.ends_with('.')), "{body}");
            }
            Upgrade::Done(_) => bail!("{origin:?} was let in"),
        }
    }
    // None of them has used up the ticket, and the page itself is let in.
    let mut raw = Raw::terminal(&world.broker, &session).await?;
    raw.say(&Raw::hello(&ticket)).await?;
    raw.told("attached").await?;
    Ok(())
}

async fn a_page_of_another_origin_may_not_use_the_api(stage: &Stage) -> Result<()> {
    stage.announce("origin");
    let broker = Broker::start(stage).await?;
    let body = json!({ "device": "d-aaaaaaaaaaaaaaaa", "cols": 80, "rows": 24 });
    for (header, value) in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        let request = broker.request(Method::POST, "/api/v1/sessions").header(header, value).json(&body);
        broker.send(request).await?.refuses(403, "origin")?;
        let request = broker.request(Method::DELETE, "/api/v1/sessions?user=demo").header(header, value);
        broker.send(request).await?.refuses(403, "origin")?;
    }
    let answer = broker
        .send(broker.request(Method::GET, "/api/v1/me").header("origin", "http://evil.example"))
        .await?;
    ensure!(answer.headers.get("access-control-allow-origin").is_none(), "another page may read the answer");
    Ok(())
}

async fn a_request_to_another_host_is_refused(stage: &Stage) -> Result<()> {
    stage.announce("host");
    let broker = Broker::start(stage).await?;
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"] {
        for path in ["/", "/api/v1/me", "/agent/v1/link"] {
            let answer = broker.send(broker.request(Method::GET, path).header("host", host)).await?;
            ensure!(answer.status == 421, "{host}{path}: {} {}", answer.status, answer.text);
        }
    }
    Ok(())
}

async fn a_body_that_is_not_what_is_expected_is_refused(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let post = |kind: &str, body: String| {
        broker.request(Method::POST, "/api/v1/sessions").header("content-type", kind).body(body)
    };
    let good = json!({ "device": "d-aaaaaaaaaaaaaaaa", "cols": 80, "rows": 24 }).to_string();
    broker.send(post("text/plain", good.clone())).await?.refuses(415, "media_type")?;
    broker.send(post("application/x-www-form-urlencoded", good.clone())).await?.refuses(415, "media_type")?;
    broker.send(post("application/json", "x".repeat(70_000))).await?.refuses(413, "too_large")?;
    for bad in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"device":7,"cols":80,"rows":24}"#,
        &good.replace("80", "-1"),
        &good.replace("80", "70000"),
    ] {
        broker.send(post("application/json", bad.to_owned())).await?.refuses(400, "bad_request")?;
    }
    for (cols, rows) in [(0, 24), (80, 0), (65535, 65535)] {
        let body = json!({ "device": "d-aaaaaaaaaaaaaaaa", "cols": cols, "rows": rows });
        let answer = broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?;
        ensure!((400..500).contains(&answer.status), "{cols}x{rows}: {} {}", answer.status, answer.text);
    }
    Ok(())
}

async fn an_expired_ticket_is_refused(stage: &Stage) -> Result<()> {
    stage.announce("ticket_expired");
    let world = World::with(stage, Kind::Embedded, &[("timing.ticket", "1s")]).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut raw = Raw::terminal(&world.broker, &session).await?;
    // The ticket runs out while the socket waits for it.
    tokio::time::sleep_until(tokio::time::Instant::now() + std::time::Duration::from_millis(1_200)).await;
    raw.say(&Raw::hello(&ticket)).await?;
    raw.refused(Code::TICKET_EXPIRED).await?;
    let another = world.broker.ticket(&session).await?;
    let mut raw = Raw::terminal(&world.broker, &session).await?;
    raw.say(&Raw::hello(&another)).await?;
    raw.told("attached").await?;
    Ok(())
}

async fn a_ticket_is_good_for_once_and_for_its_session(stage: &Stage) -> Result<()> {
    stage.announce("ticket_expired");
    let world = World::new(stage, Kind::Embedded).await?;
    let (one, ticket) = world.broker.open(&world.device.id).await?;
    let (other, _) = world.broker.open(&world.device.id).await?;
    let mut raw = Raw::terminal(&world.broker, &other).await?;
    raw.say(&Raw::hello(&ticket)).await?;
    raw.refused(Code::TICKET_EXPIRED).await?;
    let ticket = world.broker.ticket(&one).await?;
    let mut first = Raw::terminal(&world.broker, &one).await?;
    first.say(&Raw::hello(&ticket)).await?;
    first.told("attached").await?;
    for stolen in [ticket.as_str(), "", "AAAA", &"A".repeat(10_000)] {
        let mut raw = Raw::terminal(&world.broker, &one).await?;
        raw.say(&Raw::hello(stolen)).await?;
        raw.refused(Code::TICKET_EXPIRED).await?;
    }
    Ok(())
}

async fn a_terminal_without_a_hello_is_closed_in_time(stage: &Stage) -> Result<()> {
    let world = World::with(stage, Kind::Embedded, &[("timing.hello", "1s")]).await?;
    let (session, _) = world.broker.open(&world.device.id).await?;
    Raw::terminal(&world.broker, &session).await?.refused(Code::HELLO_TIMEOUT).await?;
    Ok(())
}

async fn a_terminal_of_another_version_is_told_so(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, _) = world.broker.open(&world.device.id).await?;
    let (host, path) = (world.broker.address.to_string(), format!("/api/v1/sessions/{session}/terminal"));
    let request = upgrade_request(&host, &path, Some(&world.broker.origin()), "moorline.term.v9")?;
    // A browser that is refused the upgrade learns nothing: so it is let in and told. A client that
    // insists on its subprotocol breaks off by itself.
    match Raw::upgrade(&world.broker, request).await {
        Ok(Upgrade::Done(mut raw)) => drop(raw.refused(Code::VERSION).await?),
        Ok(Upgrade::Refused(status, body)) => {
            ensure!(status == 426 && body["code"] == "version", "{status} {body}")
        }
        Err(error) => ensure!(format!("{error:#}").to_lowercase().contains("protocol"), "{error:#}"),
    }
    Ok(())
}

async fn a_terminal_of_an_unknown_session_is_refused_before_the_upgrade(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    for session in ["s-aaaaaaaaaaaaaaaaaaaaaaaaaa", "nonsense"] {
        let (host, path) = (broker.address.to_string(), format!("/api/v1/sessions/{session}/terminal"));
        let request = upgrade_request(&host, &path, Some(&broker.origin()), SUBPROTOCOL)?;
        match Raw::upgrade(&broker, request).await? {
            Upgrade::Refused(status, _) => ensure!(status == 404, "{status}"),
            Upgrade::Done(_) => bail!("{session} was let in"),
        }
    }
    Ok(())
}

async fn a_frame_out_of_place_is_refused(stage: &Stage) -> Result<()> {
    stage.announce("protocol");
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, _) = world.broker.open(&world.device.id).await?;
    let frames: [(&str, Vec<u8>); 7] = [
        ("a frame of the host", vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 65]),
        ("input far ahead of its offset", [vec![0x81, 0, 0, 0, 0, 0, 1, 0, 0], vec![65; 10]].concat()),
        ("an acknowledgement of what was never sent", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0]),
        ("a frame that ends too early", vec![0x81, 0, 0]),
        ("a resize that ends too early", vec![0x84, 0, 0, 0, 1, 0]),
        ("an empty frame", vec![]),
        ("a type that is none", vec![0x90, 1, 2, 3]),
    ];
    for (what, frame) in frames {
        let ticket = world.broker.ticket(&session).await?;
        let mut raw = Raw::terminal(&world.broker, &session).await?;
        raw.say(&Raw::hello(&ticket)).await?;
        raw.told("attached").await?;
        raw.send(frame).await?;
        raw.refused(Code::PROTOCOL).await.map_err(|error| error.context(what))?;
    }
    let first_messages = [
        Message::binary(vec![0x83, 0, 0, 0, 1]),
        Message::text("{"),
        Message::text(json!({ "t": "detach" }).to_string()),
    ];
    for first in first_messages {
        use futures_util::SinkExt;
        let mut raw = Raw::terminal(&world.broker, &session).await?;
        raw.socket.send(first).await?;
        raw.refused(Code::PROTOCOL).await?;
    }
    // The session itself has taken no harm.
    ensure!(world.broker.session(&session).await?["state"] != "ended", "the session has ended");
    Ok(())
}

/// Here the close frame itself has the sentence: the socket breaks off before anybody could say more.
async fn is_too_large(raw: &mut Raw) -> Result<()> {
    let (frame, _) = raw.closed().await?;
    ensure!(u16::from(frame.code) == Code::TOO_LARGE.number(), "{frame:?}");
    ensure!(frame.reason.contains("larger than allowed"), "{frame:?}");
    Ok(())
}

async fn an_oversized_frame_is_refused_before_it_is_read(stage: &Stage) -> Result<()> {
    for text in ["too_large", "protocol"] {
        stage.announce(text);
    }
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut raw = Raw::terminal(&world.broker, &session).await?;
    raw.say(&Raw::hello(&ticket)).await?;
    raw.told("attached").await?;
    raw.send([vec![0x81, 0, 0, 0, 0, 0, 0, 0, 0], vec![65; 70_000]].concat()).await?;
    is_too_large(&mut raw).await?;
    // A head that announces eight exbibytes.
    use tokio::io::AsyncWriteExt;
    let before = moorline_tests::inspect::resident(world.broker.pid())?;
    let ticket = world.broker.ticket(&session).await?;
    let mut raw = Raw::terminal(&world.broker, &session).await?;
    raw.say(&Raw::hello(&ticket)).await?;
    raw.told("attached").await?;
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&(i64::MAX as u64).to_be_bytes());
    head.extend_from_slice(&[1, 2, 3, 4]);
    raw.socket.get_mut().write_all(&head).await?;
    is_too_large(&mut raw).await?;
    let after = moorline_tests::inspect::resident(world.broker.pid())?;
    ensure!(after < before + (8 << 20), "{before} bytes became {after}");
    Ok(())
}

async fn paths_that_are_none_are_not_found(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    for path in [
        "/nothing",
        "/assets/",
        "/assets/nothing.js",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fetc/passwd",
        "/api/v1/nothing",
        "/api",
        "/src/main.ts",
    ] {
        let answer = broker.call(Method::GET, path, None).await?;
        ensure!(answer.status == 404, "{path}: {}", answer.status);
    }
    for path in ["/api/v1/nothing", "/api/v1/sessions/s-aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        broker.call(Method::GET, path, None).await?.refuses(404, "unknown")?;
    }
    let answer = broker.call(Method::PUT, "/api/v1/sessions", Some(json!({}))).await?;
    ensure!(answer.status == 405, "{}", answer.status);
    for path in ["/", "/devices", "/s/s-aaaaaaaaaaaaaaaaaaaaaaaaaa", "/d/d-aaaaaaaaaaaaaaaa"] {
        ensure!(
            broker.call(Method::GET, path, None).await?.is(200)?.text.contains("<html"),
            "{path} is not the page"
        );
    }
    Ok(())
}

async fn the_page_is_served_with_a_strict_policy_compressed_and_cached(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let page = broker.call(Method::GET, "/", None).await?;
    let header = |answer: &moorline_tests::broker::Answer, name: &str| {
        answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let policy = header(&page, "content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        ensure!(policy.contains(part), "no {part} in {policy:?}");
    }
    ensure!(!policy.contains("unsafe-eval") && !policy.contains("script-src 'unsafe"), "{policy:?}");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    let script =
        page.text.split('"').find(|part| part.ends_with(".js")).expect("the page has a script").to_owned();
    for (accepted, wanted) in [("br", "br"), ("gzip", "gzip"), ("identity", "")] {
        let request = broker.request(Method::GET, &script).header("accept-encoding", accepted);
        let answer = broker.send(request).await?;
        answer.is(200)?;
        assert_eq!(header(&answer, "content-encoding"), wanted, "for {accepted}");
        ensure!(header(&answer, "cache-control").contains("immutable"), "a hashed file may be kept");
        let tag = header(&answer, "etag");
        let request = broker
            .request(Method::GET, &script)
            .header("accept-encoding", accepted)
            .header("if-none-match", tag);
        assert_eq!(broker.send(request).await?.status, 304);
    }
    Ok(())
}

async fn the_openapi_document_describes_every_route(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let document = broker.get("/api/v1/openapi.json").await?;
    for (path, methods) in [
        ("/api/v1/me", &["get"][..]),
        ("/api/v1/devices", &["get"]),
        ("/api/v1/devices/{id}", &["get", "patch", "delete"]),
        ("/api/v1/sessions", &["get", "post", "delete"]),
        ("/api/v1/sessions/{id}", &["get", "delete"]),
        ("/api/v1/sessions/{id}/tickets", &["post"]),
    ] {
        for method in methods {
            ensure!(document["paths"][path][method].is_object(), "{method} {path} is not described");
        }
    }
    Ok(())
}

async fn every_metric_has_the_prefix_and_no_id_in_its_labels(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    let text = world.broker.call(Method::GET, "/metrics", None).await?.is(200)?.text.clone();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        ensure!(line.starts_with("moorline_") || line.starts_with("process_"), "{line}");
        ensure!(
            !line.contains(&terminal.session) && !line.contains(&world.device.id),
            "an id is a label: {line}"
        );
    }
    let wanted = [
        "moorline_devices",
        "moorline_sessions",
        "moorline_session_setup_seconds",
        "moorline_session_bytes_total",
        "moorline_viewers",
        "moorline_actors",
        "moorline_store_seconds",
        "moorline_http_request_seconds",
        "process_open_fds",
    ];
    for name in wanted {
        ensure!(text.lines().any(|line| line.starts_with(name)), "{name} is missing");
    }
    ensure!(world.broker.metric("moorline_devices", &["online"]).await? == 1.0, "{text}");
    Ok(())
}

async fn a_device_is_renamed_and_forgotten(stage: &Stage) -> Result<()> {
    for text in ["not_enrolled", "forgotten"] {
        stage.announce(text);
    }
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    let path = format!("/api/v1/devices/{}", world.device.id);
    let renamed = world.broker.call(Method::PATCH, &path, Some(json!({ "name": "by the door" }))).await?;
    assert_eq!(renamed.is(200)?.json["name"], "by the door");
    for bad in [json!({ "name": "" }), json!({ "name": "x".repeat(10_000) }), json!({ "nmae": "x" })] {
        world.broker.call(Method::PATCH, &path, Some(bad)).await?.refuses(400, "bad_request")?;
    }
    let gone = world.broker.call(Method::DELETE, &path, None).await?;
    ensure!((200..300).contains(&gone.status), "{} {}", gone.status, gone.text);
    // Its keeper goes as well, and did so while the broker could still tell it.
    wait::eventually(wait::SOON, "no shell on the forgotten device", async || {
        ensure!(world.device.kept().is_empty(), "{:?}", world.device.kept());
        Ok(())
    })
    .await?;
    assert_eq!(terminal.ends().await?.code, Code::KILLED);
    Ok(())
}
