//! One stream as `AsyncRead + AsyncWrite`.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use moorline_wire::link::{Read, Written};
use moorline_wire::{Code, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handle::{Inner, Shared};

/// Whoever has read, or written, so much in one go lets the others have their turn, and the runtime look
/// whether somebody has typed: 32 KiB through SSH take some 50 µs.
const TURN: usize = 32 * 1024;

/// One stream. Dropped before both directions are finished, it resets with `CANCELLED`.
/// A reset by the peer is an `io::Error` of kind `ConnectionReset` whose source is [`StreamReset`].
///
/// `shutdown` half-closes and does not wait: what was written is still delivered, also after
/// the stream was dropped at the end of its other direction.
#[derive(Debug)]
pub struct LinkStream {
    shared: Arc<Shared>,
    key: u64,
    id: StreamId,
    /// Nothing more will be written.
    finished: bool,
    /// The peer's end was read.
    ended: bool,
    reading: Turn,
    writing: Turn,
}

/// How much was moved in one go.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// Not ready when the turn is over, and ready again when everybody else has had theirs.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 < TURN {
            return Poll::Ready(());
        }
        self.0 = 0;
        pin!(tokio::task::yield_now()).poll(cx)
    }

    /// So much was moved; nothing, when it has to wait.
    fn moved(&mut self, bytes: usize) {
        self.0 = if bytes == 0 { 0 } else { self.0 + bytes };
    }
}

impl LinkStream {
    pub(crate) fn new(shared: Arc<Shared>, key: u64, id: StreamId) -> Self {
        let (reading, writing) = (Turn::default(), Turn::default());
        Self { shared, key, id, finished: false, ended: false, reading, writing }
    }

    /// Its number in the link.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Ends the stream at once with this code.
    pub fn reset(mut self, code: Code) {
        self.end(code);
        (self.finished, self.ended) = (true, true);
    }

    /// Why the stream was reset by the peer or with the link, if it was.
    pub fn reset_code(&self) -> Option<Code> {
        self.shared.with(|inner| inner.slot(self.key).gone)
    }

    fn end(&mut self, code: Code) {
        self.shared.with(|inner| {
            if inner.slot(self.key).gone.is_none() {
                inner.link.reset(self.id, code);
            }
        });
        self.shared.stir();
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        if !(self.finished && self.ended) {
            self.end(Code::CANCELLED);
        }
        self.shared.with(|inner| inner.remove(self.key, self.id));
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(this.reading.poll(cx));
        let before = buf.filled().len();
        let read = this.shared.with_stream(|inner| {
            if let Some(code) = inner.slot(this.key).gone {
                return Poll::Ready(Err(reset_error(code)));
            }
            let read = read_into(inner, this.key, this.id, cx, buf);
            this.ended = matches!(read, Found::End);
            read.poll(buf.filled().len() > before)
        });
        this.reading.moved(buf.filled().len() - before);
        read
    }
}

/// Why reading went no further.
enum Found {
    Full,
    Pending,
    End,
    Gone(Code),
}

/// Moves what arrived into the buffer until either has no more.
fn read_into(inner: &mut Inner, key: u64, id: StreamId, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Found {
    while buf.remaining() > 0 {
        match inner.link.read(id, buf.remaining()) {
            Read::Data(bytes) => buf.put_slice(&bytes),
            Read::End => return Found::End,
            Read::Gone(code) => return Found::Gone(code),
            Read::Pending => {
                inner.slot(key).reader = Some(cx.waker().clone());
                return Found::Pending;
            }
        }
    }
    Found::Full
}

impl Found {
    /// What that is to the reader; the end and a reset are found again when it comes back.
    fn poll(self, something_was_read: bool) -> Poll<io::Result<()>> {
        match self {
            _ if something_was_read => Poll::Ready(Ok(())),
            Self::Full | Self::End => Poll::Ready(Ok(())),
            Self::Pending => Poll::Pending,
            Self::Gone(code) => Poll::Ready(Err(reset_error(code))),
        }
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.writing.poll(cx));
        let written = this.shared.with_stream(|inner| {
            if let Some(code) = inner.slot(this.key).gone {
                return Poll::Ready(Err(reset_error(code)));
            }
            if this.finished {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            match inner.link.write(this.id, bytes) {
                Written::Taken(taken) => Poll::Ready(Ok(taken)),
                Written::Pending => {
                    inner.slot(this.key).writer = Some(cx.waker().clone());
                    Poll::Pending
                }
                Written::Gone(code) => Poll::Ready(Err(reset_error(code))),
            }
        });
        this.writing.moved(if let Poll::Ready(Ok(taken)) = written { taken } else { 0 });
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // what was taken goes out as soon as the transport has room
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.finished {
            this.finished = true;
            this.shared.with(|inner| {
                if inner.slot(this.key).gone.is_none() {
                    inner.link.finish(this.id);
                }
            });
            this.shared.stir();
        }
        Poll::Ready(Ok(()))
    }
}

/// The peer ended the stream with this code.
#[derive(Debug, Clone, Copy)]
pub struct StreamReset(pub Code);

impl std::fmt::Display for StreamReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the stream was reset: {}", self.0)
    }
}

impl std::error::Error for StreamReset {}

/// The code of an error that a [`LinkStream`] gave, if it is a reset.
pub fn reset_code(error: &io::Error) -> Option<Code> {
    Some(error.get_ref()?.downcast_ref::<StreamReset>()?.0)
}

fn reset_error(code: Code) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, StreamReset(code))
}
