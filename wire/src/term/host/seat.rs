//! One attached viewer: how far it is, what waits to be sent to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::ring::Ring;
use super::{HostConfig, ViewerId};
use crate::term::frame::{Gap, HostControl, HostFrame, ViewerRole};

/// More control messages than this never wait for a viewer that reads: of those that tell a
/// state only the latest is kept.
const CONTROL_MAX: usize = 64;

/// What a viewer gets of the output.
#[derive(Debug)]
pub(super) enum Stage {
    /// It gets the output from `Seat::sent` on.
    Streaming,
    /// It gets nothing until a snapshot is there. `missed`: from where on output is gone for it.
    /// `attached`: its first message, which waits for the snapshot's offset.
    NeedsSnapshot { missed: Option<u64>, attached: Option<Box<HostControl>> },
    /// Its connection is to be closed; only what waits in `control` still goes out.
    Closing,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: ViewerId,
    pub(super) key: Arc<str>,
    pub(super) who: String,
    pub(super) role: ViewerRole,
    pub(super) stage: Stage,
    /// The next offset to be sent.
    pub(super) sent: u64,
    /// Output below this was parsed.
    pub(super) acked: u64,
    /// The offset of a snapshot that was sent and is not yet parsed.
    pub(super) snapshot_unparsed: Option<u64>,
    pub(super) resize_seq: Option<u32>,
    pub(super) told_that_it_only_watches: bool,
    /// Nobody looks at its page.
    pub(super) hidden: bool,
    /// Until when bytes may wait for company.
    pub(super) hold_until: Option<Instant>,
    /// When it last came further: attached, or acknowledged something.
    pub(super) progress: Instant,
    /// `Transmit` was given and `poll_transmit` has not come to an end since.
    pub(super) announced: bool,
    control: VecDeque<HostControl>,
    /// When its input is to be acknowledged: at once with any output, so that a key and its echo take two
    /// messages, or a moment later.
    in_ack: Option<Instant>,
    pong: Option<u32>,
    snapshot: Option<HostFrame>,
}

/// What is to be sent before any output.
#[derive(Debug)]
pub(super) enum Waiting {
    Frame(HostFrame),
    InAck,
    Pong(u32),
}

/// A viewer that does not read what it is told.
#[derive(Debug)]
pub(super) struct Overloaded;

impl Seat {
    pub(super) fn new(id: ViewerId, key: Arc<str>, who: String, role: ViewerRole, now: Instant) -> Self {
        Self {
            id,
            key,
            who,
            role,
            stage: Stage::Closing,
            sent: 0,
            acked: 0,
            snapshot_unparsed: None,
            resize_seq: None,
            told_that_it_only_watches: false,
            hidden: false,
            hold_until: None,
            progress: now,
            announced: false,
            control: VecDeque::new(),
            in_ack: None,
            pong: None,
            snapshot: None,
        }
    }

    /// Puts the first message in front of what it was told meanwhile.
    pub(super) fn greet(&mut self, attached: HostControl) {
        self.control.push_front(attached);
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    pub(super) fn tell(&mut self, control: HostControl) -> Result<(), Overloaded> {
        if tells_a_state(&control) {
            let kind = std::mem::discriminant(&control);
            self.control.retain(|waiting| std::mem::discriminant(waiting) != kind);
        }
        if self.control.len() >= CONTROL_MAX {
            return Err(Overloaded);
        }
        self.control.push_back(control);
        Ok(())
    }

    pub(super) fn ping(&mut self, nonce: u32) {
        self.pong = Some(nonce);
    }

    /// Output goes on at `offset`, of which nothing is in flight.
    pub(super) fn stream_from(&mut self, offset: u64) {
        self.stage = Stage::Streaming;
        self.sent = offset;
        self.acked = offset;
        self.hold_until = None;
    }

    /// Output that was to be sent next is gone from the ring. A snapshot that waits is still sent:
    /// it was promised, and the gap is counted from there.
    pub(super) fn fall_out(&mut self) {
        self.hold_until = None;
        self.stage = Stage::NeedsSnapshot { missed: Some(self.sent), attached: None };
    }

    pub(super) fn needs_snapshot(&self) -> bool {
        matches!(self.stage, Stage::NeedsSnapshot { .. })
    }

    /// Whether a snapshot is of use now: a viewer that lags gets the next one not before it has
    /// parsed the last one and has room for more.
    pub(super) fn may_be_rebuilt(&self, config: &HostConfig) -> bool {
        self.needs_snapshot() && self.snapshot_unparsed.is_none() && self.credit(config) > 0
    }

    /// Gives it the screen as of `offset`, and says first what it misses.
    pub(super) fn rebuild(&mut self, offset: u64, at_head: u64, (cols, rows): (u16, u16), bytes: Bytes) {
        let Stage::NeedsSnapshot { missed, attached } = std::mem::replace(&mut self.stage, Stage::Streaming)
        else {
            return;
        };
        let missing = missed.map(|from| Gap { from, to: offset });
        match (attached, missing) {
            (Some(mut attached), missing) => {
                if let HostControl::Attached { from, head, gap, .. } = attached.as_mut() {
                    (*from, *head, *gap) = (offset, at_head, missing);
                }
                self.control.push_front(*attached);
            }
            (None, Some(gap)) => self.control.push_back(HostControl::Gap(gap)),
            (None, None) => {}
        }
        self.stream_from(offset);
        self.snapshot_unparsed = Some(offset);
        self.snapshot = Some(HostFrame::Snap { offset, cols, rows, bytes });
    }

    /// Whether nothing of the output up to `head` is left to be sent.
    pub(super) fn got_everything(&self, head: u64) -> bool {
        matches!(self.stage, Stage::Streaming) && self.snapshot.is_none() && self.sent == head
    }

    /// The last size wins, also when frames come twice.
    pub(super) fn is_newer(&mut self, seq: u32) -> bool {
        let newer = self.resize_seq.is_none_or(|last| (seq.wrapping_sub(last) as i32) > 0);
        if newer {
            self.resize_seq = Some(seq);
        }
        newer
    }

    /// The connection is to be closed; `last` is what it is still told.
    pub(super) fn close(&mut self, last: HostControl) {
        self.stage = Stage::Closing;
        self.hold_until = None;
        self.snapshot = None;
        if self.tell(last.clone()).is_err() {
            self.control.clear();
            self.control.push_back(last);
        }
    }

    /// It has parsed everything below `offset`. False: it cannot have.
    pub(super) fn acknowledged(&mut self, now: Instant, offset: u64) -> bool {
        if offset > self.sent {
            return false;
        }
        if offset > self.acked || self.snapshot_unparsed.is_some_and(|snapshot| offset >= snapshot) {
            self.progress = now;
        }
        self.acked = self.acked.max(offset);
        self.snapshot_unparsed = self.snapshot_unparsed.filter(|snapshot| offset < *snapshot);
        if self.acked == self.sent {
            self.hold_until = None;
        }
        true
    }

    /// Its input is to be acknowledged, then or before.
    pub(super) fn acknowledge_input(&mut self, until: Instant) {
        self.in_ack = Some(self.in_ack.map_or(until, |before| before.min(until)));
    }

    /// What may still be sent without an acknowledgement.
    pub(super) fn credit(&self, config: &HostConfig) -> usize {
        (config.window as usize).saturating_sub((self.sent - self.acked) as usize)
    }

    /// Output came in. The first bytes after idle go at once; while something is in flight, more
    /// wait a moment for company, so that a flood makes few and large frames.
    pub(super) fn output_came(&mut self, now: Instant, head: u64, config: &HostConfig) {
        let in_flight = self.sent > self.acked;
        let few = head - self.sent < config.out_bytes_max as u64;
        if self.hold_until.is_none() && in_flight && few {
            self.hold_until = Some(now + config.coalesce);
        }
    }

    /// Output that was not sent yet.
    fn waiting(&self, ring: &Ring) -> usize {
        (ring.head() - self.sent).min(usize::MAX as u64) as usize
    }

    /// How much output may go out now.
    fn sendable(&self, now: Instant, ring: &Ring, config: &HostConfig) -> usize {
        if !matches!(self.stage, Stage::Streaming) || self.snapshot.is_some() {
            return 0;
        }
        let waiting = self.waiting(ring);
        let holds = self.hold_until.is_some_and(|until| now < until) && waiting < config.out_bytes_max;
        if holds { 0 } else { self.admitted(waiting, config) }
    }

    /// How much of what waits goes in one frame. What the window would cut to little waits for an acknowledgement, or
    /// each window would from then on end in a small frame (RFC 1122 section 4.2.3.4).
    fn admitted(&self, waiting: usize, config: &HostConfig) -> usize {
        let wanted = waiting.min(config.out_bytes_max);
        let credit = self.credit(config);
        let is_cut_to_little = credit < wanted.min(config.window as usize / 2);
        if is_cut_to_little { 0 } else { wanted.min(credit) }
    }

    pub(super) fn has_something(&self, now: Instant, ring: &Ring, config: &HostConfig) -> bool {
        if self.waits_for_its_first_message() {
            return false;
        }
        let acknowledges = self.in_ack.is_some_and(|until| until <= now);
        let answers = !self.is_closing() && (acknowledges || self.pong.is_some());
        let waits = !self.control.is_empty() || answers || self.snapshot.is_some();
        waits || self.sendable(now, ring, config) > 0
    }

    /// Nothing goes to a viewer before its `attached`.
    fn waits_for_its_first_message(&self) -> bool {
        matches!(self.stage, Stage::NeedsSnapshot { attached: Some(_), .. })
    }

    /// When held bytes, or an acknowledgement, are to go.
    pub(super) fn deadline(&self, ring: &Ring, config: &HostConfig) -> Option<Instant> {
        let goes = matches!(self.stage, Stage::Streaming) && self.admitted(self.waiting(ring), config) > 0;
        let held = self.hold_until.filter(|_| goes);
        let answer = self.in_ack.filter(|_| !self.is_closing() && !self.waits_for_its_first_message());
        held.into_iter().chain(answer).min().filter(|_| !self.announced)
    }

    /// The next of everything but output, in the order of its urgency.
    pub(super) fn next_message(&mut self, now: Instant, ring: &Ring, config: &HostConfig) -> Option<Waiting> {
        if self.waits_for_its_first_message() {
            return None;
        }
        if let Some(control) = self.control.pop_front() {
            return Some(Waiting::Frame(HostFrame::Control(control)));
        }
        if self.is_closing() {
            return None;
        }
        let output_goes = self.sendable(now, ring, config) > 0;
        if self.in_ack.take_if(|until| output_goes || *until <= now).is_some() {
            return Some(Waiting::InAck);
        }
        let pong = self.pong.take().map(Waiting::Pong);
        pong.or_else(|| self.snapshot.take().map(Waiting::Frame))
    }

    pub(super) fn next_out(&mut self, now: Instant, ring: &Ring, config: &HostConfig) -> Option<HostFrame> {
        let length = self.sendable(now, ring, config);
        if length == 0 {
            return None;
        }
        let (offset, bytes) = (self.sent, ring.read(self.sent, length));
        self.sent += bytes.len() as u64;
        let left = ring.head() - self.sent;
        if left == 0 {
            self.hold_until = None;
        } else if left < config.out_bytes_max as u64 && self.hold_until.is_none_or(|until| until <= now) {
            // The rest of what was cut: it was held already, or it is the tail of a flood.
            self.hold_until = Some(now + config.coalesce);
        }
        Some(HostFrame::Out { offset, bytes })
    }
}

/// Messages of which only the latest matters.
fn tells_a_state(control: &HostControl) -> bool {
    use HostControl::{Device, Live, Role, Size, Viewers};
    matches!(control, Size { .. } | Device { .. } | Viewers { .. } | Role { .. } | Live)
}
