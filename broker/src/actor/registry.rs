//! Who lives, how they are, and who failed: what an administrator sees of the supervision.
//!
//! An actor is entered when it is started and leaves when it ends. One that failed stays listed until
//! its successor is started, or until `timing.restart_window` is over: so whoever looks a moment later
//! still sees that something went wrong, and what is done about it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Birth, Depth, Kind};
use crate::clock;
use crate::metrics::{ActorFigures, Metrics};
use crate::news::News;
use crate::supervise::Cause;

/// Failures of one actor that are remembered; the policy gives up long before.
const FAILURES_MAX: usize = 16;

/// Actors without a successor that are listed at most: each of them has panicked a moment ago.
const FAILED_MAX: usize = 4096;

/// A mailbox that is as full as this part of its capacity is backing up.
const FULL: (u32, u32) = (3, 4);

/// How an actor is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It lives.
    Live,
    /// It failed, and its successor is to be started soon; that of a device, when its agent is back.
    Restarting,
    /// It failed too often, and is left alone for the window.
    GaveUp,
    /// It failed, and nobody starts it anew.
    Failed,
    /// It has ended, or was replaced; only in the news.
    Ended,
}

impl State {
    /// The state in the API.
    pub fn label(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Restarting => "restarting",
            State::GaveUp => "gave_up",
            State::Failed => "failed",
            State::Ended => "ended",
        }
    }
}

/// How an actor failed the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: jiff::Timestamp,
    /// How.
    pub cause: Cause,
}

/// One actor, as an administrator sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Each start of an actor has its own, larger than any before.
    pub number: u64,
    /// Its kind.
    pub kind: Kind,
    /// Which one of its kind.
    pub id: Arc<str>,
    /// The kind of its parent, of which there is one.
    pub parent: Option<Kind>,
    /// How it is.
    pub state: State,
    /// Whether nothing about it needs to be looked at.
    pub healthy: bool,
    /// How many messages wait for it.
    pub depth: u32,
    /// The most that ever waited.
    pub high: u32,
    /// How many may wait.
    pub capacity: u32,
    /// How often it failed within the window.
    pub restarts: usize,
    /// How it failed the last time.
    pub last_failure: Option<Failure>,
    /// For how long it has lived.
    pub uptime: Duration,
}

/// The actors of one kind, all together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Total {
    /// Which kind.
    pub kind: Kind,
    /// How many live.
    pub alive: usize,
    /// How many are not well.
    pub unhealthy: usize,
    /// How often they failed within the window.
    pub restarts: usize,
    /// How many messages wait for them.
    pub depth: u64,
    /// The most that ever waited for one of them.
    pub high: u32,
    /// How full the fullest mailbox is; 1 is full.
    pub fullest: f64,
}

/// Which actors are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Of this kind only.
    pub kind: Option<Kind>,
    /// Only those that are not well.
    pub unhealthy: bool,
    /// Only those with a larger number.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: usize,
}

/// Every supervised actor. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    metrics: Metrics,
    news: News,
    window: Duration,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    last: u64,
    listed: BTreeMap<u64, Listed>,
    /// Those that failed and have no successor, by who they were.
    failed: HashMap<(Kind, Arc<str>), u64>,
}

struct Listed {
    kind: Kind,
    id: Arc<str>,
    parent: Option<Kind>,
    state: State,
    since: Instant,
    depth: Arc<Depth>,
    capacity: u32,
    /// Most actors never fail.
    failures: Option<Box<Failures>>,
}

#[derive(Clone)]
struct Failures {
    /// The oldest first.
    times: VecDeque<Instant>,
    last: Failure,
}

impl Registry {
    /// Nobody lives yet. Failures count for `window`.
    pub fn new(metrics: Metrics, window: Duration) -> Self {
        Self { metrics, news: News::default(), window, entries: Arc::default() }
    }

    /// What changes, for whoever wants to hear of it.
    pub fn news(&self) -> &News {
        &self.news
    }

    /// Those that are wanted, the oldest first, and the number to go on after if there are more.
    pub fn page(&self, wanted: Wanted) -> (Vec<Entry>, Option<u64>) {
        let now = clock::now();
        let entries = self.swept(now);
        let after = wanted.after.map_or(0, |after| after.saturating_add(1));
        let fits = |entry: &Entry| !(wanted.unhealthy && entry.healthy);
        let mut found = entries
            .listed
            .range(after..)
            .filter(|(_, listed)| wanted.kind.is_none_or(|kind| kind == listed.kind))
            .map(|(number, listed)| listed.entry(*number, now, self.window))
            .filter(fits);
        let page: Vec<_> = found.by_ref().take(wanted.limit).collect();
        let more = found.next().is_some();
        let next = page.last().filter(|_| more).map(|entry| entry.number);
        (page, next)
    }

    /// The actors of each kind, all together.
    pub fn totals(&self) -> Vec<Total> {
        let now = clock::now();
        let entries = self.swept(now);
        let nobody = |kind: &Kind| Total {
            kind: *kind,
            alive: 0,
            unhealthy: 0,
            restarts: 0,
            depth: 0,
            high: 0,
            fullest: 0.0,
        };
        let mut totals: Vec<Total> = Kind::ALL.iter().map(nobody).collect();
        for listed in entries.listed.values() {
            if let Some(total) = totals.iter_mut().find(|total| total.kind == listed.kind) {
                listed.add_to(total, now, self.window);
            }
        }
        totals
    }

    /// Writes down how they are, for a scrape.
    pub fn tell_metrics(&self) {
        for total in self.totals() {
            let figures = ActorFigures {
                unhealthy: i64::try_from(total.unhealthy).unwrap_or(i64::MAX),
                depth: i64::try_from(total.depth).unwrap_or(i64::MAX),
                high: total.high.into(),
                fullest: total.fullest,
            };
            self.metrics.actors_are(total.kind, figures);
        }
    }

    /// An actor that failed will be started anew.
    pub fn restarting(&self, kind: Kind, id: &str) {
        self.becomes(kind, id, State::Restarting);
    }

    /// An actor that failed is left alone.
    pub fn gave_up(&self, kind: Kind, id: &str) {
        self.metrics.gave_up(kind);
        self.becomes(kind, id, State::GaveUp);
    }

    /// How many of a kind live.
    #[cfg(test)]
    pub fn count(&self, kind: Kind) -> usize {
        let lives = |listed: &&Listed| listed.kind == kind && listed.state == State::Live;
        self.lock().listed.values().filter(lives).count()
    }

    fn becomes(&self, kind: Kind, id: &str, state: State) {
        let mut entries = self.lock();
        let Some(number) = entries.failed.get(&(kind, Arc::from(id))).copied() else { return };
        if let Some(listed) = entries.listed.get_mut(&number) {
            listed.state = state;
            self.tell(number, listed);
        }
    }

    /// An actor is started. What is known of a predecessor that failed goes on with it.
    pub(super) fn enter(&self, birth: Birth, depth: Arc<Depth>) -> Registered {
        self.metrics.actor(birth.kind, 1);
        let (kind, id) = (birth.kind, Arc::<str>::from(birth.id));
        let mut entries = self.lock();
        let before = entries.failed.remove(&(kind, id.clone()));
        let before = before.and_then(|number| Some((number, entries.listed.remove(&number)?)));
        if let Some((number, gone)) = &before {
            self.tell_ended(*number, gone);
        }
        entries.last += 1;
        let number = entries.last;
        let listed = Listed {
            kind,
            id,
            parent: birth.parent,
            state: State::Live,
            since: clock::now(),
            depth,
            capacity: u32::try_from(birth.mailbox).unwrap_or(u32::MAX),
            failures: before.and_then(|(_, gone)| gone.failures),
        };
        self.tell(number, &listed);
        entries.listed.insert(number, listed);
        Registered { registry: self.clone(), number, kind, failed: false }
    }

    fn left(&self, number: u64, kind: Kind, failed: bool) {
        self.metrics.actor(kind, -1);
        if failed {
            self.metrics.restart(kind, Cause::Panicked);
        }
        let mut entries = self.lock();
        if !failed || entries.failed.len() >= FAILED_MAX {
            if let Some(gone) = entries.listed.remove(&number) {
                self.tell_ended(number, &gone);
            }
            return;
        }
        let Some(listed) = entries.listed.get_mut(&number) else { return };
        listed.failed();
        self.tell(number, listed);
        let who = (kind, listed.id.clone());
        // One that failed in the same moment under the same name is not listed twice.
        if let Some(older) = entries.failed.insert(who, number) {
            entries.listed.remove(&older);
        }
    }

    /// Without those that failed longer ago than the window and have no successor.
    fn swept(&self, now: Instant) -> MutexGuard<'_, Entries> {
        let mut guard = self.lock();
        let entries = &mut *guard;
        let listed = &mut entries.listed;
        entries.failed.retain(|_, number| {
            let counts =
                listed.get(number).is_some_and(|failed| failed.failures_within(now, self.window) > 0);
            if !counts && let Some(gone) = listed.remove(number) {
                self.tell_ended(*number, &gone);
            }
            counts
        });
        guard
    }

    fn tell(&self, number: u64, listed: &Listed) {
        self.news.actor(|| listed.entry(number, clock::now(), self.window));
    }

    fn tell_ended(&self, number: u64, gone: &Listed) {
        let window = self.window;
        self.news.actor(|| Entry { state: State::Ended, ..gone.entry(number, clock::now(), window) });
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn failed(&mut self) {
        self.state = State::Failed;
        let last = Failure { at: clock::wall(), cause: Cause::Panicked };
        let before = self.failures.take().map(|before| before.times).unwrap_or_default();
        let mut failures = Failures { times: before, last };
        if failures.times.len() >= FAILURES_MAX {
            failures.times.pop_front();
        }
        failures.times.push_back(clock::now());
        self.failures = Some(Box::new(failures));
    }

    fn failures_within(&self, now: Instant, window: Duration) -> usize {
        let Some(failures) = &self.failures else { return 0 };
        failures.times.iter().filter(|at| now.saturating_duration_since(**at) <= window).count()
    }

    fn lives(&self) -> bool {
        self.state == State::Live
    }

    /// How many messages wait, and whether that is nearly all that may.
    fn waiting(&self) -> (u32, bool) {
        let depth = if self.lives() { self.depth.now() } else { 0 };
        let full = u64::from(depth) * u64::from(FULL.1) >= u64::from(self.capacity) * u64::from(FULL.0);
        (depth, full && depth > 0)
    }

    fn entry(&self, number: u64, now: Instant, window: Duration) -> Entry {
        let restarts = self.failures_within(now, window);
        let (depth, full) = self.waiting();
        let uptime = if self.lives() { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        Entry {
            number,
            kind: self.kind,
            id: self.id.clone(),
            parent: self.parent,
            state: self.state,
            healthy: self.lives() && restarts == 0 && !full,
            depth,
            high: self.depth.high(),
            capacity: self.capacity,
            restarts,
            last_failure: self.failures.as_ref().map(|failures| failures.last),
            uptime,
        }
    }

    fn add_to(&self, total: &mut Total, now: Instant, window: Duration) {
        let restarts = self.failures_within(now, window);
        let (depth, full) = self.waiting();
        total.alive += usize::from(self.lives());
        total.unhealthy += usize::from(!self.lives() || restarts > 0 || full);
        total.restarts += restarts;
        total.depth += u64::from(depth);
        total.high = total.high.max(self.depth.high());
        total.fullest = total.fullest.max(f64::from(depth) / f64::from(self.capacity.max(1)));
    }
}

/// Says how many there are: their names are for who asks for them.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("listed", &self.lock().listed.len()).finish_non_exhaustive()
    }
}

/// Leaves the registry when dropped.
pub(super) struct Registered {
    registry: Registry,
    number: u64,
    kind: Kind,
    failed: bool,
}

impl Registered {
    /// The actor has ended in this way.
    pub(super) fn ended(mut self, cause: Cause) {
        self.failed = cause == Cause::Panicked;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.left(self.number, self.kind, self.failed);
    }
}

#[cfg(test)]
mod tests;
