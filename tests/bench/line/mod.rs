//! A connected shell as bytes, one kind for each way to reach it. All of them block, on a thread of their own:
//! a key costs this client one write and one read.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Result;
use tokio_tungstenite::tungstenite;

pub mod http;
pub mod plain;
pub mod terminal;
pub mod webssh;
pub mod wetty;

/// How long a `receive` waits before it says that nothing came.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// How long the steps of connecting may take.
pub const CONNECTING: Duration = Duration::from_secs(20);

/// See the module.
pub trait Line: Send {
    /// Sends these bytes as a person types them.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// What comes next; nothing when nothing came for [`PATIENCE`].
    fn receive(&mut self) -> Result<&[u8]>;

    /// What was received is on the screen: where the server wants to know that, it is told.
    fn taken(&mut self) -> Result<()> {
        Ok(())
    }

    /// The programs on this side that serve this line alone.
    fn programs(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// Whether a read ended because nothing came.
fn nothing_came(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The message, or nothing when none came.
fn message(read: Result<tungstenite::Message, tungstenite::Error>) -> Result<Option<tungstenite::Message>> {
    match read {
        Ok(message) => Ok(Some(message)),
        Err(tungstenite::Error::Io(error)) if nothing_came(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
