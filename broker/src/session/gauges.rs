//! What is counted of a session while it lives.

use moorline_wire::term::frame::ViewerRole;

use super::SessionState;
use crate::metrics::Metrics;

/// Counts this session in `sessions{state}` and its viewers in `viewers{role}`, until dropped.
pub struct Gauges {
    metrics: Metrics,
    state: Option<SessionState>,
    drivers: i64,
    watchers: i64,
}

impl Gauges {
    /// Counts nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, state: None, drivers: 0, watchers: 0 }
    }

    /// The session is in this state now. `false`: it was already.
    pub fn state(&mut self, state: SessionState) -> bool {
        let state = (state != SessionState::Ended).then_some(state);
        if state == self.state {
            return false;
        }
        for (state, change) in [(self.state, -1), (state, 1)] {
            if let Some(state) = state {
                self.metrics.sessions(state, change);
            }
        }
        self.state = state;
        true
    }

    /// So many are attached now.
    pub fn viewers(&mut self, drivers: usize, watchers: usize) {
        let (drivers, watchers) = (drivers as i64, watchers as i64);
        self.metrics.viewers(ViewerRole::Driver, drivers - self.drivers);
        self.metrics.viewers(ViewerRole::Watcher, watchers - self.watchers);
        (self.drivers, self.watchers) = (drivers, watchers);
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.state(SessionState::Ended);
        self.viewers(0, 0);
    }
}
