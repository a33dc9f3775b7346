//! What was measured, what is to hold, and whether it did.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::options::Options;

/// What is to hold: where it stands in the report, how it is called, the most that it may be, and the most that
/// it may be among other work (times are generous there, and two thousand devices share less among them; nothing, where
/// it says nothing there).
struct Target {
    at: &'static str,
    name: &'static str,
    most: f64,
    most_in_short: Option<f64>,
}

const fn target(at: &'static str, name: &'static str, most: f64, most_in_short: Option<f64>) -> Target {
    Target { at, name, most, most_in_short }
}

const TARGETS: [Target; 7] = [
    target("/devices/rest/memory_each/pss_kib", "idle device in the broker, KiB", 20.0, Some(24.0)),
    target("/devices/rest/cpu_percent", "all devices at rest, % of a core", 5.0, None),
    target("/devices/return/all_back_s", "all back after a kill -9 of the broker, s", 30.0, Some(90.0)),
    target("/devices/rest/metrics/ms/max", "/metrics at rest, ms", 50.0, Some(1_000.0)),
    target("/devices/return/metrics/ms/max", "/metrics during the return, ms", 50.0, Some(5_000.0)),
    target("/sessions/idle_in_broker/pss_kib", "idle session in the broker, KiB", 160.0, Some(200.0)),
    target("/sessions/idle_on_device/pss_kib", "idle session on its device, KiB", 2_048.0, Some(2_048.0)),
];

/// What else stands in the table.
const FIGURES: [(&str, &str); 22] = [
    ("/devices/devices", "simulated devices"),
    ("/devices/connecting/per_s", "new devices a second"),
    ("/devices/connecting/broker_cpu_us_each", "broker's processor time for a new device, us"),
    ("/devices/key_alone_ms/p50", "key before there are devices, p50 ms"),
    ("/devices/key_alone_ms/p99", "p99 ms"),
    ("/devices/rest/key_ms/p50", "key at rest, p50 ms"),
    ("/devices/rest/key_ms/p99", "p99 ms"),
    ("/devices/rest/metrics/ms/p50", "/metrics at rest, p50 ms"),
    ("/devices/rest/metrics/kib", "KiB"),
    ("/devices/rest/device_list/ms/p50", "device list at rest, p50 ms"),
    ("/devices/rest/device_list/kib", "KiB"),
    ("/devices/return/person_waited_ms", "a person's longest wait for a key over the return, ms"),
    ("/devices/return/key_ms/p99", "key during the return, p99 ms"),
    ("/devices/return/metrics/ms/p50", "/metrics during the return, p50 ms"),
    ("/devices/return/device_list/ms/p50", "device list during the return, p50 ms"),
    ("/devices/return/device_list/ms/max", "max ms"),
    ("/sessions/sessions", "live sessions"),
    ("/sessions/set_up_per_s", "sessions set up a second"),
    ("/sessions/idle_cpu_percent", "broker while all are idle, % of a core"),
    ("/sessions/busy_cpu_percent", "broker while a tenth prints, % of a core"),
    ("/sessions/idle_key_ms/p99", "key while all are idle, p99 ms"),
    ("/sessions/busy_key_ms/p99", "key while a tenth prints, p99 ms"),
];

/// See the module.
#[derive(Debug, Default)]
pub struct Report {
    parts: Map<String, Value>,
    failures: Vec<String>,
}

impl Report {
    /// Puts a part of it.
    pub fn put(&mut self, part: &str, value: Value) {
        self.parts.insert(part.to_owned(), value);
    }

    /// Something failed.
    pub fn fails(&mut self, what: String) {
        eprintln!("load: {what}");
        self.failures.push(what);
    }

    /// Each of these is a failure that a person was shown.
    pub fn fails_if_any(&mut self, errors: Vec<String>) {
        for error in errors {
            self.fails(format!("an error was shown to a person: {error}"));
        }
    }

    /// Judges, prints the table, and writes the numbers. True: everything that has to hold did.
    pub fn ends(mut self, options: &Options) -> Result<bool> {
        let all = Value::Object(self.parts.clone());
        let mut judged = Vec::new();
        for target in TARGETS {
            let Some(value) = all.pointer(target.at).and_then(Value::as_f64) else { continue };
            let held = value <= target.most;
            judged.push(json!({ "name": target.name, "value": value, "target": target.most, "held": held }));
            let strict = Some(target.most).filter(|_| options.strict);
            let bar = if options.short { target.most_in_short } else { strict };
            if let Some(bar) = bar.filter(|bar| value > *bar) {
                self.failures.push(format!("{}: {value} where {bar} is the most", target.name));
            }
        }
        print(&all, &judged);
        self.parts.insert("targets".to_owned(), judged.into());
        self.parts.insert("failures".to_owned(), json!(self.failures));
        write(&options.json, &self.parts)?;
        for failure in &self.failures {
            eprintln!("load: FAILED: {failure}");
        }
        Ok(self.failures.is_empty())
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn print(all: &Value, judged: &[Value]) {
    println!("| | |\n|---|---|");
    for (at, name) in FIGURES {
        if let Some(value) = all.pointer(at).filter(|value| !value.is_null()) {
            println!("| {name} | {value} |");
        }
    }
    println!("\n| target | at most | measured | |\n|---|---|---|---|");
    for target in judged {
        let verdict = if target["held"] == true { "held" } else { "MISSED" };
        let name = target["name"].as_str().unwrap_or_default();
        println!("| {name} | {} | {} | {verdict} |", target["target"], target["value"]);
    }
}

fn write(file: &Path, parts: &Map<String, Value>) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, serde_json::to_string_pretty(parts)?)?;
    eprintln!("load: the numbers are in {}", file.display());
    Ok(())
}
