//! Grants, and the explanation of what they come to. For administrators.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use moorline_wire::{Code, DeviceId};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id, Query};
use super::login::Done;
use super::route::Person;
use crate::access::{Act, By, Decision, Grant, Who};
use crate::clock::wall;
use crate::id::GrantId;
use crate::problem::Problem;
use crate::store::{GrantRow, PersonState};
use crate::warden::subject_of;

/// What somebody was given.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct GrantBody {
    id: String,
    /// `person:NAME`, `group:NAME` or `role:ROLE`.
    who: String,
    /// Of `shell`, `exec`, `files`, `forward`, `watch`, `kill`, `manage`.
    #[schema(value_type = Vec<String>)]
    acts: Vec<Act>,
    /// `*`, or tags and ids of which each must hold: `lab,!prod`.
    devices: String,
    /// `*`, or names with commas between.
    logins: String,
    until: Option<String>,
    created: String,
    created_by: String,
}

/// All grants, the oldest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Grants {
    grants: Vec<GrantBody>,
}

/// A new grant.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// `person:NAME`, `group:NAME` or `role:ROLE`.
    who: String,
    /// Of `shell`, `exec`, `files`, `forward`, `watch`, `kill`, `manage`.
    #[schema(value_type = Vec<String>)]
    acts: Vec<Act>,
    /// `*`, or tags and ids of which each must hold: `lab,!prod`.
    devices: String,
    /// `*`, or names with commas between.
    logins: String,
    /// From when on it counts no more; never, if it is not said.
    #[schema(value_type = Option<String>)]
    until: Option<jiff::Timestamp>,
}

/// Whose access to which device.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessQuery {
    /// The name of the account.
    person: String,
    #[param(value_type = String)]
    device: DeviceId,
    /// As whom; the device's own default otherwise.
    login: Option<String>,
}

/// What somebody may do on a device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Access {
    person: String,
    device: String,
    login: String,
    acts: Vec<Explained>,
}

/// One act and why it is allowed or not.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Explained {
    #[schema(value_type = String)]
    act: Act,
    allowed: bool,
    reason: String,
    /// The grant that allows it.
    grant: Option<String>,
}

/// All grants.
#[utoipa::path(get, path = "/api/v1/grants",
    responses((status = 200, body = Grants), (status = 403, body = ErrorBody)))]
pub(super) async fn list(parts: Data<Parts>) -> Result<Json<Grants>, Problem> {
    Ok(Json(Grants { grants: parts.store.grants().await?.into_iter().map(body).collect() }))
}

/// Gives somebody something.
#[utoipa::path(post, path = "/api/v1/grants", request_body = NewGrant,
    responses((status = 201, body = GrantBody), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(new): Body<NewGrant>,
) -> Result<HttpResponse, Problem> {
    let who = new.who.clone();
    let outcome = created(&parts, &person, new).await;
    let on = outcome.as_ref().map_or(who.as_str(), |row| row.grant.id.as_str()).to_owned();
    audit(&req, &person, "grant_create", &on, &outcome);
    Ok(HttpResponse::Created().json(body(outcome?)))
}

async fn created(parts: &Parts, person: &Person, new: NewGrant) -> Result<GrantRow, Problem> {
    let who: Who = read("who", &new.who)?;
    known(parts, &who).await?;
    let mut acts = new.acts;
    acts.sort_unstable();
    acts.dedup();
    if acts.is_empty() {
        return Err(bad("acts", &"it gives nothing"));
    }
    if parts.store.grants().await?.len() >= parts.config.limits.grants {
        return Err(Problem::new(Code::LIMIT)
            .saying("There are as many grants as there may be. Take some back, or raise limits.grants."));
    }
    let (devices, logins) = (read("devices", &new.devices)?, read("logins", &new.logins)?);
    let grant = Grant { id: GrantId::fresh()?, who, acts, devices, logins, until: new.until };
    let row = GrantRow { grant, created: wall(), created_by: person.name.clone() };
    parts.store.add_grant(&row).await?;
    Ok(row)
}

/// A person that is not there (yet) is a mistake: the name could become somebody else's.
async fn known(parts: &Parts, who: &Who) -> Result<(), Problem> {
    let Who::Person(name) = who else { return Ok(()) };
    let there =
        parts.store.person_named(name).await?.is_some_and(|person| person.state != PersonState::Removed);
    if there { Ok(()) } else { Err(bad("who", &"there is no such person")) }
}

/// Takes a grant back; what it alone allowed ends.
#[utoipa::path(delete, path = "/api/v1/grants/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub(super) async fn remove(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<GrantId>,
) -> Result<Json<Done>, Problem> {
    let removed = parts.store.remove_grant(&id).await;
    let outcome =
        removed.and_then(|removed| removed.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN)));
    parts.identity.changed();
    audit(&req, &person, "grant_remove", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

/// What somebody may do on a device, and why or why not.
#[utoipa::path(get, path = "/api/v1/access", params(AccessQuery),
    responses((status = 200, body = Access), (status = 404, body = ErrorBody)))]
pub(super) async fn explain(
    parts: Data<Parts>,
    Query(query): Query<AccessQuery>,
) -> Result<Json<Access>, Problem> {
    let person = parts.store.person_named(&query.person).await?;
    let person = person.filter(|person| person.state != PersonState::Removed);
    let person = person
        .ok_or_else(|| Problem::new(Code::UNKNOWN).saying("There is no such person. Look at the list."))?;
    let device = parts.store.device(&query.device).await?;
    let device = device.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    let login = query.login.unwrap_or(device.login);
    let view = parts.warden.view_of(&subject_of(&person), &device.id).await?;
    let explained = |act: &Act| {
        let decision = view.decide(*act, &device.id, act.concerns_login().then_some(&login));
        let grant = match &decision {
            Decision::Allowed(By::Grant(id)) => Some(id.to_string()),
            _ => None,
        };
        Explained { act: *act, allowed: decision.is_allowed(), reason: decision.reason(), grant }
    };
    let acts = Act::ALL.iter().map(explained).collect();
    Ok(Json(Access { person: person.name, device: device.id.into(), login, acts }))
}

fn read<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|e| bad(key, &e))
}

fn bad(key: &str, why: &dyn Display) -> Problem {
    Problem::new(Code::BAD_REQUEST)
        .saying(format!("The {key} of this grant cannot be used: {why}. Correct it."))
}

fn body(row: GrantRow) -> GrantBody {
    let GrantRow { grant, created, created_by } = row;
    GrantBody {
        id: grant.id.into(),
        who: grant.who.to_string(),
        acts: grant.acts,
        devices: grant.devices.to_string(),
        logins: grant.logins.to_string(),
        until: grant.until.map(|at| at.to_string()),
        created: format!("{created:.6}"),
        created_by,
    }
}
