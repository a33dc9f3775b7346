//! A terminal's WebSocket by hand, message by message: for those who break the rules.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::broker::Broker;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Raw {
    /// The socket, for those who want even less between.
    pub socket: WebSocketStream<TcpStream>,
}

/// How an upgrade was answered.
#[derive(Debug)]
pub enum Upgrade {
    /// The socket stands.
    Done(Box<Raw>),
    /// It was refused with this status and body.
    Refused(StatusCode, Value),
}

/// The request that a page of that origin makes for a WebSocket.
pub fn upgrade_request(host: &str, path: &str, origin: Option<&str>, protocol: &str) -> Result<Request<()>> {
    let mut request = format!("ws://{host}{path}").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_str(protocol)?);
    if let Some(origin) = origin {
        headers.insert("origin", HeaderValue::from_str(origin)?);
    }
    Ok(request)
}

impl Raw {
    /// Asks for the upgrade, and tells how it was answered.
    pub async fn upgrade(broker: &Broker, request: Request<()>) -> Result<Upgrade> {
        Self::upgrade_at(broker.address, request).await
    }

    async fn upgrade_at(address: SocketAddr, request: Request<()>) -> Result<Upgrade> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match wait::within(wait::SOON, "the upgrade", tokio_tungstenite::client_async(request, stream))
            .await?
        {
            Ok((socket, _)) => Ok(Upgrade::Done(Box::new(Self { socket }))),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Ok(Upgrade::Refused(response.status(), serde_json::from_slice(body).unwrap_or(Value::Null)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The socket of that session's terminal, as its page opens it; no hello yet.
    pub async fn terminal(broker: &Broker, session: &str) -> Result<Self> {
        let path = format!("/api/v1/sessions/{session}/terminal");
        let origin = broker.origin();
        let mut request = upgrade_request(
            &broker.address.to_string(),
            &path,
            Some(&origin),
            moorline_wire::term::SUBPROTOCOL,
        )?;
        if let Some(cookie) = &broker.cookie {
            request.headers_mut().insert("cookie", HeaderValue::from_str(cookie)?);
        }
        match Self::upgrade(broker, request).await? {
            Upgrade::Done(raw) => Ok(*raw),
            Upgrade::Refused(status, body) => bail!("the upgrade was refused: {status} {body}"),
        }
    }

    /// The agents' end of the broker.
    pub async fn link(broker: &Broker, protocol: &str) -> Result<Upgrade> {
        Self::link_at(broker.address, protocol).await
    }

    /// The same at an address where a broker may be.
    pub async fn link_at(address: SocketAddr, protocol: &str) -> Result<Upgrade> {
        let request = upgrade_request(&address.to_string(), "/agent/v1/link", None, protocol)?;
        Self::upgrade_at(address, request).await
    }

    /// The hello of a new viewer.
    pub fn hello(ticket: &str) -> Value {
        json!({ "t": "hello", "ticket": ticket, "have": 0, "viewer": format!("{:032x}", rand::random::<u128>()),
            "in_next": 0, "size": { "cols": 80, "rows": 24, "xpx": 0, "ypx": 0 }, "role": "driver", "caps": [] })
    }

    /// Sends a JSON message.
    pub async fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// Sends a binary message.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        Ok(self.socket.send(Message::binary(bytes.into())).await?)
    }

    /// The next message that is no ping.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            let next = wait::within(Duration::from_secs(60), "a message", self.socket.next()).await?;
            match next.context("the socket has ended")?? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// The next JSON message of this type; others are passed over.
    pub async fn told(&mut self, t: &str) -> Result<Value> {
        loop {
            match self.next().await? {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text)?;
                    if value["t"] == t {
                        return Ok(value);
                    }
                }
                Message::Close(frame) => bail!("closed with {frame:?} before {t}"),
                _ => {}
            }
        }
    }

    /// Reads on until the close frame; gives it and the last JSON message before it.
    pub async fn closed(&mut self) -> Result<(CloseFrame, Value)> {
        let mut last = Value::Null;
        loop {
            match self.next().await? {
                Message::Text(text) => last = serde_json::from_str(&text)?,
                Message::Close(frame) => return Ok((frame.context("a close frame without a code")?, last)),
                _ => {}
            }
        }
    }

    /// Fails unless the broker says what is wrong, in words, and closes with this code.
    pub async fn refused(&mut self, code: moorline_wire::Code) -> Result<Value> {
        let (frame, last) = self.closed().await?;
        ensure!(u16::from(frame.code) == code.number(), "wanted {code:?}, got {frame:?} after {last}");
        ensure!(last["t"] == "error" || last["t"] == "ended", "no word before the close frame: {last}");
        let (told, text) = match &last["t"] {
            t if t == "error" => (&last["code"], &last["text"]),
            _ => (&last["ending"]["code"], &last["ending"]["text"]),
        };
        ensure!(told == code.name(), "the words are of another code: {last}");
        ensure!(text.as_str().is_some_and(|text| text.ends_with('.')), "no sentence: {last}");
        Ok(last)
    }
}
