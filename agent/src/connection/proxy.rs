//! Through an HTTP proxy (RFC 9110 section 9.3.6, CONNECT), if there is to be one.

use std::fmt;
use std::io;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::http::Uri;

use crate::config::{BrokerUrl, ProxyChoice};

/// A proxy that answers with more is none.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// A proxy to go through. Its login is in nothing that is shown.
pub struct Proxy {
    /// `host:port`.
    pub address: String,
    authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The proxy that leads to the broker, if any. A broker on this machine is never asked for through
/// one that the environment names for everything.
pub fn choose(choice: &ProxyChoice, broker: &BrokerUrl) -> io::Result<Option<Proxy>> {
    match choice {
        ProxyChoice::None => Ok(None),
        ProxyChoice::Environment if broker.is_loopback() => Ok(None),
        ProxyChoice::Environment => matching(&Matcher::from_env(), broker),
        ProxyChoice::Url(url) => {
            let proxy = matching(&Matcher::builder().all(url.as_str()).build(), broker)?;
            proxy.map(Some).ok_or_else(|| refuse("broker.proxy is not an address"))
        }
    }
}

fn matching(matcher: &Matcher, broker: &BrokerUrl) -> io::Result<Option<Proxy>> {
    let scheme = if broker.secure { "https" } else { "http" };
    let target: Uri = format!("{scheme}://{}/", broker.target()).parse().map_err(io::Error::other)?;
    matcher.intercept(&target).map(|intercept| proxy(&intercept)).transpose()
}

fn proxy(intercept: &Intercept) -> io::Result<Proxy> {
    let uri = intercept.uri();
    if uri.scheme_str() != Some("http") {
        return Err(refuse("only http:// proxies can be used"));
    }
    let host = uri.host().ok_or_else(|| refuse("the proxy's address names no host"))?;
    let authorization = intercept.basic_auth().and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Proxy { address: format!("{host}:{}", uri.port_u16().unwrap_or(80)), authorization })
}

impl Proxy {
    /// Asks the proxy for a tunnel to `target` (`host:port`).
    pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        target: &str,
    ) -> io::Result<()> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(stream).await?;
        let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse::<u16>().ok());
        match status {
            Some(200..=299) if head.starts_with("HTTP/1.") => Ok(()),
            Some(407) => Err(refuse("the proxy asks for a login (407)")),
            Some(status) => Err(refuse(&format!("the proxy refused the tunnel ({status})"))),
            None => Err(refuse("the proxy does not speak HTTP")),
        }
    }
}

/// Byte by byte, so that nothing of what follows is taken.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER_BYTES_MAX {
            return Err(refuse("the proxy's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn refuse(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(url: &str, broker: &str) -> io::Result<Option<Proxy>> {
        choose(&ProxyChoice::Url(url.into()), &BrokerUrl::parse(broker).unwrap())
    }

    #[test]
    fn the_rules_of_the_environment_are_those_of_curl() {
        let matcher = Matcher::builder()
            .https("http://secure:3128")
            .all("http://all:8080")
            .no("example.org, .corp, 10.0.0.0/8, ::1")
            .build();
        for (broker, proxy) in [
            ("wss://broker.net", Some("secure:3128")),
            ("ws://broker.net", Some("all:8080")),
            ("wss://example.org", None),
            ("wss://a.example.org:8443", None),
            ("wss://notexample.org", Some("secure:3128")),
            ("wss://x.corp", None),
            ("ws://10.1.2.3", None),
            ("ws://11.1.2.3", Some("all:8080")),
        ] {
            let found = matching(&matcher, &BrokerUrl::parse(broker).unwrap()).unwrap();
            assert_eq!(found.map(|proxy| proxy.address).as_deref(), proxy, "{broker}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused() {
        for url in ["socks5://x:1080", "https://x:3128", ""] {
            assert!(through(url, "wss://broker").is_err(), "{url:?} was taken");
        }
        assert_eq!(through("http://x", "wss://broker").unwrap().unwrap().address, "x:80");
    }

    async fn ask(answer: &str) -> (String, io::Result<()>) {
        let (mut near, mut far) = tokio::io::duplex(16 * 1024);
        let proxy = through("http://anna:canary@x:3128", "wss://broker").unwrap().unwrap();
        assert!(!format!("{proxy:?}").contains("canary"));
        far.write_all(answer.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        let opened = proxy.open(&mut near, "broker:443").await;
        drop(near);
        (read_head(&mut far).await.unwrap(), opened)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_its_refusal_understood() {
        let (asked, opened) = ask("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n").await;
        assert!(opened.is_ok());
        assert!(asked.starts_with("CONNECT broker:443 HTTP/1.1\r\nHost: broker:443\r\n"), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic YW5uYTpjYW5hcnk=\r\n"), "{asked}");
        for answer in
            ["HTTP/1.1 407 x\r\n\r\n", "HTTP/1.1 403 x\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200", ""]
        {
            assert!(ask(answer).await.1.is_err(), "{answer:?} was taken");
        }
        assert!(ask(&"x".repeat(ANSWER_BYTES_MAX + 1)).await.1.is_err());
    }
}
