//! Memory and processor time of processes, as `/proc` tells them.

use std::fs;

use serde_json::{Value, json};

/// Memory in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident.
    pub rss: f64,
    /// Its share of it: what several processes have in common is divided among them.
    pub pss: f64,
}

impl Memory {
    /// That of a process; nothing, when it has ended.
    pub fn of(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kib = |key: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0)
        };
        Self { rss: kib("Rss:"), pss: kib("Pss:") }
    }

    /// That of all of them.
    pub fn of_all(pids: &[u32]) -> Self {
        pids.iter().fold(Self::default(), |sum, pid| {
            let one = Self::of(*pid);
            Self { rss: sum.rss + one.rss, pss: sum.pss + one.pss }
        })
    }

    /// What is more than before, for each of so many.
    pub fn each_since(self, before: Self, count: usize) -> Self {
        let count = count.max(1) as f64;
        Self { rss: (self.rss - before.rss) / count, pss: (self.pss - before.pss) / count }
    }

    /// For the report.
    pub fn json(self) -> Value {
        json!({ "pss_kib": tenth(self.pss), "rss_kib": tenth(self.rss) })
    }
}

/// Processor time of all threads of a process so far, in seconds. (The scheduler's own count: that of proc(5)
/// `stat` looks a hundred times a second who is running, and misses who wakes up briefly.)
pub fn cpu_seconds(pid: u32) -> f64 {
    let of = |thread: fs::DirEntry| -> Option<f64> {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(of).sum()
}

/// With one digit after the point.
pub fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The smallest of the values that is not exceeded by this share of them.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// How long something took, in milliseconds: what is usual, what is rare, and the longest.
pub fn spread(values: &[f64]) -> Value {
    let of = |share| quantile(values, share).map(|value| (value * 100.0).round() / 100.0);
    json!({ "p50": of(0.5), "p99": of(0.99), "max": of(1.0), "count": values.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (Some(100.0), Some(198.0)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_process_that_works_has_taken_time() {
        let before = cpu_seconds(std::process::id());
        let mut sum = 0_u64;
        while cpu_seconds(std::process::id()) - before < 0.02 {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(sum > 0 && Memory::of(std::process::id()).pss > 100.0);
    }
}
