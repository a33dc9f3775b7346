//! What a host is told and what it tells.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use bytes::Bytes;

use crate::term::frame::{HostControl, OUT_BYTES_MAX, Size, ViewerFrame, ViewerRole};
use crate::term::quiet::Quiet;
use crate::{Code, Ending};

/// One attached connection. Never used twice within a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub u64);

/// The numbers of a host. `Default` has those of the design.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// How much output is kept for those who come back: 1 MiB.
    pub ring_bytes: usize,
    /// Unacknowledged output per viewer: 256 KiB, 5 to 25 ms of parsing in a browser.
    pub window: u32,
    /// Unacknowledged input per viewer: 128 KiB.
    pub in_window: u32,
    /// The most output in one OUT: 32 KiB.
    pub out_bytes_max: usize,
    /// How long output waits for company while something is in flight: 4 ms.
    pub coalesce: Duration,
    /// Output that the driver has not parsed, above which the program is not read: 384 KiB.
    pub gate_high: usize,
    /// ... and below which it is read again: 128 KiB.
    pub gate_low: usize,
    /// How many may be attached: 16.
    pub viewers_max: usize,
    /// Of how many who left the input offsets are kept: 64.
    pub viewers_remembered: usize,
    /// With no driver attached: close the gate, or go on and lose the oldest output.
    pub hold: bool,
    /// For so long after the driver's connection broke the gate is kept as if it were attached: a
    /// break is not a leave, and whoever comes back at once has lost nothing. 30 s.
    pub driver_back_within: Duration,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            ring_bytes: 1024 * 1024,
            window: 256 * 1024,
            in_window: 128 * 1024,
            out_bytes_max: OUT_BYTES_MAX,
            coalesce: Duration::from_millis(4),
            gate_high: 384 * 1024,
            gate_low: 128 * 1024,
            viewers_max: 16,
            viewers_remembered: 64,
            hold: false,
            driver_back_within: Duration::from_secs(30),
        }
    }
}

/// Who attaches and how far they are; made from a hello after it was authenticated.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The connection.
    pub viewer: ViewerId,
    /// The key under which input offsets are remembered.
    pub key: String,
    /// For "taken over by": who, in words.
    pub who: String,
    /// The next output offset wanted; none: a snapshot is wanted.
    pub have: Option<u64>,
    /// The viewer's next input offset.
    pub in_next: u64,
    /// The viewer's size; a driver's becomes the program's.
    pub size: Size,
    /// What it may do.
    pub role: ViewerRole,
    /// The message to send once attached, with `from`, `head`, `in_ack`, `gap`, `snapshot`,
    /// `size`, `role` filled in by the host (the rest by the caller).
    pub attached: HostControl,
}

/// What can happen to a host.
#[derive(Clone)]
#[allow(missing_docs, reason = "the line above each variant says what its fields are")]
pub enum HostInput {
    /// The program wrote.
    Output(Bytes),
    /// A viewer's hello was accepted.
    Attach(Box<Attach>),
    /// A viewer sent a frame.
    Frame { viewer: ViewerId, frame: ViewerFrame },
    /// A viewer's connection is gone.
    Left(ViewerId),
    /// The answer to `SnapshotWanted`: rebuilds the screen as of `offset` (everything below it was fed to the emulator).
    Snapshot { offset: u64, cols: u16, rows: u16, bytes: Bytes },
    /// The program's side took the input of the last `ToShell`s up to this many bytes in all (host-wide count).
    InputTaken { total: u64 },
    /// A control message for every viewer (step, live, device, notice).
    Tell(HostControl),
    /// The session is over; nothing more will be written.
    Ended(Ending),
}

/// What the host's driver is to do.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the line above each variant says what its fields are")]
pub enum HostOutput {
    /// `poll_transmit(viewer)` has something.
    Transmit(ViewerId),
    /// Input for the program, exactly once and in order.
    ToShell(Bytes),
    /// Size the program's terminal, and the emulator, here in the output.
    Resize { size: Size, offset: u64 },
    /// Send the program a signal.
    Signal { number: u8 },
    /// Stop (or go on) reading from the program.
    Gate { open: bool },
    /// Answer with `HostInput::Snapshot`.
    SnapshotWanted,
    /// Close that viewer's connection with this code once its queue (poll_transmit) is empty.
    Close { viewer: ViewerId, code: Code },
    /// The person asked to end the session.
    KillWanted { viewer: ViewerId, reason: Option<String> },
    /// Drivers, watchers.
    Viewers { drivers: usize, watchers: usize },
}

impl Debug for HostInput {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(bytes) => write!(f, "Output({:?})", Quiet(bytes.len())),
            Self::Attach(attach) => attach.fmt(f),
            Self::Frame { viewer, frame } => write!(f, "Frame({viewer:?}, {frame:?})"),
            Self::Left(viewer) => write!(f, "Left({viewer:?})"),
            Self::Snapshot { offset, cols, rows, bytes } => {
                write!(f, "Snapshot({offset}, {cols}x{rows}, {:?})", Quiet(bytes.len()))
            }
            Self::InputTaken { total } => write!(f, "InputTaken({total})"),
            Self::Tell(control) => write!(f, "Tell({control:?})"),
            Self::Ended(ending) => write!(f, "Ended({ending:?})"),
        }
    }
}

impl Debug for HostOutput {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmit(viewer) => write!(f, "Transmit({viewer:?})"),
            Self::ToShell(bytes) => write!(f, "ToShell({:?})", Quiet(bytes.len())),
            Self::Resize { size, offset } => write!(f, "Resize({}x{} at {offset})", size.cols, size.rows),
            Self::Signal { number } => write!(f, "Signal({number})"),
            Self::Gate { open } => write!(f, "Gate({})", if *open { "open" } else { "closed" }),
            Self::SnapshotWanted => f.write_str("SnapshotWanted"),
            Self::Close { viewer, code } => write!(f, "Close({viewer:?}, {code})"),
            Self::KillWanted { viewer, .. } => write!(f, "KillWanted({viewer:?})"),
            Self::Viewers { drivers, watchers } => write!(f, "Viewers({drivers}, {watchers})"),
        }
    }
}
