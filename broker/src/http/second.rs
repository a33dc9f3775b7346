//! One's own second factor: set up, confirmed by a first code, given other recovery codes, turned off.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use moorline_wire::Code;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::answer::ErrorBody;
use super::audit::audit;
use super::body::Body;
use super::login::Done;
use super::route::Person;
use super::{Parts, cookie, peer};
use crate::identity::{Enrolment, Secret};
use crate::problem::Problem;

/// The password, asked for again.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordAgain {
    #[schema(value_type = String)]
    pub(super) password: Secret,
}

/// What an authenticator is told; each is shown once.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Begun {
    /// The secret, to be typed.
    secret: String,
    /// The same as an address: `otpauth://totp/...`.
    uri: String,
    /// The same as a picture: SVG.
    qr: String,
}

/// A code.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstCode {
    /// What the authenticator shows.
    #[schema(value_type = String)]
    code: Secret,
}

/// For who has lost the authenticator.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RecoveryCodes {
    /// Shown once; each is good for one login.
    recovery_codes: Vec<String>,
}

/// What it takes to do without, or to have other recovery codes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordAndCode {
    #[schema(value_type = String)]
    password: Secret,
    /// Of the authenticator, or a recovery code.
    #[schema(value_type = String)]
    code: Secret,
}

/// Begins to set up a second factor. It counts once it is confirmed.
#[utoipa::path(post, path = "/api/v1/me/totp", request_body = PasswordAgain,
    responses((status = 200, body = Begun), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(super) async fn begin(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<PasswordAgain>,
) -> Result<Json<Begun>, Problem> {
    cookie::require_private(&req, &parts)?;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.begin_totp(&person.caller, body.password, &from).await;
    audit(&req, &person, "totp_begin", "", &outcome);
    let Enrolment { secret, uri } = outcome?;
    let qr = picture(&uri)?;
    Ok(Json(Begun { secret: secret.to_string(), uri: uri.to_string(), qr }))
}

/// Confirms it with a first code: from now on it is asked for, and every other login of one's own ends.
#[utoipa::path(post, path = "/api/v1/me/totp/confirm", request_body = FirstCode,
    responses((status = 200, body = RecoveryCodes), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody)))]
pub(super) async fn confirm(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<FirstCode>,
) -> Result<Json<RecoveryCodes>, Problem> {
    cookie::require_private(&req, &parts)?;
    let outcome = parts.identity.confirm_totp(&person.caller, &body.code).await;
    audit(&req, &person, "totp_confirm", "", &outcome);
    outcome.map(told)
}

/// Makes new recovery codes; those from before are worth nothing any more.
#[utoipa::path(post, path = "/api/v1/me/totp/recovery-codes", request_body = PasswordAndCode,
    responses((status = 200, body = RecoveryCodes), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 429, body = ErrorBody)))]
pub(super) async fn renew_codes(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<PasswordAndCode>,
) -> Result<Json<RecoveryCodes>, Problem> {
    cookie::require_private(&req, &parts)?;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.renew_recovery_codes(&person.caller, body.password, &body.code, &from).await;
    audit(&req, &person, "recovery_codes_renew", "", &outcome);
    outcome.map(told)
}

/// Turns the second factor off.
#[utoipa::path(post, path = "/api/v1/me/totp/off", request_body = PasswordAndCode,
    responses((status = 200, body = Done), (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn end(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<PasswordAndCode>,
) -> Result<Json<Done>, Problem> {
    cookie::require_private(&req, &parts)?;
    let from = peer::from(&req, &parts);
    let outcome = parts.identity.end_totp(&person.caller, body.password, &body.code, &from).await;
    audit(&req, &person, "totp_off", "", &outcome);
    outcome.map(|()| Json(Done::yes()))
}

fn told(codes: Vec<Zeroizing<String>>) -> Json<RecoveryCodes> {
    Json(RecoveryCodes { recovery_codes: codes.iter().map(|code| code.to_string()).collect() })
}

/// Black on white in every theme: that is what cameras expect.
fn picture(text: &str) -> Result<String, Problem> {
    let code = QrCode::new(text).map_err(|e| Problem::new(Code::INTERNAL).because(anyhow::anyhow!("{e}")))?;
    Ok(code.render::<svg::Color<'_>>().min_dimensions(240, 240).build())
}
