//! What carries one connection to a keeper.
//!
//! At first it is the unix socket, on which the attach speaks. With its first bytes the attach may
//! hand over what it has itself from sshd, its standard input and output: then the keeper speaks with
//! sshd directly, and the attach only lives on until the socket closes, because sshd waits for it. So
//! a keystroke wakes one process less on its way, and its echo another.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::task::{Context, Poll, ready};

use rustix::fs::{FileType, fstat};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::sshd::end::End;

/// The answer to a hand-over. No message begins with it: the first byte of a message is the highest of
/// its length.
const TAKEN_OVER: u8 = 0xfd;

/// What carries one connection.
#[derive(Debug)]
pub struct Line {
    socket: UnixStream,
    /// Something was read: nothing can be handed over any more.
    begun: bool,
    handed: Option<Handed>,
}

/// What an attach had from sshd.
#[derive(Debug)]
struct Handed {
    /// What the broker says.
    input: End,
    /// What is said to the broker.
    output: End,
}

impl Line {
    /// A socket on which nothing has come yet.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, begun: false, handed: None }
    }

    /// Reads what is there into the spare room of `into`; 0 at the end. For one reader at a time.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if !std::mem::replace(&mut self.begun, true) {
            let (read, handed) = match poll_io(&self.socket, cx, || receive(&self.socket, into)) {
                Poll::Ready(received) => received?,
                Poll::Pending => {
                    self.begun = false;
                    return Poll::Pending;
                }
            };
            if let Some([input, output]) = handed {
                self.handed = Some(Handed { input: End::new(input)?, output: End::new(output)? });
                self.socket.try_write(&[TAKEN_OVER])?;
            }
            return Poll::Ready(Ok(read));
        }
        let Some(handed) = &self.handed else {
            return poll_io(&self.socket, cx, || self.socket.try_read_buf(into));
        };
        // The attach says nothing more: it has ended.
        match poll_io(&self.socket, cx, || self.socket.try_read(&mut [0])) {
            Poll::Ready(_) => Poll::Ready(Ok(0)),
            Poll::Pending => handed.input.poll_read(cx, into),
        }
    }

    /// Writes what fits, without waiting; `WouldBlock` when nothing does.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.handed {
            Some(handed) => handed.output.try_write(bytes),
            None => self.socket.try_write(bytes),
        }
    }

    /// Writes what fits. For one writer at a time.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(handed) = &self.handed {
            return handed.output.poll_write(cx, bytes);
        }
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(bytes) {
                Err(err) if is_for_later(&err) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Whose socket it is.
    pub fn peer_uid(&self) -> io::Result<u32> {
        self.socket.peer_cred().map(|peer| peer.uid())
    }
}

fn poll_io<T>(
    socket: &UnixStream,
    cx: &mut Context<'_>,
    mut io: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        match io() {
            Err(err) if is_for_later(&err) => {}
            done => return Poll::Ready(done),
        }
    }
}

/// Whether it is to be tried again.
pub fn is_for_later(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The first bytes, and what was handed over with them.
fn receive(socket: &UnixStream, into: &mut Vec<u8>) -> io::Result<(usize, Option<[OwnedFd; 2]>)> {
    let begin = into.len();
    into.resize(into.capacity(), 0);
    let received = receive_into(socket, &mut into[begin..]);
    into.truncate(begin + received.as_ref().map_or(0, |(length, _)| *length));
    received
}

fn receive_into(socket: &UnixStream, into: &mut [u8]) -> io::Result<(usize, Option<[OwnedFd; 2]>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = socket.try_io(Interest::READABLE, || {
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        Ok(recvmsg(socket.as_fd(), &mut [IoSliceMut::new(into)], &mut ancillary, flags)?)
    })?;
    let mut descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let handed = match (descriptors.next(), descriptors.next()) {
        (Some(input), Some(output)) => Some([input, output]),
        _ => None,
    };
    Ok((received.bytes, handed))
}

/// The attach's side: says the first message, and hands over what it has from sshd, if a keeper can
/// wait for it (it cannot for a file or a terminal).
pub fn say_first(keeper: &mut StdStream, message: &[u8], ends: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let may = ends.iter().all(|end| {
        let kind = fstat(end).map(|stat| FileType::from_raw_mode(stat.st_mode));
        matches!(kind, Ok(FileType::Fifo | FileType::Socket))
    });
    if !may {
        return keeper.write_all(message);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&ends));
    debug_assert!(fits, "the space is for two");
    let sent = sendmsg(&*keeper, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    keeper.write_all(&message[sent..])
}

/// Whether the keeper has taken over what was handed to it, or has itself the first byte of an answer.
pub enum Answer {
    /// It speaks with sshd itself, until the socket closes.
    TakenOver,
    /// The beginning of what it says.
    Says(Vec<u8>),
}

/// Waits for the keeper's first word.
pub fn hear_first(keeper: &mut impl Read) -> io::Result<Option<Answer>> {
    let mut answer = vec![0; 4096];
    let length = keeper.read(&mut answer)?;
    answer.truncate(length);
    Ok(match answer.first() {
        None => None,
        Some(&TAKEN_OVER) => Some(Answer::TakenOver),
        Some(_) => Some(Answer::Says(answer)),
    })
}
