//! What carries the viewer machine: connects, feeds it, sends what it wants, and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use moorline_wire::Code;
use moorline_wire::term::frame::{HostControl, HostFrame, Message};
use moorline_wire::term::viewer::{Viewer, ViewerOutput};
use moorline_wire::term::{SUBPROTOCOL, Size, ViewerFrame, close_number};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::{Command, Seen};
use crate::broker::Broker;
use crate::raw::upgrade_request;
use crate::secure::Secure;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// See the module.
pub(super) struct Driver {
    viewer: Viewer,
    host: String,
    origin: String,
    /// Whoever opened it, outside demo mode.
    cookie: Option<String>,
    through: SocketAddr,
    session: String,
    ticket: Option<String>,
    resume: Option<String>,
    seen: Arc<Seen>,
    orders: mpsc::UnboundedReceiver<Command>,
    /// For another ticket, when neither the first nor a resume token is of use any more.
    tickets: reqwest::RequestBuilder,
    secure: Option<Secure>,
    reading: bool,
}

/// Why a connection is over.
enum Over {
    /// Come back.
    Broken,
    /// Come back with another ticket: this one was used, or the answer with the token was lost.
    Unticketed,
    /// The broker said that it is over, or the test has let go of the terminal.
    Final,
}

impl Driver {
    pub(super) fn new(
        broker: &Broker,
        through: SocketAddr,
        session: &str,
        ticket: String,
        size: Size,
        seen: Arc<Seen>,
        orders: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            viewer: Viewer::new(format!("{:032x}", rand::random::<u128>()), size),
            host: broker.address.to_string(),
            origin: broker.origin(),
            cookie: broker.cookie.clone(),
            through,
            session: session.to_owned(),
            ticket: Some(ticket),
            resume: None,
            seen,
            orders,
            tickets: broker
                .request(reqwest::Method::POST, &format!("/api/v1/sessions/{session}/tickets"))
                .json(&serde_json::json!({})),
            secure: broker.secure.clone(),
            reading: true,
        }
    }

    pub(super) async fn run(mut self) {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            let over = match self.connect().await {
                Ok(socket) => self.carry(socket).await,
                Err(_) => Ok(Over::Broken),
            };
            self.viewer.disconnected(Instant::now());
            match over {
                Ok(Over::Broken) => {}
                Ok(Over::Unticketed) => match self.another_ticket().await {
                    Ok(ticket) => (self.ticket, self.resume) = (Some(ticket), None),
                    Err(error) => return self.seen.change(|now| now.failed = Some(format!("{error:#}"))),
                },
                Ok(Over::Final) => return,
                Err(error) => return self.seen.change(|now| now.failed = Some(format!("{error:#}"))),
            }
        }
    }

    async fn another_ticket(&self) -> Result<String> {
        let request = self.tickets.try_clone().context("a request with a body of bytes can be cloned")?;
        let answer: serde_json::Value = request.send().await?.error_for_status()?.json().await?;
        answer["ticket"].as_str().map(str::to_owned).context("no ticket")
    }

    async fn connect(&self) -> Result<Socket> {
        let stream = TcpStream::connect(self.through).await?;
        stream.set_nodelay(true)?;
        let path = format!("/api/v1/sessions/{}/terminal", self.session);
        let mut request = upgrade_request(&self.host, &path, Some(&self.origin), SUBPROTOCOL)?;
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert("cookie", cookie.parse()?);
        }
        let mut connector = Connector::Plain;
        if let Some(secure) = &self.secure {
            *request.uri_mut() = format!("wss://{}{path}", self.host).parse()?;
            connector = Connector::Rustls(secure.config.clone());
        }
        let (socket, _) = client_async_tls_with_config(request, stream, None, Some(connector)).await?;
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
            if self.show() == Shown::Dead {
                return Ok(Over::Broken);
            }
            if self.send_all(&mut sink).await.is_err() {
                return Ok(Over::Broken);
            }
            let deadline = self.viewer.poll_timeout().map(tokio::time::Instant::from_std);
            tokio::select! {
                message = stream.next(), if self.reading => {
                    if let Some(over) = self.received(message)? {
                        return Ok(over);
                    }
                }
                order = self.orders.recv() => match order {
                    None => return Ok(Over::Final),
                    Some(Command::Cut) => return Ok(Over::Broken),
                    Some(order) => self.carry_out(order, &mut sink).await,
                },
                () = reached(deadline) => self.viewer.handle_timeout(Instant::now()),
            }
        }
    }

    async fn send_all(&mut self, sink: &mut SplitSink<Socket, tungstenite::Message>) -> Result<()> {
        while let Some(frame) = self.viewer.poll_transmit(Instant::now()) {
            sink.send(as_sent(frame)).await?;
        }
        Ok(())
    }

    /// A test that types more than a viewer keeps waits for nothing: it fails.
    fn taken_or_fail<T>(&mut self, take: impl FnOnce(&mut Viewer, Instant, T) -> bool, input: T) {
        if !take(&mut self.viewer, Instant::now(), input) {
            self.seen.change(|now| now.failed = Some("more was typed than the viewer keeps".to_owned()));
        }
    }

    async fn carry_out(&mut self, order: Command, sink: &mut SplitSink<Socket, tungstenite::Message>) {
        let now = Instant::now();
        match order {
            Command::Typed(bytes) => {
                self.taken_or_fail(|viewer, now, bytes: Vec<u8>| viewer.typed(now, &bytes), bytes)
            }
            Command::Pasted(bytes) => self.taken_or_fail(Viewer::pasted, bytes),
            Command::Resize(size) => self.viewer.resize(now, size),
            Command::Read(reading) => self.reading = reading,
            Command::Say(control) => {
                // A socket that breaks here is noticed by whoever reads it.
                let _ = sink.send(as_sent(ViewerFrame::Control(control))).await;
            }
            Command::Cut => {}
        }
    }

    fn received(
        &mut self,
        message: Option<Result<tungstenite::Message, tungstenite::Error>>,
    ) -> Result<Option<Over>> {
        let message = match message {
            Some(Ok(tungstenite::Message::Binary(bytes))) => Message::Binary(bytes),
            Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.to_string()),
            Some(Ok(tungstenite::Message::Close(frame))) => {
                return Ok(Some(self.closed(frame.map(|frame| u16::from(frame.code)))));
            }
            Some(Ok(_)) => return Ok(None),
            Some(Err(_)) | None => return Ok(Some(Over::Broken)),
        };
        let frame = HostFrame::decode(message).context("the broker broke the protocol")?;
        let Some(frame) = frame else { return Ok(None) };
        if let HostFrame::Control(HostControl::Attached { resume, .. }) = &frame {
            self.resume = Some(resume.clone());
            self.ticket = None;
        }
        self.viewer.receive(Instant::now(), frame).context("the broker broke a rule of the protocol")?;
        Ok(None)
    }

    /// Codes below 4000 are the network's, but for the shell's own end (1000): the terminal comes
    /// back. So it does after a failure inside the broker (4500), or behind it (4457).
    fn closed(&mut self, code: Option<u16>) -> Over {
        let exited = close_number(Code::EXITED);
        let again = [Code::INTERNAL.number(), Code::INTERRUPTED.number()];
        let comes_back = |code: u16| (code < 4000 && code != exited) || again.contains(&code);
        match code {
            Some(code) if code == Code::TICKET_EXPIRED.number() => Over::Unticketed,
            Some(code) if !comes_back(code) => {
                self.seen.change(|now| now.closed = Some(code));
                Over::Final
            }
            _ => Over::Broken,
        }
    }

    /// Takes everything that the machine gives, and says that it was parsed.
    fn show(&mut self) -> Shown {
        let mut shown = Shown::All;
        while let Some(output) = self.viewer.poll_output() {
            match output {
                ViewerOutput::Write(bytes) => self.seen.change(|now| now.show(&bytes)),
                ViewerOutput::Rebuild { bytes, .. } => self.seen.change(|now| {
                    // Who attaches after the first prompt gets a screen: where nothing was shown yet, none is rebuilt.
                    now.rebuilt += u64::from(now.shown() > 0);
                    now.show(&bytes);
                }),
                ViewerOutput::Gap { .. } => self.seen.change(|now| now.gaps += 1),
                ViewerOutput::Control(control) => self.told(control),
                ViewerOutput::Dead => shown = Shown::Dead,
                ViewerOutput::Unstable | ViewerOutput::Steady | ViewerOutput::PasteCancelled { .. } => {}
            }
        }
        let received = self.viewer.received();
        self.viewer.parsed(Instant::now(), received);
        shown
    }

    fn told(&self, control: HostControl) {
        self.seen.change(|now| {
            match &control {
                HostControl::Attached { .. } => now.attached += 1,
                HostControl::Live => now.live = true,
                HostControl::Step { step, .. } => now.steps.push(*step),
                HostControl::Ended { ending } => {
                    now.ending = Some(ending.clone());
                    now.ended_at = Some(Instant::now());
                }
                _ => {}
            }
            now.controls.push(control);
        });
    }
}

#[derive(PartialEq)]
enum Shown {
    All,
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
