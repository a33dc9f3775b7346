//! The page: the viewer's side of the terminal protocol, and a terminal that parses what it is given
//! a little later.

use std::collections::VecDeque;
use std::time::Instant;

use moorline_wire::term::frame::{HostControl, ViewerRole};
use moorline_wire::term::{HostFrame, Message, Size, Viewer, ViewerOutput};

/// What a screen measures here.
pub const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// See the module.
pub struct Page {
    viewer: Viewer,
    /// Offsets up to which the terminal was given something that it has not parsed.
    parsing: VecDeque<u64>,
    live: bool,
    /// How much output came.
    pub seen: u64,
    /// All of it, for whoever wants to compare.
    pub kept: Option<Vec<u8>>,
}

impl Page {
    /// A page that was just opened, and its first message.
    pub fn open(now: Instant) -> (Self, Message) {
        let mut viewer = Viewer::new("a-page".to_owned(), SIZE);
        viewer.want(ViewerRole::Driver);
        viewer.connected(now);
        let hello = viewer.hello(Some("a-ticket".to_owned()), None).encode();
        (Self { viewer, parsing: VecDeque::new(), live: false, seen: 0, kept: None }, hello)
    }

    /// Somebody presses a key.
    pub fn press(&mut self, now: Instant, key: u8) {
        assert!(self.viewer.typed(now, &[key]), "the page takes what a person types");
    }

    /// Whether the hello was answered.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether everything that came is parsed, and everything that was typed is with the program.
    pub fn is_at_rest(&self) -> bool {
        self.parsing.is_empty() && self.viewer.input_waiting().0 == 0
    }

    /// Whether the terminal has something to parse.
    pub fn parses(&self) -> bool {
        !self.parsing.is_empty()
    }

    /// The terminal has parsed what it was given before.
    pub fn parse(&mut self, now: Instant) {
        while let Some(offset) = self.parsing.pop_front() {
            self.viewer.parsed(now, offset);
        }
    }

    /// A message of the broker.
    pub fn came(&mut self, now: Instant, message: Message) {
        let frame = HostFrame::decode(message).expect("the broker keeps the rules");
        let frame = frame.expect("both ends have the same version");
        self.viewer.receive(now, frame).expect("the broker keeps the rules");
        while let Some(output) = self.viewer.poll_output() {
            match output {
                ViewerOutput::Write(bytes) => {
                    self.seen += bytes.len() as u64;
                    self.parsing.push_back(self.viewer.received());
                    if let Some(kept) = &mut self.kept {
                        kept.extend_from_slice(&bytes);
                    }
                }
                ViewerOutput::Control(HostControl::Attached { .. }) => self.live = true,
                _ => {}
            }
        }
    }

    /// To be called at the deadline.
    pub fn timeout(&mut self, now: Instant) {
        self.viewer.handle_timeout(now);
    }

    /// When `timeout` is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.viewer.poll_timeout()
    }

    /// Gives the WebSocket what there is for the broker.
    pub fn send(&mut self, now: Instant, socket: &mut VecDeque<Message>) {
        while let Some(frame) = self.viewer.poll_transmit(now) {
            socket.push_back(frame.encode());
        }
    }
}
