//! The frames. Binary ones for the hot path, JSON text for the rare control messages; the
//! WebSocket opcode tells them apart. All integers big-endian.
//!
//! A viewer says hello (text) and is answered with `attached` (text). From then on the host sends
//! OUT as far as its credit goes and the viewer acknowledges what its terminal has parsed; the
//! viewer sends IN and the host acknowledges what the program's side took. Every byte, both ways,
//! has an absolute offset, so that after a break each side says how far it is and goes on there.
//!
//! A text `t` that a side does not know is ignored, and so are the binary types 0x40-0x7F and
//! 0xC0-0xFF; any other unknown type is a violation. OUT and IN carry at least one byte. No offset
//! is above 2^53 - 1, because JavaScript could not count it.
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
use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use super::parts::Parts;
use crate::link::Violation;
use crate::{Code, Ending, SessionId};

/// The longest message of a viewer, and the longest text message of a host.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The most output in one OUT: small enough that a keystroke's echo does not wait long behind it.
pub const OUT_BYTES_MAX: usize = 32 * 1024;
/// The most input in one IN.
pub const IN_BYTES_MAX: usize = MESSAGE_BYTES_MAX - IN_HEADER;
/// The longest snapshot: the screen and 1000 lines of scrollback fit with room to spare.
pub const SNAP_BYTES_MAX: usize = 1024 * 1024;
/// The largest number that JavaScript counts exactly.
pub const OFFSET_MAX: u64 = (1 << 53) - 1;
/// The longest viewer key.
pub const VIEWER_KEY_MAX: usize = 64;
/// The longest reason for a kill.
pub const REASON_BYTES_MAX: usize = 1024;

const OUT: u8 = 0x01;
const IN_ACK: u8 = 0x02;
const PONG: u8 = 0x03;
const SNAP: u8 = 0x04;
const IN: u8 = 0x81;
const ACK: u8 = 0x82;
const PING: u8 = 0x83;
const RESIZE: u8 = 0x84;
const SIGNAL: u8 = 0x85;

const IN_HEADER: usize = 1 + 8;
const SNAP_HEADER: usize = 1 + 8 + 2 + 2;

/// The longest message of a host.
pub const HOST_MESSAGE_BYTES_MAX: usize = SNAP_HEADER + SNAP_BYTES_MAX;

/// One WebSocket message, either opcode.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Opcode 2.
    Binary(Bytes),
    /// Opcode 1.
    Text(String),
}

/// What a terminal measures: cells and, where known, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Width in pixels; 0 when not known.
    #[serde(default)]
    pub xpx: u16,
    /// Height in pixels; 0 when not known.
    #[serde(default)]
    pub ypx: u16,
}

impl Size {
    /// The widest screen that is kept: a cell costs some 20 bytes of memory here.
    pub const COLS_MAX: u16 = 1000;
    /// The highest screen that is kept.
    pub const ROWS_MAX: u16 = 500;

    /// The nearest size that a terminal can have: a hidden pane measures nothing, a hostile one anything.
    pub fn clamped(self) -> Self {
        Self { cols: self.cols.clamp(2, Self::COLS_MAX), rows: self.rows.clamp(1, Self::ROWS_MAX), ..self }
    }
}

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewerRole {
    /// Types and sizes; one at most.
    Driver,
    /// Looks.
    Watcher,
}

/// What the host (broker or keeper) sends.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the layout above says what each field is")]
pub enum HostFrame {
    /// Output from this absolute offset.
    Out { offset: u64, bytes: Bytes },
    /// Input of this viewer below was given to the program.
    InAck { offset: u64 },
    /// The answer to a ping: `head` is the end of the output so far.
    Pong { nonce: u32, device_rtt_us: u32, head: u64 },
    /// Rebuilds screen and modes as of `offset`; output goes on there.
    Snap { offset: u64, cols: u16, rows: u16, bytes: Bytes },
    /// A text message.
    Control(HostControl),
}

/// What a viewer sends.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the layout above says what each field is")]
pub enum ViewerFrame {
    /// Input at this absolute offset.
    In { offset: u64, bytes: Bytes },
    /// Output below was parsed by the terminal.
    Ack { offset: u64 },
    /// Asks for a PONG; says again how far the terminal has parsed.
    Ping { nonce: u32, acked: u64 },
    /// The terminal's size; the highest `seq` of a connection wins.
    Resize { seq: u32, size: Size },
    /// A POSIX signal for the program.
    Signal { number: u8 },
    /// A text message.
    Control(ViewerControl),
}

/// Setup steps, in order; each is told as it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The broker took the session.
    Broker,
    /// The device opened a stream to its sshd.
    Device,
    /// The sshd showed the pinned host key.
    HostKey,
    /// The login was accepted.
    Login,
    /// The shell runs.
    Shell,
}

/// Which leg a `state` speaks of, and how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Answers come in time.
    Steady,
    /// Nothing was heard for a while.
    Unstable,
    /// The connection is gone; it may come back.
    Lost,
}

/// Text messages of the host: `{"t":"attached",...}`. A viewer ignores a `t` that it does not know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the line above each message says what its fields are")]
pub enum HostControl {
    /// First message after a hello that was accepted.
    Attached {
        /// The session.
        session: SessionId,
        /// Rotated at each attach; worthless without the login.
        resume: String,
        /// What this viewer may do.
        role: ViewerRole,
        /// Output goes on from here (`have`, or where the snapshot or gap leads to).
        from: u64,
        /// The end of the output so far.
        head: u64,
        /// Input of this viewer below this was taken: it sends again from here.
        in_ack: u64,
        /// The most output that may be unacknowledged.
        window: u32,
        /// The most input that may be unacknowledged.
        in_window: u32,
        /// How often the viewer is to ping.
        ping_ms: u32,
        /// After how long without an answer the viewer is to give the connection up.
        dead_ms: u32,
        /// The size that the program sees.
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
        /// The device's name.
        device: String,
        /// The login on the device.
        login: String,
    },
    /// A step of the setup ended after `ms`.
    Step { step: Step, ms: u32 },
    /// The shell is there (all steps done). Sent also to a viewer who attaches later.
    Live,
    /// The driver has sized the terminal; it took effect at this output offset.
    Size { size: Size, offset: u64 },
    /// This viewer fell so far behind that output is gone: `from..to`. A SNAP follows.
    Gap(Gap),
    /// The device's link changed.
    Device { state: LegState, kept_s: u64 },
    /// A sentence for the person.
    Notice { text: String },
    /// How many are attached.
    Viewers { drivers: u16, watchers: u16 },
    /// What this viewer may do from now on.
    Role { role: ViewerRole },
    /// Somebody else types now; the connection is closed.
    TakenOver { by: String },
    /// The session is over; nothing follows but the close frame.
    Ended { ending: Ending },
    /// The attach or the session failed.
    Error {
        code: crate::Code,
        text: String,
        remedy: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// Anything that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Output that is gone for this viewer: `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first missing offset.
    pub from: u64,
    /// The first offset that is there again.
    pub to: u64,
}

/// Text messages of the viewer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the line above each message says what its fields are")]
pub enum ViewerControl {
    /// The first message of a connection.
    Hello {
        /// Exactly one of the two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        /// The token of the last `attached`.
        resume: Option<String>,
        /// Next output offset wanted; null: nothing is there, send the screen.
        #[serde(default)]
        have: Option<u64>,
        /// Chosen at random by the page, kept over reconnects and reloads; input offsets are per viewer.
        viewer: String,
        /// The viewer's next input offset.
        in_next: u64,
        /// The terminal's size; a driver's becomes the program's.
        size: Size,
        /// Driver unless said otherwise.
        #[serde(default)]
        role: Option<ViewerRole>,
        /// Optional features that the viewer knows; none in this version.
        #[serde(default)]
        caps: Vec<String>,
    },
    /// Leaves; the shell is kept.
    Detach,
    /// The page is about to be closed or loaded again. Said ahead of the close, which the end of its connection may
    /// overtake; nothing has to come of it.
    Leaving,
    /// Wants to type.
    TakeControl,
    /// Wants to look on only.
    RequestView,
    /// Wants to end the session.
    Kill {
        #[serde(default)]
        reason: Option<String>,
    },
    /// The page is hidden or shown.
    Visibility { hidden: bool },
    /// Anything that this version does not know.
    #[serde(other)]
    Unknown,
}

impl HostFrame {
    /// The message that carries this frame.
    pub fn encode(&self) -> Message {
        self.parts().into_message()
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        match self {
            Self::Out { offset, bytes } => Parts::binary(OUT, |head| head.put_u64(*offset), bytes),
            Self::InAck { offset } => Parts::binary(IN_ACK, |head| head.put_u64(*offset), &[]),
            Self::Pong { nonce, device_rtt_us, head: end } => {
                let fields = |head: &mut &mut [u8]| {
                    head.put_u32(*nonce);
                    head.put_u32(*device_rtt_us);
                    head.put_u64(*end);
                };
                Parts::binary(PONG, fields, &[])
            }
            Self::Snap { offset, cols, rows, bytes } => {
                let fields = |head: &mut &mut [u8]| {
                    head.put_u64(*offset);
                    head.put_u16(*cols);
                    head.put_u16(*rows);
                };
                Parts::binary(SNAP, fields, bytes)
            }
            Self::Control(control) => Parts::text(control),
        }
    }

    /// `None`: a message that this version ignores.
    pub fn decode(message: Message) -> Result<Option<Self>, Violation> {
        let bytes = match message {
            Message::Text(text) => return Self::decode_text(&text),
            Message::Binary(bytes) => bytes,
        };
        let mut fields = Fields::of(bytes, HOST_MESSAGE_BYTES_MAX)?;
        let frame = match fields.u8()? {
            OUT => Self::Out { offset: fields.offset()?, bytes: fields.payload(OUT_BYTES_MAX)? },
            IN_ACK => Self::InAck { offset: fields.offset()? },
            PONG => Self::Pong { nonce: fields.u32()?, device_rtt_us: fields.u32()?, head: fields.offset()? },
            SNAP => Self::Snap {
                offset: fields.offset()?,
                cols: fields.u16()?,
                rows: fields.u16()?,
                bytes: fields.rest(),
            },
            kind => return ignorable(kind),
        };
        fields.end()?;
        if let Self::Out { offset, bytes } = &frame {
            within_reach(*offset, bytes)?;
        }
        Ok(Some(frame))
    }

    fn decode_text(text: &str) -> Result<Option<Self>, Violation> {
        Ok(match control(text)? {
            HostControl::Unknown => None,
            control => Some(Self::Control(control)),
        })
    }
}

impl ViewerFrame {
    /// The message that carries this frame.
    pub fn encode(&self) -> Message {
        self.parts().into_message()
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        match self {
            Self::In { offset, bytes } => Parts::binary(IN, |head| head.put_u64(*offset), bytes),
            Self::Ack { offset } => Parts::binary(ACK, |head| head.put_u64(*offset), &[]),
            Self::Ping { nonce, acked } => {
                let fields = |head: &mut &mut [u8]| {
                    head.put_u32(*nonce);
                    head.put_u64(*acked);
                };
                Parts::binary(PING, fields, &[])
            }
            Self::Resize { seq, size } => {
                let fields = |head: &mut &mut [u8]| {
                    head.put_u32(*seq);
                    for side in [size.cols, size.rows, size.xpx, size.ypx] {
                        head.put_u16(side);
                    }
                };
                Parts::binary(RESIZE, fields, &[])
            }
            Self::Signal { number } => Parts::binary(SIGNAL, |head| head.put_u8(*number), &[]),
            Self::Control(control) => Parts::text(control),
        }
    }

    /// `None`: a message that this version ignores (unknown text `t`, binary 0x40-0x7F and 0xC0-0xFF).
    /// At most 64 KiB.
    pub fn decode(message: Message) -> Result<Option<Self>, Violation> {
        let bytes = match message {
            Message::Text(text) => return Self::decode_text(&text),
            Message::Binary(bytes) => bytes,
        };
        let mut fields = Fields::of(bytes, MESSAGE_BYTES_MAX)?;
        let frame = match fields.u8()? {
            IN => Self::In { offset: fields.offset()?, bytes: fields.payload(IN_BYTES_MAX)? },
            ACK => Self::Ack { offset: fields.offset()? },
            PING => Self::Ping { nonce: fields.u32()?, acked: fields.offset()? },
            RESIZE => Self::Resize { seq: fields.u32()?, size: fields.size()? },
            SIGNAL => Self::Signal { number: fields.u8()? },
            kind => return ignorable(kind),
        };
        fields.end()?;
        if let Self::In { offset, bytes } = &frame {
            within_reach(*offset, bytes)?;
        }
        Ok(Some(frame))
    }

    fn decode_text(text: &str) -> Result<Option<Self>, Violation> {
        let control: ViewerControl = control(text)?;
        match &control {
            ViewerControl::Unknown => return Ok(None),
            ViewerControl::Hello { ticket, resume, have, viewer, in_next, .. } => {
                if ticket.is_some() == resume.is_some() {
                    return Err(out_of_place("a hello has a ticket or a resume token, one of the two"));
                }
                let of_the_alphabet = viewer.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
                if viewer.is_empty() || viewer.len() > VIEWER_KEY_MAX || !of_the_alphabet {
                    return Err(out_of_place("a viewer key is 1 to 64 characters of A-Z, a-z, 0-9, - and _"));
                }
                if have.unwrap_or(0).max(*in_next) > OFFSET_MAX {
                    return Err(out_of_place("an offset is above 2^53 - 1"));
                }
            }
            ViewerControl::Kill { reason: Some(reason) } if reason.len() > REASON_BYTES_MAX => {
                return Err(out_of_place("the reason for a kill is too long"));
            }
            _ => {}
        }
        Ok(Some(Self::Control(control)))
    }
}

fn control<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Violation> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(too_large());
    }
    serde_json::from_str(text).map_err(|_| out_of_place("a text message is not a control message"))
}

fn ignorable<T>(kind: u8) -> Result<Option<T>, Violation> {
    match kind {
        0x40..=0x7F | 0xC0..=0xFF => Ok(None),
        _ => Err(out_of_place("a frame has an unknown type")),
    }
}

fn within_reach(offset: u64, bytes: &Bytes) -> Result<(), Violation> {
    match offset + bytes.len() as u64 > OFFSET_MAX {
        true => Err(out_of_place("an offset is above 2^53 - 1")),
        false => Ok(()),
    }
}

pub(crate) fn out_of_place(what: &'static str) -> Violation {
    Violation { code: Code::PROTOCOL, what }
}

fn too_large() -> Violation {
    Violation { code: Code::TOO_LARGE, what: "a message is larger than allowed" }
}

/// The fields of a binary frame, taken one after the other.
struct Fields(Bytes);

impl Fields {
    fn of(bytes: Bytes, bytes_max: usize) -> Result<Self, Violation> {
        if bytes.len() > bytes_max {
            return Err(too_large());
        }
        Ok(Self(bytes))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (field, _) = self.0.split_first_chunk::<N>().ok_or(out_of_place("a frame is too short"))?;
        let field = *field;
        bytes::Buf::advance(&mut self.0, N);
        Ok(field)
    }

    fn u8(&mut self) -> Result<u8, Violation> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Violation> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.take().map(u32::from_be_bytes)
    }

    fn offset(&mut self) -> Result<u64, Violation> {
        let offset = u64::from_be_bytes(self.take()?);
        match offset > OFFSET_MAX {
            true => Err(out_of_place("an offset is above 2^53 - 1")),
            false => Ok(offset),
        }
    }

    fn size(&mut self) -> Result<Size, Violation> {
        Ok(Size { cols: self.u16()?, rows: self.u16()?, xpx: self.u16()?, ypx: self.u16()? })
    }

    fn payload(&mut self, bytes_max: usize) -> Result<Bytes, Violation> {
        match self.0.len() {
            0 => Err(out_of_place("a frame carries no bytes")),
            length if length > bytes_max => Err(too_large()),
            _ => Ok(self.rest()),
        }
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), Violation> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(out_of_place("a frame is too long")),
        }
    }
}
