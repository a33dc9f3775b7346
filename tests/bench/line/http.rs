//! One request by hand on a connection of its own: a set-up begins with nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use moorline_tests::raw::upgrade_request;
use serde_json::Value;
use tokio_tungstenite::tungstenite::WebSocket;
use tokio_tungstenite::tungstenite::client::client;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::{CONNECTING, PATIENCE};

/// What goes with a request: the type of its body, and the body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// `application/json`
    Json(&'a Value),
    /// `application/x-www-form-urlencoded`, already encoded.
    Form(&'a str),
}

/// Posts it; gives the JSON of the answer, whose status must be in the two hundreds.
pub fn post(address: SocketAddr, path: &str, body: Body<'_>) -> Result<Value> {
    let (kind, text) = match body {
        Body::Json(value) => ("application/json", value.to_string()),
        Body::Form(text) => ("application/x-www-form-urlencoded", text.to_owned()),
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read the answer")?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    ensure!(head.starts_with("HTTP/1.1 2"), "it was refused: {answer}");
    serde_json::from_str(body).with_context(|| format!("no JSON: {body}"))
}

/// A WebSocket at that path, as a page of the server opens it.
pub fn websocket(address: SocketAddr, path: &str, protocol: Option<&str>) -> Result<WebSocket<TcpStream>> {
    let origin = format!("http://{address}");
    let mut request = upgrade_request(&address.to_string(), path, Some(&origin), protocol.unwrap_or("none"))?;
    if protocol.is_none() {
        request.headers_mut().remove("sec-websocket-protocol");
    }
    let page = path.split_inclusive('/').take(2).collect::<String>();
    request.headers_mut().insert("referer", HeaderValue::from_str(&format!("{origin}{page}"))?);
    let (socket, _) = client(request, connect(address)?).map_err(|error| anyhow::anyhow!("{error}"))?;
    socket.get_ref().set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A connection without delays of its own.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECTING)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECTING))?;
    Ok(stream)
}
