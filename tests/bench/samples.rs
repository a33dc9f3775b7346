//! What was measured, round by round.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::measure::Measure;
use crate::peer::Peer;

/// The figures of one turn: `key_ms.p99` is the figure `p99` in `key_ms`.
pub type Taken = Vec<(String, f64)>;

/// All figures of everybody.
#[derive(Debug)]
pub struct Samples {
    rows: BTreeMap<Peer, Row>,
}

#[derive(Debug, Default)]
struct Row {
    figures: BTreeMap<String, Vec<f64>>,
    memory: Value,
    failed: BTreeMap<&'static str, String>,
}

/// The figures that every row has, be they measured or not.
const FIGURES: [&str; 11] = [
    "setup_ms.p50",
    "setup_ms.p99",
    "key_ms.p50",
    "key_ms.p99",
    "key_flood_ms.p50",
    "key_flood_ms.p99",
    "bulk_mb_s",
    "cpu_s_per_gb",
    "ctrl_c_ms",
    "ctrl_c_bytes_after",
    "flood_mb_s",
];

impl Samples {
    /// Nothing has been measured yet.
    pub fn new(peers: &[Peer]) -> Self {
        Self { rows: peers.iter().map(|peer| (*peer, Row::default())).collect() }
    }

    /// That peer is not here.
    pub fn leave_out(&mut self, peer: Peer) {
        self.rows.remove(&peer);
    }

    /// Takes what came of a turn.
    pub fn take(&mut self, peer: Peer, measure: Measure, taken: Result<Taken>) {
        let row = self.rows.entry(peer).or_default();
        match taken {
            Ok(taken) => {
                taken.into_iter().for_each(|(name, value)| row.figures.entry(name).or_default().push(value));
            }
            Err(error) => row.fail(peer, measure, &error),
        }
    }

    /// Takes what is known of its memory.
    pub fn take_memory(&mut self, peer: Peer, memory: Result<Value>) {
        let row = self.rows.entry(peer).or_default();
        match memory {
            Ok(memory) => row.memory = memory,
            Err(error) => row.fail(peer, Measure::Memory, &error),
        }
    }

    /// One row for each peer, in their order.
    pub fn rows(&self) -> Vec<Value> {
        self.rows.iter().map(|(peer, row)| row.json(*peer)).collect()
    }
}

impl Row {
    fn fail(&mut self, peer: Peer, measure: Measure, error: &anyhow::Error) {
        eprintln!("bench: {} {}: {error:#}", peer.name(), measure.name());
        self.failed.insert(measure.name(), format!("{error:#}"));
    }

    /// The median of each figure over the rounds, and its least and greatest value. The sessions that were set
    /// up are few in each round, so that their quantiles are those of all of them.
    fn json(&self, peer: Peer) -> Value {
        let (mut row, mut spread) = (Map::new(), Map::new());
        for name in FIGURES {
            put(&mut row, name, Value::Null);
        }
        for (name, values) in &self.figures {
            let (least, greatest) = (quantile(values, 0.0), quantile(values, 1.0));
            put(&mut spread, name, json!([rounded(least), rounded(greatest)]));
            if name == "setup_ms" {
                for (quantile, value) in quantiles(name, values) {
                    put(&mut row, &quantile, rounded(Some(value)));
                }
            } else {
                put(&mut row, name, rounded(median(values)));
            }
        }
        row.insert("peer".to_owned(), peer.name().into());
        row.insert("memory".to_owned(), self.memory.clone());
        row.insert("spread".to_owned(), spread.into());
        row.insert("failed".to_owned(), json!(self.failed));
        row.into()
    }
}

/// Puts the value where the name says: in an object of the object, where it has a dot.
fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(object.insert(name.to_owned(), value)),
        Some((outer, inner)) => {
            let inside = object.entry(outer).or_insert_with(|| json!({}));
            if let Some(inside) = inside.as_object_mut() {
                inside.insert(inner.to_owned(), value);
            }
        }
    }
}

/// The two figures that matter of many: what is usual, and what is rare enough.
pub fn quantiles(name: &str, values: &[f64]) -> Taken {
    let of = |figure: &str, share| quantile(values, share).map(|value| (format!("{name}.{figure}"), value));
    of("p50", 0.5).into_iter().chain(of("p99", 0.99)).collect()
}

/// The smallest of the values that is not exceeded by this share of them.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The middle one, or what lies between the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// A tenth of a microsecond is the least that any figure here can say.
fn rounded(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| json!((value * 1e4).round() / 1e4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 9.0]), Some(4.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (Some(100.0), Some(198.0)));
    }

    #[test]
    fn a_row_has_medians_and_spreads_and_says_what_it_has_not() {
        let mut samples = Samples::new(&[Peer::DirectSsh]);
        for (key, setup) in [(0.2, 100.0), (0.4, 300.0), (0.3, 200.0)] {
            let taken = vec![("key_ms.p50".to_owned(), key), ("setup_ms".to_owned(), setup)];
            samples.take(Peer::DirectSsh, Measure::Key, Ok(taken));
        }
        let row = &samples.rows()[0];
        assert_eq!((&row["peer"], &row["key_ms"]["p50"]), (&json!("direct_ssh"), &json!(0.3)));
        assert_eq!(row["spread"]["key_ms"]["p50"], json!([0.2, 0.4]));
        assert_eq!(row["setup_ms"], json!({ "p50": 200.0, "p99": 300.0 }));
        assert_eq!(row["ctrl_c_ms"], Value::Null);
    }
}
