//! Carries a [`moorline_wire::link::Link`] on tokio: the same adapter for agent and broker.
//! (This file is the fixed public face; the helper who owns wire::link fills it in.)
//!
//! - [`LinkHandle`]: the machine behind a lock, shared between its one driver (who owns the
//!   WebSocket) and its streams. `Readable`, `Writable` and `Reset` outputs are turned into
//!   wake-ups here; all others go to the driver.
//! - [`LinkStream`]: one stream as `AsyncRead + AsyncWrite`.
use bytes::Bytes;
use moorline_wire::link::{Class, Config, Input, OpenError, Output, Role, Target, Violation};
use moorline_wire::{Code, StreamId};
use std::time::Instant;

#[derive(Clone, Debug)]
pub struct LinkHandle {
    _p: (),
}

/// What the driver sees of the machine's outputs.
#[derive(Debug)]
pub enum Event {
    /// (Agent) the broker opened a stream.
    Opened { stream: LinkStream, target: Target, class: Class },
    /// Unstable, Steady, Rtt, GoingAway, Close, Lost.
    Link(Output),
}

impl LinkHandle {
    pub fn new(_role: Role, _config: Config, _now: Instant) -> Self {
        unimplemented!()
    }
    pub fn handle(&self, _now: Instant, _input: Input) -> Result<(), Violation> {
        unimplemented!()
    }
    pub fn handle_timeout(&self, _now: Instant) {
        unimplemented!()
    }
    pub fn poll_event(&self) -> Option<Event> {
        unimplemented!()
    }
    pub fn poll_transmit(&self, _now: Instant) -> Option<Bytes> {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    /// Waits until a stream did something the driver must act upon (bytes to send, credit, reset).
    /// Never misses a wake-up between two calls.
    pub async fn stirred(&self) {
        unimplemented!()
    }
    pub fn open(&self, _target: Target, _class: Class) -> Result<LinkStream, OpenError> {
        unimplemented!()
    }
    pub fn streams(&self) -> usize {
        unimplemented!()
    }
    pub fn rtt(&self) -> Option<std::time::Duration> {
        unimplemented!()
    }
}

/// One stream. Dropped before both directions are finished, it resets with `CANCELLED`.
/// A reset by the peer is an `io::Error` of kind `ConnectionReset` whose source is [`StreamReset`].
#[derive(Debug)]
pub struct LinkStream {
    _p: (),
}

impl LinkStream {
    pub fn id(&self) -> StreamId {
        unimplemented!()
    }
    /// Ends the stream at once with this code.
    pub fn reset(self, _code: Code) {
        unimplemented!()
    }
}

/// The peer ended the stream with this code.
#[derive(Debug, Clone, Copy)]
pub struct StreamReset(pub Code);
impl std::fmt::Display for StreamReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the stream was reset: {}", self.0)
    }
}
impl std::error::Error for StreamReset {}

impl tokio::io::AsyncRead for LinkStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        _buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        unimplemented!()
    }
}
impl tokio::io::AsyncWrite for LinkStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
        _buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        unimplemented!()
    }
    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        unimplemented!()
    }
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        unimplemented!()
    }
}
