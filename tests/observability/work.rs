//! A quarter of a minute of people at work while one thing after the other fails: enough for every panel
//! to have something to show.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::store::Lock;
use moorline_tests::wait::eventually;
use moorline_tests::{Broker, Device, Kind, Relay, Stage, Terminal, wait};
use moorline_wire::term::Size;
use reqwest::Method;
use serde_json::json;

use crate::prometheus::Prometheus;

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// A broker, two devices with a person at each, and the networks between.
pub struct Work<'s> {
    /// The broker.
    pub broker: Broker,
    /// What scrapes it.
    pub prometheus: Prometheus,
    stage: &'s Stage,
    people: Relay,
    far: Relay,
    devices: [Device; 2],
}

impl<'s> Work<'s> {
    /// Starts everything.
    pub async fn begin(stage: &'s Stage) -> Result<Self> {
        let port = free_port();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let (people, far) = (Relay::to(address).await?, Relay::to(address).await?);
        let hosts = format!("{},{}", people.address, far.address);
        let origin = format!("http://{}", people.address);
        let settings = [("http.hosts", &*hosts), ("http.origins", &*origin), ("timing.store", "1s")];
        let broker = Broker::start_in(stage, port, &settings, &[("MOORLINE_TEST_FAULTS", "1")]).await?;
        let prometheus = Prometheus::start(stage, broker.address).await?;
        // What happens before the first scrape is no change to whoever scrapes.
        prometheus.reads("up", 1.0).await?;
        let devices = [
            Device::start(stage, &broker, "embedded", Kind::Embedded, far.address).await?,
            Device::start(stage, &broker, "openssh", Kind::OpenSsh, far.address).await?,
        ];
        Ok(Self { broker, prometheus, stage, people, far, devices })
    }

    /// Everything that happens; gives every metric that was seen.
    pub async fn all(&mut self) -> Result<BTreeSet<String>> {
        let shells = [self.shell(0).await?, self.shell(1).await?];
        self.breaks(&shells).await?;
        self.endings().await?;
        self.locked_store().await?;
        self.changed_host_key().await?;
        // What was counted so far is seen twice before the process that counted it is gone: a rate has two ends.
        let counted = self.broker.metric("moorline_host_key_changes_total", &[]).await?;
        self.prometheus.reads("moorline_host_key_changes_total", counted).await?;
        self.prometheus.is_seen_again("moorline_refusals_total").await?;
        let mut metrics = self.broker.figures().await?.families().clone();
        self.crash(&shells[0]).await?;
        metrics.extend(self.broker.figures().await?.families().clone());
        Ok(metrics)
    }

    async fn shell(&self, device: usize) -> Result<Terminal> {
        let (session, ticket) = self.broker.open(&self.devices[device].id).await?;
        let terminal = Terminal::attach(&self.broker, self.people.address, &session, ticket, SIZE);
        terminal.ready().await?;
        terminal.types("seq 1 2000\r");
        terminal.shows("2000\r\n").await?;
        Ok(terminal)
    }

    /// The networks are cut, and an actor fails.
    async fn breaks(&self, shells: &[Terminal]) -> Result<()> {
        let attached = shells[0].attached();
        self.people.cut();
        shells[0].attached_again(attached).await?;
        let resumed = self.broker.metric("moorline_links_resumed_total", &[]).await?;
        self.far.cut();
        eventually(wait::SOON, "the links to be resumed", async || {
            let now = self.broker.metric("moorline_links_resumed_total", &[]).await?;
            ensure!(now >= resumed + 2.0, "{now}, before the cut {resumed}");
            Ok(())
        })
        .await?;
        let attached = shells[0].attached();
        let panic = format!("/api/v1/test/panic/{}", shells[0].session);
        self.broker.call(Method::POST, &panic, None).await?;
        shells[0].attached_again(attached).await?;
        for shell in shells {
            shell.types("echo $((6*7))\r");
            shell.shows("42\r\n").await?;
        }
        Ok(())
    }

    /// Shells exit, are killed, and are refused.
    async fn endings(&self) -> Result<()> {
        self.shell(0).await?.types("exit\r");
        let killed = self.shell(0).await?;
        self.broker.end(&killed.session, "over").await?;
        let nowhere = json!({ "device": "d-aaaaaaaaaaaaaaaa", "cols": 80, "rows": 24 });
        self.broker
            .call(Method::POST, "/api/v1/sessions", Some(nowhere))
            .await?
            .refuses(404, "unknown_device")?;
        Ok(())
    }

    /// Another process holds the store for longer than the broker waits.
    async fn locked_store(&self) -> Result<()> {
        let lock = Lock::take(&self.stage.path("broker/moorline.db")).await?;
        let body = json!({ "device": self.devices[0].id, "cols": 80, "rows": 24 });
        let answer = self.broker.call(Method::POST, "/api/v1/sessions", Some(body)).await?;
        lock.release().await?;
        answer.refuses(503, "store_failed")?;
        Ok(())
    }

    /// Somebody else answers on the port of an sshd.
    async fn changed_host_key(&mut self) -> Result<()> {
        let device = &mut self.devices[1];
        if let Some(sshd) = &mut device.sshd {
            sshd.change_host_key(self.stage).await?;
        }
        let (session, _) = self.broker.open(&device.id).await?;
        let ending = self.broker.ending(&session).await?;
        ensure!(ending["code"] == "host_key_changed", "{ending}");
        Ok(())
    }

    /// The broker is killed and started again.
    async fn crash(&mut self, shell: &Terminal) -> Result<()> {
        let attached = shell.attached();
        self.broker.process.kill()?;
        self.broker.restart(self.stage).await?;
        for device in &self.devices {
            self.broker.device_is(&device.id, "online").await?;
        }
        shell.attached_again(attached).await?;
        shell.types("echo $((6*9))\r");
        shell.shows("54\r\n").await
    }
}
