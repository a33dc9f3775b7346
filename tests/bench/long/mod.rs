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
//! Each gives its figures, its target, and whether that held. A measure that fails has not held.

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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// All of them, in the order in which they are done.
    pub const ALL: [Self; 5] =
        [Self::Memory, Self::Sessions, Self::StoppedReader, Self::Vanished, Self::SlowLine];

    /// Its name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
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

/// What is to be done.
#[derive(Debug)]
pub struct Options {
    /// What is measured.
    pub measures: Vec<Measure>,
    /// On which kinds of device.
    pub kinds: Vec<Kind>,
    /// Fewer sessions and shorter floods: to see that the measures work, not for figures to quote.
    pub short: bool,
}

impl Options {
    /// The first, unless it is to be short.
    fn full_or<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}

/// What came out of a measure.
#[derive(Debug)]
struct Outcome {
    /// In words and numbers, for a person.
    line: String,
    figures: Value,
    target: Value,
    held: bool,
}

/// Does all of it; one line each on the way, and in the end the results by measure and kind of device.
pub async fn measure(options: &Options) -> Result<Map<String, Value>> {
    let mut measured = Map::new();
    for measure in &options.measures {
        let mut kinds = Map::new();
        for kind in &options.kinds {
            let (since, name) = (Instant::now(), kind_name(*kind));
            let result = measure.play(options, *kind).await;
            let took = since.elapsed().as_secs();
            let value = match result {
                Ok(outcome) => {
                    let verdict = if outcome.held { "held" } else { "DID NOT HOLD" };
                    eprintln!("bench: {} {name}: {} — {verdict} ({took} s)", measure.name(), outcome.line);
                    json!({ "figures": outcome.figures, "target": outcome.target, "held": outcome.held })
                }
                Err(error) => {
                    eprintln!("bench: {} {name} failed: {error:#}", measure.name());
                    json!({ "error": format!("{error:#}"), "held": false })
                }
            };
            kinds.insert(name.to_owned(), value);
        }
        measured.insert(measure.name().to_owned(), kinds.into());
    }
    Ok(measured)
}

/// The name of a kind in options and results.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Embedded => "embedded",
        Kind::OpenSsh => "openssh",
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
