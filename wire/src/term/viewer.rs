//! The viewer side: what it has received, what its terminal has parsed, what input is not yet
//! taken. Its TypeScript twin is `web/src/link/viewer.ts`; both pass the same golden frames.
use super::frame::{HostFrame, Size, ViewerFrame};
use crate::link::Violation;
use bytes::Bytes;
use std::time::Instant;

#[derive(Debug)]
pub struct Viewer {
    _p: (),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewerOutput {
    /// For the terminal; call `parsed` when it was parsed.
    Write(Bytes),
    /// Reset, resize to this, write these bytes (replay: what the terminal answers is dropped).
    Rebuild {
        cols: u16,
        rows: u16,
        bytes: Bytes,
    },
    Gap {
        from: u64,
        to: u64,
    },
    Control(super::frame::HostControl),
    Unstable,
    Steady,
    /// close and reconnect
    Dead,
}

impl Viewer {
    pub fn new(_key: String, _size: Size) -> Self {
        unimplemented!()
    }
    pub fn hello(&self, _ticket: Option<String>, _resume: Option<String>) -> ViewerFrame {
        unimplemented!()
    }
    pub fn connected(&mut self, _now: Instant) {
        unimplemented!()
    }
    pub fn disconnected(&mut self, _now: Instant) {
        unimplemented!()
    }
    pub fn receive(&mut self, _now: Instant, _frame: HostFrame) -> Result<(), Violation> {
        unimplemented!()
    }
    /// Typed by hand: Ctrl-C, Ctrl-Z, Ctrl-\ overtake unsent paste and cancel it.
    pub fn typed(&mut self, _now: Instant, _bytes: &[u8]) {
        unimplemented!()
    }
    pub fn pasted(&mut self, _now: Instant, _bytes: Bytes) {
        unimplemented!()
    }
    pub fn resize(&mut self, _now: Instant, _size: Size) {
        unimplemented!()
    }
    /// The terminal has parsed everything up to this offset.
    pub fn parsed(&mut self, _now: Instant, _offset: u64) {
        unimplemented!()
    }
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<ViewerFrame> {
        unimplemented!()
    }
    pub fn poll_output(&mut self) -> Option<ViewerOutput> {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
}
