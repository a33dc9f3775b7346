//! What every request passes first, and every answer last.
//!
//! First: is it for this broker (`Host`), does it come from a page of this broker (`Origin`,
//! `Sec-Fetch-Site`), is it small enough, is the broker not stopping. Last: the request id, the
//! security headers, errors as JSON, and how long it took.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use futures_util::future::LocalBoxFuture;
use moorline_wire::Code;
use tracing::{Instrument, Span};

use super::{Parts, answer, cookie};
use crate::clock;
use crate::config::Config;
use crate::problem::Problem;
use crate::tls::Names;
use crate::trace::{self, Place};

/// The id of a request: in its answer, in the log, and in a header.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// What a request that is traced belongs to: our span for it, or the caller's where none is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traced(pub(super) Place);

/// Nothing but our own files; xterm.js makes `<style>` elements, hence that one exception.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                   img-src 'self' data:; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Two years, as browsers' own lists want it. Without the names below ours: those may be others' affair.
const HSTS: &str = "max-age=63072000";

/// Headers that every answer has.
const SECURITY: [(&str, &str); 7] = [
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("x-frame-options", "DENY"),
];

/// Which hosts and origins are this broker.
#[derive(Debug)]
pub(super) struct Allowed {
    hosts: HashSet<String>,
    origins: HashSet<String>,
    /// Hosts that are reached over https, as the settings say: by a proxy in front of the broker.
    https: HashSet<String>,
    /// Hosts that are reached over plain http, as the settings say.
    http: HashSet<String>,
    /// Whether the broker itself speaks https: then the names of its certificate are this broker, too, also those of
    /// a renewed one.
    certified: Option<Names>,
    /// Listening on every address: each of them, written as a number, is this broker. A page of
    /// another site cannot pretend one: rebinding needs a name.
    any_address: bool,
    port: u16,
    /// The same as it stands behind a host.
    of_port: String,
}

impl Allowed {
    /// The listen address as it can be written, and what the settings add; with TLS in the broker itself, also the
    /// names that its certificate is for.
    pub(super) fn of(config: &Config, listen: SocketAddr, certified: Option<Names>) -> Self {
        let (port, secure) = (listen.port(), certified.is_some());
        let mut own = vec![listen.to_string()];
        if listen.ip().is_loopback() {
            own.extend(["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")));
        }
        // The default port is left out of a Host header and of an origin.
        let scheme = if secure { "https" } else { "http" };
        let usual = if secure { ":443" } else { ":80" };
        let short: Vec<_> =
            own.iter().filter_map(|host| Some(host.strip_suffix(usual)?.to_owned())).collect();
        own.extend(short);
        let lower = |text: &String| text.trim_end_matches('/').to_ascii_lowercase();
        let of_origin = |origin: &String| lower(origin).split_once("://").map(|(_, host)| host.to_owned());
        let origins =
            own.iter().map(|host| format!("{scheme}://{host}")).chain(config.http.origins.iter().map(lower));
        let hosts = own.iter().cloned().chain(config.http.hosts.iter().map(lower));
        let reached_over = |scheme: &str, port: &str| -> HashSet<String> {
            let of_scheme = |origin: String| {
                let host = origin.strip_prefix(scheme)?;
                Some(host.strip_suffix(port).unwrap_or(host).to_owned())
            };
            config.http.origins.iter().map(lower).filter_map(of_scheme).collect()
        };
        Self {
            https: reached_over("https://", ":443"),
            http: reached_over("http://", ":80"),
            certified,
            origins: origins.collect(),
            hosts: hosts.chain(config.http.origins.iter().filter_map(of_origin)).collect(),
            any_address: listen.ip().is_unspecified(),
            port,
            of_port: format!(":{port}"),
        }
    }

    fn host(&self, host: &str) -> bool {
        let usual = if self.is_secure() { 443 } else { 80 };
        let bare = || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let numeric = || match host.parse::<SocketAddr>() {
            Ok(address) => address.port() == self.port,
            Err(_) => self.port == usual && bare(),
        };
        let lower = host.to_ascii_lowercase();
        self.hosts.contains(&lower) || self.is_certified(&lower) || (self.any_address && numeric())
    }

    /// Whether that is a name of the certificate with our port, in small letters.
    fn is_certified(&self, host: &str) -> bool {
        let Some(names) = &self.certified else { return false };
        let named = host.strip_suffix(&self.of_port).or_else(|| (self.port == 443).then_some(host));
        named.is_some_and(|name| names.has(name))
    }

    /// Whether that host is reached over https.
    pub(super) fn is_https(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.https.contains(host.strip_suffix(":443").unwrap_or(&host))
            || (self.is_secure() && !self.http.contains(host.strip_suffix(":80").unwrap_or(&host)))
    }

    /// Whether the broker itself speaks https.
    pub(super) fn is_secure(&self) -> bool {
        self.certified.is_some()
    }

    /// Whether that host is this machine and nothing else: what is sent to it passes no network.
    pub(super) fn is_own_machine(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// An origin is compared as it is: a browser writes it in one way only.
    fn origin(&self, origin: &str, host: &str) -> bool {
        let scheme = if self.is_secure() { "https://" } else { "http://" };
        let named = origin.strip_prefix(scheme);
        let own_address = || self.any_address && named == Some(host) && self.host(host);
        self.origins.contains(origin) || named.is_some_and(|host| self.is_certified(host)) || own_address()
    }
}

/// The one middleware of the broker.
///
/// Boxed: a connection has room for the future of its request as long as it lives, and one that became a WebSocket
/// never has another request.
pub(super) fn pass(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>> {
    Box::pin(passed(req, next))
}

async fn passed(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = clock::now();
    let id = RequestId(uuid::Uuid::now_v7().to_string());
    req.extensions_mut().insert(id.clone());
    let metrics = req.app_data::<web::Data<Parts>>().map(|parts| parts.metrics.clone());
    let (method, at_api) = (req.method().clone(), req.path().starts_with("/api/"));

    let span = traced(&req).unwrap_or_else(Span::none);
    let mut res = match admit(&req) {
        Ok(()) => next.call(req).instrument(span.clone()).await?.map_into_boxed_body(),
        Err(problem) => req.error_response(problem),
    };
    span.record("status", res.status().as_u16());

    res = answer::in_words(res, &id, metrics.as_ref());
    let stays_secure = cookie::stays_https(res.request());
    finish(res.headers_mut(), &id, at_api, stays_secure);
    let (route, status) = (res.request().match_pattern(), res.status().as_u16());
    let took = clock::now().saturating_duration_since(began);
    tracing::debug!(request_id = id.0, %method, route, status, ms = took.as_millis() as u64, "answered");
    if let Some(metrics) = metrics {
        metrics.http_request(route.as_deref().unwrap_or("none"), status, took);
    }
    Ok(res)
}

/// The span of a request whose caller is traced (W3C Trace Context); others have none.
fn traced(req: &ServiceRequest) -> Option<Span> {
    let caller: Place = req.headers().get("traceparent")?.to_str().ok()?.parse().ok()?;
    let span = trace::request(&caller, req.method().as_str());
    req.extensions_mut().insert(Traced(trace::place_of(&span).unwrap_or(caller)));
    Some(span)
}

/// Refuses what is not for this broker, not from its pages, too large or too late.
fn admit(req: &ServiceRequest) -> Result<(), Problem> {
    let missing = || Problem::new(Code::INTERNAL);
    let parts = req.app_data::<web::Data<Parts>>().ok_or_else(missing)?;
    let allowed = req.app_data::<web::Data<Allowed>>().ok_or_else(missing)?;
    let headers = req.headers();

    let host = host_of(req)?;
    if !allowed.host(host) {
        return Err(Problem::new(Code::HOST));
    }
    let upgrades = headers.contains_key(header::UPGRADE);
    let unsafe_method = !matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if upgrades && req.path().starts_with("/api/") {
        require_origin(headers)?;
    }
    if upgrades || unsafe_method {
        from_own_page(headers, host, allowed)?;
        if parts.health.is_draining() {
            return Err(Problem::new(Code::GOING_AWAY));
        }
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > parts.config.limits.body.bytes() as u64) {
        return Err(Problem::new(Code::TOO_LARGE));
    }
    Ok(())
}

/// The one host that the request names: HTTP/1.1 requires it, two are a trick.
fn host_of(req: &ServiceRequest) -> Result<&str, Problem> {
    let mut named = req.headers().get_all(header::HOST);
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().map_err(|e| Problem::new(Code::HOST).because(e)),
        _ => Err(Problem::new(Code::HOST)),
    }
}

/// A browser tells which page a request comes from; a program that is no browser tells nothing.
fn from_own_page(headers: &HeaderMap, host: &str, allowed: &Allowed) -> Result<(), Problem> {
    let refused = || Problem::new(Code::ORIGIN);
    let mut origins = headers.get_all(header::ORIGIN);
    if let Some(origin) = origins.next() {
        let alone = origins.next().is_none();
        let own = origin.to_str().is_ok_and(|origin| allowed.origin(origin, host));
        return if alone && own { Ok(()) } else { Err(refused()) };
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(refused()),
    }
}

/// A terminal needs an `Origin`: every browser sends it, and only browsers open terminals here.
fn require_origin(headers: &HeaderMap) -> Result<(), Problem> {
    // That it is one of ours is checked in `from_own_page`.
    if headers.contains_key(header::ORIGIN) { Ok(()) } else { Err(Problem::new(Code::ORIGIN)) }
}

fn finish(headers: &mut HeaderMap, id: &RequestId, at_api: bool, stays_secure: bool) {
    for (name, value) in SECURITY {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if stays_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if at_api && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
