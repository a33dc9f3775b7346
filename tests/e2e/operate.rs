//! What those who run Moorline set and are told: traces, the log, readiness, the service manager.

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::{free_port, root};
use moorline_tests::{Agent, Broker, Collector, Device, Kind, Manager, Stage, Terminal, World, once, wait};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

once! {
    a_set_up_is_one_trace_with_a_span_for_each_step_below_its_caller,
    a_session_keeps_its_trace_over_a_restart_and_a_resume_points_at_it,
    a_set_up_that_fails_says_in_its_trace_where_and_why,
    without_a_collector_each_session_has_a_trace_id_of_its_own,
    the_log_is_changed_at_run_time_by_a_valid_filter_only,
    a_broker_that_is_not_ready_says_why,
    a_service_manager_is_told_when_they_are_ready_alive_and_leaving,
    the_units_are_understood_by_systemd_and_give_the_broker_little,
}

/// A caller's trace, as W3C Trace Context has it.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A broker that sends its traces there at once, and a device.
async fn traced(stage: &Stage, collector: &Collector, settings: &[(&str, &str)]) -> Result<World> {
    let (url, soon) = (collector.url(), ("OTEL_BSP_SCHEDULE_DELAY", "50"));
    let settings: Vec<_> = settings.iter().copied().chain([("tracing.otlp_endpoint", &*url)]).collect();
    let broker = Broker::start_in(stage, free_port(), &settings, &[soon]).await?;
    let device = Device::start(stage, &broker, "device", Kind::Embedded, broker.address).await?;
    Ok(World { device, broker })
}

async fn a_set_up_is_one_trace_with_a_span_for_each_step_below_its_caller(stage: &Stage) -> Result<()> {
    let collector = Collector::start().await?;
    let world = traced(stage, &collector, &[]).await?;
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    let request = world.broker.request(Method::POST, "/api/v1/sessions").header("traceparent", CALLER);
    let answer = world.broker.send(request.json(&body)).await?;
    let created = answer.is(201)?.json.clone();
    let text = |key: &str| created[key].as_str().map(str::to_owned).context("it is in the answer");
    let (id, ticket) = (text("id")?, text("ticket")?);
    let size = moorline_wire::term::Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
    let terminal = Terminal::attach(&world.broker, world.broker.address, &id, ticket, size);
    terminal.ready().await?;

    let caller = |span: &moorline_tests::collector::Span| span.trace == CALLER[3..35];
    let session = collector.span("session", caller).await?;
    let request = collector.span("request", caller).await?;
    ensure!(request.parent == CALLER[36..52], "{request:?}");
    ensure!(session.parent == request.id && session.failed.is_none(), "{session:?}");
    ensure!(session.attributes.get("session") == Some(&id), "{session:?}");
    ensure!(session.service == "moorline-broker", "{session:?}");
    let names = ["authorize", "store", "ticket", "stream", "kex", "auth", "keeper_attach", "first_byte"];
    let mut began = 0;
    for name in names {
        let step = collector.span(name, caller).await?;
        ensure!(step.parent == session.id, "{name} is not below the session: {step:?}");
        ensure!(step.from >= session.from && step.from <= step.until, "{step:?}");
        // A page that comes after the shell still waits for its first byte.
        ensure!(step.until <= session.until || name == "first_byte", "{step:?}");
        // Each begins when the one before has ended; the ticket is given beside the way to the device.
        if name != "ticket" {
            ensure!(step.from >= began, "{name} began before the one before it");
            began = step.from;
        }
    }
    let all = collector.spans().into_iter().filter(caller).count();
    ensure!(all == names.len() + 2, "{all} spans in one trace: {:#?}", collector.spans());

    ensure!(world.broker.session(&id).await?["trace_id"] == CALLER[3..35], "it is in the detail");
    let line = stage.logged("broker", &["session begins", &id]).await?;
    ensure!(line.contains(&CALLER[3..35]), "{line}");
    Ok(())
}

async fn a_session_keeps_its_trace_over_a_restart_and_a_resume_points_at_it(stage: &Stage) -> Result<()> {
    for text in ["no connection to the broker", "link", "connect"] {
        stage.announce(text);
    }
    let collector = Collector::start().await?;
    let mut world = traced(stage, &collector, &[]).await?;
    let terminal = world.shell().await?;
    let session = collector.span("session", |_| true).await?;
    let points_at = |span: &moorline_tests::collector::Span, leg: &str| {
        let of_leg = span.attributes.get("leg").is_some_and(|found| found == leg);
        of_leg && span.links.contains(&(session.trace.clone(), session.id.clone()))
    };
    let attached = terminal.attached();
    terminal.cuts();
    terminal.attached_again(attached).await?;
    let resume = collector.span("resume", |span| points_at(span, "browser")).await?;
    ensure!(resume.trace != session.trace && resume.parent.is_empty(), "{resume:?}");

    let attached = terminal.attached();
    world.broker.process.kill()?;
    world.broker.restart(stage).await?;
    terminal.attached_again(attached).await?;
    terminal.runs("echo again").await?;
    ensure!(world.broker.session(&terminal.session).await?["trace_id"] == *session.trace, "it is kept");
    let taken_up =
        collector.span("resume", |span| points_at(span, "keeper") && span.failed.is_none()).await?;
    for name in ["stream", "kex", "auth", "keeper_attach"] {
        collector.span(name, |span| span.parent == taken_up.id && span.trace == taken_up.trace).await?;
    }
    Ok(())
}

async fn a_set_up_that_fails_says_in_its_trace_where_and_why(stage: &Stage) -> Result<()> {
    for text in ["device_refused", "refused a login", "ssh failed"] {
        stage.announce(text);
    }
    let collector = Collector::start().await?;
    let world = traced(stage, &collector, &[]).await?;
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24, "login": "nobody-of-that-name" });
    let (id, _) = world.broker.open_as(body).await?;
    ensure!(world.broker.ending(&id).await?["code"] == "device_refused", "it is refused");
    let session = collector.span("session", |span| span.attributes.get("session") == Some(&id)).await?;
    ensure!(session.failed.as_deref() == Some("device_refused"), "{session:?}");
    collector.span("auth", |span| span.parent == session.id).await?;
    let failures = world.broker.metric("moorline_session_setup_failures_total", &["login", "device_refused"]);
    ensure!(failures.await? == 1.0, "it is counted");
    // What cannot begin is a trace as well.
    let body = json!({ "device": "d-aaaaaaaaaaaaaaaa", "cols": 80, "rows": 24 });
    world.broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?.refuses(404, "unknown_device")?;
    collector.span("session", |span| span.failed.as_deref() == Some("unknown_device")).await?;
    Ok(())
}

async fn without_a_collector_each_session_has_a_trace_id_of_its_own(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let trace_of = async |id: &str| {
        let session = world.broker.session(id).await?;
        let trace = session["trace_id"].as_str().map(str::to_owned);
        trace.with_context(|| format!("no trace id in {session}"))
    };
    let (one, _) = world.broker.open(&world.device.id).await?;
    let (other, _) = world.broker.open(&world.device.id).await?;
    let (first, second) = (trace_of(&one).await?, trace_of(&other).await?);
    ensure!(first.len() == 32 && first != second, "{first} {second}");
    let line = stage.logged("broker", &["session begins", &one]).await?;
    ensure!(line.contains(&first), "{line}");
    // The line of the actor itself, by its span.
    world.broker.end(&one, "tea").await?;
    let line = stage.logged("broker", &["session ended", &one]).await?;
    ensure!(line.contains(&first), "{line}");
    Ok(())
}

async fn the_log_is_changed_at_run_time_by_a_valid_filter_only(stage: &Stage) -> Result<()> {
    let broker = Broker::start_with(stage, free_port(), &[("log.filter", "info")]).await?;
    let path = "/api/v1/log";
    ensure!(broker.get(path).await? == json!({ "filter": "info", "configured": "info" }), "as it was set");
    broker.get("/api/v1/me").await?;
    ensure!(!stage.log("broker").contains("\"answered\""), "each request is below info");
    let filter = "warn,moorline_broker::http=debug";
    let put = async |filter: &str| broker.call(Method::PUT, path, Some(json!({ "filter": filter }))).await;
    let answer = put(filter).await?;
    ensure!(answer.is(200)?.json == json!({ "filter": filter, "configured": "info" }), "{}", answer.text);
    stage.logged("broker", &["audit", "log_filter", filter]).await?;
    broker.get("/api/v1/me").await?;
    stage.logged("broker", &["answered", "/api/v1/me"]).await?;
    let long = "x".repeat(2000);
    for bad in ["a=b=c", "moorline_broker=loud", "[", &*long] {
        put(bad).await?.refuses(400, "bad_request")?;
    }
    ensure!(broker.get(path).await?["filter"] == filter, "a bad one changes nothing");
    // Nobody can do something after they have switched off who did what.
    put("off").await?.is(200)?;
    put("info").await?.is(200)?;
    let audits = stage.log("broker").lines().filter(|line| line.contains("log_filter")).count();
    ensure!(audits == 7, "{audits} lines of 7 acts");
    Ok(())
}

async fn a_broker_that_is_not_ready_says_why(stage: &Stage) -> Result<()> {
    for text in ["store failed", "store_failed", "not written down", "audit", "locked"] {
        stage.announce(text);
    }
    let world = World::with(stage, Kind::Embedded, &[("timing.store", "500ms")]).await?;
    let check = |ready: &Value, name: &str| {
        let checks = ready["checks"].as_array().cloned().unwrap_or_default();
        checks.into_iter().find(|check| check["name"] == *name).unwrap_or_default()
    };
    let ready = world.broker.get("/readyz").await?;
    ensure!(ready["ready"] == true && ready["reasons"] == json!([]), "{ready}");
    for name in ["listening", "serving", "arbiters", "store"] {
        ensure!(check(&ready, name) == json!({ "name": name, "ok": true, "reason": null }), "{ready}");
    }
    // Somebody else writes into the store, and does not end.
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.path("broker/moorline.db"));
    let mut other = file.connect().await?;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    let path = format!("/api/v1/devices/{}", world.device.id);
    let renamed = world.broker.call(Method::PATCH, &path, Some(json!({ "name": "pump" }))).await?;
    renamed.refuses(503, "store_failed")?;
    let answer = world.broker.call(Method::GET, "/readyz", None).await?;
    let ready = &answer.is(503)?.json;
    ensure!(ready["ready"] == false && check(ready, "store")["ok"] == false, "{ready}");
    ensure!(
        ready["reasons"][0] == check(ready, "store")["reason"] && ready["reasons"][0].is_string(),
        "{ready}"
    );
    ensure!(check(ready, "arbiters")["ok"] == true, "{ready}");
    ensure!(world.broker.metric("moorline_store_writable", &[]).await? == 0.0, "the figure says so, too");
    ensure!(
        world.broker.metric("moorline_store_failures_total", &["store_failed"]).await? >= 1.0,
        "so does this"
    );
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    let ready = world.broker.get("/readyz").await?;
    ensure!(ready["ready"] == true, "{ready}");
    ensure!(world.broker.metric("moorline_store_writable", &[]).await? == 1.0, "it takes writes again");
    Ok(())
}

async fn a_service_manager_is_told_when_they_are_ready_alive_and_leaving(stage: &Stage) -> Result<()> {
    for text in ["ssh failed", "agent_stopped", "link", "connect", "session", "going_away"] {
        stage.announce(text);
    }
    let mut manager = Manager::new(stage, "broker")?;
    let environment = manager.environment()?;
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut broker = Broker::start_in(stage, free_port(), &[], &environment).await?;
    manager.hears("READY=1").await?;
    manager.hears("WATCHDOG=1").await?;
    manager.hears("WATCHDOG=1").await?;

    let mut of_agent = Manager::new(stage, "agent")?;
    let environment = of_agent.environment()?;
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut agent = Agent::start_in(stage, "device", broker.address, &[], &environment)?;
    of_agent.hears("READY=1").await?;
    of_agent.hears("WATCHDOG=1").await?;
    let device = agent.online(&broker).await?;
    // What a session runs does not speak in the agent's name.
    let terminal = Terminal::open(&broker, &device).await?;
    terminal.ready().await?;
    let (said, _) = terminal.runs("env | grep -c -e NOTIFY_SOCKET -e WATCHDOG_USEC").await?;
    ensure!(said.trim() == "0", "{said}");
    let (keepers, name) = (Agent::keepers_of(stage, "device").display().to_string(), "MOORLINE_KEEP_DIR");
    agent.process.signal(Signal::SIGTERM)?;
    of_agent.hears("STOPPING=1").await?;
    agent.process.ended(wait::SOON).await?;
    broker.process.signal(Signal::SIGTERM)?;
    manager.hears("STOPPING=1").await?;
    broker.process.ended(wait::SOON).await?;
    for keeper in moorline_tests::inspect::marked(&format!("{name}={keepers}")) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(keeper)?), Signal::SIGKILL)?;
    }
    Ok(())
}

/// The keys of a unit's sections, each with its value; a key that stands twice has two.
fn unit(name: &str) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(root().join("config/systemd").join(name))?;
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    lines
        .map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .map(|pair| pair.context("a line of a unit is KEY=VALUE"))
        .collect()
}

async fn the_units_are_understood_by_systemd_and_give_the_broker_little(stage: &Stage) -> Result<()> {
    let broker = unit("moorline-broker.service")?;
    for (key, value) in [
        ("Type", "notify"),
        ("WatchdogSec", "30s"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("SystemCallFilter", "@system-service"),
    ] {
        ensure!(broker.contains(&(key.to_owned(), value.to_owned())), "{key}={value} is not in {broker:?}");
    }
    let agent = unit("moorline-agent.service")?;
    for (key, value) in [("Type", "notify"), ("KillMode", "process"), ("OOMPolicy", "continue")] {
        ensure!(agent.contains(&(key.to_owned(), value.to_owned())), "{key}={value} is not in {agent:?}");
    }
    // What sessions inherit must not be taken from them.
    let taken = ["NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "CapabilityBoundingSet"];
    ensure!(!agent.iter().any(|(key, _)| taken.contains(&key.as_str())), "{agent:?}");
    if std::process::Command::new("systemd-analyze").arg("--version").output().is_err() {
        return Ok(());
    }
    for name in ["moorline-broker.service", "moorline-agent.service"] {
        let text = std::fs::read_to_string(root().join("config/systemd").join(name))?;
        // The programs are not installed where tests run.
        let text = text
            .replace("/usr/bin/moorline-broker", "/bin/true")
            .replace("/usr/bin/moorline-agent", "/bin/true");
        std::fs::write(stage.path(name), text)?;
        let verified =
            std::process::Command::new("systemd-analyze").arg("verify").arg(stage.path(name)).output()?;
        let complaint = String::from_utf8_lossy(&verified.stderr).into_owned();
        ensure!(verified.status.success() && complaint.is_empty(), "{name}: {complaint}");
    }
    let mut security = std::process::Command::new("systemd-analyze");
    // 10 is everything; the broker needs a network and one folder.
    security.args(["security", "--offline=yes", "--threshold=20"]).arg(stage.path("moorline-broker.service"));
    let security = security.output()?;
    ensure!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
    Ok(())
}
