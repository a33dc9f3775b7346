//! The long measures alone.

#[path = "mod.rs"]
mod long;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use moorline_tests::Kind;

use crate::long::{Measure, Options, kind_name};

/// How it is called.
const USAGE: &str = "\
bench-long [--only a,b] [--kinds embedded,openssh] [--short] [--json FILE]
  --only a,b      these measures only: memory, sessions_500, stopped_reader, vanished, slow_line
  --kinds a,b     on these kinds of device only
  --short         fewer sessions and shorter floods
  --json FILE     where the numbers go (target/bench-long.json)";

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|(options, json)| suite(&options, &json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn suite(options: &Options, json: &PathBuf) -> Result<bool> {
    let measured = long::measure(options).await?;
    let held = measured
        .values()
        .all(|kinds| kinds.as_object().is_some_and(|kinds| kinds.values().all(|kind| kind["held"] == true)));
    if let Some(folder) = json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(json, serde_json::to_string_pretty(&measured)?)?;
    eprintln!("bench: the numbers are in {}", json.display());
    Ok(held)
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(Options, PathBuf)> {
    let kinds = vec![Kind::Embedded, Kind::OpenSsh];
    let mut options = Options { measures: Measure::ALL.to_vec(), kinds, short: false };
    let mut json = PathBuf::from("target/bench-long.json");
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
        match &*word {
            "--only" => options.measures = named(&value()?, &Measure::ALL, Measure::name)?,
            "--kinds" => options.kinds = named(&value()?, &[Kind::Embedded, Kind::OpenSsh], kind_name)?,
            "--short" => options.short = true,
            "--json" => json = value()?.into(),
            other => bail!("what is {other}?\n{USAGE}"),
        }
    }
    Ok((options, json))
}

fn named<T: Copy>(names: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<Vec<T>> {
    let of = |name: &str| all.iter().copied().find(|one| name_of(*one) == name);
    names.split(',').map(|name| of(name).with_context(|| format!("what is {name}?\n{USAGE}"))).collect()
}
