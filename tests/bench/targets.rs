//! What is to hold: Moorline beside direct `ssh` in the same run.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How a figure is judged.
#[derive(Debug, Clone, Copy)]
enum Bar {
    /// At most so many times what direct `ssh` has.
    TimesMost(f64),
    /// At least so many times what direct `ssh` has.
    TimesLeast(f64),
    /// At most this.
    Most(f64),
}

/// What, where it stands in a row, and the bars for the embedded server and for OpenSSH.
const TARGETS: [(&str, &str, Bar, Bar); 7] = [
    ("key p50", "/key_ms/p50", Bar::TimesMost(1.5), Bar::TimesMost(2.0)),
    ("key p99", "/key_ms/p99", Bar::TimesMost(2.0), Bar::TimesMost(2.5)),
    ("key beside a flood p99", "/key_flood_ms/p99", Bar::TimesMost(2.0), Bar::TimesMost(2.5)),
    ("bulk", "/bulk_mb_s", Bar::TimesLeast(1.0), Bar::TimesLeast(0.8)),
    ("setup p50", "/setup_ms/p50", Bar::TimesMost(0.5), Bar::TimesMost(1.3)),
    ("broker CPU s/GB", "/cpu_s_per_gb_by_process/broker", Bar::Most(6.0), Bar::Most(6.0)),
    ("bytes after Ctrl-C", "/ctrl_c_bytes_after", Bar::Most(524_288.0), Bar::Most(524_288.0)),
];

/// Every target for which there are numbers, judged.
pub fn of(rows: &[Value]) -> Vec<Value> {
    let row = |peer: &str| rows.iter().find(|row| row["peer"] == peer);
    let direct = row("direct_ssh");
    let mut judged = Vec::new();
    for (what, pointer, embedded, openssh) in TARGETS {
        for (peer, bar) in [("moorline_embedded", embedded), ("moorline_openssh", openssh)] {
            let figure = |row: Option<&Value>| row.and_then(|row| row.pointer(pointer)?.as_f64());
            let (Some(value), direct) = (figure(row(peer)), figure(direct)) else { continue };
            judged.extend(judge(what, peer, bar, value, direct));
        }
    }
    judged
}

/// None: there is nothing to compare it with.
fn judge(what: &str, peer: &str, bar: Bar, value: f64, direct: Option<f64>) -> Option<Value> {
    let (target, ratio, held) = match bar {
        Bar::Most(most) => (format!("<= {most}"), None, value <= most),
        Bar::TimesMost(most) => {
            let ratio = value / direct?;
            (format!("<= {most}x"), Some(ratio), ratio <= most)
        }
        Bar::TimesLeast(least) => {
            let ratio = value / direct?;
            (format!(">= {least}x"), Some(ratio), ratio >= least)
        }
    };
    let ratio = ratio.map(|ratio| (ratio * 1e3).round() / 1e3);
    Some(
        json!({ "peer": peer, "what": what, "value": value, "ratio": ratio, "target": target, "held": held }),
    )
}

/// How many are missed.
pub fn missed(report: &Value) -> usize {
    let targets = report["targets"].as_array().into_iter().flatten();
    targets.filter(|target| target["held"] == false).count()
}

/// The table.
pub fn table(report: &Value) -> String {
    let mut text = format!("{:<20}{:<24}{:>12}{:>9}{:>11}\n", "peer", "target", "value", "ratio", "wanted");
    for target in report["targets"].as_array().into_iter().flatten() {
        let text_of = |key: &str| target[key].as_str().unwrap_or_default();
        let ratio = target["ratio"].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let _ = writeln!(
            text,
            "{:<20}{:<24}{:>12.2}{:>9}{:>11}  {}",
            text_of("peer"),
            text_of("what"),
            target["value"].as_f64().unwrap_or_default(),
            ratio,
            text_of("target"),
            if target["held"] == true { "held" } else { "MISSED" }
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_ratio_to_direct_ssh_of_the_same_run() {
        let row = |peer: &str, key: f64, bulk: f64| json!({ "peer": peer, "key_ms": { "p50": key }, "bulk_mb_s": bulk });
        let rows = [row("direct_ssh", 0.2, 80.0), row("moorline_embedded", 0.3, 79.0)];
        let judged = of(&rows);
        let verdicts: Vec<_> = judged.iter().map(|target| (&target["what"], &target["held"])).collect();
        assert_eq!(verdicts, [(&json!("key p50"), &json!(true)), (&json!("bulk"), &json!(false))]);
        assert_eq!(missed(&json!({ "targets": judged })), 1);
    }
}
