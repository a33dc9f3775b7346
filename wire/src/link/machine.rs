//! One link, at one of its ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::config::{Config, STREAMS_CEILING};
use super::frame::INITIAL_WINDOW;
use super::liveness::{Liveness, Verdict};
use super::schedule::{AHEAD_MAX, Pace, Turns};
use super::stream::{Fin, Inbound, Outbound, Piece, Stream, WINDOW_BULK_START};
use super::{Attach, Class, Input, OpenError, Output, Read, Role, Target, Violation, Written};
use crate::{Code, StreamId};

/// At most this many resets, of either end, wait for an answer.
pub(super) const RESETS_MAX: usize = 2 * STREAMS_CEILING;

/// All bulk windows of a link together grow by at most this many times `window_bulk_max`.
const BULK_WINDOWS: u64 = 4;

/// One link, at one of its ends. Feed it one [`Input`], take every [`Output`], then every frame
/// that the transport has room for, then wait for the next input or for `poll_timeout`.
#[derive(Debug)]
pub struct Link {
    pub(super) role: Role,
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    /// Streams that we reset and that the peer may not have forgotten yet.
    pub(super) resets: BTreeMap<StreamId, LocalReset>,
    /// Resets of the peer that are to be answered.
    pub(super) reset_oks: BTreeSet<StreamId>,
    /// Broker: the number of the next stream. Agent: the lowest that the next OPEN may have.
    pub(super) next_stream: u32,
    /// Broker: OPEN of every number before was sent on this transport, or was seen by the peer.
    pub(super) opened: u32,
    /// Broker: OPEN of every number before was sent on any transport of this link.
    pub(super) ever_opened: u32,
    pub(super) credits: Turns,
    /// Streams that have something to send and go ahead.
    pub(super) ahead: Turns,
    /// Streams that have something to send, when nobody goes ahead and the pace allows.
    pub(super) paced: Turns,
    pub(super) pace: Pace,
    pub(super) liveness: Liveness,
    pub(super) going_away: Option<u32>,
    pub(super) outputs: VecDeque<Output>,
}

/// How the link stands to its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There was none yet.
    New,
    /// It stands, and all is said that comes first.
    Steady,
    /// It stands; RESUME is sent or not, and heard or not, but not both.
    Resuming { said: bool, heard: bool },
    /// It broke.
    Detached { since: Instant },
    /// It did not come back in time, or the peer broke a rule. Only a fresh one helps.
    Lost,
}

/// A reset of ours that the peer has not answered.
#[derive(Debug)]
pub(super) struct LocalReset {
    pub(super) code: Code,
    /// RESET was sent on this transport.
    pub(super) sent: bool,
}

impl Link {
    /// A link that has no transport yet. The broker may open streams at once.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let config = config.within_bounds();
        Self {
            role,
            phase: Phase::New,
            streams: BTreeMap::new(),
            resets: BTreeMap::new(),
            reset_oks: BTreeSet::new(),
            next_stream: 1,
            opened: 1,
            ever_opened: 1,
            credits: Turns::default(),
            ahead: Turns::default(),
            paced: Turns::default(),
            pace: Pace::new(config.window_bulk_max.into()),
            liveness: Liveness::new(now),
            going_away: None,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes note of what happened. After a [`Violation`] the link is lost: its streams are
    /// reset with the violation's code, the transport is to be closed with it, and only
    /// `Connected(Attach::Fresh)` makes the link usable again.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), Violation> {
        let handled = match input {
            Input::Connected(attach) => self.connected(now, attach),
            Input::Frame(frame) => self.receive(now, frame),
            Input::Disconnected => {
                self.disconnected(now);
                Ok(())
            }
            Input::GoAway { come_back_after } => {
                let ms = come_back_after.as_millis().min(u32::MAX.into()) as u32;
                self.going_away = (self.role == Role::Broker && self.has_transport()).then_some(ms);
                Ok(())
            }
        };
        handled.inspect_err(|violation| self.lose(violation.code))
    }

    /// To be called when the time that `poll_timeout` named has come; harmless at other times.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::New | Phase::Lost => {}
            Phase::Detached { since } => {
                if now >= since + self.config.resume_within {
                    self.lose(Code::DEVICE_LOST);
                }
            }
            Phase::Steady | Phase::Resuming { .. } => self.watch(now),
        }
    }

    fn watch(&mut self, now: Instant) {
        if self.phase == Phase::Steady {
            self.liveness.tick(now, self.config.ping_every);
            self.pace.tick(now);
        }
        match self.liveness.judge(now, &self.config) {
            Verdict::Fine => {}
            Verdict::Unstable => self.outputs.push_back(Output::Unstable),
            Verdict::Dead => {
                self.outputs.push_back(Output::Close(Code::LINK_DEAD));
                self.disconnected(now);
            }
        }
    }

    /// What the driver is to do or to know; to be asked until there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::New | Phase::Lost => None,
            Phase::Detached { since } => Some(since + self.config.resume_within),
            Phase::Resuming { .. } => Some(self.liveness.deadline(&self.config, false)),
            Phase::Steady => {
                let deadline = self.liveness.deadline(&self.config, true);
                Some(self.pace.deadline().map_or(deadline, |probe| probe.min(deadline)))
            }
        }
    }

    /// Whether both ends may still go on with this link on a new transport
    /// (`Attach::Resumed`). If not, the greeting has to settle for a fresh one.
    pub fn is_resumable(&self) -> bool {
        !matches!(self.phase, Phase::New | Phase::Lost)
    }

    /// Whether nobody uses it: then its `poll_timeout` is only about whether the peer is still there, and may be looked
    /// after now and then, together with that of others.
    pub fn is_at_rest(&self) -> bool {
        self.phase == Phase::Steady && self.streams.is_empty() && self.resets.is_empty()
    }

    /// Gives back memory that was needed for a moment.
    pub fn give_back(&mut self) {
        self.outputs.shrink_to_fit();
        self.liveness.give_back();
        [&mut self.credits, &mut self.ahead, &mut self.paced].into_iter().for_each(Turns::give_back);
    }

    /// (Broker) opens a stream. Works while the transport is down, too.
    pub fn open(&mut self, target: Target, class: Class) -> Result<StreamId, OpenError> {
        debug_assert_eq!(self.role, Role::Broker, "only the broker opens streams");
        if self.phase == Phase::Lost {
            return Err(OpenError::Lost);
        }
        if self.streams.len() >= self.config.streams_max || self.resets.len() >= RESETS_MAX {
            return Err(OpenError::TooMany);
        }
        let after = self.next_stream.checked_add(1).ok_or(OpenError::TooMany)?;
        let id = StreamId(std::mem::replace(&mut self.next_stream, after));
        let window = self.window_at_first(class);
        let stream = Stream {
            target,
            class,
            outbound: Outbound::new(id, INITIAL_WINDOW, self.window_max(class)),
            inbound: Inbound::new(window, window),
        };
        self.streams.insert(id, stream);
        Ok(id)
    }

    /// Takes as many of the bytes as the stream has room for.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> Written {
        let (frame_max, bulk_max) = (self.pace.frame_max(), u64::from(self.config.window_bulk_max));
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.outbound.fin == Fin::No) else {
            return Written::Gone(Code::UNKNOWN);
        };
        let (window, chunk) = match stream.class {
            Class::Interactive => (u64::from(self.config.window_interactive), self.pace.frame_max_ahead()),
            Class::Bulk => (bulk_max, frame_max),
        };
        let taken = stream.outbound.write(bytes, window, chunk);
        self.take_turn(id);
        if taken == 0 && !bytes.is_empty() { Written::Pending } else { Written::Taken(taken) }
    }

    /// Gives at most `max` bytes of what arrived.
    pub fn read(&mut self, id: StreamId, max: usize) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Read::Gone(Code::UNKNOWN);
        };
        let piece = stream.inbound.read(max);
        if stream.inbound.owes_credit() {
            self.credits.add(id);
        }
        match piece {
            Piece::Data(bytes) => Read::Data(bytes),
            Piece::Pending => Read::Pending,
            Piece::End => {
                self.forget_if_over(id);
                Read::End
            }
        }
    }

    /// Half-closes: everything written is still delivered.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|s| s.outbound.fin == Fin::No) {
            stream.outbound.fin = Fin::Wanted;
            self.take_turn(id);
        }
    }

    /// Ends the stream at once in both directions.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if self.forget(id) && self.peer_may_know(id) {
            self.resets.insert(id, LocalReset { code, sent: false });
        }
    }

    /// Ends every stream at once, for this end is about to go. Their holders are told, too.
    pub fn reset_streams(&mut self, code: Code) {
        let ours: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in ours {
            self.reset(stream, code);
            self.outputs.push_back(Output::Reset { stream, code });
        }
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The last measured round trip.
    pub fn rtt(&self) -> Option<Duration> {
        self.liveness.rtt()
    }

    fn connected(&mut self, now: Instant, attach: Attach) -> Result<(), Violation> {
        // A second greeting without an end of the first transport is an end of it.
        self.disconnected(now);
        match attach {
            Attach::Fresh => self.start_afresh(),
            Attach::Resumed if self.is_resumable() => {
                self.phase = Phase::Resuming { said: false, heard: false };
            }
            Attach::Resumed => {
                return Err(Violation { code: Code::DEVICE_LOST, what: "a resume of a link that is lost" });
            }
        }
        self.liveness.attached(now);
        Ok(())
    }

    fn start_afresh(&mut self) {
        if self.phase != Phase::New {
            self.reset_all(Code::DEVICE_LOST);
        }
        match self.role {
            // Never a number twice, so that no one mistakes a new stream for the one he had.
            Role::Broker => (self.opened, self.ever_opened) = (self.first_stream(), self.first_stream()),
            // The broker may be another process that counts from 1.
            Role::Agent => self.next_stream = 1,
        }
        self.phase = Phase::Steady;
    }

    fn first_stream(&self) -> u32 {
        self.streams.first_key_value().map_or(self.next_stream, |(id, _)| id.0)
    }

    fn disconnected(&mut self, now: Instant) {
        if !self.has_transport() {
            return;
        }
        self.phase = Phase::Detached { since: now };
        self.going_away = None;
        self.reset_oks.clear();
        self.credits.clear();
        self.pace.restart();
    }

    fn lose(&mut self, code: Code) {
        self.reset_all(code);
        if self.phase != Phase::Lost {
            self.phase = Phase::Lost;
            self.outputs.push_back(Output::Lost);
        }
    }

    fn reset_all(&mut self, code: Code) {
        for stream in std::mem::take(&mut self.streams).into_keys() {
            self.outputs.push_back(Output::Reset { stream, code });
        }
        self.resets.clear();
        self.reset_oks.clear();
        self.credits.clear();
        self.ahead.clear();
        self.paced.clear();
        self.pace.restart();
    }

    pub(super) fn has_transport(&self) -> bool {
        matches!(self.phase, Phase::Steady | Phase::Resuming { .. })
    }

    /// Whether an OPEN of this number can have reached the peer at any time.
    fn peer_may_know(&self, id: StreamId) -> bool {
        let the_peer_said_what_it_knows =
            matches!(self.phase, Phase::Steady | Phase::Resuming { heard: true, .. });
        match self.role {
            Role::Broker if the_peer_said_what_it_knows => id.0 < self.opened,
            Role::Broker => id.0 < self.ever_opened,
            Role::Agent => id.0 < self.next_stream,
        }
    }

    pub(super) fn window_at_first(&self, class: Class) -> u64 {
        match class {
            Class::Interactive => self.config.window_interactive.into(),
            Class::Bulk => WINDOW_BULK_START.min(self.config.window_bulk_max.into()),
        }
    }

    pub(super) fn window_max(&self, class: Class) -> u64 {
        match class {
            Class::Interactive => self.config.window_interactive.into(),
            Class::Bulk => self.config.window_bulk_max.into(),
        }
    }

    /// Lets the stream have its turn to send, if it has anything.
    pub(super) fn take_turn(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id).filter(|stream| stream.outbound.is_ready()) else {
            return;
        };
        if stream.class == Class::Bulk || stream.outbound.in_flight() >= AHEAD_MAX {
            self.ahead.remove(id);
            self.paced.add(id);
        } else {
            self.paced.remove(id);
            self.ahead.add(id);
        }
    }

    pub(super) fn forget_if_over(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.forget(id);
        }
    }

    /// Removes every trace of a stream; says whether there was one.
    pub(super) fn forget(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.remove(&id) else {
            return false;
        };
        self.pace.forget(stream.outbound.in_flight());
        self.credits.remove(id);
        self.ahead.remove(id);
        self.paced.remove(id);
        true
    }

    /// By how much bulk windows may still grow.
    pub(super) fn spare_window(&self) -> u64 {
        let bulk = self.streams.values().filter(|stream| stream.class == Class::Bulk);
        let learned: u64 = bulk.map(|stream| stream.inbound.learned()).sum();
        (BULK_WINDOWS * u64::from(self.config.window_bulk_max)).saturating_sub(learned)
    }
}
