//! Whether the peer is still there: pings, the round trip they take, and for how long nothing
//! was heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Violation;
use super::config::Config;

/// A broker that hears an agent's pings sends its own with every so many of its answers, while nobody uses the
/// link: twice a minute is often enough to know a round trip that nobody waits for.
const BEATS_AT_REST: u32 = 6;

/// At most this many pings wait for an answer; with the defaults the transport is closed after
/// three.
const PINGS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Liveness {
    heard_at: Instant,
    /// People were told that nothing is heard.
    unstable: bool,
    ping_at: Instant,
    ping_is_due: bool,
    /// When the last regular ping was sent on this transport.
    pinged_at: Option<Instant>,
    nonce: u64,
    /// Pings without an answer, oldest first.
    pings: VecDeque<Ping>,
    /// The nonces of pings on this transport that are answered, or stand no more for an answer: above the first,
    /// up to the second.
    settled: (u64, u64),
    /// The newest ping of the peer, to be answered.
    pong: Option<u64>,
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Ping {
    nonce: u64,
    at: Instant,
    /// It is one of those that are sent all the time.
    is_regular: bool,
}

/// What an answer tells.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) rtt: Duration,
    pub(super) is_regular: bool,
}

/// What silence means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    Unstable,
    Dead,
}

impl Liveness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            unstable: false,
            ping_at: now,
            ping_is_due: false,
            pinged_at: None,
            nonce: 0,
            pings: VecDeque::new(),
            settled: (0, 0),
            pong: None,
            rtt: None,
        }
    }

    /// A new transport stands. Whether people still think it unstable is kept until a byte comes.
    pub(super) fn attached(&mut self, now: Instant) {
        self.heard_at = now;
        self.ping_at = now;
        self.ping_is_due = false;
        self.pinged_at = None;
        self.pings.clear();
        self.settled = (self.nonce, self.nonce);
        self.pong = None;
    }

    /// A frame came; says whether that ends an unstable time.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        std::mem::take(&mut self.unstable)
    }

    pub(super) fn ping(&mut self, nonce: u64) {
        self.pong = Some(nonce);
    }

    /// (Broker) the agent pings, and so hears us and we it: our own ping has time, and goes with the answer now and
    /// then. `in_use`: somebody waits for what it measures. Ten thousand links at rest then take one wake-up each
    /// for a beat, and not four.
    pub(super) fn beat(&mut self, now: Instant, every: Duration, in_use: bool) {
        let Some(pinged_at) = self.pinged_at else { return };
        let again_after =
            if in_use { every.mul_f64(0.75) } else { every.mul_f64(f64::from(BEATS_AT_REST) - 0.5) };
        self.ping_is_due |= now >= pinged_at + again_after;
        // Should the next beat not come, we ask before anybody is told that nothing is heard.
        self.ping_at = now + every.mul_f64(1.5);
    }

    /// An answer; none, if it comes after that to a later ping. The peer may answer only the newest of several pings,
    /// and where several hands of it answer, one may overtake another.
    pub(super) fn pong(&mut self, now: Instant, nonce: u64) -> Result<Option<Answered>, Violation> {
        if self.settled.0 < nonce && nonce <= self.settled.1 {
            return Ok(None);
        }
        let index = self.pings.iter().position(|ping| ping.nonce == nonce);
        let index = index.ok_or(Violation::of("PONG to a ping that was not sent"))?;
        self.settled.1 = nonce;
        let rtt = now.saturating_duration_since(self.pings[index].at);
        let is_regular = self.pings.drain(..=index).any(|ping| ping.is_regular);
        if is_regular {
            self.rtt = Some(rtt);
        }
        Ok(Some(Answered { rtt, is_regular }))
    }

    pub(super) fn next_pong(&mut self) -> Option<u64> {
        self.pong.take()
    }

    /// When it is time, makes a ping due; it goes out when the transport has room for it.
    pub(super) fn tick(&mut self, now: Instant, every: Duration) {
        if now >= self.ping_at {
            self.ping_at = now + every;
            self.ping_is_due = true;
        }
    }

    /// The ping that is due.
    pub(super) fn next_ping(&mut self, now: Instant) -> Option<u64> {
        if !self.ping_is_due {
            return None;
        }
        self.ping_is_due = false;
        self.pinged_at = Some(now);
        self.send(now, true)
    }

    /// A ping out of turn, which measures no more than the moment.
    pub(super) fn ping_now(&mut self, now: Instant) -> Option<u64> {
        self.send(now, false)
    }

    fn send(&mut self, at: Instant, is_regular: bool) -> Option<u64> {
        if self.pings.len() >= PINGS_MAX {
            return None;
        }
        self.nonce += 1;
        self.pings.push_back(Ping { nonce: self.nonce, at, is_regular });
        Some(self.nonce)
    }

    pub(super) fn judge(&mut self, now: Instant, config: &Config) -> Verdict {
        if now >= self.heard_at + config.dead_after {
            return Verdict::Dead;
        }
        if !self.unstable && now >= self.heard_at + config.unstable_after {
            self.unstable = true;
            return Verdict::Unstable;
        }
        Verdict::Fine
    }

    /// When to look again while a transport stands.
    pub(super) fn deadline(&self, config: &Config, pinging: bool) -> Instant {
        let mut next = self.heard_at + config.dead_after;
        if !self.unstable {
            next = next.min(self.heard_at + config.unstable_after);
        }
        if pinging {
            next = next.min(self.ping_at);
        }
        next
    }

    pub(super) fn give_back(&mut self) {
        self.pings.shrink_to_fit();
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}
