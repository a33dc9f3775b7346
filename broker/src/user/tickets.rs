//! Tickets: who may attach for the first time.
//!
//! A ticket is 256 random bits, kept as a hash, and worth something only for one session and one
//! person, who must be logged in as well. It works once and for 30 s.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use moorline_wire::SessionId;

use crate::token::Hashed;

/// What a secret is worth something for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To this session ...
    pub session: SessionId,
    /// ... for this person.
    pub person: String,
}

/// The tickets that were given out and not used yet.
#[derive(Debug)]
pub struct Tickets {
    valid_for: Duration,
    count_max: usize,
    /// The oldest first.
    issued: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    secret: Hashed,
    grant: Grant,
    until: Instant,
}

impl Tickets {
    /// At most `count_max` at once; the oldest go first.
    pub fn new(valid_for: Duration, count_max: usize) -> Self {
        Self { valid_for, count_max: count_max.max(1), issued: VecDeque::new() }
    }

    /// Remembers a ticket.
    pub fn issue(&mut self, now: Instant, secret: Hashed, grant: Grant) {
        self.forget_expired(now);
        while self.issued.len() >= self.count_max {
            self.issued.pop_front();
        }
        self.issued.push_back(Ticket { secret, grant, until: now + self.valid_for });
    }

    /// Uses a ticket up. What is not for this session and person is used up as well: whoever
    /// shows it there has stolen it.
    pub fn redeem(&mut self, now: Instant, secret: Hashed, wanted: &Grant) -> bool {
        self.forget_expired(now);
        let Some(at) = self.issued.iter().position(|ticket| ticket.secret == secret) else { return false };
        self.issued.remove(at).is_some_and(|ticket| ticket.grant == *wanted)
    }

    fn forget_expired(&mut self, now: Instant) {
        while self.issued.front().is_some_and(|ticket| ticket.until <= now) {
            self.issued.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_secs(30);

    fn grant(session: char, person: &str) -> Grant {
        let id = format!("s-{}", session.to_string().repeat(26));
        Grant { session: id.parse().unwrap(), person: person.to_owned() }
    }

    fn secret(n: u32) -> Hashed {
        Hashed::of(&n.to_string())
    }

    #[test]
    fn a_ticket_works_once() {
        let (mut tickets, now) = (Tickets::new(VALID, 10), Instant::now());
        tickets.issue(now, secret(1), grant('a', "anna"));
        assert!(tickets.redeem(now, secret(1), &grant('a', "anna")));
        assert!(!tickets.redeem(now, secret(1), &grant('a', "anna")));
    }

    #[test]
    fn a_ticket_expires() {
        let (mut tickets, now) = (Tickets::new(VALID, 10), Instant::now());
        tickets.issue(now, secret(1), grant('a', "anna"));
        tickets.issue(now, secret(2), grant('a', "anna"));
        let last_moment = now + VALID - Duration::from_millis(1);
        assert!(tickets.redeem(last_moment, secret(1), &grant('a', "anna")));
        assert!(!tickets.redeem(now + VALID, secret(2), &grant('a', "anna")));
    }

    #[test]
    fn a_ticket_is_for_one_session_and_one_person_and_is_used_up_by_a_wrong_one() {
        for wrong in [grant('b', "anna"), grant('a', "eve")] {
            let (mut tickets, now) = (Tickets::new(VALID, 10), Instant::now());
            tickets.issue(now, secret(1), grant('a', "anna"));
            assert!(!tickets.redeem(now, secret(1), &wrong));
            assert!(!tickets.redeem(now, secret(1), &grant('a', "anna")));
        }
    }

    #[test]
    fn no_more_tickets_are_kept_than_there_may_be() {
        let (mut tickets, now) = (Tickets::new(VALID, 3), Instant::now());
        for n in 0..1000 {
            tickets.issue(now, secret(n), grant('a', "anna"));
        }
        assert_eq!(tickets.issued.len(), 3);
        assert!(!tickets.redeem(now, secret(0), &grant('a', "anna")));
        assert!(tickets.redeem(now, secret(999), &grant('a', "anna")));
    }
}
