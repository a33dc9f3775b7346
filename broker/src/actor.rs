//! How actors are started, listed and watched over.
//!
//! - [`spawn`]: runs an actor on an arbiter so that a panic in it ends this actor and no other,
//!   and its parent hears of every end
//! - [`DownGuard`]: what tells the parent, on stop, cancel and panic alike
//! - [`Mailbox`]: the way into an actor, which counts what waits there
//! - [`Registry`]: every actor that lives or has just failed: kind, id, parent, state, restarts
//! - [`Watchdog`]: ends the process when a thread of actors is stuck
//!
//! `actix::Supervisor` is not used: it does not survive a panic, keeps the broken value and knows
//! no back-off. Whether an actor is started again is decided by `supervise`, by its parent.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::dev::channel;
use actix::{Actor, Addr, Context, Message};
use actix_rt::ArbiterHandle;
use futures_util::FutureExt;
use tracing::{Instrument, Span, error, info_span};

use crate::supervise::Cause;
use crate::trace::Place;

mod mailbox;
mod registry;
mod watchdog;

pub(crate) use mailbox::takes_mail;
pub use mailbox::{Answer, Depth, Mail, Mailbox};
pub use registry::{Entry, Registry, Total, Wanted};
pub use watchdog::{Pulse, Watchdog};

/// The id of an actor of whose kind there is one.
pub const ONLY: &str = "all";

/// The kinds of supervised actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The parent of all device connections.
    DeviceDirectory,
    /// One connected device.
    DeviceConnection,
    /// The parent of all sessions.
    SessionSupervisor,
    /// One session.
    SshSession,
    /// One browser terminal.
    UserConnection,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Kind::DeviceDirectory,
        Kind::DeviceConnection,
        Kind::SessionSupervisor,
        Kind::SshSession,
        Kind::UserConnection,
    ];

    /// The kind as a metric label and in logs.
    pub fn label(self) -> &'static str {
        match self {
            Kind::DeviceDirectory => "device_directory",
            Kind::DeviceConnection => "device_connection",
            Kind::SessionSupervisor => "session_supervisor",
            Kind::SshSession => "ssh_session",
            Kind::UserConnection => "user_connection",
        }
    }
}

/// What is known of an actor when it is started.
#[derive(Debug, Clone)]
pub struct Birth {
    /// Its kind.
    pub kind: Kind,
    /// Which one of its kind.
    pub id: String,
    /// The kind of its parent, of which there is one.
    pub parent: Option<Kind>,
    /// How many messages may wait for it.
    pub mailbox: usize,
    /// The trace whose id stands in each line that it logs.
    pub traced: Option<Place>,
}

/// A child has ended; every parent handles it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Down<Id: Send + 'static> {
    /// Which child.
    pub id: Id,
    /// How it ended.
    pub cause: Cause,
}

/// Tells `report` how an actor ended, when it is dropped: so no end goes unnoticed.
pub struct DownGuard<F: FnOnce(Cause)> {
    cause: Cause,
    report: Option<F>,
}

impl<F: FnOnce(Cause)> DownGuard<F> {
    /// Until `ended` is called, the end counts as cancelled.
    pub fn new(report: F) -> Self {
        Self { cause: Cause::Cancelled, report: Some(report) }
    }

    /// The actor has ended, in this way.
    pub fn ended(&mut self, cause: Cause) {
        self.cause = cause;
    }
}

impl<F: FnOnce(Cause)> Drop for DownGuard<F> {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            report(self.cause);
        }
    }
}

impl<F: FnOnce(Cause)> fmt::Debug for DownGuard<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownGuard").field("cause", &self.cause).finish_non_exhaustive()
    }
}

/// Starts an actor on that arbiter. `make` is called there, with what counts its mail; `report` after
/// its end, when every field of the actor is gone. The mailbox takes messages at once, `birth.mailbox`
/// of them.
pub fn spawn<A, M, R>(
    registry: &Registry,
    place: &ArbiterHandle,
    birth: Birth,
    make: M,
    report: R,
) -> Mailbox<A>
where
    A: Actor<Context = Context<A>>,
    M: FnOnce(Arc<Depth>) -> A + Send + 'static,
    R: FnOnce(Cause) + Send + 'static,
{
    let (sender, receiver) = channel::channel(birth.mailbox);
    let span = span_of(&birth);
    let depth = Arc::<Depth>::default();
    let registered = registry.enter(birth, depth.clone());
    let mailbox = Mailbox::new(Addr::new(sender), depth.clone());
    // Made here, so that an arbiter that is gone is reported, too.
    let mut guard = DownGuard::new(report);
    let run = move || {
        let task = async move {
            let ctx = Context::with_receiver(receiver);
            let mut life = match std::panic::catch_unwind(AssertUnwindSafe(|| make(depth))) {
                Ok(actor) => Some(Box::pin(ctx.into_future(actor))),
                Err(_) => None,
            };
            let lived = match &mut life {
                Some(life) => AssertUnwindSafe(life).catch_unwind().await.is_ok(),
                None => false,
            };
            // Dropping the context runs the actor's `stopping`, which may panic once more.
            let buried = std::panic::catch_unwind(AssertUnwindSafe(|| drop(life))).is_ok();
            let cause = if lived && buried { Cause::Stopped } else { Cause::Panicked };
            registered.ended(cause);
            if cause == Cause::Panicked {
                error!("actor panicked");
            }
            guard.ended(cause);
        };
        // Owner: the actor itself; the task ends when its last address goes or it stops.
        // Owner: the actor, whose parent the guard tells when the task ends.
        actix_rt::spawn(task.instrument(span));
    };
    place.spawn_fn(run);
    mailbox
}

/// What the log lines and traces of an actor are part of. Ten thousand connected devices have none: theirs would be
/// entered with each of their pings, and every line of theirs names the device anyway.
fn span_of(birth: &Birth) -> Span {
    match birth.kind {
        Kind::DeviceConnection => Span::none(),
        kind => {
            let (kind, id) = (kind.label(), birth.id.as_str());
            match &birth.traced {
                Some(place) => info_span!(parent: None, "actor", kind, id, trace_id = place.trace_id()),
                None => info_span!(parent: None, "actor", kind, id),
            }
        }
    }
}

/// The end of an actor that has no parent. It holds the map of all its children: without it the
/// broker is a shell that takes nobody in, so the process ends, to be started anew.
pub fn without_a_parent(cause: Cause) {
    match cause {
        Cause::Panicked => {
            error!("an actor without a parent panicked: aborting");
            std::process::abort();
        }
        // The arbiter has stopped, because the broker stops.
        Cause::Stopped | Cause::Cancelled => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{AsyncContext, Handler};
    use std::time::Duration;
    use tokio::sync::oneshot;

    use crate::metrics::Metrics;

    struct Child;

    takes_mail!(Child);

    impl Actor for Child {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "String")]
    enum Ask {
        Answer,
        Panic,
        Stop,
    }

    impl Handler<Ask> for Child {
        type Result = String;

        fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) -> String {
            match ask {
                Ask::Answer => "here".into(),
                Ask::Panic => panic!("told to"),
                Ask::Stop => {
                    actix::ActorContext::stop(ctx);
                    "stopping".into()
                }
            }
        }
    }

    fn child(registry: &Registry) -> (Mailbox<Child>, oneshot::Receiver<Cause>) {
        let (tell, told) = oneshot::channel();
        let birth = Birth { kind: Kind::SshSession, id: "s".into(), parent: None, mailbox: 4, traced: None };
        let place = actix_rt::Arbiter::current();
        let addr = spawn(
            registry,
            &place,
            birth,
            |_| Child,
            move |cause| {
                let _ = tell.send(cause);
            },
        );
        (addr, told)
    }

    #[actix::test]
    async fn a_panic_in_one_actor_is_reported_and_leaves_its_neighbour_alone() {
        let registry = Registry::new(Metrics::new(), Duration::from_secs(60));
        let (one, one_down) = child(&registry);
        let (other, other_down) = child(&registry);
        assert_eq!(one.send(Ask::Answer).await, Ok("here".to_owned()));
        assert!(one.send(Ask::Panic).await.is_err());
        assert_eq!(one_down.await, Ok(Cause::Panicked));
        assert_eq!(other.send(Ask::Answer).await, Ok("here".to_owned()));
        assert_eq!(registry.count(Kind::SshSession), 1);
        assert_eq!(other.send(Ask::Stop).await, Ok("stopping".to_owned()));
        assert_eq!(other_down.await, Ok(Cause::Stopped));
        assert_eq!(registry.count(Kind::SshSession), 0);
    }

    #[actix::test]
    async fn a_panic_while_an_actor_is_made_is_reported_like_any_other() {
        let registry = Registry::new(Metrics::new(), Duration::from_secs(60));
        let (tell, told) = oneshot::channel();
        let birth =
            Birth { kind: Kind::UserConnection, id: "u".into(), parent: None, mailbox: 4, traced: None };
        let make = |_| -> Child { panic!("told to") };
        let _addr = spawn(&registry, &actix_rt::Arbiter::current(), birth, make, move |cause| {
            let _ = tell.send(cause);
        });
        assert_eq!(told.await, Ok(Cause::Panicked));
        assert_eq!(registry.count(Kind::UserConnection), 0);
    }

    #[actix::test]
    async fn an_actor_whose_task_is_dropped_counts_as_cancelled() {
        let (tell, told) = oneshot::channel();
        drop(DownGuard::new(move |cause| {
            let _ = tell.send(cause);
        }));
        assert_eq!(told.await, Ok(Cause::Cancelled));
    }

    #[actix::test]
    async fn a_mailbox_takes_no_more_than_its_limit() {
        struct Busy;
        takes_mail!(Busy);
        impl Actor for Busy {
            type Context = Context<Self>;
            fn started(&mut self, ctx: &mut Context<Self>) {
                use actix::fut::WrapFuture;
                ctx.wait(std::future::pending::<()>().into_actor(self));
            }
        }
        #[derive(Message)]
        #[rtype(result = "()")]
        struct Work;
        impl Handler<Work> for Busy {
            type Result = ();
            fn handle(&mut self, _: Work, _: &mut Context<Self>) {}
        }
        let registry = Registry::new(Metrics::new(), Duration::from_secs(60));
        let birth = Birth { kind: Kind::SshSession, id: "b".into(), parent: None, mailbox: 4, traced: None };
        let addr = spawn(&registry, &actix_rt::Arbiter::current(), birth, |_| Busy, |_| ());
        let taken = (0..100).filter(|_| addr.try_send(Work).is_ok()).count();
        assert!(taken <= 5, "{taken} messages were taken");
        let (page, _) = registry.page(Wanted { limit: 10, ..Wanted::default() });
        assert_eq!((page[0].depth, page[0].high, page[0].capacity), (taken as u32, taken as u32, 4));
        assert!(!page[0].healthy);
    }
}
