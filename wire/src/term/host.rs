//! The host side: owns the output ring, the viewers' cursors and credit, and the input offsets.
//! It runs in the broker (plain shell) and will run in the keeper.
//!
//! Its driver feeds one [`HostInput`], takes every [`HostOutput`], sends what `poll_transmit`
//! gives while a connection has room, and comes back at `poll_timeout`. It feeds its emulator
//! with the same output in the same order, so that a snapshot fits the offset it is given for.
//!
//! - One viewer types and sizes, the driver; the newest wins. The one before it is told who took
//!   over and closed with `TAKEN_OVER`; a connection that the same tab replaces is closed with
//!   `CANCELLED`. Whoever is closed is heard no more, but is still to be reported as `Left`.
//! - Only what the driver has not parsed closes the gate, and still does for `driver_back_within`
//!   after its connection broke; then the program goes on and the oldest output goes. A page that
//!   is hidden and stands still, because browsers let such pages sleep, is not waited for either.
//! - A viewer that falls out of the ring is told the gap and gets a snapshot, and the next one not
//!   before it has parsed that one.
//! - What came from a key is remembered when its connection goes, so that it goes on there.
//! - A key that is behind what was taken from it has lost its memory (a reload): it goes on from
//!   there as well. Of a key that nobody remembers the word is taken.
//! - Input of a watcher is dropped, acknowledged, and answered once with a notice.
//! - `Step`, `Live` and `Device` are told again to whoever attaches later.
//! - After `Ended` everything that is left is delivered, then the ending is told and the
//!   connection closed with the ending's code. A viewer that stands still for 10 s gets the ending at once;
//!   so does everybody 500 ms after a kill, because that is an order and not a farewell.

mod face;
mod input;
mod ring;
mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::face::{Attach, HostConfig, HostInput, HostOutput, ViewerId};
use self::input::{Input, Refused};
use self::ring::Ring;
use self::seat::{Seat, Stage, Waiting};
use super::frame::{
    HostControl, HostFrame, SNAP_BYTES_MAX, Size, Step, ViewerControl, ViewerFrame, ViewerRole,
};
use crate::{Code, Ending};

/// How long a viewer that stands still may keep the ending waiting.
const ENDING_WAITS: Duration = Duration::from_secs(10);
/// How long a hidden page may stand still before the program goes on without it: it wakes every
/// second at first, and once a minute after some minutes.
const HIDDEN_WAITS: Duration = Duration::from_secs(10);
/// How long an acknowledgement of input waits for output to go with.
const IN_ACK_WAITS: Duration = Duration::from_millis(10);
/// How long the rest of the output may keep a kill waiting.
const KILL_WAITS: Duration = Duration::from_millis(500);

/// What is told again to whoever attaches later.
#[derive(Debug, Default)]
struct Told {
    steps: Vec<(Step, u32)>,
    live: bool,
    device: Option<HostControl>,
}

/// The session's output, its viewers and their input.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    ring: Ring,
    input: Input,
    size: Size,
    seats: BTreeMap<ViewerId, Seat>,
    /// `Left` may come later than the seat's end, and ids are never used twice.
    newest: Option<ViewerId>,
    driver: Option<ViewerId>,
    /// How far the last driver had parsed; what `hold` counts from.
    parsed_by_driver: u64,
    /// Until when the program waits for a driver whose connection broke.
    driver_awaited: Option<Instant>,
    gate_open: bool,
    snapshot_wanted: bool,
    told: Told,
    viewers_told: (usize, usize),
    device_rtt_us: u32,
    ended: Option<(Instant, Ending)>,
    outputs: VecDeque<HostOutput>,
}

impl Host {
    /// A host of a program that has written nothing yet.
    pub fn new(config: HostConfig, size: Size, _now: Instant) -> Self {
        Self {
            ring: Ring::new(config.ring_bytes),
            input: Input::new(config.viewers_remembered, u64::from(config.in_window)),
            config,
            size: size.clamped(),
            seats: BTreeMap::new(),
            newest: None,
            driver: None,
            parsed_by_driver: 0,
            driver_awaited: None,
            gate_open: true,
            snapshot_wanted: false,
            told: Told::default(),
            viewers_told: (0, 0),
            device_rtt_us: 0,
            ended: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Instant, input: HostInput) {
        match input {
            HostInput::Output(bytes) => self.output(now, &bytes),
            HostInput::Attach(attach) => self.attach(now, *attach),
            HostInput::Frame { viewer, frame } => self.frame(now, viewer, frame),
            HostInput::Left(viewer) => self.left(now, viewer),
            HostInput::Snapshot { offset, cols, rows, bytes } => self.snapshot(offset, cols, rows, &bytes),
            HostInput::InputTaken { total } => {
                let further = self.input.taken(total);
                self.acknowledge_input(now, &further);
            }
            HostInput::Tell(control) => self.tell_all(control),
            HostInput::Ended(ending) => {
                self.ended.get_or_insert((now, ending));
            }
        }
        self.settle(now);
    }

    /// To be called at `poll_timeout`, and harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// What is to be done, until there is nothing.
    pub fn poll_output(&mut self) -> Option<HostOutput> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.seats.values().filter_map(|seat| seat.deadline(&self.ring, &self.config));
        let ending = self.seats.values().filter_map(|seat| self.ending_due(seat));
        let awaited = self.driver_awaited.or_else(|| self.driver_sleeps_at());
        held.chain(ending).chain(awaited.filter(|_| !self.gate_open)).min()
    }

    /// The next frame for that viewer. To be called only when its connection has room: OUT frames
    /// are cut from the ring at that moment. Order: control, IN_ACK and PONG, SNAP, OUT.
    /// `poll_output` may have more afterwards: the last byte sent may be followed by the end.
    pub fn poll_transmit(&mut self, now: Instant, viewer: ViewerId) -> Option<HostFrame> {
        let seat = self.seats.get_mut(&viewer)?;
        match seat.next_message(now, &self.ring, &self.config) {
            Some(Waiting::Frame(frame)) => return Some(frame),
            Some(Waiting::InAck) => {
                let offset = self.input.acknowledge(&seat.key).unwrap_or(0);
                return Some(HostFrame::InAck { offset });
            }
            Some(Waiting::Pong(nonce)) => {
                let (device_rtt_us, head) = (self.device_rtt_us, self.ring.head());
                return Some(HostFrame::Pong { nonce, device_rtt_us, head });
            }
            None => {}
        }
        if let Some(out) = seat.next_out(now, &self.ring, &self.config) {
            return Some(out);
        }
        seat.announced = false;
        if self.finish_if_all_is_sent(now, viewer) {
            return self.poll_transmit(now, viewer);
        }
        None
    }

    /// The end of the output so far.
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// The offset of the oldest output that is kept.
    pub fn oldest(&self) -> u64 {
        self.ring.start()
    }

    /// The size that the program sees.
    pub fn size(&self) -> Size {
        self.size
    }

    /// For PONG.
    pub fn set_device_rtt(&mut self, rtt: Duration) {
        self.device_rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
    }

    fn output(&mut self, now: Instant, bytes: &[u8]) {
        if self.ended.is_some() || bytes.is_empty() {
            return;
        }
        self.ring.push(bytes);
        let (start, head) = (self.ring.start(), self.ring.head());
        for seat in self.seats.values_mut().filter(|seat| matches!(seat.stage, Stage::Streaming)) {
            if seat.sent < start {
                seat.fall_out();
            } else {
                seat.output_came(now, head, &self.config);
            }
        }
    }

    fn attach(&mut self, now: Instant, attach: Attach) {
        if self.newest.is_some_and(|newest| attach.viewer <= newest) {
            // The driver's fault, not a peer's: the id was used before.
            return self.close(attach.viewer, Code::PROTOCOL);
        }
        self.newest = Some(attach.viewer);
        let key = Arc::from(attach.key.as_str());
        let mut seat = Seat::new(attach.viewer, key, attach.who.clone(), attach.role, now);
        self.replace_same_key(&attach.key);
        let refused = if attach.have.is_some_and(|have| have > self.ring.head()) {
            Some(Code::PROTOCOL)
        } else {
            let attached = self.seats.values().filter(|seat| !seat.is_closing()).count();
            (attached >= self.config.viewers_max).then_some(Code::LIMIT)
        };
        if let Some(code) = refused {
            self.seats.insert(attach.viewer, seat);
            return self.close(attach.viewer, code);
        }
        if attach.role == ViewerRole::Driver {
            self.take_the_wheel(attach.viewer, &attach.who);
            self.resize(attach.size);
        }
        self.seat_at(&mut seat, attach);
        self.seats.insert(seat.id, seat);
        // Told even when the numbers are what they were before.
        self.viewers_told = (usize::MAX, usize::MAX);
    }

    /// Fills in the `attached` and says where output goes on.
    fn seat_at(&mut self, seat: &mut Seat, attach: Attach) {
        let in_next = self.input.attached(&seat.key, attach.in_next);
        let (start, at_head) = (self.ring.start(), self.ring.head());
        // Of a program that has written nothing the screen is known.
        let have = attach.have.or((at_head == 0).then_some(0)).filter(|have| *have >= start);
        let mut attached = attach.attached;
        if let HostControl::Attached { from, head, in_ack, gap, snapshot, size, role, .. } = &mut attached {
            (*from, *head, *in_ack) = (have.unwrap_or(at_head), at_head, in_next);
            (*gap, *snapshot, *size, *role) = (None, have.is_none(), self.size, attach.role);
        }
        self.told.retell(seat);
        match have {
            Some(have) => {
                seat.stream_from(have);
                seat.greet(attached);
            }
            None => {
                seat.stream_from(at_head);
                let attached = Some(Box::new(attached));
                seat.stage = Stage::NeedsSnapshot { missed: attach.have, attached };
            }
        }
    }

    /// The same tab came back before its old connection was found dead.
    fn replace_same_key(&mut self, key: &str) {
        let same = |seat: &&Seat| *seat.key == *key && !seat.is_closing();
        if let Some(old) = self.seats.values().find(same).map(|seat| seat.id) {
            self.unseat(old);
            self.seats.remove(&old);
            self.outputs.push_back(HostOutput::Close { viewer: old, code: Code::CANCELLED });
        }
    }

    fn take_the_wheel(&mut self, viewer: ViewerId, who: &str) {
        if let Some(old) = self.driver.filter(|old| *old != viewer) {
            self.close_saying(old, Code::TAKEN_OVER, HostControl::TakenOver { by: who.to_owned() });
        }
        self.driver = Some(viewer);
        self.driver_awaited = None;
    }

    fn left(&mut self, now: Instant, viewer: ViewerId) {
        if self.driver == Some(viewer) {
            self.driver_awaited = Some(now + self.config.driver_back_within);
        }
        self.unseat(viewer);
        self.seats.remove(&viewer);
    }

    /// Takes from a viewer what it had; its seat may stay for what is still to be told.
    fn unseat(&mut self, viewer: ViewerId) {
        let Some(seat) = self.seats.get(&viewer).filter(|seat| !seat.is_closing()) else { return };
        if self.driver == Some(viewer) {
            self.driver = None;
            self.parsed_by_driver = self.parsed_by_driver.max(seat.acked);
        }
        let key = seat.key.clone();
        self.input.left(&key);
    }

    fn close(&mut self, viewer: ViewerId, code: Code) {
        let error = HostControl::Error {
            code,
            text: code.sentence().to_owned(),
            remedy: code.remedy().to_owned(),
            request_id: None,
        };
        self.close_saying(viewer, code, error);
    }

    fn close_saying(&mut self, viewer: ViewerId, code: Code, last: HostControl) {
        self.unseat(viewer);
        if let Some(seat) = self.seats.get_mut(&viewer) {
            seat.close(last);
        }
        self.outputs.push_back(HostOutput::Close { viewer, code });
    }

    fn frame(&mut self, now: Instant, viewer: ViewerId, frame: ViewerFrame) {
        let Some(seat) = self.seats.get_mut(&viewer).filter(|seat| !seat.is_closing()) else { return };
        match frame {
            ViewerFrame::In { offset, bytes } => self.input(now, viewer, offset, bytes),
            ViewerFrame::Ack { offset } | ViewerFrame::Ping { acked: offset, .. }
                if !seat.acknowledged(now, offset) =>
            {
                self.close(viewer, Code::PROTOCOL);
            }
            ViewerFrame::Ack { .. } => {}
            ViewerFrame::Ping { nonce, .. } => seat.ping(nonce),
            ViewerFrame::Resize { seq, size } if self.driver == Some(viewer) && seat.is_newer(seq) => {
                self.resize(size);
            }
            ViewerFrame::Signal { number } if self.driver == Some(viewer) => {
                self.outputs.push_back(HostOutput::Signal { number });
            }
            ViewerFrame::Resize { .. } | ViewerFrame::Signal { .. } => {}
            ViewerFrame::Control(control) => self.control(viewer, control),
        }
    }

    fn control(&mut self, viewer: ViewerId, control: ViewerControl) {
        match control {
            ViewerControl::Hello { .. } => self.close(viewer, Code::PROTOCOL),
            ViewerControl::Detach => {
                self.unseat(viewer);
                self.seats.remove(&viewer);
                self.outputs.push_back(HostOutput::Close { viewer, code: Code::CANCELLED });
            }
            ViewerControl::TakeControl => {
                let who = self.seats.get(&viewer).map(|seat| seat.who.clone()).unwrap_or_default();
                self.take_the_wheel(viewer, &who);
                self.set_role(viewer, ViewerRole::Driver);
            }
            ViewerControl::RequestView => {
                if self.driver == Some(viewer) {
                    let acked = self.seats.get(&viewer).map_or(0, |seat| seat.acked);
                    self.parsed_by_driver = self.parsed_by_driver.max(acked);
                    self.driver = None;
                }
                self.set_role(viewer, ViewerRole::Watcher);
            }
            ViewerControl::Kill { reason } => {
                self.outputs.push_back(HostOutput::KillWanted { viewer, reason });
            }
            ViewerControl::Visibility { hidden } => {
                if let Some(seat) = self.seats.get_mut(&viewer) {
                    seat.hidden = hidden;
                }
            }
            ViewerControl::Leaving | ViewerControl::Unknown => {}
        }
    }

    fn set_role(&mut self, viewer: ViewerId, role: ViewerRole) {
        if let Some(seat) = self.seats.get_mut(&viewer) {
            seat.role = role;
        }
        self.tell(viewer, HostControl::Role { role });
    }

    fn input(&mut self, now: Instant, viewer: ViewerId, offset: u64, bytes: Bytes) {
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        let (key, ended) = (seat.key.clone(), self.ended.is_some());
        let accepted = if self.driver == Some(viewer) && !ended {
            self.input.accept(&key, offset, bytes)
        } else {
            let notice = !ended && !std::mem::replace(&mut seat.told_that_it_only_watches, true);
            let dropped = self.input.drop_unread(&key, offset, bytes).map(|()| Bytes::new());
            if notice {
                let text = "Somebody else types here; what you type is not sent.".to_owned();
                self.tell(viewer, HostControl::Notice { text });
            }
            dropped
        };
        match accepted {
            Ok(bytes) if bytes.is_empty() => {
                let mut further = self.input.settle();
                // Even a duplicate is answered: the acknowledgement of the first may be lost.
                further.push(key);
                self.acknowledge_input(now, &further);
            }
            Ok(bytes) => self.outputs.push_back(HostOutput::ToShell(bytes)),
            Err(Refused::OutOfPlace) => self.close(viewer, Code::PROTOCOL),
            Err(Refused::TooMuch) => self.close(viewer, Code::OVERLOADED),
        }
    }

    /// Soon, with the echo; at once where a viewer may be waiting for room.
    fn acknowledge_input(&mut self, now: Instant, keys: &[Arc<str>]) {
        for seat in self.seats.values_mut().filter(|seat| !seat.is_closing() && keys.contains(&seat.key)) {
            let presses = self.input.untold(&seat.key) >= u64::from(self.config.in_window) / 4;
            seat.acknowledge_input(if presses { now } else { now + IN_ACK_WAITS });
        }
    }

    fn resize(&mut self, size: Size) {
        let size = size.clamped();
        if size == self.size || self.ended.is_some() {
            return;
        }
        self.size = size;
        let offset = self.ring.head();
        self.outputs.push_back(HostOutput::Resize { size, offset });
        self.tell_all(HostControl::Size { size, offset });
    }

    fn tell_all(&mut self, control: HostControl) {
        self.told.remember(&control);
        let viewers: Vec<ViewerId> = self.seats.keys().copied().collect();
        for viewer in viewers {
            self.tell(viewer, control.clone());
        }
    }

    fn tell(&mut self, viewer: ViewerId, control: HostControl) {
        let Some(seat) = self.seats.get_mut(&viewer).filter(|seat| !seat.is_closing()) else { return };
        if seat.tell(control).is_err() {
            self.close(viewer, Code::OVERLOADED);
        }
    }

    /// Rebuilds every viewer that waits for it. A snapshot that the output has left behind
    /// meanwhile is of no use; `settle` asks for another.
    fn snapshot(&mut self, offset: u64, cols: u16, rows: u16, bytes: &Bytes) {
        self.snapshot_wanted = false;
        if bytes.len() > SNAP_BYTES_MAX {
            let waiting: Vec<ViewerId> =
                self.seats.values().filter(|seat| seat.needs_snapshot()).map(|seat| seat.id).collect();
            return waiting.into_iter().for_each(|viewer| self.close(viewer, Code::INTERNAL));
        }
        let reachable = self.ring.start()..=self.ring.head();
        if !reachable.contains(&offset) {
            return;
        }
        let head = self.ring.head();
        for seat in self.seats.values_mut().filter(|seat| seat.may_be_rebuilt(&self.config)) {
            seat.rebuild(offset, head, (cols, rows), bytes.clone());
        }
    }

    /// What follows from everything that may just have changed.
    fn settle(&mut self, now: Instant) {
        self.want_snapshot();
        self.count_viewers();
        self.end_viewers(now);
        self.turn_gate(now);
        self.announce(now);
    }

    fn want_snapshot(&mut self) {
        let config = &self.config;
        let wanted = self.seats.values().any(|seat| seat.may_be_rebuilt(config));
        if wanted && !self.snapshot_wanted {
            self.snapshot_wanted = true;
            self.outputs.push_back(HostOutput::SnapshotWanted);
        }
    }

    fn count_viewers(&mut self) {
        let attached = self.seats.values().filter(|seat| !seat.is_closing()).count();
        let drivers = usize::from(self.driver.is_some());
        let watchers = attached.saturating_sub(drivers);
        if self.viewers_told != (drivers, watchers) {
            self.viewers_told = (drivers, watchers);
            self.outputs.push_back(HostOutput::Viewers { drivers, watchers });
            let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
            let (drivers, watchers) = (count(drivers), count(watchers));
            self.tell_all(HostControl::Viewers { drivers, watchers });
        }
    }

    /// When a viewer is told the ending although it has not got everything.
    fn ending_due(&self, seat: &Seat) -> Option<Instant> {
        let (at, ending) = self.ended.as_ref()?;
        if seat.is_closing() {
            return None;
        }
        match ending.code {
            Code::KILLED => Some(*at + KILL_WAITS),
            _ => Some(seat.progress.max(*at) + ENDING_WAITS),
        }
    }

    fn end_viewers(&mut self, now: Instant) {
        if self.ended.is_none() {
            return;
        }
        let viewers: Vec<ViewerId> = self.seats.keys().copied().collect();
        for viewer in viewers {
            self.finish_if_all_is_sent(now, viewer);
        }
    }

    fn finish_if_all_is_sent(&mut self, now: Instant, viewer: ViewerId) -> bool {
        let (Some((_, ending)), Some(seat)) = (&self.ended, self.seats.get(&viewer)) else { return false };
        let due = self.ending_due(seat).is_some_and(|due| due <= now);
        let finished = !seat.is_closing() && (due || seat.got_everything(self.ring.head()));
        if finished {
            let (code, ending) = (ending.code, ending.clone());
            self.close_saying(viewer, code, HostControl::Ended { ending });
        }
        finished
    }

    /// When the driver counts as asleep, if its page is hidden.
    fn driver_sleeps_at(&self) -> Option<Instant> {
        let seat = self.seats.get(&self.driver?)?;
        (seat.hidden && !self.config.hold).then_some(seat.progress + HIDDEN_WAITS)
    }

    fn turn_gate(&mut self, now: Instant) {
        self.driver_awaited = self.driver_awaited.filter(|until| now < *until);
        let head = self.ring.head();
        let unread = match self.driver.and_then(|driver| self.seats.get(&driver)) {
            Some(_) if self.driver_sleeps_at().is_some_and(|at| at <= now) => 0,
            Some(seat) => head - seat.acked,
            None if self.config.hold || self.driver_awaited.is_some() => head - self.parsed_by_driver,
            None => 0,
        };
        let open = if self.gate_open {
            unread <= self.config.gate_high as u64
        } else {
            unread < self.config.gate_low as u64
        };
        if open != self.gate_open {
            self.gate_open = open;
            self.outputs.push_back(HostOutput::Gate { open });
        }
    }

    fn announce(&mut self, now: Instant) {
        for seat in self.seats.values_mut() {
            if !seat.announced && seat.has_something(now, &self.ring, &self.config) {
                seat.announced = true;
                self.outputs.push_back(HostOutput::Transmit(seat.id));
            }
        }
    }
}

impl Told {
    fn remember(&mut self, control: &HostControl) {
        match control {
            HostControl::Step { step, ms } => {
                self.steps.retain(|(told, _)| told != step);
                self.steps.push((*step, *ms));
            }
            HostControl::Live => self.live = true,
            HostControl::Device { .. } => self.device = Some(control.clone()),
            _ => {}
        }
    }

    fn retell(&self, seat: &mut Seat) {
        let steps = self.steps.iter().map(|(step, ms)| HostControl::Step { step: *step, ms: *ms });
        let live = self.live.then_some(HostControl::Live);
        for control in steps.chain(live).chain(self.device.clone()) {
            seat.tell(control).expect("a new seat has room for 7 messages");
        }
    }
}
