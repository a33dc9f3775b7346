//! The things that cannot be said in safe Rust, and nothing else: what a child does between fork and
//! exec, and the promise that a descriptor stays open while the runtime watches it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;

use nix::libc;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::stdin;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

/// Lets the runtime watch the descriptor.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor must stay open until the runtime stops watching it. `AsyncFd` owns it, stops
    // watching before it drops it, and gives out nothing by which it could be closed.
    let watched = unsafe { AsyncFd::register(fd) };
    Ok(watched?)
}

/// What the child becomes before it runs the program.
#[derive(Debug)]
pub struct Becomes {
    /// Whether its standard input is a terminal, which is then to be its controlling one.
    pub terminal: bool,
    /// The user to become; none when it is the same.
    pub user: Option<User>,
}

/// Numbers only: nothing may be looked up between fork and exec.
#[derive(Debug)]
pub struct User {
    /// The user.
    pub uid: Uid,
    /// Its first group.
    pub gid: Gid,
    /// All its groups.
    pub groups: Vec<Gid>,
}

/// Starts it. Its standard input, output and error must be set already.
pub fn spawn(mut command: Command, becomes: Becomes) -> io::Result<Child> {
    let prepare = move || {
        keep_to_ourselves();
        // A keeper does without them (see `detach`), its program does not.
        huge_pages(true);
        setsid()?;
        if becomes.terminal {
            ioctl_tiocsctty(stdin())?;
        }
        if let Some(user) = &becomes.user {
            // In this order: with the user gone, so is the right to change the groups.
            setgroups(&user.groups)?;
            setgid(user.gid)?;
            setuid(user.uid)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes plain
    // system calls (close_range, prctl, setsid, ioctl, setgroups, setgid, setuid) on values prepared before the fork; it
    // allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Starts it as nobody's child, in a POSIX session and process group of its own, and waits until it runs.
/// So nothing that happens to us, or to whoever started us, reaches it. It gets no huge pages: what is
/// small and lives long would take megabytes for kilobytes.
pub fn detach(mut command: std::process::Command) -> io::Result<()> {
    let prepare = || {
        keep_to_ourselves();
        huge_pages(false);
        setsid()?;
        // SAFETY: nothing but the exec follows in the child, and nothing at all in the parent.
        match unsafe { libc::fork() } {
            0 => Ok(()),
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: a plain system call; it runs nothing that belongs to the process we were forked from.
            _ => unsafe { libc::_exit(0) },
        }
    };
    // SAFETY: as in `spawn`; fork and _exit are plain system calls here, too.
    unsafe { command.pre_exec(prepare) };
    // `spawn` returns when the last one that holds the other end of its pipe has run the program.
    command.spawn()?.wait()?;
    Ok(())
}

/// Whether the kernel may give huge pages to this process and the program that it runs.
fn huge_pages(may: bool) {
    // SAFETY: a plain system call on numbers. Where it is not known, nothing changes.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(!may), 0, 0, 0) };
}

/// Closes, at the coming exec, what the agent itself inherited from whoever started it. (Its own
/// descriptors are closed there anyway.) Before Linux 5.11 there is no such call, and they stay.
fn keep_to_ourselves() {
    const FIRST: u32 = 3;
    // SAFETY: a plain system call on three numbers; nothing is closed before the exec.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}
