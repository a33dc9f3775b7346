//! What was typed and pasted, until the program has it.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::link::Violation;
use crate::term::frame::{ViewerFrame, out_of_place};

/// The most input in one IN: a Ctrl-C never waits behind more than this.
const PIECE_BYTES_MAX: usize = 8 * 1024;
/// What of the window is left to the keyboard: a paste does not fill it to the brim.
const KEYBOARD_RESERVE: usize = 8 * 1024;
/// More than this is not queued: 16 pastes of the size that people complain about.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// Ctrl-C, Ctrl-Z, Ctrl-\.
const INTERRUPTS: &[u8] = &[0x03, 0x1a, 0x1c];

enum Queued {
    Typed(Bytes),
    Paste { bytes: Bytes, sent: usize, bracketed: bool },
}

impl Queued {
    fn bytes(&mut self) -> &mut Bytes {
        match self {
            Self::Typed(bytes) | Self::Paste { bytes, .. } => bytes,
        }
    }
}

/// A paste that an interrupt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cancelled {
    pub(super) sent: usize,
    pub(super) dropped: usize,
}

#[derive(Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Queued>,
    queued: usize,
    /// Input from `acked` on that has an offset, kept until it is taken.
    kept: BytesMut,
    acked: u64,
    /// How far it was sent on this connection.
    sent: u64,
    window: usize,
    since: Option<Instant>,
}

impl Outgoing {
    /// The offset of the next new byte.
    pub(super) fn next(&self) -> u64 {
        self.acked + self.kept.len() as u64
    }

    /// How many bytes the program has not taken, and since when that did not change for the better.
    pub(super) fn waiting(&self) -> (usize, Option<Instant>) {
        (self.queued + self.kept.len(), self.since)
    }

    pub(super) fn typed(&mut self, now: Instant, bytes: Bytes) -> (bool, Option<Cancelled>) {
        if bytes.is_empty() || self.queued + bytes.len() > QUEUE_BYTES_MAX {
            return (bytes.is_empty(), None);
        }
        let interrupts = bytes.iter().any(|byte| INTERRUPTS.contains(byte));
        let cancelled = if interrupts { self.cancel_paste() } else { None };
        self.enqueue(now, Queued::Typed(bytes));
        (true, cancelled)
    }

    pub(super) fn pasted(&mut self, now: Instant, bytes: Bytes) -> bool {
        if bytes.is_empty() || self.queued + bytes.len() > QUEUE_BYTES_MAX {
            return bytes.is_empty();
        }
        let bracketed = bytes.starts_with(PASTE_BEGIN) && bytes.ends_with(PASTE_END);
        self.enqueue(now, Queued::Paste { bytes, sent: 0, bracketed });
        true
    }

    fn enqueue(&mut self, now: Instant, mut queued: Queued) {
        self.queued += queued.bytes().len();
        self.queue.push_back(queued);
        self.since.get_or_insert(now);
    }

    /// Drops every paste that is not yet sent. One that the program has begun to read as a
    /// bracketed paste is brought to its end, or the interrupt would become a part of it.
    fn cancel_paste(&mut self) -> Option<Cancelled> {
        let mut cancelled = Cancelled { sent: 0, dropped: 0 };
        self.queue.retain_mut(|queued| {
            let Queued::Paste { bytes, sent, bracketed } = queued else { return true };
            let ends = *bracketed && *sent > 0;
            let rest = if ends { PASTE_END.len().min(bytes.len()) } else { 0 };
            cancelled.sent += *sent;
            cancelled.dropped += bytes.len() - rest;
            // From here on it is worth as much as a key, and may use the room of the keyboard.
            *queued = Queued::Typed(bytes.split_off(bytes.len() - rest));
            rest > 0
        });
        self.queued -= cancelled.dropped;
        (cancelled.dropped > 0).then_some(cancelled)
    }

    /// A new connection: everything from `in_ack` on is sent again.
    pub(super) fn attached(&mut self, now: Instant, in_ack: u64, window: usize) -> Result<(), Violation> {
        if in_ack < self.acked {
            return Err(out_of_place("the host wants input again that it had acknowledged"));
        }
        self.window = window;
        if in_ack > self.next() {
            // Another life of this tab typed it; nothing of ours is missing there.
            self.kept.clear();
            self.acked = in_ack;
        } else {
            self.forget_below(now, in_ack);
        }
        self.sent = self.acked;
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, now: Instant, offset: u64) -> Result<(), Violation> {
        // What a former connection brought may be acknowledged before it is sent again on this one.
        if offset > self.next() {
            return Err(out_of_place("the host acknowledges input that was never sent"));
        }
        self.forget_below(now, offset);
        self.sent = self.sent.max(self.acked);
        Ok(())
    }

    fn forget_below(&mut self, now: Instant, offset: u64) {
        if offset > self.acked {
            self.kept.advance((offset - self.acked) as usize);
            self.acked = offset;
            self.since = (self.queued + self.kept.len() > 0).then_some(now);
        }
    }

    /// What was sent under the old key is given up; what is queued stays.
    pub(super) fn start_over(&mut self) {
        self.kept.clear();
        (self.acked, self.sent) = (0, 0);
        if self.queued == 0 {
            self.since = None;
        }
    }

    /// Whether `next_frame` has something.
    pub(super) fn has_next(&mut self) -> bool {
        if self.sent == self.next() {
            self.take_from_queue();
        }
        self.sent < self.next()
    }

    pub(super) fn next_frame(&mut self) -> Option<ViewerFrame> {
        if !self.has_next() {
            return None;
        }
        let from = (self.sent - self.acked) as usize;
        let piece = &self.kept[from..self.kept.len().min(from + PIECE_BYTES_MAX)];
        let (offset, bytes) = (self.sent, Bytes::copy_from_slice(piece));
        self.sent += bytes.len() as u64;
        Some(ViewerFrame::In { offset, bytes })
    }

    /// Gives the front of the queue its offset, as far as the window goes.
    fn take_from_queue(&mut self) {
        let Some(front) = self.queue.front_mut() else { return };
        let reserve = if matches!(front, Queued::Paste { .. }) { KEYBOARD_RESERVE } else { 0 };
        let room = self.window.saturating_sub(reserve).saturating_sub(self.kept.len());
        let length = front.bytes().len().min(PIECE_BYTES_MAX).min(room);
        let piece = front.bytes().split_to(length);
        if let Queued::Paste { sent, .. } = front {
            *sent += length;
        }
        if front.bytes().is_empty() {
            self.queue.pop_front();
        }
        self.queued -= length;
        self.kept.extend_from_slice(&piece);
    }
}

impl Debug for Outgoing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { acked, sent, queued, .. } = self;
        write!(f, "Outgoing(acked {acked}, sent {sent}, next {}, {queued} bytes queued)", self.next())
    }
}
