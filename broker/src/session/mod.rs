//! Sessions: one shell of one person on one device each, from being asked for to its ending.
//!
//! [`Sessions`] is the handle, and the only way in. Behind it: `supervisor` starts sessions, takes
//! them up again and writes their endings down, `actor` holds one session and its viewers, `ssh` is
//! its SSH client and `gate` the back-pressure under it, `house` carries messages to the keeper or is
//! the host of a plain shell, `state` holds the decisions. Sessions know no HTTP.

use std::sync::Arc;
use std::time::Duration;

use actix::MailboxError;
use actix_rt::Arbiter;
use moorline_wire::term::frame::Step;
use moorline_wire::term::{Size, ViewerFrame};
use moorline_wire::{Code, DeviceId, Ending, SessionId};

use crate::actor::{Birth, Kind, Mailbox, ONLY, Registry, spawn};
use crate::ca::Ca;
use crate::clock;
use crate::config::Config;
use crate::device::{Devices, Presence};
use crate::keys::LoginKeys;
use crate::metrics::{Leg, Metrics, Wait};
use crate::pipe;
use crate::problem::Problem;
use crate::store::Store;
use crate::trace::{Place, Trace};
use supervisor::SessionSupervisor;

mod actor;
mod gate;
mod gauges;
mod house;
#[cfg(test)]
mod kept_tests;
mod parting;
mod ready;
mod settings;
mod ssh;
mod state;
mod supervisor;
#[cfg(test)]
mod tests;

pub use actor::{Hello, Ways};
pub use parting::Parting;

/// Whoever wants to attach waits so often, so long, for an actor that is started anew; then they
/// are told to come again.
const STARTED_ANEW_TRIES: u32 = 40;
const STARTED_ANEW_EVERY: Duration = Duration::from_millis(50);

/// A program that ignores SIGHUP is killed after the keeper's grace of 5 s.
const CLEAR_WITHIN: Duration = Duration::from_secs(7);

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
    /// Private keys for devices that take no certificates.
    pub keys: LoginKeys,
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
    /// The trace of its set-up.
    pub trace: Trace,
}

/// How a session is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// The set-up is not over.
    Connecting,
    /// Somebody is attached.
    Live,
    /// Nobody is attached.
    Detached,
    /// The device's link is broken and may come back.
    DeviceAway,
    /// The shell is believed to be kept on its device, and cannot be reached for now.
    Adrift,
    /// It is over.
    Ended,
}

impl SessionState {
    /// Every state of a session that is not over.
    pub const LIVING: &[Self] = &[
        SessionState::Connecting,
        SessionState::Live,
        SessionState::Detached,
        SessionState::DeviceAway,
        SessionState::Adrift,
    ];

    /// The state as a metric label and in the API.
    pub fn label(self) -> &'static str {
        match self {
            SessionState::Connecting => "connecting",
            SessionState::Live => "live",
            SessionState::Detached => "detached",
            SessionState::DeviceAway => "device_away",
            SessionState::Adrift => "adrift",
            SessionState::Ended => "ended",
        }
    }
}

/// One step of a set-up and how long it took.
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
    /// The steps of its set-up that are over.
    pub steps: Vec<StepTime>,
    /// What its device holds of it.
    pub keeping: Keeping,
    /// Where its set-up is traced.
    pub traced: Option<Place>,
}

/// What a device holds of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nobody has asked it yet.
    Unknown,
    /// It was asked to start a keeper, and has not answered.
    Asked,
    /// A keeper has the shell.
    Kept,
    /// The SSH connection has the shell: it ends with it.
    Plain,
    /// Nothing any more.
    Released,
}

/// The sessions: the only way to them. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    parts: SessionParts,
    supervisor: Mailbox<SessionSupervisor>,
}

impl Sessions {
    /// Starts the supervisor on the current arbiter.
    pub fn start(parts: SessionParts) -> Self {
        let birth = Birth {
            kind: Kind::SessionSupervisor,
            id: ONLY.to_owned(),
            parent: None,
            traced: None,
            mailbox: parts.config.limits.mailbox,
        };
        let make = {
            let parts = parts.clone();
            move |mail| SessionSupervisor::new(parts, mail)
        };
        let report = crate::actor::without_a_parent;
        let supervisor = spawn(&parts.registry, &Arbiter::current(), birth, make, report);
        Self { parts, supervisor }
    }

    /// Opens a session; its set-up goes on by itself, and is told to whoever attaches.
    pub async fn create(&self, new: NewSession) -> Result<SessionId, Problem> {
        self.supervisor.send(supervisor::Create(new)).await.map_err(no_answer)?
    }

    /// Ends a session at once. `false`: it was over already. `UNKNOWN`: there never was one.
    pub async fn kill(&self, id: &SessionId, by: &str, reason: Option<&str>) -> Result<bool, Problem> {
        let Some(found) = self.find(id).await? else {
            // Long over, or never there.
            let row = self.parts.store.session(id).await?;
            return row.map(|_| false).ok_or_else(|| Problem::new(Code::UNKNOWN));
        };
        let end = actor::EndIt::Kill { by: by.to_owned(), reason: reason.map(str::to_owned) };
        match found.session {
            // An actor that is gone meanwhile has ended.
            Some(session) => Ok(session.send(end).await.unwrap_or(false)),
            None => {
                let end = supervisor::EndAsleep { session: id.clone(), ending: Ending::killed(by, reason) };
                self.supervisor.send(end).await.map_err(no_answer)
            }
        }
    }

    /// Ends every session of a device at once.
    pub async fn kill_on(&self, device: &DeviceId, by: &str, reason: &str) -> Result<(), Problem> {
        for session in self.live().await.iter().filter(|session| session.device == *device) {
            self.kill(&session.id, by, Some(reason)).await?;
        }
        Ok(())
    }

    /// The same, and waits, but not for long, until the device holds nothing of them any more.
    pub async fn clear(&self, device: &DeviceId, by: &str, reason: &str) -> Result<(), Problem> {
        self.kill_on(device, by, reason).await?;
        let held = || self.supervisor.send(supervisor::HeldBy(device.clone()));
        let clear = async {
            while held().await.is_ok_and(|count| count > 0) {
                clock::pause_for(Duration::from_millis(20)).await;
            }
        };
        if self.parts.devices.state(device).await.is_some_and(|state| state.presence == Presence::Online)
            && let Err(late) = clock::within(CLEAR_WITHIN, Wait::Clear, clear).await
        {
            self.parts.metrics.timeout(late.what);
        }
        Ok(())
    }

    /// Every session that is not over.
    pub async fn live(&self) -> Vec<SessionView> {
        let mut known = self.known().await;
        known.retain(|view| view.ending.is_none());
        known
    }

    /// Every session that is not over, and those whose ending is not everywhere yet.
    pub async fn known(&self) -> Vec<SessionView> {
        self.supervisor.send(supervisor::Known).await.unwrap_or_default()
    }

    /// One session, if it is not over (or only since a few seconds).
    pub async fn view(&self, id: &SessionId) -> Option<SessionView> {
        self.find(id).await.ok().flatten().map(|found| found.view)
    }

    /// Attaches somebody whose hello was accepted: what they see goes to `outgoing`, what they do
    /// is to be sent into what comes back. It closes when the session lets them go.
    pub async fn join(
        &self,
        id: &SessionId,
        who: String,
        hello: Hello,
        resume: String,
        ways: Ways,
    ) -> Result<pipe::Sender<ViewerFrame>, Joining> {
        let resume_trace = hello.resumed.then(|| Trace::resume(Leg::Browser));
        let (session, ending, known) = match self.reached(id).await.map_err(Joining::Refused)? {
            Some(found) => {
                if let Some(trace) = &resume_trace {
                    trace.points_at(found.view.traced.as_ref());
                    trace.is_of(id);
                }
                (found.session, found.view.ending, true)
            }
            None => (None, None, false),
        };
        if let Some(session) = session
            && let Ok(frames) = session.send(actor::Join { who, hello, resume, ways }).await
        {
            return Ok(frames);
        }
        let ending = match ending {
            Some(ending) => Some(ending),
            // Its actor has just failed, and is started anew.
            None if known => return Err(Joining::Refused(Problem::new(Code::INTERRUPTED))),
            None => self.ending(id).await.map_err(Joining::Refused)?,
        };
        Err(ending.map_or_else(|| Joining::Refused(Problem::new(Code::GONE)), Joining::Ended))
    }

    /// A session for somebody who wants to attach: woken up if it sleeps, waited for if its actor has
    /// just failed and is being started anew.
    async fn reached(&self, id: &SessionId) -> Result<Option<supervisor::Found>, Problem> {
        for _ in 0..STARTED_ANEW_TRIES {
            let reach = supervisor::Reach { session: id.clone(), place: Arbiter::current() };
            match self.supervisor.send(reach).await.map_err(no_answer)? {
                Some(found) if found.session.is_none() && found.view.ending.is_none() => {
                    clock::pause_for(STARTED_ANEW_EVERY).await;
                }
                found => return Ok(found),
            }
        }
        self.find(id).await
    }

    /// Why a session is over, as far back as the store knows. `None`: it is not over.
    pub async fn ending(&self, id: &SessionId) -> Result<Option<Ending>, Problem> {
        if let Some(view) = self.view(id).await {
            return Ok(view.ending);
        }
        let row = self.parts.store.session(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))?;
        Ok(row.ending)
    }

    /// Leaves every session to the next broker, or ends it if no keeper holds its shell; back when
    /// every ending is written down, or after `timing.store`.
    pub async fn drain(&self) {
        let Ok(_) = self.supervisor.send(supervisor::Drain).await else { return };
        let written = async {
            while self
                .supervisor
                .send(supervisor::Unwritten { living: true })
                .await
                .is_ok_and(|count| count > 0)
            {
                clock::pause_for(Duration::from_millis(20)).await;
            }
        };
        if let Err(late) = clock::within(self.parts.config.timing.store, Wait::DrainSessions, written).await {
            self.parts.metrics.timeout(late.what);
        }
    }

    /// Makes the actor of a session fail.
    pub async fn panic_in(&self, id: &SessionId) -> Result<(), Problem> {
        let found = self.find(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))?;
        if let Some(session) = found.session {
            // The answer is lost with the actor.
            let _ = session.send(actor::PanicNow).await;
        }
        Ok(())
    }

    /// Waits until every ending is written down.
    #[cfg(test)]
    pub async fn settled(&self) {
        let ended_only = supervisor::Unwritten { living: false };
        while self.supervisor.send(ended_only).await.is_ok_and(|count| count > 0) {
            tokio::task::yield_now().await;
        }
    }

    async fn find(&self, id: &SessionId) -> Result<Option<supervisor::Found>, Problem> {
        self.supervisor.send(supervisor::Find(id.clone())).await.map_err(no_answer)
    }
}

/// Why somebody is not attached.
#[derive(Debug)]
pub enum Joining {
    /// The session is over.
    Ended(Ending),
    /// Something else.
    Refused(Problem),
}

fn no_answer(err: MailboxError) -> Problem {
    Problem::new(Code::INTERNAL).because(err)
}
