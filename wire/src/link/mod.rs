//! The link between an agent and a broker: many streams over one WebSocket, which may break.
//!
//! In reading order:
//!
//! - [`greeting`]: who is there, before the first frame
//! - [`frame`]: the frames, and what they mean in the steady state and at a resume
//! - [`Link`] (`machine`): the machine at either end; `receive` is what a frame does to it,
//!   `transmit` what goes out next, `resume` how it goes on over a new transport
//! - `stream`, `ring`: one stream, and the bytes that its peer has not acknowledged
//! - `schedule`: whose turn it is, and how much bulk may be under way
//! - `liveness`: whether the peer is still there
//! - [`Config`]: the numbers
//!
//! The transport dies, the link does not: what is not acknowledged is kept and sent again. The
//! link knows no socket and no clock, and does not authenticate anybody: that is the greeting's.

use std::time::Duration;

use bytes::Bytes;

use crate::{Code, StreamId};

mod config;
mod debug;
pub mod frame;
pub mod greeting;
mod liveness;
mod machine;
mod receive;
mod resume;
mod ring;
mod schedule;
mod stream;
mod transmit;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use machine::Link;
pub use receive::Answer;

/// The WebSocket subprotocol of this version (RFC 6455 section 1.9).
pub const SUBPROTOCOL: &str = "moorline.link.v1";

/// Which end of the link this is. Only the broker opens streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens streams.
    Broker,
    /// Accepts streams.
    Agent,
}

/// How a stream is treated beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Someone waits for each byte: goes ahead of bulk. Window `window_interactive`.
    Interactive,
    /// Much data, nobody waits for single bytes. Window learned up to `window_bulk_max`.
    Bulk,
}

/// What the agent is to connect a stream to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Its sshd, embedded or the system's.
    Sshd,
    /// What tells of its keepers.
    KeeperControl,
}

/// How a transport was attached, as the greeting settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// A new link: the peer knows of no stream.
    Fresh,
    /// The link that both ends still remember: each says first how far it is.
    Resumed,
}

/// What can happen to a link.
#[derive(Clone)]
pub enum Input {
    /// A transport stands and its greeting is over.
    Connected(Attach),
    /// The peer sent a WebSocket message.
    Frame(Bytes),
    /// The transport is gone.
    Disconnected,
    /// (Broker) tell the agent that we are going away and when to come back.
    GoAway {
        /// When to come back.
        come_back_after: Duration,
    },
}

/// What the driver is to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// (Agent) the broker opened a stream; answer with `write`, `read`, `reset`.
    Opened {
        /// Its number.
        stream: StreamId,
        /// What to connect it to.
        target: Target,
        /// How it is treated beside others.
        class: Class,
    },
    /// `read` will give something, or the end.
    Readable(StreamId),
    /// `write` will take something again.
    Writable(StreamId),
    /// The peer reset the stream, or the link is lost (`DEVICE_LOST`). The stream is forgotten.
    Reset {
        /// Its number.
        stream: StreamId,
        /// Why.
        code: Code,
    },
    /// Nothing was heard for `unstable_after`.
    Unstable,
    /// Heard again after `Unstable`.
    Steady,
    /// A round trip was measured.
    Rtt(Duration),
    /// (Agent) the broker goes away; come back after this long.
    GoingAway {
        /// After how long.
        come_back_after: Duration,
    },
    /// Close the transport with this code: nothing was heard for `dead_after`. (A broken rule is
    /// the error of `handle`.)
    Close(Code),
    /// The transport did not come back within `resume_within`, or the peer broke a rule: every
    /// stream was reset, and only a fresh greeting helps.
    Lost,
}

/// A frame that breaks a rule of the protocol. The transport is to be closed with `code`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Violation {
    /// Why the transport is closed.
    pub code: Code,
    /// What the peer did.
    pub what: &'static str,
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// `Config::streams_max` are open.
    #[error("the link has as many streams as it may")]
    TooMany,
    /// The transport did not come back in time.
    #[error("the link is lost")]
    Lost,
}

/// What `Link::read` found.
#[derive(Clone, PartialEq, Eq)]
pub enum Read {
    /// Bytes, in order.
    Data(Bytes),
    /// nothing yet; `Readable` will tell
    Pending,
    /// the peer finished
    End,
    /// reset or unknown
    Gone(Code),
}

/// What `Link::write` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// this many of the bytes were taken
    Taken(usize),
    /// no room; `Writable` will tell
    Pending,
    /// reset, finished or unknown
    Gone(Code),
}
