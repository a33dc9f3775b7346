//! The way into an actor, which counts what waits there.
//!
//! actix does not tell how many messages wait, so each of ours travels in a [`Mail`] that counts itself
//! in when it is sent and out when it is opened, or dropped unopened: a few atomic additions for each
//! message, and no lock. What is on the path of a keystroke does not come through mailboxes at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::dev::{MessageResponse, OneshotSender, Request, SendError};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use super::Down;

/// How many messages wait for one actor, and the most that ever did.
#[derive(Debug, Default)]
pub struct Depth {
    waiting: AtomicU32,
    high: AtomicU32,
}

impl Depth {
    /// How many wait now.
    pub fn now(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The most that ever waited.
    pub fn high(&self) -> u32 {
        self.high.load(Ordering::Relaxed)
    }
}

/// A message on its way.
pub struct Mail<M> {
    message: M,
    _counted: Counted,
}

impl<M: Message> Message for Mail<M> {
    type Result = M::Result;
}

impl<M> Mail<M> {
    /// Takes the message out, which then does not wait any more.
    pub fn open(self) -> M {
        self.message
    }
}

/// Counts one message, until it is dropped.
struct Counted(Arc<Depth>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The address of an actor. Cheap to clone.
pub struct Mailbox<A: Actor> {
    address: Addr<A>,
    depth: Arc<Depth>,
}

impl<A: Actor> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), depth: self.depth.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> Mailbox<A> {
    /// Counts what is sent to that address.
    pub fn new(address: Addr<A>, depth: Arc<Depth>) -> Self {
        Self { address, depth }
    }

    /// An actor's own, to be given to its children.
    pub fn mine(ctx: &Context<A>, depth: &Arc<Depth>) -> Self {
        Self::new(ctx.address(), depth.clone())
    }

    /// Sends the message if there is room for it.
    pub fn try_send<M>(&self, message: M) -> Result<(), SendError<Mail<M>>>
    where
        A: Handler<Mail<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (mail, waiting) = self.mail(message);
        // A message that was refused did not wait.
        self.address.try_send(mail).map(|()| self.waited(waiting))
    }

    /// Sends the message as soon as there is room for it, and waits for the answer.
    pub fn send<M>(&self, message: M) -> Request<A, Mail<M>>
    where
        A: Handler<Mail<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (mail, waiting) = self.mail(message);
        self.waited(waiting);
        self.address.send(mail)
    }

    /// A child has ended. Never lost to a full mailbox: there is one for each child.
    pub fn down<Id: Send + 'static>(&self, down: Down<Id>)
    where
        A: Handler<Mail<Down<Id>>>,
    {
        let (mail, waiting) = self.mail(down);
        self.waited(waiting);
        #[allow(clippy::disallowed_methods, reason = "a Down must never be lost to a full mailbox")]
        self.address.do_send(mail);
    }

    /// The message, counted, and how many wait with it.
    fn mail<M>(&self, message: M) -> (Mail<M>, u32) {
        let waiting = self.depth.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        (Mail { message, _counted: Counted(self.depth.clone()) }, waiting)
    }

    fn waited(&self, waiting: u32) {
        self.depth.high.fetch_max(waiting, Ordering::Relaxed);
    }
}

/// What an actor answers to a message that came in a [`Mail`].
pub struct Answer<A: Handler<M>, M: Message>(pub A::Result);

impl<A: Handler<M>, M: Message> MessageResponse<A, Mail<M>> for Answer<A, M> {
    fn handle(self, ctx: &mut A::Context, tx: Option<OneshotSender<M::Result>>) {
        MessageResponse::<A, M>::handle(self.0, ctx, tx);
    }
}

/// Lets an actor take every message that it handles out of a [`Mail`].
macro_rules! takes_mail {
    ($actor:ty) => {
        impl<M> actix::Handler<$crate::actor::Mail<M>> for $actor
        where
            M: actix::Message,
            $actor: actix::Handler<M>,
        {
            type Result = $crate::actor::Answer<$actor, M>;

            fn handle(&mut self, mail: $crate::actor::Mail<M>, ctx: &mut Self::Context) -> Self::Result {
                $crate::actor::Answer(actix::Handler::<M>::handle(self, mail.open(), ctx))
            }
        }
    };
}

pub(crate) use takes_mail;
