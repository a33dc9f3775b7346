//! What is to hold: of Moorline beside direct `ssh` in the same run, and of what the long measures see.

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
    /// At least this.
    Least(f64),
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

/// A figure with a target of its own.
#[derive(Debug, Clone)]
pub struct Check {
    what: String,
    value: f64,
    bar: Bar,
}

impl Check {
    /// It may be so much.
    pub fn most(what: impl Into<String>, value: f64, most: f64) -> Self {
        Self { what: what.into(), value, bar: Bar::Most(most) }
    }

    /// It must be so much.
    pub fn least(what: impl Into<String>, value: f64, least: f64) -> Self {
        Self { what: what.into(), value, bar: Bar::Least(least) }
    }

    /// What came of it for that peer.
    pub fn judged(&self, peer: &str) -> Value {
        judge(&self.what, peer, self.bar, self.value, None).expect("the bar is none of direct ssh's")
    }
}

/// Every target of the rows for which there are numbers, judged.
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
    let (target, ratio, missed_by) = match bar {
        Bar::Most(most) => (format!("<= {most}"), None, above(value, most)),
        Bar::Least(least) => (format!(">= {least}"), None, above(-value, -least)),
        Bar::TimesMost(most) => {
            let ratio = value / direct?;
            (format!("<= {most}x"), Some(ratio), above(ratio, most))
        }
        Bar::TimesLeast(least) => {
            let ratio = value / direct?;
            (format!(">= {least}x"), Some(ratio), above(-ratio, -least))
        }
    };
    let rounded = |figure: f64| (figure * 1e3).round() / 1e3;
    Some(json!({
        "peer": peer, "what": what, "value": rounded(value), "ratio": ratio.map(rounded), "target": target,
        "held": missed_by.is_none(), "missed_by": missed_by.map(rounded),
    }))
}

/// By which part of the bar it is exceeded, if it is; of nothing at all every one counts whole.
fn above(value: f64, most: f64) -> Option<f64> {
    let part = if most == 0.0 { 1.0 } else { most.abs() };
    (value > most).then(|| (value - most) / part)
}

/// How many are missed.
pub fn missed(report: &Value) -> usize {
    let targets = report["targets"].as_array().into_iter().flatten();
    targets.filter(|target| target["held"] == false).count()
}

/// Whether it was held; if not, by how much it was missed.
pub fn verdict(target: &Value) -> String {
    match target["missed_by"].as_f64() {
        Some(part) => format!("missed by {:.0} %", (part * 100.0).max(1.0)),
        None => "held".to_owned(),
    }
}

/// The table: a line for each.
pub fn table(report: &Value) -> String {
    let mut text = format!("{:<20}{:<36}{:>12}{:>9}{:>13}\n", "peer", "target", "value", "ratio", "wanted");
    for target in report["targets"].as_array().into_iter().flatten() {
        let text_of = |key: &str| target[key].as_str().unwrap_or_default();
        let ratio = target["ratio"].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let _ = writeln!(
            text,
            "{:<20}{:<36}{:>12.2}{:>9}{:>13}  {}",
            text_of("peer"),
            text_of("what"),
            target["value"].as_f64().unwrap_or_default(),
            ratio,
            text_of("target"),
            verdict(target),
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
        let rows = [row("direct_ssh", 0.2, 80.0), row("moorline_embedded", 0.3, 60.0)];
        let judged = of(&rows);
        let verdicts: Vec<_> = judged.iter().map(|target| (&target["what"], verdict(target))).collect();
        let expected =
            [(&json!("key p50"), "held".to_owned()), (&json!("bulk"), "missed by 25 %".to_owned())];
        assert_eq!(verdicts, expected);
        assert_eq!(missed(&json!({ "targets": judged })), 1);
    }

    #[test]
    fn a_figure_of_its_own_is_missed_by_a_part_of_its_bar() {
        let verdict = |check: Check| verdict(&check.judged("moorline_embedded"));
        assert_eq!(verdict(Check::most("echo ms", 130.0, 130.0)), "held");
        assert_eq!(verdict(Check::most("echo ms", 195.0, 130.0)), "missed by 50 %");
        assert_eq!(verdict(Check::least("MB/s", 0.6, 1.0)), "missed by 40 %");
        assert_eq!(verdict(Check::most("counts", 2.0, 0.0)), "missed by 200 %");
        assert_eq!(verdict(Check::most("echo ms", 130.1, 130.0)), "missed by 1 %");
    }
}
