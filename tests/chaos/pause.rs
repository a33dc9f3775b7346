//! The one place of the suite that waits for a time and not for an event: faults come at moments,
//! people type at a pace, and an init system waits before it starts something again.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// Waits so long.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The same for a thread.
#[expect(clippy::disallowed_methods, reason = "see the module")]
pub fn pause_thread(time: Duration) {
    std::thread::sleep(time);
}

/// Waits for a random time within so many milliseconds.
pub async fn a_moment(random: &mut StdRng, ms: std::ops::Range<u64>) {
    pause(Duration::from_millis(random.random_range(ms))).await;
}
