//! Notices that this program stood still: stopped by a signal, starved of the processor, or asleep with its
//! machine. From the other end that looks like a dead network; only the agent can tell the two apart, and it tells
//! the broker when it comes back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock;

/// The longest time that the broker was not yet told of.
#[derive(Debug, Default)]
pub struct Still {
    longest_ms: AtomicU32,
}

/// Watches one connection, which has something to do at least with every ping.
pub struct Turns<'a> {
    still: &'a Still,
    expected: Duration,
    last: Duration,
}

impl Still {
    /// Begins to watch a connection that turns at least that often.
    pub fn watch(&self, expected: Duration) -> Turns<'_> {
        Turns { still: self, expected, last: clock::since_boot() }
    }

    /// What there is to tell, in milliseconds; 0: nothing.
    pub fn untold_ms(&self) -> u32 {
        self.longest_ms.load(Ordering::Relaxed)
    }

    /// The broker knows.
    pub fn told(&self) {
        self.longest_ms.store(0, Ordering::Relaxed);
    }
}

impl Turns<'_> {
    /// The connection has turned; gives for how long it stood still, if it did.
    pub fn turned(&mut self) -> Option<Duration> {
        self.at(clock::since_boot())
    }

    fn at(&mut self, now: Duration) -> Option<Duration> {
        let gap = now.saturating_sub(std::mem::replace(&mut self.last, now));
        // Less is what a busy machine does to every program.
        let stood = gap.checked_sub(self.expected).filter(|stood| *stood >= self.expected)?;
        let stood_ms = u32::try_from(stood.as_millis()).unwrap_or(u32::MAX);
        self.still.longest_ms.fetch_max(stood_ms, Ordering::Relaxed);
        Some(stood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stillness_is_kept_until_it_was_told() {
        let still = Still::default();
        let mut turns = still.watch(Duration::from_secs(5));
        let start = turns.last;
        let mut at = |seconds| turns.at(start + Duration::from_secs(seconds));
        assert_eq!((at(5), at(14)), (None, None), "a ping's time, and a little late");
        assert_eq!(at(34), Some(Duration::from_secs(15)));
        assert_eq!(at(45), Some(Duration::from_secs(6)));
        assert_eq!(still.untold_ms(), 15_000);
        still.told();
        assert_eq!(still.untold_ms(), 0);
    }
}
