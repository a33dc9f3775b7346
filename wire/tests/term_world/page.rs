//! A page with its viewer, its terminal and somebody who types.

use bytes::Bytes;
use moorline_wire::Code;
use moorline_wire::term::frame::{HostControl, HostFrame, ViewerControl, ViewerRole};
use moorline_wire::term::{Viewer, ViewerOutput};

use super::{Arrival, SIZE, World, output_at};

pub struct Page {
    viewer: Viewer,
    key: String,
    /// Marks what this page types: a reload makes another page of it.
    mark: u8,
    typed: u64,
    /// It has looked on since it was taken over: what it had typed may be gone.
    gave_up_typing: bool,
    role: ViewerRole,
    connection: Option<u64>,
    /// What the terminal shows: everything below came in order.
    shown: Option<u64>,
    /// A gap was told: `from..to`, and a rebuild must follow.
    gap: Option<(u64, u64)>,
    taken_over: bool,
    refused: bool,
    pub heard_the_end: bool,
    marks_used: u8,
}

impl Page {
    pub fn nobody() -> Self {
        Self::new(0, ViewerRole::Watcher)
    }

    pub fn new(number: usize, role: ViewerRole) -> Self {
        let key = format!("key-{number}");
        let mut viewer = Viewer::new(key.clone(), SIZE);
        viewer.want(role);
        Self {
            viewer,
            key,
            mark: number as u8 + 2,
            typed: 0,
            gave_up_typing: role == ViewerRole::Watcher,
            role,
            connection: None,
            shown: None,
            gap: None,
            taken_over: false,
            refused: false,
            heard_the_end: false,
            marks_used: 0,
        }
    }

    /// The byte that this page types at this place: never one that interrupts.
    fn input_at(&self, place: u64) -> u8 {
        (self.mark << 4) | (place % 16) as u8
    }

    pub fn is_at_the_terminal(&self) -> bool {
        self.connection.is_some() && !self.refused
    }

    pub fn connect(&mut self, world: &mut World) {
        if self.connection.is_some() || self.taken_over || self.refused {
            return;
        }
        self.viewer.connected(world.now);
        let hello = self.viewer.hello(Some("ticket".into()), None);
        self.connection = Some(world.new_wire(&hello));
    }

    /// The connection breaks; what is on the wire is lost, and both ends may learn of it late.
    pub fn is_cut(&mut self, world: &mut World) {
        let Some(id) = self.connection else { return };
        if let Some(wire) = world.wires.get_mut(&id) {
            let (to_viewer, to_host) = (wire.to_viewer.len() as u64, wire.to_host.len() as u64);
            let (arrive, arrive_there) = (world.random(to_viewer + 1), world.random(to_host + 1));
            let wire = world.wires.get_mut(&id).expect("it was just there");
            wire.to_viewer.truncate(arrive as usize);
            // What had left already may still arrive.
            wire.to_host.truncate(arrive_there as usize);
        }
        while self.receives_one(world) {}
        self.leaves_quietly(world);
    }

    /// The page lets go of its connection and tells nobody.
    pub fn leaves_quietly(&mut self, world: &mut World) {
        let Some(id) = self.connection.take() else { return };
        self.viewer.disconnected(world.now);
        if let Some(wire) = world.wires.get_mut(&id) {
            wire.page_is_off = true;
        }
    }

    /// The page forgets everything but its key.
    pub fn reload(&mut self, world: &mut World) {
        if self.marks_used > 0 || self.typed > 0 {
            // There are marks for 14 pages; a page that has typed and reloads types no more.
            self.gave_up_typing = true;
        }
        self.is_cut(world);
        let mut viewer = Viewer::new(self.key.clone(), SIZE);
        viewer.want(self.role);
        self.viewer = viewer;
        (self.shown, self.gap) = (None, None);
        self.taken_over = false;
        self.connect(world);
    }

    pub fn takes_control(&mut self) {
        if self.viewer.is_attached() && self.viewer.role() == Some(ViewerRole::Watcher) {
            self.viewer.send(ViewerControl::TakeControl);
            self.viewer.want(ViewerRole::Driver);
            self.role = ViewerRole::Driver;
        }
    }

    /// Types, pastes, parses, or takes the terminal back.
    pub fn acts(&mut self, world: &mut World) {
        match world.random(9) {
            7 => {
                let hidden = world.random(2) == 0;
                self.viewer.set_hidden(world.now, hidden);
                self.viewer.send(ViewerControl::Visibility { hidden });
            }
            0..3 => self.types(world),
            3..7 => {
                let ahead = self.viewer.received();
                let part = world.random(ahead + 1).max(ahead.saturating_sub(500));
                self.viewer.parsed(world.now, part);
            }
            _ if self.taken_over && !self.refused => {
                self.taken_over = false;
                if world.random(2) == 0 {
                    self.role = ViewerRole::Watcher;
                    self.gave_up_typing = true;
                }
                self.viewer.want(self.role);
                self.connect(world);
            }
            _ => {}
        }
    }

    fn types(&mut self, world: &mut World) {
        let may = !self.gave_up_typing && self.viewer.role() == Some(ViewerRole::Driver) && !self.taken_over;
        if !may {
            return;
        }
        let pastes = world.random(6) == 0;
        let length = if pastes { 1 + world.random(15_000) } else { 1 + world.random(5) };
        let bytes: Vec<u8> = (self.typed..self.typed + length).map(|place| self.input_at(place)).collect();
        self.typed += length;
        if pastes {
            assert!(self.viewer.pasted(world.now, Bytes::from(bytes)));
        } else {
            assert!(self.viewer.typed(world.now, &bytes));
        }
    }

    pub fn sends(&mut self, world: &mut World) {
        let Some(id) = self.connection else { return };
        let room = 1 + world.random(8);
        for _ in 0..room {
            let Some(frame) = self.viewer.poll_transmit(world.now) else { return };
            if let Some(wire) = world.wires.get_mut(&id) {
                wire.to_host.push_back(frame.encode());
            }
        }
    }

    pub fn receives(&mut self, world: &mut World) {
        for _ in 0..1 + world.random(5) {
            self.receives_one(world);
        }
    }

    pub fn receives_one(&mut self, world: &mut World) -> bool {
        let Some(id) = self.connection else { return false };
        match world.next_for(id) {
            Arrival::Nothing => false,
            Arrival::Closed(code) => {
                self.refused |= code == Some(Code::LIMIT);
                self.taken_over |= matches!(code, Some(Code::TAKEN_OVER | Code::CANCELLED));
                self.leaves_quietly(world);
                if code.is_none() {
                    self.connect(world);
                }
                false
            }
            Arrival::Message(message) => {
                let frame =
                    HostFrame::decode(message).expect("the host broke a rule").expect("all are known");
                self.viewer.receive(world.now, frame).expect("the host broke a rule");
                while let Some(output) = self.viewer.poll_output() {
                    self.perform(output);
                }
                true
            }
        }
    }

    fn perform(&mut self, output: ViewerOutput) {
        match output {
            ViewerOutput::Write(bytes) => {
                assert_eq!(self.gap, None, "output came between a gap and its screen");
                let from = self.shown.unwrap_or(0);
                let expected: Vec<u8> = (from..from + bytes.len() as u64).map(output_at).collect();
                assert!(bytes == expected, "I1: other output than the program wrote at {from}");
                self.shown = Some(from + bytes.len() as u64);
            }
            ViewerOutput::Rebuild { bytes, .. } => {
                let offset = u64::from_be_bytes(bytes.as_ref().try_into().expect("8 bytes"));
                assert_eq!(offset, self.viewer.received(), "a snapshot for another offset");
                let missing = self.shown.map(|shown| (shown, offset));
                assert_eq!(self.gap.take(), missing, "I1: output is missing and nobody said so");
                self.shown = Some(offset);
            }
            ViewerOutput::Gap { from, to } => self.gap = Some((from, to)),
            ViewerOutput::Control(HostControl::Attached { from, snapshot: false, .. }) => {
                assert!(self.shown.is_none_or(|shown| shown == from), "output goes on elsewhere");
                self.shown = Some(from);
            }
            ViewerOutput::Control(HostControl::Ended { .. }) => self.heard_the_end = true,
            ViewerOutput::Control(HostControl::TakenOver { .. }) => self.taken_over = true,
            ViewerOutput::PasteCancelled { .. } => panic!("nobody interrupted"),
            ViewerOutput::Control(_) | ViewerOutput::Unstable | ViewerOutput::Steady | ViewerOutput::Dead => {
            }
        }
    }

    pub fn time_passed(&mut self, world: &mut World) {
        self.viewer.handle_timeout(world.now);
        while let Some(output) = self.viewer.poll_output() {
            if output == ViewerOutput::Dead {
                self.leaves_quietly(world);
                self.connect(world);
            }
        }
    }

    pub fn parses_all(&mut self, world: &mut World) {
        let received = self.viewer.received();
        self.viewer.parsed(world.now, received);
    }

    pub fn comes_to_rest(&mut self, world: &mut World) {
        self.connect(world);
        while self.receives_one(world) {}
        self.parses_all(world);
        self.sends(world);
    }

    pub fn has_everything(&self, written: u64) {
        if self.is_at_the_terminal() {
            assert_eq!(self.shown.unwrap_or(0), written, "{} lacks output: {:?}", self.key, self.viewer);
        }
        if self.viewer.is_attached() && self.role == ViewerRole::Driver && !self.gave_up_typing {
            assert_eq!(self.viewer.input_waiting().0, 0, "{} has input that was not taken", self.key);
        }
    }

    pub fn check_input(&self, given: &[u8]) {
        let mine: Vec<u8> = given.iter().copied().filter(|byte| byte >> 4 == self.mark).collect();
        for (place, byte) in mine.iter().enumerate() {
            assert_eq!(*byte, self.input_at(place as u64), "I2: {} typed otherwise at {place}", self.key);
        }
        assert!(mine.len() as u64 <= self.typed, "I2: more came from {} than was typed", self.key);
        let all_was_to_come = self.is_at_the_terminal() && !self.gave_up_typing;
        if all_was_to_come {
            assert_eq!(mine.len() as u64, self.typed, "I2: input of {} is missing", self.key);
        }
    }
}
