//! The one way into the audit from a request, and the route that reads it.

use actix_web::web::{Data, Json};
use actix_web::{HttpMessage, HttpRequest};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::body::Query;
use super::guard::RequestId;
use super::peer;
use super::route::Person;
use crate::clock::wall;
use crate::problem::Problem;
use crate::readable::harmless;
use crate::store::{AuditFilter, AuditRow};

/// A page of the audit is not longer than this.
const LISTED_MAX: u32 = 500;

/// Keeps an act: who, what, on what, from where, with what outcome.
pub(super) fn audit<T>(
    req: &HttpRequest,
    person: &Person,
    what: &'static str,
    on: &str,
    outcome: &Result<T, Problem>,
) {
    audit_as(req, &person.name, what, on, outcome);
}

/// The same, of somebody who is not logged in, or not yet.
pub(super) fn audit_as<T>(
    req: &HttpRequest,
    who: &str,
    what: &'static str,
    on: &str,
    outcome: &Result<T, Problem>,
) {
    let Some(parts) = req.app_data::<Data<Parts>>() else { return };
    let request_id = req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let outcome = outcome.as_ref().map_or_else(|problem| problem.code.name(), |_| "done");
    parts.audit.record(AuditRow {
        seq: 0,
        at: wall(),
        who: readable(who),
        what: what.to_owned(),
        target: readable(on),
        address: peer::address(req, parts).to_string(),
        outcome: outcome.to_owned(),
        request_id,
    });
}

/// Whatever was typed as a name: one line, and not more of it than a name can have.
fn readable(text: &str) -> String {
    harmless(text, 64)
}

/// One act.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Entry {
    /// Later acts have larger numbers.
    seq: i64,
    at: String,
    who: String,
    what: String,
    on: String,
    /// From which address.
    from: String,
    /// `done`, or the code of the refusal.
    outcome: String,
    request_id: String,
}

/// Acts, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Audit {
    entries: Vec<Entry>,
    /// What to give as `before` for those that come next; `null`: there are no more.
    next: Option<i64>,
}

/// Which acts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Only those before this number.
    before: Option<i64>,
    /// Only this person's.
    who: Option<String>,
    /// Only acts of this kind, e.g. `login`.
    what: Option<String>,
    /// So many at once; 100 if it is not said, 500 at most.
    limit: Option<u32>,
}

/// Who did what, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery),
    responses((status = 200, body = Audit), (status = 403, body = ErrorBody)))]
pub(super) async fn list(
    parts: Data<Parts>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Audit>, Problem> {
    // What was done a moment ago is there.
    parts.audit.flush().await?;
    let count_max = query.limit.unwrap_or(100).clamp(1, LISTED_MAX);
    let filter = AuditFilter { before: query.before, who: query.who, what: query.what, count_max };
    let rows = parts.store.audit(filter).await?;
    let full = rows.len() == count_max as usize;
    let next = rows.last().filter(|_| full).map(|row| row.seq);
    Ok(Json(Audit { entries: rows.into_iter().map(entry).collect(), next }))
}

fn entry(row: AuditRow) -> Entry {
    Entry {
        seq: row.seq,
        at: format!("{:.6}", row.at),
        who: row.who,
        what: row.what,
        on: row.target,
        from: row.address,
        outcome: row.outcome,
        request_id: row.request_id,
    }
}
