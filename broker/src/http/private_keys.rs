//! The private key with which the broker logs in to one device: given, shown by its fingerprint, taken away.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use moorline_wire::{Code, DeviceId};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id};
use super::route::Person;
use crate::config::LoginWith;
use crate::identity::Secret;
use crate::problem::Problem;
use crate::store::PrivateKeyRow;

/// A private key, without the key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PrivateKey {
    device: String,
    /// e.g. `ssh-ed25519`.
    algorithm: String,
    /// Of its public half: what the device's authorized_keys must hold.
    fingerprint: String,
    /// `certificate`, `certificate_then_key` or `key`; null: as `ssh.login_with` says.
    login_with: Option<String>,
    /// When it was given.
    set: String,
}

/// A new private key.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPrivateKey {
    /// The key in OpenSSH form. It is sealed and never told again.
    #[schema(value_type = String)]
    private_key: Secret,
    /// Its passphrase, if it has one.
    #[schema(value_type = Option<String>)]
    passphrase: Option<Secret>,
    /// `certificate`, `certificate_then_key` or `key`; without it, as `ssh.login_with` says.
    login_with: Option<String>,
}

/// Whether there was one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RemovedPrivateKey {
    removed: bool,
}

/// What may be shown of the private key of a device.
#[utoipa::path(get, path = "/api/v1/devices/{id}/private-key", params(("id" = String, Path)),
    responses((status = 200, body = PrivateKey), (status = 404, body = ErrorBody)))]
pub(super) async fn show(parts: Data<Parts>, Id(id): Id<DeviceId>) -> Result<Json<PrivateKey>, Problem> {
    known(&parts, &id).await?;
    parts.store.private_key(&id).await?.map(|row| Json(row.into())).ok_or_else(none)
}

/// Gives a device a private key of its own, instead of the one that it has.
#[utoipa::path(put, path = "/api/v1/devices/{id}/private-key", params(("id" = String, Path)), request_body = NewPrivateKey,
    responses((status = 200, body = PrivateKey), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn set(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
    Body(new): Body<NewPrivateKey>,
) -> Result<Json<PrivateKey>, Problem> {
    known(&parts, &id).await?;
    let login_with = new.login_with.as_deref().map(LoginWith::of_word).transpose();
    let outcome = match login_with {
        Ok(login_with) => parts.keys.set(&id, &new.private_key, new.passphrase.as_ref(), login_with).await,
        Err(why) => Err(Problem::new(Code::BAD_REQUEST).saying(format!("login_with {why}."))),
    };
    audit(&req, &person, "device_key_set", id.as_str(), &outcome);
    outcome.map(|row| Json(row.into()))
}

/// Takes the private key of a device away.
#[utoipa::path(delete, path = "/api/v1/devices/{id}/private-key", params(("id" = String, Path)),
    responses((status = 200, body = RemovedPrivateKey), (status = 404, body = ErrorBody)))]
pub(super) async fn remove(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<RemovedPrivateKey>, Problem> {
    known(&parts, &id).await?;
    let removed = parts.store.remove_private_key(&id).await;
    let outcome = removed.and_then(|removed| removed.then_some(()).ok_or_else(none));
    audit(&req, &person, "device_key_remove", id.as_str(), &outcome);
    outcome.map(|()| Json(RemovedPrivateKey { removed: true }))
}

async fn known(parts: &Parts, id: &DeviceId) -> Result<(), Problem> {
    parts.store.device(id).await?.map(drop).ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))
}

fn none() -> Problem {
    Problem::new(Code::UNKNOWN).saying("This device has no private key of its own. Give it one with PUT.")
}

impl From<PrivateKeyRow> for PrivateKey {
    fn from(row: PrivateKeyRow) -> Self {
        Self {
            device: row.device.into(),
            algorithm: row.algorithm,
            fingerprint: row.fingerprint,
            login_with: row.login_with,
            set: row.set.to_string(),
        }
    }
}
