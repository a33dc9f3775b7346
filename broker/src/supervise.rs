//! What happens after an actor's end: pure, without actors and without a clock.
//!
//! A child that stops because it was told to is gone. A child that fails is started anew by its
//! parent after a wait that doubles, and is given up when it fails too often: a fault that comes
//! back at once is not cured by one more start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It stopped by itself, or because it was told to.
    Stopped,
    /// Its task was dropped from outside.
    Cancelled,
    /// It panicked.
    Panicked,
}

impl Cause {
    /// The cause as a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Cause::Stopped => "stopped",
            Cause::Cancelled => "cancelled",
            Cause::Panicked => "panicked",
        }
    }
}

/// How often a child may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many restarts ...
    pub restarts: usize,
    /// ... within this time.
    pub window: Duration,
    /// The wait before the first restart; each further one within the window waits twice as long.
    pub backoff: Duration,
}

/// What to do with a child that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start it anew after this long.
    RestartAfter(Duration),
    /// Leave it: its ending is `gave_up`.
    GiveUp,
}

/// The failures of one child, as far as they still count.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: Policy,
    /// When it failed, the oldest first; at most `policy.restarts` of them.
    failures: VecDeque<Instant>,
}

impl Restarts {
    /// A child that has not failed yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// The child failed now.
    pub fn failed(&mut self, now: Instant) -> Verdict {
        self.forget_before(now);
        if self.failures.len() >= self.policy.restarts {
            return Verdict::GiveUp;
        }
        // 2^16 x 100 ms is two hours: no sensible window is longer than that.
        let doublings = self.failures.len().min(16) as u32;
        self.failures.push_back(now);
        Verdict::RestartAfter(self.policy.backoff.saturating_mul(1 << doublings))
    }

    /// Whether one more failure now would be one too many.
    pub fn worn_out(&mut self, now: Instant) -> bool {
        self.forget_before(now);
        self.failures.len() >= self.policy.restarts
    }

    /// How many failures still count.
    pub fn count(&self) -> usize {
        self.failures.len()
    }

    fn forget_before(&mut self, now: Instant) {
        while self.failures.front().is_some_and(|at| now.duration_since(*at) > self.policy.window) {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { restarts: 5, window: Duration::from_secs(60), backoff: Duration::from_millis(100) };

    #[test]
    fn each_restart_waits_twice_as_long_and_the_sixth_failure_in_a_minute_is_given_up() {
        let start = Instant::now();
        let mut restarts = Restarts::new(POLICY);
        let waits: Vec<_> = (0..6).map(|n| restarts.failed(start + Duration::from_secs(n))).collect();
        let expected: Vec<_> = [100, 200, 400, 800, 1600]
            .into_iter()
            .map(|ms| Verdict::RestartAfter(Duration::from_millis(ms)))
            .chain([Verdict::GiveUp])
            .collect();
        assert_eq!(waits, expected);
        assert!(restarts.worn_out(start + Duration::from_secs(6)));
    }

    #[test]
    fn failures_older_than_the_window_do_not_count() {
        let start = Instant::now();
        let mut restarts = Restarts::new(POLICY);
        for n in 0..100 {
            let verdict = restarts.failed(start + n * Duration::from_secs(61));
            assert_eq!(verdict, Verdict::RestartAfter(Duration::from_millis(100)));
        }
        assert_eq!(restarts.count(), 1);
    }
}
