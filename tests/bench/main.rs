//! How fast and how small: Moorline in both device modes beside what a person would use instead, all in
//! front of one OpenSSH server, measured in turns in one run.
//!
//! In reading order:
//!
//! - `options`: what it is told
//! - `field`: everybody who is measured, started and ready; `peer` names them, `login` is who logs in,
//!   `echo` is the floor that shows what the client itself takes
//! - `line`: a connected shell as bytes, one kind for each way to reach it; `shell` waits for prompts and marks
//! - `measure`: every measure, written once for all lines; `keys` types, `reader` reads fast or slowly
//! - `processes`: what stands between client and server, and what it takes; `memory`: by session
//! - `long`: what takes minutes: hundreds of sessions, readers that stop or vanish, a slow line
//! - `samples`: what was measured, round by round; `report`: the rows, the table and the README's;
//!   `targets`: what is to hold
//! - `pause`: the only waiting for a time, beside that of `long`
//!
//! The harness's `init` stands above the run: keepers and their shells outlive what started them, and are ended when
//! the run ends, however it does.
//!
//! It exits with 0 though targets are missed, unless `--strict`; with 1 when something could not be measured.

mod echo;
mod field;
mod keys;
mod line;
mod login;
mod long;
mod measure;
mod memory;
mod options;
mod pause;
mod peer;
mod processes;
mod reader;
mod report;
mod samples;
mod shell;
mod targets;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use moorline_tests::init;
use serde_json::Value;

use crate::field::Field;
use crate::measure::Measure;
use crate::options::Options;
use crate::samples::Samples;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("echo") => echo::serve(words.get(1)).map(|()| ExitCode::SUCCESS),
        _ if !init::is_below() => init::run("bench").map(|status| match status {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }),
        _ => Options::from(words.into_iter()).and_then(|options| run(&options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode> {
    let report = match &options.from {
        Some(file) => serde_json::from_str(&std::fs::read_to_string(file)?).context("read the numbers")?,
        None => {
            let report = measured(options)?;
            report::write(&options.json, &report)?;
            report
        }
    };
    eprint!("\n{}\n{}", report::table(&report), targets::table(&report));
    if options.readme {
        report::into_readme(&moorline_tests::broker::root().join("README.md"), &report)?;
    }
    let failed = failures(&report);
    for failure in &failed {
        eprintln!("bench: {failure}");
    }
    let missed = targets::missed(&report);
    let file = options.from.as_ref().unwrap_or(&options.json);
    eprintln!("bench: {missed} targets missed; the numbers are in {}", file.display());
    let bad = !failed.is_empty() || (options.strict && missed > 0);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs every measure for every peer, in turns, and gives the report.
fn measured(options: &Options) -> Result<Value> {
    let login = login::look();
    let mut samples = Samples::new(&options.peers);
    if options.measures.contains(&Measure::Memory) {
        memory::measure(options, &login, &mut samples)?;
    }
    let field = Field::start(options, &options.peers, &login)?;
    for peer in field.missing() {
        eprintln!(
            "bench: {} is not installed, and is left out (tests/scripts/bench.sh installs it)",
            peer.name()
        );
        samples.leave_out(peer);
    }
    let begun = Instant::now();
    for round in 0..options.rounds {
        for measure in Measure::TIMED.into_iter().filter(|measure| options.measures.contains(measure)) {
            for peer in field.peers_from(round) {
                samples.take(peer, measure, measure.of(&field, peer, options));
                field.settle()?;
            }
            let (since, name) = (begun.elapsed().as_secs(), measure.name());
            eprintln!("bench: {since:>4} s  round {} of {}: {name}", round + 1, options.rounds);
        }
    }
    drop(field);
    let long = long::measure(options)?;
    Ok(report::of(&samples, long, options, &login))
}

/// What could not be measured, in words.
fn failures(report: &Value) -> Vec<String> {
    let rows = report["rows"].as_array().into_iter().flatten();
    let long = report["long"].as_object().into_iter().flatten();
    let of_a_long_one = |(measure, peers): (&String, &Value)| -> Vec<String> {
        let failed = peers.as_object().into_iter().flatten();
        let failed = failed.filter_map(|(peer, of_it)| Some((peer, of_it["error"].as_str()?)));
        failed.map(|(peer, why)| format!("{peer} {measure}: {why}")).collect()
    };
    let of_a_row = |row: &Value| -> Vec<String> {
        let failed = row["failed"].as_object().into_iter().flatten();
        failed.map(|(measure, why)| format!("{} {measure}: {why}", row["peer"])).collect()
    };
    rows.flat_map(of_a_row).chain(long.flat_map(of_a_long_one)).collect()
}
