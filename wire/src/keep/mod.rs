//! What broker and keeper say to each other, inside an SSH channel that runs
//! `moorline-agent keep --session ID`.
//!
//! The keeper is the host of the terminal protocol ([`crate::term::Host`]); the broker carries the
//! messages of its viewers to it and back as they are, each with the viewer's number, and adds what
//! concerns the session as a whole:
//!
//! - [`frame`]: every message, its layout and its limits
//! - [`stream`]: the messages in a byte stream
//!
//! The program writes [`stream::PREAMBLE`] first: what came before it was written by the login's
//! own start-up files and is skipped. The broker's first message is TAKE, with an epoch; the answer
//! is TAKEN, or ABSENT, SUPERSEDED or FAILED, after which the program ends.
//!
//! - Of two brokers the one with the higher epoch has the session; the other is told SUPERSEDED at
//!   that moment and nothing that it sends is heard any more. So two can never both type.
//! - A TAKE that says how to create the keeper starts one if there is none; one that does not is
//!   answered ABSENT. A shell is never started twice.
//! - When the program has ended, ENDED says how, now and to every later TAKE, until BYE says that it
//!   is written down. Viewers still get the rest of the output.
//! - END ends the program (SIGHUP to its process group, SIGKILL after the grace); ENDED follows.
//! - The keeper goes after BYE, which it answers with GONE, or when nobody came for `orphaned_for`.

pub mod frame;
pub mod stream;

pub use frame::{Create, FromKeeper, KeeperControl, OrderControl, Taken, ToKeeper};
pub use stream::{Decoder, PREAMBLE};

/// The version of these messages. A keeper outlives the agent that started it, and so its version:
/// what is added later is optional.
pub const VERSION: u16 = 1;
