//! Memory for each session, of what stands between client and server: of one that shows its prompt, and of one
//! that is flooded. Everything is freshly started, since what was once used is not given back at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::Scope;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::field::Field;
use crate::login::Login;
use crate::options::Options;
use crate::pause::pause;
use crate::peer::Peer;
use crate::processes::{self, Memory};
use crate::samples::Samples;
use crate::shell::SOON;

/// How long everybody is idle, or flooded, before memory is looked at.
const HOLDING: Duration = Duration::from_secs(3);

/// Measures it for everybody who has sessions.
pub fn measure(options: &Options, login: &Login, samples: &mut Samples) -> Result<()> {
    for peer in options.peers.iter().copied().filter(|peer| *peer != Peer::EchoFloor) {
        let field = Field::start(options, &[peer], login)?;
        if field.missing().is_empty() {
            // Theirs are processes of equal size; ours share a broker and an agent, and few would not show.
            let sessions = if peer.is_moorline() { options.sessions } else { options.sessions.div_ceil(5) };
            eprintln!("bench: memory of {sessions} sessions: {}", peer.name());
            samples.take_memory(peer, of(&field, peer, sessions));
        }
    }
    Ok(())
}

fn of(field: &Field, peer: Peer, sessions: usize) -> Result<Value> {
    // What the first session of all takes is taken once.
    drop(field.ready(peer)?);
    field.settle()?;
    pause(HOLDING);
    let before = processes::memory(field, peer, &[]);
    let (flooded, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let held = hold_all(scope, field, peer, sessions, &flooded, &ended);
        let measured = held.map(|programs| {
            pause(HOLDING);
            let idle = processes::memory(field, peer, &programs);
            flooded.store(true, Ordering::Relaxed);
            pause(HOLDING);
            let busy = processes::memory(field, peer, &programs);
            let each = |now| each(&before, now, sessions);
            json!({ "sessions": sessions, "idle_kib": each(&idle), "busy_kib": each(&busy) })
        });
        ended.store(true, Ordering::Relaxed);
        measured
    })
}

fn each(before: &BTreeMap<&str, Memory>, now: &BTreeMap<&'static str, Memory>, sessions: usize) -> Value {
    let of = |(part, memory): (&&'static str, &Memory)| {
        let before = before.get(part).copied().unwrap_or_default();
        ((*part).to_owned(), memory.each_since(before, sessions))
    };
    now.iter().map(of).collect::<serde_json::Map<_, _>>().into()
}

/// Opens the sessions one after the other; gives the programs that serve them on this side.
fn hold_all<'scope>(
    scope: &'scope Scope<'scope, '_>,
    field: &'scope Field,
    peer: Peer,
    sessions: usize,
    flooded: &'scope AtomicBool,
    ended: &'scope AtomicBool,
) -> Result<Vec<u32>> {
    let mut programs = Vec::new();
    for _ in 0..sessions {
        let (opens, opened) = mpsc::channel();
        // Owner: the scope.
        scope.spawn(move || hold(field, peer, flooded, ended, &opens));
        let open: Result<Vec<u32>> = opened.recv_timeout(SOON).context("a session was not opened")?;
        programs.extend(open?);
    }
    Ok(programs)
}

/// Keeps one session, and its line alive, until all end.
fn hold(
    field: &Field,
    peer: Peer,
    flooded: &AtomicBool,
    ended: &AtomicBool,
    opens: &mpsc::Sender<Result<Vec<u32>>>,
) {
    let mut shell = match field.ready(peer) {
        Ok(shell) => shell,
        Err(error) => return opens.send(Err(error)).unwrap_or_default(),
    };
    // Nobody waits for it any more when another one has failed.
    let _ = opens.send(Ok(shell.line.programs()));
    let mut idle = true;
    while !ended.load(Ordering::Relaxed) {
        let starts = idle && flooded.load(Ordering::Relaxed);
        let command = format!("while :; do cat {}; done", field.data.display());
        let goes_on = if starts { shell.runs_raw(&command).map(|_| ()) } else { Ok(()) };
        idle &= !starts;
        if goes_on.and_then(|()| shell.line.receive().map(|_| ())).and_then(|()| shell.line.taken()).is_err()
        {
            return;
        }
    }
}
