//! What stands above the suite as init stands above everything: whoever loses their parent becomes a
//! child of this process, so that nothing can slip away; and what is left when the suite has ended
//! is named, ended, and a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use moorline_tests::inspect;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::pause::pause_thread;

/// Set for the suite itself, which runs below.
pub const BELOW: &str = "CHAOS_BELOW_INIT";
/// What ends by itself has ended within this time after the suite.
const LAST_ONES: Duration = Duration::from_secs(10);

/// Runs the suite in a folder for all of its temporary files; gives the exit status.
pub fn run() -> Result<i32> {
    prctl::set_child_subreaper(true).context("adopt whoever loses their parent")?;
    let folder = tempfile::Builder::new().prefix("moorline-chaos-").tempdir()?;
    let suite = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(BELOW, "1")
        .env("TMPDIR", folder.path())
        .spawn()
        .context("start the suite")?;
    end_it_when_told(&suite)?;
    let status = reap_until_it_ends(&suite)?;
    let mut left = processes_left();
    left.extend(mounts_left(folder.path()));
    if status == 0 {
        left.extend(files_in(folder.path()).iter().map(|path| format!("file {}", path.display())));
    }
    for what in &left {
        eprintln!("chaos: left over: {what}");
    }
    if status != 0 {
        // For whoever looks into it.
        let folder = folder.keep();
        eprintln!("chaos: what it left is in {}", folder.display());
    }
    Ok(if left.is_empty() { status } else { status.max(1) })
}

/// Ctrl-C and the like end the suite, and not us: somebody must put things away.
fn end_it_when_told(suite: &Child) -> Result<()> {
    let suite = Pid::from_raw(suite.id() as i32);
    let told: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    told.thread_block()?;
    // Owner: the process.
    std::thread::spawn(move || {
        while told.wait().is_ok() {
            let _ = kill(suite, Signal::SIGKILL);
        }
    });
    Ok(())
}

/// Reaps every child, as init does, until the suite has ended.
fn reap_until_it_ends(suite: &Child) -> Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == suite.id() as i32 => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == suite.id() as i32 => {
                eprintln!("chaos: the suite was ended by {signal}");
                return Ok(1);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for the suite"),
        }
    }
}

/// Names every process that is still below us, and ends it.
fn processes_left() -> Vec<String> {
    let me = std::process::id();
    let given_up = Instant::now() + LAST_ONES;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        let left = inspect::descendants(me);
        if left.is_empty() {
            return Vec::new();
        }
        if Instant::now() > given_up {
            let names: Vec<_> =
                left.iter().map(|pid| format!("process {pid} {}", command_line(*pid))).collect();
            for pid in left {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            }
            return names;
        }
        pause_thread(Duration::from_millis(50));
    }
}

/// Names every file system that is still mounted in the folder, and takes it away.
fn mounts_left(folder: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours = places.filter(|place| Path::new(place).starts_with(folder));
    ours.map(|place| {
        let _ = Command::new("umount").args(["-l", place]).status();
        format!("mount {place}")
    })
    .collect()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// Everything in the folder but folders that have nothing in them.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() && !path.is_symlink() {
            true => files.extend(files_in(&path)),
            false => files.push(path),
        }
    }
    files.truncate(20);
    files
}
