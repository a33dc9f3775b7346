//! The broker's events, as a page listens to them.

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::Value;

use crate::broker::Broker;
use crate::wait;

/// A listener to `/api/v1/events`.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    /// Listens from now on.
    pub async fn listen(broker: &Broker) -> Result<Self> {
        // The client's own limit of 30 s is for whole answers, which this is not.
        let request = broker.request(Method::GET, "/api/v1/events");
        let response = request.timeout(std::time::Duration::from_secs(600)).send().await?;
        ensure!(response.status() == 200, "events: {}", response.status());
        let kind = response.headers().get("content-type").context("no content type")?;
        ensure!(kind == "text/event-stream", "{kind:?}");
        Ok(Self { response, text: String::new() })
    }

    /// The next event, its name and its data; `None`: the broker has ended the stream.
    pub async fn next(&mut self) -> Result<Option<(String, Value)>> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if !event.starts_with(':') {
                    return parse(&event).map(Some);
                }
            }
            match self.response.chunk().await? {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes)?),
                None if self.text.is_empty() => return Ok(None),
                None => bail!("half an event: {:?}", self.text),
            }
        }
    }

    /// Waits for an event of that name which is as wanted; others go by.
    pub async fn wait_for(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let waiting = async {
            loop {
                match self.next().await? {
                    Some((found, data)) if found == name && wanted(&data) => return Ok(data),
                    Some(_) => {}
                    None => bail!("the events ended"),
                }
            }
        };
        wait::within(wait::SOON, &format!("an event {name}"), waiting).await?
    }

    /// Waits until the broker ends the stream.
    pub async fn ended(&mut self) -> Result<()> {
        let waiting = async {
            while self.next().await?.is_some() {}
            Ok(())
        };
        wait::within(wait::SOON, "the end of the events", waiting).await?
    }
}

fn parse(event: &str) -> Result<(String, Value)> {
    let (name, data) = event.split_once('\n').context("an event without data")?;
    let name = name.strip_prefix("event: ").with_context(|| format!("no event: {event:?}"))?;
    let data = data.strip_prefix("data: ").with_context(|| format!("no data: {event:?}"))?;
    Ok((name.to_owned(), serde_json::from_str(data)?))
}
