//! The messages between broker and keeper.
//!
//! ```text
//! kind 0  u64 viewer, binary message of the terminal protocol
//! kind 1  u64 viewer, text message of the terminal protocol
//! kind 2  JSON: an order of the broker, or a word of the keeper
//! ```
//! A control message with a `t` that a side does not know is ignored.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::stream::Raw;
use crate::link::Violation;
use crate::term::frame::{HostControl, HostFrame, Size, ViewerFrame, ViewerRole, out_of_place};
use crate::term::parts::Parts;
use crate::{Code, Exit, SessionId};

/// The longest control message: a command, or a hello's answer, with room to spare.
pub const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// What stands before the output in a message to a viewer: the length, the kind and the viewer's number, then the kind and the
/// offset of an OUT.
pub const OUT_HEAD: usize = 4 + 1 + 8 + 1 + 8;

pub(super) const BINARY: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const CONTROL: u8 = 2;

/// What the broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToKeeper {
    /// What a viewer does.
    Frame(u64, ViewerFrame),
    /// What the broker wants.
    Order(OrderControl),
}

/// What the keeper sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromKeeper {
    /// What a viewer is to see.
    Frame(u64, HostFrame),
    /// What concerns the session.
    Control(KeeperControl),
}

/// What the broker wants: `{"t":"take",...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum OrderControl {
    /// The session is mine. The first message.
    Take {
        /// [`super::VERSION`].
        version: u16,
        /// Which session.
        session: SessionId,
        /// Larger than that of every take before, of whichever broker.
        epoch: u64,
        /// How to start the keeper if there is none; without it, there must be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        create: Option<Create>,
    },
    /// A viewer attaches.
    Join {
        /// Its number; never used twice under one epoch.
        viewer: u64,
        /// The key under which its input offsets are remembered.
        key: String,
        /// For "taken over by": who, in words.
        who: String,
        /// The next output offset wanted; none: the screen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        have: Option<u64>,
        /// Its next input offset.
        in_next: u64,
        /// The size of its terminal; a driver's becomes the program's.
        size: Size,
        /// What it may do.
        role: ViewerRole,
        /// The answer to its hello, but for what the host fills in. The resume token is empty: the
        /// device has no use for it.
        attached: Box<HostControl>,
    },
    /// A viewer's connection is gone.
    Leave {
        /// Its number.
        viewer: u64,
    },
    /// End the program.
    End,
    /// How the program ended is written down: go.
    Bye,
    /// Anything that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How to start a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// A command for the login's shell; none: the shell itself, as a login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The first size of the terminal.
    pub size: Size,
    /// How much output is kept.
    pub ring_bytes: u32,
    /// When the ring is full and nobody reads: stop the program (nothing is lost), or let the
    /// oldest output go.
    pub hold: bool,
    /// How long it is kept while no broker comes, in seconds.
    pub orphaned_for_s: u64,
    /// How long the program has between SIGHUP and SIGKILL, in milliseconds.
    pub grace_ms: u32,
    /// Unacknowledged output per viewer.
    pub window: u32,
    /// Unacknowledged input per viewer.
    pub in_window: u32,
    /// How many viewers there may be.
    pub viewers_max: u16,
    /// How long a program that writes much waits for a driver whose connection broke, in milliseconds.
    pub driver_back_within_ms: u32,
}

/// What the keeper says: `{"t":"taken",...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum KeeperControl {
    /// The session is yours.
    Taken(Taken),
    /// There is no keeper of that session.
    Absent,
    /// A broker with this epoch has it.
    Superseded {
        /// The higher epoch.
        epoch: u64,
    },
    /// The keeper, or its program, cannot be started.
    Failed {
        /// Why, for the log.
        text: String,
    },
    /// Close that viewer's connection, when what came for it before is sent.
    Close {
        /// Its number.
        viewer: u64,
        /// With this code.
        code: Code,
    },
    /// How many are attached.
    Viewers {
        /// Those who type: one at most.
        drivers: u16,
        /// Those who look.
        watchers: u16,
    },
    /// The program has ended.
    Ended {
        /// How.
        exit: Exit,
    },
    /// The last word: nothing of the session is left on the device.
    Gone,
    /// Anything that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How the session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The keeper's [`super::VERSION`].
    pub version: u16,
    /// Whether this take started it.
    pub created: bool,
    /// The end of the output so far.
    pub head: u64,
    /// The offset of the oldest output that is kept.
    pub oldest: u64,
    /// How long ago somebody typed, in milliseconds; since the start, if nobody did.
    pub idle_ms: u64,
    /// How the program ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

impl ToKeeper {
    /// The bytes in the stream.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Frame(viewer, frame) => of_viewer(&mut bytes, *viewer, &frame.parts()),
            Self::Order(order) => of_control(&mut bytes, order),
        }
        bytes.freeze()
    }

    /// `None`: a message that this version ignores.
    pub fn decode(raw: Raw) -> Result<Option<Self>, Violation> {
        match raw {
            Raw::Viewer(viewer, message) => {
                Ok(ViewerFrame::decode(message)?.map(|frame| Self::Frame(viewer, frame)))
            }
            Raw::Control(json) => Ok(match control(&json)? {
                OrderControl::Unknown => None,
                order => Some(Self::Order(order)),
            }),
        }
    }
}

impl FromKeeper {
    /// The bytes in the stream.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        self.encode_into(&mut bytes);
        bytes.freeze()
    }

    /// The same, behind what is there.
    pub fn encode_into(&self, bytes: &mut BytesMut) {
        match self {
            Self::Frame(viewer, frame) => of_viewer(bytes, *viewer, &frame.parts()),
            Self::Control(control) => of_control(bytes, control),
        }
    }

    /// `None`: a message that this version ignores.
    pub fn decode(raw: Raw) -> Result<Option<Self>, Violation> {
        match raw {
            Raw::Viewer(viewer, message) => {
                Ok(HostFrame::decode(message)?.map(|frame| Self::Frame(viewer, frame)))
            }
            Raw::Control(json) => Ok(match control(&json)? {
                KeeperControl::Unknown => None,
                control => Some(Self::Control(control)),
            }),
        }
    }
}

fn of_viewer(bytes: &mut BytesMut, viewer: u64, frame: &Parts<'_>) {
    let (kind, head, tail) = match frame {
        Parts::Binary { head, length, bytes } => (BINARY, &head[..*length], *bytes),
        Parts::Text(text) => (TEXT, text.as_bytes(), [].as_slice()),
    };
    put_head(bytes, kind, 8 + head.len() + tail.len());
    bytes.put_u64(viewer);
    bytes.put_slice(head);
    bytes.put_slice(tail);
}

fn of_control(bytes: &mut BytesMut, control: &impl Serialize) {
    let json = serde_json::to_vec(control).expect("a control message has string keys only");
    put_head(bytes, CONTROL, json.len());
    bytes.put_slice(&json);
}

fn put_head(bytes: &mut BytesMut, kind: u8, length: usize) {
    bytes.reserve(4 + 1 + length);
    bytes.put_u32(u32::try_from(1 + length).expect("a message is at most 1 MiB"));
    bytes.put_u8(kind);
}

fn control<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, Violation> {
    serde_json::from_slice(json).map_err(|_| out_of_place("a control message is not understood"))
}
