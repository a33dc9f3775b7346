//! The frames. Binary ones for the hot path, JSON text for the rare control messages; the
//! WebSocket opcode tells them apart. All integers big-endian.
//!
//! ```text
//! 0x01 OUT     host   u8, u64 offset, bytes            output from this absolute offset
//! 0x02 IN_ACK  host   u8, u64 offset                   input below was given to the program
//! 0x03 PONG    host   u8, u32 nonce, u32 device_rtt_us, u64 head
//! 0x04 SNAP    host   u8, u64 offset, u16 cols, u16 rows, bytes   rebuilds screen and modes as of offset
//! 0x81 IN      viewer u8, u64 offset, bytes            input at this absolute offset
//! 0x82 ACK     viewer u8, u64 offset                   output below was parsed by the terminal
//! 0x83 PING    viewer u8, u32 nonce, u64 acked
//! 0x84 RESIZE  viewer u8, u32 seq, u16 cols, u16 rows, u16 xpx, u16 ypx
//! 0x85 SIGNAL  viewer u8, u8 number                    POSIX number; INT, TERM, HUP, QUIT, KILL, USR1, USR2
//! ```
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::link::Violation;
use crate::{Ending, SessionId};

/// One WebSocket message, either opcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Binary(Bytes),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
    #[serde(default)]
    pub xpx: u16,
    #[serde(default)]
    pub ypx: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewerRole {
    Driver,
    Watcher,
}

/// What the host (broker or keeper) sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostFrame {
    Out { offset: u64, bytes: Bytes },
    InAck { offset: u64 },
    Pong { nonce: u32, device_rtt_us: u32, head: u64 },
    Snap { offset: u64, cols: u16, rows: u16, bytes: Bytes },
    Control(HostControl),
}

/// What a viewer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewerFrame {
    In { offset: u64, bytes: Bytes },
    Ack { offset: u64 },
    Ping { nonce: u32, acked: u64 },
    Resize { seq: u32, size: Size },
    Signal { number: u8 },
    Control(ViewerControl),
}

/// Setup steps, in order; each is told as it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Broker,
    Device,
    HostKey,
    Login,
    Shell,
}

/// Which leg a `state` speaks of, and how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    Steady,
    Unstable,
    Lost,
}

/// Text messages of the host: `{"t":"attached",...}`. A viewer ignores a `t` that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum HostControl {
    /// First message after a hello that was accepted.
    Attached {
        session: SessionId,
        /// Rotated at each attach; worthless without the login.
        resume: String,
        role: ViewerRole,
        /// Output goes on from here (`have`, or where the snapshot or gap leads to).
        from: u64,
        head: u64,
        /// Input of this viewer below this was taken: it sends again from here.
        in_ack: u64,
        window: u32,
        in_window: u32,
        ping_ms: u32,
        dead_ms: u32,
        size: Size,
        /// Bytes that are gone: `from..to`. A SNAP follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gap: Option<Gap>,
        /// A SNAP is the next binary message: reset the terminal, write it, go on at its offset.
        snapshot: bool,
        /// How long the shell is kept while nobody is attached, in seconds.
        kept_s: u64,
        /// Whether the shell outlives the broker (a keeper holds it).
        keeper: bool,
        device: String,
        login: String,
    },
    /// A step of the setup ended after `ms`.
    Step {
        step: Step,
        ms: u32,
    },
    /// The shell is there (all steps done). Sent also to a viewer who attaches later.
    Live,
    Size {
        size: Size,
        offset: u64,
    },
    /// The device's link changed.
    Device {
        state: LegState,
        kept_s: u64,
    },
    Notice {
        text: String,
    },
    Viewers {
        drivers: u16,
        watchers: u16,
    },
    Role {
        role: ViewerRole,
    },
    TakenOver {
        by: String,
    },
    /// The session is over; nothing follows but the close frame.
    Ended {
        ending: Ending,
    },
    /// The attach or the session failed.
    Error {
        code: crate::Code,
        text: String,
        remedy: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from: u64,
    pub to: u64,
}

/// Text messages of the viewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ViewerControl {
    Hello {
        /// Exactly one of the two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
        /// Next output offset wanted; null: nothing is there, send the screen.
        #[serde(default)]
        have: Option<u64>,
        /// Chosen at random by the page, kept over reconnects and reloads; input offsets are per viewer.
        viewer: String,
        /// The viewer's next input offset.
        in_next: u64,
        size: Size,
        #[serde(default)]
        role: Option<ViewerRole>,
        #[serde(default)]
        caps: Vec<String>,
    },
    Detach,
    TakeControl,
    RequestView,
    Kill {
        #[serde(default)]
        reason: Option<String>,
    },
    Visibility {
        hidden: bool,
    },
    #[serde(other)]
    Unknown,
}

impl HostFrame {
    pub fn encode(&self) -> Message {
        unimplemented!()
    }
    pub fn decode(_m: Message) -> Result<Option<Self>, Violation> {
        unimplemented!()
    }
}
impl ViewerFrame {
    pub fn encode(&self) -> Message {
        unimplemented!()
    }
    /// `None`: a message that this version ignores (unknown text `t`, binary 0x40-0x7F and 0xC0-0xFF).
    /// At most 64 KiB.
    pub fn decode(_m: Message) -> Result<Option<Self>, Violation> {
        unimplemented!()
    }
}
