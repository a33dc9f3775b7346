//! What a broker counts, as `/metrics` says it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// One scrape.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    samples: Vec<Sample>,
    families: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Labels that a sample must have: the name, and which values will do.
pub type Labels<'a> = &'a [(&'a str, &'a [&'a str])];

impl Figures {
    /// Reads the text format of Prometheus.
    pub fn parse(text: &str) -> Result<Self> {
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let families = families.map(str::to_owned).collect();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = samples.map(|line| sample(line).with_context(|| format!("no sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()?, families })
    }

    /// The sum of all samples of that name with these labels.
    pub fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        let has = |sample: &&Sample| {
            labels.iter().all(|(label, values)| {
                sample.labels.iter().any(|(own, value)| own == label && values.contains(&&**value))
            })
        };
        let all = self.samples.iter().filter(|sample| sample.name == name);
        all.filter(has).map(|sample| sample.value).sum()
    }

    /// Every metric that the text declares.
    pub fn families(&self) -> &BTreeSet<String> {
        &self.families
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let mut pairs = Vec::new();
    // The broker's words have neither quotes nor backslashes.
    for pair in labels.split_inclusive("\",").filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.trim_end_matches(',').split_once('=')?;
        pairs.push((label.to_owned(), value.trim_matches('"').to_owned()));
    }
    Some(Sample { name: name.to_owned(), labels: pairs, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_added_up_by_name_and_labels() {
        let text = "# HELP a_total What.\n# TYPE a_total counter\na_total{kind=\"x\",how=\"cut\"} 2\n\
                    a_total{kind=\"y\",how=\"cut\"} 3\na_total{kind=\"{id}\",how=\"not, at all\"} 5\n\
                    a_total_more 7\nplain 1e3\n";
        let figures = Figures::parse(text).unwrap();
        assert_eq!(figures.sum("a_total", &[]), 10.0);
        assert_eq!(figures.sum("a_total", &[("how", &["cut"])]), 5.0);
        assert_eq!(figures.sum("a_total", &[("kind", &["y", "{id}"])]), 8.0);
        assert_eq!(figures.sum("a_total", &[("how", &["not, at all"]), ("kind", &["{id}"])]), 5.0);
        assert_eq!(figures.sum("a_total", &[("who", &["cut"])]), 0.0);
        assert_eq!(figures.sum("plain", &[]), 1000.0);
        assert_eq!(figures.families().iter().collect::<Vec<_>>(), ["a_total"]);
        assert!(Figures::parse("a_total{").is_err());
    }
}
