//! What carries the viewer machine over one WebSocket after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use moorline_tests::Broker;
use moorline_tests::raw::upgrade_request;
use moorline_wire::Code;
use moorline_wire::term::frame::{HostControl, HostFrame, Message};
use moorline_wire::term::viewer::{Viewer, ViewerOutput};
use moorline_wire::term::{SUBPROTOCOL, ViewerControl, ViewerFrame, close_number};
use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::{Order, SIZE, Seen, Snapshot};
use crate::pause::pause;

type Socket = WebSocketStream<TcpStream>;
type Sink = SplitSink<Socket, tungstenite::Message>;
type Heard = SplitStream<Socket>;

/// The longest wait before the first two tries, before the next twelve, and before each further one; a
/// random part of it is taken.
const WAITS: [Duration; 18] = {
    let mut waits = [Duration::from_secs(1); 18];
    waits[0] = Duration::from_millis(250);
    waits[1] = Duration::from_millis(500);
    waits[14] = Duration::from_secs(2);
    waits[15] = Duration::from_secs(4);
    waits[16] = Duration::from_secs(8);
    waits[17] = Duration::from_secs(10);
    waits
};
/// No browser loads a page faster. What was typed just before is on another connection: a page that
/// came back at once might overtake it.
const LOADING: Duration = Duration::from_millis(50);
/// No try takes longer: a black hole swallows connections as well.
const DIALLING: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Driver {
    viewer: Viewer,
    key: String,
    host: String,
    origin: String,
    through: SocketAddr,
    session: String,
    ticket: Option<String>,
    resume: Option<String>,
    seen: Arc<Seen>,
    orders: mpsc::UnboundedReceiver<Order>,
    tickets: reqwest::RequestBuilder,
    /// Failed tries since the terminal was last attached.
    tries: usize,
    /// The next stretch of output is the first after a reload.
    reloaded: bool,
}

/// Why a connection is over.
enum Over {
    /// The network broke.
    Broken,
    /// The broker said that it comes back at once.
    Soon,
    /// Neither ticket nor token is of use any more.
    Unticketed,
    /// The page is loaded again.
    Reload,
    /// Nobody wants the terminal any more.
    Dropped,
}

impl Driver {
    pub(super) fn new(
        broker: &Broker,
        through: SocketAddr,
        session: &str,
        ticket: String,
        seen: Arc<Seen>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let key = format!("{:032x}", rand::random::<u128>());
        let path = format!("/api/v1/sessions/{session}/tickets");
        Self {
            viewer: Viewer::new(key.clone(), SIZE),
            key,
            host: broker.address.to_string(),
            origin: broker.origin(),
            through,
            session: session.to_owned(),
            ticket: Some(ticket),
            resume: None,
            seen,
            orders,
            tickets: broker.request(reqwest::Method::POST, &path).json(&serde_json::json!({})),
            tries: 0,
            reloaded: false,
        }
    }

    /// Comes back until the session is over, and says why it is.
    pub(super) async fn run(mut self) {
        loop {
            let over = match tokio::time::timeout(DIALLING, self.connect()).await {
                Ok(Ok(socket)) => self.carry(socket).await,
                Ok(Err(_)) | Err(_) => Ok(Over::Broken),
            };
            self.viewer.disconnected(Instant::now());
            let wait = match over {
                Ok(Over::Dropped) => return,
                Ok(Over::Reload) => {
                    self.viewer = Viewer::new(self.key.clone(), SIZE);
                    self.reloaded = true;
                    Duration::ZERO
                }
                Ok(Over::Soon) if self.tries == 0 => self.wait().min(WAITS[0]),
                Ok(Over::Soon | Over::Broken) => self.wait(),
                Ok(Over::Unticketed) => match self.another_ticket().await {
                    Ok(()) => Duration::ZERO,
                    Err(error) => return self.end(&error),
                },
                Err(error) => return self.end(&error),
            };
            pause(wait).await;
        }
    }

    fn end(&self, error: &anyhow::Error) {
        self.seen.tell(|now| now.over = Some(format!("{error:#}")));
    }

    fn wait(&mut self) -> Duration {
        let longest = WAITS[self.tries.min(WAITS.len() - 1)];
        self.tries += 1;
        longest.mul_f64(rand::rng().random_range(0.0..1.0))
    }

    /// Asks for another ticket until one is given or refused for good.
    async fn another_ticket(&mut self) -> Result<()> {
        loop {
            let request = self.tickets.try_clone().context("a request with a body of bytes can be cloned")?;
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if status.is_success() {
                    let json: serde_json::Value = answer.json().await?;
                    let ticket = json["ticket"].as_str().context("no ticket")?;
                    (self.ticket, self.resume) = (Some(ticket.to_owned()), None);
                    return Ok(());
                }
                if status.is_client_error() {
                    bail!("no other ticket: {status} {}", answer.text().await.unwrap_or_default());
                }
            }
            let wait = self.wait();
            pause(wait).await;
        }
    }

    async fn connect(&self) -> Result<Socket> {
        let stream = TcpStream::connect(self.through).await?;
        stream.set_nodelay(true)?;
        let path = format!("/api/v1/sessions/{}/terminal", self.session);
        let request = upgrade_request(&self.host, &path, Some(&self.origin), SUBPROTOCOL)?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(socket)
    }

    async fn carry(&mut self, socket: Socket) -> Result<Over> {
        let (mut sink, mut stream) = socket.split();
        let hello = self.viewer.hello(self.ticket.clone(), self.resume.clone());
        self.viewer.connected(Instant::now());
        if sink.send(as_sent(hello)).await.is_err() {
            return Ok(Over::Broken);
        }
        loop {
            if self.show() == Line::Dead || self.send_all(&mut sink).await.is_err() {
                return Ok(Over::Broken);
            }
            let deadline = self.viewer.poll_timeout().map(tokio::time::Instant::from_std);
            tokio::select! {
                message = stream.next() => {
                    if let Some(over) = self.received(message)? {
                        return Ok(over);
                    }
                }
                order = self.orders.recv() => match order {
                    None => return Ok(Over::Dropped),
                    Some(Order::Type(bytes)) => self.take(&bytes)?,
                    Some(Order::Reload) => {
                        self.leave(&mut sink, &mut stream).await;
                        return Ok(Over::Reload);
                    }
                },
                () = reached(deadline) => self.viewer.handle_timeout(Instant::now()),
            }
        }
    }

    /// Says that it goes, and goes when its successor is loaded; until then the page hears on, for nothing. What was
    /// typed before is on its way already: a browser's socket sends it before it closes.
    async fn leave(&mut self, sink: &mut Sink, stream: &mut Heard) {
        self.viewer.send(ViewerControl::Leaving);
        let _ = self.send_all(sink).await;
        let hears_on = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = tokio::time::timeout(LOADING, hears_on).await;
        let _ = sink.close().await;
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match self.viewer.typed(Instant::now(), bytes) {
            true => Ok(()),
            false => bail!("more was typed than a viewer keeps"),
        }
    }

    async fn send_all(&mut self, sink: &mut Sink) -> Result<()> {
        while let Some(frame) = self.viewer.poll_transmit(Instant::now()) {
            sink.send(as_sent(frame)).await?;
        }
        Ok(())
    }

    fn received(
        &mut self,
        message: Option<Result<tungstenite::Message, tungstenite::Error>>,
    ) -> Result<Option<Over>> {
        let message = match message {
            Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes),
            Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.to_string()),
            Some(Ok(tungstenite::Message::Close(frame))) => {
                return closed(frame.map(|frame| u16::from(frame.code))).map(Some);
            }
            Some(Ok(_)) => return Ok(None),
            Some(Err(_)) | None => return Ok(Some(Over::Broken)),
        };
        let frame = HostFrame::decode(message).context("the broker broke the protocol")?;
        let Some(frame) = frame else { return Ok(None) };
        self.viewer.receive(Instant::now(), frame).context("the broker broke a rule of the protocol")?;
        Ok(None)
    }

    /// Takes everything that the machine gives, and says that it was parsed.
    fn show(&mut self) -> Line {
        let mut line = Line::Alive;
        let mut written = Vec::new();
        while let Some(output) = self.viewer.poll_output() {
            match output {
                ViewerOutput::Write(bytes) => written.extend_from_slice(&bytes),
                ViewerOutput::Rebuild { cols, rows, bytes } => {
                    let offset = self.viewer.received();
                    let snapshot = Snapshot { offset, size: (cols, rows), bytes: bytes.to_vec() };
                    self.seen.shown.lock().expect("no panic holds it").snapshots.push(snapshot);
                }
                ViewerOutput::Control(control) => self.told(control),
                ViewerOutput::Dead => line = Line::Dead,
                // A gap shows in the offsets; the rest is for people.
                _ => {}
            }
        }
        let received = self.viewer.received();
        if !written.is_empty() {
            let reloaded = std::mem::take(&mut self.reloaded);
            self.seen.show(received - written.len() as u64, &written, reloaded);
        }
        self.viewer.parsed(Instant::now(), received);
        line
    }

    fn told(&mut self, control: HostControl) {
        if let HostControl::Attached { resume, .. } = control {
            (self.resume, self.ticket, self.tries) = (Some(resume), None, 0);
        }
    }
}

/// What a close frame means; an error when the session is over by it.
fn closed(code: Option<u16>) -> Result<Over> {
    let Some(code) = code else { return Ok(Over::Broken) };
    let soon = [close_number(Code::GOING_AWAY), close_number(Code::INTERRUPTED)];
    let broken = [Code::INTERNAL, Code::OVERLOADED, Code::STORE_FAILED, Code::HELLO_TIMEOUT, Code::LINK_DEAD];
    match code {
        code if soon.contains(&code) => Ok(Over::Soon),
        code if code == Code::TICKET_EXPIRED.number() => Ok(Over::Unticketed),
        code if broken.iter().any(|known| known.number() == code) => Ok(Over::Broken),
        code if code == close_number(Code::EXITED) || code >= 4000 => {
            bail!("closed with {:?}", Code::from_number(code))
        }
        _ => Ok(Over::Broken),
    }
}

#[derive(PartialEq)]
enum Line {
    Alive,
    Dead,
}

fn as_sent(frame: ViewerFrame) -> tungstenite::Message {
    match frame.encode() {
        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        Message::Text(text) => tungstenite::Message::text(text),
    }
}

async fn reached(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
