//! The body of a WebSocket's answer: the actor, and before it whatever the reflex answers.
//!
//! What comes over the socket comes here first. A short message that comes alone and with which the [`Reflex`] does something is dealt
//! with here (a longer one, or several at once, in the actor), and nothing of the actor is touched for it: among ten thousand peers that each ask every five seconds, most of what an answer
//! costs is to fetch from memory what nobody has looked at meanwhile. Everything else is passed to the actor, which
//! is polled only when there is something for it, or when something of its own has woken it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use actix_http::ws::{OpCode, Parser};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::task::AtomicWaker;

use super::announced::Announced;
use super::{Answers, Heard, Incoming, Reflex};
use crate::pipe;

/// RFC 6455 section 5.2: a final binary frame, and the bit that says that it is masked.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// The longest payload whose length stands in the second byte.
const SHORT_MAX: usize = 125;

/// What the actor and what stands before it have in common.
pub(super) struct Inward {
    /// What is passed to our side. None: the socket closes.
    pub(super) to_us: RefCell<Option<pipe::Sender<Incoming>>>,
    /// The actor has a message that waits for room there, and maybe more behind it.
    pub(super) waits: Cell<bool>,
    /// The peer has announced a frame that is larger than allowed.
    pub(super) too_large: Cell<bool>,
    /// What came, until the actor takes it.
    passed: Cell<Option<Result<Bytes, PayloadError>>>,
    is_passed: Cell<bool>,
    /// Nothing comes any more.
    over: Cell<bool>,
}

impl Inward {
    pub(super) fn new(to_us: pipe::Sender<Incoming>) -> Self {
        Self {
            to_us: RefCell::new(Some(to_us)),
            waits: Cell::new(false),
            too_large: Cell::new(false),
            passed: Cell::new(None),
            is_passed: Cell::new(false),
            over: Cell::new(false),
        }
    }

    fn pass(&self, bytes: Option<Result<Bytes, PayloadError>>) {
        self.over.set(bytes.is_none());
        self.is_passed.set(bytes.is_some());
        self.passed.set(bytes);
    }

    /// What the reflex does with this message, unless it would overtake what came before.
    pub(super) fn react(&self, reflex: &Reflex, heard: &Heard<'_>) -> Option<Answers> {
        let is_next = !self.waits.get() && self.to_us.borrow().as_ref().is_some_and(pipe::Sender::is_empty);
        if is_next { reflex.react(heard) } else { None }
    }
}

/// What the actor reads.
pub(super) struct Passed(pub(super) Rc<Inward>);

impl Stream for Passed {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inward = &self.0;
        inward.is_passed.set(false);
        match inward.passed.take() {
            None if !inward.over.get() => Poll::Pending,
            bytes => Poll::Ready(bytes),
        }
    }
}

/// See the module.
pub(super) struct Front<S> {
    bytes: Announced<S>,
    actor: BoxBody,
    inward: Rc<Inward>,
    reflex: Reflex,
    stirred: Arc<Stirred>,
    /// Wakes the actor.
    waker: Waker,
}

impl<S> Front<S> {
    /// `actor` reads from `Passed`.
    pub(super) fn new(bytes: Announced<S>, actor: BoxBody, inward: Rc<Inward>, reflex: Reflex) -> Self {
        let stirred = Arc::new(Stirred { is: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&stirred));
        Self { bytes, actor, inward, reflex, stirred, waker }
    }

    /// What is sent for these bytes, if they are one message with which the reflex does something.
    fn answer(&self, bytes: &[u8]) -> Option<Bytes> {
        let (message, length) = message(bytes)?;
        let answers = self.inward.react(&self.reflex, &Heard::Short(&message[..length]))?;
        let mut frames = BytesMut::new();
        for answer in answers.into_iter().flatten() {
            Parser::write_message(&mut frames, answer, OpCode::Binary, true, false);
        }
        Some(frames.freeze())
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> MessageBody for Front<S> {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.actor.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        this.stirred.task.register(cx.waker());
        loop {
            if this.stirred.takes() {
                let polled = Pin::new(&mut this.actor).poll_next(&mut Context::from_waker(&this.waker));
                if let Poll::Ready(frames) = polled {
                    this.stirred.is.store(true, Ordering::Relaxed);
                    return Poll::Ready(frames);
                }
            }
            if this.inward.is_passed.get() || this.inward.over.get() {
                return Poll::Pending;
            }
            let between = this.bytes.is_between_frames();
            let bytes = ready!(Pin::new(&mut this.bytes).poll_next(cx));
            match &bytes {
                Some(Ok(bytes)) if between => match this.answer(bytes) {
                    Some(frames) if frames.is_empty() => continue,
                    Some(frames) => return Poll::Ready(Some(Ok(frames))),
                    None => {}
                },
                Some(Err(PayloadError::Overflow)) => this.inward.too_large.set(true),
                _ => {}
            }
            this.inward.pass(bytes);
            this.stirred.is.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the actor was woken.
struct Stirred {
    is: AtomicBool,
    /// Who polls it.
    task: AtomicWaker,
}

impl Stirred {
    fn takes(&self) -> bool {
        self.is.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// The payload and its length, if these bytes are all of one short binary message of a client.
fn message(bytes: &[u8]) -> Option<([u8; SHORT_MAX], usize)> {
    let [BINARY, length, a, b, c, d, payload @ ..] = bytes else { return None };
    let is_whole = *length == MASKED | u8::try_from(payload.len()).ok()? && payload.len() <= SHORT_MAX;
    let mut plain = [0; SHORT_MAX];
    let masks = [a, b, c, d].into_iter().cycle();
    plain.iter_mut().zip(payload.iter().zip(masks)).for_each(|(plain, (byte, mask))| *plain = byte ^ mask);
    is_whole.then_some((plain, payload.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_short_binary_message_is_a_message() {
        let hi = [0x82, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        let (plain, length) = message(&hi).unwrap();
        assert_eq!(&plain[..length], b"hi");
        assert!(message(&hi[..7]).is_none(), "a piece");
        assert!(message(&[&hi[..], &hi].concat()).is_none(), "two");
        for first in [0x02, 0x81, 0x80, 0x89, 0xc2] {
            assert!(message(&[&[first], &hi[1..]].concat()).is_none(), "another kind of frame");
        }
        assert!(message(&[0x82, 0x02, b'h', b'i']).is_none(), "not masked");
        let long = [&[0x82, 0xfe, 0, 126, 0, 0, 0, 0][..], &[7; 126]].concat();
        assert!(message(&long).is_none(), "a long one");
        assert_eq!(message(&[0x82, 0x80, 1, 2, 3, 4]).map(|(_, length)| length), Some(0));
    }
}
