//! Ends what a session leaves behind when its connection goes: nothing of it may live on.
//!
//! A session's processes are those of its POSIX session (every program is started by `setsid`), found
//! in /proc. They are told SIGHUP, and what is left after the grace is told SIGKILL. The leader is
//! waited for in any case, so no zombie stays. (A shell that exits by itself is not treated so: then,
//! as with OpenSSH, what it left in the background on purpose lives on.)

use std::fs;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// When the processes that have not gone yet are counted again; doubled each time, because most go at
/// once, and reading /proc for hundreds of sessions is work.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// At most.
const LOOK_AGAIN_MOST: Duration = Duration::from_millis(500);
/// The grace that is left once the agent itself has to leave, which it does within 5 s.
const HURRIED_GRACE: Duration = Duration::from_secs(2);

/// A program that is still there after its session ended.
#[derive(Debug)]
pub struct Left {
    /// The leader of the POSIX session, whose number is the session's.
    pub leader: Child,
    /// That number.
    pub sid: i32,
}

/// Where to bring what is left.
#[derive(Debug, Clone)]
pub struct Undertaker {
    // Not bounded: it is sent to from Drop. There are at most as many as there were sessions.
    left: mpsc::UnboundedSender<Left>,
}

impl Undertaker {
    /// The undertaker, and its work, which ends when all handles are gone and all work is done. From
    /// `hurry` on, the grace is short.
    pub fn new(
        grace: Duration,
        hurry: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (left, arriving) = mpsc::unbounded_channel();
        (Self { left }, work(arriving, grace, hurry))
    }

    /// Ends it, in the background.
    pub fn bury(&self, left: Left) {
        if self.left.send(left).is_err() {
            tracing::error!("a session ended after everything else; its processes may live on");
        }
    }
}

async fn work(mut arriving: mpsc::UnboundedReceiver<Left>, grace: Duration, hurry: CancellationToken) {
    let mut burials = JoinSet::new();
    loop {
        tokio::select! {
            left = arriving.recv() => match left {
                Some(left) => drop(burials.spawn(bury(left, grace, hurry.clone()))),
                None => break,
            },
            Some(_) = burials.join_next() => {}
        }
    }
    while burials.join_next().await.is_some() {}
}

async fn bury(mut left: Left, grace: Duration, hurry: CancellationToken) {
    let hurried = async {
        hurry.cancelled().await;
        clock::pass(HURRIED_GRACE).await
    };
    let patience = async {
        tokio::select! {
            () = clock::pass(grace) => {}
            () = hurried => {}
        }
    };
    if let Err(err) = end(&mut left.leader, left.sid, patience).await {
        tracing::warn!(sid = left.sid, %err, "cannot wait for a session's first process");
    }
}

/// Ends all processes of a POSIX session, and waits until they are gone: what is left when `patience`
/// is over is killed. How the leader ended.
pub async fn end(leader: &mut Child, sid: i32, patience: impl Future<Output = ()>) -> io::Result<ExitStatus> {
    let born = leader.id().and_then(|_| Process::read(sid)).map(|process| process.born);
    tell(sid, born, Signal::SIGHUP).await;
    // A stopped program hears nothing until it goes on.
    tell(sid, born, Signal::SIGCONT).await;
    let gone = async {
        let _ = leader.wait().await;
        let mut again = LOOK_AGAIN;
        while !members(sid, born).await.is_empty() {
            clock::pass(again).await;
            again = LOOK_AGAIN_MOST.min(again * 2);
        }
    };
    tokio::select! {
        () = gone => return leader.wait().await,
        () = patience => {}
    }
    let stubborn = tell(sid, born, Signal::SIGKILL).await;
    tracing::info!(sid, stubborn, "killed what did not go by itself");
    let status = leader.wait().await;
    // Something may have been forked while the list was made.
    while tell(sid, born, Signal::SIGKILL).await > 0 {
        clock::pass(LOOK_AGAIN).await;
    }
    status
}

/// Sends the signal to all processes of the session; how many there were.
async fn tell(sid: i32, born: Option<u64>, signal: Signal) -> usize {
    let members = members(sid, born).await;
    for member in &members {
        // It may have gone meanwhile.
        let _ = kill(Pid::from_raw(*member), signal);
    }
    members.len()
}

/// The living processes of the session.
async fn members(sid: i32, born: Option<u64>) -> Vec<i32> {
    tokio::task::spawn_blocking(move || scan(sid, born)).await.unwrap_or_default()
}

fn scan(sid: i32, born: Option<u64>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let members: Vec<Process> =
        numbers.filter_map(Process::read).filter(|process| process.sid == sid && !process.zombie).collect();
    // The number may have been given to somebody else since our leader is gone.
    let reused =
        members.iter().any(|process| process.pid == sid && born.is_some_and(|born| process.born != born));
    if reused { Vec::new() } else { members.into_iter().map(|process| process.pid).collect() }
}

/// A line of /proc/PID/stat (proc(5)).
struct Process {
    pid: i32,
    sid: i32,
    zombie: bool,
    /// Clock ticks after boot.
    born: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything, parentheses too.
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X");
        let sid = fields.nth(2)?.parse().ok()?;
        let born = fields.nth(15)?.parse().ok()?;
        Some(Self { pid, sid, zombie, born })
    }
}

#[cfg(test)]
mod tests {
    use super::super::unchecked::{Becomes, spawn};
    use super::*;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::process::Command;

    async fn started(script: &str) -> Left {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", script]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        let mut leader = spawn(command, Becomes { terminal: false, user: None }).unwrap();
        let out = BufReader::new(leader.stdout.take().unwrap());
        assert_eq!(out.lines().next_line().await.unwrap().unwrap(), "up");
        let sid = i32::try_from(leader.id().unwrap()).unwrap();
        Left { leader, sid }
    }

    #[tokio::test]
    async fn what_goes_by_itself_is_not_killed_and_nothing_stays() {
        let left = started("sleep 1000 & echo up; wait").await;
        let sid = left.sid;
        assert_eq!(scan(sid, None).len(), 2);
        let (undertaker, work) = Undertaker::new(Duration::from_secs(60), CancellationToken::new());
        undertaker.bury(left);
        drop(undertaker);
        clock::within(Duration::from_secs(20), "the burial", work).await.unwrap();
        assert!(scan(sid, None).is_empty());
        assert!(Process::read(sid).is_none(), "a zombie stayed");
    }

    #[tokio::test]
    async fn what_does_not_hear_or_sleeps_is_killed() {
        let script =
            "trap '' HUP; (trap '' HUP TERM; exec sleep 1000) & (kill -STOP $BASHPID) & echo up; sleep 1000";
        let left = started(script).await;
        let sid = left.sid;
        let (undertaker, work) = Undertaker::new(Duration::from_millis(300), CancellationToken::new());
        undertaker.bury(left);
        drop(undertaker);
        clock::within(Duration::from_secs(20), "the burial", work).await.unwrap();
        assert!(scan(sid, None).is_empty());
        assert!(Process::read(sid).is_none(), "a zombie stayed");
    }

    #[test]
    fn a_session_whose_number_was_given_away_is_left_alone() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let leader = Process::read(own.sid);
        assert!(scan(own.sid, None).contains(&own.pid));
        if leader.is_some() {
            assert!(scan(own.sid, Some(1)).is_empty());
        }
    }
}
