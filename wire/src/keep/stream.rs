//! The messages in a byte stream, as an SSH channel is one:
//!
//! ```text
//! u32 length of what follows, u8 kind, the message
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{BINARY, CONTROL, CONTROL_BYTES_MAX, TEXT};
use crate::link::Violation;
use crate::term::Message;
use crate::term::frame::{HOST_MESSAGE_BYTES_MAX, out_of_place};

/// The first bytes of the keeper's side. No text has a NUL.
pub const PREAMBLE: &[u8] = b"\0moorline.keep.v1\0";

/// What start-up files may write before the preamble: more is no keeper.
const NOISE_BYTES_MAX: usize = 64 * 1024;

const VIEWER: usize = 8;

/// A message of which only the envelope was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// Of or for a viewer.
    Viewer(u64, Message),
    /// JSON.
    Control(Bytes),
}

/// Takes a byte stream in pieces of any size and gives whole messages.
#[derive(Debug)]
pub struct Decoder {
    arrived: BytesMut,
    /// The preamble has not come yet; so much was skipped.
    skipped: Option<usize>,
}

impl Decoder {
    /// For the stream of a keeper: everything before the preamble is skipped.
    pub fn after_preamble() -> Self {
        Self { arrived: BytesMut::new(), skipped: Some(0) }
    }

    /// For the stream of a broker.
    pub fn plain() -> Self {
        Self { arrived: BytesMut::new(), skipped: None }
    }

    /// Takes what arrived. To be followed by `next_message` until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// Whether the preamble has come.
    pub fn has_begun(&self) -> bool {
        self.skipped.is_none()
    }

    /// The next whole message, if it has arrived.
    pub fn next_message(&mut self) -> Result<Option<Raw>, Violation> {
        if !self.find_preamble()? {
            return Ok(None);
        }
        let Some((length, _)) = self.arrived.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > 1 + VIEWER + HOST_MESSAGE_BYTES_MAX {
            return Err(out_of_place("a message has an impossible length"));
        }
        if self.arrived.len() < 4 + length {
            return Ok(None);
        }
        self.arrived.advance(4);
        raw(self.arrived.split_to(length).freeze()).map(Some)
    }

    fn find_preamble(&mut self) -> Result<bool, Violation> {
        let Some(skipped) = self.skipped else { return Ok(true) };
        if let Some(at) = self.arrived.windows(PREAMBLE.len()).position(|window| window == PREAMBLE) {
            self.arrived.advance(at + PREAMBLE.len());
            self.skipped = None;
            return Ok(true);
        }
        // The beginning of the preamble may have come already.
        let noise = self.arrived.len().saturating_sub(PREAMBLE.len() - 1);
        self.arrived.advance(noise);
        if skipped + noise > NOISE_BYTES_MAX {
            return Err(out_of_place("the other side is no keeper"));
        }
        self.skipped = Some(skipped + noise);
        Ok(false)
    }
}

fn raw(mut message: Bytes) -> Result<Raw, Violation> {
    let kind = message.get_u8();
    if kind == CONTROL {
        return match message.len() {
            0..=CONTROL_BYTES_MAX => Ok(Raw::Control(message)),
            _ => Err(out_of_place("a control message is too long")),
        };
    }
    if message.len() < VIEWER {
        return Err(out_of_place("a message names no viewer"));
    }
    let viewer = message.get_u64();
    match kind {
        BINARY => Ok(Raw::Viewer(viewer, Message::Binary(message))),
        TEXT => String::from_utf8(message.into())
            .map(|text| Raw::Viewer(viewer, Message::Text(text)))
            .map_err(|_| out_of_place("a text message is not UTF-8")),
        _ => Err(out_of_place("a message has an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Create, FromKeeper, KeeperControl, OrderControl, Taken, ToKeeper};
    use super::*;
    use crate::term::frame::{HostControl, HostFrame, Size, ViewerFrame};
    use crate::{Code, Exit};

    fn from_keeper() -> Vec<FromKeeper> {
        let exit = Some(Exit::Status(3));
        let taken = Taken { version: 1, created: true, head: 9, oldest: 1, idle_ms: 7, exit };
        vec![
            FromKeeper::Control(KeeperControl::Taken(taken)),
            FromKeeper::Frame(7, HostFrame::Out { offset: 5, bytes: Bytes::from_static(b"\0out") }),
            FromKeeper::Frame(u64::MAX, HostFrame::Control(HostControl::Live)),
            FromKeeper::Control(KeeperControl::Close { viewer: 7, code: Code::TAKEN_OVER }),
            FromKeeper::Control(KeeperControl::Superseded { epoch: u64::MAX }),
            FromKeeper::Control(KeeperControl::Ended { exit: Exit::Signal("HUP".into()) }),
            FromKeeper::Control(KeeperControl::Gone),
        ]
    }

    fn decoded(decoder: &mut Decoder) -> Vec<FromKeeper> {
        let whole = std::iter::from_fn(|| decoder.next_message().unwrap());
        whole.filter_map(|raw| FromKeeper::decode(raw).unwrap()).collect()
    }

    #[test]
    fn messages_come_out_whole_after_the_preamble_wherever_the_stream_is_split() {
        let noise = b"Welcome!\nno mail\0moorline.keep";
        let mut stream = [noise.as_slice(), PREAMBLE].concat();
        for message in from_keeper() {
            stream.extend_from_slice(&message.encode());
        }
        for at in 0..stream.len() {
            let mut decoder = Decoder::after_preamble();
            decoder.push(&stream[..at]);
            let mut got = decoded(&mut decoder);
            decoder.push(&stream[at..]);
            got.extend(decoded(&mut decoder));
            assert_eq!(got, from_keeper(), "split at {at}");
        }
    }

    #[test]
    fn orders_come_out_as_they_went_in() {
        let size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
        let create = Create {
            command: Some("echo 'a b'".into()),
            size,
            ring_bytes: 4 << 20,
            hold: true,
            orphaned_for_s: 86_400,
            grace_ms: 5000,
            window: 1,
            in_window: 2,
            viewers_max: 16,
            driver_back_within_ms: 30_000,
        };
        let session = "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let orders = [
            ToKeeper::Order(OrderControl::Take { version: 1, session, epoch: 9, create: Some(create) }),
            ToKeeper::Order(OrderControl::Leave { viewer: 3 }),
            ToKeeper::Frame(3, ViewerFrame::In { offset: 0, bytes: Bytes::from_static(b"x") }),
            ToKeeper::Order(OrderControl::End),
            ToKeeper::Order(OrderControl::Bye),
        ];
        let mut decoder = Decoder::plain();
        for order in &orders {
            decoder.push(&order.encode());
            let raw = decoder.next_message().unwrap().unwrap();
            assert_eq!(ToKeeper::decode(raw).unwrap().as_ref(), Some(order));
        }
    }

    #[test]
    fn a_control_message_of_a_later_version_is_ignored() {
        let raw = Raw::Control(Bytes::from_static(br#"{"t":"sing","key":"A"}"#));
        assert_eq!(FromKeeper::decode(raw.clone()), Ok(None));
        assert_eq!(ToKeeper::decode(raw), Ok(None));
    }

    #[test]
    fn endless_noise_an_impossible_length_and_an_unknown_kind_are_refused() {
        let mut decoder = Decoder::after_preamble();
        decoder.push(&vec![b'x'; NOISE_BYTES_MAX + 100]);
        assert!(decoder.next_message().is_err());
        let streams: [&[u8]; 5] = [
            &[0, 0, 0, 0],
            &[255, 255, 255, 255],
            &[0, 0, 0, 2, 9, 0],
            &[0, 0, 0, 3, 0, 0, 0],
            &[0, 0, 0, 10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff],
        ];
        for stream in streams {
            let mut decoder = Decoder::plain();
            decoder.push(stream);
            assert!(decoder.next_message().is_err(), "{stream:?}");
        }
    }
}
