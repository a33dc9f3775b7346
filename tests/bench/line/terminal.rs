//! Moorline's own: the viewer machine of the page on a WebSocket.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use moorline_wire::term::frame::{HostControl, HostFrame, Message};
use moorline_wire::term::{SUBPROTOCOL, Size, Viewer, ViewerControl, ViewerFrame, ViewerOutput};
use serde_json::json;
use tokio_tungstenite::tungstenite::{self, WebSocket};

use super::http::{self, Body};
use super::{Line, message};

/// How long a session may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// See the module.
pub struct Terminal {
    socket: WebSocket<TcpStream>,
    viewer: Viewer,
    /// What was received last.
    shown: Bytes,
}

impl Terminal {
    /// Asks for a session on the device and attaches to it, as a page does.
    pub fn open(broker: SocketAddr, device: &str) -> Result<Self> {
        let wish = json!({ "device": device, "cols": 80, "rows": 24 });
        let answer = http::post(broker, "/api/v1/sessions", Body::Json(&wish))?;
        let text = |key: &str| answer[key].as_str().with_context(|| format!("no {key} in {answer}"));
        let path = format!("/api/v1/sessions/{}/terminal", text("id")?);
        let socket = http::websocket(broker, &path, Some(SUBPROTOCOL))?;
        let size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
        let viewer = Viewer::new(format!("{:032x}", rand::random::<u128>()), size);
        let mut terminal = Self { socket, viewer, shown: Bytes::new() };
        let hello = terminal.viewer.hello(Some(text("ticket")?.to_owned()), None);
        terminal.viewer.connected(Instant::now());
        terminal.socket.send(as_sent(hello))?;
        Ok(terminal)
    }

    /// Sends what the machine has for the broker.
    fn transmit(&mut self) -> Result<()> {
        while let Some(frame) = self.viewer.poll_transmit(Instant::now()) {
            self.socket.write(as_sent(frame))?;
        }
        Ok(self.socket.flush()?)
    }

    /// Reads one message into the machine. False: none came.
    fn read(&mut self) -> Result<bool> {
        let message = match message(self.socket.read())? {
            None => return Ok(false),
            Some(tungstenite::Message::Binary(bytes)) => Message::Binary(bytes),
            Some(tungstenite::Message::Text(text)) => Message::Text(text.to_string()),
            Some(tungstenite::Message::Close(frame)) => bail!("the broker has closed: {frame:?}"),
            Some(_) => return Ok(true),
        };
        if let Some(frame) = HostFrame::decode(message)? {
            self.viewer.receive(Instant::now(), frame)?;
        }
        Ok(true)
    }

    /// The next output that the machine has. True: there was some.
    fn show(&mut self) -> Result<bool> {
        while let Some(output) = self.viewer.poll_output() {
            match output {
                ViewerOutput::Write(bytes) | ViewerOutput::Rebuild { bytes, .. } => {
                    self.shown = bytes;
                    return Ok(true);
                }
                ViewerOutput::Control(HostControl::Ended { ending }) => {
                    bail!("the session has ended: {ending:?}")
                }
                ViewerOutput::Control(HostControl::Error { text, .. }) => bail!("the broker says: {text}"),
                ViewerOutput::Gap { from, to } => bail!("the output from {from} to {to} is lost"),
                ViewerOutput::Dead => bail!("the broker does not answer"),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Ends the session, and waits until the broker says so.
    fn end(&mut self) -> Result<()> {
        let give_up = Instant::now() + ENDING;
        self.viewer.send(ViewerControl::Kill { reason: None });
        self.transmit()?;
        while Instant::now() < give_up {
            self.read()?;
            while let Some(output) = self.viewer.poll_output() {
                if matches!(output, ViewerOutput::Control(HostControl::Ended { .. })) {
                    return Ok(());
                }
            }
            self.taken()?;
        }
        bail!("the session does not end");
    }
}

impl Line for Terminal {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.viewer.typed(Instant::now(), bytes);
        self.transmit()
    }

    fn receive(&mut self) -> Result<&[u8]> {
        loop {
            if self.show()? {
                return Ok(&self.shown);
            }
            if self.viewer.poll_timeout().is_some_and(|due| due <= Instant::now()) {
                self.viewer.handle_timeout(Instant::now());
                self.transmit()?;
            }
            if !self.read()? {
                return Ok(&[]);
            }
        }
    }

    /// As a page does it: while more output waits to be shown, what is shown is acknowledged in larger pieces.
    fn taken(&mut self) -> Result<()> {
        let shown = self.viewer.received();
        self.socket.get_ref().set_nonblocking(true)?;
        let read = self.read();
        self.socket.get_ref().set_nonblocking(false)?;
        read?;
        self.viewer.parsed(Instant::now(), shown);
        self.transmit()
    }
}

/// A session outlives its viewers: one that nobody ends stays.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn as_sent(frame: ViewerFrame) -> tungstenite::Message {
    match frame.encode() {
        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        Message::Text(text) => tungstenite::Message::text(text),
    }
}
