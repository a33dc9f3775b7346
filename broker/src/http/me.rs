//! Who is logged in.

use actix_web::web::{Data, Json};
use serde::Serialize;

use super::Parts;
use super::answer::ErrorBody;
use super::people::ways_of;
use super::route::Person;
use crate::access::Role;
use crate::identity::{Pass, SecondFactor};
use crate::problem::Problem;

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
    /// Whether they have a second factor: `on`, `off`, or `missing`: the broker requires one, and nothing else can be
    /// done before it is set up.
    second_factor: &'static str,
    /// Recovery codes that are left of the second factor.
    recovery_codes: i64,
    /// How they can log in: `password`, `totp` (a code beside it), `provider`.
    ways: Vec<&'static str>,
    /// The broker's version.
    version: &'static str,
}

/// Who is logged in.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Me), (status = 401, body = ErrorBody)))]
pub(super) async fn show(parts: Data<Parts>, person: Person) -> Result<Json<Me>, Problem> {
    let (mut ways, mut recovery_codes) = (Vec::new(), 0);
    if let Some(id) = &person.caller.id {
        if let Some(row) = parts.store.person(id).await? {
            ways = ways_of(&row, parts.store.linked().await?.contains(id));
        }
        recovery_codes = parts.store.recovery_codes(id).await?;
    }
    let mode = match person.caller.pass {
        Pass::Demo => "demo",
        Pass::Login(..) => "login",
        Pass::Token(..) => "token",
    };
    Ok(Json(Me {
        person: person.name,
        mode,
        roles: person.caller.subject.roles,
        second_factor: match person.caller.second_factor {
            SecondFactor::On => "on",
            SecondFactor::Off => "off",
            SecondFactor::Missing => "missing",
        },
        recovery_codes,
        ways,
        version: env!("CARGO_PKG_VERSION"),
    }))
}
