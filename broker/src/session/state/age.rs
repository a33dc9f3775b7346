//! How old a session may get, and for how long nobody may type in it, with a warning before.

use std::time::{Duration, Instant};

use moorline_wire::{Code, Ending};

use super::words::in_words;
use crate::metrics::Wait;

/// What is allowed. Zero: as long as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgeLimits {
    /// For how long nobody may type.
    pub idle: Duration,
    /// From its beginning to its end.
    pub longest: Duration,
    /// How long before the end people are warned.
    pub warning: Duration,
}

/// What is due.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    /// Say this.
    Warn(String),
    /// End it; which limit that was, for the metrics.
    End(Ending, Wait),
}

/// How old a session is.
#[derive(Debug)]
pub(super) struct Age {
    limits: AgeLimits,
    /// When this began to count, and how old the session was then.
    seen: (Instant, Duration),
    typed: Instant,
    warned_of_idle: bool,
    warned_of_age: bool,
}

impl Age {
    pub(super) fn new(limits: AgeLimits, now: Instant) -> Self {
        Self::of(limits, now, Duration::ZERO)
    }

    pub(super) fn of(limits: AgeLimits, now: Instant, age: Duration) -> Self {
        Self { limits, seen: (now, age), typed: now, warned_of_idle: false, warned_of_age: false }
    }

    pub(super) fn typed(&mut self, now: Instant, ago: Duration) {
        self.typed = now.checked_sub(ago).unwrap_or(self.typed);
        self.warned_of_idle = false;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let idle = self.idle_end().map(|end| self.warning_or(end, self.warned_of_idle));
        let age = self.age_end().map(|end| self.warning_or(end, self.warned_of_age));
        idle.into_iter().chain(age).min()
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if let Some(end) = self.age_end().filter(|end| self.warning_or(*end, self.warned_of_age) <= now) {
            self.warned_of_age = true;
            return Some(match end <= now {
                true => Due::End(self.too_old(), Wait::SessionMax),
                false => Due::Warn(format!(
                    "This session ends in {}: it may last {} at most.",
                    in_words(end - now),
                    in_words(self.limits.longest)
                )),
            });
        }
        let end = self.idle_end().filter(|end| self.warning_or(*end, self.warned_of_idle) <= now)?;
        self.warned_of_idle = true;
        Some(match end <= now {
            true => Due::End(self.too_idle(), Wait::SessionIdle),
            false => Due::Warn(format!(
                "This session ends in {}, because nobody typed for a while. Press a key to keep it.",
                in_words(end - now)
            )),
        })
    }

    fn idle_end(&self) -> Option<Instant> {
        (!self.limits.idle.is_zero()).then(|| self.typed + self.limits.idle)
    }

    fn age_end(&self) -> Option<Instant> {
        let (since, age) = self.seen;
        let longest = self.limits.longest;
        (!longest.is_zero()).then(|| since + longest.saturating_sub(age))
    }

    fn warning_or(&self, end: Instant, warned: bool) -> Instant {
        match warned {
            true => end,
            false => end.checked_sub(self.limits.warning).unwrap_or(end),
        }
    }

    fn too_idle(&self) -> Ending {
        let idle = in_words(self.limits.idle);
        Ending::of(Code::IDLE_LIMIT).saying(format!("Nobody typed for {idle}, so the session was ended."))
    }

    fn too_old(&self) -> Ending {
        let longest = in_words(self.limits.longest);
        Ending::of(Code::MAX_DURATION)
            .saying(format!("The session has reached its longest duration, {longest}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const LIMITS: AgeLimits = AgeLimits {
        idle: Duration::from_secs(600),
        longest: Duration::from_secs(3600),
        warning: Duration::from_secs(60),
    };

    /// Goes to what is due next; gives when that is, counted from the start.
    fn next(age: &mut Age, start: Instant) -> (u64, Due) {
        let at = age.next().expect("something is due");
        ((at - start).as_secs(), age.due(at).expect("it is due now"))
    }

    #[test]
    fn who_does_not_type_is_warned_a_minute_before_the_end() {
        let start = Instant::now();
        let mut age = Age::new(LIMITS, start);
        let (at, due) = next(&mut age, start);
        assert_eq!(at, 540);
        assert!(matches!(due, Due::Warn(text) if text.contains("1 minute") && text.contains("Press a key")));
        let (at, due) = next(&mut age, start);
        assert_eq!(at, 600);
        assert!(matches!(due, Due::End(ending, Wait::SessionIdle) if ending.code == Code::IDLE_LIMIT));
    }

    #[test]
    fn a_key_keeps_it_and_the_warning_comes_again() {
        let start = Instant::now();
        let mut age = Age::new(LIMITS, start);
        next(&mut age, start);
        age.typed(start + seconds(550), Duration::ZERO);
        let (at, due) = next(&mut age, start);
        assert_eq!(at, 550 + 540);
        assert!(matches!(due, Due::Warn(_)));
    }

    #[test]
    fn its_longest_duration_counts_from_its_beginning_in_a_former_process() {
        let start = Instant::now();
        let mut age = Age::of(AgeLimits { idle: Duration::ZERO, ..LIMITS }, start, seconds(3000));
        let (at, due) = next(&mut age, start);
        assert_eq!(at, 540);
        assert!(matches!(due, Due::Warn(_)));
        let (at, due) = next(&mut age, start);
        assert_eq!(at, 600);
        assert!(matches!(due, Due::End(ending, Wait::SessionMax) if ending.code == Code::MAX_DURATION));
    }

    #[test]
    fn one_that_is_older_than_the_machine_ends_at_once() {
        let start = Instant::now();
        let mut age = Age::of(LIMITS, start, Duration::MAX);
        assert!(age.next().unwrap() <= start);
        assert!(matches!(age.due(start), Some(Due::End(..))));
    }

    #[test]
    fn without_limits_nothing_is_ever_due() {
        let now = Instant::now();
        let mut age = Age::new(AgeLimits::default(), now);
        assert_eq!((age.next(), age.due(now + seconds(1_000_000))), (None, None));
    }
}
