//! The tree of supervision: every actor, how it is, and the totals of each kind.

use actix_web::web::{Data, Json};
use moorline_wire::Code;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::body::Query;
use crate::actor::{Entry, Kind, ONLY, Registry, Total, Wanted};
use crate::clock;
use crate::problem::Problem;

/// How many actors one answer tells of, if the question does not say.
const LIMIT: usize = 1_000;

/// At most: everybody, with 10,000 devices and as many sessions.
const LIMIT_MAX: usize = 20_000;

/// Which actors.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Of this kind only: `device_directory`, `device_connection`, `session_supervisor`, `ssh_session`
    /// or `user_connection`.
    kind: Option<String>,
    /// Only those that are not well.
    #[serde(default)]
    unhealthy: bool,
    /// Where the page before ended: its `next`.
    after: Option<String>,
    /// 1 to 20000; 1000 if not given.
    limit: Option<usize>,
}

/// Actors, the oldest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ActorList {
    /// When this was so.
    at: String,
    actors: Vec<Actor>,
    /// Of all actors, not only of those that were asked for.
    totals: Vec<KindTotal>,
    /// What to ask for with `after`; `null`: there are no more.
    next: Option<String>,
}

/// One actor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Actor {
    /// Each start of an actor has its own, larger than any before.
    number: u64,
    kind: &'static str,
    /// Which one of its kind: of a session or a device its id.
    id: String,
    parent: Option<Parent>,
    /// `live`; `restarting` (it failed, and is started anew soon; a device's, when its agent is back);
    /// `gave_up` (it failed too often); `failed` (it failed, and nobody starts it anew); in events
    /// also `ended`.
    state: &'static str,
    /// Whether nothing about it needs to be looked at: it lives, has not failed within
    /// `timing.restart_window`, and its mailbox is less than three quarters full.
    healthy: bool,
    mailbox: MailboxBody,
    /// How often it failed within `timing.restart_window`.
    restarts: usize,
    last_failure: Option<FailureBody>,
    /// For how long it has lived.
    uptime_seconds: f64,
}

/// Who started an actor and hears of its end.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Parent {
    kind: &'static str,
    id: &'static str,
}

/// Messages that wait for an actor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct MailboxBody {
    depth: u32,
    /// The most that ever waited.
    high: u32,
    capacity: u32,
}

/// How an actor failed the last time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct FailureBody {
    at: String,
    /// `panicked`.
    cause: &'static str,
}

/// The actors of one kind, all together.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(super) struct KindTotal {
    kind: &'static str,
    alive: usize,
    unhealthy: usize,
    restarts: usize,
    mailbox_depth: u64,
    /// The most that ever waited for one of them.
    mailbox_high: u32,
}

/// Every supervised actor, and how it is.
#[utoipa::path(get, path = "/api/v1/actors", params(ListQuery),
    responses((status = 200, body = ActorList), (status = 400, body = ErrorBody)))]
pub(super) async fn list(
    parts: Data<Parts>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ActorList>, Problem> {
    let bad = |text: &str| Problem::new(Code::BAD_REQUEST).saying(text);
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(bad("This is no limit of a list of actors. Give 1 to 20000."));
    }
    let named = |name: &String| {
        let kind = Kind::ALL.iter().find(|kind| kind.label() == name).copied();
        kind.ok_or_else(|| bad("There is no such kind of actor. See /api/v1/openapi.json for the kinds."))
    };
    let kind = query.kind.as_ref().map(named).transpose()?;
    let place = |cursor: &String| cursor.parse().map_err(|_| bad("This is no end of a page before."));
    let after = query.after.as_ref().map(place).transpose()?;
    let (page, next) = parts.registry.page(Wanted { kind, unhealthy: query.unhealthy, after, limit });
    let next = next.map(|next: u64| next.to_string());
    let actors = page.iter().map(Actor::of).collect();
    Ok(Json(ActorList { at: now(), actors, totals: totals(&parts.registry), next }))
}

/// The totals of every kind.
pub(super) fn totals(registry: &Registry) -> Vec<KindTotal> {
    registry.totals().into_iter().map(KindTotal::of).collect()
}

/// The time, as the API tells it.
pub(super) fn now() -> String {
    super::sessions::time(clock::wall())
}

impl Actor {
    /// As the API tells it.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            number: entry.number,
            kind: entry.kind.label(),
            id: entry.id.to_string(),
            parent: entry.parent.map(|kind| Parent { kind: kind.label(), id: ONLY }),
            state: entry.state.label(),
            healthy: entry.healthy,
            mailbox: MailboxBody { depth: entry.depth, high: entry.high, capacity: entry.capacity },
            restarts: entry.restarts,
            last_failure: entry.last_failure.map(|failure| FailureBody {
                at: super::sessions::time(failure.at),
                cause: failure.cause.label(),
            }),
            uptime_seconds: entry.uptime.as_secs_f64(),
        }
    }
}

impl KindTotal {
    fn of(total: Total) -> Self {
        Self {
            kind: total.kind.label(),
            alive: total.alive,
            unhealthy: total.unhealthy,
            restarts: total.restarts,
            mailbox_depth: total.depth,
            mailbox_high: total.high,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::actor::{Birth, spawn, takes_mail};
    use crate::metrics::Metrics;

    struct Idle;

    takes_mail!(Idle);

    impl actix::Actor for Idle {
        type Context = actix::Context<Self>;
    }

    /// What a page that looks each second costs the broker, with 10,000 devices.
    #[actix::test]
    async fn a_full_list_of_ten_thousand_actors_and_a_scrape_cost_some_milliseconds() {
        let metrics = Metrics::new();
        let registry = Registry::new(metrics.clone(), Duration::from_secs(60));
        let place = actix_rt::Arbiter::current();
        let born = |n| {
            let (kind, parent) = (Kind::DeviceConnection, Some(Kind::DeviceDirectory));
            let birth = Birth { kind, id: format!("d-{n:016}"), parent, mailbox: 256, traced: None };
            spawn(&registry, &place, birth, |_| Idle, |_| ())
        };
        let _living: Vec<_> = (0..10_000).map(born).collect();
        let began = Instant::now();
        let (page, next) = registry.page(Wanted { limit: LIMIT_MAX, ..Wanted::default() });
        let list = page.iter().map(Actor::of).collect();
        let next = next.map(|next| next.to_string());
        let list = ActorList { at: now(), actors: list, totals: totals(&registry), next };
        let text = serde_json::to_string(&list).unwrap();
        let listed = began.elapsed();
        assert_eq!((list.actors.len(), &list.next), (10_000, &None));
        let began = Instant::now();
        registry.tell_metrics();
        let scraped = metrics.text().len();
        let (told, length) = (began.elapsed(), text.len());
        println!(
            "a list of 10,000 actors, {length} bytes: {listed:?}; a scrape of {scraped} bytes: {told:?}"
        );
        // Each by each would take seconds; what it takes is printed.
        assert!(
            listed < Duration::from_millis(500) && told < Duration::from_millis(50),
            "{listed:?} {told:?}"
        );
    }
}
