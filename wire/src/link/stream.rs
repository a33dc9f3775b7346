//! One stream at one end of the link: what it sends, and what it receives.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::frame::{ACK_BYTES, ACK_FRAMES};
use super::ring::Ring;
use super::{Class, Target, Violation};
use crate::StreamId;

/// What a bulk stream has under way at first.
pub(super) const WINDOW_BULK_START: u64 = 256 * 1024;

/// `Writable` is told when there is room for this many bytes, so that writers come back for more
/// than a few at once.
const ROOM_WORTH_TELLING: usize = 16 * 1024;

/// Smaller pieces than this are put together while nobody reads them, so that a peer's tiny
/// frames cannot hold many times their size in memory.
const PIECE_MIN: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) target: Target,
    pub(super) class: Class,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
}

impl Stream {
    /// Whether nothing remains to be said or read: the peer has all of ours and knows that we
    /// have all of its own.
    pub(super) fn is_over(&self) -> bool {
        self.outbound.fin == Fin::Acknowledged && self.inbound.is_over()
    }
}

/// The direction from us to the peer.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) ring: Ring,
    /// The next byte to send on this transport.
    pub(super) sent: u64,
    /// How far the peer lets us go.
    pub(super) limit: u64,
    pub(super) fin: Fin,
    /// How much the ring holds at most.
    window: u64,
    /// A writer waits for room.
    writer_waits: bool,
}

/// How far the end of our direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    /// More may be written.
    No,
    /// No more will be written.
    Wanted,
    /// FIN was sent on this transport.
    Sent,
    /// The peer has all.
    Acknowledged,
}

impl Outbound {
    pub(super) fn new(stream: StreamId, limit: u64, window: u64) -> Self {
        let ring = Ring::new(stream);
        Self { ring, sent: 0, limit, fin: Fin::No, window, writer_waits: false }
    }

    /// Takes as many of the bytes as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8], window_max: u64, chunk_max: usize) -> usize {
        // What the peer lets us send is the window it has learned: no use to hold much more.
        let learned = self.limit.saturating_sub(self.ring.start()).max(WINDOW_BULK_START);
        self.window = learned.min(window_max);
        let taken = self.ring.room(self.window).min(bytes.len());
        self.ring.append(&bytes[..taken], chunk_max);
        self.writer_waits |= taken < bytes.len();
        taken
    }

    /// Whether a frame can go out.
    pub(super) fn is_ready(&self) -> bool {
        self.has_sendable_bytes() || self.fin_is_next()
    }

    pub(super) fn has_sendable_bytes(&self) -> bool {
        self.sent < self.ring.end() && self.sent < self.limit
    }

    pub(super) fn fin_is_next(&self) -> bool {
        self.fin == Fin::Wanted && self.sent == self.ring.end()
    }

    /// The next DATA frame, when there are sendable bytes.
    pub(super) fn next_data(&mut self, frame_max: usize) -> Bytes {
        let allowed = (self.limit - self.sent).min(frame_max as u64) as usize;
        let frame = self.ring.frame_at(self.sent, allowed);
        self.sent += (frame.len() - super::frame::DATA_HEADER) as u64;
        frame
    }

    /// How many bytes were sent and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.ring.start()
    }

    /// The peer has everything before `received`, and lets us go up to `limit`. Says how many
    /// bytes are newly acknowledged.
    pub(super) fn credit(&mut self, received: u64, limit: u64, finished: bool) -> Result<u64, Violation> {
        if received < self.ring.start() || received > self.sent {
            return Err(Violation::of("an acknowledgement of what was not sent, or a withdrawn one"));
        }
        if limit < self.limit {
            return Err(Violation::of("a withdrawn credit"));
        }
        if finished {
            if received != self.ring.end() || !matches!(self.fin, Fin::Sent | Fin::Acknowledged) {
                return Err(Violation::of("an acknowledgement of a FIN that was not sent"));
            }
            self.fin = Fin::Acknowledged;
        }
        let newly = received - self.ring.start();
        self.ring.release(received);
        self.limit = limit;
        Ok(newly)
    }

    /// A new transport: what the peer has not, is to be sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = self.ring.start();
        if self.fin == Fin::Sent {
            self.fin = Fin::Wanted;
        }
    }

    /// The peer has finished with the stream and forgotten it; can that be?
    pub(super) fn peer_has_all(&mut self) -> bool {
        let all_was_sent = self.sent == self.ring.end() && matches!(self.fin, Fin::Sent | Fin::Acknowledged);
        if all_was_sent {
            self.ring.release(self.sent);
            self.fin = Fin::Acknowledged;
        }
        all_was_sent
    }

    /// Whether a waiting writer is to be told of room, once.
    pub(super) fn takes_writable(&mut self) -> bool {
        let room = self.ring.room(self.window);
        let tell = self.writer_waits && room >= ROOM_WORTH_TELLING.min(self.window as usize / 2);
        self.writer_waits &= !tell;
        tell
    }
}

/// The direction from the peer to us.
pub(super) struct Inbound {
    pieces: VecDeque<Bytes>,
    /// Small pieces that are put together; they come after `pieces`.
    tail: BytesMut,
    /// Every byte before has arrived.
    pub(super) received: u64,
    /// Every byte before was read.
    read: u64,
    window: u64,
    /// What the peer was last told, on any transport.
    pub(super) limit_told: u64,
    received_told: u64,
    frames_untold: u32,
    /// The peer has asked how far we are.
    asked: bool,
    /// FIN has arrived.
    pub(super) finished: bool,
    fin_told: bool,
    end_was_read: bool,
    /// A reader waits for `Readable`.
    reader_waits: bool,
    /// When and where the window's worth of bytes began to be read that is being measured.
    round: Option<(Instant, u64)>,
}

/// What is told of the direction in CREDIT and RESUME.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) received: u64,
    pub(super) limit: u64,
    pub(super) finished: bool,
}

/// What there is to read.
pub(super) enum Piece {
    Data(Bytes),
    Pending,
    End,
}

impl fmt::Debug for Inbound {
    /// Without the bytes: nobody may find in a log what a person typed or saw.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("received", &self.received)
            .field("read", &self.read)
            .field("limit_told", &self.limit_told)
            .field("finished", &self.finished)
            .field("fin_told", &self.fin_told)
            .field("end_was_read", &self.end_was_read)
            .finish_non_exhaustive()
    }
}

impl Inbound {
    pub(super) fn new(window: u64, limit_told: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: BytesMut::new(),
            received: 0,
            read: 0,
            window,
            limit_told,
            received_told: 0,
            frames_untold: 0,
            asked: false,
            finished: false,
            fin_told: false,
            end_was_read: false,
            reader_waits: true,
            round: None,
        }
    }

    pub(super) fn data(&mut self, offset: u64, bytes: Bytes) -> Result<(), Violation> {
        if self.finished {
            return Err(Violation::of("DATA after FIN"));
        }
        if offset != self.received {
            return Err(Violation::of("DATA at another offset than the next"));
        }
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.limit_told);
        self.received = end.ok_or(Violation::of("DATA beyond the window"))?;
        self.frames_untold += 1;
        self.keep(bytes);
        Ok(())
    }

    fn keep(&mut self, bytes: Bytes) {
        let someone_is_behind = !self.tail.is_empty() || !self.pieces.is_empty();
        if someone_is_behind && bytes.len() < PIECE_MIN {
            self.tail.extend_from_slice(&bytes);
            if self.tail.len() >= PIECE_MIN {
                self.pieces.push_back(self.tail.split().freeze());
            }
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(bytes);
    }

    pub(super) fn fin(&mut self, offset: u64) -> Result<(), Violation> {
        if self.finished {
            return Err(Violation::of("FIN after FIN"));
        }
        if offset != self.received {
            return Err(Violation::of("FIN at another offset than the next"));
        }
        self.finished = true;
        Ok(())
    }

    /// Whether a waiting reader is to be told, once.
    pub(super) fn takes_readable(&mut self) -> bool {
        std::mem::take(&mut self.reader_waits)
    }

    /// At most `max` bytes of what has arrived.
    pub(super) fn read(&mut self, max: usize) -> Piece {
        if self.pieces.is_empty() && !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        let Some(first) = self.pieces.front_mut() else {
            if self.finished {
                self.end_was_read = true;
                return Piece::End;
            }
            self.reader_waits = true;
            return Piece::Pending;
        };
        let piece = if first.len() <= max {
            self.pieces.pop_front().unwrap_or_default()
        } else {
            first.split_to(max)
        };
        self.read += piece.len() as u64;
        Piece::Data(piece)
    }

    /// How much room the stream gives to the peer beyond what every stream has.
    pub(super) fn learned(&self) -> u64 {
        self.window.saturating_sub(WINDOW_BULK_START)
    }

    /// Grows the window, by `spare` at most, when it is what holds the peer up: when all of it was
    /// read within two round trips.
    pub(super) fn learn(&mut self, now: Instant, rtt: Duration, max: u64, spare: u64) {
        let (began, from) = *self.round.get_or_insert((now, self.read));
        if self.read < from + self.window {
            return;
        }
        self.round = Some((now, self.read));
        if now.saturating_duration_since(began) <= rtt * 2 {
            self.window += self.window.min(max.saturating_sub(self.window)).min(spare);
        }
    }

    /// The peer asks how far we are; says whether it does not know already.
    pub(super) fn is_asked(&mut self) -> bool {
        self.asked = self.received > self.received_told && !self.finished;
        self.asked
    }

    /// Whether the peer waits to hear how far we are. After an acknowledged FIN it may have
    /// forgotten the stream, and nothing more is told.
    pub(super) fn owes_credit(&self) -> bool {
        if self.finished {
            return !self.fin_told;
        }
        self.asked
            || self.received - self.received_told >= ACK_BYTES
            || self.frames_untold >= ACK_FRAMES
            || self.limit() - self.limit_told >= self.window / 4
    }

    fn limit(&self) -> u64 {
        (self.read + self.window).max(self.limit_told)
    }

    /// What is to be told now; takes note that it was.
    pub(super) fn tell(&mut self) -> Told {
        if !self.finished {
            self.limit_told = self.limit();
        }
        self.received_told = self.received;
        self.frames_untold = 0;
        self.asked = false;
        self.fin_told = self.finished;
        Told { received: self.received, limit: self.limit_told, finished: self.finished }
    }

    /// The peer has forgotten the stream: it knows that we have all. Can that be?
    pub(super) fn peer_knows_all(&self) -> bool {
        self.fin_told
    }

    fn is_over(&self) -> bool {
        self.end_was_read && self.fin_told
    }

    #[cfg(test)]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// In how many pieces of memory it is held.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len() + 1
    }

    /// What arrived and was not read.
    #[cfg(test)]
    pub(super) fn unread(&self) -> u64 {
        self.received - self.read
    }
}
