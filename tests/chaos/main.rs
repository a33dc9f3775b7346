//! Chaos: the real thing, every fault at random moments, and every byte and key counted.
//!
//! In reading order:
//!
//! - `options`: what it is told; above the suite stands the harness's `init`, which sees what is left behind
//! - `faults`: the list of faults, their bars, how each is done and what is done about it
//! - `round`: the rounds of one fault; `setup`: those in which the broker dies before the shell is there
//! - `scene`: a broker and two devices for one fault, with bad networks on both sides
//! - `shell`: a person at work, `client`: their terminal, `counted`: the program that runs in it
//! - `chromium`: the same in a real browser; `crowd`: five hundred devices; `pause`: the only waiting for a time
//! - `account`: what was lost and doubled; `seen`: whether the dashboards show what failed; `report`: the table, the JSON, the verdict
//!
//! It exits with 0 when every number is within its bar and nothing is left behind.

mod account;
mod chromium;
mod client;
mod counted;
mod crowd;
mod faults;
mod options;
mod pause;
mod report;
mod round;
mod scene;
mod seen;
mod setup;
mod shell;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use moorline_tests::init;

use crate::options::Options;
use crate::report::Row;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("counted") => counted(words.get(1)),
        _ if !init::is_below() => init::run("chaos"),
        _ => Options::from(words.into_iter()).and_then(suite),
    };
    match result {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(1)),
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn counted(folder: Option<&String>) -> Result<i32> {
    counted::run(Path::new(folder.context("counted needs a folder")?))?;
    Ok(0)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn suite(options: Options) -> Result<i32> {
    let begun = Instant::now();
    let (count, rounds) = (options.faults.len(), options.rounds);
    eprintln!("chaos: {count} faults, {rounds} rounds each, seed {} (--seed, TESTS_SEED)", options.seed);
    let playing = options.faults.iter().map(|fault| round::play(*fault, &options));
    let mut playing = futures_util::stream::iter(playing).buffer_unordered(options.lanes.max(1));
    let mut rows = Vec::new();
    while let Some(row) = playing.next().await {
        rows.push(row);
        progress(&rows, count, begun);
    }
    rows.sort_by_key(|row| row.fault as usize);
    report::write(&options.json, options.seed, &rows)?;
    eprint!("\n{}", report::table(&rows));
    let bad = rows.iter().filter(|row| !row.over().is_empty()).count();
    for row in rows.iter().filter(|row| !row.over().is_empty()) {
        eprintln!("over its bar: {}: {}", row.fault.name(), row.over().join("; "));
    }
    eprintln!(
        "chaos: seed {}, {} s, {}; the numbers are in {}",
        options.seed,
        begun.elapsed().as_secs(),
        if bad == 0 { "everything held".to_owned() } else { format!("{bad} of {count} faults did not hold") },
        options.json.display()
    );
    Ok(i32::from(bad > 0))
}

/// A line for each fault that is done.
fn progress(rows: &[Row], count: usize, begun: Instant) {
    if let Some(row) = rows.last() {
        let verdict = if row.over().is_empty() { "held" } else { "DID NOT HOLD" };
        let (name, took) = (row.fault.name(), row.took.as_secs());
        let since = begun.elapsed().as_secs();
        eprintln!(
            "chaos: [{}/{count}] {since:>4} s  {name} {verdict} ({} rounds in {took} s)",
            rows.len(),
            row.rounds
        );
    }
}
