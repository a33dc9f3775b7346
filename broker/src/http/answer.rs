//! Problems as HTTP answers: `{"code","message","request_id"}`.

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};
use moorline_wire::Code;
use serde::Serialize;

use super::guard::RequestId;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// The body of every answer that is an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorBody {
    /// The stable name of the reason.
    code: String,
    /// What happened and what can be done about it.
    message: String,
    /// Stands in the broker's log, too.
    request_id: String,
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Without a body: [`in_words`] knows the request's id and writes it.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// Gives an answer that is an error its body, and tells the log what the person is not told.
pub(super) fn in_words(
    res: ServiceResponse<BoxBody>,
    id: &RequestId,
    metrics: Option<&Metrics>,
) -> ServiceResponse<BoxBody> {
    let status = res.status();
    if !(status.is_client_error() || status.is_server_error())
        || res.headers().contains_key(header::CONTENT_TYPE)
    {
        return res;
    }
    let known = res.response().error().and_then(|e| e.as_error::<Problem>());
    let (code, message, chain) = match known {
        Some(problem) => (problem.code, problem.text.clone(), problem.chain()),
        None => {
            let (code, message) = by_status(status);
            (code, message, res.response().error().map_or_else(|| code.to_string(), ToString::to_string))
        }
    };
    if let Some(metrics) = metrics {
        metrics.refused(code);
    }
    if status.is_server_error() {
        tracing::warn!(request_id = id.0, %code, cause = chain, "request failed");
    } else {
        tracing::debug!(request_id = id.0, %code, cause = chain, "request refused");
    }
    let body = ErrorBody { code: code.name().to_owned(), message, request_id: id.0.clone() };
    let (req, mut old) = res.into_parts();
    let mut answer = HttpResponse::build(status).json(body);
    for (name, value) in old.headers_mut().drain() {
        if let Some(name) = name {
            answer.headers_mut().append(name, value);
        }
    }
    ServiceResponse::new(req, answer)
}

/// Errors that actix-web makes by itself.
fn by_status(status: StatusCode) -> (Code, String) {
    let words = |code: Code| (code, Problem::new(code).text);
    match status {
        StatusCode::NOT_FOUND => words(Code::UNKNOWN),
        StatusCode::METHOD_NOT_ALLOWED => (
            Code::BAD_REQUEST,
            "This address does not answer to that method. See /api/v1/openapi.json for what is expected."
                .to_owned(),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => words(Code::TOO_LARGE),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => words(Code::MEDIA_TYPE),
        status if status.is_client_error() => words(Code::BAD_REQUEST),
        _ => words(Code::INTERNAL),
    }
}
