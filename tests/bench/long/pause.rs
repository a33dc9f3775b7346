//! The one place of these measures that waits for a time and not for an event: a reader stands still for a minute,
//! a flood runs for half of one, and people pause between keys.

use std::time::Duration;

/// Waits so long.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
