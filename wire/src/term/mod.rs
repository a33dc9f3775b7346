//! The terminal protocol: the same messages between broker and browser (one WebSocket per pane,
//! subprotocol `moorline.term.v1`) and, later, keeper and broker (length-prefixed, `frame::Prefixed`).
//! (This file is the fixed public face; the helper who owns wire::term fills it in.)

pub mod frame;
pub mod host;
pub mod viewer;

pub use frame::{HostControl, HostFrame, Message, Size, ViewerControl, ViewerFrame};
pub use host::{Host, HostConfig, HostInput, HostOutput, ViewerId};

/// The WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "moorline.term.v1";
