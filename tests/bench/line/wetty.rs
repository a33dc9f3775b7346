//! wetty: Socket.IO on a WebSocket. Output and input are JSON strings in events, and the page says how much it
//! has shown every 256 KiB.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::{CONNECTING, Line, http, message};

/// How often its page says what it has shown.
const COMMIT_BYTES: usize = 256 * 1024;

/// See the module.
pub struct Wetty {
    socket: WebSocket<TcpStream>,
    /// What was received last.
    shown: Vec<u8>,
    uncommitted: usize,
}

impl Wetty {
    /// Connects as its page does.
    pub fn open(server: SocketAddr) -> Result<Self> {
        let socket = http::websocket(server, "/wetty/socket.io/?EIO=4&transport=websocket", None)?;
        let mut wetty = Self { socket, shown: Vec::new(), uncommitted: 0 };
        // Engine.IO opens, then the namespace of Socket.IO is joined.
        wetty.expect("0")?;
        wetty.socket.send(Message::text("40"))?;
        wetty.expect("40")?;
        wetty.emit(json!(["resize", { "cols": 80, "rows": 24 }]))?;
        Ok(wetty)
    }

    fn expect(&mut self, beginning: &str) -> Result<()> {
        let give_up = Instant::now() + CONNECTING;
        while Instant::now() < give_up {
            if let Some(message) = message(self.socket.read())? {
                let text = message.into_text()?;
                ensure!(text.starts_with(beginning), "wetty says {text} and not {beginning}");
                return Ok(());
            }
        }
        bail!("wetty does not say {beginning}");
    }

    fn emit(&mut self, event: Value) -> Result<()> {
        Ok(self.socket.send(Message::text(format!("42{event}")))?)
    }

    /// Takes one packet. True: it brought output.
    fn packet(&mut self, text: &str) -> Result<bool> {
        if text == "2" {
            self.socket.send(Message::text("3"))?;
            return Ok(false);
        }
        let Some(event) = text.strip_prefix("42") else { return Ok(false) };
        let (name, output): (String, Option<String>) = match serde_json::from_str(event) {
            Ok((name, output)) => (name, Some(output)),
            Err(_) => {
                (serde_json::from_str::<Vec<Value>>(event)?[0].as_str().context("a name")?.to_owned(), None)
            }
        };
        ensure!(name != "logout" && name != "disconnect", "wetty has ended the session");
        match output {
            Some(output) if name == "data" => self.shown = output.into_bytes(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Line for Wetty {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.emit(json!(["input", String::from_utf8_lossy(bytes)]))
    }

    fn receive(&mut self) -> Result<&[u8]> {
        loop {
            match message(self.socket.read())? {
                None => return Ok(&[]),
                Some(Message::Text(text)) => {
                    if self.packet(&text)? {
                        return Ok(&self.shown);
                    }
                }
                Some(Message::Close(frame)) => bail!("wetty has closed: {frame:?}"),
                Some(_) => {}
            }
        }
    }

    fn taken(&mut self) -> Result<()> {
        self.uncommitted += std::mem::take(&mut self.shown).len();
        while self.uncommitted >= COMMIT_BYTES {
            self.uncommitted -= COMMIT_BYTES;
            self.emit(json!(["commit", COMMIT_BYTES]))?;
        }
        Ok(())
    }
}
