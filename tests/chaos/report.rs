//! What a run has to say: the table for people, the JSON for machines, and whether it is good enough.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::account::Account;
use crate::faults::Fault;

/// What became of one fault.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub fault: Fault,
    /// How often it was tried.
    pub rounds: usize,
    /// What was lost and doubled.
    pub account: Account,
    /// Shells that did not come back.
    pub sessions_lost: u64,
    /// Rounds whose fault did not show in what the broker counts.
    pub unseen: u64,
    /// From the fault to live again, for each person and round.
    pub live_again: Vec<Duration>,
    /// What went wrong beside all that: something is left over, something did not start.
    pub trouble: Option<String>,
    /// How long it took as a whole.
    pub took: Duration,
    /// Within which time 99 of 100 people must be live again.
    pub bar: Duration,
}

impl Row {
    /// Nothing has been tried yet.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            rounds: 0,
            account: Account::default(),
            sessions_lost: 0,
            unseen: 0,
            live_again: Vec::new(),
            trouble: None,
            took: Duration::ZERO,
            bar: fault.bar(),
        }
    }

    /// What is over its bar, in words; nothing is good.
    pub fn over(&self) -> Vec<String> {
        let account = &self.account;
        let counts = [
            ("bytes lost", account.bytes_lost),
            ("bytes doubled", account.bytes_doubled),
            ("keys lost", account.keys_lost),
            ("keys doubled", account.keys_doubled),
            ("sessions lost", self.sessions_lost),
            ("rounds unseen on the dashboards", self.unseen),
        ];
        let mut over: Vec<_> = counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let (p99, bar) = (quantile(&self.live_again, 0.99), self.bar);
        if p99.is_some_and(|p99| p99 > bar) {
            over.push(format!("live again after {} ms, the bar is {} ms", millis(p99), bar.as_millis()));
        }
        over.extend(self.trouble.clone());
        over
    }

    fn json(&self) -> Value {
        let account = &self.account;
        json!({
            "fault": self.fault.name(),
            "rounds": self.rounds,
            "bytes_lost": account.bytes_lost,
            "bytes_doubled": account.bytes_doubled,
            "keys_lost": account.keys_lost,
            "keys_doubled": account.keys_doubled,
            "sessions_lost": self.sessions_lost,
            "unseen": self.unseen,
            "live_again_ms": {
                "p50": millis_json(quantile(&self.live_again, 0.5)),
                "p99": millis_json(quantile(&self.live_again, 0.99)),
                "bar": self.bar.as_millis() as u64,
            },
            "over": self.over(),
        })
    }
}

/// Writes all rows and the seed.
pub fn write(path: &Path, seed: u64, rows: &[Row]) -> Result<()> {
    let rows: Vec<_> = rows.iter().map(Row::json).collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(&json!({ "seed": seed, "rows": rows }))?;
    Ok(std::fs::write(path, text + "\n")?)
}

/// The table.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<18}{:>7}{:>8}{:>9}{:>7}{:>9}{:>10}{:>9}{:>9}{:>8}\n{:<18}{:>7}{:>8}{:>9}{:>7}{:>9}{:>10}{:>9}{:>9}{:>8}\n",
        "",
        "",
        "bytes",
        "bytes",
        "keys",
        "keys",
        "sessions",
        "live p50",
        "p99",
        "bar",
        "fault",
        "rounds",
        "lost",
        "doubled",
        "lost",
        "doubled",
        "lost",
        "ms",
        "ms",
        "ms",
    );
    for row in rows {
        let account = &row.account;
        let _ = writeln!(
            text,
            "{:<18}{:>7}{:>8}{:>9}{:>7}{:>9}{:>10}{:>9}{:>9}{:>8}{}",
            row.fault.name(),
            row.rounds,
            account.bytes_lost,
            account.bytes_doubled,
            account.keys_lost,
            account.keys_doubled,
            row.sessions_lost,
            millis(quantile(&row.live_again, 0.5)),
            millis(quantile(&row.live_again, 0.99)),
            row.bar.as_millis(),
            if row.over().is_empty() { "" } else { "  <-- over" },
        );
    }
    text
}

fn millis(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| duration.as_millis().to_string())
}

fn millis_json(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |duration| json!(duration.as_millis() as u64))
}

/// The smallest of the durations that is not exceeded by this share of them.
fn quantile(durations: &[Duration], share: f64) -> Option<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_durations() {
        let all: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        let of = |share| quantile(&all, share).map(|duration| duration.as_millis());
        assert_eq!((of(0.5), of(0.99), of(0.0)), (Some(10), Some(20), Some(1)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_row_is_over_when_one_number_is() {
        let mut row = Row::new(Fault::BrowserCut);
        row.live_again = vec![Duration::from_millis(1_900); 20];
        assert!(row.over().is_empty());
        row.live_again.push(Duration::from_millis(2_100));
        assert_eq!(row.over(), ["live again after 2100 ms, the bar is 2000 ms"]);
        row.live_again.clear();
        row.account.keys_doubled = 3;
        assert_eq!(row.over(), ["3 keys doubled"]);
    }
}
