//! stub
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moorline_wire::DeviceId;

use crate::actor::Registry;
use crate::ca::Ca;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::socket::SocketEnds;
use crate::store::Store;

/// What the devices need.
#[derive(Clone)]
pub struct DeviceParts {
    /// The settings.
    pub config: Arc<Config>,
    /// Where devices are kept.
    pub store: Store,
    /// What is counted.
    pub metrics: Metrics,
    /// Told to agents.
    pub ca: Ca,
    /// Where actors are listed.
    pub registry: Registry,
}

/// How a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Its link works.
    Online,
    /// Nothing was heard for some time.
    Unstable,
    /// The link is broken and may still come back.
    Away,
    /// There is no link.
    Offline,
}

/// How a device is at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceState {
    /// How it is connected.
    pub presence: Presence,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
}

/// The devices: the only way to them.
#[derive(Clone)]
pub struct Devices {
    parts: DeviceParts,
}

impl Devices {
    /// Starts the directory on the current arbiter.
    pub fn start(parts: DeviceParts) -> Self {
        Self { parts }
    }
    /// Greets an agent and keeps its link until the socket ends.
    pub async fn accept(&self, ends: SocketEnds, peer: SocketAddr) {
        let _ = (ends, peer);
    }
    /// Every device that is not offline.
    pub async fn states(&self) -> HashMap<DeviceId, DeviceState> {
        HashMap::new()
    }
    /// Ends the link of a device that was forgotten.
    pub async fn forget(&self, device: &DeviceId) {
        let _ = device;
    }
    /// Tells every agent to come back later, each at another moment.
    pub async fn drain(&self) {}
}
