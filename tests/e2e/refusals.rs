//! What the device or the way to it refuses: each time a code, a sentence with a remedy for the
//! person, and the chain of causes in the log.

use std::time::Duration;

use anyhow::{Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::raw::Raw;
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, World, on_both, once};
use moorline_wire::Code;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};

on_both! {
    a_login_that_the_device_does_not_have_is_refused,
    an_offline_device_is_refused_at_once,
    a_changed_host_key_refuses_every_session_until_it_is_accepted,
}

once! {
    an_unknown_device_is_refused,
    an_sshd_that_is_not_there_is_named,
    an_sshd_that_says_nothing_is_given_up_in_time,
    a_limit_that_is_reached_is_named,
    a_broker_whose_ca_the_device_does_not_trust_is_refused_the_login,
}

/// Asks for a session, which must be refused with this code: at once, if the broker knows already,
/// or in words on its terminal and in the list. Gives the words.
async fn is_refused(broker: &Broker, body: Value, code: Code) -> Result<Value> {
    let answer = broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?;
    if answer.status != 201 {
        return Ok(answer.refuses(code.http_status(), code.name())?.json.clone());
    }
    let text = |key: &str| answer.json[key].as_str().unwrap_or_default().to_owned();
    let mut raw = Raw::terminal(broker, &text("id")).await?;
    raw.say(&Raw::hello(&text("ticket"))).await?;
    let told = raw.refused(code).await?;
    let ending = broker.ending(&text("id")).await?;
    ensure!(ending["code"] == code.name(), "the list says {ending}");
    Ok(told)
}

async fn a_login_that_the_device_does_not_have_is_refused(stage: &Stage, kind: Kind) -> Result<()> {
    for text in ["login", "device_refused"] {
        stage.announce(text);
    }
    let world = World::new(stage, kind).await?;
    let body = json!({ "device": world.device.id, "login": "nobody-of-that-name", "cols": 80, "rows": 24 });
    is_refused(&world.broker, body, Code::DEVICE_REFUSED).await?;
    stage.logged("broker", &["device_refused"]).await?;
    world.shell().await?;
    Ok(())
}

async fn an_offline_device_is_refused_at_once(stage: &Stage, kind: Kind) -> Result<()> {
    let short = [
        ("timing.link_ping", "200ms"),
        ("timing.link_unstable", "500ms"),
        ("timing.link_dead", "1s"),
        ("timing.link_resume_within", "2s"),
    ];
    let mut world = World::with(stage, kind, &short).await?;
    world.device.agent.process.signal(Signal::SIGTERM)?;
    world.device.agent.process.ended(Duration::from_secs(8)).await?;
    world.broker.device_is(&world.device.id, "offline").await?;
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    world.broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?.refuses(409, "device_offline")?;
    Ok(())
}

async fn a_changed_host_key_refuses_every_session_until_it_is_accepted(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    for text in ["host key", "host_key"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, kind).await?;
    world.shell().await?;
    let id = world.device.id.clone();
    let pinned = world.broker.device(&id).await?;
    assert_eq!(pinned["host_key"], "pinned");
    match &mut world.device.sshd {
        // Somebody else answers on the sshd's port; the agent has noticed nothing.
        Some(sshd) => sshd.change_host_key(stage).await?,
        // The device has another host key than before, and says so.
        None => {
            world.device.agent.process.kill()?;
            let state = moorline_tests::Agent::state_of(stage, "device");
            let key = std::fs::read_dir(&state)?
                .flatten()
                .find(|entry| entry.file_name().to_string_lossy().contains("host"));
            std::fs::remove_file(key.expect("the embedded sshd keeps its host key").path())?;
            world.device.agent.restart(stage)?;
            world.broker.device_is(&id, "online").await?;
        }
    }
    let body = json!({ "device": id, "cols": 80, "rows": 24 });
    is_refused(&world.broker, body.clone(), Code::HOST_KEY_CHANGED).await?;
    stage.logged("broker", &["host_key_changed"]).await?;
    is_refused(&world.broker, body, Code::HOST_KEY_CHANGED).await?;
    assert_eq!(world.broker.device(&id).await?["host_key"], "changed");
    let path = format!("/api/v1/devices/{id}");
    world.broker.call(Method::PATCH, &path, Some(json!({ "accept_host_keys": true }))).await?.is(200)?;
    let accepted = world.broker.device(&id).await?;
    assert_eq!(accepted["host_key"], "pinned");
    assert_ne!(accepted["fingerprints"], pinned["fingerprints"]);
    world.shell().await?;
    Ok(())
}

async fn an_unknown_device_is_refused(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let ask = async |device: &str| {
        let body = json!({ "device": device, "cols": 80, "rows": 24 });
        broker.call(Method::POST, "/api/v1/sessions", Some(body)).await
    };
    for _ in 0..1_000 {
        ask("d-aaaaaaaaaaaaaaaa").await?.refuses(404, "unknown_device")?;
    }
    let answer = ask("../../etc/passwd").await?;
    ensure!(matches!(answer.status, 400 | 404), "{}", answer.text);
    for method in [Method::GET, Method::DELETE] {
        broker
            .call(method, "/api/v1/devices/d-aaaaaaaaaaaaaaaa", None)
            .await?
            .refuses(404, "unknown_device")?;
    }
    Ok(())
}

async fn an_sshd_that_is_not_there_is_named(stage: &Stage) -> Result<()> {
    for text in ["sshd", "unreachable"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, Kind::OpenSsh).await?;
    if let Some(sshd) = &mut world.device.sshd {
        sshd.process.kill()?;
    }
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    is_refused(&world.broker, body, Code::SSHD_UNREACHABLE).await?;
    stage.logged("device", &["refused"]).await?;
    Ok(())
}

async fn an_sshd_that_says_nothing_is_given_up_in_time(stage: &Stage) -> Result<()> {
    stage.announce("setup_timeout");
    let settings = [("timing.ssh_handshake", "2s"), ("timing.ssh_auth", "1s"), ("timing.ssh_channel", "1s")];
    let world = World::with(stage, Kind::OpenSsh, &settings).await?;
    if let Some(sshd) = &world.device.sshd {
        sshd.process.signal(Signal::SIGSTOP)?;
    }
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    is_refused(&world.broker, body, Code::SETUP_TIMEOUT).await?;
    ensure!(world.broker.metric("moorline_timeouts_total", &[]).await? >= 1.0, "the timeout was not counted");
    Ok(())
}

async fn a_limit_that_is_reached_is_named(stage: &Stage) -> Result<()> {
    let world = World::with(stage, Kind::Embedded, &[("limits.sessions_per_device", "2")]).await?;
    let (one, _two) = (world.shell().await?, world.shell().await?);
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    world.broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?.refuses(429, "limit")?;
    one.types("exit\r");
    one.ends().await?;
    world.shell().await?;
    Ok(())
}

async fn a_broker_whose_ca_the_device_does_not_trust_is_refused_the_login(stage: &Stage) -> Result<()> {
    stage.announce("device_refused");
    let broker = Broker::start_with(stage, free_port(), &[]).await?;
    let device = Device::start(stage, &broker, "device", Kind::OpenSsh, broker.address).await?;
    Terminal::open(&broker, &device.id).await?.ready().await?;
    // The device's owner takes the broker's CA away.
    std::fs::write(moorline_tests::Agent::state_of(stage, "device").join("user_ca.pub"), "")?;
    let told =
        is_refused(&broker, json!({ "device": device.id, "cols": 80, "rows": 24 }), Code::DEVICE_REFUSED)
            .await?;
    ensure!(told.to_string().contains("CA"), "the remedy does not speak of the CA: {told}");
    Ok(())
}
