//! The one place of the run that waits for a time and not for an event: people pause between keys, and a
//! slow reader reads slowly.

use std::time::Duration;

/// Waits so long.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
