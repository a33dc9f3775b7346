//! A terminal as frames: it acknowledges what it is told to, counts offsets, and keeps no screen, so that it
//! is never what is slow.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use moorline_tests::raw::upgrade_request;
use moorline_tests::{Broker, wait};
use moorline_wire::term::{HostControl, HostFrame, Message, SUBPROTOCOL, Size, ViewerControl, ViewerFrame};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

/// What a page acknowledges at once: a quarter of the window that is shipped.
const ACKNOWLEDGED_BYTES: u64 = 64 * 1024;

/// Longer than anything takes on the slowest line.
const PATIENCE: Duration = Duration::from_secs(90);

/// How much of what was shown is searched for a text that came in two pieces.
const TAIL_BYTES: usize = 256;

/// See the module.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    host: String,
    origin: String,
    /// The session's id.
    pub session: String,
    viewer: String,
    resume: String,
    /// How much of the output is here.
    pub at: u64,
    acknowledged: u64,
    /// How much was typed, and how much of it the program's side has taken.
    typed: u64,
    /// See `typed`.
    pub taken: u64,
    /// The most output, and the most input, that may be unacknowledged.
    pub window: u64,
    in_window: u64,
    /// How often it was told that output is gone.
    pub gaps: u64,
    /// Whether what comes is parsed, and so acknowledged.
    pub parses: bool,
}

/// What came.
#[derive(Debug)]
pub enum Got {
    /// Output.
    Output(Bytes),
    /// The shell is there.
    Live,
    /// Something else.
    Other,
    /// The connection is over.
    Closed,
}

impl Client {
    /// Opens a session on the device.
    pub async fn open(broker: &Broker, device: &str) -> Result<Self> {
        Self::open_through(broker, device, broker.address).await
    }

    /// The same by way of that address.
    pub async fn open_through(broker: &Broker, device: &str, through: SocketAddr) -> Result<Self> {
        let (session, ticket) = broker.open(device).await?;
        let (host, origin) = (broker.address.to_string(), broker.origin());
        let socket = connect(&host, &origin, &session, through).await?;
        let viewer = format!("{:032x}", rand::random::<u128>());
        let mut client = Self {
            socket,
            host,
            origin,
            session,
            viewer,
            resume: String::new(),
            at: 0,
            acknowledged: 0,
            typed: 0,
            taken: 0,
            window: 0,
            in_window: 0,
            gaps: 0,
            parses: true,
        };
        client.hello(Some(ticket), None).await?;
        Ok(client)
    }

    /// Comes back after its connection broke, and wants what it has not.
    pub async fn comes_back(&mut self, through: SocketAddr) -> Result<()> {
        self.socket = connect(&self.host, &self.origin, &self.session, through).await?;
        let resume = std::mem::take(&mut self.resume);
        self.hello(None, Some(resume)).await
    }

    async fn hello(&mut self, ticket: Option<String>, resume: Option<String>) -> Result<()> {
        let hello = ViewerControl::Hello {
            ticket,
            resume,
            have: Some(self.at),
            viewer: self.viewer.clone(),
            in_next: self.typed,
            size: Size { cols: 80, rows: 24, xpx: 0, ypx: 0 },
            role: None,
            caps: Vec::new(),
        };
        self.send(ViewerFrame::Control(hello)).await
    }

    async fn send(&mut self, frame: ViewerFrame) -> Result<()> {
        let message = match frame.encode() {
            Message::Binary(bytes) => tungstenite::Message::binary(bytes),
            Message::Text(text) => tungstenite::Message::text(text),
        };
        Ok(self.socket.send(message).await?)
    }

    /// What comes next. Whoever gives up waiting for it loses nothing.
    pub async fn next(&mut self) -> Result<Got> {
        if self.parses && self.at > self.acknowledged {
            // All that is here has been taken, or it is enough to be worth a word.
            let idle = self.at - self.acknowledged < ACKNOWLEDGED_BYTES;
            let ready = if idle { self.socket.next().now_or_never() } else { None };
            match ready {
                Some(message) => return self.received(message),
                None => self.acknowledge().await,
            }
        }
        let message = self.socket.next().await;
        self.received(message)
    }

    async fn acknowledge(&mut self) {
        self.acknowledged = self.at;
        // A connection that is over is noticed by reading it.
        let _ = self.send(ViewerFrame::Ack { offset: self.at }).await;
    }

    fn received(&mut self, message: Option<Result<tungstenite::Message, tungstenite::Error>>) -> Result<Got> {
        let message = match message {
            Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes),
            Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.to_string()),
            Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => return Ok(Got::Closed),
            Some(Ok(_)) => return Ok(Got::Other),
        };
        match HostFrame::decode(message)? {
            Some(HostFrame::Out { offset, bytes }) => {
                ensure!(offset == self.at, "output from {offset} came where {} was due", self.at);
                self.at += bytes.len() as u64;
                return Ok(Got::Output(bytes));
            }
            Some(HostFrame::Snap { offset, .. }) => self.at = offset,
            Some(HostFrame::InAck { offset }) => self.taken = offset,
            Some(HostFrame::Control(control)) => return self.told(control),
            Some(HostFrame::Pong { .. }) | None => {}
        }
        Ok(Got::Other)
    }

    fn told(&mut self, control: HostControl) -> Result<Got> {
        match control {
            HostControl::Attached { resume, from, in_ack, window, in_window, gap, snapshot, .. } => {
                ensure!(snapshot || gap.is_some() || from == self.at, "{from} where {} was asked", self.at);
                (self.resume, self.taken, self.acknowledged) = (resume, in_ack, self.at);
                (self.window, self.in_window) = (u64::from(window), u64::from(in_window));
                self.gaps += u64::from(gap.is_some());
            }
            HostControl::Gap(_) => self.gaps += 1,
            HostControl::Live => return Ok(Got::Live),
            HostControl::Ended { ending } => bail!("the session has ended: {ending:?}"),
            HostControl::Error { text, .. } => bail!("the attach failed: {text}"),
            _ => {}
        }
        Ok(Got::Other)
    }

    /// Types.
    pub async fn types(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        let offset = self.typed;
        self.typed += bytes.len() as u64;
        self.send(ViewerFrame::In { offset, bytes }).await
    }

    /// Whether so much more may be typed before something is taken.
    pub fn may_type(&self, bytes: usize) -> bool {
        self.typed + bytes as u64 <= self.taken + self.in_window
    }

    /// Waits until this is shown; gives what was shown after it.
    pub async fn shows(&mut self, text: &str) -> Result<Vec<u8>> {
        let mut shown: Vec<u8> = Vec::new();
        let search = async {
            loop {
                match self.next().await? {
                    Got::Output(bytes) => shown.extend_from_slice(&bytes),
                    Got::Closed => bail!("the connection has ended"),
                    Got::Live | Got::Other => continue,
                }
                if let Some(at) = shown.windows(text.len()).position(|part| part == text.as_bytes()) {
                    return Ok(shown.split_off(at + text.len()));
                }
                shown.drain(..shown.len().saturating_sub(TAIL_BYTES));
            }
        };
        wait::within(PATIENCE, text, search).await?
    }

    /// Waits for a shell that takes commands.
    pub async fn ready(&mut self) -> Result<()> {
        wait::within(PATIENCE, "the shell to be there", async {
            loop {
                match self.next().await? {
                    Got::Live => return Ok(()),
                    Got::Closed => bail!("the connection has ended"),
                    Got::Output(_) | Got::Other => {}
                }
            }
        })
        .await??;
        self.types("PS1=\"$(printf '%s%s ' RE ADY)\"; PROMPT_COMMAND=; unset HISTFILE\r").await?;
        self.shows("READY ").await.map(drop)
    }

    /// Runs a command after a word that only its output has; gives what was shown after that word.
    pub async fn runs(&mut self, command: &str) -> Result<Vec<u8>> {
        // The word is put together by the shell, so that the echo of the line has none of it.
        self.types(format!("printf '%s%s\\n' BE GUN; {command}\r")).await?;
        self.shows("BEGUN\r\n").await
    }
}

async fn connect(
    host: &str,
    origin: &str,
    session: &str,
    through: SocketAddr,
) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(through).await?;
    stream.set_nodelay(true)?;
    let path = format!("/api/v1/sessions/{session}/terminal");
    let request = upgrade_request(host, &path, Some(origin), SUBPROTOCOL)?;
    let (socket, _) = wait::within(PATIENCE, "the upgrade", tokio_tungstenite::client_async(request, stream))
        .await?
        .context("the upgrade was refused")?;
    Ok(socket)
}
