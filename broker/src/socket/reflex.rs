//! What is done with a message in the task that reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What became of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// It is answered, with one message or two.
    Answer(Bytes, Option<Bytes>),
    /// It is where it belongs.
    Taken,
}

/// `None`: it is for whoever speaks over the socket.
type React = Box<dyn Fn(&Bytes) -> Option<Reaction> + Send>;

/// What a socket does with a message without waking whoever speaks over it: ten thousand peers that ask every five seconds
/// whether we are here are answered by the task that reads them, and a key that waits for one task less on its way waits for
/// one turn less beside a flood. Shared by a socket and its ends.
#[derive(Clone, Default)]
pub struct Reflex(Arc<Mutex<Option<React>>>);

impl Reflex {
    /// From now on the socket reacts so.
    pub fn set(&self, react: impl Fn(&Bytes) -> Option<Reaction> + Send + 'static) {
        *self.lock() = Some(Box::new(react));
    }

    /// From now on it does nothing by itself. When this is back, it no longer does.
    pub fn clear(&self) {
        let before = self.lock().take();
        // What it holds may wake somebody, which is not to be done under the lock.
        drop(before);
    }

    /// What is done with that message, if anything.
    pub fn react(&self, message: &Bytes) -> Option<Reaction> {
        self.lock().as_ref()?(message)
    }

    fn lock(&self) -> MutexGuard<'_, Option<React>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Reflex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reflex").field("set", &self.lock().is_some()).finish()
    }
}
