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
    /// Empty when it is ready.
    reasons: Vec<String>,
}

/// The process answers.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = Live)))]
pub(super) async fn livez() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether new work is taken.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(super) async fn readyz(parts: Data<Parts>) -> impl Responder {
    let mut reasons = Vec::new();
    if parts.health.is_draining() {
        reasons.push("The broker is being stopped.".to_owned());
    }
    if let Err(problem) = parts.store.answers().await {
        reasons.push(problem.text);
    }
    let body = Ready { ready: reasons.is_empty(), reasons };
    if body.ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
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
