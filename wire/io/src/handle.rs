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
}

/// An [`Event`] that does not hold the link yet, for the link holds it.
#[derive(Debug)]
enum Happened {
    Opened { key: u64, stream: StreamId, target: Target, class: Class },
    Link(Output),
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
        })
    }

    /// See [`Link::poll_transmit`].
    pub fn poll_transmit(&self, now: Instant) -> Option<Bytes> {
        self.shared.with(|inner| inner.link.poll_transmit(now))
    }

    /// See [`Link::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.with(|inner| inner.link.poll_timeout())
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

    /// Wakes the driver. If it is not waiting just now, its next wait ends at once.
    pub(crate) fn stir(&self) {
        self.stirred.notify_one();
    }
}

impl Inner {
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
