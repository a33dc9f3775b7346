//! stub
use std::sync::Arc;

use moorline_wire::term::Size;
use moorline_wire::term::frame::Step;
use moorline_wire::{DeviceId, Ending, SessionId};

use crate::actor::Registry;
use crate::ca::Ca;
use crate::config::Config;
use crate::device::Devices;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::store::Store;

/// What sessions need.
#[derive(Clone)]
pub struct SessionParts {
    /// The settings.
    pub config: Arc<Config>,
    /// Where sessions and their endings are kept.
    pub store: Store,
    /// What is counted.
    pub metrics: Metrics,
    /// Signs each session's certificate.
    pub ca: Ca,
    /// The way to the devices.
    pub devices: Devices,
    /// Where actors are listed.
    pub registry: Registry,
}

/// Who wants which shell.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// On which device.
    pub device: DeviceId,
    /// As whom; the device's own default otherwise.
    pub login: Option<String>,
    /// The first size of the terminal.
    pub size: Size,
    /// A command instead of a shell.
    pub command: Option<String>,
    /// Who asked.
    pub person: String,
}

/// How a session is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// The setup is not over.
    Connecting,
    /// Somebody is attached.
    Live,
    /// Nobody is attached.
    Detached,
    /// The device's link is broken and may come back.
    DeviceAway,
    /// It is over.
    Ended,
}

/// One step of a setup and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepTime {
    /// Which step.
    pub step: Step,
    /// How long it took, in milliseconds.
    pub ms: u32,
}

/// What a session looks like from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Which session.
    pub id: SessionId,
    /// On which device.
    pub device: DeviceId,
    /// The device's name for people.
    pub device_name: String,
    /// As whom.
    pub login: String,
    /// Who asked for it.
    pub person: String,
    /// The command, if it is not a shell.
    pub command: Option<String>,
    /// In one word.
    pub state: SessionState,
    /// When it was asked for.
    pub started: jiff::Timestamp,
    /// When it ended.
    pub ended: Option<jiff::Timestamp>,
    /// Why it ended.
    pub ending: Option<Ending>,
    /// How many are attached.
    pub viewers: usize,
    /// The steps of its setup that are over.
    pub steps: Vec<StepTime>,
}

/// The sessions: the only way to them.
#[derive(Clone)]
pub struct Sessions {
    parts: SessionParts,
}

impl Sessions {
    /// Starts the supervisor on the current arbiter.
    pub fn start(parts: SessionParts) -> Self {
        Self { parts }
    }
    /// Opens a session; its setup goes on by itself.
    pub async fn create(&self, new: NewSession) -> Result<SessionId, Problem> {
        let _ = new;
        Err(Problem::new(moorline_wire::Code::INTERNAL))
    }
    /// Ends a session at once. `false`: it was over already. UNKNOWN: there never was one.
    pub async fn kill(&self, id: &SessionId, by: &str, reason: Option<&str>) -> Result<bool, Problem> {
        let _ = (id, by, reason);
        Ok(false)
    }
    /// Every session that is not over.
    pub async fn live(&self) -> Vec<SessionView> {
        Vec::new()
    }
    /// One session, if it is not over (or only since a few seconds).
    pub async fn view(&self, id: &SessionId) -> Option<SessionView> {
        let _ = id;
        None
    }
    /// Ends every session because the broker goes away.
    pub async fn drain(&self) {}
}
