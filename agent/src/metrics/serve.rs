//! Answers `GET /metrics`, on a loopback port or a unix socket, and nothing else.
//!
//! HTTP/1.1 as far as a scraper needs it (RFC 9112): one request for each connection. What is asked can
//! change nothing, and what is told is for programs on this device only.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::Metrics;
use crate::clock;

/// A scraper's request is some hundred bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// From the connection to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Scrapers at once; more wait to be accepted.
const AT_ONCE: usize = 8;

/// After a failure to accept: it is of the machine (no more files), and does not pass at once.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a port of this machine.
    Port(SocketAddr),
    /// On a socket in the file system; who may open it may ask.
    Socket(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let absolute = path.starts_with('/');
            return absolute
                .then(|| Self::Socket(path.into()))
                .ok_or_else(|| format!("{path:?} is no absolute path"));
        }
        let address: SocketAddr =
            text.parse().map_err(|_| format!("{text:?} is neither ADDRESS:PORT nor unix:PATH"))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not on this machine alone; give a loopback address"));
        }
        Ok(Self::Port(address))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Port(address) => address.fmt(f),
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listens.
#[derive(Debug)]
pub enum Listener {
    /// On a port.
    Port(TcpListener),
    /// On a socket, which is removed with it.
    Socket(UnixListener, PathBuf),
}

impl Listener {
    /// Takes the place. A socket that a former process left is replaced, any other file is not.
    pub async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Port(address) => Ok(Self::Port(TcpListener::bind(address).await?)),
            Place::Socket(path) => {
                if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                // Its own user and group: a scraper that is to read it gets the group.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Socket(listener, path.clone()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Socket(_, path) = self {
            // A successor may have replaced it already; then it is not there, or is made again.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Answers until it is dropped.
pub async fn serve(listener: Listener, metrics: Metrics) {
    let mut answering = JoinSet::new();
    loop {
        while answering.len() >= AT_ONCE {
            answering.join_next().await;
        }
        while answering.try_join_next().is_some() {}
        let accepted = match &listener {
            Listener::Port(port) => {
                port.accept().await.map(|(stream, _)| answering.spawn(answer(stream, metrics.clone())))
            }
            Listener::Socket(socket, _) => {
                socket.accept().await.map(|(stream, _)| answering.spawn(answer(stream, metrics.clone())))
            }
        };
        if let Err(err) = accepted {
            tracing::debug!(%err, "no scraper could be let in");
            clock::pass(AGAIN_AFTER).await;
        }
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, metrics: Metrics) {
    let exchange = async {
        let (status, body) = match head(&mut stream).await?.as_deref() {
            Some(b"GET /metrics") => ("200 OK", metrics.text()),
            Some(_) => ("404 Not Found", "There is only GET /metrics here.\n".to_owned()),
            None => ("400 Bad Request", "This is no request.\n".to_owned()),
        };
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whoever does not read, or is gone, gets nothing.
    let _ = clock::within(LIMIT, "a scrape", exchange).await;
}

/// Reads the head of a request to its end, and gives method and path. `None`: it is none.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Ok(None) };
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    Ok(version.starts_with(b"HTTP/1.").then(|| [method, b" ", path].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(request: &[u8]) -> String {
        let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
        let answering = tokio::spawn(answer(theirs, Metrics::default()));
        ours.write_all(request).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        answering.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_figures_are_told_and_nothing_else() {
        for request in
            [&b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"]
        {
            let answer = asked(request).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("moorline_agent_"),
                "{answer}"
            );
        }
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "404"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"\x16\x03\x01\r\n\r\n", "400"),
            (b"GET /metrics HTTP/1.1\r\n", "400"),
            (&[b'x'; 3 * HEAD_BYTES_MAX], "400"),
        ] {
            let answer = asked(request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }

    #[test]
    fn only_this_machine_is_a_place() {
        assert_eq!("unix:/run/m.sock".parse(), Ok(Place::Socket("/run/m.sock".into())));
        for good in ["127.0.0.1:9101", "[::1]:9101"] {
            assert_eq!(good.parse::<Place>().unwrap().to_string(), good);
        }
        for bad in ["0.0.0.0:9101", "192.0.2.1:1", "9101", "unix:m.sock", "unix:", "localhost:1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&Place::Socket(path.clone())).await.unwrap();
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&Place::Socket(path.clone())).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
