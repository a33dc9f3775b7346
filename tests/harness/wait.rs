//! Waiting for events, each with a limit and a name.

use std::time::Duration;

use anyhow::{Context, Result};

/// Long enough for anything that ought to happen at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for the future, but no longer than the limit.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(limit, future).await.with_context(|| format!("waited {limit:?} for {what}"))
}

/// A probe's refusal after which it is of no use to ask again.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// For what announces itself to nobody (a process list, a gauge): asks again and again until the
/// probe gives something; the last refusal is the error.
pub async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let give_up = tokio::time::Instant::now() + limit;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if error.is::<Hopeless>() || tokio::time::Instant::now() > give_up => {
                return Err(error.context(format!("waited {limit:?} for {what}")));
            }
            Err(_) => {}
        }
    }
}
