//! webssh: the login is posted, output comes in binary messages and input goes in JSON. It has no flow control.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::http::{self, Body};
use super::{Line, message};

/// See the module.
pub struct Webssh {
    socket: WebSocket<TcpStream>,
    /// What was received last.
    shown: Bytes,
}

impl Webssh {
    /// Logs in with that key and connects, as its page does.
    pub fn open(server: SocketAddr, sshd: SocketAddr, login: &str, key: &Path) -> Result<Self> {
        let key = std::fs::read_to_string(key)?;
        let form = format!(
            "hostname={}&port={}&username={}&privatekey={}&term=xterm",
            in_a_form(&sshd.ip().to_string()),
            sshd.port(),
            in_a_form(login),
            in_a_form(&key)
        );
        let answer = http::post(server, "/", Body::Form(&form))?;
        let worker = answer["id"].as_str().with_context(|| format!("no id in {answer}"))?;
        let socket = http::websocket(server, &format!("/ws?id={worker}"), None)?;
        let mut webssh = Self { socket, shown: Bytes::new() };
        webssh.say(&json!({ "resize": [80, 24] }))?;
        Ok(webssh)
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string()))?)
    }
}

impl Line for Webssh {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.say(&json!({ "data": String::from_utf8_lossy(bytes) }))
    }

    fn receive(&mut self) -> Result<&[u8]> {
        loop {
            match message(self.socket.read())? {
                None => return Ok(&[]),
                Some(Message::Binary(bytes)) => {
                    self.shown = bytes;
                    return Ok(&self.shown);
                }
                Some(Message::Close(frame)) => bail!("webssh has closed: {frame:?}"),
                Some(_) => {}
            }
        }
    }
}

fn in_a_form(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
