//! The terminal protocol: the same messages between broker and browser (one WebSocket per pane,
//! subprotocol `moorline.term.v1`) and between keeper and broker ([`crate::keep`]).
//!
//! - [`frame`]: every message, its layout and its limits
//! - [`host`]: the side that has the program: output ring, viewers, credit, input offsets
//! - [`viewer`]: the side that has the terminal
//!
//! What holds, whatever breaks (`tests/term_pair.rs` tries it):
//!
//! - I1: the output that a viewer gets is an exact part of the program's output, without a hole
//!   but for a gap that it is told of, and a screen as of the gap's end.
//! - I2: the program gets every byte that the driver typed once and in order.
//! - I3: output that is sent and not acknowledged is never more than the window.
//! - I4: I1 and I2 hold after any cut at any message, and so does a reload of the page.

pub mod frame;
pub mod host;
pub(crate) mod parts;
mod quiet;
pub mod viewer;

pub use frame::{HostControl, HostFrame, Message, Size, ViewerControl, ViewerFrame};
pub use host::{Host, HostConfig, HostInput, HostOutput, ViewerId};
pub use viewer::{Viewer, ViewerOutput};

use crate::Code;

/// The WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "moorline.term.v1";

/// The number for the close frame of a terminal's WebSocket. What RFC 6455 section 7.4.1 has a
/// number for gets that one: 1000 when the shell exited, 1012 when the broker restarts.
pub fn close_number(code: Code) -> u16 {
    match code {
        Code::EXITED => 1000,
        Code::GOING_AWAY => 1012,
        code => code.number(),
    }
}
