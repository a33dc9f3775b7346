//! Devices: list, show, rename, accept host keys, forget.

use std::collections::HashMap;

use actix_web::web::{Data, Json, block};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use moorline_wire::{Code, DeviceId};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id};
use super::route::Person;
use crate::access::{Act, Right, Tag};
use crate::device::{DeviceState, Presence};
use crate::problem::Problem;
use crate::readable::printable;
use crate::store::{DeviceRow, Standing};

/// A device that the broker knows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Device {
    id: String,
    /// Its name for people.
    name: String,
    /// `online`, `unstable`, `away` (the link is broken and may come back) or `offline`; before all of these
    /// `pending` (it gets no sessions until somebody approves it) and `revoked` (it does not come in any more).
    state: &'static str,
    /// Whether it is there, also while it waits for approval.
    connected: bool,
    /// Since when it is in this state, if it is connected.
    since: Option<String>,
    /// The last measured round trip.
    rtt_ms: Option<f64>,
    /// The login that a session gets when none is asked for.
    login: String,
    platform: String,
    /// `embedded` or `system`.
    sshd: String,
    /// The agent's software and version.
    software: String,
    enrolled: String,
    last_seen: Option<String>,
    /// `pinned`, or `changed`: it showed other keys, and sessions are refused until they are accepted.
    host_key: &'static str,
    /// Of the pinned host keys.
    fingerprints: Vec<String>,
    /// Of the host keys that wait to be accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offered_fingerprints: Vec<String>,
    /// How many sessions on it are not over, of those that you may see.
    sessions: usize,
    /// What administrators call it, for grants.
    tags: Vec<String>,
    /// Whether it is asked for another key and has not used one yet.
    key_asked: bool,
    /// Whether you may approve, rename, revoke and forget it.
    may_manage: bool,
    /// The install key that it enrolled with; `null`: the one of `enroll.install_key_file`.
    install_key: Option<String>,
}

/// All devices.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct DeviceList {
    devices: Vec<Device>,
}

/// What can be changed of a device.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceChange {
    /// A new name: 1 to 64 printable characters.
    name: Option<String>,
    /// `true` pins the host keys that the device showed last.
    accept_host_keys: Option<bool>,
    /// The tags that it has from now on, each 1 to 64 of a-z, 0-9 and ._:/=-.
    tags: Option<Vec<String>>,
}

/// More tags no device needs.
const TAGS_MAX: usize = 64;

/// What was forgotten.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Forgotten {
    forgotten: bool,
}

/// Every device, by name.
#[utoipa::path(get, path = "/api/v1/devices", responses((status = 200, body = DeviceList), (status = 401, body = ErrorBody)))]
pub(super) async fn list(parts: Data<Parts>, person: Person) -> Result<HttpResponse, Problem> {
    let theirs = parts.warden.view(&person.caller.subject).await?;
    let states = parts.devices.states().await;
    let mut sessions: HashMap<DeviceId, usize> = HashMap::new();
    for session in
        parts.sessions.live().await.iter().filter(|session| theirs.has(Right::See, &(*session).into()))
    {
        *sessions.entry(session.device.clone()).or_default() += 1;
    }
    let of_row = move |row: DeviceRow, may_manage| {
        let (state, sessions) = (states.get(&row.id), sessions.get(&row.id).copied().unwrap_or(0));
        device(row, state, sessions, may_manage)
    };
    let (store, here) = (parts.store.clone(), Handle::current());
    // A list of ten thousand devices takes a tenth of a second of work: not on a thread that carries keystrokes.
    let made = block(move || {
        let rows = here.block_on(store.devices())?.into_iter().filter(|row| theirs.sees(&row.id));
        let manages = |id: &DeviceId| theirs.decide(Act::Manage, id, None).is_allowed();
        let devices = rows.map(|row| {
            let may_manage = manages(&row.id);
            of_row(row, may_manage)
        });
        let list = DeviceList { devices: devices.collect() };
        serde_json::to_vec(&list).map_err(|e| Problem::new(Code::INTERNAL).because(e))
    });
    let json = made.await.map_err(|e| Problem::new(Code::OVERLOADED).because(e))??;
    Ok(HttpResponse::Ok().content_type("application/json").body(json))
}

/// One device.
#[utoipa::path(get, path = "/api/v1/devices/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Device), (status = 404, body = ErrorBody)))]
pub(super) async fn show(
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<Device>, Problem> {
    one(&parts, &person, &id).await.map(Json)
}

/// Renames a device; for administrators: accepts its new host keys, sets its tags.
#[utoipa::path(patch, path = "/api/v1/devices/{id}", params(("id" = String, Path)), request_body = DeviceChange,
    responses((status = 200, body = Device), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn change(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
    Body(change): Body<DeviceChange>,
) -> Result<Json<Device>, Problem> {
    one(&parts, &person, &id).await?;
    // Who may manage a device may not decide by its tags who else may, nor whom the broker trusts.
    if (change.accept_host_keys.is_some() || change.tags.is_some()) && !person.caller.subject.administers() {
        return Err(Problem::new(Code::POLICY));
    }
    if let Some(name) = &change.name {
        let outcome = match printable(name) {
            Some(name) => parts.store.rename(&id, name).await,
            None => Err(Problem::new(Code::BAD_REQUEST)
                .saying("This is no name for a device. Give 1 to 64 printable characters.")),
        };
        audit(&req, &person, "device_rename", id.as_str(), &outcome);
        outcome?;
    }
    if change.accept_host_keys == Some(true) {
        let outcome = parts.store.accept_host_keys(&id).await.and_then(|accepted| {
            let none = || {
                Problem::new(Code::BAD_REQUEST)
                    .saying("This device has shown no other host key. There is nothing to accept.")
            };
            accepted.then_some(()).ok_or_else(none)
        });
        audit(&req, &person, "host_keys_accept", id.as_str(), &outcome);
        outcome?;
    }
    if let Some(tags) = &change.tags {
        let outcome = match tags_of(tags) {
            Ok(tags) => parts.store.tag(&id, &tags).await,
            Err(problem) => Err(problem),
        };
        audit(&req, &person, "device_tag", id.as_str(), &outcome);
        parts.identity.changed();
        outcome?;
    }
    one(&parts, &person, &id).await.map(Json)
}

/// Forgets a device and ends its link. It may come back with the install key.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Forgotten), (status = 404, body = ErrorBody)))]
pub(super) async fn forget(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<DeviceId>,
) -> Result<Json<Forgotten>, Problem> {
    const REASON: &str = "the device was forgotten";
    parts.store.device(&id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    // While the broker may still log in to it: what its keepers hold ends as well.
    parts.sessions.clear(&id, &person.name, REASON).await?;
    let forgotten = parts
        .store
        .forget(&id)
        .await
        .and_then(|forgotten| forgotten.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE)));
    audit(&req, &person, "device_forget", id.as_str(), &forgotten);
    forgotten?;
    // After the row is gone: an agent that comes back at once is already unknown.
    parts.devices.forget(&id).await;
    // What somebody opened meanwhile.
    parts.sessions.clear(&id, &person.name, REASON).await?;
    Ok(Json(Forgotten { forgotten: true }))
}

pub(super) async fn one(parts: &Parts, person: &Person, id: &DeviceId) -> Result<Device, Problem> {
    let row = parts.store.device(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    let theirs = parts.warden.view_of(&person.caller.subject, id).await?;
    let state = parts.devices.state(id).await;
    let here = parts.sessions.live().await.into_iter().filter(|session| session.device == *id);
    let sessions = here.filter(|session| theirs.has(Right::See, &session.into())).count();
    let may_manage = theirs.decide(Act::Manage, id, None).is_allowed();
    Ok(device(row, state.as_ref(), sessions, may_manage))
}

pub(super) fn tags_of(tags: &[String]) -> Result<Vec<Tag>, Problem> {
    let bad = |why: String| Problem::new(Code::BAD_REQUEST).saying(why);
    if tags.len() > TAGS_MAX {
        return Err(bad(format!("These are too many tags. Give at most {TAGS_MAX}.")));
    }
    let mut tags: Vec<Tag> = tags
        .iter()
        .map(|tag| {
            tag.parse().map_err(|_| {
                bad("This is no tag. Give 1 to 64 of a-z, 0-9 and ._:/=- with a letter or digit first."
                    .to_owned())
            })
        })
        .collect::<Result<_, _>>()?;
    tags.sort_unstable();
    tags.dedup();
    Ok(tags)
}

fn device(row: DeviceRow, state: Option<&DeviceState>, sessions: usize, may_manage: bool) -> Device {
    Device {
        id: row.id.into(),
        name: row.name,
        state: match row.standing {
            Standing::Approved => state.map_or("offline", |state| word(state.presence)),
            standing => standing.word(),
        },
        connected: state.is_some_and(|state| matches!(state.presence, Presence::Online | Presence::Unstable)),
        since: state.map(|state| state.since.to_string()),
        rtt_ms: state.and_then(|state| state.rtt).map(|rtt| (rtt.as_secs_f64() * 1e5).round() / 100.0),
        login: row.login,
        platform: row.platform,
        sshd: row.sshd,
        software: row.software,
        enrolled: row.enrolled.to_string(),
        last_seen: row.last_seen.map(|at| at.to_string()),
        host_key: if row.offered_host_keys.is_some() { "changed" } else { "pinned" },
        fingerprints: row.host_keys.iter().filter_map(|line| fingerprint(line)).collect(),
        offered_fingerprints: row
            .offered_host_keys
            .iter()
            .flatten()
            .filter_map(|line| fingerprint(line))
            .collect(),
        sessions,
        tags: row.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
        key_asked: row.key_asked,
        may_manage,
        install_key: row.install_key.map(String::from),
    }
}

fn word(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "online",
        Presence::Unstable => "unstable",
        Presence::Away => "away",
        Presence::Offline => "offline",
    }
}

/// As `ssh-keygen -l` shows it: SHA-256 over the key's blob, in base64 without padding.
fn fingerprint(line: &str) -> Option<String> {
    let blob = STANDARD.decode(line.split_whitespace().nth(1)?).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_ssh_keygen_shows() {
        // Made with `ssh-keygen -t ed25519`, compared with `ssh-keygen -lf`.
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO0AkYZKRkk6QUKAeOdYD5E3z0wrddKz5fKRhhKkiDnS comment";
        assert_eq!(fingerprint(line).unwrap(), "SHA256:RgZMdza1SdvSoVvlp6CS2Lw409b7pjujmxqw7yoYQs8");
        assert_eq!(fingerprint("nonsense"), None);
    }
}
