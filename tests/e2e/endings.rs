//! How sessions end, and what is left of them: nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, World, on_both, once};
use moorline_wire::Code;
use moorline_wire::term::{Size, ViewerControl};
use nix::sys::signal::Signal;
use reqwest::Method;

on_both! {
    a_killed_session_says_who_and_why_within_a_second_and_leaves_no_process,
    a_killed_session_takes_stubborn_programs_with_it,
    a_shell_that_nobody_comes_back_to_is_ended,
    an_agent_that_is_stopped_leaves_in_time_and_its_shells_wait_for_the_next,
}

once! {
    ten_viewers_on_three_devices_hear_nothing_of_each_others_ends,
    killing_is_idempotent_and_a_stranger_is_unknown,
    all_sessions_of_a_device_or_a_person_are_killed_at_once,
    the_person_may_end_their_session_from_the_terminal,
    a_broker_that_is_stopped_says_so_drains_and_comes_back,
}

/// Waits until no process is left below the device's agent and sshd.
async fn nothing_runs_below(device: &Device) -> Result<()> {
    eventually(SOON, "the device's shells to end", async || {
        let left = device.processes();
        ensure!(left.is_empty(), "{left:?} run on");
        Ok(())
    })
    .await
}

async fn a_killed_session_says_who_and_why_within_a_second_and_leaves_no_process(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    terminal.types("while :; do echo flood; done & yes\r");
    terminal.shows("flood").await?;
    let since = Instant::now();
    assert!(world.broker.end(&terminal.session, "the machine is moved").await?);
    let ending = terminal.ends().await?;
    let took = terminal.ended_at().map(|at| at - since).unwrap_or_default();
    ensure!(took < Duration::from_secs(1), "it took {took:?}");
    assert_eq!((ending.code, ending.by.as_deref()), (Code::KILLED, Some("demo")));
    assert!(ending.text.contains("demo") && ending.text.contains("the machine is moved"), "{}", ending.text);
    assert_eq!(terminal.closes().await?, Code::KILLED.number());
    nothing_runs_below(&world.device).await?;
    assert_eq!(world.broker.ending(&terminal.session).await?["by"], "demo");
    Ok(())
}

async fn a_killed_session_takes_stubborn_programs_with_it(stage: &Stage, kind: Kind) -> Result<()> {
    let ignores = "trap '' HUP TERM INT; ";
    let world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    terminal.types(&format!(
        "bash -c \"{ignores}printf '%s%s' STUB BORN; while :; do read -t 1 <> <(:); done\"\r"
    ));
    terminal.shows("STUBBORN").await?;
    world.broker.end(&terminal.session, "enough").await?;
    nothing_runs_below(&world.device).await
}

async fn a_shell_that_nobody_comes_back_to_is_ended(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::with(stage, kind, &[("timing.detached_for", "2s")]).await?;
    let terminal = world.shell().await?;
    let session = terminal.session.clone();
    drop(terminal);
    let ending = world.broker.ending(&session).await?;
    ensure!(ending["text"].as_str().is_some_and(|text| text.ends_with('.')), "{ending}");
    nothing_runs_below(&world.device).await
}

async fn an_agent_that_is_stopped_leaves_in_time_and_its_shells_wait_for_the_next(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    for text in ["agent_stopped", "ssh failed", "link"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    let (shell, _) = terminal.runs("echo $$").await?;
    let below = world.device.below();
    world.device.agent.process.signal(Signal::SIGTERM)?;
    let status = world.device.agent.process.ended(Duration::from_secs(8)).await?;
    ensure!(status.success(), "it ended with {status}");
    eventually(SOON, "what leads to its shells to end", async || {
        let left: Vec<_> = below.iter().filter(|pid| moorline_tests::inspect::is_alive(**pid)).collect();
        ensure!(left.is_empty(), "{left:?} run on");
        Ok(())
    })
    .await?;
    let before = terminal.attached();
    world.device.agent.restart(stage)?;
    terminal.attached_again(before).await?;
    assert_eq!(terminal.runs("echo $$").await?.0, shell);
    world.broker.end(&terminal.session, "enough").await?;
    nothing_runs_below(&world.device).await
}

async fn ten_viewers_on_three_devices_hear_nothing_of_each_others_ends(stage: &Stage) -> Result<()> {
    stage.announce("ssh failed");
    stage.announce("agent_stopped");
    let broker = Broker::start(stage).await?;
    let one = Device::start(stage, &broker, "one", Kind::Embedded, broker.address).await?;
    let two = Device::start(stage, &broker, "two", Kind::Embedded, broker.address).await?;
    let mut three = Device::start(stage, &broker, "three", Kind::OpenSsh, broker.address).await?;
    let mut terminals = Vec::new();
    for number in 0..10 {
        let device = [&one, &two, &three][number % 3];
        let terminal = Terminal::open(&broker, &device.id).await?;
        terminal.ready().await?;
        terminal.runs(&format!("I=terminal-{number}")).await?;
        terminals.push((number, terminal));
    }
    let all_answer = async |terminals: &[(usize, Terminal)]| {
        for (number, terminal) in terminals {
            terminal.check_open()?;
            ensure!(
                terminal.runs("echo $I").await?.0 == format!("terminal-{number}\n"),
                "terminal {number} is another"
            );
        }
        anyhow::Ok(())
    };
    all_answer(&terminals).await?;
    // Each goes in another way.
    terminals[0].1.types("exit\r");
    terminals[0].1.ends().await?;
    terminals[1].1.types("kill -KILL $$\r");
    terminals[1].1.ends().await?;
    broker.end(&terminals[3].1.session, "for the test").await?;
    terminals[3].1.ends().await?;
    terminals[4].1.says(ViewerControl::Kill { reason: None });
    terminals[4].1.ends().await?;
    for gone in [4, 3, 1, 0] {
        terminals.remove(gone);
    }
    all_answer(&terminals).await?;
    // A whole device goes, with everyone on it.
    three.agent.process.signal(Signal::SIGTERM)?;
    three.agent.process.ended(SOON).await?;
    let (on_three, others): (Vec<_>, Vec<_>) = terminals.into_iter().partition(|(number, _)| number % 3 == 2);
    assert_eq!((on_three.len(), others.len()), (3, 3));
    for (_, terminal) in &on_three {
        eventually(SOON, "the session to be adrift", async || {
            let session = broker.session(&terminal.session).await?;
            ensure!(session["state"] == "adrift", "it is {session}");
            Ok(())
        })
        .await?;
    }
    all_answer(&others).await?;
    three.agent.restart(stage)?;
    all_answer(&on_three).await
}

async fn killing_is_idempotent_and_a_stranger_is_unknown(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    assert!(world.broker.end(&terminal.session, "once").await?);
    terminal.ends().await?;
    assert!(!world.broker.end(&terminal.session, "twice").await?);
    assert_eq!(world.broker.ending(&terminal.session).await?["text"], "demo ended this session: once");
    let unknown = "/api/v1/sessions/s-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    world.broker.call(Method::DELETE, unknown, None).await?.refuses(404, "unknown")?;
    world.broker.call(Method::DELETE, "/api/v1/sessions", None).await?.refuses(400, "bad_request")?;
    Ok(())
}

async fn all_sessions_of_a_device_or_a_person_are_killed_at_once(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    for query in [format!("device={}", world.device.id), "user=demo".to_owned()] {
        let (one, two) = (world.shell().await?, world.shell().await?);
        let answer = world.broker.call(Method::DELETE, &format!("/api/v1/sessions?{query}"), None).await?;
        assert_eq!(answer.is(200)?.json["killed"], 2, "{query}");
        assert_eq!((one.ends().await?.code, two.ends().await?.code), (Code::KILLED, Code::KILLED));
    }
    nothing_runs_below(&world.device).await
}

async fn the_person_may_end_their_session_from_the_terminal(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    terminal.says(ViewerControl::Kill { reason: Some("done here".into()) });
    let ending = terminal.ends().await?;
    assert_eq!(ending.code, Code::KILLED);
    assert!(ending.text.contains("done here"), "{}", ending.text);
    nothing_runs_below(&world.device).await
}

async fn a_broker_that_is_stopped_says_so_drains_and_comes_back(stage: &Stage) -> Result<()> {
    for text in ["link", "connect", "going_away", "session"] {
        stage.announce(text);
    }
    let mut broker = Broker::start_with(stage, free_port(), &[]).await?;
    let at_once = [("timing.backoff_min", "10ms"), ("timing.backoff_max", "50ms")];
    let mut device =
        Device::start_with(stage, &broker, "device", Kind::Embedded, broker.address, &at_once).await?;
    let (session, ticket) = broker.open(&device.id).await?;
    let size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
    let terminal = Terminal::attach(&broker, broker.address, &session, ticket, size);
    terminal.ready().await?;
    terminal.runs("X=kept").await?;
    broker.process.signal(Signal::SIGTERM)?;
    let status = broker.process.ended(Duration::from_secs(32)).await?;
    ensure!(status.success(), "it ended with {status}");
    broker.restart(stage).await?;
    device.agent.online(&broker).await?;
    assert_eq!(terminal.runs("echo $X-$((6*7))").await?.0, "kept-42\n");
    ensure!(broker.session(&session).await?["state"] == "live", "the session is not taken up");
    broker.end(&session, "enough").await?;
    nothing_runs_below(&device).await
}
