//! The machine behind a lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::link::{Answer, Class, Config, Input, Link, OpenError, Output, Role, Target, Violation};
use moorline_wire::{Code, StreamId};
use tokio::sync::Notify;

use crate::LinkStream;

/// One link, shared between its one driver and its streams.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    shared: Arc<Shared>,
}

/// What the driver sees of the machine's outputs.
#[derive(Debug)]
pub enum Event {
    /// (Agent) the broker opened a stream.
    Opened {
        /// The stream. Dropping it refuses it.
        stream: LinkStream,
        /// What to connect it to.
        target: Target,
        /// How it is treated beside others.
        class: Class,
    },
    /// Unstable, Steady, Rtt, GoingAway, Close, Lost.
    Link(Output),
    /// A frame given to [`LinkHandle::take`] broke a rule: the transport is to be closed with its code.
    Violated(Violation),
}

/// The way into a transport, for frames that need not wait for a turn of the driver: takes what the function it is given
/// has, as far as there is room. False: there is no room, and more is to be sent.
pub struct Outlet(Box<Pull>);

type Pull = dyn FnMut(&mut dyn FnMut(Instant) -> Option<Bytes>) -> bool + Send;

impl Outlet {
    /// See the type.
    pub fn new(pull: impl FnMut(&mut dyn FnMut(Instant) -> Option<Bytes>) -> bool + Send + 'static) -> Self {
        Self(Box::new(pull))
    }

    pub(crate) fn pull(&mut self, next: &mut dyn FnMut(Instant) -> Option<Bytes>) -> bool {
        (self.0)(next)
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlet")
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    stirred: Notify,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Link,
    /// The streams that somebody holds, by a key that is never used twice: numbers are, when the
    /// agent meets another broker process.
    slots: BTreeMap<u64, Slot>,
    keys: BTreeMap<StreamId, u64>,
    next_key: u64,
    events: VecDeque<Happened>,
    outlet: Option<Outlet>,
    /// The time that the driver waits for.
    awaited: Option<Instant>,
}

/// An [`Event`] that does not hold the link yet, for the link holds it.
#[derive(Debug)]
enum Happened {
    Opened { key: u64, stream: StreamId, target: Target, class: Class },
    Link(Output),
    Violated(Violation),
}

/// What the link knows of one [`LinkStream`].
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The stream was reset, by the peer or because the link is lost.
    pub(crate) gone: Option<Code>,
}

impl LinkHandle {
    /// A link that has no transport yet.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let inner = Inner {
            link: Link::new(role, config, now),
            slots: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_key: 0,
            events: VecDeque::new(),
            outlet: None,
            awaited: None,
        };
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner), stirred: Notify::new() }) }
    }

    /// See [`Link::handle`]. Streams are woken at once. After a [`Violation`] the transport is to
    /// be closed with its code; the event `Lost` follows.
    pub fn handle(&self, now: Instant, input: Input) -> Result<(), Violation> {
        self.shared.with(|inner| inner.link.handle(now, input))
    }

    /// See [`Link::handle_timeout`].
    pub fn handle_timeout(&self, now: Instant) {
        self.shared.with(|inner| inner.link.handle_timeout(now));
    }

    /// What the driver is to do or to know; to be asked until there is nothing more.
    pub fn poll_event(&self) -> Option<Event> {
        let happened = self.shared.with(|inner| inner.events.pop_front())?;
        Some(match happened {
            Happened::Opened { key, stream, target, class } => {
                Event::Opened { stream: LinkStream::new(self.shared.clone(), key, stream), target, class }
            }
            Happened::Link(output) => Event::Link(output),
            Happened::Violated(violation) => Event::Violated(violation),
        })
    }

    /// See [`Link::poll_transmit`].
    pub fn poll_transmit(&self, now: Instant) -> Option<Bytes> {
        self.shared.with(|inner| inner.link.poll_transmit(now))
    }

    /// See [`Link::poll_timeout`]. Whoever asks is the driver, and waits for it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.with(|inner| {
            inner.awaited = inner.link.poll_timeout();
            inner.awaited
        })
    }

    /// From now on frames may go there without the driver; `None`: only the driver sends. What was sent already
    /// stays in front.
    pub fn set_outlet(&self, outlet: Option<Outlet>) {
        let before = self.shared.with(|inner| std::mem::replace(&mut inner.outlet, outlet));
        // What it holds may wake somebody, which is not to be done under the lock.
        drop(before);
    }

    /// Sends what there is through the outlet. False: it has no room for more.
    pub fn transmit(&self) -> bool {
        self.shared.with(Inner::transmit)
    }

    /// Gives a frame to the link, for whoever reads the transport: what it sets off goes to the streams and through the
    /// outlet, and the driver is woken when there is something for it.
    pub fn take(&self, now: Instant, frame: Bytes) {
        let is_for_driver = self.shared.with(|inner| {
            if let Err(violation) = inner.link.handle(now, Input::Frame(frame)) {
                inner.events.push_back(Happened::Violated(violation));
            }
            !inner.transmit() || inner.is_due_earlier()
        });
        if is_for_driver || self.shared.with(|inner| !inner.events.is_empty()) {
            self.shared.stir();
        }
    }

    /// See [`Link::answer`]: for whoever reads the transport, who need not wake the driver for a beat. The driver is
    /// woken when there is something for it, too.
    pub fn answer(&self, now: Instant, frame: &[u8]) -> Option<Answer> {
        let answer = self.shared.with(|inner| inner.link.answer(now, frame))?;
        if self.shared.with(|inner| !inner.events.is_empty() || inner.link.has_transmit()) {
            self.shared.stir();
        }
        Some(answer)
    }

    /// See [`Link::is_at_rest`].
    pub fn is_at_rest(&self) -> bool {
        self.shared.lock().link.is_at_rest()
    }

    /// Wakes the driver when `poll_timeout` has come, and gives back memory that is not needed at rest: for whoever
    /// looks after many links. Says when there may be something to see again, for a link at rest.
    pub fn look(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.shared.lock();
        let is_at_rest = inner.link.is_at_rest();
        if is_at_rest {
            inner.link.give_back();
            inner.events.shrink_to_fit();
        }
        let next = inner.link.poll_timeout();
        drop(inner);
        if next.is_some_and(|at| at <= now) {
            self.shared.stir();
        }
        next.filter(|_| is_at_rest)
    }

    /// Waits until a stream did something the driver must act upon (bytes to send, credit, reset).
    /// Never misses a wake-up between two calls. For one driver at a time.
    pub async fn stirred(&self) {
        self.shared.stirred.notified().await;
    }

    /// (Broker) opens a stream. Works while the transport is down, too.
    pub fn open(&self, target: Target, class: Class) -> Result<LinkStream, OpenError> {
        let (key, stream) = self.shared.with(|inner| {
            let stream = inner.link.open(target, class)?;
            Ok((inner.add(stream), stream))
        })?;
        self.shared.stir();
        Ok(LinkStream::new(self.shared.clone(), key, stream))
    }

    /// See [`Link::reset_streams`].
    pub fn reset_streams(&self, code: Code) {
        self.shared.with(|inner| inner.link.reset_streams(code));
        self.shared.stir();
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.shared.with(|inner| inner.link.streams())
    }

    /// The last measured round trip.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.with(|inner| inner.link.rtt())
    }

    /// See [`Link::is_resumable`].
    pub fn is_resumable(&self) -> bool {
        self.shared.with(|inner| inner.link.is_resumable())
    }
}

impl Shared {
    /// Does something with the link, and tells streams and driver what came of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let done = act(&mut inner);
        let mut wakers = Vec::new();
        inner.sort_outputs(&mut wakers);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic inside is a defect of ours; the link is then as good as its last whole step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with one of the streams, and sends what came of it.
    pub(crate) fn with_stream<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let (done, is_for_driver) = self.with(|inner| {
            let done = act(inner);
            (done, inner.link.has_transmit() && (!inner.transmit() || inner.is_due_earlier()))
        });
        if is_for_driver {
            self.stir();
        }
        done
    }

    /// Wakes the driver. If it is not waiting just now, its next wait ends at once.
    pub(crate) fn stir(&self) {
        self.stirred.notify_one();
    }
}

impl Inner {
    /// Sends through the outlet. False: the driver is to send, or to wait for room.
    fn transmit(&mut self) -> bool {
        let Self { link, outlet, .. } = self;
        outlet.as_mut().is_some_and(|outlet| outlet.pull(&mut |now| link.poll_transmit(now)))
    }

    /// Whether the driver waits for a later time than it should.
    fn is_due_earlier(&self) -> bool {
        match (self.link.poll_timeout(), self.awaited) {
            (Some(due), Some(awaited)) => due < awaited,
            (due, None) => due.is_some(),
            (None, Some(_)) => false,
        }
    }

    fn add(&mut self, stream: StreamId) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.keys.insert(stream, key);
        self.slots.insert(key, Slot::default());
        key
    }

    /// The slot of a stream that is held: a slot lives as long as its [`LinkStream`].
    pub(crate) fn slot(&mut self, key: u64) -> &mut Slot {
        self.slots.entry(key).or_default()
    }

    /// The holder of a stream lets go of it.
    pub(crate) fn remove(&mut self, key: u64, stream: StreamId) {
        self.slots.remove(&key);
        if self.keys.get(&stream) == Some(&key) {
            self.keys.remove(&stream);
        }
    }

    fn sort_outputs(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Readable(stream) => wakers.extend(self.held(stream).and_then(|s| s.reader.take())),
                Output::Writable(stream) => wakers.extend(self.held(stream).and_then(|s| s.writer.take())),
                Output::Reset { stream, code } => self.end(stream, code, wakers),
                Output::Opened { stream, target, class } => {
                    let key = self.add(stream);
                    self.events.push_back(Happened::Opened { key, stream, target, class });
                }
                other => self.events.push_back(Happened::Link(other)),
            }
        }
    }

    fn held(&mut self, stream: StreamId) -> Option<&mut Slot> {
        self.slots.get_mut(self.keys.get(&stream)?)
    }

    fn end(&mut self, stream: StreamId, code: Code, wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.held(stream) {
            slot.gone = Some(code);
            wakers.extend(slot.reader.take());
            wakers.extend(slot.writer.take());
        }
        self.keys.remove(&stream);
    }
}
