//! Who may attach: tickets, for the first time, and resume tokens, for every time after.
//!
//! Both are 256 random bits, kept as a hash, and worth something only for one session and one
//! person, who must be logged in as well. A ticket works once and for 30 s. A resume token works
//! until its successor has reached its owner: the answer that brings the successor may be lost
//! with the connection, and its owner must not be locked out by that.

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

/// One viewer's resume tokens, from attach to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainId(u64);

/// The resume tokens that work.
#[derive(Debug)]
pub struct Resumes {
    count_max: usize,
    next: u64,
    /// The one used longest ago first.
    chains: VecDeque<Chain>,
}

#[derive(Debug)]
struct Chain {
    id: ChainId,
    grant: Grant,
    newest: Hashed,
    /// Works as well, as long as nothing shows that the newest has arrived.
    before: Option<Hashed>,
}

impl Resumes {
    /// At most `count_max` viewers; who attached longest ago goes first.
    pub fn new(count_max: usize) -> Self {
        Self { count_max: count_max.max(1), next: 0, chains: VecDeque::new() }
    }

    /// A viewer attached with a ticket; `next` is its first resume token.
    pub fn begin(&mut self, grant: Grant, next: Hashed) -> ChainId {
        while self.chains.len() >= self.count_max {
            self.chains.pop_front();
        }
        let id = ChainId(self.next);
        self.next += 1;
        self.chains.push_back(Chain { id, grant, newest: next, before: None });
        id
    }

    /// A viewer comes back with `shown`; `next` is what it gets instead.
    pub fn redeem(&mut self, shown: Hashed, wanted: &Grant, next: Hashed) -> Option<ChainId> {
        let fits = |chain: &Chain| chain.newest == shown || chain.before == Some(shown);
        let at = self.chains.iter().position(fits)?;
        let mut chain = self.chains.remove(at)?;
        if chain.grant != *wanted {
            // Shown by somebody else: it has leaked, and is worth nothing any more.
            return None;
        }
        chain.before = Some(shown);
        chain.newest = next;
        let id = chain.id;
        self.chains.push_back(chain);
        Some(id)
    }

    /// That token has reached its owner: if it is the newest, the one before is worth nothing any
    /// more. Of an older connection this may come late, when a newer token is on its way.
    pub fn arrived(&mut self, id: ChainId, token: Hashed) {
        let fits = |chain: &&mut Chain| chain.id == id && chain.newest == token;
        if let Some(chain) = self.chains.iter_mut().find(fits) {
            chain.before = None;
        }
    }

    /// A session is over: its tokens are worth nothing any more.
    pub fn forget(&mut self, session: &SessionId) {
        self.chains.retain(|chain| chain.grant.session != *session);
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

    #[test]
    fn a_resume_token_is_worth_nothing_once_its_successor_has_arrived() {
        let mut resumes = Resumes::new(10);
        let chain = resumes.begin(grant('a', "anna"), secret(1));
        assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(2)), Some(chain));
        resumes.arrived(chain, secret(2));
        assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(3)), None);
        assert_eq!(resumes.redeem(secret(2), &grant('a', "anna"), secret(3)), Some(chain));
    }

    #[test]
    fn who_lost_the_answer_with_the_new_token_comes_back_with_the_old_one() {
        let mut resumes = Resumes::new(10);
        let chain = resumes.begin(grant('a', "anna"), secret(1));
        for lost in 2..5 {
            assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(lost)), Some(chain));
            // The connection before is heard late: that says nothing of this one's token.
            resumes.arrived(chain, secret(lost - 1));
        }
        resumes.arrived(chain, secret(4));
        assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(9)), None);
        assert_eq!(resumes.redeem(secret(3), &grant('a', "anna"), secret(9)), None);
        assert_eq!(resumes.redeem(secret(4), &grant('a', "anna"), secret(9)), Some(chain));
    }

    #[test]
    fn a_resume_token_of_another_person_or_session_ends_its_chain() {
        for wrong in [grant('b', "anna"), grant('a', "eve")] {
            let mut resumes = Resumes::new(10);
            resumes.begin(grant('a', "anna"), secret(1));
            assert_eq!(resumes.redeem(secret(1), &wrong, secret(2)), None);
            assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(2)), None);
        }
    }

    #[test]
    fn the_tokens_of_a_session_end_with_it_and_others_stay() {
        let mut resumes = Resumes::new(10);
        resumes.begin(grant('a', "anna"), secret(1));
        let other = resumes.begin(grant('b', "anna"), secret(2));
        resumes.forget(&grant('a', "anna").session);
        assert_eq!(resumes.redeem(secret(1), &grant('a', "anna"), secret(3)), None);
        assert_eq!(resumes.redeem(secret(2), &grant('b', "anna"), secret(4)), Some(other));
    }
}
