//! What Moorline's programs say to each other, as pure state machines.
//!
//! In reading order:
//!
//! - [`code`]: every reason for which anything is refused or ends, one line each
//! - [`id`]: the ids, each with a type of its own
//! - [`install_key`]: the form of the keys with which devices enrol
//! - [`ending`]: why a session is over
//! - [`link`]: agent <-> broker, many streams over one WebSocket that may break at any byte
//! - [`term`]: the terminal protocol, host side and viewer side
//! - [`keep`]: broker <-> keeper, the same for all viewers of a session
//!
//! The machines are deterministic. This crate knows no tokio, no actix, no socket, no file and
//! no clock: whoever drives a machine tells it the time, feeds it one input, takes every output,
//! and comes back at the deadline that it names.

pub mod code;
pub mod ending;
pub mod id;
pub mod install_key;
pub mod keep;
pub mod link;
pub mod term;

pub use code::Code;
pub use ending::{Ending, Exit};
pub use id::{DeviceId, SessionId, StreamId};
