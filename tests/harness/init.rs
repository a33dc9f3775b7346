//! What stands above a suite as init stands above everything: whoever loses their parent becomes a
//! child of this process, so that nothing can slip away; and what is left when the suite has ended, or was told to,
//! is ended. What a suite leaves that ended by itself is named, and a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::inspect;

/// Set for the suite itself, which runs below.
const BELOW: &str = "TESTS_BELOW_INIT";
/// What ends by itself has ended within this time after the suite.
const LAST_ONES: Duration = Duration::from_secs(10);

/// Whether this process is the suite: it has an init above it.
pub fn is_below() -> bool {
    std::env::var_os(BELOW).is_some()
}

/// Runs this very program as the suite of that name, in a folder for all of its temporary files; gives the exit
/// status.
pub fn run(name: &str) -> Result<i32> {
    prctl::set_child_subreaper(true).context("adopt whoever loses their parent")?;
    let folder = tempfile::Builder::new().prefix(&format!("moorline-{name}-")).tempdir()?;
    let suite = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(BELOW, "1")
        .env("TMPDIR", folder.path())
        .spawn()
        .context("start the suite")?;
    let told = end_it_when_told(&suite)?;
    let status = reap_until_it_ends(name, &suite)?;
    let told = told.load(Ordering::Relaxed);
    let mut left = processes_left(if told { Duration::ZERO } else { LAST_ONES });
    left.extend(mounts_left(folder.path()));
    if told {
        eprintln!("{name}: told to end; {} processes and mounts were ended with it", left.len());
        return Ok(status.max(1));
    }
    if status == 0 {
        left.extend(files_in(folder.path()).iter().map(|path| format!("file {}", path.display())));
    }
    for what in &left {
        eprintln!("{name}: left over: {what}");
    }
    if status != 0 && !files_in(folder.path()).is_empty() {
        // For whoever looks into it.
        let folder = folder.keep();
        eprintln!("{name}: what it left is in {}", folder.display());
    }
    Ok(if left.is_empty() { status } else { status.max(1) })
}

/// Ctrl-C and the like end the suite, and not us: somebody must put things away. Says whether that was so.
fn end_it_when_told(suite: &Child) -> Result<Arc<AtomicBool>> {
    let suite = Pid::from_raw(suite.id() as i32);
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    // Owner: the process.
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            tell.store(true, Ordering::Relaxed);
            let _ = kill(suite, Signal::SIGKILL);
        }
    });
    Ok(told)
}

/// Reaps every child, as init does, until the suite has ended.
fn reap_until_it_ends(name: &str, suite: &Child) -> Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == suite.id() as i32 => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == suite.id() as i32 => {
                eprintln!("{name}: the suite was ended by {signal}");
                return Ok(1);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for the suite"),
        }
    }
}

/// Names every process that is still below us after that time, and ends it.
fn processes_left(patience: Duration) -> Vec<String> {
    let me = std::process::id();
    let given_up = Instant::now() + patience;
    let mut names = Vec::new();
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        let left = inspect::descendants(me);
        if left.is_empty() {
            return names;
        }
        if Instant::now() >= given_up {
            // What one of them started meanwhile is found the next time.
            for pid in left.into_iter().filter(|pid| inspect::is_alive(*pid)) {
                names.push(format!("process {pid} {}", command_line(pid)));
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            }
        }
        pause();
    }
}

/// Who loses their parent, or ends, tells nobody but its parent.
#[expect(clippy::disallowed_methods, reason = "it is asked again and again")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
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
