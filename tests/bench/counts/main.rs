//! How many instructions wire takes for a keystroke and for 1 MiB of output, counted by callgrind and
//! compared with `tests/bench/counts.toml`. Unlike times, counts are the same at each run and on a busy
//! machine, so that a change of a few in a hundred shows.
//!
//! In reading order:
//!
//! - `path`: page, broker and device wired together; `page`, `broker`, `device`: its parts, each as
//!   its driver does it; `end`: either end of the link; `text`: what the program writes
//! - `work`: what is counted
//! - `callgrind`: how it is counted
//! - `ledger`: the file, and what may be compared with it
//!
//! What is not part of wire is not counted: SSH, the WebSockets, the runtime, the pty.

mod broker;
mod callgrind;
mod device;
mod end;
mod ledger;
mod page;
mod path;
mod text;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::ledger::{Change, Count, GROWTH_MAX, Ledger, Tools, grouped};
use crate::work::Work;

const USAGE: &str = "\
counts check FILE DIR   counts, and fails when FILE says 5 % less; callgrind's own files go to DIR
counts write FILE DIR   counts, and writes FILE
counts run WORK         does one work without counting";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["check", file, dir] => check(Path::new(file), Path::new(dir)),
        ["write", file, dir] => write(Path::new(file), Path::new(dir)),
        ["run", name] if Work::named(name).is_some() => {
            Work::named(name).into_iter().for_each(Work::run);
            Ok(true)
        }
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("counts: {err}");
            ExitCode::FAILURE
        }
    }
}

fn count_all(dir: &Path) -> io::Result<Vec<(Work, Count)>> {
    std::fs::create_dir_all(dir)?;
    Work::ALL.into_iter().map(|work| Ok((work, callgrind::count(work, &profile(work, dir))?))).collect()
}

/// For `callgrind_annotate`, which says where the instructions go.
fn profile(work: Work, dir: &Path) -> PathBuf {
    dir.join(format!("callgrind.{}", work.name()))
}

fn write(file: &Path, dir: &Path) -> io::Result<bool> {
    let ledger = Ledger::new(Tools::here()?, count_all(dir)?);
    ledger.write(file)?;
    eprintln!("counts: {} is written", file.display());
    Ok(true)
}

fn check(file: &Path, dir: &Path) -> io::Result<bool> {
    let (ledger, tools) = (Ledger::read(file)?, Tools::here()?);
    let difference = tools.difference(ledger.tools());
    let mut good = true;
    for (work, count) in count_all(dir)? {
        eprintln!("  {}:", work.words());
        let before = ledger.count(work).into_iter().flat_map(Count::each);
        for ((what, now), (_, before)) in count.each().into_iter().zip(before) {
            let change = Change::of(before, now);
            let (told, said, percent) = (grouped(before, ' '), grouped(now, ' '), change.percent);
            eprintln!("    {what:<15} {told:>12} before {said:>12} now {percent:>+6.1} %");
            if difference.is_none() {
                judge(work, what, change, file, dir);
                good &= !change.is_too_much();
            }
        }
    }
    if let Some(difference) = difference {
        eprintln!("counts: NOT COMPARED, for the numbers would say nothing about the change: {difference}");
    }
    Ok(good)
}

/// Says what is to be done about a change, if anything.
fn judge(work: Work, what: &str, change: Change, file: &Path, dir: &Path) {
    let (name, percent, file) = (work.name(), change.percent.abs(), file.display());
    if change.is_too_much() {
        let profile = profile(work, dir);
        eprintln!(
            "counts: {what} of {name} are {percent:.1} % more than {file} says, and {GROWTH_MAX} % may be.\n  \
             Where they are: callgrind_annotate --inclusive=yes {}\n  \
             If it is wanted: tests/scripts/counts.sh write, and say in the commit why it is worth that",
            profile.display()
        );
    } else if change.is_worth_writing() {
        eprintln!(
            "counts: {what} of {name} are {percent:.1} % fewer than {file} says. \
             Please keep that: tests/scripts/counts.sh write"
        );
    }
}
