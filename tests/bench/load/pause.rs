//! The one place of the run that waits for a time and not for an event: a rest is a time, and people pause
//! between keys.

use std::time::Duration;

/// Waits so long.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
