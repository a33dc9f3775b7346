//! Logging in by the provider: a browser is sent there and comes back. Both are pages' addresses and not the API's: what
//! goes wrong is told by the page that it is sent to, with the code in the fragment.

use actix_web::cookie::Cookie;
use actix_web::http::header;
use actix_web::web::{self, Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use moorline_wire::Code;
use serde::{Deserialize, Serialize};

use super::answer::ErrorBody;
use super::audit::{audit, audit_as};
use super::body::{Body, Query};
use super::login::Done;
use super::route::Person;
use super::second::PasswordAgain;
use super::{Parts, cookie, peer};
use crate::identity::{AccountNews, Arrival, Purpose, Returned, Sealed, Secret};
use crate::problem::Problem;

/// The route to which the provider sends browsers back.
const CALLBACK: &str = "/api/v1/login/oidc/callback";

/// What the audit calls the provider, as whoever does something and as that by which it is done.
const PROVIDER: &str = "oidc";

/// An address of ours is not longer.
const BACK_BYTES_MAX: usize = 512;

/// How one can log in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Ways {
    /// What the button of the provider says; `null`: there is none.
    provider: Option<String>,
}

/// Where one goes on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Onward {
    /// The provider's address.
    location: String,
}

/// Which page is shown afterwards.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct BeginQuery {
    /// One of the broker's own pages, e.g. `/devices`.
    back: Option<String>,
}

/// What a provider sends along; what is not listed here is of no use to us.
#[derive(Deserialize, utoipa::IntoParams)]
pub(super) struct CallbackQuery {
    state: Option<String>,
    #[param(value_type = Option<String>)]
    code: Option<Secret>,
    iss: Option<String>,
}

/// How one can log in.
#[utoipa::path(get, path = "/api/v1/login", responses((status = 200, body = Ways)))]
pub(super) async fn ways(parts: Data<Parts>) -> Json<Ways> {
    let provider = parts.identity.provider().is_ok().then(|| parts.config.oidc.label.clone());
    Json(Ways { provider })
}

/// Sends a browser to the provider.
#[utoipa::path(get, path = "/api/v1/login/oidc", params(BeginQuery),
    responses((status = 303, description = "To the provider, or to a page that says why not"),
        (status = 404, body = ErrorBody)))]
pub(super) async fn begin(
    req: HttpRequest,
    parts: Data<Parts>,
    Query(query): Query<BeginQuery>,
) -> Result<HttpResponse, Problem> {
    let provider = parts.identity.provider()?;
    cookie::require_private(&req, &parts)?;
    let back = query.back.as_deref().filter(|back| is_own_page(back)).unwrap_or("/");
    let begun = provider.begin(&callback_address(&req), Purpose::LogIn, back).await;
    Ok(match begun {
        Ok((location, sealed)) => to(&location, flow_cookie(&req, sealed)),
        Err(problem) => {
            audit_as(&req, "", "login", PROVIDER, &Err::<(), _>(problem_of(&problem)));
            told(&req, "/", &problem)
        }
    })
}

/// A browser comes back from the provider.
#[utoipa::path(get, path = "/api/v1/login/oidc/callback", params(CallbackQuery),
    responses((status = 303, description = "To a page, with a login or with why not in the fragment"),
        (status = 404, body = ErrorBody)))]
pub(super) async fn callback(req: HttpRequest, parts: Data<Parts>) -> Result<HttpResponse, Problem> {
    parts.identity.provider()?;
    let way = cookie::require_private(&req, &parts)?;
    let lost = |_| Problem::new(Code::LOGIN_LOST);
    let query = web::Query::<CallbackQuery>::from_query(req.query_string()).map_err(lost);
    let arrived = match query {
        Ok(query) => {
            let CallbackQuery { state, code, iss } = query.into_inner();
            let cookie = cookie::flow_shown(&req).unwrap_or_default();
            let returned = Returned { cookie, state: state.unwrap_or_default(), issuer: iss, code };
            parts.identity.arrive(returned, &peer::from(&req, &parts)).await
        }
        Err(problem) => Err(problem),
    };
    let (flow, arrival) = match arrived {
        Ok(arrived) => arrived,
        Err(problem) => {
            audit_as(&req, "", "login", PROVIDER, &Err::<(), _>(problem_of(&problem)));
            return Ok(told(&req, "/", &problem));
        }
    };
    let what = if flow.purpose == Purpose::LogIn { "login" } else { "oidc_link" };
    let page = if flow.purpose == Purpose::LogIn { "/" } else { "/account" };
    match arrival {
        Err(problem) => {
            audit_as(&req, "", what, PROVIDER, &Err::<(), _>(problem_of(&problem)));
            Ok(told(&req, page, &problem))
        }
        Ok(Arrival::Linked(person)) => {
            audit_as(&req, &person.name, what, PROVIDER, &Ok::<(), Problem>(()));
            Ok(to(&flow.back, cookie::no_flow(&req)))
        }
        Ok(Arrival::In { logged_in, account }) => {
            let id = logged_in.person.id.as_str();
            match account {
                AccountNews::Same => {}
                AccountNews::Made => audit_as(&req, PROVIDER, "person_create", id, &Ok::<(), Problem>(())),
                AccountNews::Changed => audit_as(&req, PROVIDER, "person_change", id, &Ok::<(), Problem>(())),
            }
            audit_as(&req, &logged_in.person.name, what, PROVIDER, &Ok::<(), Problem>(()));
            let mut answer = to(&flow.back, cookie::no_flow(&req));
            let login = cookie::of_login(way, &logged_in.secret, parts.config.login.lasts);
            answer
                .add_cookie(&login)
                .map_err(|e| Problem::new(Code::INTERNAL).because(anyhow::anyhow!("{e}")))?;
            Ok(answer)
        }
    }
}

/// Begins to link one's own account with one of the provider's.
#[utoipa::path(post, path = "/api/v1/me/oidc", request_body = PasswordAgain,
    responses((status = 200, body = Onward), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn link(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(body): Body<PasswordAgain>,
) -> Result<HttpResponse, Problem> {
    cookie::require_private(&req, &parts)?;
    let (redirect, from) = (callback_address(&req), peer::from(&req, &parts));
    let begun = parts.identity.begin_link(&person.caller, body.password, &redirect, &from).await;
    audit(&req, &person, "oidc_link_begin", PROVIDER, &begun);
    let (location, sealed) = begun?;
    Ok(HttpResponse::Ok().cookie(flow_cookie(&req, sealed)).json(Onward { location }))
}

/// Takes the link with an account of the provider away.
#[utoipa::path(delete, path = "/api/v1/me/oidc",
    responses((status = 200, body = Done), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn unlink(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
) -> Result<Json<Done>, Problem> {
    let outcome = parts.identity.unlink(&person.caller).await;
    audit(&req, &person, "oidc_unlink", PROVIDER, &outcome);
    outcome.map(|()| Json(Done::yes()))
}

/// Where the provider sends browsers back: the address that the request names, which is checked to be ours.
fn callback_address(req: &HttpRequest) -> String {
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{}://{host}{CALLBACK}", cookie::Way::of(req).scheme())
}

/// A path of ours and nothing that a browser could take for another site's.
fn is_own_page(back: &str) -> bool {
    let path = back.strip_prefix('/');
    path.is_some_and(|path| !path.starts_with(['/', '\\']) && !path.starts_with("api/"))
        && back.len() <= BACK_BYTES_MAX
        && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

fn flow_cookie(req: &HttpRequest, sealed: Sealed) -> Cookie<'static> {
    cookie::of_flow(req, sealed.into_text(), Sealed::lasts())
}

/// Sends the browser on.
fn to(location: &str, cookie: Cookie<'static>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).cookie(cookie).finish()
}

/// Sends the browser to a page that says why not; the log is told the cause.
fn told(req: &HttpRequest, page: &str, problem: &Problem) -> HttpResponse {
    tracing::info!(code = %problem.code, cause = problem.chain(), "a login by the provider was refused");
    to(&format!("{page}#refused={}", problem.code.name()), cookie::no_flow(req))
}

/// The audit keeps the code alone.
fn problem_of(problem: &Problem) -> Problem {
    Problem::new(problem.code)
}

#[cfg(test)]
mod tests {
    use super::is_own_page;

    #[test]
    fn only_pages_of_our_own_are_gone_back_to() {
        for own in ["/", "/devices", "/d/d-aaaaaaaaaaaaaaaa?role=watcher", "/s/x#y"] {
            assert!(is_own_page(own), "{own}");
        }
        let long = format!("/{}", "a".repeat(600));
        for other in [
            "",
            "devices",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/api/v1/logout",
            "/a b",
            "/a\r\nset-cookie: x",
            "/\u{e4}",
            "/a\\..\\b",
            long.as_str(),
        ] {
            assert!(!is_own_page(other), "{other}");
        }
    }
}
