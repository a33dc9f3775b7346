//! The recent output, by absolute offset.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};

use bytes::Bytes;

/// Up to here the ring grows by itself.
const SMALL: usize = 64 * 1024;

/// Keeps the last `bytes_max` bytes. It holds copies in one piece of memory: a slice of what was
/// read would keep the whole read buffer alive for one byte of echo.
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    head: u64,
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: VecDeque::new(), bytes_max, head: 0 }
    }

    /// The offset of the oldest byte that is kept.
    pub(super) fn start(&self) -> u64 {
        self.head - self.bytes.len() as u64
    }

    /// The offset of the next byte.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.head += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        self.make_room(kept.len());
        self.bytes.extend(kept);
    }

    /// A program that says little costs little; of one that says more the whole is reserved at once, so
    /// that no larger piece of memory than the ring is ever needed, nor two of them while one grows.
    fn make_room(&mut self, more: usize) {
        let wanted = self.bytes.len() + more;
        if wanted > self.bytes.capacity() {
            let capacity = if wanted <= SMALL { wanted.next_power_of_two() } else { self.bytes_max };
            self.bytes.reserve_exact(capacity.min(self.bytes_max) - self.bytes.len());
        }
    }

    /// At most `bytes_max` bytes from `offset` on, which must lie in `start..=head`.
    pub(super) fn read(&self, offset: u64, bytes_max: usize) -> Bytes {
        let from = (offset - self.start()) as usize;
        let to = (from + bytes_max).min(self.bytes.len());
        let mut copy = Vec::with_capacity(to - from);
        let (front, back) = self.bytes.as_slices();
        copy.extend_from_slice(&front[from.min(front.len())..to.min(front.len())]);
        copy.extend_from_slice(&back[from.saturating_sub(front.len())..to.saturating_sub(front.len())]);
        Bytes::from(copy)
    }
}

impl Debug for Ring {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({}..{})", self.start(), self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_at_its_offset() {
        let (mut ring, mut all) = (Ring::new(100), Vec::new());
        for length in [0, 1, 40, 70, 3, 250, 99, 100, 101, 7] {
            let piece: Vec<u8> = (0..length).map(|i| (all.len() + i) as u8).collect();
            all.extend_from_slice(&piece);
            ring.push(&piece);
            assert_eq!(ring.head(), all.len() as u64);
            assert_eq!(ring.start(), all.len().saturating_sub(100) as u64);
            for offset in ring.start()..=ring.head() {
                let expected = &all[offset as usize..all.len().min(offset as usize + 9)];
                assert_eq!(ring.read(offset, 9), expected);
            }
        }
    }
}
