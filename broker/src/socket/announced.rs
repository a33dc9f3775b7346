//! Refuses a message by the length that its head announces, before any of it is kept.
//!
//! actix-http compares a frame's length with the limit only when all of the frame has arrived, and
//! keeps what comes until then. So the heads are read here as well, in front of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

/// The bytes of a socket, which end with `Overflow` at a frame that is too large.
pub(super) struct Announced<S> {
    bytes: S,
    heads: Heads,
}

impl<S> Announced<S> {
    pub(super) fn new(bytes: S, frame_max: usize) -> Self {
        Self { bytes, heads: Heads::new(frame_max as u64) }
    }

    /// Whether all frames that have begun are here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.heads.come == 0 && self.heads.payload == 0
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Announced<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.bytes).poll_next(cx));
        if let Some(Ok(chunk)) = &next
            && !self.heads.allow(chunk)
        {
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        Poll::Ready(next)
    }
}

/// Where in the frames the bytes are (RFC 6455 section 5.2).
struct Heads {
    frame_max: u64,
    head: [u8; 14],
    /// How much of a head has come.
    come: usize,
    /// How much of the payload after the last head is to come.
    payload: u64,
}

impl Heads {
    fn new(frame_max: u64) -> Self {
        Self { frame_max, head: [0; 14], come: 0, payload: 0 }
    }

    /// Takes the next bytes. False: they announce a frame that is too large.
    fn allow(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len() as u64);
                self.payload -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.head[self.come] = *first;
            self.come += 1;
            bytes = rest;
            if let Some(announced) = self.announced() {
                if announced > self.frame_max {
                    return false;
                }
                (self.payload, self.come) = (announced, 0);
            }
        }
        true
    }

    /// The length of the payload, once the head is whole.
    fn announced(&self) -> Option<u64> {
        let head = &self.head[..self.come];
        let [_, second, rest @ ..] = head else { return None };
        let masked = second & 0x80 != 0;
        let (short, mask) = (second & 0x7f, if masked { 4 } else { 0 });
        let long = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < long + mask {
            return None;
        }
        let length = rest[..long].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if long > 0 { length } else { short.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u64, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes.extend_from_slice(if masked { &[1, 2, 3, 4] } else { &[] });
        bytes
    }

    #[test]
    fn frames_within_the_limit_pass_however_they_are_cut() {
        let mut all = Vec::new();
        for length in [0, 1, 125, 126, 127, 128, 999, 1000] {
            for masked in [true, false] {
                all.extend(frame(length, masked));
                // A payload that looks like a head of a large frame.
                all.extend(std::iter::repeat_n(0xff, length as usize));
            }
        }
        for piece in 1..20 {
            let mut heads = Heads::new(1000);
            assert!(all.chunks(piece).all(|piece| heads.allow(piece)), "in pieces of {piece}");
            assert_eq!((heads.come, heads.payload), (0, 0));
        }
    }

    #[test]
    fn a_larger_frame_is_refused_at_its_head() {
        for length in [1001, 70_000, 1 << 40, i64::MAX as u64, u64::MAX] {
            let mut heads = Heads::new(1000);
            assert!(heads.allow(&frame(1000, true)));
            assert!(heads.allow(&[0; 1000]));
            let head = frame(length, true);
            assert!(heads.allow(&head[..head.len() - 1]));
            assert!(!heads.allow(&head[head.len() - 1..]), "{length} bytes were allowed");
        }
    }
}
