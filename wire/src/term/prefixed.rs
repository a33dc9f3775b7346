//! The messages of this protocol in a byte stream, as an SSH exec channel is one:
//!
//! ```text
//! u32 length of what follows, u8 kind (0 binary, 1 text), the message
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Message;
use super::frame::{HOST_MESSAGE_BYTES_MAX, out_of_place};
use crate::link::Violation;

const BINARY: u8 = 0;
const TEXT: u8 = 1;
const HEADER: usize = 4 + 1;

/// Takes a byte stream in pieces of any size and gives whole messages.
#[derive(Debug, Default)]
pub struct Prefixed {
    arrived: BytesMut,
}

impl Prefixed {
    /// The bytes for one message.
    pub fn encode(message: &Message) -> Bytes {
        let (kind, payload) = match message {
            Message::Binary(bytes) => (BINARY, bytes.as_ref()),
            Message::Text(text) => (TEXT, text.as_bytes()),
        };
        let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
        let length = u32::try_from(1 + payload.len()).expect("a message is at most 1 MiB");
        bytes.put_u32(length);
        bytes.put_u8(kind);
        bytes.put_slice(payload);
        bytes.freeze()
    }

    /// Takes what arrived. To be followed by `next_message` until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// The next whole message, if it has arrived.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        let Some((length, _)) = self.arrived.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > 1 + HOST_MESSAGE_BYTES_MAX {
            return Err(out_of_place("a message has an impossible length"));
        }
        if self.arrived.len() < 4 + length {
            return Ok(None);
        }
        self.arrived.advance(4);
        let mut message = self.arrived.split_to(length).freeze();
        match message.get_u8() {
            BINARY => Ok(Some(Message::Binary(message))),
            TEXT => String::from_utf8(message.into())
                .map(|text| Some(Message::Text(text)))
                .map_err(|_| out_of_place("a text message is not UTF-8")),
            _ => Err(out_of_place("a message is neither binary nor text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_split() {
        let messages =
            [Message::Binary(Bytes::from_static(b"\x01abc")), Message::Text("{\"t\":\"live\"}".into())];
        let stream: Vec<u8> = messages.iter().flat_map(Prefixed::encode).collect();
        for cut in 0..stream.len() {
            let (mut decoder, mut got) = (Prefixed::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                decoder.push(part);
                while let Some(message) = decoder.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, messages, "cut at {cut}");
        }
    }

    #[test]
    fn a_message_of_impossible_length_or_kind_is_refused_before_it_is_awaited() {
        for head in
            [&[0, 0, 0, 0][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 1, 7], &[0, 0, 0, 2, TEXT, 0xff]]
        {
            let mut decoder = Prefixed::default();
            decoder.push(head);
            assert!(decoder.next_message().is_err(), "{head:?} was taken");
        }
    }
}
