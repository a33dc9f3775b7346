//! What the run is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How it is called.
pub const USAGE: &str = "\
load [--devices N] [--sessions N] [--json FILE] [--short] [--strict]
  --devices N     simulated devices (10000)
  --sessions N    live sessions on real devices, a tenth of them busy (1000); 0 leaves them out
  --json FILE     where the numbers go (target/load.json)
  --short         2000 devices and 20 sessions, among other work: times are judged generously
  --strict        exits with 1 when a target is missed";

/// See the module.
#[derive(Debug)]
pub struct Options {
    /// Simulated devices.
    pub devices: usize,
    /// Live sessions.
    pub sessions: usize,
    /// Where the numbers go.
    pub json: PathBuf,
    /// Whether the machine is shared with other work.
    pub short: bool,
    /// Whether a missed target is a failure.
    pub strict: bool,
}

impl Options {
    /// Reads them.
    pub fn from(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut devices, mut sessions) = (None, None);
        let mut options =
            Self { devices: 0, sessions: 0, json: "target/load.json".into(), short: false, strict: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match &*word {
                "--devices" => devices = Some(value()?.parse().context("--devices is a number")?),
                "--sessions" => sessions = Some(value()?.parse().context("--sessions is a number")?),
                "--json" => options.json = value()?.into(),
                "--short" => options.short = true,
                "--strict" => options.strict = true,
                other => bail!("what is {other}?\n{USAGE}"),
            }
        }
        options.devices = devices.unwrap_or(if options.short { 2_000 } else { 10_000 });
        options.sessions = sessions.unwrap_or(if options.short { 20 } else { 1_000 });
        Ok(options)
    }

    /// How long everything rests before memory is looked at: what a rush has left is given back by then.
    pub fn settling(&self) -> Duration {
        Duration::from_secs(if self.short { 3 } else { 12 })
    }

    /// For how long processor time is counted: several pings of every device.
    pub fn watching(&self) -> Duration {
        Duration::from_secs(if self.short { 5 } else { 20 })
    }

    /// The same of sessions, which have no beat of their own.
    pub fn watching_sessions(&self) -> Duration {
        Duration::from_secs(if self.short { 2 } else { 20 })
    }

    /// How often a page that must be quick is asked for.
    pub fn asks(&self) -> usize {
        if self.short { 5 } else { 15 }
    }

    /// How many keys are typed where nothing else happens.
    pub fn keys(&self) -> usize {
        if self.short { 100 } else { 500 }
    }
}
