//! Whoever uses the streams of one end, and what they may expect.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::chance::Chance;
use crate::link::{Class, Link, Output, Read, Role, Target, Written};
use crate::{Code, StreamId};

/// The user of one end. It reads and writes only when it was told that it can, as a driver with
/// wakers does: an output that is missing leaves it waiting for ever.
pub(super) struct App {
    role: Role,
    pub(super) streams: BTreeMap<StreamId, Use>,
}

/// What was done with one stream.
#[derive(Debug, Default)]
pub(super) struct Use {
    pub(super) written: u64,
    pub(super) finished: bool,
    pub(super) read: u64,
    pub(super) ended: bool,
    /// Reset by us.
    pub(super) dropped: bool,
    /// Reset by the peer, or lost with the link.
    pub(super) gone: Option<Code>,
    reader_waits: bool,
    writer_waits: bool,
}

impl Use {
    /// Nothing more can be done with it.
    pub(super) fn is_over(&self) -> bool {
        self.dropped || self.gone.is_some() || (self.finished && self.ended)
    }
}

/// Noise that repeats after a prime number of bytes, larger than any window.
const NOISE: usize = 3_000_017;

/// Up to 1 MiB of a direction from an offset on: other bytes at any other offset or stream.
fn bytes_at(stream: StreamId, from: Role, offset: u64, length: usize) -> &'static [u8] {
    static NOISE_TWICE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE_TWICE.get_or_init(|| {
        let mut chance = Chance::new(0);
        let mut noise: Vec<u8> = (0..NOISE).map(|_| chance.next() as u8).collect();
        noise.extend_from_within(..1 << 20);
        noise
    });
    let direction = u64::from(stream.0) * 2 + u64::from(from == Role::Broker);
    let start = (offset + direction * 50_021) as usize % NOISE;
    &noise[start..start + length]
}

impl App {
    pub(super) fn new(role: Role) -> Self {
        Self { role, streams: BTreeMap::new() }
    }

    fn peer(&self) -> Role {
        match self.role {
            Role::Broker => Role::Agent,
            Role::Agent => Role::Broker,
        }
    }

    pub(super) fn open(&mut self, link: &mut Link, class: Class) -> Option<StreamId> {
        let id = link.open(Target::Sshd, class).ok()?;
        let before = self.streams.insert(id, Use::default());
        assert!(before.is_none(), "number {id} was used before");
        Some(id)
    }

    pub(super) fn output(&mut self, output: &Output) {
        match output {
            Output::Opened { stream, .. } => {
                let before = self.streams.insert(*stream, Use::default());
                assert!(before.is_none(), "{stream} was opened twice");
            }
            Output::Readable(stream) => self.streams.get_mut(stream).unwrap().reader_waits = false,
            Output::Writable(stream) => self.streams.get_mut(stream).unwrap().writer_waits = false,
            Output::Reset { stream, code } => {
                let stream = self.streams.get_mut(stream).unwrap();
                assert!(!stream.dropped && stream.gone.is_none(), "reset twice");
                stream.gone = Some(*code);
            }
            _ => {}
        }
    }

    /// Those with which something can still be done.
    pub(super) fn live(&self) -> Vec<StreamId> {
        self.streams.iter().filter(|(_, stream)| !stream.is_over()).map(|(id, _)| *id).collect()
    }

    pub(super) fn write(&mut self, link: &mut Link, id: StreamId, length: u64) {
        let role = self.role;
        let stream = self.streams.get_mut(&id).unwrap();
        if stream.writer_waits || stream.finished || stream.is_over() {
            return;
        }
        match link.write(id, bytes_at(id, role, stream.written, length as usize)) {
            Written::Taken(taken) => {
                stream.written += taken as u64;
                stream.writer_waits = (taken as u64) < length;
            }
            Written::Pending => stream.writer_waits = true,
            Written::Gone(code) => panic!("{id} is gone with {code} and nobody said so"),
        }
    }

    /// Reads at most so many bytes; says how many there were.
    pub(super) fn read(&mut self, link: &mut Link, id: StreamId, max: u64) -> u64 {
        let peer = self.peer();
        let stream = self.streams.get_mut(&id).unwrap();
        if stream.reader_waits || stream.ended || stream.is_over() {
            return 0;
        }
        let before = stream.read;
        while stream.read - before < max {
            match link.read(id, (max - (stream.read - before)) as usize) {
                Read::Data(bytes) => {
                    assert!(!bytes.is_empty(), "nothing is not data");
                    let expected = bytes_at(id, peer, stream.read, bytes.len());
                    assert!(bytes == expected, "{id} has other bytes at {}", stream.read);
                    stream.read += bytes.len() as u64;
                }
                Read::Pending => {
                    stream.reader_waits = true;
                    break;
                }
                Read::End => {
                    stream.ended = true;
                    break;
                }
                Read::Gone(code) => panic!("{id} is gone with {code} and nobody said so"),
            }
        }
        stream.read - before
    }

    pub(super) fn finish(&mut self, link: &mut Link, id: StreamId) {
        self.streams.get_mut(&id).unwrap().finished = true;
        link.finish(id);
    }

    pub(super) fn reset(&mut self, link: &mut Link, id: StreamId, code: Code) {
        self.streams.get_mut(&id).unwrap().dropped = true;
        link.reset(id, code);
    }

    /// Does something at random with some stream.
    pub(super) fn do_something(&mut self, link: &mut Link, chance: &mut Chance) {
        let Some(id) = chance.pick(&self.live()).copied() else {
            return;
        };
        match chance.below(100) {
            0..45 => {
                let length = [1, 20, 3000, 40_000][chance.below(4) as usize];
                self.write(link, id, 1 + chance.below(length));
            }
            45..85 => {
                let max = [1, 5000, 1 << 20][chance.below(3) as usize];
                self.read(link, id, max);
            }
            85..96 => self.finish(link, id),
            _ => self.reset(link, id, Code::CANCELLED),
        }
    }

    /// Reads all there is, and finishes whatever does not wait to write more.
    pub(super) fn wind_up(&mut self, link: &mut Link) {
        for id in self.live() {
            self.read(link, id, u64::MAX);
            let stream = &self.streams[&id];
            if !stream.is_over() && !stream.writer_waits {
                self.finish(link, id);
            }
        }
    }

    /// However the peer behaves, no more than a window is held for it, and no more than a window
    /// is under way to it.
    pub(super) fn check_bounds(&self, link: &Link) {
        for (id, stream) in &link.streams {
            let window = link.window_max(stream.class);
            let (outbound, inbound) = (&stream.outbound, &stream.inbound);
            let kept = outbound.ring.end() - outbound.ring.start();
            assert!(outbound.in_flight() <= kept && kept <= window, "{id} keeps {kept} of {window}");
            assert!(outbound.sent <= outbound.limit, "{id} sent more than it may");
            assert!(inbound.unread() <= window, "{id} holds more than its window unread");
        }
        let in_flight: u64 = link.streams.values().map(|stream| stream.outbound.in_flight()).sum();
        if link.phase == crate::link::machine::Phase::Steady {
            assert_eq!(link.pace.in_flight(), in_flight, "what is under way is miscounted");
        }
        // The cap may have shrunk below what was sent under it.
        let ahead = link.streams.len() as u64 * 64 * 1024;
        let most = u64::from(link.config.window_bulk_max) + ahead + 16 * 1024;
        assert!(link.pace.in_flight() <= most && link.pace.cap() <= most);
    }
}
