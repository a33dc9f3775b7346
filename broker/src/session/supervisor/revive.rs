//! How sessions come back: those of a former process, and those whose actor failed.
//!
//! A session of a former process sleeps, without an actor, until its device is there or somebody
//! wants to see it; then its actor starts, and takes the shell up at the keeper.

use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{AsyncContext, Context, Handler, Message, MessageResult};
use actix_rt::{Arbiter, ArbiterHandle};
use moorline_wire::term::Size;
use moorline_wire::{Code, Ending, SessionId};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Found, SessionSupervisor, release};
use crate::actor::Mailbox;
use crate::clock;
use crate::metrics::Wait;
use crate::session::actor::{Begin, SshSession};
use crate::session::gauges::Gauges;
use crate::session::ready::Wish;
use crate::session::state::Shell;
use crate::session::{Keeping, SessionState, SessionView};
use crate::store::{House, SessionRow};

/// The size of a terminal until somebody who has one comes.
const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

impl SessionSupervisor {
    /// What a former process left behind: sessions that go on, and ended ones of which devices may
    /// still hold something.
    pub(super) fn take_up_what_was_left(&mut self, ctx: &mut Context<Self>) {
        let store = self.parts.store.clone();
        let reading = async move {
            loop {
                let left = async {
                    Ok::<_, crate::problem::Problem>((
                        store.unfinished().await?,
                        store.unreleased(release::TAKEN_UP_MAX).await?,
                    ))
                };
                match left.await {
                    Ok(left) => return left,
                    Err(problem) => {
                        warn!(cause = problem.chain(), "what was left behind cannot be read yet");
                        clock::pause_for(super::STORE_AGAIN_AFTER).await;
                    }
                }
            }
        };
        // Nothing else is heard before: nobody is told that a session is gone that is only asleep.
        ctx.wait(reading.into_actor(self).map(|(unfinished, unreleased), supervisor, ctx| {
            if !unfinished.is_empty() {
                info!(sessions = unfinished.len(), "sessions of a former process are taken up");
            }
            for row in unfinished {
                supervisor.lay_to_sleep(&row, ctx);
            }
            for row in unreleased {
                supervisor.release(wish_of(&row), keeping_of(row.house), ctx);
            }
        }));
    }

    /// Until its device comes, or somebody who wants to see it.
    fn lay_to_sleep(&mut self, row: &SessionRow, ctx: &mut Context<Self>) {
        let (view, receiver) = watch::channel(view_of(row));
        let mut gauges = Gauges::new(self.parts.metrics.clone());
        gauges.state(SessionState::Adrift);
        let entry = self.enter(wish_of(row), receiver);
        (entry.last, entry.asleep) = (Some(view), Some(gauges));
        self.parts.registry.news().session(&row.id, SessionState::Adrift);
        let (devices, device, id) = (self.parts.devices.clone(), row.device.clone(), row.id.clone());
        let limit = self.parts.config.timing.adrift_for;
        let arrival = async move { clock::within(limit, Wait::Adrift, devices.arrival(&device)).await };
        ctx.spawn(arrival.into_actor(self).map(move |place, supervisor, ctx| match place {
            Ok(place) => {
                let place = place.unwrap_or_else(Arbiter::current);
                drop(supervisor.awaken(&id, place, ctx));
            }
            Err(late) => {
                supervisor.parts.metrics.timeout(late.what);
                let ending = Ending::of(Code::DEVICE_LOST);
                supervisor.end_asleep(&id, ending, ctx);
            }
        }));
    }

    /// Starts the actor of a session that has none. `None`: it has no place here any more.
    fn awaken(
        &mut self,
        id: &SessionId,
        place: ArbiterHandle,
        ctx: &mut Context<Self>,
    ) -> Option<Mailbox<SshSession>> {
        let entry = self.sessions.get(id)?;
        if entry.session.is_some() || entry.asleep.is_none() || self.draining {
            return entry.session.clone();
        }
        self.begin_again(id, place, ctx);
        self.sessions.get(id)?.session.clone()
    }

    fn begin_again(&mut self, id: &SessionId, place: ArbiterHandle, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get(id) else { return };
        let view = entry.view.borrow().clone();
        let shell = match view.keeping {
            Keeping::Kept => Shell::Kept,
            Keeping::Plain => Shell::Plain,
            Keeping::Unknown | Keeping::Asked | Keeping::Released => Shell::Unknown,
        };
        self.start(id, watch::Sender::new(view), Begin::Again(shell), place, ctx);
    }

    /// An actor failed: its successor begins after this wait.
    pub(super) fn revive_after(&mut self, wait: Duration, id: &SessionId, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get_mut(id) else { return };
        let mut view = entry.view.borrow().clone();
        (view.state, view.viewers) = (SessionState::Adrift, 0);
        let (sender, receiver) = watch::channel(view);
        (entry.view, entry.last) = (receiver, Some(sender));
        let mut gauges = Gauges::new(self.parts.metrics.clone());
        gauges.state(SessionState::Adrift);
        entry.asleep = Some(gauges);
        self.parts.registry.news().session(id, SessionState::Adrift);
        let place = entry.place.clone().unwrap_or_else(Arbiter::current);
        let id = id.clone();
        let waiting = clock::pause_for(wait).into_actor(self);
        ctx.spawn(waiting.map(move |(), supervisor, ctx| drop(supervisor.awaken(&id, place, ctx))));
    }

    /// `false`: it was over, or is awake.
    fn end_asleep(&mut self, id: &SessionId, ending: Ending, ctx: &mut Context<Self>) -> bool {
        let asleep = self.sessions.get(id).is_some_and(|entry| entry.asleep.is_some());
        if asleep {
            self.end_without_actor(id, ending, ctx);
        }
        asleep
    }
}

fn wish_of(row: &SessionRow) -> Wish {
    Wish {
        session: row.id.clone(),
        device: row.device.clone(),
        login: row.login.clone(),
        person: row.person.clone(),
        size: SIZE,
        command: row.command.clone(),
        traced: row.traced,
    }
}

fn view_of(row: &SessionRow) -> SessionView {
    SessionView {
        id: row.id.clone(),
        device: row.device.clone(),
        device_name: row.device_name.clone(),
        login: row.login.clone(),
        person: row.person.clone(),
        command: row.command.clone(),
        state: SessionState::Adrift,
        started: row.started,
        ended: None,
        ending: None,
        viewers: 0,
        steps: Vec::new(),
        keeping: keeping_of(row.house),
        traced: row.traced,
    }
}

fn keeping_of(house: House) -> Keeping {
    match house {
        House::Keeper => Keeping::Kept,
        House::Plain => Keeping::Plain,
        // It may have been asked.
        House::Unknown => Keeping::Asked,
    }
}

/// Somebody wants to be attached: a session that sleeps is woken up, there.
#[derive(Message)]
#[rtype(result = "Option<Found>")]
pub struct Reach {
    /// Which session.
    pub session: SessionId,
    /// Where whoever wants it lives.
    pub place: ArbiterHandle,
}

impl Handler<Reach> for SessionSupervisor {
    type Result = MessageResult<Reach>;

    fn handle(&mut self, Reach { session, place }: Reach, ctx: &mut Self::Context) -> Self::Result {
        // One whose actor has just failed waits for its time.
        let failed = self.sessions.get(&session).is_some_and(|entry| entry.place.is_some());
        if !failed {
            drop(self.awaken(&session, place, ctx));
        }
        MessageResult(self.found(&session))
    }
}

/// A session without an actor is to end. `false`: it was over, or is awake.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct EndAsleep {
    /// Which session.
    pub session: SessionId,
    /// Why.
    pub ending: Ending,
}

impl Handler<EndAsleep> for SessionSupervisor {
    type Result = bool;

    fn handle(&mut self, EndAsleep { session, ending }: EndAsleep, ctx: &mut Self::Context) -> bool {
        self.end_asleep(&session, ending, ctx)
    }
}
