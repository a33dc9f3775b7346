//! The cookie of a login, and when a password may be taken at all.
//!
//! Over https the cookie is `__Host-moorline`: only over https, for this host alone, for no script, for no
//! request that another site began. Over plain http, which is for the broker's own machine, it is `moorline`
//! without `Secure`. A login that was begun at a provider has a second cookie for its ten minutes, which the
//! provider's page may make the browser send (`SameSite=Lax`). Neither is ever taken in the plain
//! form where https is spoken: whoever sits on the way could have planted it.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::web::Data;
use moorline_wire::Code;
use zeroize::Zeroizing;

use super::guard::Allowed;
use super::{Parts, peer};
use crate::problem::Problem;
use crate::token::Token;

const OVER_HTTPS: &str = "__Host-moorline";
const OVER_HTTP: &str = "moorline";
const FLOW_OVER_HTTPS: &str = "__Host-moorline-oidc";
const FLOW_OVER_HTTP: &str = "moorline-oidc";

/// How the browser reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nobody between can read along.
    Https,
    /// On one machine.
    OwnMachine,
    /// Everybody between can read along.
    Open,
}

impl Way {
    /// By the host that the request names: which it may is checked before.
    pub(super) fn of(req: &HttpRequest) -> Self {
        let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match req.app_data::<Data<Allowed>>() {
            Some(allowed) if allowed.is_https(host) => Self::Https,
            Some(allowed) if allowed.is_own_machine(host) => Self::OwnMachine,
            _ => Self::Open,
        }
    }

    fn cookie(self) -> &'static str {
        if self == Self::Https { OVER_HTTPS } else { OVER_HTTP }
    }

    fn flow_cookie(self) -> &'static str {
        if self == Self::Https { FLOW_OVER_HTTPS } else { FLOW_OVER_HTTP }
    }

    /// What our addresses begin with.
    pub(super) fn scheme(self) -> &'static str {
        if self == Self::Https { "https" } else { "http" }
    }
}

/// Refuses to take a password where everybody between can read along.
pub(super) fn require_private(req: &HttpRequest, parts: &Parts) -> Result<Way, Problem> {
    match Way::of(req) {
        Way::Open if !parts.config.login.allow_http => Err(Problem::new(Code::POLICY).saying(
            "Passwords are taken over https only, or on the broker's own machine. Give the \
             broker a certificate (tls.certificate_file), or put a proxy with one in front of it and add its address to \
             http.origins.",
        )),
        way => Ok(way),
    }
}

/// Whether browsers are to be told that this host speaks https and nothing else (RFC 6797): where it is certain that
/// they reached it so. Not for `localhost`, which is others' as well: HSTS is for all ports of a host.
pub(super) fn stays_https(req: &HttpRequest) -> bool {
    let (Some(allowed), Some(parts)) = (req.app_data::<Data<Allowed>>(), req.app_data::<Data<Parts>>())
    else {
        return false;
    };
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    Way::of(req) == Way::Https
        && !allowed.is_own_machine(host)
        && (allowed.is_secure() || peer::says_https(req, parts))
}

/// The secret that the browser shows, if it shows one.
pub(super) fn shown(req: &HttpRequest) -> Option<Zeroizing<String>> {
    req.cookie(Way::of(req).cookie()).map(|cookie| Zeroizing::new(cookie.value().to_owned()))
}

/// The same, before a handler is called.
pub(super) fn shown_by(req: &ServiceRequest) -> Option<Zeroizing<String>> {
    shown(req.request())
}

/// The cookie of a new login.
pub(super) fn of_login(way: Way, secret: &Token, lasts: std::time::Duration) -> Cookie<'static> {
    let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
    made(way, way.cookie(), secret.reveal().to_owned(), seconds)
}

/// The cookie of a login that was begun at the provider.
pub(super) fn of_flow(req: &HttpRequest, value: String, lasts: std::time::Duration) -> Cookie<'static> {
    let (way, seconds) = (Way::of(req), i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX));
    let mut cookie = made(way, way.flow_cookie(), value, seconds);
    // The browser comes back from another site.
    cookie.set_same_site(SameSite::Lax);
    cookie
}

/// What the browser got when it began.
pub(super) fn flow_shown(req: &HttpRequest) -> Option<String> {
    req.cookie(Way::of(req).flow_cookie()).map(|cookie| cookie.value().to_owned())
}

/// A cookie that removes that.
pub(super) fn no_flow(req: &HttpRequest) -> Cookie<'static> {
    of_flow(req, String::new(), std::time::Duration::ZERO)
}

/// A cookie that removes itself.
pub(super) fn none(way: Way) -> Cookie<'static> {
    made(way, way.cookie(), String::new(), 0)
}

fn made(way: Way, name: &'static str, value: String, seconds: i64) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(way == Way::Https)
        .same_site(SameSite::Strict)
        .max_age(actix_web::cookie::time::Duration::seconds(seconds))
        .finish()
}
