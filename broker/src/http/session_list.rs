//! The list of sessions: which are wanted, in what order, and how it goes on.
//!
//! What the actors know is told by them, also of those that have just ended and whose ending is
//! only being written down; the rest by the store.

use std::collections::HashSet;
use std::str::FromStr;

use actix_web::web::{Data, Json};
use moorline_wire::{Code, DeviceId, SessionId};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::body::Query;
use super::route::Person;
use super::sessions::{Session, of_row, of_view};
use crate::access::Right;
use crate::problem::Problem;
use crate::session::{SessionState, SessionView};
use crate::store::{EndedAt, SessionFilter, SessionRow, SessionsOf};

/// So many that are over are told at once: beyond it, nobody reads, and there are further pages.
const LISTED_MAX: u32 = 500;

/// So often the store is asked for more, where somebody may see few of the sessions.
const BATCHES_MAX: usize = 40;

/// A search is some words of a person, and each costs a look at every session.
const WORDS_MAX: usize = 8;

/// Sessions, and how the list goes on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<Session>,
    /// There are more that are over: ask again with this as `after`. Only told with `state=ended`.
    next: Option<String>,
}

/// Which sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// `live` (not over), `ended` or `all`. With `ended` the last one that ended comes first, else
    /// the last one that began.
    #[serde(default)]
    #[param(inline)]
    state: Wanted,
    /// Of one device only.
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// Up to 8 words that all stand somewhere in what is told of a session: its ids, names, command,
    /// and how it ended.
    q: Option<String>,
    /// At most so many that are over: 1 to 500, which it is by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Of those that are over, what comes after the page that told this as `next`.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Live,
    Ended,
    #[default]
    All,
}

/// A place among the ended sessions as text: `1800000000000000.s-...`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Cursor(EndedAt);

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const NOT_OURS: &str = "this is no place that a list has told";
        let (ended_us, id) = text.split_once('.').ok_or(NOT_OURS)?;
        let ended_us = ended_us.parse().map_err(|_| NOT_OURS)?;
        let id = SessionId::from_str(id).map_err(|_| NOT_OURS)?;
        Ok(Self(EndedAt { ended_us, id }))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.ended_us, self.0.id.as_str())
    }
}

/// Sessions: the last begun first; of those that are over, the last ended first, in pages.
#[utoipa::path(get, path = "/api/v1/sessions", params(ListQuery),
    responses((status = 200, body = SessionList), (status = 400, body = ErrorBody)))]
pub(super) async fn list(
    parts: Data<Parts>,
    person: Person,
    Query(query): Query<ListQuery>,
) -> Result<Json<SessionList>, Problem> {
    let search = Search::of(query)?;
    let theirs = parts.warden.view(&person.caller.subject).await?;
    let views = parts.sessions.known().await;
    let told: HashSet<SessionId> = views.iter().map(|view| view.id.clone()).collect();
    let repeated = views.iter().filter(|view| search.may_be_stored(view)).count();
    let seen = |view: &SessionView| search.wants(view) && theirs.has(Right::See, &view.into());
    let mut found: Vec<Found> = views.into_iter().filter(seen).map(Found::View).collect();
    let batches = if search.state == Wanted::Live { 0 } else { BATCHES_MAX };
    let mut asked = search.of_store(repeated);
    for _ in 0..batches {
        let rows = parts.store.sessions(asked.clone()).await?;
        let last = rows.last().filter(|_| rows.len() == asked.count_max as usize).map(place_of_row);
        let seen = |row: &SessionRow| !told.contains(&row.id) && theirs.has(Right::See, &row.into());
        found.extend(rows.into_iter().filter(seen).map(Found::Row));
        // What they may not see takes no place on their page, and is not told by where it ends.
        let Some(last) = last.filter(|_| search.wants_more(&found)) else { break };
        asked.after = Some(last);
    }
    let (page, next) = search.page(found);
    Ok(Json(SessionList { sessions: page.into_iter().map(Found::told).collect(), next }))
}

/// A query that was found to be answerable.
struct Search {
    state: Wanted,
    device: Option<DeviceId>,
    words: Vec<String>,
    after: Option<EndedAt>,
    limit: u32,
}

impl Search {
    fn of(query: ListQuery) -> Result<Self, Problem> {
        let bad = |text: &str| Problem::new(Code::BAD_REQUEST).saying(text);
        let text = query.q.unwrap_or_default().to_ascii_lowercase();
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.len() > WORDS_MAX || text.len() > 400 {
            return Err(bad("This is more than can be searched for. Give up to 8 words."));
        }
        let limit = query.limit.unwrap_or(LISTED_MAX);
        if !(1..=LISTED_MAX).contains(&limit) {
            return Err(bad("This limit cannot be kept. Give 1 to 500."));
        }
        if query.after.is_some() && query.state != Wanted::Ended {
            return Err(bad("Only the ended sessions have pages. Add state=ended, or leave after= out."));
        }
        let after = query.after.map(|Cursor(place)| place);
        Ok(Self { state: query.state, device: query.device, words, after, limit })
    }

    /// Whether a session is wanted that its actor tells of.
    fn wants(&self, view: &SessionView) -> bool {
        let ended = view.state == SessionState::Ended;
        let of_state = self.state == Wanted::All || ended == (self.state == Wanted::Ended);
        let of_device = self.device.as_ref().is_none_or(|device| *device == view.device);
        let of_page = self.after.as_ref().is_none_or(|after| place_of_view(view) < *after);
        of_state && of_device && of_page && self.has_words(view)
    }

    fn has_words(&self, view: &SessionView) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let ending = view.ending.as_ref();
        let text = [
            view.id.as_str(),
            view.device.as_str(),
            &view.device_name,
            &view.login,
            &view.person,
            view.command.as_deref().unwrap_or_default(),
            ending.map_or("", |ending| ending.code.name()),
            ending.map_or("", |ending| &ending.text),
            ending.and_then(|ending| ending.by.as_deref()).unwrap_or_default(),
        ]
        .join(" ")
        .to_ascii_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }

    /// Whether the store may answer with this session, too.
    fn may_be_stored(&self, view: &SessionView) -> bool {
        self.state == Wanted::All || view.state == SessionState::Ended
    }

    /// The same question for the store. It may answer with what is told already, so many, and is to
    /// have a page and one more beside them: the one says that there are further pages.
    fn of_store(&self, repeated: usize) -> SessionFilter {
        SessionFilter {
            state: if self.state == Wanted::Ended { SessionsOf::Ended } else { SessionsOf::All },
            device: self.device.clone(),
            words: self.words.clone(),
            after: self.after.clone(),
            count_max: u32::try_from(repeated)
                .unwrap_or(u32::MAX)
                .saturating_add(self.limit)
                .saturating_add(1),
        }
    }

    /// Whether a page is not full yet, nor known to be the last one.
    fn wants_more(&self, found: &[Found]) -> bool {
        let over = found.iter().filter(|one| one.is_over()).count();
        self.state == Wanted::Ended && over <= self.limit as usize
    }

    /// What was found, in its order, as far as it is told at once, and where it goes on.
    fn page(&self, mut found: Vec<Found>) -> (Vec<Found>, Option<String>) {
        if self.state == Wanted::Ended {
            found.sort_by_cached_key(|found| std::cmp::Reverse(found.place()));
        } else {
            found.sort_by_cached_key(|found| (std::cmp::Reverse(found.started()), found.place().id));
        }
        let mut over = 0;
        found.retain(|one| {
            over += u32::from(one.is_over());
            !one.is_over() || over <= self.limit
        });
        let more = self.state == Wanted::Ended && over > self.limit;
        let next = found.last().filter(|_| more).map(|last| Cursor(last.place()).to_string());
        (found, next)
    }
}

/// A session as its actor or the store tells of it.
enum Found {
    View(SessionView),
    Row(SessionRow),
}

impl Found {
    fn place(&self) -> EndedAt {
        match self {
            Found::View(view) => place_of_view(view),
            Found::Row(row) => place_of_row(row),
        }
    }

    fn started(&self) -> i64 {
        match self {
            Found::View(view) => view.started.as_microsecond(),
            Found::Row(row) => row.started.as_microsecond(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Found::View(view) => view.state == SessionState::Ended,
            Found::Row(row) => row.ended.is_some(),
        }
    }

    fn told(self) -> Session {
        match self {
            Found::View(view) => of_view(view),
            Found::Row(row) => of_row(row),
        }
    }
}

fn place_of_view(view: &SessionView) -> EndedAt {
    EndedAt { ended_us: view.ended.map_or(0, |at| at.as_microsecond()), id: view.id.clone() }
}

fn place_of_row(row: &SessionRow) -> EndedAt {
    EndedAt { ended_us: row.ended.map_or(0, |at| at.as_microsecond()), id: row.id.clone() }
}
