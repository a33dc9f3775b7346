//! WebSockets: the only file that knows `actix-web-actors`.
//!
//! A WebSocket's actor *is* the body of its HTTP answer, which [`carriage`] sends: while the peer does not read, it is not
//! polled at all, its timers and messages included. So it does nothing but pump frames between
//! the wire and two bounded pipes, [`SocketEnds`]; who speaks over the socket lives elsewhere,
//! with timers that run however stuck the socket is. What ends a connection whose peer stopped
//! reading is `TCP_USER_TIMEOUT`, set by [`tune`].
//!
//! Both directions are bounded: outwards the channel is only read while the write buffer has room,
//! inwards the socket is not read while the channel is full. permessage-deflate is never
//! negotiated: a shared window over secrets and foreign text gives them away by length.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler};
use actix_http::ws::Item;
use actix_web::body::BoxBody;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use moorline_wire::Code;
use socket2::{SockRef, TcpKeepalive};
use tracing::debug;

use self::announced::Announced;
use self::front::{Front, Inward, Passed};
use crate::clock;
use crate::metrics::Left;
use crate::pipe::{self, Refused, pipe};
use crate::problem::Problem;

mod announced;
mod carriage;
mod front;
mod reflex;

pub use carriage::upgrades;
pub use reflex::{Answers, Heard, Reflex};

/// Messages between the wire and us, each way. Few: what waits here can no longer be overtaken.
const CHANNEL: usize = 8;

/// A message may come in so many pieces.
const FRAGMENTS_MAX: usize = 16;

/// RFC 6455 section 5.5: a control frame has at most 125 bytes, two of which are the code.
const REASON_BYTES_MAX: usize = 123;

/// How long the peer may take to answer our close before the connection is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Our two ends of a WebSocket.
#[derive(Debug)]
pub struct SocketEnds {
    /// What the peer sent. Closed: the socket is gone. Dropped by us: the socket closes, after
    /// what is already in `outgoing`.
    pub incoming: pipe::Receiver<Incoming>,
    /// What is to be sent to the peer. Every sender dropped: the socket closes.
    pub outgoing: pipe::Sender<Outgoing>,
    /// What the socket does by itself with what comes.
    pub reflex: Reflex,
    /// How the peer went.
    pub gone: Gone,
}

/// How a peer went: known once `incoming` is closed.
#[derive(Debug, Clone, Default)]
pub struct Gone(Arc<OnceLock<Left>>);

impl Gone {
    /// For the metrics.
    pub fn how(&self) -> Left {
        self.0.get().copied().unwrap_or(Left::Cut)
    }

    /// The first word counts.
    fn tell(&self, how: Left) {
        let _ = self.0.set(how);
    }
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
    /// Close, with a reason in words. Nothing is sent after it.
    Close(Code, String),
}

/// What kind of socket it is.
#[derive(Debug, Clone, Copy)]
pub struct SocketKind {
    /// The subprotocol that the peer must offer.
    pub protocol: &'static str,
    /// The largest message that the peer may send.
    pub frame_max: usize,
    /// Protocol pings: how often, and after how long without a sign of life the socket is dead.
    pub ping: Option<(Duration, Duration)>,
    /// The number that a code has in this protocol's close frames.
    pub close_number: fn(Code) -> u16,
}

/// Answers an upgrade request. A peer that does not offer the subprotocol is accepted and then
/// closed with `VERSION`: a refused upgrade would tell a browser nothing.
pub fn upgrade(
    req: &HttpRequest,
    payload: web::Payload,
    kind: SocketKind,
) -> Result<(HttpResponse, SocketEnds), Problem> {
    let (to_us, incoming) = pipe(CHANNEL);
    let (outgoing, from_us) = pipe(CHANNEL);
    let inward = Rc::new(Inward::new(to_us));
    let (reflex, gone) = (Reflex::default(), Gone::default());
    let socket = Socket {
        kind,
        reflex: reflex.clone(),
        inward: Rc::clone(&inward),
        from_us: Some(from_us),
        gone: gone.clone(),
        refuse: !offers(req, kind.protocol),
        heard: clock::now(),
        pieces: Pieces::default(),
        closing: false,
    };
    let answer = ws::WsResponseBuilder::new(socket, req, Passed(Rc::clone(&inward)))
        .protocols(&[kind.protocol])
        .frame_size(kind.frame_max)
        .start()
        .map_err(|err| {
            Problem::new(Code::BAD_REQUEST)
                .saying("This address takes WebSockets only. Open it with an upgrade request.")
                .because(anyhow::anyhow!("{err}"))
        })?;
    let bytes = Announced::new(payload, kind.frame_max);
    let answer = answer.map_body(|_, actor| BoxBody::new(Front::new(bytes, actor, inward, reflex.clone())));
    Ok((answer, SocketEnds { incoming, outgoing, reflex, gone }))
}

fn offers(req: &HttpRequest, protocol: &str) -> bool {
    req.headers()
        .get_all("sec-websocket-protocol")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == protocol)
}

/// Sets up an accepted TCP connection.
pub fn tune(stream: &tokio::net::TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    // A peer that vanished while we write is otherwise unseen for 15 minutes.
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    // What is not yet sent stays in our hands, where a keystroke's echo can go ahead of it.
    socket.set_tcp_notsent_lowat(32 * 1024)
}

/// The pump.
struct Socket {
    kind: SocketKind,
    reflex: Reflex,
    inward: Rc<Inward>,
    from_us: Option<pipe::Receiver<Outgoing>>,
    gone: Gone,
    /// The peer did not offer our subprotocol.
    refuse: bool,
    /// When the peer last sent anything.
    heard: Instant,
    pieces: Pieces,
    /// A close was sent; only the peer's answer is awaited.
    closing: bool,
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.refuse {
            self.inward.to_us.take();
            return self.close(ctx, Code::VERSION, Code::VERSION.sentence());
        }
        let to_us = self.inward.to_us.borrow().clone();
        if let (Some(from_us), Some(to_us)) = (self.from_us.take(), to_us) {
            ctx.add_stream(outwards(from_us, to_us));
        }
        if let Some((every, dead)) = self.kind.ping {
            self.watch(ctx, clock::now() + every, every, dead);
        }
    }
}

/// What we send, until every sender or the receiver of what comes in is dropped.
fn outwards(
    from_us: pipe::Receiver<Outgoing>,
    to_us: pipe::Sender<Incoming>,
) -> impl futures_util::Stream<Item = Outgoing> {
    stream::unfold((from_us, to_us), |(mut from_us, to_us)| async move {
        let message = tokio::select! {
            biased;
            message = from_us.recv() => message,
            () = to_us.closed() => {
                // No more is taken, but what was said before still goes out.
                from_us.close();
                from_us.recv().await
            }
        };
        message.map(|message| (message, (from_us, to_us)))
    })
}

impl StreamHandler<Outgoing> for Socket {
    fn handle(&mut self, message: Outgoing, ctx: &mut Self::Context) {
        if self.closing {
            return;
        }
        match message {
            Outgoing::Binary(bytes) => ctx.binary(bytes),
            Outgoing::Text(text) => ctx.text(text),
            Outgoing::Close(code, text) => self.close(ctx, code, &text),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if !self.closing {
            self.close_with(ctx, CloseReason { code: CloseCode::Normal, description: None });
        }
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        self.heard = clock::now();
        match message {
            Ok(Message::Close(reason)) => self.closed_by_peer(ctx, reason),
            // After our close only the peer's is of interest.
            _ if self.closing => {}
            Ok(Message::Binary(bytes)) => match self.inward.react(&self.reflex, &Heard::Any(&bytes)) {
                Some(answers) => answers.into_iter().flatten().for_each(|answer| ctx.binary(answer)),
                None => self.pass_in(ctx, Incoming::Binary(bytes)),
            },
            Ok(Message::Text(text)) => self.pass_in(ctx, Incoming::Text(text.into())),
            Ok(Message::Continuation(item)) => match self.pieces.add(item, self.kind.frame_max) {
                Ok(Some(message)) => self.pass_in(ctx, message),
                Ok(None) => {}
                Err(code) => {
                    self.gone.tell(Left::Broken);
                    self.close(ctx, code, code.sentence());
                }
            },
            Ok(Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Err(err) => {
                let too_large = self.inward.too_large.get() || matches!(err, ProtocolError::Overflow);
                let code = if too_large { Code::TOO_LARGE } else { Code::PROTOCOL };
                debug!(%err, "websocket broken off");
                // A connection that breaks off comes as an error of reading.
                if too_large || !matches!(err, ProtocolError::Io(_)) {
                    self.gone.tell(Left::Broken);
                }
                self.close(ctx, code, code.sentence());
                // Nothing that follows a broken frame can be read.
                ctx.stop();
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Socket {
    /// Gives a message to our side; while there is no room, the socket is not read.
    fn pass_in(&mut self, ctx: &mut WebsocketContext<Self>, message: Incoming) {
        let to_us = self.inward.to_us.borrow();
        let Some(to_us) = &*to_us else { return };
        match to_us.try_send(message) {
            Ok(()) | Err(Refused::Closed(_)) => {}
            Err(Refused::Full(message)) => {
                self.inward.waits.set(true);
                let to_us = to_us.clone();
                let wait = async move {
                    // Nobody there any more: the outward stream ends and closes the socket.
                    let _ = to_us.send(message).await;
                };
                // That we did not listen is not the peer's silence.
                ctx.wait(wait.into_actor(self).map(|(), socket, _| {
                    socket.inward.waits.set(false);
                    socket.heard = clock::now();
                }));
            }
        }
    }

    /// Sleeps until the next ping, or until the peer was silent for too long, whichever is first.
    fn watch(&self, ctx: &mut WebsocketContext<Self>, next_ping: Instant, every: Duration, dead: Duration) {
        let next = next_ping.min(self.heard + dead);
        ctx.run_later(next.saturating_duration_since(clock::now()), move |socket, ctx| {
            let now = clock::now();
            if now >= socket.heard + dead {
                debug!("websocket is dead");
                socket.gone.tell(Left::Silent);
                return ctx.stop();
            }
            let mut next_ping = next_ping;
            if now >= next_ping {
                next_ping = now + every;
                if !socket.closing {
                    ctx.ping(b"");
                }
            }
            socket.watch(ctx, next_ping, every, dead);
        });
    }

    fn close(&mut self, ctx: &mut WebsocketContext<Self>, code: Code, text: &str) {
        let description = (!text.is_empty()).then(|| cut(text, REASON_BYTES_MAX).to_owned());
        self.close_with(
            ctx,
            CloseReason { code: CloseCode::from((self.kind.close_number)(code)), description },
        );
    }

    /// Sends the close and waits a moment for the peer's: dropping the connection at once could
    /// take the close frame with it.
    fn close_with(&mut self, ctx: &mut WebsocketContext<Self>, reason: CloseReason) {
        self.closing = true;
        self.inward.to_us.take();
        ctx.close(Some(reason));
        ctx.run_later(CLOSE_WITHIN, |_, ctx| ctx.stop());
    }

    fn closed_by_peer(&mut self, ctx: &mut WebsocketContext<Self>, reason: Option<CloseReason>) {
        if !self.closing {
            self.gone.tell(Left::Closed);
            ctx.close(reason.map(|reason| CloseReason { code: reason.code, description: None }));
        }
        ctx.stop();
    }
}

/// A message that comes in pieces.
#[derive(Debug, Default)]
struct Pieces {
    text: bool,
    count: usize,
    bytes: BytesMut,
}

impl Pieces {
    /// The whole message, once its last piece is there.
    fn add(&mut self, item: Item, frame_max: usize) -> Result<Option<Incoming>, Code> {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => (self.begin(true, bytes), false),
            Item::FirstBinary(bytes) => (self.begin(false, bytes), false),
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        self.count += 1;
        if self.count > FRAGMENTS_MAX || self.bytes.len() + bytes.len() > frame_max {
            return Err(Code::TOO_LARGE);
        }
        self.bytes.extend_from_slice(&bytes);
        if !last {
            return Ok(None);
        }
        let whole = self.bytes.split().freeze();
        if !self.text {
            return Ok(Some(Incoming::Binary(whole)));
        }
        match String::from_utf8(whole.into()) {
            Ok(text) => Ok(Some(Incoming::Text(text))),
            Err(_) => Err(Code::PROTOCOL),
        }
    }

    fn begin(&mut self, text: bool, bytes: Bytes) -> Bytes {
        *self = Self { text, ..Self::default() };
        bytes
    }
}

/// As much of the text as fits, whole characters only.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
