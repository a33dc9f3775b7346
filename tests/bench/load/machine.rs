//! How much of what was asked for this machine can carry.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::options::Options;

/// What a simulated device takes with both ends of its connection, kernel included.
const DEVICE_KIB: u64 = 160;

/// What a live session takes with its keeper, its shell and its viewer: 5 MiB were measured, two of them the shell's,
/// and the ring of a busy one has up to 4 MiB more.
const SESSION_KIB: u64 = 6 * 1024;

/// Descriptors that the broker has besides those of its devices.
const DESCRIPTORS: u64 = 500;

/// Pseudo terminals that are left to others.
const TERMINALS: u64 = 200;

/// See the module.
#[derive(Debug)]
pub struct Carries {
    /// So many devices.
    pub devices: usize,
    /// So many sessions.
    pub sessions: usize,
    limits: Value,
    /// What held it back, in words.
    pub notes: Vec<String>,
}

impl Carries {
    /// Of what the options ask for, what half of the free memory and the limits of a process allow.
    pub fn of(options: &Options) -> Result<Self> {
        let (descriptors, terminals) = (descriptors()?, terminals());
        let half_kib = available_kib()? / 2;
        let most_devices = descriptors.saturating_sub(DESCRIPTORS).min(half_kib / DEVICE_KIB);
        let most_sessions = terminals.saturating_sub(TERMINALS).min(half_kib / SESSION_KIB);
        let mut notes = Vec::new();
        let mut at_most = |what: &str, asked: usize, most: u64| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            if asked > most {
                notes.push(format!("{asked} {what} were asked for; this machine's limits allow {most}"));
            }
            asked.min(most)
        };
        let devices = at_most("devices", options.devices, most_devices);
        let sessions = at_most("sessions", options.sessions, most_sessions);
        let limits = json!({
            "cores": std::thread::available_parallelism()?.get(),
            "descriptors_of_a_process": descriptors,
            "memory_available_mib": half_kib * 2 / 1024,
            "pseudo_terminals": terminals,
            "devices_at_most": most_devices,
            "sessions_at_most": most_sessions,
        });
        Ok(Self { devices, sessions, limits, notes })
    }

    /// The limits, for the report.
    pub fn limits(&self) -> Value {
        self.limits.clone()
    }
}

/// How many files one process may have open.
fn descriptors() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).context("find the limit")?;
    let hard = line.split_whitespace().nth(1).context("find the hard limit")?;
    Ok(hard.parse().unwrap_or(u64::MAX))
}

fn available_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).context("find the memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn terminals() -> u64 {
    let number = |file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let (most, taken) = (number("/proc/sys/kernel/pty/max"), number("/proc/sys/kernel/pty/nr"));
    most.unwrap_or(4096).saturating_sub(taken.unwrap_or(0))
}
