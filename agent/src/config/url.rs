//! The broker's address.

use std::fmt;
use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::Uri;

/// Where a link is opened when the address names no path.
const LINK_PATH: &str = "/agent/v1/link";

/// The broker's address, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// TLS or not.
    pub secure: bool,
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl BrokerUrl {
    /// Takes ws, wss, http and https.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|err| format!("{text:?} is not an address: {err}"))?;
        let secure = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(format!("{text:?} does not begin with wss:// or ws://")),
        };
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("{text:?} names no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a login in the address is not used; the device proves itself by its key".into());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: if path == "/" { LINK_PATH.to_owned() } else { path.to_owned() },
        })
    }

    /// Whether the broker is on this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// `host:port` as it stands in a Host header, without the port that goes without saying.
    pub fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.bracketed() } else { format!("{}:{}", self.bracketed(), self.port) }
    }

    /// `host:port`, always with the port.
    pub fn target(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_understood() {
        for (text, whole) in [
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/agent/v1/link"),
            ("https://broker.example", "wss://broker.example/agent/v1/link"),
            ("wss://broker.example:8443/moor/link", "wss://broker.example:8443/moor/link"),
            ("http://[::1]:80/", "ws://[::1]/agent/v1/link"),
        ] {
            assert_eq!(BrokerUrl::parse(text).map(|url| url.to_string()), Ok(whole.to_owned()));
        }
        for text in ["", "broker", "ftp://x", "ws://", "ws:///path", "wss://u:p@x"] {
            assert!(BrokerUrl::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
