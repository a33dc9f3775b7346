//! Who is logged in.

use actix_web::web::Json;
use serde::Serialize;

use super::answer::ErrorBody;
use super::route::Person;
use crate::access::Role;
use crate::identity::Pass;

/// Who is logged in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    /// The name of the account.
    person: String,
    /// `demo`: everyone who reaches the broker is this person. `login`: by a password. `token`: by an API token.
    mode: &'static str,
    /// The most that the person can be given: `admin`, `operator`, `watcher`.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    /// The broker's version.
    version: &'static str,
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Me), (status = 401, body = ErrorBody)))]
pub(super) async fn show(person: Person) -> Json<Me> {
    let mode = match person.caller.pass {
        Pass::Demo => "demo",
        Pass::Login(..) => "login",
        Pass::Token(..) => "token",
    };
    Json(Me {
        person: person.name,
        mode,
        roles: person.caller.subject.roles,
        version: env!("CARGO_PKG_VERSION"),
    })
}
