//! A frame on its way into a buffer: copied once, whether it is a message of its own or stands in
//! another one.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::frame::Message;

/// The longest head, that of PONG.
const HEAD_MAX: usize = 1 + 4 + 4 + 8;

/// What a frame is made of, in the order in which it is sent.
pub(crate) enum Parts<'a> {
    /// The fields, and the bytes that follow them.
    Binary {
        head: [u8; HEAD_MAX],
        length: usize,
        bytes: &'a [u8],
    },
    Text(String),
}

impl<'a> Parts<'a> {
    /// Of a binary frame with these fields and bytes.
    pub(super) fn binary(kind: u8, fields: impl FnOnce(&mut &mut [u8]), bytes: &'a [u8]) -> Self {
        let mut head = [0; HEAD_MAX];
        let mut room = head.as_mut_slice();
        room.put_u8(kind);
        fields(&mut room);
        let length = HEAD_MAX - room.len();
        Self::Binary { head, length, bytes }
    }

    pub(super) fn text(control: &impl Serialize) -> Self {
        Self::Text(serde_json::to_string(control).expect("a control message has string keys only"))
    }

    /// The frame as a message of its own.
    pub(super) fn into_message(self) -> Message {
        match self {
            Self::Binary { head, length, bytes } => {
                let mut message = BytesMut::with_capacity(length + bytes.len());
                message.put_slice(&head[..length]);
                message.put_slice(bytes);
                Message::Binary(message.freeze())
            }
            Self::Text(text) => Message::Text(text),
        }
    }
}
