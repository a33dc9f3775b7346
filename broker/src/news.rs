//! What changes, told at once to those who listen: actors, sessions, devices.
//!
//! Nobody waits for a listener: one that is too slow misses something, and is told that it did. With
//! nobody listening, telling costs a look at a counter.

use std::sync::Arc;

use moorline_wire::{DeviceId, SessionId};
use tokio::sync::broadcast;

use crate::actor::Entry;
use crate::device::Presence;
use crate::session::SessionState;

/// What waits for the slowest listener; after that it has missed something.
const WAITING_MAX: usize = 1024;

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// An actor began, ended, failed, or is started anew.
    Actor(Arc<Entry>),
    /// A session is in this state now.
    Session(SessionId, SessionState),
    /// A device is connected in this way now.
    Device(DeviceId, Presence),
}

/// The changes of one broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct News(broadcast::Sender<Change>);

impl Default for News {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING_MAX))
    }
}

impl News {
    /// Everything that changes from now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }

    /// Something is new about an actor; it is described only if somebody listens.
    pub fn actor(&self, entry: impl FnOnce() -> Entry) {
        self.tell(|| Change::Actor(Arc::new(entry())));
    }

    /// A session is in this state now.
    pub fn session(&self, id: &SessionId, state: SessionState) {
        self.tell(|| Change::Session(id.clone(), state));
    }

    /// A device is connected in this way now.
    pub fn device(&self, id: &DeviceId, presence: Presence) {
        self.tell(|| Change::Device(id.clone(), presence));
    }

    fn tell(&self, change: impl FnOnce() -> Change) {
        if self.0.receiver_count() > 0 {
            // The last listener may have gone meanwhile.
            let _ = self.0.send(change());
        }
    }
}
