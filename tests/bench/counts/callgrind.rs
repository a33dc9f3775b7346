//! Runs a work of this same program under callgrind, and reads how many instructions it took.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ledger::Count;
use crate::work::{COUNTED, Work};

/// How many instructions the work takes once. Callgrind's own file stays at `profile`.
pub fn count(work: Work, profile: &Path) -> io::Result<Count> {
    let this = std::env::current_exe()?;
    let said = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--compress-strings=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(this)
        .args(["run", work.name()])
        // What stands in the environment lies on the stack and moves what lies below it.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .map_err(|err| io::Error::new(err.kind(), format!("cannot start valgrind: {err}")))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr).into_owned();
        return Err(io::Error::other(format!("{} failed under valgrind: {why}", work.name())));
    }
    let profile = fs::read_to_string(profile)?;
    let total = total(&profile).filter(|total| *total > 0);
    let total = total.ok_or_else(|| io::Error::other("callgrind counted nothing"))?;
    let beside_copying = total - copying(&profile);
    Ok(Count { instructions: total / work.times(), beside_copying: beside_copying / work.times() })
}

/// The line that says how much there was in all.
fn total(profile: &str) -> Option<u64> {
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.split_whitespace().next()?.parse().ok()
}

/// How much of it the C library's functions took that copy memory. Each line of a function has the
/// number of a source line and a cost; the one after `calls=` is what the called function cost.
fn copying(profile: &str) -> u64 {
    let (mut copies, mut called, mut sum) = (false, false, 0);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            copies = name.contains("memcpy") || name.contains("memmove");
        } else if line.starts_with("calls=") {
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let own = copies && !std::mem::take(&mut called);
            let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok());
            sum += cost.filter(|_| own).unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
version: 1
positions: line
events: Ir

fl=memmove.S
fn=__memcpy_avx_unaligned
7 12
+3 100
calls=1 20
* 5000
* 1

fn=main
cfn=__memcpy_avx_unaligned
calls=2 7
* 113
-2 9

totals: 5122
";

    #[test]
    fn the_total_is_what_callgrind_says_it_is() {
        assert_eq!(total(PROFILE), Some(5122));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn copying_is_what_the_copying_functions_cost_by_themselves() {
        assert_eq!(copying(PROFILE), 113);
    }
}
