//! Random histories: whatever happens to the transport, each byte arrives once and in order.

use std::time::Duration;

use super::chance::{Chance, with_seeds};
use super::pair::{AGENT, BROKER, Pair};
use crate::link::{Attach, Class, Config, Input, Output};

fn small() -> Config {
    Config { window_interactive: 64 * 1024, window_bulk_max: 512 * 1024, streams_max: 6, ..Config::default() }
}

/// One history being told.
struct History {
    pair: Pair,
    chance: Chance,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut pair = Pair::new(small());
        for wire in &mut pair.wires {
            wire.latency = Duration::from_micros([0, 200, 20_000, 150_000][chance.below(4) as usize]);
            wire.room = [1, 3, 8, usize::MAX][chance.below(4) as usize];
            wire.rate = [None, None, Some(2_000_000)][chance.below(3) as usize];
        }
        Self { pair, chance }
    }

    fn tell(&mut self, steps: u64) {
        if self.chance.percent(80) {
            self.pair.connect(Attach::Fresh);
        }
        for _ in 0..steps {
            self.something_happens();
        }
    }

    fn something_happens(&mut self) {
        match self.chance.below(1000) {
            0..60 => self.open(),
            60..560 => self.somebody_does_something(),
            560..940 => {
                let limit = self.pair.now + Duration::from_secs(30);
                self.pair.step_before(limit);
            }
            940..955 => self.cut(),
            955..965 => {
                let end = self.chance.below(2) as usize;
                if self.pair.wires[end].broken {
                    self.pair.detach(end);
                }
            }
            965..988 => self.reconnect(),
            988..992 => self.stall(),
            992..995 => self.go_away(),
            995..998 => self.second_greeting(),
            _ => self.pair.pass(Duration::from_secs(self.chance.below(70))),
        }
    }

    fn open(&mut self) {
        let class = if self.chance.percent(50) { Class::Interactive } else { Class::Bulk };
        let end = &mut self.pair.ends[BROKER];
        end.app.open(&mut end.link, class);
        self.pair.drain(BROKER);
    }

    fn somebody_does_something(&mut self) {
        let which = self.chance.below(2) as usize;
        let end = &mut self.pair.ends[which];
        end.app.do_something(&mut end.link, &mut self.chance);
        if self.chance.percent(70) {
            self.pair.drain(which);
        }
    }

    /// The cable is cut: each direction loses another part of what is under way, and each end
    /// hears of it at once, later, or not before the next greeting.
    fn cut(&mut self) {
        for end in [BROKER, AGENT] {
            let keep = self.chance.below(1 + self.pair.wires[end].in_flight.len() as u64);
            self.pair.wires[end].cut(keep as usize);
        }
        for end in [BROKER, AGENT] {
            if self.chance.percent(40) {
                self.pair.detach(end);
            }
        }
    }

    fn reconnect(&mut self) {
        if self.pair.wires.iter().any(|wire| wire.broken) || !self.pair.ends[AGENT].attached {
            self.greet();
        }
    }

    /// The driver greets again although nothing was wrong.
    fn second_greeting(&mut self) {
        self.greet();
    }

    fn greet(&mut self) {
        let both_remember = self.pair.ends.iter().all(|end| end.link.is_resumable());
        let attach = if both_remember && self.chance.percent(93) { Attach::Resumed } else { Attach::Fresh };
        self.pair.renew_wires();
        self.pair.attach(BROKER, attach);
        if attach == Attach::Resumed && self.chance.percent(15) {
            // The welcome is lost: the broker thinks that the link goes on, the agent does not.
            self.pair.wires[BROKER].cut(0);
            self.pair.wires[AGENT].cut(0);
            return;
        }
        if self.chance.percent(20) {
            self.pair.attach_quietly(AGENT, attach);
        } else {
            self.pair.attach(AGENT, attach);
        }
    }

    fn stall(&mut self) {
        let wire = &mut self.pair.wires[self.chance.below(2) as usize];
        let time = Duration::from_millis(self.chance.below(20_000));
        for (at, _) in &mut wire.in_flight {
            *at += time;
        }
    }

    fn go_away(&mut self) {
        let come_back_after = Duration::from_millis(self.chance.below(5000));
        self.pair.input(BROKER, Input::GoAway { come_back_after });
    }

    /// In the end there is a transport for long enough, and everybody reads and finishes.
    fn end(&mut self) {
        for wire in &mut self.pair.wires {
            wire.rate = None;
            wire.room = usize::MAX;
        }
        // Mostly without another resume, which would heal what was forgotten.
        if self.chance.percent(30) {
            self.reconnect_for_good();
        }
        for _ in 0..40 {
            let all_is_well = self.pair.ends.iter().all(|end| end.attached)
                && self.pair.wires.iter().all(|wire| !wire.broken);
            if !all_is_well {
                self.reconnect_for_good();
            }
            for end in [BROKER, AGENT] {
                let end = &mut self.pair.ends[end];
                end.app.wind_up(&mut end.link);
            }
            self.pair.pass(Duration::from_millis(500));
        }
        self.pair.assert_nothing_is_left();
        self.check_every_stream();
    }

    fn reconnect_for_good(&mut self) {
        let both_remember = self.pair.ends.iter().all(|end| end.link.is_resumable());
        self.pair.connect(if both_remember { Attach::Resumed } else { Attach::Fresh });
    }

    fn check_every_stream(&self) {
        let [broker, agent] = &self.pair.ends;
        for (id, ours) in &broker.app.streams {
            let Some(theirs) = agent.app.streams.get(id) else {
                let nobody_heard_of_it = ours.dropped || ours.gone.is_some();
                assert!(nobody_heard_of_it, "{id} was never opened: {ours:?}");
                continue;
            };
            assert!(ours.is_over() && theirs.is_over(), "{id}: {ours:?} {theirs:?}");
            assert!(theirs.read <= ours.written && ours.read <= theirs.written, "{id} from nowhere");
            assert!(!theirs.ended || (ours.finished && theirs.read == ours.written), "{id} ended early");
            assert!(!ours.ended || (theirs.finished && ours.read == theirs.written), "{id} ended early");
            let anyone_reset = ours.dropped || theirs.dropped || ours.gone.is_some() || theirs.gone.is_some();
            assert!(anyone_reset || (ours.ended && theirs.ended), "{id}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn in_any_history_every_byte_arrives_once_and_in_order_and_nothing_is_left() {
    with_seeds(3000, |seed| {
        let mut history = History::new(seed);
        history.tell(400);
        history.end();
    });
}

#[test]
fn in_long_histories_too() {
    with_seeds(30, |seed| {
        let mut history = History::new(1_000_000 + seed);
        history.tell(10_000);
        history.end();
    });
}

#[test]
fn the_histories_contain_what_they_are_to_contain() {
    let (mut resets, mut losses, mut ends, mut ups, mut downs, mut closes) = (0, 0, 0, 0u64, 0u64, 0);
    for seed in 0..100 {
        let mut history = History::new(seed);
        history.tell(400);
        history.end();
        for end in &history.pair.ends {
            closes += end.told.iter().filter(|output| matches!(output, Output::Close(_))).count();
            losses += end.told.iter().filter(|output| matches!(output, Output::Lost)).count();
            resets += end.told.iter().filter(|output| matches!(output, Output::Reset { .. })).count();
            ends += end.app.streams.values().filter(|stream| stream.ended).count();
        }
        ups += history.pair.ends[BROKER].app.streams.values().map(|stream| stream.read).sum::<u64>();
        downs += history.pair.ends[AGENT].app.streams.values().map(|stream| stream.read).sum::<u64>();
    }
    let seen = format!("resets {resets} losses {losses} ends {ends} up {ups} down {downs} closes {closes}");
    assert!(resets > 200 && losses > 20 && ends > 200 && closes > 20, "{seen}");
    assert!(ups > 1_000_000 && downs > 1_000_000, "{seen}");
}
