//! What people who run Moorline see of it: the tree of actors, events, figures.

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::events::Events;
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, World, once, wait};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

once! {
    the_tree_of_actors_tells_who_lives_and_who_failed,
    a_question_about_actors_that_makes_no_sense_is_refused,
    what_changes_is_told_at_once_until_the_broker_goes,
    a_listener_that_is_gone_makes_room_for_another,
    what_breaks_stands_in_the_figures,
    an_agent_tells_its_own_figures_where_it_is_told_to,
}

/// A broker that can be made to fail, with one device.
async fn fallible(stage: &Stage) -> Result<World> {
    let broker = Broker::start_in(stage, free_port(), &[], &[("MOORLINE_TEST_FAULTS", "1")]).await?;
    let device = Device::start(stage, &broker, "device", Kind::Embedded, broker.address).await?;
    Ok(World { device, broker })
}

async fn panic_in(broker: &Broker, session: &str) -> Result<()> {
    let path = format!("/api/v1/test/panic/{session}");
    broker.call(Method::POST, &path, None).await?.is(204)?;
    Ok(())
}

/// The one actor of that id in an answer.
fn actor<'a>(list: &'a Value, id: &str) -> Result<&'a Value> {
    let actors = list["actors"].as_array().context("no actors")?;
    actors.iter().find(|actor| actor["id"] == *id).with_context(|| format!("no {id} in {list}"))
}

fn total<'a>(totals: &'a Value, kind: &str) -> Result<&'a Value> {
    let totals = totals["totals"].as_array().context("no totals")?;
    totals.iter().find(|total| total["kind"] == *kind).context("no such total")
}

async fn the_tree_of_actors_tells_who_lives_and_who_failed(stage: &Stage) -> Result<()> {
    for text in ["panicked", "session is made to fail", "taken up again", "interrupted"] {
        stage.announce(text);
    }
    let world = fallible(stage).await?;
    let terminal = world.shell().await?;
    let list = world.broker.get("/api/v1/actors").await?;
    let device = actor(&list, &world.device.id)?;
    ensure!(device["kind"] == "device_connection" && device["state"] == "live", "{device}");
    ensure!(device["parent"]["kind"] == "device_directory" && device["parent"]["id"] == "all", "{device}");
    ensure!(
        device["healthy"] == true && device["restarts"] == 0 && device["last_failure"].is_null(),
        "{device}"
    );
    ensure!(device["uptime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{device}");
    // Its greeting came through its mailbox.
    ensure!(device["mailbox"]["depth"] == 0 && device["mailbox"]["capacity"] == 256, "{device}");
    ensure!(device["mailbox"]["high"].as_u64().is_some_and(|high| high >= 1), "{device}");
    let before = actor(&list, &terminal.session)?["number"].as_u64().context("a number")?;
    ensure!(total(&list, "user_connection")?["alive"] == 1, "{list}");
    ensure!(list["next"].is_null() && list["at"].is_string(), "{list}");
    let well = world.broker.get("/api/v1/actors?unhealthy=true").await?;
    ensure!(well["actors"] == serde_json::json!([]), "{well}");

    let attached = terminal.attached();
    panic_in(&world.broker, &terminal.session).await?;
    terminal.attached_again(attached).await?;
    let list = world.broker.get("/api/v1/actors?kind=ssh_session&unhealthy=true").await?;
    let failed = actor(&list, &terminal.session)?;
    ensure!(failed["state"] == "live" && failed["healthy"] == false && failed["restarts"] == 1, "{failed}");
    ensure!(failed["number"].as_u64() > Some(before), "{failed}");
    ensure!(
        failed["last_failure"]["cause"] == "panicked" && failed["last_failure"]["at"].is_string(),
        "{failed}"
    );
    ensure!(total(&list, "ssh_session")?["unhealthy"] == 1, "{list}");
    let restarts = world.broker.metric("moorline_actor_restarts_total", &["ssh_session", "panicked"]).await?;
    let unhealthy = world.broker.metric("moorline_actors_unhealthy", &["ssh_session"]).await?;
    ensure!((restarts, unhealthy) == (1.0, 1.0), "{restarts} {unhealthy}");
    Ok(())
}

async fn a_question_about_actors_that_makes_no_sense_is_refused(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    for query in ["limit=0", "limit=20001", "kind=cat", "after=x", "unhealthy=maybe", "sort=id"] {
        let answer = broker.call(Method::GET, &format!("/api/v1/actors?{query}"), None).await?;
        answer.refuses(400, "bad_request")?;
    }
    let mut after = String::new();
    let mut kinds = Vec::new();
    loop {
        let page = broker.get(&format!("/api/v1/actors?limit=1{after}")).await?;
        kinds.push(page["actors"][0]["kind"].as_str().context("one actor")?.to_owned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    ensure!(kinds == ["device_directory", "session_supervisor"], "{kinds:?}");
    Ok(())
}

async fn what_changes_is_told_at_once_until_the_broker_goes(stage: &Stage) -> Result<()> {
    for text in
        ["panicked", "session is made to fail", "taken up again", "link", "connect", "session", "ssh failed"]
    {
        stage.announce(text);
    }
    let mut world = fallible(stage).await?;
    let mut events = Events::listen(&world.broker).await?;
    let first = events.wait_for("actors", |_| true).await?;
    ensure!(total(&first, "device_connection")?["alive"] == 1, "{first}");
    events.wait_for("sessions", |counts| counts["live"] == 0 && counts["adrift"] == 0).await?;
    events.wait_for("devices", |counts| counts["online"] == 1).await?;

    let terminal = world.shell().await?;
    let id = terminal.session.clone();
    events.wait_for("actor", |actor| actor["id"] == *id && actor["state"] == "live").await?;
    events.wait_for("session", |session| session["id"] == *id && session["state"] == "live").await?;
    events.wait_for("sessions", |counts| counts["live"] == 1).await?;
    let attached = terminal.attached();
    panic_in(&world.broker, &id).await?;
    for state in ["failed", "restarting", "ended", "live"] {
        let told = events.wait_for("actor", |actor| actor["id"] == *id && actor["state"] == state).await?;
        ensure!(told["last_failure"]["cause"] == "panicked", "{told}");
    }
    terminal.attached_again(attached).await?;

    let device = world.device.id.clone();
    world.device.agent.process.kill()?;
    events.wait_for("device", |told| told["id"] == *device && told["state"] == "away").await?;
    world.broker.process.signal(Signal::SIGTERM)?;
    events.ended().await?;
    Ok(())
}

async fn a_listener_that_is_gone_makes_room_for_another(stage: &Stage) -> Result<()> {
    stage.announce("limit");
    let broker = Broker::start_with(stage, free_port(), &[("limits.event_streams", "2")]).await?;
    let mut stays = Events::listen(&broker).await?;
    let goes = Events::listen(&broker).await?;
    stays.wait_for("actors", |_| true).await?;
    broker.call(Method::GET, "/api/v1/events", None).await?.refuses(429, "limit")?;
    ensure!(broker.metric("moorline_event_streams", &[]).await? == 2.0, "two listen");
    drop(goes);
    wait::eventually(wait::SOON * 2, "the place of who is gone", async || {
        let listening = broker.metric("moorline_event_streams", &[]).await?;
        ensure!(listening == 1.0, "{listening}");
        Ok(())
    })
    .await?;
    Events::listen(&broker).await?;
    Ok(())
}

async fn what_breaks_stands_in_the_figures(stage: &Stage) -> Result<()> {
    for text in ["shows other host keys", "host_key_changed", "link", "device_lost", "ssh failed"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, Kind::Embedded).await?;
    let counted = async |name: &str, labels: &[&str]| world.broker.metric(name, labels).await;
    ensure!(counted("moorline_links_broken_total", &[]).await? == 0.0, "nothing broke yet");
    ensure!(counted("moorline_store_writable", &[]).await? == 1.0, "the store works");
    ensure!(counted("moorline_build_info", &[]).await? == 1.0, "it says what it is");
    ensure!(counted("moorline_runtime_busy_seconds_total", &["main"]).await? > 0.0, "the main thread works");
    ensure!(counted("moorline_runtime_busy_seconds_total", &["worker"]).await? > 0.0, "so do the others");
    ensure!(counted("process_max_fds", &[]).await? > 0.0, "there is a limit of files");
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.ready().await?;
    for step in ["broker", "device", "host_key", "login", "shell"] {
        ensure!(counted("moorline_session_setup_seconds_count", &[step]).await? == 1.0, "{step}");
    }
    world.device.agent.process.kill()?;
    wait::eventually(wait::SOON, "the break to be counted", async || {
        let broken = world.broker.metric("moorline_links_broken_total", &["closed"]).await?;
        ensure!(broken == 1.0, "{broken}");
        Ok(())
    })
    .await?;
    // Another host key, as after somebody put another machine in its place.
    let state = moorline_tests::Agent::state_of(stage, "device");
    std::fs::remove_file(state.join("ssh_host_ed25519_key"))?;
    world.device.agent.restart(stage)?;
    world.device.agent.online(&world.broker).await?;
    let changed = world.broker.metric("moorline_devices_with_changed_host_key", &[]).await?;
    let changes = world.broker.metric("moorline_host_key_changes_total", &[]).await?;
    ensure!((changed, changes) == (1.0, 1.0), "{changed} {changes}");
    let refused = world.broker.call(
        Method::POST,
        "/api/v1/sessions",
        Some(serde_json::json!({ "device": world.device.id, "cols": 80, "rows": 24 })),
    );
    refused.await?.refuses(502, "host_key_changed")?;
    let accept = serde_json::json!({ "accept_host_keys": true });
    let path = format!("/api/v1/devices/{}", world.device.id);
    world.broker.call(Method::PATCH, &path, Some(accept)).await?.is(200)?;
    let changed = world.broker.metric("moorline_devices_with_changed_host_key", &[]).await?;
    ensure!(changed == 0.0, "{changed} after it was accepted");
    Ok(())
}

async fn an_agent_tells_its_own_figures_where_it_is_told_to(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let (port, socket) = (free_port(), stage.path("agent.sock"));
    let listen = format!("127.0.0.1:{port}");
    let settings = [("metrics.listen", &*listen)];
    let device =
        Device::start_with(stage, &broker, "device", Kind::Embedded, broker.address, &settings).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{listen}/metrics");
    let scrape = async || anyhow::Ok(client.get(&url).send().await?.error_for_status()?.text().await?);
    let has = |text: &str, line: &str| text.lines().any(|found| found == line);
    let text = scrape().await?;
    for line in ["moorline_agent_link_connected 1", "moorline_agent_connections_total{attach=\"fresh\"} 1"] {
        ensure!(has(&text, line), "{line} is missing in\n{text}");
    }
    ensure!(!text.contains(&device.id), "an id is in\n{text}");
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    let text = scrape().await?;
    let let_in = "moorline_agent_logins_total{outcome=\"let_in\"} 1";
    for line in [let_in, "moorline_agent_streams 1", "moorline_agent_streams_opened_total 1"] {
        ensure!(has(&text, line), "{line} is missing in\n{text}");
    }
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        found.with_context(|| format!("{name} is missing in\n{text}"))
    };
    // Other tests of this machine have keepers, too.
    ensure!(value("moorline_agent_keepers")? >= 1.0, "{text}");
    ensure!(value("moorline_agent_link_bytes_total{direction=\"received\"}")? > 1000.0, "{text}");
    ensure!(value("process_resident_memory_bytes")? > 1e6 && value("process_max_fds")? > 0.0, "{text}");

    let listen = format!("unix:{}", socket.display());
    let settings = [("metrics.listen", &*listen)];
    let mut other =
        Device::start_with(stage, &broker, "other", Kind::Embedded, broker.address, &settings).await?;
    let mut stream = tokio::net::UnixStream::connect(&socket).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: agent\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("moorline_agent_link_connected 1"),
        "{answer}"
    );
    other.agent.process.signal(Signal::SIGTERM)?;
    other.agent.process.ended(wait::SOON).await?;
    ensure!(!socket.exists(), "the socket is left");
    Ok(())
}
