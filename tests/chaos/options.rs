//! What the suite is told on its command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::faults::Fault;

/// How it is called.
pub const USAGE: &str = "\
chaos [--rounds N] [--seed S] [--faults a,b] [--lanes N] [--json FILE] [--short] [--list]
  --rounds N    how often each fault is tried (10)
  --seed S      the random moments of that run again (TESTS_SEED)
  --faults a,b  these only
  --lanes N     so many faults at the same time, each with everything of its own (4)
  --json FILE   where the numbers go (target/chaos.json)
  --short       3 rounds of each, among other work: three times the time to be live again
  --list        names the faults";

/// See the module.
#[derive(Debug)]
pub struct Options {
    /// How often each fault is tried.
    pub rounds: usize,
    /// Where all random moments come from.
    pub seed: u64,
    /// What is tried, in this order.
    pub faults: Vec<Fault>,
    /// How many faults are tried at the same time.
    pub lanes: usize,
    /// Where the numbers go.
    pub json: PathBuf,
    /// How often the time that a fault may take.
    pub patience: u32,
}

impl Options {
    /// Reads them.
    pub fn from(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let seed = std::env::var("TESTS_SEED").ok().map(|seed| seed.parse()).transpose();
        let mut options = Self {
            rounds: 10,
            seed: seed.context("TESTS_SEED is a number")?.unwrap_or_else(rand::random),
            faults: Fault::ALL.to_vec(),
            lanes: 4,
            json: "target/chaos.json".into(),
            patience: 1,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match &*word {
                "--rounds" => options.rounds = value()?.parse().context("--rounds is a number")?,
                "--seed" => options.seed = value()?.parse().context("--seed is a number")?,
                "--lanes" => options.lanes = value()?.parse().context("--lanes is a number")?,
                "--json" => options.json = value()?.into(),
                "--faults" => options.faults = named(&value()?)?,
                // Of three rounds the slowest is the p99: what counts here are the counts.
                "--short" => (options.rounds, options.patience) = (3, 3),
                "--list" => bail!("{}", Fault::ALL.map(Fault::name).join("\n")),
                other => bail!("what is {other}?\n{USAGE}"),
            }
        }
        Ok(options)
    }
}

/// In the order in which they are best tried, whatever the order they were named in.
fn named(names: &str) -> Result<Vec<Fault>> {
    for name in names.split(',') {
        Fault::named(name).with_context(|| format!("there is no fault {name}; --list names them"))?;
    }
    Ok(Fault::ALL.into_iter().filter(|fault| names.split(',').any(|name| name == fault.name())).collect())
}
