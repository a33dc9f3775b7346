//! A reader that stops for a minute while its program writes endlessly: what broker and agent hold for it
//! meanwhile, and whether everything is there afterwards.
//!
//! In two ways: a terminal that stands still while its page still reads (a tab that is busy), and a program whose
//! socket nobody reads (a computer that was suspended). The broker gives the second one up; it comes back.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use moorline_tests::{Kind, Stage, World, wait};
use moorline_wire::link;
use serde_json::{Value, json};

use super::client::{Client, Got};
use super::held::{self, Part, Parts, kib};
use super::numbers::{Numbers, PROGRAM};
use super::pause::pause;
use super::readers::{clients, end_all};
use super::{Check, Options, Outcome, world};

/// How many stop, so that what they cost stands out.
const READERS: usize = 8;

/// The SSH window of a session: half of the window of its stream.
const SSH_WINDOW_BYTES: u64 = 128 * 1024;

/// How long each reads before it stops: what a flood costs that is read is then known, too.
const FLOOD: Duration = Duration::from_secs(6);

/// How much is read afterwards, to see that nothing is missing: more than all windows together hold.
const READ_AFTERWARDS: u64 = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stop {
    Terminal,
    Socket,
}

/// What came out of one way to stop.
struct Stopped {
    broker: f64,
    agent: f64,
    /// What the broker held for each that was still read, beyond an idle one.
    broker_read: f64,
    parts: Value,
    gaps: u64,
    came_back: usize,
    numbers: u64,
    bound: u64,
}

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, kind: Kind) -> Result<Outcome> {
    let time = Duration::from_secs(options.full_or(60, 15));
    let world = world(stage, kind, &[]).await?;
    // What the first flood of all takes is taken once.
    drop(play(&world, Stop::Terminal, Duration::from_secs(2)).await?);
    let terminal = play(&world, Stop::Terminal, time).await?;
    let socket = play(&world, Stop::Socket, time).await?;
    let bound = kib(terminal.bound as f64);
    let most = |stopped: &Stopped| stopped.broker.max(stopped.agent);
    let figures = |stopped: &Stopped| {
        json!({
            "broker_kib": stopped.broker, "agent_kib": stopped.agent, "parts": stopped.parts,
            "broker_kib_while_read": stopped.broker_read,
            "gaps_told": stopped.gaps, "came_back": stopped.came_back, "lines_in_order": stopped.numbers,
        })
    };
    Ok(Outcome {
        line: format!(
            "a reader that stops for {} s costs {} KiB in the broker (read: {}) and {} KiB in the agent, one whose \
             socket is not read {} and {} (<= {bound}); {} and {} gaps told, all else in order",
            time.as_secs(),
            terminal.broker,
            terminal.broker_read,
            terminal.agent,
            socket.broker,
            socket.agent,
            terminal.gaps,
            socket.gaps,
        ),
        figures: json!({ "readers": READERS, "seconds": time.as_secs(),
            "terminal": figures(&terminal), "socket": figures(&socket) }),
        // Its windows: the terminal's (limits.window), the stream's in the link, the SSH channel's.
        checks: vec![
            Check::most("stopped terminal, KiB", most(&terminal), bound),
            Check::most("socket that is not read, KiB", most(&socket), bound),
        ],
    })
}

async fn play(world: &World, stop: Stop, time: Duration) -> Result<Stopped> {
    let mut opened = clients(world, world.broker.address, READERS).await?;
    let window = opened.first().map_or(0, |client| client.window);
    let before = held::settled(world).await;
    let mut standing = Vec::new();
    for mut client in opened.drain(..) {
        let mut numbers = Numbers::new();
        numbers.take(&client.runs(PROGRAM).await?)?;
        standing.push(tokio::spawn(stand_still(client, numbers, stop, time)));
    }
    pause(FLOOD / 2).await;
    let read = held::parts(world);
    pause(FLOOD / 2).await;
    let most = most_while(world, time).await;
    let (mut sessions, mut readers) = (Vec::new(), Vec::new());
    for standing in standing {
        let (client, numbers) = standing.await??;
        sessions.push(client.session.clone());
        readers.push((client, numbers));
    }
    let through = world.broker.address;
    let catching_up =
        readers.into_iter().map(|(client, numbers)| tokio::spawn(catch_up(client, numbers, through)));
    let (mut gaps, mut lines, mut came_back) = (0, 0, 0);
    for catching_up in catching_up.collect::<Vec<_>>() {
        let (told, count, broken) = catching_up.await??;
        (gaps, lines, came_back) = (gaps + told, lines + count, came_back + usize::from(broken));
    }
    end_all(world, sessions, 0).await?;
    let each = |parts: &Parts, part: Part| {
        let of = |parts: &Parts| parts.get(&part).copied().unwrap_or_default().own;
        kib((of(parts) - of(&before)) / READERS as f64)
    };
    Ok(Stopped {
        broker: each(&most, Part::Broker),
        agent: each(&most, Part::Agent),
        broker_read: each(&read, Part::Broker),
        parts: held::each_since(&most, &before, READERS),
        gaps,
        came_back,
        numbers: lines,
        bound: window + u64::from(link::Config::default().window_interactive) + SSH_WINDOW_BYTES,
    })
}

/// The most that each part holds at any second of that time.
async fn most_while(world: &World, time: Duration) -> Parts {
    let mut most = Parts::new();
    for _ in 0..time.as_secs() {
        for (part, memory) in held::parts(world) {
            let highest = most.entry(part).or_default();
            if memory.own > highest.own {
                *highest = memory;
            }
        }
        pause(Duration::from_secs(1)).await;
    }
    most
}

/// Reads the flood, then parses nothing for so long; a terminal's page goes on reading its socket until the
/// window is closed.
async fn stand_still(
    mut client: Client,
    mut numbers: Numbers,
    stop: Stop,
    time: Duration,
) -> Result<(Client, Numbers)> {
    reads_for(&mut client, &mut numbers, FLOOD).await?;
    client.parses = false;
    match stop {
        Stop::Socket => pause(time).await,
        Stop::Terminal => reads_for(&mut client, &mut numbers, time).await?,
    }
    client.parses = true;
    Ok((client, numbers))
}

async fn reads_for(client: &mut Client, numbers: &mut Numbers, time: Duration) -> Result<()> {
    let reading = async {
        loop {
            match client.next().await? {
                Got::Output(bytes) => numbers.take(&bytes)?,
                Got::Closed => bail!("it was closed"),
                Got::Live | Got::Other => {}
            }
        }
    };
    tokio::select! {
        ended = reading => ended,
        () = pause(time) => Ok(()),
    }
}

/// Reads on, or comes back and reads on; gives the gaps that were told, the lines that came in order, and
/// whether it had to come back.
async fn catch_up(
    mut client: Client,
    mut numbers: Numbers,
    through: std::net::SocketAddr,
) -> Result<(u64, u64, bool)> {
    let (mut gaps, mut broken) = (client.gaps, false);
    let enough = client.at + READ_AFTERWARDS;
    let reading = async {
        while client.at < enough {
            let got = client.next().await?;
            if client.gaps > gaps {
                gaps = client.gaps;
                numbers.gap();
            }
            match got {
                Got::Output(bytes) => numbers.take(&bytes)?,
                Got::Closed => {
                    ensure!(!broken, "it was closed a second time");
                    broken = true;
                    client.comes_back(through).await?;
                }
                Got::Live | Got::Other => {}
            }
        }
        anyhow::Ok(())
    };
    wait::within(Duration::from_secs(60), "the rest of the output", reading).await??;
    Ok((gaps, numbers.count(), broken))
}
