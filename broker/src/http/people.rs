//! People: who has an account, and what they can be given. For administrators.

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use moorline_wire::Code;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id};
use super::login::Done;
use super::route::Person;
use crate::access::{Role, is_name};
use crate::id::PersonId;
use crate::identity::new_person;
use crate::problem::Problem;
use crate::store::{PersonRow, PersonState};

/// In more groups nobody is.
const GROUPS_MAX: usize = 64;

/// Somebody who has an account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Account {
    id: String,
    name: String,
    /// `admin`, `operator`, `watcher`: the most that the person can be given.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    groups: Vec<String>,
    /// `active` or `disabled`.
    state: &'static str,
    /// How they can log in: `password`, `totp` (a code beside it), `provider`.
    ways: Vec<&'static str>,
    created: String,
}

/// Everybody.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct People {
    people: Vec<Account>,
}

/// A new account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// 1 to 64 of a-z, 0-9 and ._@+-; never given to somebody else again.
    name: String,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
    #[serde(default)]
    groups: Vec<String>,
}

/// A new account and the link with which its person sets a password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Invited {
    #[serde(flatten)]
    account: Account,
    /// Shown once: what stands in the link `/welcome#...`.
    invitation: String,
}

/// A new link with which somebody sets a password.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct InvitedAgain {
    /// Shown once: what stands in the link `/welcome#...`.
    invitation: String,
}

/// What can be changed of an account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountChange {
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Vec<Role>>,
    groups: Option<Vec<String>>,
    /// `true`: the person may not log in, and what they have open ends.
    disabled: Option<bool>,
}

/// Everybody who has an account, by name.
#[utoipa::path(get, path = "/api/v1/people",
    responses((status = 200, body = People), (status = 403, body = ErrorBody)))]
pub(super) async fn list(parts: Data<Parts>) -> Result<Json<People>, Problem> {
    let linked = parts.store.linked().await?;
    let account = |row: PersonRow| {
        let is_linked = linked.contains(&row.id);
        account(row, is_linked)
    };
    Ok(Json(People { people: parts.store.people().await?.into_iter().map(account).collect() }))
}

/// One account.
#[utoipa::path(get, path = "/api/v1/people/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Account), (status = 404, body = ErrorBody)))]
pub(super) async fn show(parts: Data<Parts>, Id(id): Id<PersonId>) -> Result<Json<Account>, Problem> {
    told(&parts, one(&parts, &id).await?).await.map(Json)
}

/// Makes an account, without a password: its person sets one by a link.
#[utoipa::path(post, path = "/api/v1/people", request_body = NewAccount,
    responses((status = 201, body = Invited), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(new): Body<NewAccount>,
) -> Result<HttpResponse, Problem> {
    let name = new.name.clone();
    let outcome = created(&parts, new).await;
    audit(&req, &person, "person_create", &name, &outcome);
    Ok(HttpResponse::Created().json(outcome?))
}

async fn created(parts: &Parts, new: NewAccount) -> Result<Invited, Problem> {
    let row = new_person(&new.name, distinct(new.roles), groups(new.groups)?)?;
    let _turn = parts.identity.turn().await;
    if parts.store.people().await?.len() >= parts.config.limits.people {
        return Err(Problem::new(Code::LIMIT)
            .saying("There are as many accounts as there may be. Remove some, or raise limits.people."));
    }
    parts.store.add_person(&row).await?;
    let invitation = parts.identity.invite(Some(&row.id)).await?.reveal().to_owned();
    Ok(Invited { account: account(row, false), invitation })
}

/// Invites somebody to set a new password; the old one works until then.
#[utoipa::path(post, path = "/api/v1/people/{id}/invitations", params(("id" = String, Path)),
    responses((status = 201, body = InvitedAgain), (status = 404, body = ErrorBody)))]
pub(super) async fn invite(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<PersonId>,
) -> Result<HttpResponse, Problem> {
    one(&parts, &id).await?;
    let outcome = parts.identity.invite(Some(&id)).await;
    audit(&req, &person, "person_invite", id.as_str(), &outcome);
    Ok(HttpResponse::Created().json(InvitedAgain { invitation: outcome?.reveal().to_owned() }))
}

/// Changes roles, groups, or whether the person may log in.
#[utoipa::path(patch, path = "/api/v1/people/{id}", params(("id" = String, Path)), request_body = AccountChange,
    responses((status = 200, body = Account), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn change(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<PersonId>,
    Body(change): Body<AccountChange>,
) -> Result<Json<Account>, Problem> {
    let outcome = changed(&parts, &id, change).await;
    audit(&req, &person, "person_change", id.as_str(), &outcome);
    parts.identity.changed();
    told(&parts, outcome?).await.map(Json)
}

async fn changed(parts: &Parts, id: &PersonId, change: AccountChange) -> Result<PersonRow, Problem> {
    let _turn = parts.identity.turn().await;
    let before = one(parts, id).await?;
    let mut row = before.clone();
    row.roles = change.roles.map_or(row.roles, distinct);
    row.groups = change.groups.map_or(Ok(row.groups), groups)?;
    row.state = match change.disabled {
        Some(true) => PersonState::Disabled,
        Some(false) => PersonState::Active,
        None => row.state,
    };
    if before.administers() && !row.administers() {
        another_administrates(parts, id).await?;
    }
    parts.store.change_person(&row).await?;
    if row.state == PersonState::Disabled {
        parts.store.end_logins(id).await?;
    }
    Ok(row)
}

/// Removes an account with its logins, tokens and grants. Its name is never given again.
#[utoipa::path(delete, path = "/api/v1/people/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn remove(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<PersonId>,
) -> Result<Json<Done>, Problem> {
    let outcome = removed(&parts, &id).await;
    audit(&req, &person, "person_remove", id.as_str(), &outcome);
    parts.identity.changed();
    outcome.map(|()| Json(Done::yes()))
}

async fn removed(parts: &Parts, id: &PersonId) -> Result<(), Problem> {
    let _turn = parts.identity.turn().await;
    if one(parts, id).await?.administers() {
        another_administrates(parts, id).await?;
    }
    let removed = parts.store.remove_person(id).await?;
    removed.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN))
}

/// Takes somebody's second factor away, e.g. because they have lost it with its recovery codes. Their logins end.
#[utoipa::path(delete, path = "/api/v1/people/{id}/totp", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub(super) async fn reset_totp(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<PersonId>,
) -> Result<Json<Done>, Problem> {
    let outcome = parts.identity.reset_totp(&id).await;
    audit(&req, &person, "totp_reset", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

/// Takes somebody's accounts of the login provider away; the logins that rest on them end. Who has no password then needs
/// a link to set one.
#[utoipa::path(delete, path = "/api/v1/people/{id}/oidc", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn unlink(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<PersonId>,
) -> Result<Json<Done>, Problem> {
    let outcome = unlinked(&parts, &id).await;
    audit(&req, &person, "person_unlink", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

async fn unlinked(parts: &Parts, id: &PersonId) -> Result<(), Problem> {
    let _turn = parts.identity.turn().await;
    let row = one(parts, id).await?;
    if row.administers() && !row.has_password {
        another_administrates(parts, id).await?;
    }
    parts.identity.unlink_person(id).await
}

async fn one(parts: &Parts, id: &PersonId) -> Result<PersonRow, Problem> {
    parts.store.person(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))
}

/// The last administrator stays one: nobody else could make another.
async fn another_administrates(parts: &Parts, id: &PersonId) -> Result<(), Problem> {
    if parts.store.administrators_besides(id).await? {
        return Ok(());
    }
    Err(Problem::new(Code::BAD_REQUEST).saying(
        "This is the last administrator who can log in. Make another person an administrator first, and let them log in.",
    ))
}

fn distinct(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_unstable();
    roles.dedup();
    roles
}

fn groups(mut groups: Vec<String>) -> Result<Vec<String>, Problem> {
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > GROUPS_MAX || !groups.iter().all(|group| is_name(group)) {
        return Err(Problem::new(Code::BAD_REQUEST).saying(
            "These are no groups. Give at most 64 names of a-z, 0-9 and ._@+- with a letter or digit first.",
        ));
    }
    Ok(groups)
}

async fn told(parts: &Parts, row: PersonRow) -> Result<Account, Problem> {
    let is_linked = parts.store.linked().await?.contains(&row.id);
    Ok(account(row, is_linked))
}

/// How somebody can log in, in words.
pub(super) fn ways_of(row: &PersonRow, is_linked: bool) -> Vec<&'static str> {
    let ways = [("password", row.has_password), ("totp", row.has_second_factor), ("provider", is_linked)];
    ways.into_iter().filter(|(_, has)| *has).map(|(way, _)| way).collect()
}

fn account(row: PersonRow, is_linked: bool) -> Account {
    Account {
        ways: ways_of(&row, is_linked),
        id: row.id.into(),
        name: row.name,
        roles: row.roles,
        groups: row.groups,
        state: row.state.word(),
        created: format!("{:.6}", row.created),
    }
}
