//! How often somebody may be wrong: pure, without IO and clock.
//!
//! Failures are counted per account and per address. An account that does not exist is counted like one
//! that does, so that being locked out says nothing about it; nothing of this is kept over a restart, which
//! would tell the two apart. After the allowed failures each further one doubles the wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What failures are counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A name of an account, whether there is one or not.
    Account(String),
    /// Where somebody comes from: of IPv6 the network, since a house has that many addresses.
    Address(IpAddr),
}

impl Key {
    /// The key of an address. `None`: this machine's own, where everybody comes from who came over a proxy
    /// that is not listed; locking it would lock all.
    pub fn of_address(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let key = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        };
        (!address.is_loopback()).then_some(Self::Address(key))
    }

    /// How often more an address may fail than an account: many people share one.
    fn patience(&self) -> usize {
        match self {
            Self::Account(_) => 1,
            Self::Address(_) => 4,
        }
    }
}

/// Who failed how often. Bounded: of too many, the one that failed longest ago is forgotten.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    entries: HashMap<Key, Entry>,
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many failures cost no wait.
    pub free: usize,
    /// The wait after the next one.
    pub first: Duration,
    /// The longest wait, and how long failures are remembered.
    pub longest: Duration,
    /// So many accounts and addresses are remembered.
    pub count_max: usize,
}

#[derive(Debug)]
struct Entry {
    failures: usize,
    last: Instant,
    until: Instant,
}

impl Throttle {
    /// Nobody has failed yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: HashMap::new() }
    }

    /// How long any of these must still wait.
    pub fn wait(&self, now: Instant, keys: &[Key]) -> Option<Duration> {
        let waits = keys.iter().filter_map(|key| self.entries.get(key)?.until.checked_duration_since(now));
        waits.max().filter(|wait| !wait.is_zero())
    }

    /// Each of these has failed once more.
    pub fn failed(&mut self, now: Instant, keys: Vec<Key>) {
        for key in keys {
            let free = self.limits.free * key.patience();
            let entry = self.entries.remove(&key).filter(|entry| self.is_remembered(now, entry));
            let failures = entry.map_or(0, |entry| entry.failures) + 1;
            let wait = self.wait_after(failures.saturating_sub(free));
            self.make_room(now);
            self.entries.insert(key, Entry { failures, last: now, until: now + wait });
        }
    }

    /// Somebody proved who they are: what was counted for the account is forgotten. What was counted for the
    /// address stays: an account of one's own must not buy more guesses at others'.
    pub fn succeeded(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    fn wait_after(&self, over: usize) -> Duration {
        let Some(doubled) = over.checked_sub(1) else { return Duration::ZERO };
        let factor = 1u32.checked_shl(u32::try_from(doubled).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        self.limits.first.saturating_mul(factor).min(self.limits.longest)
    }

    /// Failures are remembered for as long as the longest wait after the last wait is over.
    fn is_remembered(&self, now: Instant, entry: &Entry) -> bool {
        now < entry.until.max(entry.last) + self.limits.longest
    }

    fn make_room(&mut self, now: Instant) {
        if self.entries.len() < self.limits.count_max {
            return;
        }
        let longest = self.limits.longest;
        self.entries.retain(|_, entry| now < entry.until.max(entry.last) + longest);
        while self.entries.len() >= self.limits.count_max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { free: 5, first: Duration::from_secs(60), longest: Duration::from_secs(900), count_max: 100 };

    fn account(name: &str) -> Key {
        Key::Account(name.to_owned())
    }

    fn address(text: &str) -> Key {
        Key::of_address(text.parse().unwrap()).unwrap()
    }

    fn failed(throttle: &mut Throttle, now: Instant, key: &Key, times: usize) {
        for _ in 0..times {
            throttle.failed(now, vec![key.clone()]);
        }
    }

    #[test]
    fn the_first_failures_are_free_and_each_further_one_doubles_the_wait() {
        let (mut throttle, now, anna) = (Throttle::new(LIMITS), Instant::now(), account("anna"));
        failed(&mut throttle, now, &anna, 5);
        assert_eq!(throttle.wait(now, std::slice::from_ref(&anna)), None);
        for minutes in [1, 2, 4, 8, 15, 15] {
            failed(&mut throttle, now, &anna, 1);
            let wait = throttle.wait(now, &[account("eve"), anna.clone()]);
            assert_eq!(wait, Some(Duration::from_secs(60 * minutes)));
        }
        assert_eq!(throttle.wait(now, &[account("eve")]), None, "others do not wait");
    }

    #[test]
    fn a_wait_ends_and_failures_are_forgotten_after_the_longest_one() {
        let (mut throttle, now, anna) = (Throttle::new(LIMITS), Instant::now(), account("anna"));
        failed(&mut throttle, now, &anna, 6);
        let over = now + Duration::from_secs(60);
        assert_eq!(throttle.wait(over, std::slice::from_ref(&anna)), None);
        // Still remembered: one more, and the wait is twice as long.
        failed(&mut throttle, over, &anna, 1);
        assert_eq!(throttle.wait(over, std::slice::from_ref(&anna)), Some(Duration::from_secs(120)));
        let forgotten = over + Duration::from_secs(120 + 900);
        failed(&mut throttle, forgotten, &anna, 5);
        assert_eq!(throttle.wait(forgotten, &[anna]), None);
    }

    #[test]
    fn who_proves_who_they_are_begins_anew_but_the_address_does_not() {
        let (mut throttle, now) = (Throttle::new(LIMITS), Instant::now());
        let (anna, street) = (account("anna"), address("192.0.2.7"));
        for _ in 0..21 {
            throttle.failed(now, vec![account("victim"), street.clone()]);
            throttle.failed(now, vec![anna.clone()]);
        }
        throttle.succeeded(&anna);
        assert_eq!(throttle.wait(now, &[anna]), None);
        assert_eq!(throttle.wait(now, &[street]), Some(Duration::from_secs(60)), "20 were free");
    }

    #[test]
    fn one_network_of_ipv6_is_one_address_and_the_own_machine_is_none() {
        assert_eq!(address("2001:db8:1:2:3::4"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::"), address("2001:db8:1:3::"));
        assert_eq!(address("::ffff:192.0.2.7"), address("192.0.2.7"));
        for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Key::of_address(own.parse().unwrap()), None);
        }
    }

    #[test]
    fn no_more_is_remembered_than_there_may_be() {
        let (mut throttle, now) = (Throttle::new(LIMITS), Instant::now());
        for n in 0..1000 {
            failed(&mut throttle, now + Duration::from_millis(n), &account(&n.to_string()), 6);
        }
        assert_eq!(throttle.entries.len(), 100);
        assert!(throttle.wait(now, &[account("999")]).is_some());
        assert_eq!(throttle.wait(now, &[account("0")]), None);
    }
}
