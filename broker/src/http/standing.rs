//! Whether a device may have sessions, and by which key it is known: approve, revoke, ask for another key.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use moorline_wire::{Code, DeviceId};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::Id;
use super::devices::{Device, one};
use super::route::Person;
use crate::clock::wall;
use crate::device::id_of;
use crate::problem::Problem;

/// Lets a device that waits for it have sessions.
#[utoipa::path(post, path = "/api/v1/devices/{id}/approve", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn approve(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<Device>, Problem> {
    let outcome = parts.store.approve(&id).await.and_then(|approved| {
        let none = || {
            Problem::new(Code::BAD_REQUEST)
                .saying("This device does not wait for approval. There is nothing to approve.")
        };
        approved.then_some(()).ok_or_else(none)
    });
    audit(&req, &person, "device_approve", id.as_str(), &outcome);
    outcome?;
    one(&parts, &person, &id).await.map(Json)
}

/// Asks a device for another key, now if it is there, else when it comes. Its sessions go on.
#[utoipa::path(post, path = "/api/v1/devices/{id}/rotate-key", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn rotate_key(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<Device>, Problem> {
    let outcome = parts.store.ask_for_key(&id).await.and_then(|asked| {
        let none = || {
            Problem::new(Code::BAD_REQUEST)
                .saying("This device is asked for another key already, or was revoked. Wait until it comes.")
        };
        asked.then_some(()).ok_or_else(none)
    });
    audit(&req, &person, "device_key_ask", id.as_str(), &outcome);
    outcome?;
    parts.devices.greet_anew(&id).await;
    one(&parts, &person, &id).await.map(Json)
}

/// Ends a device's link and its sessions at once, and keeps it and its keys out for ever. What its shells were
/// doing is left to them: whoever has the device has them.
#[utoipa::path(post, path = "/api/v1/devices/{id}/revoke", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn revoke(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<Device>, Problem> {
    let outcome = revoked(&parts, &person, &id).await;
    audit(&req, &person, "device_revoke", id.as_str(), &outcome);
    outcome?;
    one(&parts, &person, &id).await.map(Json)
}

async fn revoked(parts: &Parts, person: &Person, id: &DeviceId) -> Result<(), Problem> {
    const REASON: &str = "the device was revoked";
    let row = parts.store.device(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    let keys: Vec<_> = std::iter::once(&row.key).chain(&row.next_key).map(|key| id_of(key)).collect();
    // First: from now on it is refused, and no session begins on it.
    if !parts.store.revoke(id, &keys, wall()).await? {
        return Err(Problem::new(Code::BAD_REQUEST)
            .saying("This device was revoked before. There is nothing to revoke."));
    }
    parts.sessions.kill_on(id, &person.name, REASON).await?;
    parts.devices.revoke(id).await;
    // What somebody was opening meanwhile.
    parts.sessions.kill_on(id, &person.name, REASON).await
}
