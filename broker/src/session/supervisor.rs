//! `SessionSupervisor`: the parent of all sessions.
//!
//! - [`create`]: writes a session down before it starts, and starts it
//! - [`revive`]: starts it anew when its actor failed, or the broker did: its shell is with a keeper
//! - [`release`]: sees to it that nothing of an ended session stays on its device
//!
//! An ending is written down as soon as it is known: again and again until the store takes it, so
//! that none is lost while the process lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use actix_rt::ArbiterHandle;
use moorline_wire::{Code, DeviceId, Ending, SessionId};
use tokio::sync::{Semaphore, watch};
use tracing::{error, warn};

use super::actor::{Begin, EndIt, SshSession, Start, Written};
use super::gauges::Gauges;
use super::ready::Wish;
use super::{Keeping, SessionParts, SessionState, SessionView};
use crate::actor::{Birth, Depth, Down, Kind, Mailbox, spawn, takes_mail};
use crate::clock::{self, wall};
use crate::problem::Problem;
use crate::supervise::{Cause, Policy, Restarts, Verdict};

mod create;
mod release;
mod revive;

pub use create::Create;
pub use revive::{EndAsleep, Reach};

/// How long after a failure the store is asked again to take an ending.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The parent of all sessions.
pub struct SessionSupervisor {
    parts: SessionParts,
    /// Counts its own mail.
    mail: Arc<Depth>,
    sessions: HashMap<SessionId, Entry>,
    policy: Policy,
    /// Devices that are asked at once to let go of ended sessions.
    releases: Arc<Semaphore>,
    /// Ended sessions that a device still holds, and which device.
    unreleased: HashMap<SessionId, DeviceId>,
    draining: bool,
}

struct Entry {
    wish: Wish,
    /// `None`: being set up, asleep until its device or somebody comes, or over and not yet written down.
    session: Option<Mailbox<SshSession>>,
    view: watch::Receiver<SessionView>,
    /// Keeps a view of a session that has no actor.
    last: Option<watch::Sender<SessionView>>,
    /// Counts a session that has no actor.
    asleep: Option<Gauges>,
    written: bool,
    /// Its device is being asked to let go of it.
    releasing: bool,
    restarts: Restarts,
    /// Where its actor lives, or lived.
    place: Option<ArbiterHandle>,
}

impl SessionSupervisor {
    /// No session yet.
    pub fn new(parts: SessionParts, mail: Arc<Depth>) -> Self {
        let (timing, limits) = (&parts.config.timing, &parts.config.limits);
        let policy = Policy {
            restarts: limits.restarts,
            window: timing.restart_window,
            backoff: timing.restart_backoff,
        };
        let releases = Arc::new(Semaphore::new(release::AT_ONCE));
        let (sessions, unreleased) = (HashMap::new(), HashMap::new());
        Self { parts, mail, sessions, policy, releases, unreleased, draining: false }
    }

    fn found(&self, id: &SessionId) -> Option<Found> {
        let entry = self.sessions.get(id)?;
        Some(Found { session: entry.session.clone(), view: entry.view.borrow().clone() })
    }

    /// A session that has no actor yet.
    fn enter(&mut self, wish: Wish, view: watch::Receiver<SessionView>) -> &mut Entry {
        let id = wish.session.clone();
        let entry = Entry {
            wish,
            session: None,
            view,
            last: None,
            asleep: None,
            written: false,
            releasing: false,
            restarts: Restarts::new(self.policy),
            place: None,
        };
        self.sessions.entry(id).insert_entry(entry).into_mut()
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
        ctx.spawn(writing.into_actor(self).map(|id, supervisor, ctx| {
            if let Some(entry) = supervisor.sessions.get_mut(&id) {
                entry.written = true;
                if let Some(session) = &entry.session
                    && session.try_send(Written).is_err()
                {
                    warn!(session = %id, "session does not hear that its ending is written down");
                }
            }
            supervisor.release_at_once(&id, ctx);
            supervisor.forget_if_over(&id, ctx);
        }));
    }

    /// What did not end by itself is ended on its device while people still read why. The program of
    /// a session that exited is gone, and its keeper has the rest of the output for them.
    fn release_at_once(&mut self, id: &SessionId, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get_mut(id) else { return };
        let (ordered, keeping) = {
            let view = entry.view.borrow();
            (view.ending.as_ref().is_some_and(|ending| ending.code != Code::EXITED), view.keeping)
        };
        if ordered && !std::mem::replace(&mut entry.releasing, true) {
            let wish = entry.wish.clone();
            self.release(wish, keeping, ctx);
        }
    }

    /// An ended session is forgotten here, and its device is asked to forget it.
    fn forget_if_over(&mut self, id: &SessionId, ctx: &mut Context<Self>) {
        if self.sessions.get(id).is_some_and(|entry| entry.written && entry.session.is_none())
            && let Some(entry) = self.sessions.remove(id)
            && !entry.releasing
        {
            let keeping = entry.view.borrow().keeping;
            self.release(entry.wish, keeping, ctx);
        }
    }

    /// Starts the actor of a session that is written down.
    fn start(
        &mut self,
        id: &SessionId,
        view: watch::Sender<SessionView>,
        begin: Begin,
        place: ArbiterHandle,
        ctx: &mut Context<Self>,
    ) {
        let Some(entry) = self.sessions.get_mut(id) else { return };
        (entry.view, entry.last, entry.asleep) = (view.subscribe(), None, None);
        let birth = Birth {
            kind: Kind::SshSession,
            id: id.to_string(),
            parent: Some(Kind::SessionSupervisor),
            traced: entry.wish.traced,
            mailbox: self.parts.config.limits.mailbox,
        };
        let (me, child) = (Mailbox::mine(ctx, &self.mail), id.clone());
        let report = move |cause| me.down(Down { id: child, cause });
        let start = Start { parts: self.parts.clone(), view, wish: entry.wish.clone(), begin };
        let make = move |_| SshSession::new(start);
        entry.session = Some(spawn(&self.parts.registry, &place, birth, make, report));
        entry.place = Some(place);
        let view = entry.view.clone();
        self.watch_for_ending(id.clone(), view, ctx);
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
        (entry.session, entry.view, entry.last, entry.asleep) = (None, receiver, Some(sender), None);
        self.parts.registry.news().session(id, SessionState::Ended);
        self.write_ending(id.clone(), ending, ctx);
    }
}

takes_mail!(SessionSupervisor);

impl Actor for SessionSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.take_up_what_was_left(ctx);
    }
}

/// The actor of a session, and what the session looks like.
#[derive(Message)]
#[rtype(result = "Option<Found>")]
pub struct Find(pub SessionId);

/// A session that is not forgotten yet.
pub struct Found {
    /// Its actor, if it has one.
    pub session: Option<Mailbox<SshSession>>,
    /// What it looks like.
    pub view: SessionView,
}

impl Handler<Find> for SessionSupervisor {
    type Result = MessageResult<Find>;

    fn handle(&mut self, Find(id): Find, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.found(&id))
    }
}

/// Every session that is not forgotten yet.
#[derive(Message)]
#[rtype(result = "Vec<SessionView>")]
pub struct Known;

impl Handler<Known> for SessionSupervisor {
    type Result = Vec<SessionView>;

    fn handle(&mut self, _: Known, _: &mut Self::Context) -> Self::Result {
        self.sessions.values().map(|entry| entry.view.borrow().clone()).collect()
    }
}

/// The broker goes away: every session is left to the next, or ends.
#[derive(Message)]
#[rtype(result = "Vec<Mailbox<SshSession>>")]
pub struct Drain;

impl Handler<Drain> for SessionSupervisor {
    type Result = Vec<Mailbox<SshSession>>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        // Those without an actor are the next broker's.
        self.sessions.retain(|_, entry| entry.asleep.is_none());
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

/// How many sessions a device has: those that are not over, and those that it still holds.
#[derive(Message, Debug, Clone)]
#[rtype(result = "usize")]
pub struct HeldBy(pub DeviceId);

impl Handler<HeldBy> for SessionSupervisor {
    type Result = usize;

    fn handle(&mut self, HeldBy(device): HeldBy, _: &mut Self::Context) -> usize {
        let ending = |entry: &&Entry| entry.wish.device == device && !entry.written;
        let held = self.unreleased.values().filter(|holder| **holder == device).count();
        self.sessions.values().filter(ending).count() + held
    }
}

impl Handler<Down<SessionId>> for SessionSupervisor {
    type Result = ();

    fn handle(&mut self, Down { id, cause }: Down<SessionId>, ctx: &mut Self::Context) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        entry.session = None;
        let (over, keeping) = {
            let view = entry.view.borrow();
            (view.ending.is_some(), view.keeping)
        };
        if over {
            return self.forget_if_over(&id, ctx);
        }
        let outlives = keeping != Keeping::Plain;
        match cause {
            Cause::Panicked => match outlives.then(|| entry.restarts.failed(clock::now())) {
                Some(Verdict::RestartAfter(wait)) => {
                    self.parts.registry.restarting(Kind::SshSession, id.as_str());
                    error!(session = %id, "session failed, its shell is taken up again");
                    self.revive_after(wait, &id, ctx);
                }
                Some(Verdict::GiveUp) => {
                    self.parts.registry.gave_up(Kind::SshSession, id.as_str());
                    self.end_without_actor(&id, Ending::of(Code::GAVE_UP), ctx);
                }
                None => self.end_without_actor(&id, failed(&id), ctx),
            },
            // The broker goes, the shell stays for the next one.
            Cause::Stopped | Cause::Cancelled if outlives => drop(self.sessions.remove(&id)),
            // Its arbiter has stopped, because the broker stops.
            Cause::Stopped | Cause::Cancelled => {
                self.end_without_actor(&id, Ending::of(Code::GOING_AWAY), ctx);
            }
        }
    }
}

/// The ending of a plain shell whose actor failed.
fn failed(id: &SessionId) -> Ending {
    error!(session = %id, "session failed, its shell is lost");
    let text = "The part of the broker that held this shell failed, and the shell with it. \
                Other sessions are not touched. Open a new session; the broker's log has the cause.";
    Ending::of(Code::INTERNAL).saying(text)
}
