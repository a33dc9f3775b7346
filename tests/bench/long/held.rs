//! What the programs hold: memory by part, and what is to be given back to the last one.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_tests::{World, inspect};
use serde_json::{Value, json};

use super::pause::pause;

/// Memory in bytes: resident, its share of it (what several have in common is divided among them), and what it
/// shares with nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// See the type.
    pub resident: f64,
    /// See the type.
    pub share: f64,
    /// See the type.
    pub own: f64,
}

impl Memory {
    /// That of a process; nothing, when it has ended.
    pub fn of(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let bytes = |key: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
        };
        Self {
            resident: bytes("Rss:"),
            share: bytes("Pss:"),
            own: bytes("Private_Clean:") + bytes("Private_Dirty:"),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            share: self.share + other.share,
            own: self.own + other.own,
        }
    }

    /// What is more than before, for each of so many, in KiB.
    pub fn each_since(self, before: Self, count: usize) -> Value {
        let each = |now: f64, then: f64| kib((now - then) / count as f64);
        json!({
            "rss_kib": each(self.resident, before.resident),
            "pss_kib": each(self.share, before.share),
            "private_kib": each(self.own, before.own),
        })
    }
}

/// In KiB with one digit after the point.
pub fn kib(bytes: f64) -> f64 {
    (bytes / 1024.0 * 10.0).round() / 10.0
}

/// Who plays a part for a session on broker and device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The server.
    Broker,
    /// The program on the device.
    Agent,
    /// Ours, below an sshd: what carries bytes to the keeper.
    Attach,
    /// Ours, nobody's children.
    Keeper,
    /// The system's sshd and its processes for each connection.
    Sshd,
    /// The shells and their programs.
    Shell,
}

impl Part {
    /// Its name in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Agent => "agent",
            Self::Attach => "attach",
            Self::Keeper => "keeper",
            Self::Sshd => "sshd",
            Self::Shell => "shell",
        }
    }
}

/// The memory of each part.
pub type Parts = BTreeMap<Part, Memory>;

/// What each part holds now.
pub fn parts(world: &World) -> Parts {
    let device = &world.device;
    let below = device.below();
    let mut all = vec![(world.broker.pid(), Part::Broker), (device.agent.process.pid(), Part::Agent)];
    all.extend(device.sshd.iter().map(|sshd| (sshd.process.pid(), Part::Sshd)));
    all.extend(below.iter().map(|pid| (*pid, played(*pid, Part::Attach))));
    all.extend(device.kept().into_iter().map(|pid| (pid, played(pid, Part::Keeper))));
    let mut parts = Parts::new();
    for (pid, part) in all {
        let sum = parts.entry(part).or_default();
        *sum = sum.and(Memory::of(pid));
    }
    parts
}

/// `ours`, if it is our program; a keeper's own name is not ours, since it is started by way of `/proc`.
fn played(pid: u32, ours: Part) -> Part {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    match &*name {
        name if name.starts_with("moorline-agent") => ours,
        name if name.starts_with("sshd") => Part::Sshd,
        _ => Part::Shell,
    }
}

/// The memory of some of the parts together.
pub fn together(parts: &Parts, which: &[Part]) -> Memory {
    which.iter().fold(Memory::default(), |sum, part| sum.and(parts.get(part).copied().unwrap_or_default()))
}

/// What each part has more than before, for each of so many.
pub fn each_since(now: &Parts, before: &Parts, count: usize) -> Value {
    let of = |(part, memory): (&Part, &Memory)| {
        let before = before.get(part).copied().unwrap_or_default();
        (part.name().to_owned(), memory.each_since(before, count))
    };
    now.iter().map(of).collect::<serde_json::Map<_, _>>().into()
}

/// The memory when it has come to rest: over three seconds it moved by less than 1 in 500. After half a minute
/// it is taken as it is.
pub async fn settled(world: &World) -> Parts {
    let mut last = parts(world);
    for _ in 0..10 {
        pause(Duration::from_secs(3)).await;
        let now = parts(world);
        let moved = |part| {
            let of = |parts: &Parts| parts.get(&part).copied().unwrap_or_default().resident;
            (of(&now) - of(&last)).abs() > of(&now) / 500.0
        };
        let rests = !moved(Part::Broker) && !moved(Part::Agent);
        last = now;
        if rests {
            break;
        }
    }
    last
}

/// What has a number, and is to be the same when all sessions are over.
pub async fn counts(world: &World) -> Result<BTreeMap<&'static str, i64>> {
    let (broker, agent) = (world.broker.pid(), world.device.agent.process.pid());
    let mut counts = BTreeMap::from([
        ("broker_descriptors", inspect::descriptors(broker)? as i64),
        ("agent_descriptors", inspect::descriptors(agent)? as i64),
        ("broker_threads", inspect::threads(broker)? as i64),
        ("agent_threads", inspect::threads(agent)? as i64),
        ("device_processes", world.device.processes().len() as i64),
    ]);
    let metrics = [
        ("broker_actors", "moorline_actors"),
        ("broker_tasks", "moorline_tasks"),
        ("broker_sessions", "moorline_sessions"),
        ("broker_viewers", "moorline_viewers"),
    ];
    for (name, metric) in metrics {
        let value = world.broker.metric(metric, &[]).await.with_context(|| format!("ask for {metric}"))?;
        counts.insert(name, value as i64);
    }
    Ok(counts)
}
