//! stub
use crate::problem::Problem;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use moorline_wire::Code;
use std::time::Duration;
use tokio::sync::mpsc;

/// Our two ends of a WebSocket.
#[derive(Debug)]
pub struct SocketEnds {
    /// What the peer sent. Closed: the socket is gone. Dropped by us: the socket closes.
    pub incoming: mpsc::Receiver<Incoming>,
    /// What is to be sent to the peer.
    pub outgoing: mpsc::Sender<Outgoing>,
}

/// A message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A binary message.
    Binary(Bytes),
    /// A text message.
    Text(String),
}

/// A message for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A binary message.
    Binary(Bytes),
    /// A text message.
    Text(String),
    /// Close, with a reason in words.
    Close(Code, String),
}

/// What kind of socket it is.
#[derive(Debug, Clone, Copy)]
pub struct SocketKind {
    /// The subprotocol that the peer must offer.
    pub protocol: &'static str,
    /// The largest message that the peer may send.
    pub frame_max: usize,
    /// Protocol pings: how often, and after how long without an answer the socket is dead.
    pub ping: Option<(Duration, Duration)>,
}

/// Answers an upgrade request.
pub fn upgrade(req: &HttpRequest, payload: web::Payload, kind: SocketKind) -> Result<(HttpResponse, SocketEnds), Problem> {
    let _ = (req, payload, kind);
    Err(Problem::new(Code::INTERNAL))
}

/// Settings of an accepted TCP connection, for `HttpServer::on_connect`.
pub fn tune(stream: &tokio::net::TcpStream) {
    let _ = stream;
}
