//! Decides for a keeper: whose session it is, which viewer is which, how it ends.
//!
//! Around the terminal's host, which knows viewers and offsets, it knows brokers:
//!
//! - The highest epoch has the session. The broker before it is told so, its viewers have left, and
//!   nothing that it sent is heard any more.
//! - A broker numbers its viewers by itself; here each gets a number that was never used before.
//! - When the program has ended, every broker is told how, until one says BYE; then the keeper goes as
//!   soon as its viewers have got what is left for them.
//! - With no broker for `orphaned_for` it ends the program, and goes without a BYE.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::keep::frame::OUT_HEAD;
use moorline_wire::keep::{self, Create, FromKeeper, KeeperControl, OrderControl, Taken};
use moorline_wire::term::frame::{OUT_BYTES_MAX, Size, VIEWER_KEY_MAX, ViewerFrame};
use moorline_wire::term::host::Attach;
use moorline_wire::term::{Host, HostConfig, HostInput, HostOutput, ViewerId};
use moorline_wire::{Code, Ending, Exit, SessionId};

/// How long viewers may take to get what is left after BYE.
const FAREWELL: Duration = Duration::from_secs(10);
/// What a broker may ask for, so that no wrong number fills the device.
const RING_BYTES: std::ops::RangeInclusive<u32> = 64 * 1024..=64 * 1024 * 1024;
const WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;
const IN_WINDOW_BYTES_MAX: u32 = 1024 * 1024;
const VIEWERS_MAX: u16 = 256;

/// One connection of a broker. Never used twice within a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What can happen to a keeper.
#[derive(Debug)]
pub enum Input {
    /// A broker wants something.
    Order(ConnectionId, OrderControl),
    /// A viewer of a broker does something.
    Frame(ConnectionId, u64, ViewerFrame),
    /// A connection is gone.
    Lost(ConnectionId),
    /// The program wrote.
    Output(Bytes),
    /// The program's terminal took the first so many bytes of input.
    Taken(u64),
    /// The screen as of the end of the output so far.
    Snapshot {
        /// Its width.
        cols: u16,
        /// Its height.
        rows: u16,
        /// What rebuilds it.
        bytes: Bytes,
    },
    /// The program has ended, and all that it wrote was given to us.
    Exited(Exit),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell that connection.
    Say(ConnectionId, KeeperControl),
    /// Close that connection when it was told everything.
    Close(ConnectionId),
    /// Input for the program.
    ToProgram(Bytes),
    /// Size the terminal and the screen.
    Resize(Size),
    /// Send the foreground this POSIX signal.
    Signal(u8),
    /// Stop, or go on, reading from the program.
    Gate(bool),
    /// Answer with `Input::Snapshot`.
    SnapshotWanted,
    /// End the program: SIGHUP, and SIGKILL after the grace.
    EndProgram,
    /// Leave.
    Go,
}

/// A viewer of the broker that has the session.
#[derive(Debug)]
struct Viewer {
    /// How the broker calls it.
    number: u64,
    closing: Option<Code>,
}

/// Everything that a keeper knows.
#[derive(Debug)]
pub struct Keeper {
    session: SessionId,
    host: Host,
    orphaned_for: Duration,
    epoch: Option<u64>,
    broker: Option<ConnectionId>,
    /// Since when there is no broker.
    alone_since: Option<Instant>,
    viewers: BTreeMap<ViewerId, Viewer>,
    last_viewer: u64,
    /// Who has something to be sent, in turns.
    ready: VecDeque<ViewerId>,
    typed: Instant,
    exit: Option<Exit>,
    ending: bool,
    /// The orphan's end: nobody is waited for.
    given_up: bool,
    /// Said BYE: until when viewers are served.
    farewell: Option<Instant>,
    gone: bool,
    outputs: VecDeque<Output>,
}

impl Keeper {
    /// Of a program that is just being started.
    pub fn new(session: SessionId, create: &Create, now: Instant) -> Self {
        Self {
            session,
            host: Host::new(host_config(create), create.size, now),
            orphaned_for: Duration::from_secs(create.orphaned_for_s),
            epoch: None,
            broker: None,
            alone_since: Some(now),
            viewers: BTreeMap::new(),
            last_viewer: 0,
            ready: VecDeque::new(),
            typed: now,
            exit: None,
            ending: false,
            given_up: false,
            farewell: None,
            gone: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Order(from, OrderControl::Take { session, epoch, .. }) => {
                self.take(now, from, &session, epoch);
            }
            Input::Order(from, order) if self.broker == Some(from) => self.order(now, from, order),
            // It was not the first message, or somebody else has the session by now.
            Input::Order(from, _) => self.outputs.push_back(Output::Close(from)),
            Input::Frame(from, number, frame) if self.broker == Some(from) => {
                if let Some(viewer) = self.named(number) {
                    self.host.handle(now, HostInput::Frame { viewer, frame });
                }
            }
            Input::Frame(from, ..) => self.outputs.push_back(Output::Close(from)),
            Input::Lost(from) => self.lost(now, from),
            Input::Output(bytes) => self.host.handle(now, HostInput::Output(bytes)),
            Input::Taken(total) => self.host.handle(now, HostInput::InputTaken { total }),
            Input::Snapshot { cols, rows, bytes } => {
                let offset = self.host.head();
                self.host.handle(now, HostInput::Snapshot { offset, cols, rows, bytes });
            }
            Input::Exited(exit) => self.exited(now, exit),
        }
        self.settle(now);
    }

    /// To be called at `poll_timeout`, and harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.host.handle_timeout(now);
        self.settle(now);
    }

    /// What is to be done, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let orphaned = self.orphaned_at().filter(|_| !self.given_up);
        [self.host.poll_timeout(), self.farewell, orphaned].into_iter().flatten().min()
    }

    /// Which broker has the session.
    pub fn broker(&self) -> Option<ConnectionId> {
        self.broker
    }

    /// The size that the program sees.
    pub fn size(&self) -> Size {
        self.host.size()
    }

    /// The next message about a viewer for the broker that has the session. To be called only when its
    /// connection has room, and followed by `poll_output`. The viewers take turns.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<FromKeeper> {
        self.broker?;
        while let Some(id) = self.ready.pop_front() {
            let Some(viewer) = self.viewers.get(&id) else { continue };
            let number = viewer.number;
            if let Some(frame) = self.host.poll_transmit(now, id) {
                self.ready.push_back(id);
                self.follow_host(now);
                return Some(FromKeeper::Frame(number, frame));
            }
            self.follow_host(now);
            if let Some(code) = self.viewers.get(&id).and_then(|viewer| viewer.closing) {
                self.forget(now, id);
                self.settle(now);
                return Some(FromKeeper::Control(KeeperControl::Close { viewer: number, code }));
            }
        }
        None
    }

    fn take(&mut self, now: Instant, from: ConnectionId, session: &SessionId, epoch: u64) {
        if *session != self.session || self.broker == Some(from) {
            return self.outputs.push_back(Output::Close(from));
        }
        if let Some(known) = self.epoch.filter(|known| epoch <= *known) {
            return self.supersede(from, known);
        }
        if let Some(old) = self.broker.take() {
            self.supersede(old, epoch);
            self.everybody_left(now);
        }
        let created = self.epoch.is_none();
        self.epoch = Some(epoch);
        self.broker = Some(from);
        (self.alone_since, self.given_up) = (None, false);
        let taken = Taken {
            version: keep::VERSION,
            created,
            head: self.host.head(),
            oldest: self.host.oldest(),
            idle_ms: u64::try_from(now.duration_since(self.typed).as_millis()).unwrap_or(u64::MAX),
            exit: self.exit.clone(),
        };
        self.say(KeeperControl::Taken(taken));
    }

    fn supersede(&mut self, connection: ConnectionId, epoch: u64) {
        self.outputs.push_back(Output::Say(connection, KeeperControl::Superseded { epoch }));
        self.outputs.push_back(Output::Close(connection));
    }

    fn order(&mut self, now: Instant, from: ConnectionId, order: OrderControl) {
        match order {
            OrderControl::Join { viewer, key, who, have, in_next, size, role, attached } => {
                if key.len() > VIEWER_KEY_MAX || self.named(viewer).is_some() {
                    return self.outputs.push_back(Output::Close(from));
                }
                self.last_viewer += 1;
                let id = ViewerId(self.last_viewer);
                self.viewers.insert(id, Viewer { number: viewer, closing: None });
                let attached = *attached;
                let attach = Attach { viewer: id, key, who, have, in_next, size, role, attached };
                self.host.handle(now, HostInput::Attach(Box::new(attach)));
            }
            OrderControl::Leave { viewer } => {
                if let Some(id) = self.named(viewer) {
                    self.forget(now, id);
                }
            }
            OrderControl::End => self.end(),
            // Before the program has ended there is nothing to take leave from.
            OrderControl::Bye if self.exit.is_some() => {
                self.farewell.get_or_insert(now + FAREWELL);
            }
            OrderControl::Bye | OrderControl::Take { .. } | OrderControl::Unknown => {}
        }
    }

    fn lost(&mut self, now: Instant, connection: ConnectionId) {
        if self.broker == Some(connection) {
            self.broker = None;
            self.alone_since = Some(now);
            self.everybody_left(now);
        }
    }

    fn everybody_left(&mut self, now: Instant) {
        while let Some((id, _)) = self.viewers.pop_first() {
            self.host.handle(now, HostInput::Left(id));
        }
        self.ready.clear();
    }

    fn forget(&mut self, now: Instant, id: ViewerId) {
        self.viewers.remove(&id);
        self.host.handle(now, HostInput::Left(id));
    }

    fn named(&self, number: u64) -> Option<ViewerId> {
        self.viewers.iter().find(|(_, viewer)| viewer.number == number).map(|(id, _)| *id)
    }

    fn end(&mut self) {
        if self.exit.is_none() && !std::mem::replace(&mut self.ending, true) {
            self.outputs.push_back(Output::EndProgram);
        }
    }

    fn exited(&mut self, now: Instant, exit: Exit) {
        if self.exit.is_none() {
            self.exit = Some(exit.clone());
            self.host.handle(now, HostInput::Ended(Ending::exited(exit.clone())));
            self.say(KeeperControl::Ended { exit });
        }
    }

    fn say(&mut self, control: KeeperControl) {
        if let Some(broker) = self.broker {
            self.outputs.push_back(Output::Say(broker, control));
        }
    }

    fn orphaned_at(&self) -> Option<Instant> {
        self.alone_since?.checked_add(self.orphaned_for)
    }

    /// What follows from everything that may just have changed.
    fn settle(&mut self, now: Instant) {
        self.follow_host(now);
        if self.orphaned_at().is_some_and(|at| at <= now) && !self.given_up {
            self.given_up = true;
            self.end();
        }
        let served = self.farewell.is_some_and(|until| until <= now || self.viewers.is_empty());
        let over = self.exit.is_some() && (served || self.given_up);
        if over && !std::mem::replace(&mut self.gone, true) {
            self.say(KeeperControl::Gone);
            self.outputs.push_back(Output::Go);
        }
    }

    fn follow_host(&mut self, now: Instant) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Transmit(id) => self.make_ready(id),
                HostOutput::ToShell(bytes) => {
                    self.typed = now;
                    self.outputs.push_back(Output::ToProgram(bytes));
                }
                HostOutput::Resize { size, .. } => self.outputs.push_back(Output::Resize(size)),
                HostOutput::Signal { number } => self.outputs.push_back(Output::Signal(number)),
                HostOutput::Gate { open } => self.outputs.push_back(Output::Gate(open)),
                HostOutput::SnapshotWanted => self.outputs.push_back(Output::SnapshotWanted),
                HostOutput::Close { viewer: id, code } => {
                    if let Some(viewer) = self.viewers.get_mut(&id) {
                        viewer.closing = Some(code);
                    }
                    self.make_ready(id);
                }
                // The broker hears of it first, and decides.
                HostOutput::KillWanted { .. } => {}
                HostOutput::Viewers { drivers, watchers } => {
                    let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
                    let (drivers, watchers) = (count(drivers), count(watchers));
                    self.say(KeeperControl::Viewers { drivers, watchers });
                }
            }
        }
    }

    fn make_ready(&mut self, id: ViewerId) {
        if !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }
}

/// What is in flight is never more than a part of the ring, or a program that is held would still lose. A message of output
/// fills one SSH packet: a few bytes more would be a packet of their own for each of them.
fn host_config(create: &Create) -> HostConfig {
    let ring_bytes = create.ring_bytes.clamp(*RING_BYTES.start(), *RING_BYTES.end()) as usize;
    let usual = HostConfig::default();
    HostConfig {
        ring_bytes,
        window: create.window.clamp(1, WINDOW_BYTES_MAX),
        in_window: create.in_window.clamp(1, IN_WINDOW_BYTES_MAX),
        out_bytes_max: OUT_BYTES_MAX - OUT_HEAD,
        viewers_max: usize::from(create.viewers_max.clamp(1, VIEWERS_MAX)),
        hold: create.hold,
        driver_back_within: Duration::from_millis(u64::from(create.driver_back_within_ms)),
        gate_high: usual.gate_high.min(ring_bytes / 2),
        gate_low: usual.gate_low.min(ring_bytes / 4),
        ..usual
    }
}

#[cfg(test)]
mod tests;
