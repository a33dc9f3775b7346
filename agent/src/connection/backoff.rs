//! How long to wait before dialling again: a random part ("full jitter") of a time that doubles, so
//! that ten thousand devices do not come back in one second.

use std::time::{Duration, Instant};

use crate::config::Timing;

/// What happened to a connection, as far as waiting is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It stood since then, and broke.
    Broke {
        /// Since when it had stood.
        since: Instant,
        /// Whether its link can still be resumed: then people are waiting.
        resumable: bool,
    },
    /// The broker could not be reached, or the greeting failed.
    Failed,
    /// The broker does not want this device, which only a person can change.
    Refused,
    /// The broker said when to come back.
    Told(Duration),
}

/// A connection that breaks sooner than this was not much of one.
const SHORT: Duration = Duration::from_secs(1);
/// So many short connections in a row may still be a bad network, on which people wait for their
/// sessions; more are a broker, or something before it, that had better not be hurried.
const SHORT_ONES_MAX: u32 = 64;

/// While people wait for their sessions, so many tries are at most this far apart: a broker that is
/// started again after a second is found within another one, and not after the eight that half a
/// dozen unlucky tries would grow to.
const AWAITED: (u32, Duration) = (30, Duration::from_secs(1));

/// The waits, and how far they have grown.
#[derive(Debug)]
pub struct Backoff {
    timing: Timing,
    failures: u32,
    short_ones: u32,
    /// People wait for their sessions.
    awaited: bool,
    /// Nobody does, and so many devices come back with this one that each takes a random part of this.
    spread: Duration,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(timing: &Timing) -> Self {
        Self { timing: timing.clone(), failures: 0, short_ones: 0, awaited: false, spread: Duration::ZERO }
    }

    /// The broker's devices are to spread over this long when they come back together; zero, where somebody waits
    /// for this one.
    pub fn may_take(&mut self, spread: Duration) {
        self.spread = spread.min(self.timing.backoff_max);
    }

    /// How long to wait now. `random` is from 0 up to 1.
    pub fn after(&mut self, now: Instant, outcome: Outcome, random: f64) -> Duration {
        match outcome {
            // Exactly when it was said: the broker has spread the devices itself.
            Outcome::Told(wait) => {
                (self.failures, self.awaited) = (0, true);
                return wait.min(self.timing.backoff_refused);
            }
            Outcome::Broke { since, resumable } => {
                self.broke(now.saturating_duration_since(since), resumable)
            }
            Outcome::Failed | Outcome::Refused => {}
        }
        let most = match outcome {
            Outcome::Refused => self.timing.backoff_refused,
            _ if self.awaited && self.failures < AWAITED.0 => AWAITED.1.min(self.timing.backoff_max),
            _ => self.timing.backoff_max,
        };
        let grown = self.timing.backoff_min.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        grown.min(most).max(self.spread).mul_f64(random)
    }

    fn broke(&mut self, stood: Duration, resumable: bool) {
        self.awaited = resumable && self.short_ones <= SHORT_ONES_MAX;
        self.short_ones = if stood < SHORT { self.short_ones.saturating_add(1) } else { 0 };
        if stood >= self.timing.stable_after || (resumable && self.short_ones <= SHORT_ONES_MAX) {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn backoff() -> Backoff {
        Backoff::new(&Settings::default().timing)
    }

    fn longest(backoff: &mut Backoff, outcome: Outcome) -> u128 {
        backoff.after(Instant::now(), outcome, 1.0).as_millis()
    }

    #[test]
    fn the_longest_wait_doubles_up_to_its_limit_and_a_random_part_is_taken() {
        let mut waits = backoff();
        let grown: Vec<u128> = (0..9).map(|_| longest(&mut waits, Outcome::Failed)).collect();
        assert_eq!(grown, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        assert_eq!(waits.after(Instant::now(), Outcome::Failed, 0.5), Duration::from_millis(7500));
        assert_eq!(waits.after(Instant::now(), Outcome::Failed, 0.0), Duration::ZERO);
        for _ in 0..100 {
            assert!(longest(&mut waits, Outcome::Failed) <= 15_000);
        }
    }

    #[test]
    fn a_stable_connection_starts_the_waits_anew_and_a_short_one_does_not() {
        let now = Instant::now();
        let (stable, short) = (now + Duration::from_secs(60), now + Duration::from_secs(59));
        let broke = Outcome::Broke { since: now, resumable: false };
        let mut waits = backoff();
        for _ in 0..5 {
            waits.after(now, Outcome::Failed, 1.0);
        }
        assert_eq!(waits.after(short, broke, 1.0).as_millis(), 8000);
        assert_eq!(waits.after(stable, broke, 1.0).as_millis(), 250);
    }

    #[test]
    fn people_who_wait_for_their_sessions_wait_little_unless_it_breaks_again_and_again_at_once() {
        let now = Instant::now();
        let broke = Outcome::Broke { since: now, resumable: true };
        let mut waits = backoff();
        for _ in 0..SHORT_ONES_MAX {
            assert_eq!(longest(&mut waits, broke), 250);
        }
        assert_eq!((longest(&mut waits, broke), longest(&mut waits, broke)), (500, 1000));
        assert_eq!(waits.after(now + SHORT, broke, 1.0).as_millis(), 250);
    }

    #[test]
    fn one_of_many_that_nobody_waits_for_takes_a_random_part_of_their_time_each_time() {
        let now = Instant::now();
        let broke = Outcome::Broke { since: now, resumable: true };
        let mut waits = backoff();
        waits.may_take(Duration::from_secs(10));
        assert_eq!(longest(&mut waits, broke), 10_000);
        assert_eq!(waits.after(now, Outcome::Failed, 0.25), Duration::from_millis(2500));
        assert_eq!(waits.after(now, Outcome::Told(Duration::from_secs(3)), 1.0), Duration::from_secs(3));
        waits.may_take(Duration::from_secs(3600));
        assert_eq!(longest(&mut waits, broke), 15_000);
        waits.may_take(Duration::ZERO);
        assert_eq!(longest(&mut waits, broke), 250);
    }

    #[test]
    fn a_refused_device_tries_slowly_and_a_told_one_when_it_was_told() {
        let mut waits = backoff();
        let longest = (0..20).map(|_| longest(&mut waits, Outcome::Refused)).max();
        assert_eq!(longest, Some(60_000));
        let told = Outcome::Told(Duration::from_millis(3456));
        assert_eq!(waits.after(Instant::now(), told, 0.1), Duration::from_millis(3456));
        let told = Outcome::Told(Duration::from_secs(1_000_000));
        assert_eq!(waits.after(Instant::now(), told, 0.1), Duration::from_secs(60));
    }
}
