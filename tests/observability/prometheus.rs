//! A real Prometheus that scrapes one broker every second, with the rules of `dashboards/alerts`.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::{free_port, in_a_query, root};
use moorline_tests::process::Process;
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Stage, wait};
use serde_json::Value;

/// How often it scrapes and evaluates, and what Grafana makes `$__rate_interval` of for that: four times as
/// long.
const EVERY: &str = "1s";
const RATE_INTERVAL: &str = "4s";

/// See the module.
pub struct Prometheus {
    process: Process,
    url: String,
    target: SocketAddr,
    started: u64,
}

impl Prometheus {
    /// Starts it with the scrape configuration of the dashboards, at that broker instead.
    pub async fn start(stage: &Stage, target: SocketAddr) -> Result<Self> {
        let config = std::fs::read_to_string(root().join("dashboards/prometheus.yml"))?;
        let rules = root().join("dashboards/alerts/").display().to_string();
        let config = [("127.0.0.1:8080", &*target.to_string()), ("15s", EVERY), ("alerts/", &*rules)]
            .into_iter()
            .try_fold(config, |config, (is, becomes)| {
                ensure!(config.contains(is), "prometheus.yml has no {is}");
                Ok(config.replace(is, becomes))
            })?;
        let path = stage.path("prometheus.yml");
        std::fs::write(&path, config)?;
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", stage.folder("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        let process = Process::start(stage, "prometheus", command, false)?;
        let mut prometheus =
            Self { process, url: format!("http://127.0.0.1:{port}"), target, started: now() };
        prometheus.ready().await?;
        Ok(prometheus)
    }

    async fn ready(&mut self) -> Result<()> {
        let (url, process) = (format!("{}/-/ready", self.url), &mut self.process);
        eventually(SOON, "Prometheus to be ready", async || {
            process.check_alive()?;
            ensure!(reqwest::get(&url).await?.status().is_success(), "it is not");
            Ok(())
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer: Value = reqwest::get(format!("{}{path}", self.url)).await?.json().await?;
        ensure!(answer["status"] == "success", "{}", answer["error"]);
        Ok(answer["data"].clone())
    }

    /// The expression of a panel as Grafana would send it, with these brokers and this interval picked.
    fn filled_in(&self, expression: &str, interval: &str) -> String {
        // In a regular expression, in a string: what has a meaning is escaped twice.
        let instance = self.target.to_string().replace('.', "\\\\.");
        expression
            .replace("$__rate_interval", RATE_INTERVAL)
            .replace("$interval", interval)
            .replace("$instance", &instance)
    }

    /// How many numbers come back for the expression, over all that was scraped.
    pub async fn numbers(&self, expression: &str, interval: &str) -> Result<usize> {
        let query = in_a_query(&self.filled_in(expression, interval));
        let path = format!("/api/v1/query_range?query={query}&start={}&end={}&step=1", self.started, now());
        let data = self.get(&path).await.with_context(|| expression.to_owned())?;
        let series = data["result"].as_array().context("no list of series")?;
        let values = series.iter().flat_map(|one| one["values"].as_array().into_iter().flatten());
        let number =
            |value: &&Value| value[1].as_str().and_then(|text| text.parse().ok()).is_some_and(f64::is_finite);
        Ok(values.filter(number).count())
    }

    /// The one number that the expression has now.
    pub async fn number(&self, expression: &str) -> Result<f64> {
        let data = self.get(&format!("/api/v1/query?query={}", in_a_query(expression))).await?;
        let value =
            data["result"][0]["value"][1].as_str().with_context(|| format!("nothing for {expression}"))?;
        Ok(value.parse()?)
    }

    /// Waits until the expression has that number.
    pub async fn reads(&self, expression: &str, number: f64) -> Result<()> {
        wait::eventually(SOON, &format!("{expression} to be {number}"), async || {
            let is = self.number(expression).await?;
            ensure!(is == number, "it is {is}");
            Ok(())
        })
        .await
    }

    /// Waits until every sample of the metric that is there now was seen once more.
    pub async fn is_seen_again(&self, metric: &str) -> Result<()> {
        self.reads(&format!("min(count_over_time({metric}[1m])) > bool 1"), 1.0).await
    }

    /// Every rule: name, what is wrong with it, and the alerts that it has now.
    pub async fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("/api/v1/rules").await?;
        let groups = data["groups"].as_array().context("no groups")?;
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
