//! The device: the agent's end of the link, the keeper's host of the terminal protocol, and a
//! program that echoes what is typed.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use moorline_wire::keep::{Decoder, FromKeeper, OrderControl, PREAMBLE, ToKeeper};
use moorline_wire::link::Role;
use moorline_wire::term::host::Attach;
use moorline_wire::term::{Host, HostConfig, HostInput, HostOutput, ViewerId};

use crate::end::End;
use crate::page::SIZE;

/// How much output the keeper keeps; the default of the broker's `keeper.ring`.
pub const RING_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
pub struct Device {
    /// Its end of the link.
    pub end: End,
    decoder: Decoder,
    host: Host,
    viewer: ViewerId,
    gate_open: bool,
    /// What the program is to write.
    writing: VecDeque<Bytes>,
    /// What the program was given, and is to echo.
    typed: VecDeque<Bytes>,
    /// How much the program was given.
    pub taken: u64,
}

impl Device {
    /// With a program that has written nothing.
    pub fn new(now: Instant) -> Self {
        let config = HostConfig { ring_bytes: RING_BYTES, ..HostConfig::default() };
        let mut end = End::new(Role::Agent, now);
        end.write(Bytes::from_static(PREAMBLE));
        Self {
            end,
            decoder: Decoder::plain(),
            host: Host::new(config, SIZE, now),
            viewer: ViewerId(0),
            gate_open: true,
            writing: VecDeque::new(),
            typed: VecDeque::new(),
            taken: 0,
        }
    }

    /// The program has this to write, and does so when it is read.
    pub fn program_writes(&mut self, piece: Bytes) {
        self.writing.push_back(piece);
    }

    /// Whether the program or the keeper goes on without being told anything.
    pub fn has_work(&self) -> bool {
        !self.writing.is_empty() || !self.typed.is_empty()
    }

    /// Whether the program has nothing to write, and all that it wrote was sent.
    pub fn is_at_rest(&self) -> bool {
        self.writing.is_empty() && self.end.has_room() && self.host.poll_timeout().is_none()
    }

    /// A frame of the broker.
    pub fn broker_said(&mut self, now: Instant, frame: Bytes) {
        self.end.came(now, frame);
        loop {
            let bytes = self.end.read();
            if bytes.is_empty() {
                return;
            }
            self.decoder.push(bytes);
            while let Some(raw) = self.decoder.next_message().expect("the broker keeps the rules") {
                let message = ToKeeper::decode(raw).expect("the broker keeps the rules");
                self.message(now, message.expect("both ends have the same version"));
            }
        }
    }

    fn message(&mut self, now: Instant, message: ToKeeper) {
        match message {
            ToKeeper::Frame(viewer, frame) => {
                self.hear(now, HostInput::Frame { viewer: ViewerId(viewer), frame });
            }
            ToKeeper::Order(OrderControl::Join { viewer, key, who, have, in_next, size, role, attached }) => {
                self.viewer = ViewerId(viewer);
                let attached = *attached;
                let attach = Attach { viewer: self.viewer, key, who, have, in_next, size, role, attached };
                self.hear(now, HostInput::Attach(Box::new(attach)));
            }
            ToKeeper::Order(_) => {}
        }
    }

    /// The terminal takes what was typed, and the program echoes it.
    pub fn program_turns(&mut self, now: Instant) {
        while let Some(typed) = self.typed.pop_front() {
            self.taken += typed.len() as u64;
            self.hear(now, HostInput::InputTaken { total: self.taken });
            self.drive(now);
            self.writing.push_back(typed);
        }
        while self.gate_open
            && let Some(piece) = self.writing.pop_front()
        {
            // The keeper copies what it reads out of the buffer that it reads into.
            self.hear(now, HostInput::Output(Bytes::copy_from_slice(&piece)));
            self.drive(now);
        }
    }

    /// To be called at the deadline.
    pub fn timeout(&mut self, now: Instant) {
        self.end.timeout(now);
        self.host.handle_timeout(now);
        self.perform();
    }

    /// When `timeout` is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.end.deadline().into_iter().chain(self.host.poll_timeout()).min()
    }

    /// Gives the link what the host has for the page.
    pub fn drive(&mut self, now: Instant) {
        while self.end.has_room() {
            let Some(frame) = self.host.poll_transmit(now, self.viewer) else { break };
            self.end.write(FromKeeper::Frame(self.viewer.0, frame).encode());
        }
        self.perform();
    }

    fn hear(&mut self, now: Instant, input: HostInput) {
        self.host.handle(now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::ToShell(bytes) => self.typed.push_back(bytes),
                HostOutput::Gate { open } => self.gate_open = open,
                HostOutput::Close { code, .. } => panic!("the keeper closes its viewer with {code}"),
                HostOutput::SnapshotWanted => panic!("the page fell out of the ring"),
                _ => {}
            }
        }
    }
}
