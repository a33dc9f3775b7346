//! Resume tokens: what a browser shows at every attach after its first, worth something only for
//! one session and one person, who must be logged in as well.
//!
//! A token is self-contained and signed with a key that outlives the process: it works after the
//! broker was killed, and nothing is written to the store for it. Its layout, in base64:
//!
//! ```text
//! version 1 | chain 16 | process 8 | counter 8 | issued 8 | HMAC-SHA-256 32
//! ```
//!
//! The HMAC is also over the session and the person, which the token does not name. The tokens of
//! one viewer are a chain, each with the next counter. What this process has seen of a chain, it
//! remembers: a token works until its successor has reached its owner; the answer that brings the
//! successor may be lost with the connection, and its owner must not be locked out by that. Of a
//! chain that it has not seen, a token of an earlier process is taken and gone on from; one of its
//! own is of a chain that it has forgotten, and is not.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moorline_wire::{Code, SessionId};
use ring::hmac;
use zeroize::Zeroizing;

use super::tickets::Grant;
use crate::problem::Problem;
use crate::secret;

const FILE: &str = "resume.key";

/// The version of the tokens; those of others are not ours.
const VERSION: u8 = 1;

/// What is signed and stands in the token, and with its signature.
const BODY: usize = 1 + 16 + 8 + 8 + 8;
const SIGNED: usize = BODY + 32;

/// What resume tokens are signed with. Clones share it.
#[derive(Clone)]
pub struct ResumeKey(Arc<hmac::Key>);

impl ResumeKey {
    /// Reads the key from `data_dir`, or makes it when it is not there yet.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, Problem> {
        let make = || secret::random::<32>().map(|key| Zeroizing::new(key.to_vec()));
        secret::load_or_create(data_dir, FILE, "key of resume tokens", make, |key| {
            anyhow::ensure!(key.len() == 32, "it has {} bytes instead of 32", key.len());
            Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key))))
        })
    }
}

/// One viewer's resume tokens, from attach to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainId([u8; 16]);

impl ChainId {
    /// A chain that nobody has.
    pub fn fresh() -> Result<Self, Problem> {
        secret::random().map(|id| Self(*id)).map_err(|err| Problem::new(Code::INTERNAL).because(err))
    }
}

/// Which process made a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId([u8; 8]);

impl ProcessId {
    /// A process that never was.
    pub fn fresh() -> Result<Self, Problem> {
        secret::random().map(|id| Self(*id)).map_err(|err| Problem::new(Code::INTERNAL).because(err))
    }
}

/// Which token somebody was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    chain: ChainId,
    counter: u64,
}

/// A token on its way to its owner. Never logged, never kept.
pub type Secret = Zeroizing<String>;

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Body {
    chain: ChainId,
    process: ProcessId,
    counter: u64,
    /// Milliseconds since 1970.
    issued: i64,
}

/// The resume tokens that work.
pub struct Resumes {
    key: ResumeKey,
    process: ProcessId,
    valid_for: Duration,
    count_max: usize,
    chains: HashMap<ChainId, Chain>,
    /// The chains by when they were last used, the one used longest ago first.
    by_use: BTreeMap<u64, ChainId>,
    uses: u64,
}

#[derive(Debug)]
struct Chain {
    grant: Grant,
    used: u64,
    newest: u64,
    /// Works as well, as long as nothing shows that the newest has arrived.
    before: Option<u64>,
    /// A token was shown by somebody else: it has leaked, and none is worth anything any more.
    leaked: bool,
}

impl Resumes {
    /// Remembers at most `count_max` viewers; who attached longest ago goes first.
    pub fn new(key: ResumeKey, process: ProcessId, valid_for: Duration, count_max: usize) -> Self {
        let (chains, by_use) = (HashMap::new(), BTreeMap::new());
        Self { key, process, valid_for, count_max: count_max.max(1), chains, by_use, uses: 0 }
    }

    /// A viewer attached with a ticket and begins a chain; what it gets is its first resume token.
    pub fn begin(&mut self, now: jiff::Timestamp, id: ChainId, grant: Grant) -> (Given, Secret) {
        self.remember(id, Chain { grant: grant.clone(), used: 0, newest: 0, before: None, leaked: false });
        self.issue(now, Given { chain: id, counter: 0 }, &grant)
    }

    /// A viewer comes back with `shown`; what it gets is to be shown the next time.
    pub fn redeem(&mut self, now: jiff::Timestamp, shown: &str, wanted: &Grant) -> Option<(Given, Secret)> {
        let (body, signed) = parse(shown)?;
        let chain = self.chains.get_mut(&body.chain);
        let grant = chain.as_ref().map_or(wanted, |chain| &chain.grant);
        hmac::verify(&self.key.0, &signed_bytes(&signed[..BODY], grant), &signed[BODY..]).ok()?;
        let newest = match chain {
            Some(chain) if chain.grant != *wanted => {
                chain.leaked = true;
                return None;
            }
            Some(chain) => {
                let works = chain.newest == body.counter || chain.before == Some(body.counter);
                (works && !chain.leaked).then_some(chain.newest)?
            }
            None => (body.process != self.process).then_some(body.counter)?,
        };
        if self.expired(now, &body) {
            return None;
        }
        let next = newest.checked_add(1)?;
        let chain =
            Chain { grant: wanted.clone(), used: 0, newest: next, before: Some(body.counter), leaked: false };
        self.remember(body.chain, chain);
        Some(self.issue(now, Given { chain: body.chain, counter: next }, wanted))
    }

    /// Whether a token was given to that person for that session, whatever it is worth now.
    pub fn is_ours(&self, shown: &str, grant: &Grant) -> bool {
        let signed = |(_, signed): &(Body, [u8; SIGNED])| {
            hmac::verify(&self.key.0, &signed_bytes(&signed[..BODY], grant), &signed[BODY..]).is_ok()
        };
        parse(shown).as_ref().is_some_and(signed)
    }

    /// That token has reached its owner: if it is the newest, the one before is worth nothing any
    /// more. Of an older connection this may come late, when a newer token is on its way.
    pub fn arrived(&mut self, given: Given) {
        if let Some(chain) = self.chains.get_mut(&given.chain)
            && chain.newest == given.counter
        {
            chain.before = None;
        }
    }

    /// A session is over: what was remembered of its tokens is not needed any more.
    pub fn forget(&mut self, session: &SessionId) {
        let by_use = &mut self.by_use;
        self.chains.retain(|_, chain| {
            let stays = chain.grant.session != *session;
            if !stays {
                by_use.remove(&chain.used);
            }
            stays
        });
    }

    fn expired(&self, now: jiff::Timestamp, body: &Body) -> bool {
        let age = now.as_millisecond().saturating_sub(body.issued);
        // A clock that was put back makes tokens of the future: those are young.
        u128::try_from(age).is_ok_and(|age| age >= self.valid_for.as_millis())
    }

    /// Puts a chain at the end of those that go when there are too many.
    fn remember(&mut self, id: ChainId, mut chain: Chain) {
        chain.used = self.uses;
        self.by_use.insert(self.uses, id);
        self.uses += 1;
        if let Some(former) = self.chains.insert(id, chain) {
            self.by_use.remove(&former.used);
        }
        while self.chains.len() > self.count_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.chains.remove(&oldest);
        }
    }

    fn issue(&self, now: jiff::Timestamp, given: Given, grant: &Grant) -> (Given, Secret) {
        let mut token = Vec::with_capacity(SIGNED);
        token.push(VERSION);
        token.extend_from_slice(&given.chain.0);
        token.extend_from_slice(&self.process.0);
        token.extend_from_slice(&given.counter.to_be_bytes());
        token.extend_from_slice(&now.as_millisecond().to_be_bytes());
        let signature = hmac::sign(&self.key.0, &signed_bytes(&token, grant));
        token.extend_from_slice(signature.as_ref());
        (given, Zeroizing::new(URL_SAFE_NO_PAD.encode(Zeroizing::new(token))))
    }
}

/// What a token says, not yet verified, and its bytes.
fn parse(token: &str) -> Option<(Body, [u8; SIGNED])> {
    let mut signed = [0; SIGNED];
    let length = URL_SAFE_NO_PAD.decode_slice(token, &mut signed).ok()?;
    let (version, rest) = signed.split_first()?;
    if length != SIGNED || *version != VERSION {
        return None;
    }
    let (chain, rest) = rest.split_first_chunk()?;
    let (process, rest) = rest.split_first_chunk()?;
    let (counter, rest) = rest.split_first_chunk()?;
    let (issued, _) = rest.split_first_chunk()?;
    let body = Body {
        chain: ChainId(*chain),
        process: ProcessId(*process),
        counter: u64::from_be_bytes(*counter),
        issued: i64::from_be_bytes(*issued),
    };
    Some((body, signed))
}

/// What the signature is over. The body has one length, and no session's id has a zero byte: two
/// tokens never share these bytes.
fn signed_bytes(body: &[u8], grant: &Grant) -> Vec<u8> {
    [body, grant.session.as_str().as_bytes(), &[0], grant.person.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_secs(24 * 3600);

    fn grant(session: char, person: &str) -> Grant {
        let id = format!("s-{}", session.to_string().repeat(26));
        Grant { session: id.parse().unwrap(), person: person.to_owned() }
    }

    fn anna() -> Grant {
        grant('a', "anna")
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn key(byte: u8) -> ResumeKey {
        ResumeKey(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])))
    }

    /// What a process with that key remembers: nothing yet.
    fn process() -> Resumes {
        Resumes::new(key(7), ProcessId::fresh().unwrap(), VALID, 10)
    }

    fn begin(resumes: &mut Resumes, grant: Grant) -> (Given, Secret) {
        resumes.begin(at(0), ChainId::fresh().unwrap(), grant)
    }

    #[test]
    fn a_token_is_worth_nothing_once_its_successor_has_arrived() {
        let mut resumes = process();
        let (_, first) = begin(&mut resumes, anna());
        let (given, second) = resumes.redeem(at(0), &first, &anna()).unwrap();
        resumes.arrived(given);
        assert!(resumes.redeem(at(0), &first, &anna()).is_none());
        assert!(resumes.redeem(at(0), &second, &anna()).is_some());
    }

    #[test]
    fn who_lost_the_answer_with_the_new_token_comes_back_with_the_old_one() {
        let mut resumes = process();
        let (mut late, first) = begin(&mut resumes, anna());
        let mut lost = Vec::new();
        for _ in 0..3 {
            let (given, answer) = resumes.redeem(at(0), &first, &anna()).unwrap();
            // The connection before is heard late: that says nothing of this one's token.
            resumes.arrived(std::mem::replace(&mut late, given));
            lost.push(answer);
        }
        resumes.arrived(late);
        assert!(resumes.redeem(at(0), &first, &anna()).is_none());
        assert!(resumes.redeem(at(0), &lost[1], &anna()).is_none());
        assert!(resumes.redeem(at(0), &lost[2], &anna()).is_some());
    }

    #[test]
    fn a_token_of_another_person_or_session_ends_its_chain() {
        for wrong in [grant('b', "anna"), grant('a', "eve")] {
            let mut resumes = process();
            let (_, first) = begin(&mut resumes, anna());
            assert!(resumes.redeem(at(0), &first, &wrong).is_none());
            assert!(resumes.redeem(at(0), &first, &anna()).is_none());
        }
    }

    #[test]
    fn the_tokens_of_a_session_end_with_it_and_others_stay() {
        let mut resumes = process();
        let (_, first) = begin(&mut resumes, anna());
        let (_, other) = begin(&mut resumes, grant('b', "anna"));
        resumes.forget(&anna().session);
        assert!(resumes.redeem(at(0), &first, &anna()).is_none());
        assert!(resumes.is_ours(&first, &anna()) && !resumes.is_ours(&first, &grant('a', "eve")));
        assert!(resumes.redeem(at(0), &other, &grant('b', "anna")).is_some());
        assert_eq!((resumes.chains.len(), resumes.by_use.len()), (1, 1));
    }

    #[test]
    fn a_token_works_in_the_process_after_and_in_the_one_after_that() {
        let mut token = begin(&mut process(), anna()).1;
        for _ in 0..5 {
            let mut next = process();
            for _ in 0..3 {
                let (given, successor) = next.redeem(at(0), &token, &anna()).unwrap();
                next.arrived(given);
                assert!(next.redeem(at(0), &token, &anna()).is_none(), "its successor has arrived");
                token = successor;
            }
        }
    }

    #[test]
    fn an_answer_that_was_lost_with_the_process_locks_nobody_out() {
        let mut former = process();
        let (_, first) = begin(&mut former, anna());
        let (_, second) = former.redeem(at(0), &first, &anna()).unwrap();
        // Whether the second had reached its owner, the next process cannot know.
        for shown in [&first, &second] {
            let mut next = process();
            let (_, lost) = next.redeem(at(0), shown, &anna()).unwrap();
            let (given, last) = next.redeem(at(0), shown, &anna()).unwrap();
            next.arrived(given);
            assert!(next.redeem(at(0), shown, &anna()).is_none());
            assert!(next.redeem(at(0), &lost, &anna()).is_none());
            assert!(next.redeem(at(0), &last, &anna()).is_some());
        }
    }

    #[test]
    fn a_process_that_has_seen_a_chain_refuses_what_is_older() {
        let mut former = process();
        let (_, first) = begin(&mut former, anna());
        let (_, second) = former.redeem(at(0), &first, &anna()).unwrap();
        let mut next = process();
        let (_, third) = next.redeem(at(0), &second, &anna()).unwrap();
        assert!(next.redeem(at(0), &first, &anna()).is_none());
        assert!(next.redeem(at(0), &third, &anna()).is_some());
    }

    #[test]
    fn a_token_of_another_session_or_person_is_refused_in_the_process_after_too() {
        for wrong in [grant('b', "anna"), grant('a', "eve"), grant('a', ""), grant('a', "anna\0")] {
            let (_, token) = begin(&mut process(), anna());
            assert!(process().redeem(at(0), &token, &wrong).is_none());
        }
    }

    #[test]
    fn a_token_that_was_signed_with_another_key_is_refused() {
        let mut other = Resumes::new(key(8), ProcessId::fresh().unwrap(), VALID, 10);
        let (_, token) = begin(&mut other, anna());
        assert!(process().redeem(at(0), &token, &anna()).is_none());
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused_and_ends_nothing() {
        let mut resumes = process();
        let (_, token) = begin(&mut resumes, anna());
        for flipped in 0..SIGNED {
            let mut bytes = URL_SAFE_NO_PAD.decode(&*token).unwrap();
            bytes[flipped] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            assert!(resumes.redeem(at(0), &changed, &anna()).is_none(), "{flipped}");
            assert!(process().redeem(at(0), &changed, &anna()).is_none(), "{flipped}");
        }
        for invented in ["", "A", "invented", &token[1..], &format!("{}A", *token), &"A".repeat(100_000)] {
            assert!(resumes.redeem(at(0), invented, &anna()).is_none());
        }
        assert!(resumes.redeem(at(0), &token, &anna()).is_some());
    }

    #[test]
    fn a_token_expires_by_the_clock_on_the_wall() {
        let (mut same, day) = (process(), 24 * 3600);
        let (_, token) = begin(&mut same, anna());
        assert!(same.redeem(at(day), &token, &anna()).is_none());
        assert!(process().redeem(at(day), &token, &anna()).is_none());
        assert!(process().redeem(at(day - 1), &token, &anna()).is_some());
        // Each attach gives a new one.
        let (_, successor) = same.redeem(at(day - 1), &token, &anna()).unwrap();
        assert!(process().redeem(at(2 * day - 2), &successor, &anna()).is_some());
        // The clock was put back.
        assert!(process().redeem(at(-day), &token, &anna()).is_some());
    }

    #[test]
    fn no_more_chains_are_remembered_than_there_may_be_and_those_forgotten_are_refused() {
        let mut resumes = process();
        let (_, first) = begin(&mut resumes, anna());
        let (_, unused) = begin(&mut resumes, anna());
        let mut busy = first;
        for _ in 0..1000 {
            begin(&mut resumes, anna());
            busy = resumes.redeem(at(0), &busy, &anna()).unwrap().1;
        }
        assert_eq!((resumes.chains.len(), resumes.by_use.len()), (10, 10));
        assert!(resumes.redeem(at(0), &unused, &anna()).is_none());
    }

    #[test]
    fn the_key_is_made_once_closed_to_others_and_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let with = |key| Resumes::new(key, ProcessId::fresh().unwrap(), VALID, 10);
        let (_, token) = begin(&mut with(ResumeKey::load_or_create(dir.path()).unwrap()), anna());
        let path = dir.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.metadata().unwrap().len(), 32);
        let mut next = with(ResumeKey::load_or_create(dir.path()).unwrap());
        assert!(next.redeem(at(0), &token, &anna()).is_some());
        std::fs::write(&path, "short").unwrap();
        let problem = ResumeKey::load_or_create(dir.path()).err().unwrap();
        assert_eq!(problem.code, Code::BAD_CONFIG);
        assert!(problem.text.contains("resume.key") && problem.text.contains("5 bytes"), "{}", problem.text);
    }
}
