//! The only place of the broker that knows the time: everything else asks here, so that a test
//! can stop the clock (`tokio::time::pause`) and move it by hand.
//!
//! - [`now`] and [`wall`]: what time it is, for machines and for people
//! - [`within`]: a limit on one wait; what ran out of it is counted
//! - [`Deadline`]: an actor's only timer, kept equal to its machine's `poll_timeout()`

use std::future::Future;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, SpawnHandle};

use crate::metrics::Wait;

/// The time for machines: it never goes back, and a stopped clock stops it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time for people and for the store.
pub fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A wait took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} took longer than it may", what.label())]
pub struct TimedOut {
    /// What was waited for, as `timeouts_total{what}` counts it.
    pub what: Wait,
}

/// Waits for `io` for at most `limit`. Whoever gets [`TimedOut`] counts it by its `what`.
pub async fn within<T>(limit: Duration, what: Wait, io: impl Future<Output = T>) -> Result<T, TimedOut> {
    tokio::time::timeout(limit, io).await.map_err(|_| TimedOut { what })
}

/// Waits until `at`.
pub async fn until(at: Instant) {
    tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await;
}

/// Waits for that long, for those who are to be paced or to back off.
pub async fn pause_for(time: Duration) {
    until(now() + time).await;
}

/// An actor's only timer. Arming it again replaces the deadline before.
///
/// A deadline that only moves away, as that of a peer who was just heard does, costs nothing: the timer stays as it
/// is, `tick` finds that there is nothing to do yet, and arms it anew. So `tick` may come early.
#[derive(Debug, Default)]
pub struct Deadline {
    armed: Option<(Instant, SpawnHandle)>,
}

impl Deadline {
    /// Calls `tick` on the actor at `at` at the latest; `None` disarms. The same deadline again, or a later one, costs
    /// nothing.
    pub fn arm<A>(&mut self, ctx: &mut Context<A>, at: Option<Instant>, tick: fn(&mut A, &mut Context<A>))
    where
        A: Actor<Context = Context<A>>,
    {
        match (self.armed, at) {
            (None, None) => return,
            (Some((armed, _)), Some(at)) if armed <= at => return,
            _ => {}
        }
        if let Some((_, timer)) = self.armed.take() {
            ctx.cancel_future(timer);
        }
        self.armed = at.map(|at| {
            let timer = ctx.run_later(at.saturating_duration_since(now()), tick);
            (at, timer)
        });
    }

    /// The deadline has passed: to be called first in `tick`.
    pub fn passed(&mut self) {
        self.armed = None;
    }
}
