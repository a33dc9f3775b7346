//! Carries a [`moorline_wire::link::Link`] on tokio: the same adapter for agent and broker.
//!
//! - [`LinkHandle`]: the machine behind a lock, shared between its one driver (who owns the
//!   WebSocket) and its streams. `Readable`, `Writable` and `Reset` outputs are turned into
//!   wake-ups here; all others go to the driver as [`Event`]s.
//! - [`LinkStream`]: one stream as `AsyncRead + AsyncWrite`.
//!
//! The driver of a transport goes round like this:
//!
//! ```text
//! handle(Connected)
//! loop {
//!     while let Some(event) = poll_event() { perform it; leave when it is Close }
//!     while the transport has room { send poll_transmit()?, or stop when there is none }
//!     wait for one of {
//!         a message of the transport       -> handle(Frame)?; on a Violation close with its code
//!         room, if the transport was full
//!         stirred()
//!         poll_timeout()                   -> handle_timeout()
//!     }
//! }
//! handle(Disconnected)
//! ```
//! A driver that is one of many tasks on its thread need not be woken for each frame: where it sets an [`Outlet`], streams send
//! through it by themselves, and where the reader of the transport calls [`LinkHandle::take`], streams are woken by it. The
//! driver has its turn when there is something for it, or no room.
//!
//! While there is no transport, somebody still has to wait for `poll_timeout()`: that is what ends
//! the streams when the device does not come back.

mod handle;
mod stream;

pub use handle::{Event, LinkHandle, Outlet};
pub use stream::{LinkStream, StreamReset, reset_code};

#[cfg(test)]
mod tests;
