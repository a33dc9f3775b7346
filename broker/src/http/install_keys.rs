//! Install keys: with them devices become known. For administrators.

use std::time::Duration;

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use moorline_wire::Code;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id};
use super::devices::tags_of;
use super::login::Done;
use super::route::Person;
use crate::access::Tag;
use crate::clock::wall;
use crate::device::fresh_install_key;
use crate::id::InstallKeyId;
use crate::problem::Problem;
use crate::readable::printable;
use crate::store::{InstallKeyRow, KeyMode};

/// A key that is to live longer lies around somewhere.
const LASTS_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A larger fleet than `limits.devices` ever allows.
const USES_MAX: u32 = 1_000_000;

/// An install key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct InstallKey {
    id: String,
    label: String,
    /// `automatic`: its devices are enrolled at once. `pending`: they wait until somebody approves them.
    #[schema(value_type = String)]
    mode: KeyMode,
    /// How many devices may enrol with it; `null`: as many as like.
    uses_max: Option<u32>,
    /// How many did.
    uses: u32,
    /// The tags of the devices that enrol with it.
    tags: Vec<String>,
    expires: String,
    /// Whether it is used up or has expired.
    over: bool,
    created: String,
    created_by: String,
}

/// Install keys, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct InstallKeys {
    install_keys: Vec<InstallKey>,
}

/// A new install key.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInstallKey {
    /// What it is for, in your words: 1 to 64 printable characters.
    label: String,
    /// `automatic`: its devices are enrolled at once. `pending`: they wait until somebody approves them.
    #[schema(value_type = String)]
    mode: KeyMode,
    /// How many devices may enrol with it, 1 or more; as many as like, if it is not said.
    uses_max: Option<u32>,
    /// The tags of the devices that enrol with it; each as a device's.
    #[serde(default)]
    tags: Vec<String>,
    /// From when on it is worth nothing; a year from now at most.
    #[schema(value_type = String)]
    expires: jiff::Timestamp,
}

/// A new install key, with its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Made {
    #[serde(flatten)]
    install_key: InstallKey,
    /// Shown once: what `moorline-agent enroll --key-file` reads.
    key: String,
}

/// All install keys.
#[utoipa::path(get, path = "/api/v1/install-keys",
    responses((status = 200, body = InstallKeys), (status = 403, body = ErrorBody)))]
pub(super) async fn list(parts: Data<Parts>) -> Result<Json<InstallKeys>, Problem> {
    let install_keys = parts.store.install_keys().await?.into_iter().map(body).collect();
    Ok(Json(InstallKeys { install_keys }))
}

/// Makes an install key. Its secret is shown once.
#[utoipa::path(post, path = "/api/v1/install-keys", request_body = NewInstallKey,
    responses((status = 201, body = Made), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(new): Body<NewInstallKey>,
) -> Result<HttpResponse, Problem> {
    let outcome = created(&parts, &person, new).await;
    let on = outcome.as_ref().map_or("", |made| &made.install_key.id).to_owned();
    audit(&req, &person, "install_key_create", &on, &outcome);
    Ok(HttpResponse::Created().json(outcome?))
}

async fn created(parts: &Parts, person: &Person, new: NewInstallKey) -> Result<Made, Problem> {
    let bad = |text: &str| Problem::new(Code::BAD_REQUEST).saying(text);
    let label = printable(&new.label)
        .ok_or_else(|| bad("This is no label for an install key. Give 1 to 64 printable characters."))?;
    let (now, lasts_max) = (wall(), jiff::SignedDuration::try_from(LASTS_MAX).unwrap_or_default());
    if new.expires <= now || new.expires.duration_since(now) > lasts_max {
        return Err(bad(
            "An install key must end within a year, and not have ended. Give another time for expires.",
        ));
    }
    if new.uses_max.is_some_and(|most| !(1..=USES_MAX).contains(&most)) {
        return Err(bad("An install key has 1 to 1000000 uses. Give another number for uses_max, or none."));
    }
    let tags = tags_of(&new.tags)?;
    if parts.store.install_keys().await?.len() >= parts.config.limits.install_keys {
        return Err(Problem::new(Code::LIMIT)
            .saying("There are as many install keys as may be. End some, or raise limits.install_keys."));
    }
    let row = InstallKeyRow {
        id: InstallKeyId::fresh()?,
        label: label.to_owned(),
        mode: new.mode,
        uses_max: new.uses_max,
        uses: 0,
        tags,
        expires: new.expires,
        created: now,
        created_by: person.name.clone(),
    };
    let (key, proofs) = fresh_install_key(&row.id)?;
    parts.store.add_install_key(&row, &proofs).await?;
    Ok(Made { install_key: body(row), key: key.to_string() })
}

/// Ends an install key. The devices that came with it stay.
#[utoipa::path(delete, path = "/api/v1/install-keys/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub(super) async fn end(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<InstallKeyId>,
) -> Result<Json<Done>, Problem> {
    let ended = parts.store.end_install_key(&id).await;
    let outcome = ended.and_then(|ended| ended.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN)));
    audit(&req, &person, "install_key_end", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

fn body(row: InstallKeyRow) -> InstallKey {
    InstallKey {
        over: row.is_over(wall()),
        id: row.id.into(),
        label: row.label,
        mode: row.mode,
        uses_max: row.uses_max,
        uses: row.uses,
        tags: row.tags.iter().map(|tag: &Tag| tag.as_str().to_owned()).collect(),
        expires: format!("{:.6}", row.expires),
        created: format!("{:.6}", row.created),
        created_by: row.created_by,
    }
}
