//! A line with a rate and a length: what a router at its end does with what is given to it.
//!
//! Bytes leave at the line's rate, one after the other, and arrive one `delay` later. Whoever sends faster fills
//! the router's queue, which is the only one: it takes no more while it is full, and the sockets before and behind
//! it hold next to nothing, so that what waits elsewhere waits in the hands of the programs that are tested.
//! A real router drops what its queue has no room for; here the sender's TCP is held back instead, so the queue
//! stands full for as long as somebody sends more than the line carries: the harder case for an echo.

use std::io;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::TcpMaxSeg};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

/// A segment of an Ethernet's size. The loopback's own have 64 KiB: nearly all of a queue.
pub(super) const SEGMENT: usize = 1448;

/// What a socket of ours holds: some segments, as the kernel counts them with its own overhead.
const SOCKET_BYTES: usize = 8 * 1024;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// How much it carries each way.
    pub bits_per_second: u64,
    /// How long a byte is under way, besides what it waits.
    pub delay: Duration,
    /// How much waits before it, each way.
    pub queue_bytes: usize,
}

impl Line {
    fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second as f64)
    }

    /// How many segments wait and are under way at the most, with room for many that are short.
    pub(super) fn segments(&self) -> usize {
        let under_way = self.bits_per_second as f64 / 8.0 * self.delay.as_secs_f64();
        4 * (self.queue_bytes + under_way as usize) / SEGMENT + 64
    }
}

/// The end of a line that bytes are given to.
#[derive(Debug)]
pub(super) struct Sending {
    line: Line,
    /// When all that was given to it has left.
    idle_at: Instant,
}

impl Sending {
    pub(super) fn new(line: Line) -> Self {
        Self { line, idle_at: Instant::now() }
    }

    /// From when on there is room for another segment.
    pub(super) fn room_at(&self) -> Instant {
        let queue = self.line.time_of(self.line.queue_bytes.saturating_sub(SEGMENT));
        self.idle_at.checked_sub(queue).unwrap_or(self.idle_at)
    }

    /// Takes this much; gives when it arrives.
    pub(super) fn arrives_at(&mut self, bytes: usize) -> Instant {
        self.idle_at = self.idle_at.max(Instant::now()) + self.line.time_of(bytes);
        self.idle_at + self.line.delay
    }
}

/// A listener whose connections hide no queue. What is set on it, they have from their first segment on.
pub(super) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    hide_nothing(&socket)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(1024)
}

/// A connection that hides no queue either.
pub(super) async fn connect(target: std::net::SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    hide_nothing(&socket)?;
    socket.connect(target).await
}

fn hide_nothing(socket: &TcpSocket) -> io::Result<()> {
    setsockopt(socket, TcpMaxSeg, &(SEGMENT as u32))?;
    let socket = SockRef::from(socket);
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BYTES)
}
