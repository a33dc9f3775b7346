//! Devices: who is there, and the way to a stream to one of them.
//!
//! [`Devices`] is the handle, and the only way in. Behind it: `greeting` decides who may come in, `enrolling`
//! who becomes known,
//! `directory` holds the newest connection of each device, `arrivals` who waits for one, `actor`
//! drives one connection, and `state` holds the decisions of both. Devices know no sessions: whoever opened a stream watches
//! its [`Leg`], which closes when the link ends, however it ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::MailboxError;
use actix_rt::{Arbiter, ArbiterHandle};
use moorline_link_io::LinkStream;
use moorline_wire::link::Class;
use moorline_wire::{Code, DeviceId};
use tokio::sync::{Semaphore, watch};

use crate::actor::{Birth, Kind, Mailbox, ONLY, Registry, spawn};
use crate::audit::Auditor;
use crate::ca::Ca;
use crate::clock;
use crate::config::Config;
use crate::metrics::{Metrics, Wait};
use crate::problem::Problem;
use crate::socket::SocketEnds;
use crate::store::Store;
use actor::EndLink;
use directory::DeviceDirectory;

mod actor;
mod arrivals;
mod directory;
mod enrolling;
mod greeting;
#[cfg(test)]
mod standing_tests;
mod state;
#[cfg(test)]
mod tests;

pub use enrolling::fresh_install_key;
pub use greeting::device_id as id_of;
pub use greeting::normal as normal_host_key;
pub use state::Presence;

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
    /// What devices did by themselves: enrolled, changed their key.
    pub audit: Auditor,
    /// Where actors are listed.
    pub registry: Registry,
    /// How many devices there are in the store, as the broker starts.
    pub known: usize,
}

/// How the way to a device is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leg {
    /// How the device is connected.
    pub presence: Presence,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
}

/// How a device is at this moment.
pub type DeviceState = Leg;

/// A stream to a device's sshd, and what its user must know.
#[derive(Debug)]
pub struct Opened {
    /// The stream.
    pub stream: LinkStream,
    /// How the device is, at any moment. Closed: the link has ended, and the stream with it.
    pub leg: watch::Receiver<Leg>,
    /// The arbiter that drives the link: who works there saves a change of threads per keystroke.
    pub place: ArbiterHandle,
    /// What the device's clock shows now, in seconds since 1970.
    pub clock: i64,
    /// Where its agent's program is, if it keeps shells: an absolute path on the device, of the
    /// newest greeting.
    pub keeper: Option<String>,
    /// Which handover of the CA the device has heard; 0: none.
    pub heard: u64,
}

/// The devices: the only way to them. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    parts: DeviceParts,
    directory: Mailbox<DeviceDirectory>,
    /// Greetings cost a signature check and a row each: so many are worked on at once.
    turns: Arc<Semaphore>,
}

impl Devices {
    /// Starts the directory on the current arbiter.
    pub fn start(parts: DeviceParts) -> Self {
        let birth = Birth {
            kind: Kind::DeviceDirectory,
            id: ONLY.to_owned(),
            parent: None,
            traced: None,
            mailbox: parts.config.limits.mailbox,
        };
        let make = {
            let parts = parts.clone();
            move |mail| DeviceDirectory::new(parts, mail)
        };
        let directory =
            spawn(&parts.registry, &Arbiter::current(), birth, make, crate::actor::without_a_parent);
        let turns = Arc::new(Semaphore::new(parts.config.limits.greetings_at_once));
        Self { parts, directory, turns }
    }

    /// Greets an agent and gives its socket to its connection, which lives on the current arbiter.
    pub async fn accept(&self, mut ends: SocketEnds, peer: SocketAddr) {
        let proved = match self.greeted(&mut ends, peer).await {
            Ok(proved) => proved,
            Err(problem) => return greeting::refuse(&self.parts, &ends, &problem, peer).await,
        };
        let arrived = directory::Arrived { proved, ends, peer, place: Arbiter::current() };
        match self.directory.send(arrived).await {
            Ok(Ok(())) => {}
            Ok(Err((refused, problem))) => greeting::refuse(&self.parts, &refused.ends, &problem, peer).await,
            // The socket was dropped with the message; the agent comes back.
            Err(_) => tracing::warn!(%peer, "no directory to take a device"),
        }
    }

    async fn greeted(&self, ends: &mut SocketEnds, peer: SocketAddr) -> Result<greeting::Greeted, Problem> {
        let limit = self.parts.config.timing.greeting;
        let late = |timed_out: clock::TimedOut, code| {
            self.parts.metrics.timeout(timed_out.what);
            Problem::new(code).because(timed_out)
        };
        let waiting = self.parts.metrics.greeting_waits();
        let _turn = clock::within(limit, Wait::GreetingTurn, self.turns.acquire())
            .await
            .map_err(|timed_out| late(timed_out, Code::OVERLOADED))?;
        drop(waiting);
        let _running = self.parts.metrics.greeting_runs();
        clock::within(limit, Wait::Greeting, greeting::greet(&self.parts, ends, peer))
            .await
            .map_err(|timed_out| late(timed_out, Code::HELLO_TIMEOUT))?
    }

    /// Every device that is not offline.
    pub async fn states(&self) -> HashMap<DeviceId, DeviceState> {
        self.directory.send(directory::States).await.unwrap_or_default()
    }

    /// How one device is; `None`: offline.
    pub async fn state(&self, device: &DeviceId) -> Option<DeviceState> {
        self.directory.send(directory::State(device.clone())).await.ok().flatten()
    }

    /// Opens a stream to the sshd of a device. Works while the device is away, too.
    pub async fn open(&self, device: &DeviceId, class: Class) -> Result<Opened, Problem> {
        self.directory.send(directory::Open(device.clone(), class)).await.map_err(no_answer)?
    }

    /// Waits until that device has a link over which a stream can be opened; at once, if it has.
    /// Says where the link lives. With more waiting than there may be sessions, or without a
    /// directory, the wait is over early: whoever then tries to open a stream is told.
    pub async fn arrival(&self, device: &DeviceId) -> Option<ArbiterHandle> {
        let arrival = self.directory.send(directory::Arrival(device.clone())).await.ok()?;
        // Closed: given up by the directory.
        arrival.await.ok()
    }

    /// Ends the link of a device that was forgotten.
    pub async fn forget(&self, device: &DeviceId) {
        // Without a directory there are no links.
        let _ = self.directory.send(directory::Forget(device.clone(), EndLink::Forgotten)).await;
    }

    /// Ends the link of a device that was revoked.
    pub async fn revoke(&self, device: &DeviceId) {
        // Without a directory there are no links.
        let _ = self.directory.send(directory::Forget(device.clone(), EndLink::Revoked)).await;
    }

    /// Lets a device greet anew, now if it is there; its link and its sessions go on.
    pub async fn greet_anew(&self, device: &DeviceId) {
        // Without a directory there are no links.
        let _ = self.directory.send(directory::GreetAnew(device.clone())).await;
    }

    /// Tells every agent to come back later, each at another moment, and closes the links.
    pub async fn drain(&self) {
        // Without a directory there are no links.
        let _ = self.directory.send(directory::Drain).await;
    }
}

fn no_answer(err: MailboxError) -> Problem {
    Problem::new(Code::INTERNAL).because(err)
}
