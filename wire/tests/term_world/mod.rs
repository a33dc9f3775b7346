//! The simulated world: one program, one host, some pages, and a wire between.

mod page;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::term::frame::{
    HostControl, HostFrame, Message, Size, ViewerControl, ViewerFrame, ViewerRole,
};
use moorline_wire::term::host::{Attach, Host, HostConfig, HostInput, HostOutput, ViewerId};
use moorline_wire::{Code, Ending};

use page::Page;

pub const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// Small numbers, so that every limit is met often.
fn config() -> HostConfig {
    HostConfig {
        ring_bytes: 6000,
        window: 2000,
        in_window: 20_000,
        out_bytes_max: 700,
        gate_high: 3000,
        gate_low: 1000,
        viewers_max: 5,
        viewers_remembered: 20,
        driver_back_within: Duration::from_millis(50),
        ..HostConfig::default()
    }
}

/// The byte that the program writes at this offset.
pub fn output_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// A connection, as the wire has it.
pub struct Wire {
    pub to_viewer: VecDeque<Message>,
    pub to_host: VecDeque<Message>,
    /// The page noticed that it is gone (or left it).
    pub page_is_off: bool,
    /// The host attached it and has not been told that it left.
    attached: bool,
    closing: Option<Code>,
    /// For I3: how far the host sent, and what it knows to be parsed.
    sent: u64,
    acked: u64,
}

pub struct World {
    pub now: Instant,
    random: u64,
    host: Host,
    pub wires: BTreeMap<u64, Wire>,
    pages: Vec<Page>,
    next_connection: u64,
    newest_attached: u64,
    written: u64,
    gate_open: bool,
    snapshot_wanted: bool,
    /// What the program's side was given, and how much of it it took.
    given: Vec<u8>,
    taken: u64,
    ending: Option<Ending>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            random: seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(0x9E37_79B9),
            host: Host::new(config(), SIZE, now),
            wires: BTreeMap::new(),
            pages: Vec::new(),
            next_connection: 1,
            newest_attached: 0,
            written: 0,
            gate_open: true,
            snapshot_wanted: false,
            given: Vec::new(),
            taken: 0,
            ending: None,
        };
        world.open_page(ViewerRole::Driver);
        world
    }

    /// splitmix64
    pub fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    pub fn step(&mut self) {
        match self.random(100) {
            0..2 if self.pages.len() < 12 => {
                let role = if self.random(3) == 0 { ViewerRole::Driver } else { ViewerRole::Watcher };
                self.open_page(role);
            }
            2..4 => self.cut_some_page(),
            4..5 => self.reload_some_page(),
            5..7 => self.connect_some_page_again(),
            7..8 => self.some_watcher_takes_control(),
            _ => self.ordinary_step(),
        }
    }

    pub fn step_of_one_page(&mut self) {
        match self.random(100) {
            0..5 => self.cut_some_page(),
            5..7 => self.connect_some_page_again(),
            _ => self.ordinary_step(),
        }
    }

    fn ordinary_step(&mut self) {
        let page = self.random(self.pages.len() as u64) as usize;
        match self.random(12) {
            0 | 1 => self.program_writes(),
            2 => self.program_takes(),
            3 => self.tell_of_one_that_left(),
            4 => self.answer_for_snapshot(),
            5 => self.time_passes(),
            6 | 7 => self.host_sends(),
            8 => self.deliver_to_host(),
            9 => self.with_page(page, Page::acts),
            10 => self.with_page(page, Page::sends),
            _ => self.with_page(page, Page::receives),
        }
    }

    fn with_page(&mut self, at: usize, act: impl FnOnce(&mut Page, &mut World)) {
        // The page is taken out, so that it may use the world.
        let mut page = std::mem::replace(&mut self.pages[at], Page::nobody());
        act(&mut page, self);
        self.pages[at] = page;
    }

    fn open_page(&mut self, role: ViewerRole) {
        let page = Page::new(self.pages.len(), role);
        self.pages.push(page);
        self.with_page(self.pages.len() - 1, Page::connect);
    }

    fn some_page(&mut self) -> usize {
        self.random(self.pages.len() as u64) as usize
    }

    fn cut_some_page(&mut self) {
        let page = self.some_page();
        self.with_page(page, |page, world| {
            page.is_cut(world);
            page.connect(world);
        });
    }

    /// The page comes again while its old connection still looks alive to everybody.
    fn connect_some_page_again(&mut self) {
        let page = self.some_page();
        self.with_page(page, |page, world| {
            page.leaves_quietly(world);
            page.connect(world);
        });
    }

    fn reload_some_page(&mut self) {
        let page = self.some_page();
        self.with_page(page, Page::reload);
    }

    fn some_watcher_takes_control(&mut self) {
        let page = self.some_page();
        self.with_page(page, |page, _| page.takes_control());
    }

    /// A page says hello on a new wire. The hello is on its way like anything else.
    pub fn new_wire(&mut self, hello: &ViewerFrame) -> u64 {
        let id = self.next_connection;
        self.next_connection += 1;
        let wire = Wire {
            to_viewer: VecDeque::new(),
            to_host: VecDeque::from([hello.encode()]),
            page_is_off: false,
            attached: false,
            closing: None,
            sent: 0,
            acked: 0,
        };
        self.wires.insert(id, wire);
        id
    }

    fn host_hears(&mut self, input: HostInput) {
        self.host.handle(self.now, input);
        while let Some(output) = self.host.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: HostOutput) {
        match output {
            HostOutput::ToShell(bytes) => self.given.extend_from_slice(&bytes),
            HostOutput::Gate { open } => {
                assert_ne!(open, self.gate_open, "the gate was told to be as it was");
                self.gate_open = open;
            }
            HostOutput::SnapshotWanted => {
                assert!(!self.snapshot_wanted, "a snapshot was wanted twice");
                self.snapshot_wanted = true;
            }
            HostOutput::Close { viewer, code } => {
                let expected = [Code::TAKEN_OVER, Code::CANCELLED, Code::LIMIT, Code::EXITED];
                assert!(expected.contains(&code), "a viewer was closed with {code:?}");
                if let Some(wire) = self.wires.get_mut(&viewer.0) {
                    wire.closing = Some(code);
                }
            }
            HostOutput::KillWanted { .. } | HostOutput::Signal { .. } => {
                panic!("nobody asked for {output:?}")
            }
            HostOutput::Transmit(_) | HostOutput::Resize { .. } | HostOutput::Viewers { .. } => {}
        }
    }

    fn program_writes(&mut self) {
        if !self.gate_open || self.ending.is_some() {
            return;
        }
        let length = match self.random(4) {
            0 => self.random(2500),
            _ => 1 + self.random(40),
        };
        let bytes: Vec<u8> = (self.written..self.written + length).map(output_at).collect();
        self.written += length;
        self.host_hears(HostInput::Output(Bytes::from(bytes)));
    }

    fn program_takes(&mut self) {
        self.taken += self.random(self.given.len() as u64 - self.taken + 1);
        self.host_hears(HostInput::InputTaken { total: self.taken });
    }

    fn answer_for_snapshot(&mut self) {
        if !std::mem::take(&mut self.snapshot_wanted) {
            return;
        }
        let offset = self.written;
        let bytes = Bytes::copy_from_slice(&offset.to_be_bytes());
        self.host_hears(HostInput::Snapshot { offset, cols: 80, rows: 24, bytes });
    }

    fn time_passes(&mut self) {
        let millis = [1, 4, 5, 100, 6000][self.random(5) as usize];
        self.now += Duration::from_millis(millis);
        self.host.handle_timeout(self.now);
        while let Some(output) = self.host.poll_output() {
            self.perform(output);
        }
        for at in 0..self.pages.len() {
            self.with_page(at, Page::time_passed);
        }
    }

    /// The host learns of one connection that the page is off.
    fn tell_of_one_that_left(&mut self) {
        let off = self.wires.iter().find(|(_, wire)| wire.page_is_off).map(|(id, _)| *id);
        let Some(id) = off else { return };
        let wire = self.wires.remove(&id).expect("it was just found");
        if wire.attached {
            self.host_hears(HostInput::Left(ViewerId(id)));
        }
    }

    fn some_wire(&mut self) -> Option<u64> {
        let count = self.wires.len() as u64;
        if count == 0 {
            return None;
        }
        let at = self.random(count) as usize;
        self.wires.keys().nth(at).copied()
    }

    fn host_sends(&mut self) {
        let Some(id) = self.some_wire() else { return };
        for _ in 0..1 + self.random(6) {
            if !self.host_sends_one(id) {
                return;
            }
        }
    }

    fn host_sends_one(&mut self, id: u64) -> bool {
        let Some(frame) = self.host.poll_transmit(self.now, ViewerId(id)) else {
            while let Some(output) = self.host.poll_output() {
                self.perform(output);
            }
            return false;
        };
        let wire = self.wires.get_mut(&id).expect("it was just there");
        match &frame {
            HostFrame::Control(HostControl::Attached { from, .. }) => {
                (wire.sent, wire.acked) = (*from, *from)
            }
            HostFrame::Snap { offset, .. } => (wire.sent, wire.acked) = (*offset, *offset),
            HostFrame::Out { offset, bytes } => {
                assert_eq!(*offset, wire.sent, "I1: output was sent at another offset than the next");
                wire.sent += bytes.len() as u64;
                let in_flight = wire.sent - wire.acked;
                assert!(in_flight <= u64::from(config().window), "I3: {in_flight} bytes are in flight");
            }
            _ => {}
        }
        wire.to_viewer.push_back(frame.encode());
        true
    }

    fn deliver_to_host(&mut self) {
        let Some(id) = self.some_wire() else { return };
        self.deliver_one_to_host(id);
    }

    fn deliver_one_to_host(&mut self, id: u64) -> bool {
        let Some(message) = self.wires.get_mut(&id).and_then(|wire| wire.to_host.pop_front()) else {
            return false;
        };
        let frame = ViewerFrame::decode(message).expect("a viewer broke a rule").expect("all are known");
        let wire = self.wires.get_mut(&id).expect("it was just there");
        match frame {
            ViewerFrame::Control(ViewerControl::Hello { have, viewer, in_next, size, role, .. }) => {
                // Ids grow in the order in which hellos are accepted.
                if id < self.newest_attached {
                    self.wires.remove(&id);
                    return true;
                }
                self.newest_attached = id;
                wire.attached = true;
                let role = role.unwrap_or(ViewerRole::Driver);
                let who = viewer.clone();
                let attached = blank();
                let id = ViewerId(id);
                let attach = Attach { viewer: id, key: viewer, who, have, in_next, size, role, attached };
                self.host_hears(HostInput::Attach(Box::new(attach)));
            }
            frame => {
                if let ViewerFrame::Ack { offset } | ViewerFrame::Ping { acked: offset, .. } = frame {
                    wire.acked = wire.acked.max(offset);
                }
                self.host_hears(HostInput::Frame { viewer: ViewerId(id), frame });
            }
        }
        true
    }

    /// What has arrived for a page, or that its connection was closed.
    pub fn next_for(&mut self, id: u64) -> Arrival {
        let Some(wire) = self.wires.get_mut(&id) else { return Arrival::Closed(None) };
        match (wire.to_viewer.pop_front(), wire.closing) {
            (Some(message), _) => Arrival::Message(message),
            (None, Some(code)) => {
                // Closed when the host's queue is empty.
                if self.host_sends_one(id) { Arrival::Nothing } else { Arrival::Closed(Some(code)) }
            }
            (None, None) => Arrival::Nothing,
        }
    }

    /// Nothing breaks any more: everybody connects, and everything arrives.
    pub fn come_to_rest(&mut self) {
        for _ in 0..400 {
            self.taken = self.given.len() as u64;
            self.host_hears(HostInput::InputTaken { total: self.taken });
            self.answer_for_snapshot();
            while self.wires.values().any(|wire| wire.page_is_off) {
                self.tell_of_one_that_left();
            }
            for id in self.wires.keys().copied().collect::<Vec<_>>() {
                while self.deliver_one_to_host(id) {}
                while self.host_sends_one(id) {}
            }
            for at in 0..self.pages.len() {
                self.with_page(at, Page::comes_to_rest);
            }
            self.now += Duration::from_millis(5);
            self.host.handle_timeout(self.now);
            while let Some(output) = self.host.poll_output() {
                self.perform(output);
            }
        }
        assert!(self.gate_open, "the gate stayed closed");
        self.check_input();
        for page in &self.pages {
            page.has_everything(self.written);
        }
    }

    /// I2: of each page, what it typed came once and in order.
    fn check_input(&self) {
        for page in &self.pages {
            page.check_input(&self.given);
        }
    }

    /// The shell exits, and everybody hears of it after the last byte.
    pub fn end(&mut self) {
        for _ in 0..3 {
            self.program_writes();
        }
        let ending = Ending::of(Code::EXITED);
        self.ending = Some(ending.clone());
        self.host_hears(HostInput::Ended(ending));
        for _ in 0..40 {
            self.answer_for_snapshot();
            for id in self.wires.keys().copied().collect::<Vec<_>>() {
                while self.deliver_one_to_host(id) {}
                while self.host_sends_one(id) {}
            }
            for at in 0..self.pages.len() {
                self.with_page(at, |page, world| while page.receives_one(world) {});
                self.with_page(at, |page, world| {
                    page.parses_all(world);
                    page.sends(world);
                });
            }
        }
        for page in self.pages.iter().filter(|page| page.is_at_the_terminal()) {
            page.has_everything(self.written);
            assert!(page.heard_the_end, "a page was not told of the end");
        }
    }
}

pub enum Arrival {
    Message(Message),
    Closed(Option<Code>),
    Nothing,
}

fn blank() -> HostControl {
    HostControl::Attached {
        session: "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("it has the form"),
        resume: "token".into(),
        role: ViewerRole::Watcher,
        from: 0,
        head: 0,
        in_ack: 0,
        window: config().window,
        in_window: config().in_window,
        ping_ms: 5000,
        dead_ms: 15000,
        size: SIZE,
        gap: None,
        snapshot: false,
        kept_s: 600,
        keeper: false,
        device: "router-7".into(),
        login: "root".into(),
    }
}
