//! `Debug` of what carries the bytes of streams, without these bytes: nobody may find in a log
//! what a person typed or saw.

use std::fmt::{Debug, Formatter, Result};

use bytes::Bytes;

use super::frame::Frame;
use super::{Input, Read};

/// So many bytes, and no word of which.
struct Length(usize);

impl Length {
    fn of(bytes: &Bytes) -> Self {
        Self(bytes.len())
    }
}

impl Debug for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} bytes", self.0)
    }
}

impl Debug for Input {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Connected(attach) => f.debug_tuple("Connected").field(attach).finish(),
            Self::Frame(frame) => f.debug_tuple("Frame").field(&Length::of(frame)).finish(),
            Self::Disconnected => f.write_str("Disconnected"),
            Self::GoAway { come_back_after } => {
                f.debug_struct("GoAway").field("come_back_after", come_back_after).finish()
            }
        }
    }
}

impl Debug for Read {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Data(bytes) => f.debug_tuple("Data").field(&Length::of(bytes)).finish(),
            Self::Pending => f.write_str("Pending"),
            Self::End => f.write_str("End"),
            Self::Gone(code) => f.debug_tuple("Gone").field(code).finish(),
        }
    }
}

impl Debug for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Open { stream, target, class, limit } => {
                write!(f, "OPEN {stream} {target:?} {class:?} limit {limit}")
            }
            Self::Data { stream, offset, bytes } => {
                write!(f, "DATA {stream} at {offset}: {:?}", Length::of(bytes))
            }
            Self::Credit { stream, received, limit, finished } => {
                let fin = if *finished { " and FIN" } else { "" };
                write!(f, "CREDIT {stream} received {received}{fin}, limit {limit}")
            }
            Self::Fin { stream, offset } => write!(f, "FIN {stream} at {offset}"),
            Self::Reset { stream, code } => write!(f, "RESET {stream} {code:?}"),
            Self::ResetOk { stream } => write!(f, "RESET_OK {stream}"),
            Self::Ping { nonce } => write!(f, "PING {nonce}"),
            Self::Pong { nonce } => write!(f, "PONG {nonce}"),
            Self::GoingAway { come_back_after_ms } => write!(f, "GOING_AWAY for {come_back_after_ms} ms"),
            Self::Resume { next_stream, streams } => {
                write!(f, "RESUME next {next_stream}, ")?;
                f.debug_list().entries(streams.iter().map(|s| (s.stream.0, s.state))).finish()
            }
        }
    }
}
