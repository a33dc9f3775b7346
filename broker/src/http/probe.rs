//! Whether the broker lives, whether it is ready, and what it counts.

use actix_web::http::header;
use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};
use serde::Serialize;

use super::Parts;
use super::answer::ErrorBody;

/// The process answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Live {
    live: bool,
}

/// Whether new work is taken, and why not.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Ready {
    ready: bool,
    /// What is in the way, in words; empty when it is ready.
    reasons: Vec<String>,
    /// Everything that was looked at.
    checks: Vec<Check>,
}

/// One thing that must be well.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Check {
    /// `listening`: connections are taken; `serving`: the broker is not being stopped; `arbiters`: every
    /// thread of actors answers; `store`: it answers, and takes writes.
    name: &'static str,
    ok: bool,
    /// What is wrong and what can be done about it.
    reason: Option<String>,
}

impl Check {
    fn of(name: &'static str, outcome: Result<(), String>) -> Self {
        Self { name, ok: outcome.is_ok(), reason: outcome.err() }
    }
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = Live)))]
pub(super) async fn livez() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether new work is taken.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(super) async fn readyz(parts: Data<Parts>) -> impl Responder {
    let stopping = parts.health.is_draining();
    let serving = if stopping { Err("The broker is being stopped.".to_owned()) } else { Ok(()) };
    let checks = vec![
        // Whoever reads this has got a connection.
        Check::of("listening", Ok(())),
        Check::of("serving", serving),
        Check::of("arbiters", arbiters(parts.pulse.unanswered())),
        Check::of("store", parts.store.answers().await.map_err(|problem| problem.text)),
    ];
    let reasons: Vec<_> = checks.iter().filter_map(|check| check.reason.clone()).collect();
    let body = Ready { ready: reasons.is_empty(), reasons, checks };
    if body.ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}

/// One question that is not answered yet is no more than a busy moment.
fn arbiters(unanswered: u32) -> Result<(), String> {
    match unanswered {
        0 | 1 => Ok(()),
        seconds => Err(format!(
            "A thread of actors has not answered for {seconds} s. If that goes on, the broker ends and is to be started \
             anew; sessions survive that."
        )),
    }
}

/// Everything that is counted, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 403, body = ErrorBody)))]
pub(super) async fn metrics(parts: Data<Parts>) -> impl Responder {
    parts.registry.tell_metrics();
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(parts.metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_answer_is_a_reason_and_a_busy_moment_is_none() {
        assert_eq!((arbiters(0), arbiters(1)), (Ok(()), Ok(())));
        assert!(arbiters(2).unwrap_err().contains("2 s"));
    }
}
