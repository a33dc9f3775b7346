//! What a service manager is told (sd_notify(3)): that the agent is ready, still well, and leaving.
//!
//! Where there is none, nobody listens, which is no fault.

use sd_notify::NotifyState;

use crate::clock;

/// The agent has read its settings and begins to dial: whether the broker answers is not its state.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The agent leaves.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says again and again that all is well, if the service manager wants to hear it (`WatchdogSec=`). The agent
/// has one thread: when that is stuck, this is, too, and the service manager ends the agent and starts
/// it anew. The keepers are not its children.
pub async fn stay_alive() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        tell(NotifyState::Watchdog);
        // Half of it, as sd_watchdog_enabled(3) recommends.
        clock::pass(limit / 2).await;
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(&[state]) {
        tracing::debug!(%err, "could not tell the service manager");
    }
}
