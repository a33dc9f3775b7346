//! What stands between a stream of the link and russh.
//!
//! russh reads and writes in one loop. Two things follow, and this wrapper deals with both:
//!
//! - While russh waits to write, it does not read. If the peer is a russh as well, both may wait for
//!   each other for ever. So a write that has to wait reads ahead, into a buffer that holds as much
//!   as the windows of all channels allow the peer to send.
//! - russh grants the SSH window before a program has read its input, so a program that does not read
//!   would let input pile up without bound. Shutting the transport alone would also hold back the
//!   peer's window for our output, and a program that writes much before it reads would stand still
//!   for ever. So there are two steps, see [`Held`]: first the window shrinks to two bytes a turn and
//!   reading is paced, which leaves the output running; only far beyond that the transport is shut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::clock;

/// How much is read ahead at once.
const PIECE: usize = 32 * 1024;
/// While input trickles: one read of the transport in this time. Our output goes on at a window per
/// turn (128 KiB / 5 ms = 25 MB/s), the held input grows by 400 bytes a second.
const PACE: Duration = Duration::from_millis(5);

/// Whether more input of the peer is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// As fast as it comes.
    Open,
    /// Only so much that the peer's other messages get through.
    Trickle,
    /// Not at all.
    Shut,
}

/// Counts the input that no program has read yet.
#[derive(Debug)]
pub struct Held {
    bytes: AtomicUsize,
    most: usize,
    eased: AtomicWaker,
}

impl Held {
    /// Input begins to trickle beyond a sixteenth of `most`, and stops at `most`.
    pub fn new(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most, eased: AtomicWaker::new() }
    }

    /// More was taken from the peer.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// A program read some, or is gone.
    pub fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.most {
            self.eased.wake();
        }
    }

    /// Whether more is welcome.
    pub fn welcome(&self) -> Welcome {
        match self.bytes.load(Ordering::Acquire) {
            held if held >= self.most => Welcome::Shut,
            held if held > self.most / 16 => Welcome::Trickle,
            _ => Welcome::Open,
        }
    }

    fn poll_eased(&self, cx: &mut Context<'_>) -> Poll<Welcome> {
        if self.welcome() == Welcome::Shut {
            self.eased.register(cx.waker());
        }
        match self.welcome() {
            Welcome::Shut => Poll::Pending,
            welcome => Poll::Ready(welcome),
        }
    }
}

/// When the next read may be done.
enum Pace {
    /// Now.
    Due,
    /// After this, while input trickles.
    Wait(BoxFuture<'static, ()>),
    /// A read was done just now.
    Done,
}

/// The stream as russh sees it.
pub struct Transport<S> {
    inner: S,
    ahead: BytesMut,
    ahead_most: usize,
    /// The peer finished while we read ahead.
    ended: bool,
    held: Arc<Held>,
    pace: Pace,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// `ahead_most`: all that the peer may send while we wait to write. `cut` ends it at once.
    pub fn new(inner: S, ahead_most: usize, held: Arc<Held>, cut: CancellationToken) -> Self {
        let cut = Box::pin(cut.cancelled_owned());
        Self { inner, ahead: BytesMut::new(), ahead_most, ended: false, held, pace: Pace::Due, cut }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Takes from the peer what is there, while a write has to wait.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && self.ahead.len() < self.ahead_most {
            self.ahead.reserve(PIECE);
            let read = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(&mut self.inner, &mut self.ahead));
            match read.poll(cx)? {
                Poll::Ready(0) => self.ended = true,
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Ready when the next read may be done.
    fn poll_welcome(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.held.poll_eased(cx)) == Welcome::Open {
            self.pace = Pace::Due;
            return Poll::Ready(());
        }
        if let Pace::Done = self.pace {
            self.pace = Pace::Wait(Box::pin(clock::pass(PACE)));
        }
        if let Pace::Wait(wait) = &mut self.pace {
            ready!(wait.as_mut().poll(cx));
            self.pace = Pace::Due;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.poll_welcome(cx).is_pending() {
            this.poll_cut(cx)?;
            return Poll::Pending;
        }
        if !this.ahead.is_empty() {
            let piece = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..piece]);
            this.ahead.advance(piece);
            this.pace = Pace::Done;
            return Poll::Ready(Ok(()));
        }
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(result) => {
                this.pace = Pace::Done;
                Poll::Ready(result)
            }
            Poll::Pending => {
                this.poll_cut(cx)?;
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.inner).poll_write(cx, buf) {
            return Poll::Ready(result);
        }
        this.poll_cut(cx)?;
        this.read_ahead(cx)?;
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(result) = Pin::new(&mut this.inner).poll_flush(cx) {
            return Poll::Ready(result);
        }
        this.poll_cut(cx)?;
        this.read_ahead(cx)?;
        Poll::Pending
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    fn pair(most: usize) -> (Transport<DuplexStream>, DuplexStream, Arc<Held>, CancellationToken) {
        let (near, far) = tokio::io::duplex(1024);
        let (held, cut) = (Arc::new(Held::new(most)), CancellationToken::new());
        (Transport::new(near, 64 * 1024, held.clone(), cut.clone()), far, held, cut)
    }

    #[tokio::test]
    async fn two_ends_that_both_write_first_do_not_wait_for_each_other() {
        let (mut near, mut far, ..) = pair(1 << 20);
        let sent = vec![7; 16 * 1024];
        let other = sent.clone();
        let far = tokio::spawn(async move {
            far.write_all(&other).await.unwrap();
            let mut got = vec![0; 16 * 1024];
            far.read_exact(&mut got).await.unwrap();
            got
        });
        near.write_all(&sent).await.unwrap();
        let mut got = vec![0; 16 * 1024];
        near.read_exact(&mut got).await.unwrap();
        assert!(got == sent && far.await.unwrap() == sent);
    }

    #[tokio::test]
    async fn held_input_first_slows_the_peer_and_then_stops_it() {
        let (mut near, mut far, held, _cut) = pair(1600);
        far.write_all(&[1; 100]).await.unwrap();
        let mut got = [0; 10];
        held.add(101);
        let before = clock::now();
        near.read_exact(&mut got).await.unwrap();
        near.read_exact(&mut got).await.unwrap();
        assert!(clock::now() - before >= PACE);
        held.add(1500);
        assert_eq!(held.welcome(), Welcome::Shut);
        assert!(clock::within(PACE * 20, "", near.read(&mut got)).await.is_err());
        let release = async {
            clock::pass(PACE).await;
            held.release(1601);
        };
        let (read, ()) =
            tokio::join!(clock::within(Duration::from_secs(60), "", near.read(&mut got)), release);
        assert_eq!(read.unwrap().unwrap(), 10);
        assert_eq!(held.welcome(), Welcome::Open);
    }

    /// It once polled the elapsed pace again when nothing had come meanwhile, which panics.
    #[tokio::test]
    async fn a_peer_that_is_slower_than_the_trickle_is_read_when_it_comes() {
        let (mut near, mut far, held, _cut) = pair(1600);
        held.add(101);
        for byte in 0..3 {
            let mut got = [0; 1];
            let (read, ()) = tokio::join!(near.read_exact(&mut got), async {
                clock::pass(PACE * 4).await;
                far.write_all(&[byte]).await.unwrap();
            });
            read.unwrap();
            assert_eq!(got, [byte]);
        }
    }

    #[tokio::test]
    async fn a_cut_ends_a_read_and_a_write_that_wait() {
        let (mut near, _far, _held, cut) = pair(1 << 20);
        let read = tokio::spawn(async move {
            let read = near.read(&mut [0; 10]).await.unwrap_err().kind();
            (read, near.write_all(&[0; 5000]).await.unwrap_err().kind())
        });
        tokio::task::yield_now().await;
        cut.cancel();
        assert_eq!(read.await.unwrap(), (io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionAborted));
    }
}
