//! Load: ten thousand devices on one broker, at rest and when all come back at once; then a thousand live
//! sessions, a tenth of them busy. The devices of the first part are simulated in processes of their own, as far
//! as the broker can tell with nothing missing: keys, enrolment, greeting and the link are the real ones. Those
//! of the second are agents. The broker is always the one that is shipped.
//!
//! In reading order:
//!
//! - `options`: what it is told; `machine`: how much of it this machine can carry
//! - `fleet`: the devices; `crowds` starts the processes that simulate them, `crowd` is such a process
//! - `sessions`: the sessions
//! - `person` types all the while, `pages` are looked at, `usage` is memory and processor time
//! - `report`: the table, the JSON, what is to hold; `pause`: the only waiting for a time
//!
//! A device that is refused or not back, a warning or an error in a log that nobody announced, an error that a
//! person is shown: it exits with 1. A target that is missed is told, and fails only with `--strict` or `--short`
//! (which has bars of its own). The harness's `init` stands above the run: keepers and their shells outlive what
//! started them, and are ended when the run ends, however it does.

mod crowd;
mod crowds;
mod fleet;
mod machine;
mod options;
mod pages;
mod pause;
mod person;
mod report;
mod sessions;
mod usage;

use std::process::ExitCode;

use anyhow::Result;
use moorline_tests::{Stage, init};

use crate::machine::Carries;
use crate::options::Options;
use crate::report::Report;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("crowd") => crowd::run().map(|()| true),
        _ if !init::is_below() => init::run("load").map(|status| status == 0),
        _ => Options::from(words.into_iter()).and_then(|options| suite(&options)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn suite(options: &Options) -> Result<bool> {
    let carries = Carries::of(options)?;
    let mut report = Report::default();
    report.put("machine", carries.limits());
    for note in &carries.notes {
        eprintln!("load: {note}");
    }
    if carries.devices > 0 {
        let stage = Stage::new();
        let measured = Box::pin(fleet::measure(&stage, options, carries.devices, &mut report)).await;
        ended(&stage, "devices", measured, &mut report);
    }
    if carries.sessions > 0 {
        let stage = Stage::new();
        let measured = Box::pin(sessions::measure(&stage, options, carries.sessions, &mut report)).await;
        ended(&stage, "sessions", measured, &mut report);
    }
    report.ends(options)
}

/// Looks into the logs of what was just played.
fn ended(stage: &Stage, part: &str, measured: Result<()>, report: &mut Report) {
    if let Err(error) = measured {
        report.fails(format!("{part}: {error:#}"));
    }
    let complaints = stage.complaints();
    if !complaints.is_empty() {
        let (count, first) = (complaints.len(), &complaints[..complaints.len().min(5)]);
        report.fails(format!("{part}: {count} lines of a log that nobody announced: {}", first.join("\n")));
    }
}
