//! API tokens: one's own, and for administrators everybody's.

use std::time::Duration;

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
use crate::access::Scope;
use crate::clock::wall;
use crate::id::{PersonId, TokenId};
use crate::problem::Problem;
use crate::readable::printable;
use crate::store::TokenRow;

/// A token that is to live longer is forgotten by its owner.
const LASTS_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A token, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Token {
    id: String,
    /// The id of its owner.
    person: String,
    label: String,
    /// Of `shell`, `exec`, `files`, `forward`, `watch`, `kill`, `manage`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    created: String,
    expires: String,
    used: Option<String>,
}

/// Tokens, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
}

/// A new token.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is for, in your words: 1 to 64 printable characters.
    label: String,
    /// Of `shell`, `exec`, `files`, `forward`, `watch`, `kill`, `manage`, `admin`; empty: it only sees.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// From when on it is worth nothing; a year from now at most.
    #[schema(value_type = String)]
    expires: jiff::Timestamp,
}

/// A new token, with its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Made {
    #[serde(flatten)]
    token: Token,
    /// Shown once: for the header `Authorization: Bearer mlt_...`.
    secret: String,
}

/// One's own tokens; an administrator gets everybody's.
#[utoipa::path(get, path = "/api/v1/tokens",
    responses((status = 200, body = Tokens), (status = 401, body = ErrorBody)))]
pub(super) async fn list(parts: Data<Parts>, person: Person) -> Result<Json<Tokens>, Problem> {
    let tokens = parts.store.tokens(whose(&person)).await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(token).collect() }))
}

/// Makes a token for oneself. Its secret is shown once.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = NewToken,
    responses((status = 201, body = Made), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(new): Body<NewToken>,
) -> Result<HttpResponse, Problem> {
    let outcome = created(&parts, &person, new).await;
    let on = outcome.as_ref().map_or("", |made| &made.token.id).to_owned();
    audit(&req, &person, "token_create", &on, &outcome);
    Ok(HttpResponse::Created().json(outcome?))
}

async fn created(parts: &Parts, person: &Person, new: NewToken) -> Result<Made, Problem> {
    let bad = |text: &str| Problem::new(Code::BAD_REQUEST).saying(text);
    let owner = person.caller.id.clone().ok_or_else(|| {
        bad("Demo mode has no accounts, so no tokens: everybody may everything. Leave the header out.")
    })?;
    let label = printable(&new.label)
        .ok_or_else(|| bad("This is no label for a token. Give 1 to 64 printable characters."))?;
    let (now, lasts_max) = (wall(), jiff::SignedDuration::try_from(LASTS_MAX).unwrap_or_default());
    if new.expires <= now || new.expires.duration_since(now) > lasts_max {
        return Err(bad(
            "A token must end within a year, and not have ended. Give another time for expires.",
        ));
    }
    let mut scopes = new.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if parts.store.tokens(Some(&owner)).await?.len() >= parts.config.limits.tokens_per_person {
        return Err(Problem::new(Code::LIMIT)
            .saying("You have as many tokens as you may. End some, or raise limits.tokens_per_person."));
    }
    let row = TokenRow {
        id: TokenId::fresh()?,
        person: owner,
        label: label.to_owned(),
        scopes,
        created: now,
        expires: new.expires,
        used: None,
    };
    let secret = parts.identity.new_token(&row).await?.to_string();
    Ok(Made { token: token(row), secret })
}

/// Ends a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub(super) async fn end(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<TokenId>,
) -> Result<Json<Done>, Problem> {
    let ended = parts.store.end_token(&id, whose(&person)).await;
    let outcome = ended.and_then(|ended| ended.then_some(()).ok_or_else(|| Problem::new(Code::UNKNOWN)));
    parts.identity.changed();
    audit(&req, &person, "token_end", id.as_str(), &outcome);
    outcome.map(|()| Json(Done::yes()))
}

/// Whose tokens they may see and end; `None`: everybody's.
fn whose(person: &Person) -> Option<&PersonId> {
    person.caller.id.as_ref().filter(|_| !person.caller.subject.administers())
}

fn token(row: TokenRow) -> Token {
    Token {
        id: row.id.into(),
        person: row.person.into(),
        label: row.label,
        scopes: row.scopes,
        created: format!("{:.6}", row.created),
        expires: format!("{:.6}", row.expires),
        used: row.used.map(|at| format!("{at:.6}")),
    }
}
