//! The link between an agent and a broker: many streams over one WebSocket, which may break.
//! (This file is the fixed public face; the helper who owns wire::link fills it in.)

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Code, StreamId};

pub mod greeting;

/// The WebSocket subprotocol of this version (RFC 6455 section 1.9).
pub const SUBPROTOCOL: &str = "moorline.link.v1";

/// Which end of the link this is. Only the broker opens streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Broker,
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
    Sshd,
    KeeperControl,
}

/// The numbers of a link. Both ends may have different ones; credit makes them fit.
#[derive(Debug, Clone)]
pub struct Config {
    pub window_interactive: u32,  // 256 KiB
    pub window_bulk_max: u32,     // 2 MiB
    pub streams_max: usize,       // 256
    pub ping_every: Duration,     // 5 s
    pub unstable_after: Duration, // 10 s
    pub dead_after: Duration,     // 15 s
    pub resume_within: Duration,  // 60 s
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
#[derive(Debug, Clone)]
pub enum Input {
    /// A transport stands and its greeting is over.
    Connected(Attach),
    /// The peer sent a WebSocket message.
    Frame(Bytes),
    /// The transport is gone.
    Disconnected,
    /// (Broker) tell the agent that we are going away and when to come back.
    GoAway { come_back_after: Duration },
}

/// What the driver is to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// (Agent) the broker opened a stream; answer with `write`, `read`, `reset`.
    Opened { stream: StreamId, target: Target, class: Class },
    /// `read` will give something, or the end.
    Readable(StreamId),
    /// `write` will take something again.
    Writable(StreamId),
    /// The peer reset the stream, or the link is lost (`DEVICE_LOST`). The stream is forgotten.
    Reset { stream: StreamId, code: Code },
    /// Nothing was heard for `unstable_after`.
    Unstable,
    /// Heard again after `Unstable`.
    Steady,
    /// A round trip was measured.
    Rtt(Duration),
    /// (Agent) the broker goes away; come back after this long.
    GoingAway { come_back_after: Duration },
    /// Close the transport: nothing was heard for `dead_after`, or the peer broke a rule.
    Close(Code),
    /// The transport did not come back within `resume_within`: every stream was reset.
    Lost,
}

/// A frame that breaks a rule of the protocol. The transport is to be closed with `code`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Violation {
    pub code: Code,
    pub what: &'static str,
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the link has as many streams as it may")]
    TooMany,
    #[error("the link is lost")]
    Lost,
}

/// What `Link::read` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
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
    Gone(Code),
}

/// One link, at one of its ends.
#[derive(Debug)]
pub struct Link {
    _private: (),
}

impl Link {
    pub fn new(_role: Role, _config: Config, _now: Instant) -> Self {
        unimplemented!()
    }
    pub fn handle(&mut self, _now: Instant, _input: Input) -> Result<(), Violation> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    /// The next frame for the transport; to be called only when the transport can take it at once,
    /// so that what is not yet sent stays in our hands.
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<Bytes> {
        unimplemented!()
    }
    /// (Broker) opens a stream. Works while the transport is down, too.
    pub fn open(&mut self, _target: Target, _class: Class) -> Result<StreamId, OpenError> {
        unimplemented!()
    }
    /// Takes as many of the bytes as the stream has room for.
    pub fn write(&mut self, _stream: StreamId, _bytes: &[u8]) -> Written {
        unimplemented!()
    }
    /// Gives at most `max` bytes of what arrived.
    pub fn read(&mut self, _stream: StreamId, _max: usize) -> Read {
        unimplemented!()
    }
    /// Half-closes: everything written is still delivered.
    pub fn finish(&mut self, _stream: StreamId) {
        unimplemented!()
    }
    /// Ends the stream at once in both directions.
    pub fn reset(&mut self, _stream: StreamId, _code: Code) {
        unimplemented!()
    }
    /// How many streams are open.
    pub fn streams(&self) -> usize {
        unimplemented!()
    }
    /// The last measured round trip.
    pub fn rtt(&self) -> Option<Duration> {
        unimplemented!()
    }
}
