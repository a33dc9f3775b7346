//! The whole path from the keyboard to the program and back, in memory and on a clock that only
//! counts: whatever is sent at one tick arrives at the next.
//!
//! ```text
//! page (Viewer) -- term frames --> broker -- keep frames in a link stream --> device (Host, program)
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::term::Message;

use crate::broker::Broker;
use crate::device::Device;
use crate::page::Page;

/// How long everything takes from one part to the next.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without coming to rest something is stuck.
const TICKS_MAX: usize = 100_000;

/// See the module.
pub struct Path {
    now: Instant,
    /// The viewer's side.
    pub page: Page,
    broker: Broker,
    /// The program's side.
    pub device: Device,
    to_broker: VecDeque<Message>,
    to_page: VecDeque<Message>,
    down: VecDeque<Bytes>,
    up: VecDeque<Bytes>,
    /// When page, broker and device want to be asked again.
    deadlines: [Option<Instant>; 3],
}

impl Path {
    /// A page that is attached to a program.
    pub fn new() -> Self {
        let now = Instant::now();
        let (page, hello) = Page::open(now);
        let mut path = Self {
            now,
            page,
            broker: Broker::new(now),
            device: Device::new(now),
            to_broker: VecDeque::from([hello]),
            to_page: VecDeque::new(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            deadlines: [Some(now); 3],
        };
        path.settle();
        assert!(path.page.is_live(), "the page was not attached");
        path
    }

    /// Somebody presses a key.
    pub fn press(&mut self, key: u8) {
        self.page.press(self.now, key);
        self.page.send(self.now, &mut self.to_broker);
    }

    /// Lets time pass until nothing is under way.
    pub fn settle(&mut self) {
        for _ in 0..TICKS_MAX {
            self.tick();
            if self.is_at_rest() {
                return;
            }
        }
        panic!("the path does not come to rest");
    }

    fn is_at_rest(&self) -> bool {
        let lines = self.to_broker.len() + self.to_page.len() + self.down.len() + self.up.len();
        lines == 0 && self.page.is_at_rest() && self.device.is_at_rest()
    }

    /// A moment later: everybody who has something to do does it.
    pub fn tick(&mut self) {
        self.now += TICK;
        let (to_broker, down) = (self.to_broker.len(), self.down.len());
        let (to_page, up) = (self.to_page.len(), self.up.len());
        self.page_turns(to_page);
        self.broker_turns(to_broker, up);
        self.device_turns(down);
    }

    fn page_turns(&mut self, arrived: usize) {
        let due = self.deadlines[0].is_some_and(|at| at <= self.now);
        if arrived == 0 && !due && !self.page.parses() {
            return;
        }
        if due {
            self.page.timeout(self.now);
        }
        self.page.parse(self.now);
        for message in self.to_page.drain(..arrived) {
            self.page.came(self.now, message);
        }
        self.page.send(self.now, &mut self.to_broker);
        self.deadlines[0] = self.page.deadline();
    }

    fn broker_turns(&mut self, from_page: usize, from_device: usize) {
        let due = self.deadlines[1].is_some_and(|at| at <= self.now);
        if from_page + from_device == 0 && !due {
            return;
        }
        if due {
            self.broker.end.timeout(self.now);
        }
        for message in self.to_broker.drain(..from_page) {
            self.broker.page_said(message);
        }
        for frame in self.up.drain(..from_device) {
            self.broker.device_said(self.now, frame, &mut self.to_page);
        }
        self.broker.end.send(self.now, &mut self.down);
        self.deadlines[1] = self.broker.end.deadline();
    }

    fn device_turns(&mut self, arrived: usize) {
        let due = self.deadlines[2].is_some_and(|at| at <= self.now);
        if arrived == 0 && !due && !self.device.has_work() {
            return;
        }
        if due {
            self.device.timeout(self.now);
        }
        for frame in self.down.drain(..arrived) {
            self.device.broker_said(self.now, frame);
        }
        self.device.program_turns(self.now);
        self.device.drive(self.now);
        self.device.end.send(self.now, &mut self.up);
        self.deadlines[2] = self.device.deadline();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn a_key_is_echoed_and_everything_is_acknowledged() {
        let mut path = Path::new();
        path.page.kept = Some(Vec::new());
        for key in b"make test\r" {
            path.press(*key);
            path.settle();
        }
        assert_eq!(path.page.kept.as_deref(), Some(&b"make test\r"[..]));
        assert_eq!(path.device.taken, 10);
    }

    #[test]
    fn what_the_program_writes_comes_whole_and_in_order() {
        let mut path = Path::new();
        path.page.kept = Some(Vec::new());
        let text = text::of(3 * 1024 * 1024);
        for piece in text.chunks(16 * 1024) {
            path.device.program_writes(Bytes::copy_from_slice(piece));
        }
        path.settle();
        assert!(path.page.kept.as_deref() == Some(&text[..]));
    }
}
