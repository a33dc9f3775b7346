//! `SessionSupervisor`: the parent of all sessions.
//!
//! It writes a session down before it starts, and its ending as soon as it is known: again and
//! again until the store takes it, so that no ending is lost while the process lives.
//!
//! A session whose actor failed is not started anew: its shell was held by nothing but that actor,
//! and ends with it, said plainly. A shell that a keeper holds can be attached to again, from
//! [`Session::plan`] and the offset reached; `supervise::Restarts` is there to say how often.

use std::collections::HashMap;
use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture};
use moorline_wire::link::Class;
use moorline_wire::{Code, DeviceId, Ending, SessionId};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::actor::{EndIt, SshSession, Start};
use super::ssh::Plan;
use super::{NewSession, SessionParts, SessionState, SessionView};
use crate::actor::{Birth, Down, Kind, spawn};
use crate::ca::IssueFor;
use crate::clock::{self, wall};
use crate::problem::Problem;
use crate::store::{DeviceRow, House, SessionRow};
use crate::supervise::Cause;

/// How long after a failure the store is asked again to take an ending.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A login is a name; nothing on any device has a longer one.
const LOGIN_BYTES_MAX: usize = 64;

/// A command line that a person types is shorter.
const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// The parent of all sessions.
pub struct SessionSupervisor {
    parts: SessionParts,
    sessions: HashMap<SessionId, Entry>,
    draining: bool,
}

struct Entry {
    /// `None`: being set up, or over and not yet written down.
    session: Option<Addr<SshSession>>,
    view: watch::Receiver<SessionView>,
    /// Keeps a view of a session whose actor is gone.
    last: Option<watch::Sender<SessionView>>,
    written: bool,
}

impl SessionSupervisor {
    /// No session yet.
    pub fn new(parts: SessionParts) -> Self {
        Self { parts, sessions: HashMap::new(), draining: false }
    }

    /// Whether there is room for one more, on that device and at all.
    fn room_for(&self, device: &DeviceId) -> Result<(), Problem> {
        if self.draining {
            return Err(Problem::new(Code::GOING_AWAY));
        }
        let limits = &self.parts.config.limits;
        let living = || self.sessions.values().filter(|entry| entry.view.borrow().ending.is_none());
        if living().count() >= limits.sessions {
            let text = "As many sessions are open as there may be. End some, or raise limits.sessions.";
            return Err(Problem::new(Code::LIMIT).saying(text));
        }
        let here = living().filter(|entry| entry.view.borrow().device == *device).count();
        if here >= limits.sessions_per_device {
            let text =
                "This device has as many sessions as it may. End some, or raise limits.sessions_per_device.";
            return Err(Problem::new(Code::LIMIT).saying(text));
        }
        Ok(())
    }

    /// Writes the ending down; when that is done, the session may be forgotten.
    fn write_ending(&mut self, id: SessionId, ending: Ending, ctx: &mut Context<Self>) {
        self.parts.metrics.session_ended(ending.code);
        let (store, at) = (self.parts.store.clone(), wall());
        let writing = async move {
            while let Err(problem) = store.session_ended(&id, &ending, at).await {
                warn!(session = %id, cause = problem.chain(), "ending is not written down yet");
                clock::pause_for(STORE_AGAIN_AFTER).await;
            }
            id
        };
        ctx.spawn(writing.into_actor(self).map(|id, supervisor, _| {
            if let Some(entry) = supervisor.sessions.get_mut(&id) {
                entry.written = true;
            }
            supervisor.forget_if_over(&id);
        }));
    }

    fn forget_if_over(&mut self, id: &SessionId) {
        if self.sessions.get(id).is_some_and(|entry| entry.written && entry.session.is_none()) {
            self.sessions.remove(id);
        }
    }

    /// Starts the actor of a session that is written down.
    fn start(
        &mut self,
        id: &SessionId,
        view: watch::Sender<SessionView>,
        ready: Ready,
        ctx: &mut Context<Self>,
    ) {
        let Ready { opened, plan } = ready;
        let birth = Birth {
            kind: Kind::SshSession,
            id: id.to_string(),
            parent: Some(Kind::SessionSupervisor),
            restarts: 0,
            mailbox: self.parts.config.limits.mailbox,
        };
        self.watch_for_ending(id.clone(), view.subscribe(), ctx);
        let (me, child) = (ctx.address(), id.clone());
        let report = move |cause| {
            #[allow(clippy::disallowed_methods, reason = "a Down must never be lost to a full mailbox")]
            me.do_send(Down { id: child, cause });
        };
        let place = opened.place.clone();
        let start = Start { parts: self.parts.clone(), view, opened, plan };
        let make = move |_: &mut Context<SshSession>| SshSession::new(start);
        let session = spawn(&self.parts.registry, &place, birth, make, report);
        if let Some(entry) = self.sessions.get_mut(id) {
            entry.session = Some(session);
        }
        self.parts.metrics.session_started();
    }

    fn watch_for_ending(
        &self,
        id: SessionId,
        mut view: watch::Receiver<SessionView>,
        ctx: &mut Context<Self>,
    ) {
        let ending = async move {
            let ended = view.wait_for(|view| view.ending.is_some()).await;
            // Closed without an ending: the actor failed, and `Down` says so.
            (id, ended.ok().and_then(|view| view.ending.clone()))
        };
        ctx.spawn(ending.into_actor(self).map(|(id, ending), supervisor, ctx| {
            if let Some(ending) = ending {
                supervisor.write_ending(id, ending, ctx);
            }
        }));
    }

    /// Ends a session that has no actor.
    fn end_without_actor(&mut self, id: &SessionId, ending: Ending, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get_mut(id) else { return };
        let mut view = entry.view.borrow().clone();
        (view.state, view.viewers) = (SessionState::Ended, 0);
        (view.ended, view.ending) = (Some(wall()), Some(ending.clone()));
        let (sender, receiver) = watch::channel(view);
        (entry.session, entry.view, entry.last) = (None, receiver, Some(sender));
        self.write_ending(id.clone(), ending, ctx);
    }
}

impl Actor for SessionSupervisor {
    type Context = Context<Self>;
}

/// A session is wanted.
#[derive(Message)]
#[rtype(result = "Result<SessionId, Problem>")]
pub struct Create(pub NewSession);

/// Everything that a session needs to be started.
struct Ready {
    opened: crate::device::Opened,
    plan: Plan,
}

impl Handler<Create> for SessionSupervisor {
    type Result = ResponseActFuture<Self, Result<SessionId, Problem>>;

    fn handle(&mut self, Create(new): Create, _: &mut Self::Context) -> Self::Result {
        let parts = self.parts.clone();
        let asked = async move {
            let device = wanted_device(&parts, &new).await?;
            Ok((new, device))
        };
        Box::pin(asked.into_actor(self).then(|asked, supervisor, ctx| supervisor.prepare(asked, ctx)))
    }
}

/// The device, if it can have this session now.
async fn wanted_device(parts: &SessionParts, new: &NewSession) -> Result<DeviceRow, Problem> {
    let device = parts.store.device(&new.device).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    if device.offered_host_keys.is_some() {
        return Err(Problem::new(Code::HOST_KEY_CHANGED));
    }
    let login = new.login.as_deref().unwrap_or(&device.login);
    let impossible = login.is_empty() || login.len() > LOGIN_BYTES_MAX || login.chars().any(char::is_control);
    if impossible {
        return Err(Problem::new(Code::BAD_REQUEST).saying("This is no login name that a device can have."));
    }
    if new.command.as_ref().is_some_and(|command| command.is_empty() || command.len() > COMMAND_BYTES_MAX) {
        return Err(Problem::new(Code::BAD_REQUEST).saying("This is no command that a device can run."));
    }
    if parts.devices.state(&new.device).await.is_none() {
        return Err(Problem::new(Code::DEVICE_OFFLINE));
    }
    Ok(device)
}

type Prepared = ResponseActFuture<SessionSupervisor, Result<SessionId, Problem>>;

impl SessionSupervisor {
    /// Takes a place for the session, writes it down, opens its stream, and starts it.
    fn prepare(
        &mut self,
        asked: Result<(NewSession, DeviceRow), Problem>,
        _: &mut Context<Self>,
    ) -> Prepared {
        let taken = asked.and_then(|(new, device)| {
            self.room_for(&new.device)?;
            Ok((new_id()?, new, device))
        });
        let (id, new, device) = match taken {
            Ok(taken) => taken,
            Err(problem) => {
                self.parts.metrics.refused(problem.code);
                return Box::pin(std::future::ready(Err(problem)).into_actor(self));
            }
        };
        let first = first_view(&id, &new, &device);
        let row = row_of(&first);
        let (view, receiver) = watch::channel(first);
        let entry = Entry { session: None, view: receiver, last: None, written: false };
        self.sessions.insert(id.clone(), entry);
        let parts = self.parts.clone();
        let getting_ready = async move {
            parts.store.session_started(&row).await?;
            Ok::<_, Problem>(ready(&parts, &row, &new, device).await)
        };
        Box::pin(getting_ready.into_actor(self).map(move |ready, supervisor, ctx| match ready {
            Ok(Ok(ready)) => {
                info!(session = %id, device = %view.borrow().device, "session begins");
                supervisor.start(&id, view, ready, ctx);
                Ok(id)
            }
            // Written down, and could not begin.
            Ok(Err(problem)) => {
                supervisor.end_without_actor(&id, problem.ending(), ctx);
                Err(problem)
            }
            Err(problem) => {
                supervisor.sessions.remove(&id);
                Err(problem)
            }
        }))
    }
}

async fn ready(
    parts: &SessionParts,
    row: &SessionRow,
    new: &NewSession,
    device: DeviceRow,
) -> Result<Ready, Problem> {
    let opened = parts.devices.open(&new.device, Class::Interactive).await?;
    let (key, certificate) = parts.ca.issue(&IssueFor {
        session: &row.id,
        person: &row.person,
        login: &row.login,
        device_clock: opened.clock,
        valid_for: parts.config.timing.certificate,
    })?;
    let plan = Plan {
        login: row.login.clone(),
        key,
        certificate,
        pinned: device.host_keys,
        size: new.size.clamped(),
        command: new.command.clone(),
    };
    Ok(Ready { opened, plan })
}

fn new_id() -> Result<SessionId, Problem> {
    let mut bytes = [0; 17];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| {
        Problem::new(Code::INTERNAL).because(anyhow::anyhow!("the system gave no random bytes"))
    })?;
    let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    let id = format!("{}{}", SessionId::PREFIX, &text[..SessionId::LENGTH]);
    Ok(id.parse().expect("17 bytes are 28 characters of base32, of which an id has 26"))
}

fn first_view(id: &SessionId, new: &NewSession, device: &DeviceRow) -> SessionView {
    SessionView {
        id: id.clone(),
        device: new.device.clone(),
        device_name: device.name.clone(),
        login: new.login.clone().unwrap_or_else(|| device.login.clone()),
        person: new.person.clone(),
        command: new.command.clone(),
        state: SessionState::Connecting,
        started: wall(),
        ended: None,
        ending: None,
        viewers: 0,
        steps: Vec::new(),
    }
}

fn row_of(view: &SessionView) -> SessionRow {
    SessionRow {
        id: view.id.clone(),
        device: view.device.clone(),
        device_name: view.device_name.clone(),
        login: view.login.clone(),
        person: view.person.clone(),
        command: view.command.clone(),
        started: view.started,
        ended: None,
        ending: None,
        // Every shell ends with the broker yet.
        house: House::Plain,
    }
}

/// The actor of a session, and what the session looks like.
#[derive(Message)]
#[rtype(result = "Option<Found>")]
pub struct Find(pub SessionId);

/// A session that is not forgotten yet.
pub struct Found {
    /// Its actor, if it has one.
    pub session: Option<Addr<SshSession>>,
    /// What it looks like.
    pub view: SessionView,
}

impl Handler<Find> for SessionSupervisor {
    type Result = MessageResult<Find>;

    fn handle(&mut self, Find(id): Find, _: &mut Self::Context) -> Self::Result {
        MessageResult(
            self.sessions
                .get(&id)
                .map(|entry| Found { session: entry.session.clone(), view: entry.view.borrow().clone() }),
        )
    }
}

/// Every session that is not over.
#[derive(Message)]
#[rtype(result = "Vec<SessionView>")]
pub struct Living;

impl Handler<Living> for SessionSupervisor {
    type Result = Vec<SessionView>;

    fn handle(&mut self, _: Living, _: &mut Self::Context) -> Self::Result {
        let views = self.sessions.values().map(|entry| entry.view.borrow().clone());
        views.filter(|view| view.ending.is_none()).collect()
    }
}

/// Every session ends because the broker goes away. Answered when all are written down.
#[derive(Message)]
#[rtype(result = "Vec<Addr<SshSession>>")]
pub struct Drain;

impl Handler<Drain> for SessionSupervisor {
    type Result = Vec<Addr<SshSession>>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let sessions: Vec<_> = self.sessions.values().filter_map(|entry| entry.session.clone()).collect();
        for session in &sessions {
            if session.try_send(EndIt::Drain).is_err() {
                warn!("session does not take the farewell");
            }
        }
        sessions
    }
}

/// How many endings are not written down yet.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "usize")]
pub struct Unwritten {
    /// Whether sessions that have not ended yet count as well.
    pub living: bool,
}

impl Handler<Unwritten> for SessionSupervisor {
    type Result = usize;

    fn handle(&mut self, Unwritten { living }: Unwritten, _: &mut Self::Context) -> usize {
        let counts = |entry: &&Entry| !entry.written && (living || entry.view.borrow().ending.is_some());
        self.sessions.values().filter(counts).count()
    }
}

impl Handler<Down<SessionId>> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, Down { id, cause }: Down<SessionId>, ctx: &mut Self::Context) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        entry.session = None;
        if entry.view.borrow().ending.is_some() {
            return self.forget_if_over(&id);
        }
        let ending = match cause {
            Cause::Panicked => {
                self.parts.metrics.restart(Kind::SshSession.label(), cause.label());
                error!(session = %id, "session failed, its shell is lost");
                let text = "The part of the broker that held this shell failed, and the shell with it. \
                            Other sessions are not touched. Open a new session; the broker's log has the cause.";
                Ending::of(Code::INTERNAL).saying(text)
            }
            // Its arbiter has stopped, because the broker stops.
            Cause::Stopped | Cause::Cancelled => Ending::of(Code::GOING_AWAY),
        };
        self.end_without_actor(&id, ending, ctx);
    }
}

/// Makes one session fail, so that a test sees what else fails.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicIn(pub SessionId);

#[cfg(test)]
impl Handler<PanicIn> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, PanicIn(id): PanicIn, _: &mut Self::Context) {
        let session = self.sessions[&id].session.as_ref().expect("it lives");
        session.try_send(super::actor::PanicNow).expect("it has room");
    }
}
