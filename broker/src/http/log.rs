//! What the broker logs, and how to change that while it runs.

use actix_web::HttpRequest;
use actix_web::web::Json;
use serde::{Deserialize, Serialize};

use super::answer::ErrorBody;
use super::audit::audit;
use super::body::Body;
use super::route::Person;
use crate::logging;
use crate::problem::Problem;

/// What is logged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LogFilter {
    /// Now: a level, and levels per part, e.g. `info,moorline_broker::device=debug`.
    filter: String,
    /// By the settings: what is logged again after the next start.
    configured: String,
}

/// What is to be logged.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFilter {
    /// A level, and levels per part.
    filter: String,
}

/// What the broker logs.
#[utoipa::path(get, path = "/api/v1/log", responses((status = 200, body = LogFilter)))]
pub(super) async fn show() -> Result<Json<LogFilter>, Problem> {
    logging::filter().map(told)
}

/// Changes what the broker logs, until it is started again.
#[utoipa::path(put, path = "/api/v1/log", request_body = NewFilter,
    responses((status = 200, body = LogFilter), (status = 400, body = ErrorBody)))]
pub(super) async fn change(
    req: HttpRequest,
    person: Person,
    Body(NewFilter { filter }): Body<NewFilter>,
) -> Result<Json<LogFilter>, Problem> {
    let changed = logging::set_filter(&filter);
    audit(&req, &person, "log_filter", changed.as_ref().map_or("", |changed| &changed.now), &changed);
    changed.map(told)
}

fn told(logging::Filter { now, configured }: logging::Filter) -> Json<LogFilter> {
    Json(LogFilter { filter: now, configured })
}
