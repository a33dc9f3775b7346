//! Bodies, queries and ids of requests, strictly read: what is not expected is refused.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::error::JsonPayloadError;
use actix_web::{FromRequest, HttpRequest, web};
use moorline_wire::{Code, DeviceId, SessionId};
use serde::de::DeserializeOwned;

use super::Parts;
use crate::clock;
use crate::id::{GrantId, InstallKeyId, LoginId, PersonId, TokenId};
use crate::metrics::Wait;
use crate::problem::Problem;

/// The body of a request as JSON, within its limits of size and time.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let Some(parts) = req.app_data::<web::Data<Parts>>() else {
            return Box::pin(ready(Err(Problem::new(Code::INTERNAL))));
        };
        let (limit, within) = (parts.config.limits.body.bytes(), parts.config.timing.http_body);
        let metrics = parts.metrics.clone();
        // Only `application/json` itself makes a browser ask before it sends a foreign page's request.
        let is_json =
            req.headers().get("content-type").and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
                kind.split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
            });
        if !is_json {
            return Box::pin(ready(Err(Problem::new(Code::MEDIA_TYPE))));
        }
        let reading = actix_web::dev::JsonBody::<T>::new(req, payload, None, false).limit(limit);
        Box::pin(async move {
            match clock::within(within, Wait::HttpBody, reading).await {
                Ok(Ok(value)) => Ok(Self(value)),
                Ok(Err(e)) => Err(unreadable(e)),
                Err(late) => {
                    metrics.timeout(late.what);
                    Err(Problem::new(Code::HELLO_TIMEOUT)
                        .saying("The body of the request did not arrive in time. Try again.")
                        .because(late))
                }
            }
        })
    }
}

fn unreadable(e: JsonPayloadError) -> Problem {
    match e {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            Problem::new(Code::TOO_LARGE)
        }
        JsonPayloadError::ContentType => Problem::new(Code::MEDIA_TYPE),
        JsonPayloadError::Deserialize(e) => malformed("body", &e),
        other => Problem::new(Code::BAD_REQUEST).because(anyhow::anyhow!("{other}")),
    }
}

/// Says what is wrong, but not at what length: the text may be the sender's.
fn malformed(what: &str, e: &dyn std::fmt::Display) -> Problem {
    let why: String = e.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    Problem::new(Code::BAD_REQUEST).saying(format!(
        "The {what} of the request is not as expected: {why}. See /api/v1/openapi.json for what is expected."
    ))
}

/// The query of a request; a key that the route does not know is refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<T>::from_query(req.query_string());
        ready(query.map(|query| Self(query.into_inner())).map_err(|e| malformed("query", &e)))
    }
}

/// The `{id}` of a path.
pub(super) struct Id<T>(pub(super) T);

/// An id that a path can name, and what it means that there is none.
pub(super) trait Named: FromStr {
    /// There is nothing of that id.
    const UNKNOWN: Code;
}

impl Named for DeviceId {
    const UNKNOWN: Code = Code::UNKNOWN_DEVICE;
}

macro_rules! unknown {
    ($($name:ident),*) => {$(
        impl Named for $name {
            const UNKNOWN: Code = Code::UNKNOWN;
        }
    )*};
}

unknown!(SessionId, PersonId, LoginId, TokenId, GrantId, InstallKeyId);

impl<T: Named> FromRequest for Id<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        // What is not even of an id's form is as unknown as any other.
        let id = req.match_info().get("id").and_then(|text| text.parse().ok());
        ready(id.map(Self).ok_or_else(|| Problem::new(T::UNKNOWN)))
    }
}
