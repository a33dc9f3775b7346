//! The host side: owns the output ring, the viewers' cursors and credit, and the input offsets.
//! It runs in the broker (plain shell) and will run in the keeper.
use super::frame::{HostControl, HostFrame, Size, ViewerFrame, ViewerRole};
use crate::{Code, Ending};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// One attached connection. Never used twice within a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub u64);

#[derive(Debug, Clone)]
pub struct HostConfig {
    pub ring_bytes: usize,         // 1 MiB
    pub window: u32,               // 256 KiB unacknowledged output per viewer
    pub in_window: u32,            // 128 KiB
    pub out_bytes_max: usize,      // 32 KiB per OUT
    pub coalesce: Duration,        // 4 ms
    pub gate_high: usize,          // 384 KiB unread by the driver
    pub gate_low: usize,           // 128 KiB
    pub viewers_max: usize,        // 16
    pub viewers_remembered: usize, // 64 input offsets kept of viewers who left
    pub hold: bool,                // with nobody attached: close the gate (hold) or drop oldest (continue)
}

/// Who attaches and how far they are; made from a hello after it was authenticated.
#[derive(Debug, Clone)]
pub struct Attach {
    pub viewer: ViewerId,
    /// The key under which input offsets are remembered.
    pub key: String,
    /// For "taken over by": who, in words.
    pub who: String,
    pub have: Option<u64>,
    pub in_next: u64,
    pub size: Size,
    pub role: ViewerRole,
    /// The message to send once attached, with `from`, `head`, `in_ack`, `gap`, `snapshot`,
    /// `size`, `role` filled in by the host (the rest by the caller).
    pub attached: HostControl,
}

#[derive(Debug, Clone)]
pub enum HostInput {
    /// The program wrote.
    Output(Bytes),
    Attach(Box<Attach>),
    Frame {
        viewer: ViewerId,
        frame: ViewerFrame,
    },
    Left(ViewerId),
    /// The answer to `SnapshotWanted`: rebuilds the screen as of `offset` (everything below it was fed to the emulator).
    Snapshot {
        offset: u64,
        cols: u16,
        rows: u16,
        bytes: Bytes,
    },
    /// The program's side took the input of the last `ToShell`s up to this many bytes in all (host-wide count).
    InputTaken {
        total: u64,
    },
    /// A control message for every viewer (step, live, device, notice).
    Tell(HostControl),
    Ended(Ending),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutput {
    /// `poll_transmit(viewer)` has something.
    Transmit(ViewerId),
    /// Input for the program, exactly once and in order.
    ToShell(Bytes),
    Resize {
        size: Size,
        offset: u64,
    },
    Signal {
        number: u8,
    },
    /// Stop (or go on) reading from the program.
    Gate {
        open: bool,
    },
    SnapshotWanted,
    /// Close that viewer's connection with this code once its queue (poll_transmit) is empty.
    Close {
        viewer: ViewerId,
        code: Code,
    },
    /// The person asked to end the session.
    KillWanted {
        viewer: ViewerId,
        reason: Option<String>,
    },
    /// Drivers, watchers.
    Viewers {
        drivers: usize,
        watchers: usize,
    },
}

#[derive(Debug)]
pub struct Host {
    _p: (),
}

impl Host {
    pub fn new(_config: HostConfig, _size: Size, _now: Instant) -> Self {
        unimplemented!()
    }
    pub fn handle(&mut self, _now: Instant, _input: HostInput) {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, _now: Instant) {
        unimplemented!()
    }
    pub fn poll_output(&mut self) -> Option<HostOutput> {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    /// The next frame for that viewer. To be called only when its connection has room: OUT frames
    /// are cut from the ring at that moment. Order: control, IN_ACK and PONG, SNAP, OUT.
    pub fn poll_transmit(&mut self, _now: Instant, _viewer: ViewerId) -> Option<HostFrame> {
        unimplemented!()
    }
    pub fn head(&self) -> u64 {
        unimplemented!()
    }
    /// For PONG.
    pub fn set_device_rtt(&mut self, _rtt: Duration) {
        unimplemented!()
    }
}
