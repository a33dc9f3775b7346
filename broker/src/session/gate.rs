//! A gate below SSH: while it is closed, nothing more is read from the device.
//!
//! russh grants the SSH window before its consumer has read, and waits on a bounded queue inside
//! its only loop; a full queue would also hold back Ctrl-C. So its channel is always drained at
//! once, and back-pressure is applied underneath: a closed gate makes `poll_read` pending while
//! writing goes on. The gate is also how an SSH connection is cut off: russh's loop runs on by
//! itself, and ends when what is under it ends.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use moorline_link_io::StreamReset;
use moorline_wire::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Closed because the viewers have not yet parsed what was read.
const BY_VIEWERS: u8 = 1;
/// Closed because the session has not yet taken what was read.
const BY_BACKLOG: u8 = 2;
/// Cut off for good.
const CUT: u8 = 4;

/// Output that waits for the session's actor; above it the gate is closed ...
const BACKLOG_HIGH: usize = 256 * 1024;
/// ... until it has come down to this.
const BACKLOG_LOW: usize = 64 * 1024;

/// The handle of a gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicU8,
    backlog: AtomicUsize,
    reader: AtomicWaker,
    writer: AtomicWaker,
    reset: Mutex<Option<Code>>,
}

impl Gate {
    /// Stops, or goes on, reading from the device.
    pub fn set_open(&self, open: bool) {
        self.turn(BY_VIEWERS, !open);
    }

    /// So many bytes were read and wait for the session.
    pub fn came(&self, bytes: usize) {
        if self.0.backlog.fetch_add(bytes, Ordering::AcqRel) + bytes > BACKLOG_HIGH {
            self.turn(BY_BACKLOG, true);
        }
    }

    /// The session has taken so many of them.
    pub fn taken(&self, bytes: usize) {
        if self.0.backlog.fetch_sub(bytes, Ordering::AcqRel) - bytes <= BACKLOG_LOW {
            self.turn(BY_BACKLOG, false);
        }
    }

    /// Ends everything that reads or writes through the gate.
    pub fn cut(&self) {
        self.turn(CUT, true);
    }

    /// With which code the device's side reset the stream, if it did.
    pub fn reset_code(&self) -> Option<Code> {
        *self.0.reset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, why: u8, closed: bool) {
        if closed {
            self.0.closed.fetch_or(why, Ordering::AcqRel);
        } else {
            self.0.closed.fetch_and(!why, Ordering::AcqRel);
        }
        if why == CUT || !closed {
            self.0.reader.wake();
        }
        if why == CUT {
            self.0.writer.wake();
        }
    }

    fn state(&self) -> u8 {
        self.0.closed.load(Ordering::Acquire)
    }

    fn note_reset(&self, err: &io::Error) {
        let reset = err.get_ref().and_then(|source| source.downcast_ref::<StreamReset>());
        if let Some(StreamReset(code)) = reset {
            *self.0.reset.lock().unwrap_or_else(PoisonError::into_inner) = Some(*code);
        }
    }
}

/// A stream behind a gate.
pub struct Gated<S> {
    stream: S,
    gate: Gate,
    /// Called when the first byte of the device comes.
    first: Option<Box<dyn FnOnce() + Send>>,
}

impl<S> Gated<S> {
    /// Puts the gate in front of the stream; `first` is called when its first byte comes.
    pub fn new(stream: S, gate: Gate, first: impl FnOnce() + Send + 'static) -> Self {
        Self { stream, gate, first: Some(Box::new(first)) }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut off by the session")
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Registered before the look, so that no opening between the two is missed.
        this.gate.0.reader.register(cx.waker());
        match this.gate.state() {
            0 => {}
            state if state & CUT != 0 => return Poll::Ready(Err(cut())),
            _ => return Poll::Pending,
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                if let Some(first) = this.first.take() {
                    first();
                }
            }
            Poll::Ready(Err(err)) => this.gate.note_reset(err),
            _ => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.gate.0.writer.register(cx.waker());
        if this.gate.state() & CUT != 0 {
            return Poll::Ready(Err(cut()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Err(err)) = &written {
            this.gate.note_reset(err);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.gate.0.writer.register(cx.waker());
        if this.gate.state() & CUT != 0 {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.gate.0.writer.register(cx.waker());
        if this.gate.state() & CUT != 0 {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn nothing_is_read_while_the_gate_is_closed_and_writing_goes_on() {
        let (ours, mut device) = duplex(64);
        let gate = Gate::default();
        let mut ours = Gated::new(ours, gate.clone(), || ());
        device.write_all(b"output").await.unwrap();
        gate.set_open(false);
        let mut read = [0; 6];
        assert!(ours.read_exact(&mut read).now_or_never().is_none());
        ours.write_all(b"\x03").await.unwrap();
        assert_eq!(device.read_u8().await.unwrap(), 3);
        gate.set_open(true);
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"output");
    }

    #[tokio::test]
    async fn opening_wakes_a_reader_that_waits() {
        let (ours, mut device) = duplex(64);
        let gate = Gate::default();
        gate.set_open(false);
        device.write_all(b"x").await.unwrap();
        let mut ours = Gated::new(ours, gate.clone(), || ());
        let reading = tokio::spawn(async move { ours.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        gate.set_open(true);
        assert_eq!(reading.await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_backlog_closes_the_gate_until_most_of_it_is_taken() {
        let gate = Gate::default();
        gate.came(BACKLOG_HIGH);
        assert_eq!(gate.state(), 0);
        gate.came(1);
        assert_eq!(gate.state(), BY_BACKLOG);
        gate.set_open(false);
        gate.taken(BACKLOG_HIGH - BACKLOG_LOW);
        assert_eq!(gate.state(), BY_BACKLOG | BY_VIEWERS);
        gate.taken(1);
        assert_eq!(gate.state(), BY_VIEWERS);
    }

    #[tokio::test]
    async fn cutting_ends_readers_and_writers_that_wait() {
        let (ours, device) = duplex(4);
        let gate = Gate::default();
        let (mut reader, mut writer) = tokio::io::split(Gated::new(ours, gate.clone(), || ()));
        let reading = tokio::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        gate.cut();
        assert_eq!(reading.await.unwrap(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap(), io::ErrorKind::ConnectionAborted);
        drop(device);
    }

    #[tokio::test]
    async fn the_first_byte_of_the_device_is_told_once() {
        let (ours, mut device) = duplex(64);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut ours = Gated::new(ours, Gate::default(), move || tell.send(()).unwrap());
        device.write_all(b"SSH").await.unwrap();
        for _ in 0..3 {
            ours.read_u8().await.unwrap();
        }
        assert_eq!(told.recv().await, Some(()));
        assert_eq!(told.recv().await, None);
    }
}
