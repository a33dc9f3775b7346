//! Whether the other side is still there: a browser cannot see that a connection is dead.

use std::time::{Duration, Instant};

/// An answer that is later than this is worth a word to the person.
const UNSTABLE_AFTER: Duration = Duration::from_secs(3);
/// How long a probe (the page was shown again, the network is back) waits for its answer.
const PROBE_WAITS: Duration = Duration::from_secs(2);

/// What an elapsed time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Unstable,
    Dead,
}

#[derive(Debug)]
pub(super) struct Pulse {
    every: Duration,
    dead_after: Duration,
    /// Nobody looks: do not ping.
    hidden: bool,
    nonce: u32,
    /// Something was asked (the hello, or a ping) and not yet answered.
    asked: Option<Asked>,
    last_asked: Option<Instant>,
    ping_due: bool,
    /// The ping that is due is a probe.
    probing: bool,
    heard: Option<Instant>,
    unstable: bool,
    rtt: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    dead_after: Duration,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            every: Duration::from_secs(5),
            dead_after: Duration::from_secs(15),
            hidden: false,
            nonce: 0,
            asked: None,
            last_asked: None,
            ping_due: false,
            probing: false,
            heard: None,
            unstable: false,
            rtt: None,
        }
    }

    /// The hello goes out.
    pub(super) fn connected(&mut self, now: Instant) {
        self.disconnected();
        self.asked = Some(Asked { at: now, dead_after: self.dead_after });
        self.last_asked = Some(now);
    }

    pub(super) fn disconnected(&mut self) {
        (self.asked, self.last_asked, self.heard) = (None, None, None);
        (self.ping_due, self.probing, self.unstable) = (false, false, false);
    }

    pub(super) fn attached(&mut self, every: Duration, dead_after: Duration) {
        (self.every, self.dead_after) = (every, dead_after);
        self.asked = None;
    }

    /// Something came. True: it ends an unstable time.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        std::mem::take(&mut self.unstable)
    }

    pub(super) fn answered(&mut self, now: Instant, nonce: u32) {
        if nonce == self.nonce
            && let Some(asked) = self.asked.take()
        {
            self.rtt = Some(now.saturating_duration_since(asked.at));
        }
    }

    /// The page was shown, or the network is back: ask at once, and do not wait long.
    pub(super) fn probe(&mut self, now: Instant) {
        match self.asked {
            Some(asked) => {
                let silent_for = now.saturating_duration_since(self.silent_since(asked));
                let dead_after = asked.dead_after.min(silent_for + PROBE_WAITS);
                self.asked = Some(Asked { dead_after, ..asked });
            }
            None => (self.ping_due, self.probing) = (true, true),
        }
    }

    pub(super) fn set_hidden(&mut self, hidden: bool) {
        self.hidden = hidden;
    }

    /// The nonce for a PING, when one is due.
    pub(super) fn next_ping(&mut self, now: Instant) -> Option<u32> {
        if !std::mem::take(&mut self.ping_due) || self.asked.is_some() {
            return None;
        }
        self.nonce = self.nonce.wrapping_add(1);
        let probing = std::mem::take(&mut self.probing);
        // Counted from the last sign of life, which may be as old as the time between two pings.
        let dead_after = self.dead_after.saturating_sub(self.every).max(UNSTABLE_AFTER);
        let dead_after = if probing { PROBE_WAITS } else { dead_after };
        self.asked = Some(Asked { at: now, dead_after });
        self.last_asked = Some(now);
        Some(self.nonce)
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// `waits`: something was typed that the program has not taken yet.
    pub(super) fn deadline(&self, waits: bool) -> Option<Instant> {
        match self.asked {
            Some(asked) => {
                let since = self.silent_since(asked);
                let next =
                    if self.unstable { asked.dead_after } else { UNSTABLE_AFTER.min(asked.dead_after) };
                Some(since + next)
            }
            None if self.ping_due || (self.hidden && !waits) => None,
            None => Some(self.last_asked? + self.every),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, waits: bool) -> Option<Verdict> {
        self.deadline(waits).filter(|due| *due <= now)?;
        let Some(asked) = self.asked else {
            self.ping_due = true;
            return None;
        };
        if now >= self.silent_since(asked) + asked.dead_after {
            self.asked = None;
            self.last_asked = None;
            return Some(Verdict::Dead);
        }
        self.unstable = true;
        Some(Verdict::Unstable)
    }

    fn silent_since(&self, asked: Asked) -> Instant {
        self.heard.map_or(asked.at, |heard| heard.max(asked.at))
    }
}
