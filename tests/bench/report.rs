//! What a run has to say: the JSON for machines, the table for people, and the README's.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::login::Login;
use crate::long::Long;
use crate::options::Options;
use crate::peer::Peer;
use crate::samples::Samples;
use crate::targets;

/// Where the README's table is.
const BEGIN: &str = "<!-- bench -->";
const FINISH: &str = "<!-- /bench -->";

/// Everything that was measured, and what came of the targets.
pub fn of(samples: &Samples, long: Long, options: &Options, login: &Login) -> Value {
    let rows = samples.rows();
    json!({
        "targets": targets::of(&rows).into_iter().chain(long.targets).collect::<Vec<_>>(),
        "rows": rows,
        "long": long.figures,
        "rounds": options.rounds,
        "setups": options.rounds * options.setups,
        "keys": options.rounds * options.keys,
        "bulk_bytes": options.bulk_bytes,
        "bare_login": login.bare,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
    })
}

/// Writes it.
pub fn write(path: &Path, report: &Value) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, serde_json::to_string_pretty(report)? + "\n")?)
}

fn rows(report: &Value) -> impl Iterator<Item = &Value> {
    report["rows"].as_array().into_iter().flatten()
}

/// The figure there, with so many digits behind the point; a dash where there is none.
fn figure(row: &Value, pointer: &str, digits: usize) -> String {
    let value = row.pointer(pointer).and_then(Value::as_f64);
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// A median and a p99.
fn pair(row: &Value, name: &str, digits: usize) -> String {
    let of = |quantile| figure(row, &format!("/{name}/{quantile}"), digits);
    format!("{} / {}", of("p50"), of("p99"))
}

/// Bytes, in KiB.
fn kib(row: &Value, pointer: &str) -> String {
    let value = row.pointer(pointer).and_then(Value::as_f64);
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.0}", value / 1024.0))
}

/// The table: medians over the rounds.
pub fn table(report: &Value) -> String {
    let mut text = format!(
        "{:<22}{:>12}{:>14}{:>14}{:>7}{:>7}{:>8}{:>9}{:>11}{:>9}{:>11}\n{:<22}{:>12}{:>14}{:>14}{:>7}{:>7}{:>8}{:>9}{:>11}{:>9}{:>11}\n",
        "",
        "setup ms",
        "key ms",
        "key ms",
        "beside",
        "bulk",
        "CPU",
        "Ctrl-C",
        "after it",
        "Ctrl-C",
        "after it",
        "peer",
        "p50 / p99",
        "p50 / p99",
        "beside flood",
        "MB/s",
        "MB/s",
        "s/GB",
        "slow ms",
        "slow KiB",
        "fast ms",
        "fast KiB",
    );
    for row in rows(report) {
        let _ = writeln!(
            text,
            "{:<22}{:>12}{:>14}{:>14}{:>7}{:>7}{:>8}{:>9}{:>11}{:>9}{:>11}",
            row["peer"].as_str().unwrap_or_default(),
            pair(row, "setup_ms", 0),
            pair(row, "key_ms", 2),
            pair(row, "key_flood_ms", 2),
            figure(row, "/flood_mb_s", 0),
            figure(row, "/bulk_mb_s", 0),
            figure(row, "/cpu_s_per_gb", 1),
            figure(row, "/ctrl_c_ms", 0),
            kib(row, "/ctrl_c_bytes_after"),
            figure(row, "/ctrl_c_fast_ms", 0),
            kib(row, "/ctrl_c_fast_bytes_after"),
        );
    }
    text.push('\n');
    rows(report).for_each(|row| text.push_str(&details(row)));
    text
}

/// How far the rounds were apart, and what each part takes: seconds for a gigabyte, KiB of its own for an idle and for a busy session.
fn details(row: &Value) -> String {
    let of = |object: &Value, pointer: &str, digits: usize| -> String {
        let parts = object.as_object().into_iter().flatten();
        let parts = parts.map(|(part, value)| format!(" {part} {}", figure(value, pointer, digits)));
        parts.collect::<Vec<_>>().join(",")
    };
    let apart = |(what, pointer): (&str, &str)| {
        let (least, greatest) = spread(row, pointer)?;
        Some(format!(" {what} {least:.2}..{greatest:.2}"))
    };
    let spreads = [("key p50", "/key_ms/p50"), ("key p99", "/key_ms/p99"), ("bulk", "/bulk_mb_s")];
    let name = row["peer"].as_str().unwrap_or_default();
    let mut text = String::new();
    let mut line = |what: &str, parts: String| {
        if !parts.is_empty() {
            let _ = writeln!(text, "{name:<22}{what:<30}{parts}");
        }
    };
    line("least..greatest of a round", spreads.into_iter().filter_map(apart).collect::<Vec<_>>().join(","));
    line("CPU s/GB", of(&row["cpu_s_per_gb_by_process"], "", 1));
    line("idle session, KiB of its own", of(&row["memory"]["idle_kib"], "/private", 0));
    line("busy session, KiB of its own", of(&row["memory"]["busy_kib"], "/private", 0));
    text
}

/// The README's tables: what direct `ssh` takes and how many times that others take, with the least and the
/// greatest of a round; and every target.
pub fn readme_table(report: &Value) -> Result<String> {
    let direct =
        rows(report).find(|row| row["peer"] == "direct_ssh").context("direct_ssh was not measured")?;
    let mut text = String::from(
        "| | set-up | key, p50 / p99 | key beside a flood | bulk | CPU per GB | after Ctrl-C |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows(report).filter(|row| row["peer"] != "echo_floor") {
        let name = row["peer"].as_str().unwrap_or_default();
        let cells = if name == "direct_ssh" { absolute(row) } else { ratios(row, direct) };
        let _ = writeln!(text, "| {} | {} |", Peer::title(name), cells.join(" | "));
    }
    text.push_str(&readme_targets(report));
    Ok(text)
}

/// A row for each target, with what came of it on both kinds of device.
fn readme_targets(report: &Value) -> String {
    let targets: Vec<_> = report["targets"].as_array().into_iter().flatten().collect();
    let mut text = String::from(
        "\n| target | embedded sshd | OpenSSH on the device |\n\
         |---|---|---|\n",
    );
    let mut told: Vec<&Value> = Vec::new();
    for target in &targets {
        let what = &target["what"];
        if told.contains(&what) {
            continue;
        }
        told.push(what);
        let of = |peer: &str| {
            let of_it = targets.iter().find(|target| target["what"] == *what && target["peer"] == peer);
            of_it.map_or_else(|| "-".to_owned(), |target| outcome(target))
        };
        let what = what.as_str().unwrap_or_default();
        let _ = writeln!(text, "| {what} | {} | {} |", of("moorline_embedded"), of("moorline_openssh"));
    }
    if told.is_empty() { String::new() } else { text }
}

fn outcome(target: &Value) -> String {
    let ratio = target["ratio"].as_f64().map(|ratio| format!("{ratio:.2}x"));
    let value = || format!("{:.1}", target["value"].as_f64().unwrap_or_default());
    let wanted = target["target"].as_str().unwrap_or_default();
    format!("{} ({wanted}): {}", ratio.unwrap_or_else(value), targets::verdict(target))
}

/// Medians, and in parentheses the least and the greatest of a round.
fn absolute(row: &Value) -> [String; 6] {
    let in_units = |pointer: &str, digits: usize| {
        let median = figure(row, pointer, digits);
        match spread(row, pointer) {
            Some((least, greatest)) => format!("{median} ({least:.digits$}..{greatest:.digits$})"),
            None => median,
        }
    };
    let pair = |name: &str| {
        format!("{} / {} ms", in_units(&format!("/{name}/p50"), 2), in_units(&format!("/{name}/p99"), 2))
    };
    [
        format!("{} ms", figure(row, "/setup_ms/p50", 0)),
        pair("key_ms"),
        pair("key_flood_ms"),
        format!("{} MB/s", in_units("/bulk_mb_s", 0)),
        format!("{} s", in_units("/cpu_s_per_gb", 1)),
        format!("{} KiB", kib(row, "/ctrl_c_bytes_after")),
    ]
}

/// The same as so many times the median of direct `ssh`.
fn ratios(row: &Value, direct: &Value) -> [String; 6] {
    let of = |row: &Value, pointer: &str| row.pointer(pointer).and_then(Value::as_f64);
    let ratio = |pointer: &str| {
        let Some((value, direct)) = of(row, pointer).zip(of(direct, pointer)) else { return "-".to_owned() };
        let median = format!("{:.1}x", value / direct);
        match spread(row, pointer) {
            Some((least, greatest)) => format!("{median} ({:.1}..{:.1})", least / direct, greatest / direct),
            None => median,
        }
    };
    let pair =
        |name: &str| format!("{} / {}", ratio(&format!("/{name}/p50")), ratio(&format!("/{name}/p99")));
    [
        ratio("/setup_ms/p50"),
        pair("key_ms"),
        pair("key_flood_ms"),
        ratio("/bulk_mb_s"),
        ratio("/cpu_s_per_gb"),
        format!("{} KiB", kib(row, "/ctrl_c_bytes_after")),
    ]
}

/// The least and the greatest of a round.
fn spread(row: &Value, pointer: &str) -> Option<(f64, f64)> {
    let ends = row["spread"].pointer(pointer)?;
    ends[0].as_f64().zip(ends[1].as_f64())
}

/// Puts the table where the README has its marks.
pub fn into_readme(readme: &Path, report: &Value) -> Result<()> {
    let text = std::fs::read_to_string(readme)?;
    Ok(std::fs::write(readme, between_marks(&text, &readme_table(report)?)?)?)
}

fn between_marks(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("the README has no mark where the table begins")?;
    let (_, after) = rest.split_once(FINISH).context("the README has no mark where the table ends")?;
    Ok(format!("{before}{BEGIN}\n{table}{FINISH}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_is_between_the_marks_and_nothing_else() {
        let text = "a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n";
        assert_eq!(between_marks(text, "new\n").unwrap(), "a\n<!-- bench -->\nnew\n<!-- /bench -->\nb\n");
        assert!(between_marks("no marks", "new").is_err());
    }

    #[test]
    fn the_readme_has_what_direct_ssh_takes_how_many_times_that_others_take_and_every_target() {
        let row = |peer: &str, key: f64| {
            json!({ "peer": peer, "key_ms": { "p50": key, "p99": 2.0 * key },
            "spread": { "key_ms": { "p50": [0.1, 2.0 * key] } } })
        };
        let targets = [targets::Check::most("echo ms", 195.0, 130.0).judged("moorline_openssh")];
        let report =
            json!({ "rows": [row("direct_ssh", 0.2), row("moorline_embedded", 0.3)], "targets": targets });
        let table = readme_table(&report).unwrap();
        assert!(table.contains("| direct `ssh` | - ms | 0.20 (0.10..0.40) / 0.40 ms |"), "{table}");
        assert!(table.contains("embedded sshd | - | 1.5x (0.5..3.0) / 1.5x |"), "{table}");
        assert!(table.contains("| echo ms | - | 195.0 (<= 130): missed by 50 % |"), "{table}");
    }
}
