//! What the kernel says of this process and of the keepers on this machine (proc(5)).

use std::fs;
use std::path::Path;

use super::Sample;

/// Every sample; what the kernel does not tell is left out.
pub(super) fn samples() -> Vec<Sample> {
    let gauge = |name, help, value| Sample { name, kind: "gauge", labels: "", help, value };
    let mut samples = vec![gauge(
        "moorline_agent_keepers",
        "Keepers that run on this device, as far as this agent may see them.",
        keepers(Path::new("/proc")) as f64,
    )];
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        let page = rustix::param::page_size() as f64;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let help = "Processor time, of the user and of the kernel.";
        let cpu =
            Sample { kind: "counter", ..gauge("process_cpu_seconds_total", help, stat.ticks as f64 / ticks) };
        samples.push(cpu);
        let help = "Memory that is not swapped out.";
        samples.push(gauge("process_resident_memory_bytes", help, stat.pages as f64 * page));
        samples.push(gauge("process_threads", "Threads.", stat.threads as f64));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Less the one that counts them.
        let open = open.count().saturating_sub(1);
        samples.push(gauge("process_open_fds", "Open files.", open as f64));
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        samples.push(gauge("process_max_fds", "Files that may be open.", limit as f64));
    }
    samples
}

/// What `/proc/self/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ticks: u64,
    threads: u64,
    pages: u64,
}

impl Stat {
    /// The fields after the name, which may hold anything but its own last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self { ticks: number(14)? + number(15)?, threads: number(20)?, pages: number(24)? })
    }
}

/// Processes that run our program as a keeper does, whatever it is called there: an attach, and what waits in
/// its place, hold nothing.
fn keepers(proc: &Path) -> usize {
    let Ok(processes) = fs::read_dir(proc) else { return 0 };
    let numbered = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    processes.flatten().filter(|entry| numbered(&entry.file_name()) && is_keeper(&entry.path())).count()
}

fn is_keeper(process: &Path) -> bool {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).skip(1).take(3).eq([&b"keep"[..], b"--hold", b"--session"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 3 0 100 1000 250 184467 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { ticks: 12, threads: 3, pages: 250 }));
        assert_eq!(Stat::parse("42 (a"), None);
        assert_eq!(Stat::parse("42 (a) S 1"), None);
    }

    #[test]
    fn only_keepers_are_counted() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: u32, cmdline: &[u8]| {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("cmdline"), cmdline).unwrap();
        };
        process(10, b"/proc/self/exe\0keep\0--hold\0--session\0s\0--dir\0/d\0");
        process(11, b"/usr/bin/moorline-agent\0keep\0--session\0s\0");
        process(12, b"/usr/bin/moorline-agent\0--config\0x\0");
        process(13, b"/bin/sh\0-c\0read _; exit 0\0moorline-agent\0keep\0--hold\0--session\0");
        process(14, b"");
        fs::create_dir(proc.path().join("sys")).unwrap();
        assert_eq!(keepers(proc.path()), 1);
    }
}
