//! The shell that a keeper holds: how it is claimed, what the keeper says, and how it is taken up
//! again when the way to it broke.

use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use moorline_wire::Code;
use moorline_wire::Ending;
use moorline_wire::term::frame::Step;
use tracing::{info, warn};

use super::SshSession;
use super::traced::Traced;
use crate::clock::{self, now, wall};
use crate::metrics::Leg;
use crate::problem::Problem;
use crate::session::Keeping;
use crate::session::house::News;
use crate::session::ready::{Ready, ready_again};
use crate::session::settings;
use crate::session::state::{Input, Shell};
use crate::store::House as Housed;
use crate::trace::Trace;

/// What a write to the store waits before it is tried again.
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The epochs of one session: each larger than any before, of whichever process, as long as the
/// wall clock does not run back. Where it did, the keeper tells the epoch to exceed, once.
#[derive(Debug, Default)]
pub struct Epoch {
    last: u64,
    corrected: bool,
}

impl Epoch {
    fn next(&mut self) -> u64 {
        let wall = u64::try_from(wall().as_microsecond()).unwrap_or(0);
        self.last = wall.max(self.last.saturating_add(1));
        self.last
    }

    /// Whether to try again with a larger one.
    fn exceeded_by(&mut self, other: u64) -> bool {
        self.last = self.last.max(other);
        !std::mem::replace(&mut self.corrected, true)
    }
}

impl SshSession {
    /// What runs on the device is known.
    pub(super) fn housed(&mut self, kept: bool, ctx: &mut Context<Self>) {
        if kept {
            let fresh = self.state.shell() == Shell::Unknown;
            let (command, size) = (self.wish.command.clone(), self.wish.size);
            let create = fresh.then(|| settings::create(&self.parts.config, command, size));
            if fresh {
                self.view.send_modify(|view| view.keeping = Keeping::Asked);
            }
            let epoch = self.epoch.next();
            self.house.take(&self.wish.session, epoch, create);
        } else {
            if self.last_step != "shell" {
                self.traced.plain();
            }
            self.state.handle(now(), Input::Housed(Shell::Plain));
            self.house.become_ours(settings::host(&self.parts.config), self.wish.size, now());
            self.write_house(Housed::Plain, ctx);
        }
        self.drive(ctx);
    }

    /// Who has the shell decides what becomes of it when the broker ends: it is written down.
    fn write_house(&mut self, house: Housed, ctx: &mut Context<Self>) {
        let keeping = if house == Housed::Keeper { Keeping::Kept } else { Keeping::Plain };
        self.view.send_modify(|view| view.keeping = keeping);
        let (store, id) = (self.parts.store.clone(), self.wish.session.clone());
        let writing = async move {
            while let Err(problem) = store.session_housed(&id, house).await {
                warn!(session = %id, cause = problem.chain(), "who has the shell is not written down yet");
                clock::pause_for(STORE_AGAIN_AFTER).await;
            }
        };
        ctx.spawn(writing.into_actor(self));
    }

    pub(super) fn keeper_said(&mut self, news: News, ctx: &mut Context<Self>) {
        let input = match news {
            News::Taken(taken) => {
                let first = self.state.shell() == Shell::Unknown;
                self.state.handle(now(), Input::Housed(Shell::Kept));
                if first {
                    self.write_house(Housed::Keeper, ctx);
                }
                if !taken.created {
                    let idle = Duration::from_millis(taken.idle_ms);
                    self.state.handle(now(), Input::Typed(idle));
                }
                self.state.handle(now(), Input::Done(Step::Shell));
                match taken.exit {
                    Some(exit) => Input::Exited(Some(exit)),
                    None => return,
                }
            }
            News::Absent => Input::Absent,
            News::Superseded(epoch) if self.state.shell() != Shell::Kept || self.state.is_adrift() => {
                match self.epoch.exceeded_by(epoch) {
                    true => Input::Failed(Ending::of(Code::SSH_FAILED)),
                    false => Input::Superseded,
                }
            }
            News::Superseded(_) => Input::Superseded,
            News::Failed(text) => {
                warn!(session = %self.wish.session, cause = text, "the keeper starts no shell");
                Input::Failed(Ending::of(Code::SHELL_REFUSED))
            }
            News::Ended(exit) => Input::Exited(Some(exit)),
            News::Gone => return self.view.send_modify(|view| view.keeping = Keeping::Released),
            News::Violated(violation) => {
                warn!(session = %self.wish.session, %violation, "the keeper breaks the protocol");
                Input::Failed(Ending::of(Code::PROTOCOL))
            }
        };
        self.state.handle(now(), input);
    }

    pub(super) fn cut_off(&mut self) {
        self.shell = None;
        self.house.lost();
    }

    /// Waits until the device is there, and opens the way to it.
    pub(super) fn reopen(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(before) = self.reopening.take() {
            ctx.cancel_future(before);
        }
        let (parts, wish, shell) = (self.parts.clone(), self.wish.clone(), self.state.shell());
        let opening = async move {
            clock::pause_for(part_of(wait)).await;
            parts.devices.arrival(&wish.device).await;
            let trace = Trace::resume(Leg::Keeper);
            trace.points_at(wish.traced.as_ref());
            trace.is_of(&wish.session);
            let step = trace.step("stream");
            (ready_again(&parts, &wish, shell).await, Traced::going_on(trace, step))
        };
        let opened = opening
            .into_actor(self)
            .map(|(ready, traced), session, ctx| session.reopened(ready, traced, ctx));
        self.reopening = Some(ctx.spawn(opened));
    }

    fn reopened(&mut self, ready: Result<Ready, Problem>, traced: Traced, ctx: &mut Context<Self>) {
        (self.reopening, self.traced) = (None, traced);
        let input = match ready {
            Ok(ready) => {
                self.connect(ready, ctx);
                Input::Reopened
            }
            Err(problem) if problem.code == Code::GONE => {
                self.traced.failed(problem.code);
                Input::Absent
            }
            Err(problem) => {
                self.traced.failed(problem.code);
                info!(session = %self.wish.session, cause = problem.chain(), "device is not reached");
                Input::Failed(problem.ending())
            }
        };
        self.happened(input, ctx);
    }

    /// The broker goes, the shell stays: whoever is attached comes again to the next broker.
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        self.house.close_all(Code::GOING_AWAY);
        while let Some(output) = self.house.poll_output() {
            self.perform_for_house(output, ctx);
        }
        self.shell = None;
        ctx.stop();
    }
}

/// A random part of that time: many that failed together do not come again together.
fn part_of(time: Duration) -> Duration {
    let part = crate::secret::random::<1>().map_or(255, |random| random[0]);
    time.mul_f32(f32::from(part) / 255.0)
}

/// The ending is written down: what is left of the session on the device may go.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Written;

impl Handler<Written> for SshSession {
    type Result = ();

    fn handle(&mut self, _: Written, ctx: &mut Self::Context) {
        self.house.bye();
        self.drive(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_larger_and_a_keeper_that_knows_a_larger_one_is_exceeded_once() {
        let mut epoch = Epoch::default();
        let first = epoch.next();
        assert!(epoch.next() > first);
        let other = first + 1_000_000_000_000;
        assert!(epoch.exceeded_by(other));
        assert!(epoch.next() > other);
        assert!(!epoch.exceeded_by(u64::MAX), "two brokers would take it from each other for ever");
    }
}
