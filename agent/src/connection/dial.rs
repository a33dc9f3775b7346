//! From the broker's address to a WebSocket: TCP, a proxy if there is one, TLS, the upgrade.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moorline_wire::link::SUBPROTOCOL;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::proxy;
use crate::Problem;
use crate::clock::{self, TooLate};
use crate::config::{BrokerUrl, Config, ProxyChoice};

/// The largest WebSocket message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How much is read at once. What comes is small, and each read clears as much memory as it might take.
const READ_BUFFER: usize = 8 * 1024;
/// How much the WebSocket gathers before it writes. What is not yet sent is to stay in the link's
/// hands, where a keystroke can still go ahead of it.
const WRITE_BUFFER: usize = 16 * 1024;
/// The same for the kernel.
const UNSENT_MAX: u32 = 32 * 1024;
/// Nobody acknowledged what we sent: the connection is dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// Nothing was sent for so long: ask whether the other side is there, every 5 s, twice.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 2);

/// The WebSocket under the link.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why no WebSocket came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("connecting to {to} failed")]
    Connect {
        /// Where to.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The proxy.
    #[error("going through the proxy {proxy} failed")]
    Proxy {
        /// Which.
        proxy: String,
        /// Why.
        source: io::Error,
    },
    /// TLS or the upgrade.
    #[error("opening the WebSocket failed")]
    Upgrade(#[source] tungstenite::Error),
    /// The broker answered the upgrade with an HTTP status.
    #[error("the broker answered {status} instead of opening a WebSocket")]
    Status {
        /// The status.
        status: http::StatusCode,
        /// `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// Something that is no broker, or one of another version.
    #[error("the other side does not speak {SUBPROTOCOL}")]
    Subprotocol,
    /// Too slow.
    #[error(transparent)]
    Late(#[from] TooLate),
}

/// All that dialling needs, prepared once.
pub struct Dialer {
    broker: BrokerUrl,
    proxy: ProxyChoice,
    tls: Arc<ClientConfig>,
    limit: Duration,
}

impl Dialer {
    /// Reads the trusted certificates.
    pub fn new(config: &Config) -> Result<Self, Problem> {
        proxy::choose(&config.proxy, &config.broker).map_err(|err| Problem::setting("broker.proxy", err))?;
        let mut roots = RootCertStore::empty();
        if config.broker.secure {
            let system = rustls_native_certs::load_native_certs();
            let (_, broken) = roots.add_parsable_certificates(system.certs);
            if broken > 0 {
                tracing::debug!(broken, "some of the system's certificates cannot be read");
            }
        }
        if let Some(file) = &config.ca_file {
            let trouble =
                |err: String| Problem::setting("broker.ca_file", format!("{}: {err}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|err| trouble(err.to_string()))? {
                let certificate = certificate.map_err(|err| trouble(err.to_string()))?;
                roots.add(certificate).map_err(|err| trouble(err.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|err| Problem::setting("broker.url", format!("TLS cannot be used: {err}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            broker: config.broker.clone(),
            proxy: config.proxy.clone(),
            tls: Arc::new(tls),
            limit: config.timing.connect,
        })
    }

    /// A new WebSocket to the broker.
    pub async fn dial(&self) -> Result<Socket, DialError> {
        clock::within(self.limit, "dialling the broker", Box::pin(self.open())).await?
    }

    async fn open(&self) -> Result<Socket, DialError> {
        let stream = self.connect().await?;
        let mut request = self.broker.to_string().into_client_request().map_err(DialError::Upgrade)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connector = Connector::Rustls(self.tls.clone());
        match client_async_tls_with_config(request, stream, Some(config), Some(connector)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => Err(DialError::Status {
                status: response.status(),
                retry_after: retry_after(response.headers()),
            }),
            Err(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_),
            )) => Err(DialError::Subprotocol),
            Err(err) => Err(DialError::Upgrade(err)),
        }
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let broker = self.broker.target();
        let by_proxy = |proxy: &str| {
            let proxy = proxy.to_owned();
            move |source| DialError::Proxy { proxy, source }
        };
        match proxy::choose(&self.proxy, &self.broker).map_err(by_proxy("?"))? {
            None => tcp(&broker).await.map_err(|source| DialError::Connect { to: broker, source }),
            Some(proxy) => {
                let mut stream = tcp(&proxy.address).await.map_err(by_proxy(&proxy.address))?;
                proxy.open(&mut stream, &broker).await.map_err(by_proxy(&proxy.address))?;
                Ok(stream)
            }
        }
    }
}

fn retry_after(headers: &http::HeaderMap) -> Option<u32> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    let (idle, every, times) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(every).with_retries(times);
    let socket = SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    Ok(stream)
}
