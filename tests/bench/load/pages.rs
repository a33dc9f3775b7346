//! How long the pages take that must be quick, and how large they are.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use moorline_tests::Broker;
use reqwest::Method;
use serde_json::{Value, json};

use crate::pause::pause;
use crate::usage::{spread, tenth};

/// Between two looks of somebody who looks the whole time.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// A page that is asked for again and again.
#[derive(Debug)]
pub struct Page {
    path: &'static str,
    took: Vec<f64>,
    bytes: usize,
}

impl Page {
    /// What Prometheus scrapes.
    pub fn metrics() -> Self {
        Self { path: "/metrics", took: Vec::new(), bytes: 0 }
    }

    /// What the console lists.
    pub fn devices() -> Self {
        Self { path: "/api/v1/devices", took: Vec::new(), bytes: 0 }
    }

    /// Asks for it once.
    pub async fn ask(&mut self, broker: &Broker) -> Result<()> {
        let since = Instant::now();
        let answer = broker.request(Method::GET, self.path).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(status.is_success(), "{} was answered with {status}", self.path);
        self.took.push(since.elapsed().as_secs_f64() * 1e3);
        self.bytes = body.len();
        Ok(())
    }

    /// Asks for it so often.
    pub async fn asks(mut self, broker: &Broker, count: usize) -> Result<Self> {
        for _ in 0..count {
            self.ask(broker).await?;
            pause(BETWEEN_LOOKS).await;
        }
        Ok(self)
    }

    /// Asks until the future is done, at least once.
    pub async fn while_not<T>(mut self, broker: &Broker, done: impl Future<Output = T>) -> Result<(Self, T)> {
        tokio::pin!(done);
        loop {
            self.ask(broker).await?;
            tokio::select! {
                done = &mut done => return Ok((self, done)),
                () = pause(BETWEEN_LOOKS) => {}
            }
        }
    }

    /// For the report.
    pub fn json(&self) -> Value {
        json!({ "ms": spread(&self.took), "kib": tenth(self.bytes as f64 / 1024.0) })
    }
}
