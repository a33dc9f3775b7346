//! Logging in and out, one's own logins and password, and the links with which a password is set.

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::{audit, audit_as};
use super::body::{Body, Id};
use super::cookie::{self, Way};
use super::peer;
use super::route::Person;
use crate::id::LoginId;
use crate::identity::{LoggedIn, Pass, Secret};
use crate::problem::Problem;
use crate::store::{Invited, LoginRow};
use moorline_wire::Code;

/// Who wants in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    #[schema(value_type = String)]
    password: Secret,
    /// Of the authenticator, or a recovery code: needed when the answer without it is `second_factor`.
    #[schema(value_type = Option<String>)]
    code: Option<Secret>,
}

/// Who is in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Welcome {
    person: String,
}

/// It was done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Done {
    done: bool,
}

impl Done {
    /// It was.
    pub(super) fn yes() -> Self {
        Self { done: true }
    }
}

/// A link's secret.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Invitation {
    /// What stands in the link after the `#`.
    #[schema(value_type = String)]
    secret: Secret,
}

/// What a link is for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct InvitedAs {
    /// Whose password it sets; `null`: a new administrator's, who chooses a name.
    person: Option<String>,
}

/// The password that a link is for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Acceptance {
    /// What stands in the link after the `#`.
    #[schema(value_type = String)]
    secret: Secret,
    /// Of a new administrator.
    name: Option<String>,
    #[schema(value_type = String)]
    password: Secret,
    /// Of the authenticator, or a recovery code: needed when the answer without it is `second_factor`.
    #[schema(value_type = Option<String>)]
    code: Option<Secret>,
}

/// A new password for oneself.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(value_type = String)]
    old: Secret,
    #[schema(value_type = String)]
    new: Secret,
}

/// One browser that is logged in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Login {
    id: String,
    /// It is the one that asks.
    this: bool,
    created: String,
    seen: String,
    address: String,
    /// What the browser calls itself.
    agent: String,
    /// `password`, or `provider`.
    way: &'static str,
}

/// One's own logins, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LoginList {
    logins: Vec<Login>,
}

/// Logs in: the answer sets a cookie.
#[utoipa::path(post, path = "/api/v1/login", request_body = Credentials,
    responses((status = 200, body = Welcome), (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn log_in(
    req: HttpRequest,
    parts: Data<Parts>,
    Body(body): Body<Credentials>,
) -> Result<HttpResponse, Problem> {
    let way = cookie::require_private(&req, &parts)?;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.log_in(&body.name, body.password, body.code.as_ref(), &from).await;
    // Attempts that were not even looked at are counted, and not kept: they would push out everything else. A first
    // step that was right is neither done nor refused.
    let kept = |problem: &Problem| !matches!(problem.code, Code::LIMIT | Code::SECOND_FACTOR);
    if outcome.as_ref().err().is_none_or(kept) {
        audit_as(&req, &body.name, "login", "", &outcome);
    }
    welcome(&req, &parts, way, outcome?).await
}

/// The cookie that the browser had is worth nothing any more: nobody can have planted it.
async fn welcome(
    req: &HttpRequest,
    parts: &Parts,
    way: Way,
    logged_in: LoggedIn,
) -> Result<HttpResponse, Problem> {
    if let Some(before) = cookie::shown(req) {
        parts.identity.replace(&before).await?;
    }
    Ok(HttpResponse::Ok()
        .cookie(cookie::of_login(way, &logged_in.secret, parts.config.login.lasts))
        .json(Welcome { person: logged_in.person.name }))
}

/// Logs out: the cookie is worth nothing any more, and is removed.
#[utoipa::path(post, path = "/api/v1/logout",
    responses((status = 200, body = Done), (status = 401, body = ErrorBody)))]
pub(super) async fn log_out(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
) -> Result<HttpResponse, Problem> {
    let outcome = parts.identity.log_out(&person.caller).await;
    audit(&req, &person, "logout", "", &outcome);
    outcome?;
    Ok(HttpResponse::Ok().cookie(cookie::none(Way::of(&req))).json(Done::yes()))
}

/// What a link is for.
#[utoipa::path(post, path = "/api/v1/invitation", request_body = Invitation,
    responses((status = 200, body = InvitedAs), (status = 401, body = ErrorBody)))]
pub(super) async fn invitation(
    req: HttpRequest,
    parts: Data<Parts>,
    Body(body): Body<Invitation>,
) -> Result<Json<InvitedAs>, Problem> {
    let person = match parts.identity.invited(&body.secret, &peer::from(&req, &parts)).await? {
        Invited::Administrator => None,
        Invited::Person(person) => Some(person.name),
    };
    Ok(Json(InvitedAs { person }))
}

/// Sets the password that a link is for, and logs in.
#[utoipa::path(post, path = "/api/v1/invitation/accept", request_body = Acceptance,
    responses((status = 200, body = Welcome), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(super) async fn accept(
    req: HttpRequest,
    parts: Data<Parts>,
    Body(body): Body<Acceptance>,
) -> Result<HttpResponse, Problem> {
    let way = cookie::require_private(&req, &parts)?;
    let Acceptance { secret, name, password, code } = body;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.accept(secret, name.as_deref(), password, code.as_ref(), &from).await;
    let who = outcome.as_ref().map_or(name.as_deref().unwrap_or_default(), |done| &done.person.name);
    audit_as(&req, who, "invitation_accept", "", &outcome);
    welcome(&req, &parts, way, outcome?).await
}

/// One's own logins.
#[utoipa::path(get, path = "/api/v1/me/logins",
    responses((status = 200, body = LoginList), (status = 401, body = ErrorBody)))]
pub(super) async fn logins(parts: Data<Parts>, person: Person) -> Result<Json<LoginList>, Problem> {
    let rows = match &person.caller.id {
        Some(id) => parts.store.logins(id).await?,
        None => Vec::new(),
    };
    let this = match &person.caller.pass {
        Pass::Login(id, _) => Some(id.clone()),
        _ => None,
    };
    let login = |row: LoginRow| Login {
        this: this.as_ref() == Some(&row.id),
        id: row.id.into(),
        created: format!("{:.6}", row.created),
        seen: format!("{:.6}", row.seen),
        address: row.address,
        agent: row.agent,
        way: row.way.word(),
    };
    Ok(Json(LoginList { logins: rows.into_iter().map(login).collect() }))
}

/// Ends one of one's own logins: its terminals are closed, the shells are kept.
#[utoipa::path(delete, path = "/api/v1/me/logins/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub(super) async fn end_login(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<LoginId>,
) -> Result<Json<Done>, Problem> {
    let ended = match &person.caller.id {
        Some(person) => parts.store.end_login(person, &id).await,
        None => Ok(false),
    };
    let outcome = ended.and_then(|ended| ended.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN)));
    parts.identity.changed();
    audit(&req, &person, "login_end", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

/// Changes one's own password: every other login of one's own ends.
#[utoipa::path(post, path = "/api/v1/me/password", request_body = PasswordChange,
    responses((status = 200, body = Welcome), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(super) async fn change_password(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<PasswordChange>,
) -> Result<HttpResponse, Problem> {
    let way = cookie::require_private(&req, &parts)?;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.change_password(&person.caller, body.old, body.new, &from).await;
    audit(&req, &person, "password_change", "", &outcome);
    let logged_in = outcome?;
    Ok(HttpResponse::Ok()
        .cookie(cookie::of_login(way, &logged_in.secret, parts.config.login.lasts))
        .json(Welcome { person: logged_in.person.name }))
}
