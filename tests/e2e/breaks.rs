//! What survives when the network breaks, and what does not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Agent, Broker, Device, Kind, Plan, Relay, Stage, Terminal, World, on_both, once, seed};
use moorline_wire::Code;
use moorline_wire::term::Size;
use moorline_wire::term::frame::{HostControl, LegState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

on_both! {
    fifty_cuts_of_the_devices_line_lose_and_double_nothing,
    fifty_cuts_of_the_persons_line_lose_and_double_nothing,
    single_bytes_on_the_devices_line_are_enough,
    a_device_that_is_cut_off_for_a_while_is_told_and_comes_back_to_the_same_shell,
    a_device_that_comes_back_after_its_link_was_given_up_has_the_same_shell,
    a_plain_shell_ends_with_its_link_and_leaves_nothing,
    an_agent_that_dies_leaves_its_shells_to_the_one_that_takes_its_place,
}

once! {
    single_bytes_on_the_persons_line_are_enough,
    a_black_hole_before_the_person_is_noticed_and_everything_is_there_when_it_heals,
    a_black_hole_before_the_device_is_noticed_and_everything_is_there_when_it_heals,
    an_agent_that_is_there_first_finds_its_broker,
    an_agent_comes_back_to_a_broker_that_was_killed,
}

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// An agent's settings under which it comes back at once.
const AT_ONCE: [(&str, &str); 2] = [("timing.backoff_min", "10ms"), ("timing.backoff_max", "50ms")];

/// A broker's settings under which a device that stays away is given up soon.
const SHORT: [(&str, &str); 4] = [
    ("timing.link_ping", "200ms"),
    ("timing.link_unstable", "500ms"),
    ("timing.link_dead", "1s"),
    ("timing.link_resume_within", "2s"),
];

/// A broker and a device with a relay between them, over which the agent comes back at once.
async fn behind_a_relay(
    stage: &Stage,
    kind: Kind,
    settings: &[(&str, &str)],
) -> Result<(Relay, Broker, Device)> {
    let port = free_port();
    let relay = Relay::to((std::net::Ipv4Addr::LOCALHOST, port).into()).await?;
    let host = relay.address.to_string();
    let with_host: Vec<_> = [("http.hosts", &*host)].iter().chain(settings).copied().collect();
    let broker = Broker::start_with(stage, port, &with_host).await?;
    let device = Device::start_with(stage, &broker, "device", kind, relay.address, &AT_ONCE).await?;
    Ok((relay, broker, device))
}

/// Cuts each connection after a random number of bytes in a random direction, so many times.
fn cuts(relay: &Relay, random: StdRng, times: u64, bytes_max: u64) {
    let random = Mutex::new(random);
    let first = relay.connections();
    relay.plan(move |number| {
        let mut random = random.lock().expect("no panic holds it");
        if number > first + times {
            return Plan::default();
        }
        // One in five is cut early: inside the greeting, inside a frame's head.
        let early = random.random_ratio(1, 5);
        let up = Some(random.random_range(if early { 1..=2_000 } else { 4_000..=bytes_max }));
        match random.random_ratio(1, 10) {
            // Little goes down: the greeting, and credit.
            true => Plan { cut_after_down: Some(random.random_range(1..=3_000)), ..Plan::default() },
            false => Plan { cut_after_up: up, ..Plan::default() },
        }
    });
}

/// Prints every number once while lines are typed into a file, until the relay has cut so often;
/// then compares both with what they must be.
async fn numbers_and_lines_survive(
    stage: &Stage,
    terminal: &Terminal,
    relay: &Relay,
    times: u64,
) -> Result<()> {
    let typed = stage.path("typed");
    terminal.types(&format!(
        "stty -echo; bash -c '(printf \"%s%s\\n\" STA RT; seq 1 200000; printf \"%s%s\\n\" ST OP) & cat > {}; wait'; stty echo\r",
        typed.display()
    ));
    terminal.shows("START\r\n").await?;
    let (first, mut lines) = (relay.connections(), String::new());
    relay.cut();
    for cut in 0..times {
        tokio::select! {
            again = relay.connected_again(first + cut) => again.with_context(|| format!("after {cut} cuts"))?,
            // The output may be over before the last cuts: those are made by hand.
            over = terminal.shows_last("\nSTOP\r\n") => {
                over?;
                relay.cut();
                relay.connected_again(first + cut).await.with_context(|| format!("after {cut} cuts, by hand"))?;
            }
        }
        for part in 0..5 {
            let line = format!("line {cut} {part} {:08x}\n", rand::random::<u32>());
            terminal.types(&line.replace('\n', "\r"));
            lines.push_str(&line);
        }
    }
    let shown = terminal.find(Duration::from_secs(60), b"STOP\r\n").await?;
    let wanted: String = (1..=200_000).map(|number| format!("{number}\r\n")).collect();
    if shown != wanted.as_bytes() {
        std::fs::write(stage.path("shown"), &shown)?;
    }
    ensure!(
        shown == wanted.as_bytes(),
        "the numbers differ at byte {:?}",
        shown.iter().zip(wanted.as_bytes()).position(|(a, b)| a != b)
    );
    terminal.types("\u{4}");
    eventually(SOON, "every typed line once", async || {
        let taken = std::fs::read_to_string(&typed)?;
        ensure!(taken == lines, "typed {} bytes, taken {}", lines.len(), taken.len());
        Ok(())
    })
    .await?;
    ensure!(relay.connections() >= first + times, "only {} cuts", relay.connections() - first);
    assert_eq!(terminal.losses(), (0, 0));
    Ok(())
}

async fn fifty_cuts_of_the_devices_line_lose_and_double_nothing(stage: &Stage, kind: Kind) -> Result<()> {
    stage.announce("no connection to the broker");
    stage.announce("link");
    let (relay, broker, device) = behind_a_relay(stage, kind, &[]).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    cuts(&relay, StdRng::seed_from_u64(seed()), 50, 60_000);
    numbers_and_lines_survive(stage, &terminal, &relay, 50).await?;
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    assert_eq!(terminal.attached(), 1, "the person's own connection had no part in it");
    ensure!(broker.metric("moorline_links_resumed_total", &[]).await? >= 10.0, "the link was not resumed");
    Ok(())
}

async fn fifty_cuts_of_the_persons_line_lose_and_double_nothing(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let relay = Relay::to(world.broker.address).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let terminal = Terminal::attach(&world.broker, relay.address, &session, ticket, SIZE);
    terminal.ready().await?;
    let random = Mutex::new(StdRng::seed_from_u64(seed()));
    let first = relay.connections();
    relay.plan(move |number| {
        let mut random = random.lock().expect("no panic holds it");
        match (number <= first + 50, random.random_ratio(1, 4)) {
            (false, _) => Plan::default(),
            // A person's side sends little: its greeting is some 500 bytes.
            (true, true) => Plan { cut_after_up: Some(random.random_range(1..=700)), ..Plan::default() },
            (true, false) => {
                Plan { cut_after_down: Some(random.random_range(1..=60_000)), ..Plan::default() }
            }
        }
    });
    numbers_and_lines_survive(stage, &terminal, &relay, 50).await?;
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    Ok(())
}

async fn single_bytes_on_the_devices_line_are_enough(stage: &Stage, kind: Kind) -> Result<()> {
    stage.announce("no connection to the broker");
    let (relay, broker, device) = behind_a_relay(stage, kind, &[]).await?;
    relay.plan(|_| Plan { piece: Some(1), ..Plan::default() });
    stage.announce("link");
    relay.cut();
    broker.device_is(&device.id, "online").await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    assert_eq!(terminal.runs("seq -s, 1 300 | md5sum").await?.0, "3ebaa4d5f51c5726ea50d52ed0d35c11  -\n");
    Ok(())
}

async fn single_bytes_on_the_persons_line_are_enough(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let relay = Relay::to(world.broker.address).await?;
    relay.plan(|_| Plan { piece: Some(1), ..Plan::default() });
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let terminal = Terminal::attach(&world.broker, relay.address, &session, ticket, SIZE);
    terminal.ready().await?;
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    Ok(())
}

fn device_is(state: LegState) -> impl FnMut(&HostControl) -> Option<()> {
    move |control| matches!(control, HostControl::Device { state: told, .. } if *told == state).then_some(())
}

async fn a_device_that_is_cut_off_for_a_while_is_told_and_comes_back_to_the_same_shell(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    stage.announce("no connection to the broker");
    stage.announce("link");
    let (relay, broker, device) = behind_a_relay(stage, kind, &[]).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    terminal.runs("X=kept").await?;
    relay.cut_and_refuse();
    terminal.told("that the device is lost", device_is(LegState::Lost)).await?;
    broker.device_is(&device.id, "away").await?;
    assert_eq!(broker.session(&terminal.session).await?["state"], "device_away");
    terminal.types("echo $X-$((6*7))\r");
    relay.heal();
    terminal.told("that the device is back", device_is(LegState::Steady)).await?;
    terminal.shows("kept-42\r\n").await?;
    broker.device_is(&device.id, "online").await?;
    assert_eq!(terminal.runs("echo once").await?.0, "once\n");
    Ok(())
}

/// Waits until the session is in this state.
async fn session_is(broker: &Broker, session: &str, state: &str) -> Result<()> {
    eventually(SOON, &format!("the session to be {state}"), async || {
        let session = broker.session(session).await?;
        ensure!(session["state"] == state, "it is {session}");
        Ok(())
    })
    .await
}

async fn a_device_that_comes_back_after_its_link_was_given_up_has_the_same_shell(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    for text in ["no connection to the broker", "link", "ssh failed"] {
        stage.announce(text);
    }
    let (relay, broker, device) = behind_a_relay(stage, kind, &SHORT).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    terminal.runs("X=kept").await?;
    relay.cut_and_refuse();
    session_is(&broker, &terminal.session, "adrift").await?;
    broker.device_is(&device.id, "offline").await?;
    terminal.told("that the device is lost", device_is(LegState::Lost)).await?;
    relay.heal();
    assert_eq!(terminal.runs("echo $X-$((6*7))").await?.0, "kept-42\n");
    session_is(&broker, &terminal.session, "live").await?;
    assert_eq!(terminal.losses(), (0, 0));
    Ok(())
}

async fn a_plain_shell_ends_with_its_link_and_leaves_nothing(stage: &Stage, kind: Kind) -> Result<()> {
    for text in ["no connection to the broker", "link", "device_lost"] {
        stage.announce(text);
    }
    let settings: Vec<_> = SHORT.iter().copied().chain([("keeper.enabled", "false")]).collect();
    let (relay, broker, device) = behind_a_relay(stage, kind, &settings).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    assert_eq!(broker.session(&terminal.session).await?["kept"], false);
    relay.cut_and_refuse();
    assert_eq!(terminal.ends().await?.code, Code::DEVICE_LOST);
    assert_eq!(terminal.closes().await?, Code::DEVICE_LOST.number());
    broker.device_is(&device.id, "offline").await?;
    assert_eq!(broker.ending(&terminal.session).await?["code"], "device_lost");
    // The device gives up the same link: no shell stays behind.
    nothing_runs_below(&device).await?;
    relay.heal();
    broker.device_is(&device.id, "online").await?;
    Terminal::open(&broker, &device.id).await?.ready().await
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

async fn an_agent_that_dies_leaves_its_shells_to_the_one_that_takes_its_place(
    stage: &Stage,
    kind: Kind,
) -> Result<()> {
    for text in ["link", "device_lost", "ssh failed"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, kind).await?;
    let terminal = world.shell().await?;
    let (shell, _) = terminal.runs("echo $$").await?;
    world.device.agent.process.kill()?;
    world.broker.device_is(&world.device.id, "away").await?;
    let before = terminal.attached();
    world.device.agent.restart(stage)?;
    terminal.attached_again(before).await?;
    assert_eq!(terminal.runs("echo $$").await?.0, shell);
    assert_eq!(terminal.losses(), (0, 0));
    world.broker.device_is(&world.device.id, "online").await
}

async fn a_black_hole_before_the_person_is_noticed_and_everything_is_there_when_it_heals(
    stage: &Stage,
) -> Result<()> {
    let settings = [("timing.user_ping", "1s"), ("timing.user_dead", "3s")];
    let world = World::with(stage, Kind::Embedded, &settings).await?;
    let relay = Relay::to(world.broker.address).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let terminal = Terminal::attach(&world.broker, relay.address, &session, ticket, SIZE);
    terminal.ready().await?;
    let attached = terminal.attached();
    relay.stall();
    let since = Instant::now();
    eventually(Duration::from_secs(10), "the broker to notice", async || {
        let session = world.broker.session(&session).await?;
        ensure!(session["state"] == "detached" && session["viewers"] == 0, "it is {session}");
        Ok(())
    })
    .await?;
    ensure!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    terminal.types("echo $((6*7))\r");
    relay.heal();
    terminal.attached_again(attached).await?;
    terminal.shows("42\r\n").await?;
    assert_eq!(terminal.losses(), (0, 0));
    Ok(())
}

async fn a_black_hole_before_the_device_is_noticed_and_everything_is_there_when_it_heals(
    stage: &Stage,
) -> Result<()> {
    stage.announce("link");
    let (relay, broker, device) = behind_a_relay(stage, Kind::Embedded, &[]).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    relay.stall();
    let since = Instant::now();
    terminal.types("echo $((6*7))\r");
    terminal.told("that the link is unstable", device_is(LegState::Unstable)).await?;
    terminal.told("that the device is lost", device_is(LegState::Lost)).await?;
    let noticed = since.elapsed();
    ensure!((Duration::from_secs(9)..Duration::from_secs(21)).contains(&noticed), "it took {noticed:?}");
    relay.heal();
    terminal.shows("42\r\n").await?;
    assert_eq!(terminal.runs("echo once").await?.0, "once\n");
    Ok(())
}

async fn an_agent_that_is_there_first_finds_its_broker(stage: &Stage) -> Result<()> {
    stage.announce("connect");
    let port = free_port();
    std::fs::write(stage.path("install.key"), "bm90IHlldCBrbm93biB0byB0aGUgYnJva2VyLCBzb29uIGl0IGlz")?;
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let mut agent = Agent::start_with(stage, "device", address, &AT_ONCE)?;
    stage.logged("device", &["connect"]).await?;
    let broker = Broker::start_with(stage, port, &[]).await?;
    agent.online(&broker).await?;
    Ok(())
}

async fn an_agent_comes_back_to_a_broker_that_was_killed(stage: &Stage) -> Result<()> {
    for text in ["link", "connect", "session", "ssh failed"] {
        stage.announce(text);
    }
    let mut broker = Broker::start(stage).await?;
    let mut device =
        Device::start_with(stage, &broker, "device", Kind::Embedded, broker.address, &AT_ONCE).await?;
    let terminal = Arc::new(Terminal::open(&broker, &device.id).await?);
    terminal.ready().await?;
    terminal.runs("X=kept").await?;
    let agent = device.agent.process.pid();
    for _ in 0..5 {
        broker.process.kill()?;
        broker.restart(stage).await?;
        device.agent.online(&broker).await?;
    }
    assert_eq!(device.agent.process.pid(), agent);
    assert_eq!(terminal.runs("echo $X-$((6*7))").await?.0, "kept-42\n");
    assert_eq!(terminal.losses(), (0, 0));
    session_is(&broker, &terminal.session, "live").await
}
