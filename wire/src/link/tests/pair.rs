//! Two links, and the wires between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::app::App;
use crate::Code;
use crate::link::{Attach, Config, Input, Link, Output, Role};

/// Index of an end: what it sends goes over the wire of the same index.
pub(super) const BROKER: usize = 0;
pub(super) const AGENT: usize = 1;

/// Both ends of a link, with whoever uses their streams.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) wires: [Wire; 2],
}

pub(super) struct End {
    pub(super) link: Link,
    pub(super) app: App,
    /// Its driver has a transport.
    pub(super) attached: bool,
    /// Its driver never looks at the time: it hears and answers, and begins nothing.
    pub(super) stands_still: bool,
    /// What the driver was told, in order.
    pub(super) told: Vec<Output>,
}

/// One direction of a transport.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) in_flight: VecDeque<(Instant, Bytes)>,
    pub(super) latency: Duration,
    /// Bytes per second; none for as fast as can be.
    pub(super) rate: Option<u64>,
    /// The line is busy with what was sent before, until then.
    busy_until: Option<Instant>,
    /// How long what it has not sent may take: the buffers on the way. Zero is a kernel that
    /// holds nothing unsent (TCP_NOTSENT_LOWAT) on a line without a queue.
    pub(super) queue: Duration,
    /// It takes frames while it holds fewer than this many.
    pub(super) room: usize,
    /// What is sent goes nowhere.
    pub(super) broken: bool,
    /// How many frames were sent over it in all.
    pub(super) frames: usize,
    /// How many bytes these had.
    pub(super) bytes: u64,
    /// Breaks when so many frames have arrived.
    pub(super) arrivals_left: Option<usize>,
}

impl Wire {
    fn has_room(&self, now: Instant) -> bool {
        self.in_flight.len() < self.room && self.free_at().is_none_or(|at| at <= now)
    }

    /// When the line takes a frame again.
    fn free_at(&self) -> Option<Instant> {
        self.busy_until.map(|until| until - self.queue)
    }

    fn send(&mut self, now: Instant, frame: Bytes) {
        self.frames += 1;
        let mut gone = now;
        self.bytes += frame.len() as u64;
        if let Some(rate) = self.rate {
            gone = self.busy_until.map_or(now, |until| until.max(now));
            gone += Duration::from_secs_f64(frame.len() as f64 / rate as f64);
            self.busy_until = Some(gone);
        }
        if !self.broken {
            self.in_flight.push_back((gone + self.latency, frame));
        }
    }

    /// Loses what is under way but for the first few frames, and all that is sent from now on.
    pub(super) fn cut(&mut self, keep: usize) {
        self.in_flight.truncate(keep);
        self.broken = true;
    }
}

impl Pair {
    pub(super) fn new(config: Config) -> Self {
        let now = Instant::now();
        let end = |role| End {
            link: Link::new(role, config.clone(), now),
            app: App::new(role),
            attached: false,
            stands_still: false,
            told: Vec::new(),
        };
        let wire = || Wire { latency: Duration::from_millis(20), room: usize::MAX, ..Wire::default() };
        Self { now, ends: [end(Role::Broker), end(Role::Agent)], wires: [wire(), wire()] }
    }

    /// A pair on a new transport, with everything said that comes first.
    pub(super) fn connected(config: Config) -> Self {
        let mut pair = Self::new(config);
        pair.connect(Attach::Fresh);
        pair.settle();
        pair
    }

    /// Attaches both ends to a new transport.
    pub(super) fn connect(&mut self, attach: Attach) {
        self.renew_wires();
        for end in [BROKER, AGENT] {
            self.attach(end, attach);
        }
    }

    /// A new transport; nobody is attached to it by that.
    pub(super) fn renew_wires(&mut self) {
        for wire in &mut self.wires {
            let (latency, rate, room, queue) = (wire.latency, wire.rate, wire.room, wire.queue);
            *wire = Wire { latency, rate, room, queue, ..Wire::default() };
        }
    }

    pub(super) fn attach(&mut self, end: usize, attach: Attach) {
        self.ends[end].attached = true;
        self.input(end, Input::Connected(attach));
    }

    /// Attaches an end whose driver sends nothing yet: it may hear the peer first.
    pub(super) fn attach_quietly(&mut self, end: usize, attach: Attach) {
        self.ends[end].attached = true;
        self.ends[end].link.handle(self.now, Input::Connected(attach)).unwrap();
        self.take_outputs(end);
    }

    /// Both wires lose what is under way, and both ends hear of it.
    pub(super) fn cut(&mut self) {
        for end in [BROKER, AGENT] {
            self.wires[end].cut(0);
            self.detach(end);
        }
    }

    /// One end hears that its transport is gone.
    pub(super) fn detach(&mut self, end: usize) {
        if std::mem::take(&mut self.ends[end].attached) {
            self.input(end, Input::Disconnected);
        }
    }

    pub(super) fn input(&mut self, end: usize, input: Input) {
        let now = self.now;
        let handled = self.ends[end].link.handle(now, input);
        assert_eq!(handled, Ok(()), "end {end} complains about its twin");
        self.take_outputs(end);
    }

    fn take_outputs(&mut self, end: usize) {
        let this = &mut self.ends[end];
        while let Some(output) = this.link.poll_output() {
            this.app.output(&output);
            if output == Output::Close(Code::LINK_DEAD) {
                this.attached = false;
                self.wires[end].cut(usize::MAX);
                this.link.handle(self.now, Input::Disconnected).unwrap();
            }
            this.told.push(output);
        }
        this.app.check_bounds(&this.link);
    }

    /// Takes every output, then sends every frame that the wire has room for.
    pub(super) fn drain(&mut self, end: usize) {
        self.take_outputs(end);
        let this = &mut self.ends[end];
        if !this.attached {
            assert_eq!(this.link.poll_transmit(self.now), None);
        }
        while this.attached && self.wires[end].has_room(self.now) {
            let Some(frame) = this.link.poll_transmit(self.now) else {
                let forgotten = this.link.has_transmit() && this.link.paced.is_empty();
                assert!(!forgotten, "it says that it has something to send, and does not");
                break;
            };
            self.wires[end].send(self.now, frame);
        }
        this.app.check_bounds(&this.link);
    }

    /// Jumps to the next event and lets it happen; says whether there was one before `limit`.
    pub(super) fn step_before(&mut self, limit: Instant) -> bool {
        let arrivals = [BROKER, AGENT].map(|end| self.wires[end].in_flight.front().map(|(at, _)| *at));
        let timeouts = [BROKER, AGENT].map(|end| {
            let end = &self.ends[end];
            end.link.poll_timeout().filter(|_| !end.stands_still)
        });
        let free = [BROKER, AGENT].map(|end| self.wires[end].free_at().filter(|at| *at > self.now));
        let all = arrivals.into_iter().chain(timeouts).chain(free);
        let Some(next) = all.flatten().min().filter(|next| *next <= limit) else {
            return false;
        };
        self.now = self.now.max(next);
        for end in [BROKER, AGENT] {
            if timeouts[end].is_some_and(|at| at <= self.now) {
                self.ends[end].link.handle_timeout(self.now);
            }
            self.arrive(1 - end, end);
            self.drain(end);
        }
        true
    }

    fn arrive(&mut self, from: usize, to: usize) {
        while self.wires[from].in_flight.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, frame) = self.wires[from].in_flight.pop_front().unwrap();
            if self.ends[to].attached {
                self.input(to, Input::Frame(frame));
            }
            if let Some(left) = &mut self.wires[from].arrivals_left {
                *left -= 1;
                if *left == 0 {
                    self.wires[from].cut(0);
                }
            }
        }
    }

    /// Lets time pass, and everything that happens in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain(BROKER);
        self.drain(AGENT);
        while self.step_before(until) {}
        self.now = until;
        self.drain(BROKER);
        self.drain(AGENT);
    }

    /// Lets everything happen that is under way: a few round trips.
    pub(super) fn settle(&mut self) {
        self.pass(Duration::from_secs(1));
    }

    pub(super) fn streams(&self) -> [usize; 2] {
        [BROKER, AGENT].map(|end| self.ends[end].link.streams())
    }

    /// Both ends have forgotten everything.
    pub(super) fn assert_nothing_is_left(&self) {
        for end in &self.ends {
            let link = &end.link;
            assert_eq!(link.streams(), 0, "{:?} still has {:?}", link.role, link.streams);
            assert!(link.resets.is_empty(), "{:?} still waits for {:?}", link.role, link.resets);
            assert!(link.reset_oks.is_empty() && link.credits.is_empty());
            assert!(link.ahead.is_empty() && link.paced.is_empty());
            assert_eq!(link.pace.in_flight(), 0, "{:?} still has something under way", link.role);
        }
    }
}
