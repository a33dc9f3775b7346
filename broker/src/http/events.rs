//! What changes, as server-sent events: so that a page is up to date without asking each second.
//!
//! A listener gets each change at once, but not more than [`CHANGES_A_SECOND`] of them: when there are
//! more, the rest of that second is left out, and one `overflow` says that the lists are to be asked
//! for again. Counters come at most once a second, and only when they differ. The socket of a listener
//! who does not read fills, then nothing is made for it any more; what waits meanwhile is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use futures_util::future::LocalBoxFuture;
use futures_util::{Stream, stream};
use moorline_wire::Code;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::actors::{Actor, KindTotal, now, totals};
use super::answer::ErrorBody;
use super::route::Person;
use super::{Health, Parts};
use crate::actor::Registry;
use crate::clock;
use crate::identity::Pass;
use crate::metrics::{Counted, Metrics};
use crate::news::Change;
use crate::problem::Problem;
use crate::warden::Warden;

/// More than a person sees; a storm is told by counters.
const CHANGES_A_SECOND: usize = 200;

/// How often counters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often something is sent in any case: so a proxy keeps the connection, and a listener that is
/// gone is noticed.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// How long one connection lasts. Whoever comes again, as a browser does by itself, begins with whole lists.
const LASTS: Duration = Duration::from_secs(300);

/// The places of those who may listen at once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Seats(Arc<Semaphore>);

impl Seats {
    /// So many.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::LIMIT).saying(
                "As many browsers listen to changes as may. Close one, or raise limits.event_streams.",
            )
        })
    }
}

/// Changes of actors, sessions and devices, as they happen: `actors`, `sessions`, `devices` (counters),
/// `actor`, `session`, `device` (one change each), `overflow` (ask for the lists again).
#[utoipa::path(get, path = "/api/v1/events",
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 429, body = ErrorBody)))]
pub(super) async fn listen(parts: Data<Parts>, person: Person) -> Result<HttpResponse, Problem> {
    let Parts { registry, metrics, health, .. } = parts.get_ref().clone();
    let seat = parts.seats.take()?;
    let may_not = may_not_listen(parts.warden.clone(), person.caller.pass);
    let feed = Feed::new(Sources { registry, metrics, health }, seat, Box::pin(may_not));
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // For proxies that collect answers before they pass them on.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(feed.into_stream()))
}

/// Waits until they may not listen any more: their login is over, or they administer no longer. What is changed
/// here is noticed at once, what runs out by itself within `login.check`.
async fn may_not_listen(warden: Warden, pass: Pass) {
    let mut changes = warden.changes();
    loop {
        warden.time_to_look(&mut changes).await;
        match warden.administers(&pass).await {
            Ok(true) => {}
            // A broker that cannot look takes nothing away from anybody.
            Err(problem) if problem.code.http_status() >= 500 => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Where everything that is told comes from.
struct Sources {
    registry: Registry,
    metrics: Metrics,
    health: Health,
}

/// What one listener is sent.
struct Feed {
    sources: Sources,
    news: Receiver<Change>,
    counters: Counters,
    look_at: Instant,
    beat_at: Instant,
    ends_at: Instant,
    /// Is ready when who listens may not any more.
    may_not: LocalBoxFuture<'static, ()>,
    /// Changes that may still be told before the next look.
    left: usize,
    /// Something was not told.
    missed: bool,
    _seat: OwnedSemaphorePermit,
    _counted: Counted,
}

/// What was told last.
#[derive(Default)]
struct Counters {
    actors: Vec<KindTotal>,
    sessions: Counts,
    devices: Counts,
}

/// How many are in each state.
type Counts = Vec<(&'static str, i64)>;

impl Feed {
    fn new(sources: Sources, seat: OwnedSemaphorePermit, may_not: LocalBoxFuture<'static, ()>) -> Self {
        let now = clock::now();
        Self {
            news: sources.registry.news().listen(),
            counters: Counters::default(),
            // The counters come first, at once.
            look_at: now,
            beat_at: now + BEAT_EVERY,
            ends_at: now + LASTS,
            may_not,
            left: CHANGES_A_SECOND,
            missed: false,
            _seat: seat,
            _counted: sources.metrics.event_stream(),
            sources,
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        stream::unfold(self, |mut feed| async move {
            let text = feed.next().await?;
            Some((Ok(Bytes::from(text)), feed))
        })
    }

    /// The next piece to send; `None`: the broker goes, or whoever listens may not any more.
    async fn next(&mut self) -> Option<String> {
        loop {
            let mut text = String::new();
            tokio::select! {
                biased;
                () = self.sources.health.drained() => return None,
                () = &mut self.may_not => return None,
                () = clock::until(self.ends_at) => return None,
                () = clock::until(self.look_at) => self.look(&mut text),
                change = self.news.recv(), if !self.missed => self.heard(change, &mut text),
            }
            if !text.is_empty() {
                self.beat_at = clock::now() + BEAT_EVERY;
                return Some(text);
            }
        }
    }

    /// Once a second: whether something was missed, what the counters say, whether it is time for a beat.
    fn look(&mut self, text: &mut String) {
        let now = clock::now();
        self.look_at = now + LOOK_EVERY;
        self.left = CHANGES_A_SECOND;
        if std::mem::take(&mut self.missed) {
            // Whoever asks for the lists after this misses nothing that is not in them.
            self.news = self.sources.registry.news().listen();
            event(text, "overflow", &serde_json::json!({}));
        }
        self.tell_counters(text);
        if text.is_empty() && now >= self.beat_at {
            text.push_str(": beat\n\n");
        }
    }

    fn tell_counters(&mut self, text: &mut String) {
        let actors = totals(&self.sources.registry);
        if actors != self.counters.actors {
            event(text, "actors", &serde_json::json!({ "at": now(), "totals": actors }));
            self.counters.actors = actors;
        }
        let sessions = self.sources.metrics.sessions_now();
        if sessions != self.counters.sessions {
            event(text, "sessions", &by_state(&sessions));
            self.counters.sessions = sessions;
        }
        let devices = self.sources.metrics.devices_now();
        if devices != self.counters.devices {
            event(text, "devices", &by_state(&devices));
            self.counters.devices = devices;
        }
    }

    /// A change, and whatever else has changed meanwhile.
    fn heard(&mut self, first: Result<Change, RecvError>, text: &mut String) {
        let Ok(first) = first else {
            self.missed = true;
            return;
        };
        self.tell(&first, text);
        while !self.missed {
            match self.news.try_recv() {
                Ok(change) => self.tell(&change, text),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => self.missed = true,
            }
        }
    }

    fn tell(&mut self, change: &Change, text: &mut String) {
        if self.left == 0 {
            self.missed = true;
            return;
        }
        self.left -= 1;
        match change {
            Change::Actor(entry) => event(text, "actor", &Actor::of(entry)),
            Change::Session(id, state) => {
                event(text, "session", &serde_json::json!({ "id": id.as_str(), "state": state.label() }));
            }
            Change::Device(id, presence) => {
                event(text, "device", &serde_json::json!({ "id": id.as_str(), "state": presence.label() }));
            }
        }
    }
}

fn by_state(counts: &Counts) -> serde_json::Value {
    counts.iter().map(|(state, count)| ((*state).to_owned(), serde_json::Value::from(*count))).collect()
}

/// One event; JSON has no line break of its own.
fn event(text: &mut String, name: &str, data: &impl Serialize) {
    let data = serde_json::to_string(data).expect("these are maps with text keys");
    text.push_str("event: ");
    text.push_str(name);
    text.push_str("\ndata: ");
    text.push_str(&data);
    text.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionState;

    fn feed() -> (Feed, Registry, Health) {
        let (metrics, health) = (Metrics::new(), Health::default());
        let registry = Registry::new(metrics.clone(), Duration::from_secs(60));
        let sources = Sources { registry: registry.clone(), metrics, health: health.clone() };
        let for_ever = Box::pin(std::future::pending());
        (Feed::new(sources, Seats::new(1).take().unwrap(), for_ever), registry, health)
    }

    fn session(n: usize) -> moorline_wire::SessionId {
        let letter = char::from(b'a' + u8::try_from(n % 26).unwrap());
        format!("s-{}", letter.to_string().repeat(26)).parse().unwrap()
    }

    async fn names(feed: &mut Feed) -> Vec<String> {
        let text = feed.next().await.unwrap();
        text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_changes_is_cut_off_and_told_as_one_overflow() {
        let (mut feed, registry, _) = feed();
        assert_eq!(names(&mut feed).await, ["actors", "sessions", "devices"]);
        let storm = || (0..500).for_each(|n| registry.news().session(&session(n), SessionState::Live));
        storm();
        assert_eq!(names(&mut feed).await, vec!["session"; CHANGES_A_SECOND]);
        storm();
        assert_eq!(names(&mut feed).await, ["overflow"]);
        // Who has asked for the lists hears again of what changes after that, and of nothing twice.
        registry.news().session(&session(1), SessionState::Adrift);
        let text = feed.next().await.unwrap();
        assert!(text.starts_with("event: session\n") && text.contains("adrift"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_may_not_listen_any_more_is_told_nothing_more() {
        let (mut feed, registry, _) = feed();
        names(&mut feed).await;
        feed.may_not = Box::pin(std::future::ready(()));
        registry.news().session(&session(1), SessionState::Live);
        assert_eq!(feed.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_was_too_slow_is_told_so() {
        let (mut feed, registry, _) = feed();
        names(&mut feed).await;
        // More than wait for the slowest.
        (0..5000).for_each(|n| registry.news().session(&session(n), SessionState::Live));
        assert_eq!(names(&mut feed).await, ["overflow"]);
    }

    #[tokio::test(start_paused = true)]
    async fn with_nothing_to_tell_there_is_a_beat_and_at_the_end_nothing_more() {
        let (mut feed, _, health) = feed();
        names(&mut feed).await;
        let began = clock::now();
        assert_eq!(feed.next().await.as_deref(), Some(": beat\n\n"));
        assert!((BEAT_EVERY..BEAT_EVERY + LOOK_EVERY * 2).contains(&(clock::now() - began)));
        health.drain();
        assert_eq!(feed.next().await, None);
    }

    #[test]
    fn there_are_no_more_seats_than_there_may_be() {
        let seats = Seats::new(1);
        let taken = seats.take().unwrap();
        assert_eq!(seats.take().unwrap_err().code, Code::LIMIT);
        drop(taken);
        assert!(seats.take().is_ok());
    }
}
