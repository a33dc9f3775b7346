//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};

use super::Parts;
use crate::config::Network;
use crate::identity::Whence;

/// What a proxy adds: the address that it got the request from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What a proxy says of how it was spoken to itself.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The address and the browser or program, for throttling and for the audit.
pub(super) fn from(req: &HttpRequest, parts: &Parts) -> Whence {
    let agent = req.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Whence { address: address(req, parts), agent: agent.unwrap_or_default().to_owned() }
}

/// The address: the connection's, or what a proxy says that is listed in `http.trusted_proxies`.
pub(super) fn address(req: &HttpRequest, parts: &Parts) -> IpAddr {
    let peer = req.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    forwarded(peer, req.headers(), &parts.config.http.trusted_proxies)
}

/// Whether a proxy has carried the request: then its peer is the proxy, and not where it comes from.
pub(super) fn is_proxied(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED)
}

/// Whether a proxy that is listed in `http.trusted_proxies` says that it was spoken to over https.
pub(super) fn says_https(req: &HttpRequest, parts: &Parts) -> bool {
    let trusted = &parts.config.http.trusted_proxies;
    let peer = req.peer_addr().map(|peer| peer.ip().to_canonical());
    let is_proxy = peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(peer)));
    let last = req.headers().get_all(FORWARDED_PROTO).last().and_then(|line| line.to_str().ok());
    let said = last.and_then(|line| line.rsplit(',').next()).map(str::trim);
    is_proxy && said.is_some_and(|said| said.eq_ignore_ascii_case("https"))
}

/// Each proxy appends whom it got the request from. Read from the end, the first that is not one of our
/// proxies is the one; what stands before it, anybody can have written.
fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    let mut address = peer;
    while is_proxy(address) {
        let Some(Ok(before)) = hops.next().map(str::parse::<IpAddr>) else { break };
        address = before.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_what_a_listed_proxy_says_is_believed() {
        let table: &[(&str, &[&str], &str)] = &[
            ("192.0.2.1", &[], "192.0.2.1"),
            // Not a proxy of ours: whatever it says.
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // What stands before was written by the client.
            ("10.0.0.1", &["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["127.0.0.1", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // Nothing to be read: the proxy itself.
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ];
        let trusted = ["10.0.0.0/24".parse().unwrap()];
        for (peer, lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(HeaderName::from_static(FORWARDED_FOR), HeaderValue::from_static(line));
            }
            let peer = peer.parse::<IpAddr>().unwrap().to_canonical();
            assert_eq!(forwarded(peer, &headers, &trusted), expected.parse::<IpAddr>().unwrap(), "{lines:?}");
        }
    }
}
