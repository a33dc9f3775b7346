//! What is done with a message in the task that reads it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What is sent for a message at once.
pub type Answers = [Option<Bytes>; 2];

/// A binary message that was just read.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// A short one, somewhere.
    Short(&'a [u8]),
    /// Any other.
    Any(&'a Bytes),
}

impl Heard<'_> {
    /// To be kept.
    pub fn to_bytes(self) -> Bytes {
        match self {
            Self::Short(bytes) => Bytes::copy_from_slice(bytes),
            Self::Any(bytes) => bytes.clone(),
        }
    }
}

impl Deref for Heard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Any(bytes) => bytes,
        }
    }
}

/// `None`: the message is for whoever speaks over the socket. Else it is where it belongs, and these are the answers.
type React = Box<dyn Fn(&Heard<'_>) -> Option<Answers> + Send>;

/// What a socket does with a message without waking whoever speaks over it: ten thousand peers that ask every five seconds
/// whether we are here are answered by the task that reads them, and a key that waits for one task less on its way waits for
/// one turn less beside a flood. Shared by a socket and its ends.
#[derive(Clone, Default)]
pub struct Reflex(Arc<Mutex<Option<React>>>);

impl Reflex {
    /// From now on the socket reacts so.
    pub fn set(&self, react: impl Fn(&Heard<'_>) -> Option<Answers> + Send + 'static) {
        *self.lock() = Some(Box::new(react));
    }

    /// From now on it does nothing by itself. When this is back, it no longer does.
    pub fn clear(&self) {
        let before = self.lock().take();
        // What it holds may wake somebody, which is not to be done under the lock.
        drop(before);
    }

    /// What is done with that message, if anything.
    pub fn react(&self, heard: &Heard<'_>) -> Option<Answers> {
        self.lock().as_ref()?(heard)
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
