//! A broker with one device, ready for a shell.

use std::net::SocketAddr;

use anyhow::Result;

use crate::agent::Agent;
use crate::broker::{Broker, free_port};
use crate::sshd::Sshd;
use crate::stage::Stage;
use crate::terminal::Terminal;

/// Which sshd answers on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The one in the agent.
    Embedded,
    /// The OpenSSH server of the system.
    OpenSsh,
}

/// A device: an agent and, if it has one, its sshd.
#[derive(Debug)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its agent.
    pub agent: Agent,
    /// The system's sshd.
    pub sshd: Option<Sshd>,
    keepers: String,
}

/// Keepers outlive what started them. That they go is no part of the test.
impl Drop for Device {
    fn drop(&mut self) {
        self.agent.process.curtain();
        for pid in self.kept() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Device {
    /// Starts a device that dials the address, and waits until it is online.
    pub async fn start(
        stage: &Stage,
        broker: &Broker,
        name: &str,
        kind: Kind,
        dial: SocketAddr,
    ) -> Result<Self> {
        Self::start_with(stage, broker, name, kind, dial, &[]).await
    }

    /// The same with settings of the agent.
    pub async fn start_with(
        stage: &Stage,
        broker: &Broker,
        name: &str,
        kind: Kind,
        dial: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let sshd = match kind {
            Kind::Embedded => None,
            Kind::OpenSsh => Some(Sshd::start(stage, name).await?),
        };
        let mut agent = match &sshd {
            None => Agent::start_with(stage, name, dial, settings)?,
            Some(sshd) => Agent::start_before(stage, name, dial, sshd, settings)?,
        };
        let id = agent.online(broker).await?;
        let keepers = Agent::keepers_of(stage, name).display().to_string();
        Ok(Self { id, agent, sshd, keepers })
    }

    /// The processes whose descendants are this device's shells.
    pub fn roots(&self) -> Vec<u32> {
        let sshd = self.sshd.iter().map(|sshd| sshd.process.pid());
        std::iter::once(self.agent.process.pid()).chain(sshd).collect()
    }

    /// Every process of this device but the agent and its sshd: what runs below them, the keepers, and
    /// what runs below those.
    pub fn processes(&self) -> Vec<u32> {
        let mut all = self.below();
        all.extend(self.kept());
        all
    }

    /// What runs below the agent and its sshd.
    pub fn below(&self) -> Vec<u32> {
        self.roots().into_iter().flat_map(crate::inspect::descendants).collect()
    }

    /// The keepers and their shells: nobody's children.
    pub fn kept(&self) -> Vec<u32> {
        let (roots, below) = (self.roots(), self.below());
        let mut kept = crate::inspect::marked(&format!("MOORLINE_KEEP_DIR={}", self.keepers));
        kept.retain(|pid| !roots.contains(pid) && !below.contains(pid));
        kept
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The one device.
    pub device: Device,
    /// The broker.
    pub broker: Broker,
}

impl World {
    /// A broker with the demo's settings and a device of this kind.
    pub async fn new(stage: &Stage, kind: Kind) -> Result<Self> {
        Self::with(stage, kind, &[]).await
    }

    /// A broker with these settings and a device of this kind.
    pub async fn with(stage: &Stage, kind: Kind, settings: &[(&str, &str)]) -> Result<Self> {
        let broker = Broker::start_with(stage, free_port(), settings).await?;
        let device = Device::start(stage, &broker, "device", kind, broker.address).await?;
        Ok(Self { device, broker })
    }

    /// A terminal with a shell on the device, its prompt shown.
    pub async fn shell(&self) -> Result<Terminal> {
        let terminal = Terminal::open(&self.broker, &self.device.id).await?;
        terminal.ready().await?;
        Ok(terminal)
    }
}
