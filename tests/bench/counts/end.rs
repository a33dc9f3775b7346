//! One end of the link, with the one stream that a session has, driven as broker and agent drive
//! theirs, but for the runtime and the WebSocket.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Buf, Bytes};
use moorline_link_io::{Event, LinkHandle, LinkStream};
use moorline_wire::link::{Attach, Class, Config, Input, Role, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much as the agent's tunnel reads at once.
const BUFFER: usize = 64 * 1024;

/// See the module.
pub struct End {
    link: LinkHandle,
    stream: Option<LinkStream>,
    /// What the stream had no room for.
    unwritten: VecDeque<Bytes>,
    buffer: Vec<u8>,
}

impl End {
    /// With a transport that stands. The broker's opens the stream.
    pub fn new(role: Role, now: Instant) -> Self {
        let link = LinkHandle::new(role, Config::default(), now);
        let attached = link.handle(now, Input::Connected(Attach::Fresh));
        attached.expect("a link that is new can always be attached");
        let stream = (role == Role::Broker).then(|| {
            let opened = link.open(Target::Sshd, Class::Interactive);
            opened.expect("a link without streams has room for one")
        });
        Self { link, stream, unwritten: VecDeque::new(), buffer: vec![0; BUFFER] }
    }

    /// A frame of the other end.
    pub fn came(&mut self, now: Instant, frame: Bytes) {
        self.link.handle(now, Input::Frame(frame)).expect("the other end keeps the rules");
        self.take_events();
    }

    /// To be called at the deadline.
    pub fn timeout(&mut self, now: Instant) {
        self.link.handle_timeout(now);
        self.take_events();
    }

    /// When `timeout` is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    fn take_events(&mut self) {
        while let Some(event) = self.link.poll_event() {
            if let Event::Opened { stream, .. } = event {
                self.stream = Some(stream);
            }
        }
    }

    /// What has arrived on the stream; empty: nothing more.
    pub fn read(&mut self) -> &[u8] {
        let mut read = ReadBuf::new(&mut self.buffer);
        if let Some(stream) = &mut self.stream {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = Pin::new(stream).poll_read(&mut context, &mut read) {
                result.expect("nobody resets the stream");
            }
        }
        let length = read.filled().len();
        &self.buffer[..length]
    }

    /// Whether everything that was written is with the link.
    pub fn has_room(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes the bytes to the stream, at once or when there is room.
    pub fn write(&mut self, bytes: Bytes) {
        self.unwritten.push_back(bytes);
        self.write_on();
    }

    fn write_on(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut context = Context::from_waker(Waker::noop());
        while let Some(first) = self.unwritten.front_mut() {
            let Poll::Ready(taken) = Pin::new(&mut *stream).poll_write(&mut context, first) else { return };
            first.advance(taken.expect("nobody resets the stream"));
            if first.is_empty() {
                self.unwritten.pop_front();
            }
        }
    }

    /// Gives the transport what the link has for it.
    pub fn send(&mut self, now: Instant, transport: &mut VecDeque<Bytes>) {
        self.write_on();
        while let Some(frame) = self.link.poll_transmit(now) {
            transport.push_back(frame);
        }
    }
}
