//! What is counted of a session while it lives.

use moorline_wire::term::frame::ViewerRole;

use super::SessionState;
use crate::metrics::Metrics;

/// Counts this session in `sessions{state}` and its viewers in `viewers{role}`, until dropped.
pub struct Gauges {
    metrics: Metrics,
    state: Option<&'static str>,
    drivers: i64,
    watchers: i64,
}

impl Gauges {
    /// Counts nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, state: None, drivers: 0, watchers: 0 }
    }

    /// The session is in this state now.
    pub fn state(&mut self, state: SessionState) {
        let label = (state != SessionState::Ended).then_some(state.label());
        if label == self.state {
            return;
        }
        for (label, change) in [(self.state, -1), (label, 1)] {
            if let Some(label) = label {
                self.metrics.sessions(label, change);
            }
        }
        self.state = label;
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
