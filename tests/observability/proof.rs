//! What every panel and every alert asks for, asked of a Prometheus that has seen people at work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::root;
use moorline_tests::wait::eventually;
use moorline_tests::{Stage, once};

use crate::panels::metrics_in;
use crate::prometheus::Prometheus;
use crate::work::Work;
use crate::{alerts, panels};

once! {
    every_panel_and_every_alert_has_something_to_show,
}

/// Metrics that nothing of the work makes appear, and why.
const NEVER_SEEN: &[(&str, &str)] = &[];

/// Alerts that are to fire for what happens here, at once.
const FIRE: [&str; 4] =
    ["MoorlineCrashed", "MoorlineActorsRestarting", "MoorlineHostKeyChanged", "MoorlineStoreFailing"];

async fn every_panel_and_every_alert_has_something_to_show(stage: &Stage) -> Result<()> {
    // What is done here is warned of.
    for text in ["actor panicked", "told to", "session", "store", "host key", "host_key", "link", "broker"] {
        stage.announce(text);
    }
    let mut work = Work::begin(stage).await?;
    let counted = work.all().await?;
    let scrape = work.broker.call(reqwest::Method::GET, "/metrics", None).await?.is(200)?.text.clone();
    checked_by_promtool(stage, &scrape)?;
    every_metric_is_on_a_dashboard_or_marked_as_not(&counted)?;
    alerts_fire(&work.prometheus).await?;
    every_panel_shows_something(&work.prometheus).await?;
    every_alert_looks_at_something(&work.prometheus).await
}

fn checked_by_promtool(stage: &Stage, scrape: &str) -> Result<()> {
    let path = stage.path("scrape.txt");
    std::fs::write(&path, scrape)?;
    let output = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(path)?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && said.is_empty(), "promtool check metrics: {said}");
    Ok(())
}

/// The list "Metrics that no panel shows" of the README: metric and reason.
fn marked() -> Result<BTreeMap<String, String>> {
    let readme = std::fs::read_to_string(root().join("dashboards/README.md"))?;
    let (_, list) =
        readme.split_once("## Metrics that no panel shows\n").context("the README has no such list")?;
    let lines =
        list.lines().skip_while(|line| !line.starts_with("- ")).take_while(|line| line.starts_with("- "));
    let entry = |line: &str| {
        let (metric, reason) = line.strip_prefix("- `")?.split_once("`: ")?;
        (reason.len() > 10).then(|| (metric.to_owned(), reason.to_owned()))
    };
    lines.map(|line| entry(line).with_context(|| format!("not a metric with its reason: {line}"))).collect()
}

fn every_metric_is_on_a_dashboard_or_marked_as_not(counted: &BTreeSet<String>) -> Result<()> {
    let shown: BTreeSet<_> = panels::all()
        .iter()
        .flat_map(|panel| panel.queries.iter().flat_map(|query| metrics_in(query)))
        .map(|metric| {
            let plain = ["_bucket", "_count", "_sum"].iter().find_map(|end| metric.strip_suffix(end));
            plain.filter(|plain| counted.contains(*plain)).map_or(metric.clone(), str::to_owned)
        })
        .collect();
    let marked = marked()?;
    let hidden: Vec<_> =
        counted.iter().filter(|metric| !shown.contains(*metric) && !marked.contains_key(*metric)).collect();
    ensure!(hidden.is_empty(), "neither on a dashboard nor marked in dashboards/README.md: {hidden:?}");
    let needless: Vec<_> =
        marked.keys().filter(|metric| shown.contains(*metric) || !counted.contains(*metric)).collect();
    ensure!(needless.is_empty(), "marked as not shown, but shown or not there: {needless:?}");
    Ok(())
}

async fn alerts_fire(prometheus: &Prometheus) -> Result<()> {
    eventually(Duration::from_secs(15), "the alerts to fire", async || {
        let rules = prometheus.rules().await?;
        for name in FIRE {
            let rule =
                rules.iter().find(|rule| rule["name"] == name).with_context(|| format!("no {name}"))?;
            ensure!(rule["state"] == "firing", "{name} is {}", rule["state"]);
            let told = rule["alerts"][0]["annotations"].to_string();
            ensure!(!told.contains("error expanding") && !told.contains("no value"), "{name} tells: {told}");
        }
        Ok(())
    })
    .await
}

async fn every_panel_shows_something(prometheus: &Prometheus) -> Result<()> {
    let interval = panels::dashboard("broker")["templating"]["list"][2]["current"]["value"].clone();
    let interval = interval.as_str().context("the interval has a value")?;
    let mut empty = Vec::new();
    for panel in panels::all() {
        for query in &panel.queries {
            if prometheus.numbers(query, interval).await? == 0 && !never_seen(query) {
                empty.push(format!("{}: {query}", panel.name()));
            }
        }
    }
    ensure!(empty.is_empty(), "nothing comes back for\n{}", empty.join("\n"));
    Ok(())
}

/// A condition that does not hold gives nothing back: each part of it is asked for by itself.
async fn every_alert_looks_at_something(prometheus: &Prometheus) -> Result<()> {
    for rule in prometheus.rules().await? {
        ensure!(rule["health"] == "ok", "{} is {}: {}", rule["name"], rule["health"], rule["lastError"]);
    }
    let mut empty = Vec::new();
    for alert in alerts::all() {
        for selector in selectors(&alert.expr) {
            if prometheus.numbers(&selector, "15m").await? == 0 && !never_seen(&selector) {
                empty.push(format!("{}: {selector}", alert.name));
            }
        }
    }
    ensure!(empty.is_empty(), "nothing comes back for\n{}", empty.join("\n"));
    Ok(())
}

fn never_seen(query: &str) -> bool {
    metrics_in(query).iter().any(|metric| NEVER_SEEN.iter().any(|(never, _)| never == metric))
}

/// The metrics of an expression, each with its labels.
fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for metric in metrics_in(expression) {
        for (at, _) in expression.match_indices(&metric) {
            let rest = &expression[at + metric.len()..];
            let labels = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((labels, _)) => format!("{{{labels}}}"),
                None => String::new(),
            };
            let whole_word = !rest.starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_');
            if whole_word {
                found.insert(format!("{metric}{labels}"));
            }
        }
    }
    found
}

#[test]
fn the_parts_of_an_expression_are_found_with_their_labels() {
    let expression = "up{job=\"m\"} == 0 and sum(rate(moorline_a_total[5m])) / process_open_fds > moorline_a_total_b{c=~\"x|y\"}";
    let found: Vec<_> = selectors(expression).into_iter().collect();
    assert_eq!(
        found,
        ["moorline_a_total", "moorline_a_total_b{c=~\"x|y\"}", "process_open_fds", "up{job=\"m\"}"]
    );
}
