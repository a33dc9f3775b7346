//! The keeper's side of the socket: its connections, each with what was not yet understood of what came
//! and what was not yet sent.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use moorline_wire::keep::{Decoder, FromKeeper, ToKeeper};
use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};

use super::line::{self, Line};
use super::state::ConnectionId;

/// A session has one broker; beside it, one that was superseded and one that comes.
const CONNECTIONS_MAX: usize = 8;
/// More is not taken from the host while so much waits: an echo is not behind a flood.
const ROOM: usize = 32 * 1024;
/// Who does not read what it is told is not listened to.
const FULL: usize = 128 * 1024;
/// What is read at once: mostly a key, or an acknowledgement.
const PIECE: usize = 4 * 1024;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Something was sent, or somebody came: there may be room.
    Moved,
    /// Something came on this one.
    Came(ConnectionId),
    /// That one is gone.
    Lost(ConnectionId),
}

/// All connections, and the socket they come from.
#[derive(Debug)]
pub struct Connections {
    listener: UnixListener,
    connections: Vec<Connection>,
    last: u64,
    /// What was just read.
    piece: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    line: Line,
    decoder: Decoder,
    out: BytesMut,
    since: Instant,
    has_taken: bool,
    closing: bool,
    broken: bool,
}

impl Connections {
    /// Of this socket; must be called within the runtime.
    pub fn new(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self { listener, connections: Vec::new(), last: 0, piece: Vec::with_capacity(PIECE) })
    }

    /// Waits for what happens next. Nothing is lost when it is given up.
    pub async fn event(&mut self, now: Instant) -> Event {
        std::future::poll_fn(|cx| self.poll_event(now, cx)).await
    }

    /// The next message on a connection. Whoever says something impossible is closed.
    pub fn next_message(&mut self, id: ConnectionId) -> Option<ToKeeper> {
        let connection = self.connections.iter_mut().find(|connection| connection.id == id)?;
        if connection.closing || connection.broken {
            return None;
        }
        loop {
            let raw = match connection.decoder.next_message() {
                Ok(Some(raw)) => raw,
                Ok(None) => return None,
                Err(_) => break,
            };
            match ToKeeper::decode(raw) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        connection.broken = true;
        None
    }

    /// To be sent on that connection.
    pub fn send(&mut self, id: ConnectionId, message: &FromKeeper) {
        if let Some(connection) = self.named(id) {
            message.encode_into(&mut connection.out);
        }
    }

    /// Sends what goes without waiting, so that whatever else is to be done comes after it.
    pub fn send_now(&mut self) {
        self.connections.iter_mut().for_each(Connection::send_now);
    }

    /// Whether that connection has room for another message.
    pub fn has_room(&self, id: ConnectionId) -> bool {
        let of_it = |connection: &&Connection| connection.id == id && !connection.closing;
        self.connections.iter().find(of_it).is_some_and(|connection| connection.out.len() < ROOM)
    }

    /// It has said what it wants.
    pub fn has_taken(&mut self, id: ConnectionId) {
        if let Some(connection) = self.named(id) {
            connection.has_taken = true;
        }
    }

    /// Nothing more is heard from it; it is closed when everything is sent.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.named(id) {
            connection.closing = true;
        }
    }

    /// Those that came before then and have not said what they want are closed.
    pub fn close_silent(&mut self, came_before: Instant) {
        for connection in self.connections.iter_mut().filter(|connection| connection.since < came_before) {
            connection.broken |= !connection.has_taken;
        }
    }

    /// The oldest that has not said what it wants came then.
    pub fn silent_since(&self) -> Option<Instant> {
        self.connections.iter().filter(|connection| !connection.has_taken).map(|silent| silent.since).min()
    }

    /// Whether everything is sent.
    pub fn is_flushed(&self) -> bool {
        self.connections.iter().all(|connection| connection.out.is_empty() || connection.broken)
    }

    fn named(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn poll_event(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Event> {
        // Out of descriptors, say: whoever comes waits until somebody goes.
        while let Poll::Ready(Ok((stream, _))) = self.listener.poll_accept(cx) {
            self.welcome(stream, now);
        }
        let mut moved = false;
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            let (id, waiting) = (connection.id, connection.out.len());
            let came = connection.poll(cx, &mut self.piece);
            if connection.is_over() {
                self.connections.remove(index);
                return Poll::Ready(Event::Lost(id));
            }
            moved |= connection.out.len() < waiting;
            if came {
                // In turns.
                self.connections.rotate_left(index + 1);
                return Poll::Ready(Event::Came(id));
            }
        }
        if moved { Poll::Ready(Event::Moved) } else { Poll::Pending }
    }

    /// Only the login itself and root may speak to its keeper, whatever the folder's mode has become.
    fn welcome(&mut self, stream: UnixStream, now: Instant) {
        let own = geteuid().as_raw();
        let line = Line::new(stream);
        let known = line.peer_uid().is_ok_and(|uid| uid == own || uid == 0);
        if !known || !self.make_room() {
            return;
        }
        self.last += 1;
        self.connections.push(Connection {
            id: ConnectionId(self.last),
            line,
            decoder: Decoder::plain(),
            out: BytesMut::new(),
            since: now,
            has_taken: false,
            closing: false,
            broken: false,
        });
    }
}

impl Connections {
    /// A broker that nobody can reach any more does not read that it was superseded.
    fn make_room(&mut self) -> bool {
        let full = self.connections.len() >= CONNECTIONS_MAX;
        let closing = self.connections.iter().position(|connection| connection.closing);
        let silent = || self.connections.iter().position(|connection| !connection.has_taken);
        match closing.or_else(silent).filter(|_| full) {
            Some(index) => drop(self.connections.remove(index)),
            None if full => return false,
            None => {}
        }
        true
    }
}

impl Connection {
    fn is_over(&self) -> bool {
        self.broken || (self.closing && self.out.is_empty())
    }

    /// Sends and reads without waiting. Whether something came.
    fn poll(&mut self, cx: &mut Context<'_>, piece: &mut Vec<u8>) -> bool {
        while !self.out.is_empty() && !self.broken {
            match self.line.poll_write(cx, &self.out) {
                Poll::Ready(Ok(written)) => self.sent(written),
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Pending => break,
            }
        }
        while !self.closing && !self.broken && self.out.len() < FULL {
            piece.clear();
            match self.line.poll_read(cx, piece) {
                Poll::Ready(Ok(0) | Err(_)) => self.broken = true,
                Poll::Ready(Ok(_)) => {
                    self.decoder.push(piece);
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Sends what goes at once; `poll` sends the rest, and sees what is broken.
    fn send_now(&mut self) {
        while !self.out.is_empty() && !self.broken {
            match self.line.try_write(&self.out) {
                Ok(written) => self.sent(written),
                Err(err) if line::is_for_later(&err) => break,
                Err(_) => self.broken = true,
            }
        }
    }

    fn sent(&mut self, written: usize) {
        self.out.advance(written);
        if self.out.is_empty() {
            // What a snapshot took is given back.
            self.out = BytesMut::new();
        }
    }
}
