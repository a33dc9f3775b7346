//! Who is logged in.

use actix_web::web::Json;
use serde::Serialize;

use super::answer::ErrorBody;
use super::route::Person;

/// The one person of demo mode.
pub(super) const DEMO: &str = "demo";

/// Who is logged in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    /// The name of the account.
    person: String,
    /// `demo`: everyone who reaches the broker is this person.
    mode: &'static str,
    /// What the person may do.
    roles: Vec<&'static str>,
    /// The broker's version.
    version: &'static str,
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Me), (status = 401, body = ErrorBody)))]
pub(super) async fn show(person: Person) -> Json<Me> {
    // Only demo mode knows a person so far.
    Json(Me { person: person.name, mode: "demo", roles: vec!["admin"], version: env!("CARGO_PKG_VERSION") })
}
