//! The only module that knows what time it is and how to wait.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Something took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} took longer than {limit:?}")]
pub struct TooLate {
    /// What was waited for.
    pub what: &'static str,
    /// How long.
    pub limit: Duration,
}

impl From<TooLate> for std::io::Error {
    fn from(late: TooLate) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, late)
    }
}

/// The monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, seconds since 1970; a board without a battery may be far off.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Waits for this, but not longer than that.
pub async fn within<T>(
    limit: Duration,
    what: &'static str,
    io: impl Future<Output = T>,
) -> Result<T, TooLate> {
    tokio::time::timeout(limit, io).await.map_err(|_| TooLate { what, limit })
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Lets time pass where there is no runtime: the whole thread waits.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn stand_still(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits until then; for ever when there is no deadline.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
