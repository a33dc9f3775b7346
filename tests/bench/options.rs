//! What the run is told on its command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::measure::Measure;
use crate::peer::Peer;

/// How it is called.
pub const USAGE: &str = "\
bench [--peers a,b] [--measures a,b] [--rounds N] [--quick] [--json FILE] [--readme] [--strict]
  --peers a,b       these only; --list names them
  --measures a,b    these only; --list names them
  --rounds N        how often all peers have their turn at each measure (5)
  --quick           2 rounds, fewer keys, less bulk, fewer sessions: for a look, not for a claim
  --json FILE       where the numbers go (target/bench.json)
  --readme          writes the README's table
  --from FILE       measures nothing: the tables of a former run
  --others FOLDER   where wetty and webssh are installed (target/bench-peers)
  --strict          exits with 1 when a target is missed
  --list            names peers and measures";

/// See the module.
#[derive(Debug)]
pub struct Options {
    /// Who is measured.
    pub peers: Vec<Peer>,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// How often everybody has their turn.
    pub rounds: usize,
    /// Sessions that are set up in each turn.
    pub setups: usize,
    /// Keys that are typed in each turn.
    pub keys: usize,
    /// Bytes that go through the terminal in each turn.
    pub bulk_bytes: u64,
    /// Sessions of ours that are open at once where memory is measured.
    pub sessions: usize,
    /// For a look, not for a claim.
    pub quick: bool,
    /// Where the numbers go.
    pub json: PathBuf,
    /// The numbers of a former run.
    pub from: Option<PathBuf>,
    /// Where other people's servers are installed.
    pub others: PathBuf,
    /// Whether the README's table is written.
    pub readme: bool,
    /// Whether a missed target is a failure.
    pub strict: bool,
}

impl Options {
    /// Reads them.
    pub fn from(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            peers: Peer::ALL.to_vec(),
            measures: Measure::ALL.to_vec(),
            rounds: 5,
            setups: 0,
            keys: 0,
            bulk_bytes: 200_000_000,
            sessions: 50,
            quick: false,
            json: "target/bench.json".into(),
            from: None,
            others: "target/bench-peers".into(),
            readme: false,
            strict: false,
        };
        let mut rounds = None;
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match &*word {
                "--peers" => options.peers = named(&value()?, Peer::named)?,
                "--measures" => options.measures = named(&value()?, Measure::named)?,
                "--rounds" => rounds = Some(value()?.parse().context("--rounds is a number")?),
                "--json" => options.json = value()?.into(),
                "--from" => options.from = Some(value()?.into()),
                "--others" => options.others = value()?.into(),
                "--quick" => options.quick = true,
                "--readme" => options.readme = true,
                "--strict" => options.strict = true,
                "--list" => bail!("{}\n\n{}", Peer::ALL.map(Peer::name).join("\n"), Measure::names()),
                other => bail!("what is {other}?\n{USAGE}"),
            }
        }
        if options.quick {
            (options.rounds, options.bulk_bytes, options.sessions) = (2, 60_000_000, 10);
        }
        options.rounds = rounds.unwrap_or(options.rounds).max(1);
        // All rounds together: 20 sessions and 2000 keys, or enough for a look.
        let (setups, keys) = if options.quick { (6, 400) } else { (20, 2_000) };
        options.setups = usize::div_ceil(setups, options.rounds);
        options.keys = usize::div_ceil(keys, options.rounds).max(200);
        Ok(options)
    }

    /// The first, unless a look is all that is wanted.
    pub fn full_or<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What the names name, each once and in the order of the table.
fn named<T: Ord>(names: &str, by_name: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let one = |name: &str| by_name(name).with_context(|| format!("there is no {name}; --list names them"));
    let mut found = names.split(',').map(one).collect::<Result<Vec<_>>>()?;
    found.sort();
    found.dedup();
    Ok(found)
}
