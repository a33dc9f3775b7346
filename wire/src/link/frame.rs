//! The frames of a link. One frame is one binary WebSocket message; big-endian; nothing may
//! follow a frame's last field.
//!
//! **Steady state.** The broker opens streams, numbered upwards (a number may be skipped, never
//! used twice). Each end sends DATA up to the absolute offset that the other allowed. At first
//! that is the `limit` of OPEN for the acceptor and [`INITIAL_WINDOW`] for the opener, so that
//! its first bytes need not wait. CREDIT acknowledges and allows more; an end acknowledges at the
//! latest after [`ACK_BYTES`] or [`ACK_FRAMES`], FIN at once, and everything when a PING asks. An acknowledged FIN is the last
//! that is said of a direction; when both are, the stream is forgotten. RESET ends both
//! directions at once; until its RESET_OK, what the other end had under way is passed over.
//!
//! **Resume.** On a new transport of an old link, each end's first frame is RESUME, and it sends
//! nothing else before it has the other's. RESUME lists every stream that its sender knows, in
//! ascending order: those it still uses, and those it has reset without hearing a RESET_OK. Then
//! - an OPEN of a number from the other's `next_stream` on is sent again,
//! - DATA is sent again from the other's `received` on, and FIN unless the other has it,
//! - a stream listed as reset is ended, and answered with RESET_OK,
//! - a stream that one end knows and the other (which saw its OPEN) does not list was finished
//!   there: all of it had arrived, only the last CREDIT is lost.
//!
//! ```text
//! OPEN       10 stream:4 target:1 class:1 limit:8         broker to agent only
//! DATA       11 stream:4 offset:8 bytes (1 or more)
//! CREDIT     12 stream:4 received:8 limit:8 flags:1       flags: 1 = FIN received
//! FIN        13 stream:4 offset:8                         the offset after the last byte
//! RESET      14 stream:4 code:2
//! RESET_OK   15 stream:4
//! PING       16 nonce:8                                   asks for every acknowledgement, too
//! PONG       17 nonce:8                                   answers the newest ping; older need none, and one that comes later says nothing
//! GOING_AWAY 18 come_back_after_ms:4                      broker to agent only
//! RESUME     19 next_stream:4 count:2 count times {stream:4 received:8 limit:8 flags:1 code:2}
//!                                                         flags: 1 = FIN received, 2 = reset (with code)
//! ```
//! Version 1: as above.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Class, Target, Violation};
use crate::{Code, StreamId};

/// No frame is longer. Ours have 33 KiB of data at most; RESUME of every stream has 47 KiB.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// How far the opener of a stream may send before it is told a limit: enough for an SSH
/// handshake, so that setting up costs no round trip.
pub const INITIAL_WINDOW: u64 = 64 * 1024;

/// What has arrived is acknowledged at the latest after this many bytes. A terminal that prints
/// a screen costs one CREDIT, not ten; the sender keeps at most this much longer than it must.
pub const ACK_BYTES: u64 = 16 * 1024;

/// ... and at the latest after this many frames: the sender keeps each keystroke as a chunk.
pub const ACK_FRAMES: u32 = 32;

/// The most streams in RESUME: 512 in use at an opener, twice that at an acceptor, and as many
/// waiting for RESET_OK, so that RESUME is always shorter than [`FRAME_BYTES_MAX`].
pub const RESUMED_MAX: usize = 2048;

/// The length of a DATA frame before its bytes.
pub const DATA_HEADER: usize = 13;

const OPEN: u8 = 0x10;
const DATA: u8 = 0x11;
const CREDIT: u8 = 0x12;
const FIN: u8 = 0x13;
const RESET: u8 = 0x14;
const RESET_OK: u8 = 0x15;
const PING: u8 = 0x16;
const PONG: u8 = 0x17;
const GOING_AWAY: u8 = 0x18;
const RESUME: u8 = 0x19;

const FLAG_FINISHED: u8 = 1;
const FLAG_RESET: u8 = 2;

/// One frame of a link.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// The broker opens a stream; the agent may send up to `limit` on it.
    Open {
        /// Larger than every number before it.
        stream: StreamId,
        /// What the agent is to connect it to.
        target: Target,
        /// How it is treated beside others.
        class: Class,
        /// Up to which offset the agent may send.
        limit: u64,
    },
    /// Bytes of a stream.
    Data {
        /// Of which stream.
        stream: StreamId,
        /// How many bytes of this direction came before.
        offset: u64,
        /// At least one.
        bytes: Bytes,
    },
    /// How far the sender of this frame is, and how far it will let the other go.
    Credit {
        /// Of which stream.
        stream: StreamId,
        /// Every byte before this offset has arrived: the other need not keep it.
        received: u64,
        /// The other may send up to this offset. Never goes back.
        limit: u64,
        /// FIN has arrived, too.
        finished: bool,
    },
    /// The direction ends at this offset.
    Fin {
        /// Of which stream.
        stream: StreamId,
        /// How many bytes the direction had.
        offset: u64,
    },
    /// The stream is over at once, in both directions.
    Reset {
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: Code,
    },
    /// The stream of a RESET is forgotten here, too: nothing of it comes any more.
    ResetOk {
        /// Which stream.
        stream: StreamId,
    },
    /// Are you there?
    Ping {
        /// To be sent back.
        nonce: u64,
    },
    /// I am.
    Pong {
        /// That of the newest ping.
        nonce: u64,
    },
    /// The broker goes away.
    GoingAway {
        /// When to come back.
        come_back_after_ms: u32,
    },
    /// How far the sender of this frame is with everything.
    Resume {
        /// The number that the next OPEN may have at the least.
        next_stream: u32,
        /// Every stream that the sender knows, in ascending order.
        streams: Vec<Resumed>,
    },
}

/// One stream of RESUME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// Which stream.
    pub stream: StreamId,
    /// How far it is.
    pub state: ResumedState,
}

/// How far one end of a resumed link is with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumedState {
    /// Still in use. The fields are those of CREDIT.
    Open {
        /// Every byte before this offset has arrived.
        received: u64,
        /// Up to which offset the other may send.
        limit: u64,
        /// FIN has arrived, too.
        finished: bool,
    },
    /// Reset with this code; RESET_OK has not arrived.
    Reset(Code),
}

impl Frame {
    /// The frame as it goes over the wire.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32);
        match self {
            Self::Open { stream, target, class, limit } => {
                head(&mut out, OPEN, *stream);
                out.put_u8(target_number(*target));
                out.put_u8(class_number(*class));
                out.put_u64(*limit);
            }
            Self::Data { stream, offset, bytes } => {
                out.reserve(DATA_HEADER + bytes.len());
                data_header(&mut out, *stream, *offset);
                out.put_slice(bytes);
            }
            Self::Credit { stream, received, limit, finished } => {
                head(&mut out, CREDIT, *stream);
                out.put_u64(*received);
                out.put_u64(*limit);
                out.put_u8(if *finished { FLAG_FINISHED } else { 0 });
            }
            Self::Fin { stream, offset } => {
                head(&mut out, FIN, *stream);
                out.put_u64(*offset);
            }
            Self::Reset { stream, code } => {
                head(&mut out, RESET, *stream);
                out.put_u16(code.number());
            }
            Self::ResetOk { stream } => head(&mut out, RESET_OK, *stream),
            Self::Ping { nonce } => numbered(&mut out, PING, *nonce),
            Self::Pong { nonce } => numbered(&mut out, PONG, *nonce),
            Self::GoingAway { come_back_after_ms } => {
                out.put_u8(GOING_AWAY);
                out.put_u32(*come_back_after_ms);
            }
            Self::Resume { next_stream, streams } => encode_resume(&mut out, *next_stream, streams),
        }
        out.freeze()
    }

    /// The frame, if it is a whole PING or PONG.
    pub(super) fn beat(frame: &[u8]) -> Option<Self> {
        let (&kind, nonce) = frame.split_first()?;
        let nonce = u64::from_be_bytes(nonce.try_into().ok()?);
        match kind {
            PING => Some(Self::Ping { nonce }),
            PONG => Some(Self::Pong { nonce }),
            _ => None,
        }
    }

    /// Reads a frame. What is not exactly of a frame's form is a [`Violation`]; offsets and
    /// stream numbers are judged by the link.
    pub fn decode(frame: Bytes) -> Result<Self, Violation> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Violation { code: Code::TOO_LARGE, what: "a frame of more than 64 KiB" });
        }
        let mut rest = frame;
        let decoded = match u8_of(&mut rest)? {
            OPEN => Self::Open {
                stream: stream_of(&mut rest)?,
                target: target_of(u8_of(&mut rest)?)?,
                class: class_of(u8_of(&mut rest)?)?,
                limit: u64_of(&mut rest)?,
            },
            DATA => return decode_data(rest),
            CREDIT => Self::Credit {
                stream: stream_of(&mut rest)?,
                received: u64_of(&mut rest)?,
                limit: u64_of(&mut rest)?,
                finished: finished_of(u8_of(&mut rest)?)?,
            },
            FIN => Self::Fin { stream: stream_of(&mut rest)?, offset: u64_of(&mut rest)? },
            RESET => {
                Self::Reset { stream: stream_of(&mut rest)?, code: Code::from_number(u16_of(&mut rest)?) }
            }
            RESET_OK => Self::ResetOk { stream: stream_of(&mut rest)? },
            PING => Self::Ping { nonce: u64_of(&mut rest)? },
            PONG => Self::Pong { nonce: u64_of(&mut rest)? },
            GOING_AWAY => Self::GoingAway { come_back_after_ms: u32_of(&mut rest)? },
            RESUME => decode_resume(&mut rest)?,
            _ => return Err(Violation::of("a frame of an unknown type")),
        };
        if !rest.is_empty() {
            return Err(Violation::of("a frame with bytes after its end"));
        }
        Ok(decoded)
    }
}

/// Writes all of a DATA frame that stands before its bytes: exactly [`DATA_HEADER`] bytes.
pub(super) fn data_header(out: &mut BytesMut, stream: StreamId, offset: u64) {
    head(out, DATA, stream);
    out.put_u64(offset);
}

fn head(out: &mut BytesMut, kind: u8, stream: StreamId) {
    out.put_u8(kind);
    out.put_u32(stream.0);
}

fn numbered(out: &mut BytesMut, kind: u8, nonce: u64) {
    out.put_u8(kind);
    out.put_u64(nonce);
}

fn encode_resume(out: &mut BytesMut, next_stream: u32, streams: &[Resumed]) {
    let count = u16::try_from(streams.len()).expect("a link knows at most RESUMED_MAX streams");
    out.put_u8(RESUME);
    out.put_u32(next_stream);
    out.put_u16(count);
    for resumed in streams {
        let (received, limit, flags, code) = match resumed.state {
            ResumedState::Open { received, limit, finished } => (received, limit, u8::from(finished), 0),
            ResumedState::Reset(code) => (0, 0, FLAG_RESET, code.number()),
        };
        out.put_u32(resumed.stream.0);
        out.put_u64(received);
        out.put_u64(limit);
        out.put_u8(flags);
        out.put_u16(code);
    }
}

fn decode_data(mut rest: Bytes) -> Result<Frame, Violation> {
    let stream = stream_of(&mut rest)?;
    let offset = u64_of(&mut rest)?;
    if rest.is_empty() {
        return Err(Violation::of("DATA without data"));
    }
    Ok(Frame::Data { stream, offset, bytes: rest })
}

fn decode_resume(rest: &mut Bytes) -> Result<Frame, Violation> {
    let next_stream = u32_of(rest)?;
    let count = usize::from(u16_of(rest)?);
    if count > RESUMED_MAX {
        return Err(Violation { code: Code::LIMIT, what: "RESUME of more streams than a link may have" });
    }
    let mut streams: Vec<Resumed> = Vec::with_capacity(count);
    for _ in 0..count {
        let resumed = resumed_of(rest)?;
        if streams.last().is_some_and(|last| last.stream >= resumed.stream) {
            return Err(Violation::of("RESUME with streams out of order"));
        }
        streams.push(resumed);
    }
    Ok(Frame::Resume { next_stream, streams })
}

fn resumed_of(rest: &mut Bytes) -> Result<Resumed, Violation> {
    let stream = stream_of(rest)?;
    let (received, limit, flags, code) = (u64_of(rest)?, u64_of(rest)?, u8_of(rest)?, u16_of(rest)?);
    let state = match (flags, received, limit, code) {
        (0 | FLAG_FINISHED, _, _, 0) => {
            ResumedState::Open { received, limit, finished: flags == FLAG_FINISHED }
        }
        (FLAG_RESET, 0, 0, _) => ResumedState::Reset(Code::from_number(code)),
        _ => return Err(Violation::of("RESUME with flags that do not fit")),
    };
    Ok(Resumed { stream, state })
}

fn target_number(target: Target) -> u8 {
    match target {
        Target::Sshd => 0,
        Target::KeeperControl => 1,
    }
}

fn target_of(number: u8) -> Result<Target, Violation> {
    match number {
        0 => Ok(Target::Sshd),
        1 => Ok(Target::KeeperControl),
        _ => Err(Violation::of("OPEN of an unknown target")),
    }
}

fn class_number(class: Class) -> u8 {
    match class {
        Class::Interactive => 0,
        Class::Bulk => 1,
    }
}

fn class_of(number: u8) -> Result<Class, Violation> {
    match number {
        0 => Ok(Class::Interactive),
        1 => Ok(Class::Bulk),
        _ => Err(Violation::of("OPEN of an unknown class")),
    }
}

fn finished_of(flags: u8) -> Result<bool, Violation> {
    match flags {
        0 => Ok(false),
        FLAG_FINISHED => Ok(true),
        _ => Err(Violation::of("CREDIT with unknown flags")),
    }
}

fn stream_of(rest: &mut Bytes) -> Result<StreamId, Violation> {
    match u32_of(rest)? {
        0 => Err(Violation::of("a frame of stream 0, which there never is")),
        number => Ok(StreamId(number)),
    }
}

fn u8_of(rest: &mut Bytes) -> Result<u8, Violation> {
    rest.try_get_u8().map_err(|_| Violation::TRUNCATED)
}

fn u16_of(rest: &mut Bytes) -> Result<u16, Violation> {
    rest.try_get_u16().map_err(|_| Violation::TRUNCATED)
}

fn u32_of(rest: &mut Bytes) -> Result<u32, Violation> {
    rest.try_get_u32().map_err(|_| Violation::TRUNCATED)
}

fn u64_of(rest: &mut Bytes) -> Result<u64, Violation> {
    rest.try_get_u64().map_err(|_| Violation::TRUNCATED)
}

impl Violation {
    const TRUNCATED: Self = Self { code: Code::PROTOCOL, what: "a frame that ends too early" };

    /// Most violations need no code of their own.
    pub(super) fn of(what: &'static str) -> Self {
        Self { code: Code::PROTOCOL, what }
    }
}
