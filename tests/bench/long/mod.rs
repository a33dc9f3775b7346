//! Measures that take their time: what many sessions hold and leave behind, readers that stand still or vanish,
//! and a key beside bulk on a slow line. Everything is real, and the keeper is on.
//!
//! In reading order:
//!
//! - `memory`: what an idle and a busy session hold; `hundreds`: what five hundred leave behind
//! - `stopped`: a reader that stops for a minute; `vanished`: one that is gone without a word
//! - `slow_line`: an echo on a line of 20 Mbit/s and 20 ms, alone and beside bulk
//! - `client`: a terminal as frames; `readers`: many of them; `numbers`: an endless program that can be checked
//! - `held`: memory and counts, part by part; `pause`: the only waiting for a time
//!
//! Each gives its figures and what is to hold of them.

mod client;
mod held;
mod hundreds;
mod memory;
mod numbers;
mod pause;
mod readers;
mod slow_line;
mod stopped;
mod vanished;

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use moorline_tests::{Broker, Device, Kind, Line, Relay, Stage, World, broker::free_port};
use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::peer::Peer;
use crate::targets::Check;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// What an idle and a busy session hold.
    Memory,
    /// What five hundred sessions leave behind.
    Sessions,
    /// A reader that stops for a minute.
    StoppedReader,
    /// One that is gone without a word.
    Vanished,
    /// An echo on a slow line.
    SlowLine,
}

impl Measure {
    /// Its name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "session_memory",
            Self::Sessions => "sessions_500",
            Self::StoppedReader => "stopped_reader",
            Self::Vanished => "vanished",
            Self::SlowLine => "slow_line",
        }
    }

    async fn play(self, options: &Options, kind: Kind) -> Result<Outcome> {
        let stage = Stage::new();
        match self {
            Self::Memory => Box::pin(memory::measure(&stage, options, kind)).await,
            Self::Sessions => Box::pin(hundreds::measure(&stage, options, kind)).await,
            Self::StoppedReader => Box::pin(stopped::measure(&stage, options, kind)).await,
            Self::Vanished => Box::pin(vanished::measure(&stage, options, kind)).await,
            Self::SlowLine => Box::pin(slow_line::measure(&stage, options, kind)).await,
        }
    }
}

/// What came out of a measure.
#[derive(Debug)]
struct Outcome {
    /// In words and numbers, for a person.
    line: String,
    figures: Value,
    checks: Vec<Check>,
}

/// What came out of all of them.
#[derive(Debug, Default)]
pub struct Long {
    /// The figures, by measure and peer.
    pub figures: Map<String, Value>,
    /// The targets, judged.
    pub targets: Vec<Value>,
}

/// Does what of it is wanted, for those of our peers that are; says what came out of each on the way.
pub fn measure(options: &Options) -> Result<Long> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut long = Long::default();
    for measure in &options.measures {
        let crate::measure::Measure::Long(measure) = measure else { continue };
        let mut figures = Map::new();
        for (peer, kind) in options.peers.iter().filter_map(|peer| Some((*peer, kind(*peer)?))) {
            let since = Instant::now();
            let result = runtime.block_on(measure.play(options, kind));
            figures.insert(peer.name().to_owned(), long.take(*measure, peer, since, result));
        }
        long.figures.insert(measure.name().to_owned(), figures.into());
    }
    Ok(long)
}

impl Long {
    fn take(&mut self, measure: Measure, peer: Peer, since: Instant, result: Result<Outcome>) -> Value {
        let (name, peer, took) = (measure.name(), peer.name(), since.elapsed().as_secs());
        match result {
            Ok(outcome) => {
                eprintln!("bench: {name} {peer}: {} ({took} s)", outcome.line);
                self.targets.extend(outcome.checks.iter().map(|check| check.judged(peer)));
                outcome.figures
            }
            Err(error) => {
                eprintln!("bench: {name} {peer} failed: {error:#}");
                json!({ "error": format!("{error:#}") })
            }
        }
    }
}

/// The device behind that peer, if it is ours.
fn kind(peer: Peer) -> Option<Kind> {
    match peer {
        Peer::MoorlineEmbedded => Some(Kind::Embedded),
        Peer::MoorlineOpenssh => Some(Kind::OpenSsh),
        _ => None,
    }
}

/// What a tested program does not do as shipped: it tells tests more than people want to know.
const AS_SHIPPED: (&str, &str) = ("log.filter", "info");

/// A broker with these settings, and a device of that kind, which dials it directly.
async fn world(stage: &Stage, kind: Kind, settings: &[(&str, &str)]) -> Result<World> {
    let settings: Vec<_> = settings.iter().copied().chain([AS_SHIPPED]).collect();
    let broker = Broker::start_with(stage, free_port(), &settings).await?;
    let device = Device::start_with(stage, &broker, "device", kind, broker.address, &[AS_SHIPPED]).await?;
    Ok(World { device, broker })
}

/// A broker as shipped, and a device of that kind behind that line.
async fn world_behind(stage: &Stage, kind: Kind, line: Line) -> Result<(World, Relay)> {
    let port = free_port();
    let relay = Relay::over((Ipv4Addr::LOCALHOST, port).into(), line)?;
    let host = relay.address.to_string();
    let broker = Broker::start_with(stage, port, &[AS_SHIPPED, ("http.hosts", &host)]).await?;
    let device = Device::start_with(stage, &broker, "device", kind, relay.address, &[AS_SHIPPED]).await?;
    Ok((World { device, broker }, relay))
}
