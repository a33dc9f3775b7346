//! What one direction of a stream has sent or is to send, until the peer has acknowledged it.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use super::frame::{DATA_HEADER, data_header};
use crate::StreamId;

/// A ring of at most this many chunks takes no more. An honest peer acknowledges every 32
/// frames, so this is met only by one that wants our memory.
const CHUNKS_MAX: usize = 1024;

/// A frame that is longer than this is closed when it has no room for more, rather than moved to where it has.
const MOVED_MAX: usize = 8 * 1024;

/// Bytes by absolute offset, held as DATA frames ready to go: a byte is copied once on its way
/// in, and neither when it is sent nor when it is sent again.
pub(super) struct Ring {
    stream: StreamId,
    /// Every byte before is acknowledged and gone.
    start: u64,
    /// Where the next byte will stand.
    end: u64,
    chunks: VecDeque<Chunk>,
    /// The last, still growing frame; nothing of it has been sent. Empty, or longer than a header.
    tail: BytesMut,
}

struct Chunk {
    offset: u64,
    frame: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + (self.frame.len() - DATA_HEADER) as u64
    }
}

impl fmt::Debug for Ring {
    /// Without the bytes: nobody may find in a log what a person typed or saw.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({}..{} in {} chunks)", self.start, self.end, self.chunks.len())
    }
}

impl Ring {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, start: 0, end: 0, chunks: VecDeque::new(), tail: BytesMut::new() }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many more bytes it takes when it is to hold at most `window`.
    pub(super) fn room(&self, window: u64) -> usize {
        if self.chunks.len() >= CHUNKS_MAX {
            return 0;
        }
        window.saturating_sub(self.end - self.start) as usize
    }

    /// Takes the bytes, in frames of at most `chunk_max` bytes of data.
    pub(super) fn append(&mut self, mut bytes: &[u8], chunk_max: usize) {
        while !bytes.is_empty() {
            if self.tail.len() >= MOVED_MAX && self.tail.capacity() - self.tail.len() < bytes.len() {
                self.close_tail();
            }
            if self.tail.is_empty() {
                self.tail.reserve(DATA_HEADER + bytes.len().clamp(32, chunk_max));
                data_header(&mut self.tail, self.stream, self.end);
            }
            let room = (DATA_HEADER + chunk_max).saturating_sub(self.tail.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.tail.extend_from_slice(now);
            self.end += now.len() as u64;
            if !later.is_empty() {
                self.close_tail();
            }
            bytes = later;
        }
    }

    /// A DATA frame of at most `max` bytes from `offset` on, which is not acknowledged yet and
    /// was written.
    pub(super) fn frame_at(&mut self, offset: u64, max: usize) -> Bytes {
        debug_assert!(self.start <= offset && offset < self.end);
        if self.chunks.back().is_none_or(|last| last.end() <= offset) {
            self.close_tail();
        }
        let index = self.chunks.partition_point(|chunk| chunk.end() <= offset);
        let chunk = &self.chunks[index];
        let data = &chunk.frame[DATA_HEADER..];
        if chunk.offset == offset && data.len() <= max {
            return chunk.frame.clone();
        }
        let from = (offset - chunk.offset) as usize;
        let part = &data[from..data.len().min(from + max)];
        let mut frame = BytesMut::with_capacity(DATA_HEADER + part.len());
        data_header(&mut frame, self.stream, offset);
        frame.extend_from_slice(part);
        frame.freeze()
    }

    /// Forgets what was acknowledged: every byte before `offset`, which was sent.
    pub(super) fn release(&mut self, offset: u64) {
        debug_assert!(self.start <= offset && offset <= self.end);
        self.start = offset;
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= offset) {
            self.chunks.pop_front();
        }
    }

    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let offset = self.end - (self.tail.len() - DATA_HEADER) as u64;
        self.chunks.push_back(Chunk { offset, frame: self.tail.split().freeze() });
    }
}
