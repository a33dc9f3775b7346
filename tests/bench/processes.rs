//! What stands between the client and the server, process by process, and what it takes.

use std::collections::BTreeMap;
use std::fs;

use moorline_tests::{Device, inspect};
use serde_json::{Value, json};

use crate::field::Field;
use crate::peer::Peer;

/// In what unit the kernel tells processor time to programs: proc(5), `USER_HZ`, the same everywhere.
const TICKS_PER_S: f64 = 100.0;

/// The processor time of each process, with the part that it plays.
pub type Seconds = BTreeMap<u32, (&'static str, f64)>;

/// Whether what plays this part stands between client and server.
pub fn is_between(part: &str) -> bool {
    part != "client" && part != "sshd"
}

/// Who takes part in the lines of that peer; `programs` serve them on this side.
pub fn parts(field: &Field, peer: Peer, programs: &[u32]) -> Vec<(u32, &'static str)> {
    let mut parts = vec![(std::process::id(), "client")];
    for program in programs {
        parts.push((*program, "ssh"));
        parts.extend(below(*program, "ssh", "ssh_proxy"));
    }
    parts.extend(below(field.sshd().process.pid(), "sshd", "sshd"));
    match peer {
        Peer::SshJump => parts.extend(below(field.jump.process.pid(), "sshd", "jump_sshd")),
        Peer::Wetty => {
            let server = field.server_pid(peer);
            parts.extend(server.map(|pid| (pid, "node")));
            parts.extend(server.into_iter().flat_map(|pid| below(pid, "ssh", "ssh")));
        }
        Peer::Webssh => parts.extend(field.server_pid(peer).map(|pid| (pid, "python"))),
        Peer::MoorlineEmbedded => parts.extend(moorline(field, &field.embedded)),
        Peer::MoorlineOpenssh => parts.extend(moorline(field, &field.openssh)),
        Peer::EchoFloor | Peer::DirectSsh | Peer::DirectSshCurve25519 => {}
    }
    parts
}

fn moorline(field: &Field, device: &Device) -> Vec<(u32, &'static str)> {
    let mut parts = vec![(field.broker.pid(), "broker"), (device.agent.process.pid(), "agent")];
    parts.extend(device.processes().into_iter().filter_map(|pid| Some((pid, part_in_a_session(pid)?))));
    parts
}

/// What the process does for a session; none: it is the person's shell, or a program in it.
fn part_in_a_session(pid: u32) -> Option<&'static str> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line.split('\0').collect();
    let keeps = words.get(1) == Some(&"keep");
    keeps.then(|| if words.contains(&"--hold") { "keeper" } else { "attach" })
}

/// The descendants of a process whose program has that name.
fn below(pid: u32, program: &'static str, part: &'static str) -> Vec<(u32, &'static str)> {
    let of_the_name = |pid: &u32| name(*pid).starts_with(program);
    inspect::descendants(pid).into_iter().filter(of_the_name).map(|pid| (pid, part)).collect()
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// What each of them has taken so far.
pub fn seconds(field: &Field, peer: Peer, programs: &[u32]) -> Seconds {
    let parts = parts(field, peer, programs).into_iter();
    parts.map(|(pid, part)| (pid, (part, seconds_of(pid).unwrap_or(0.0)))).collect()
}

/// What each part has taken between the two; who came later began with nothing.
pub fn difference(before: &Seconds, after: &Seconds) -> BTreeMap<&'static str, f64> {
    let mut parts = BTreeMap::new();
    for (pid, (part, seconds)) in after {
        *parts.entry(*part).or_default() += seconds - before.get(pid).map_or(0.0, |(_, seconds)| *seconds);
    }
    parts
}

/// proc(5): `utime` and `stime` are the 14th and 15th field; the name in parentheses may have anything in it.
fn seconds_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_S)
}

/// What a part holds, in KiB: resident, its share of it, and what it shares with nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    resident: f64,
    share: f64,
    own: f64,
}

impl Memory {
    /// What is more than `before`, for each of so many.
    pub fn each_since(self, before: Self, count: usize) -> Value {
        let each = |now: f64, then: f64| ((now - then) / count as f64 * 10.0).round() / 10.0;
        json!({
            "rss": each(self.resident, before.resident),
            "pss": each(self.share, before.share),
            "private": each(self.own, before.own),
        })
    }
}

/// What all processes of each part hold together.
pub fn memory(field: &Field, peer: Peer, programs: &[u32]) -> BTreeMap<&'static str, Memory> {
    let mut parts_memory: BTreeMap<_, Memory> = BTreeMap::new();
    for (pid, part) in parts(field, peer, programs).into_iter().filter(|(_, part)| *part != "client") {
        // It may have ended since it was listed.
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let kib = |key: &str| -> f64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0)
        };
        let sum = parts_memory.entry(part).or_default();
        sum.resident += kib("Rss:");
        sum.share += kib("Pss:");
        sum.own += kib("Private_Clean:") + kib("Private_Dirty:");
    }
    parts_memory
}
