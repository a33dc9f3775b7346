//! Streams on a transport that holds.

use std::time::Duration;

use super::chance::Chance;
use super::pair::{AGENT, BROKER, Pair};
use crate::link::stream::Fin;
use crate::link::{Attach, Class, Config, Link, OpenError, Output, Read, Role, Target, Written};
use crate::{Code, StreamId};

/// A broker's stream that the agent has, too.
fn opened(pair: &mut Pair, class: Class) -> StreamId {
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, class).unwrap();
    pair.settle();
    assert!(pair.ends[AGENT].told.contains(&Output::Opened { stream: id, target: Target::Sshd, class }));
    id
}

fn write(pair: &mut Pair, end: usize, id: StreamId, length: u64) -> u64 {
    let this = &mut pair.ends[end];
    let before = this.app.streams[&id].written;
    this.app.write(&mut this.link, id, length);
    pair.drain(end);
    pair.ends[end].app.streams[&id].written - before
}

fn read(pair: &mut Pair, end: usize, id: StreamId) -> u64 {
    let this = &mut pair.ends[end];
    let read = this.app.read(&mut this.link, id, u64::MAX);
    pair.drain(end);
    read
}

fn finish(pair: &mut Pair, end: usize, id: StreamId) {
    let this = &mut pair.ends[end];
    this.app.finish(&mut this.link, id);
    pair.drain(end);
}

/// A round trip of 160 ms.
fn far_apart(config: Config) -> Pair {
    let mut pair = Pair::new(config);
    for wire in &mut pair.wires {
        wire.latency = Duration::from_millis(80);
    }
    pair.connect(Attach::Fresh);
    pair.settle();
    pair
}

#[test]
fn the_first_bytes_do_not_wait_for_a_round_trip() {
    let mut pair = Pair::connected(Config::default());
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, Class::Interactive).unwrap();
    write(&mut pair, BROKER, id, 200_000);
    pair.pass(Duration::from_millis(20));
    assert_eq!(read(&mut pair, AGENT, id), 64 * 1024, "what every opener may send at once");
    pair.settle();
    assert_eq!(read(&mut pair, AGENT, id), 200_000 - 64 * 1024);
}

#[test]
fn both_directions_end_on_their_own_and_then_nothing_is_left() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    write(&mut pair, BROKER, id, 1000);
    finish(&mut pair, BROKER, id);
    pair.settle();
    assert_eq!(read(&mut pair, AGENT, id), 1000);
    assert!(pair.ends[AGENT].app.streams[&id].ended);
    assert_eq!(write(&mut pair, AGENT, id, 2000), 2000, "the other direction is still open");
    finish(&mut pair, AGENT, id);
    pair.settle();
    assert_eq!(read(&mut pair, BROKER, id), 2000);
    pair.settle();
    pair.assert_nothing_is_left();
}

#[test]
fn a_fin_is_acknowledged_before_anybody_has_read_it() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    finish(&mut pair, BROKER, id);
    pair.settle();
    assert_eq!(pair.ends[BROKER].link.streams[&id].outbound.fin, Fin::Acknowledged);
}

#[test]
fn the_window_is_what_a_reader_who_does_not_read_gets() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    let mut taken = write(&mut pair, BROKER, id, 1 << 20);
    assert_eq!(taken, 256 * 1024, "as much as the ring holds");
    for _ in 0..10 {
        pair.settle();
        taken += write(&mut pair, BROKER, id, 1 << 20);
    }
    assert!(taken <= 512 * 1024, "{taken}: a window at the reader's, one in the ring");
    assert_eq!(pair.ends[AGENT].link.streams[&id].inbound.unread(), 256 * 1024);
    assert_eq!(read(&mut pair, AGENT, id), 256 * 1024);
    pair.settle();
    assert!(read(&mut pair, AGENT, id) > 0, "it goes on as soon as something was read");
}

#[test]
fn keystrokes_cost_one_acknowledgement_in_thirty_two() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    let before = pair.wires[AGENT].frames;
    for _ in 0..320 {
        write(&mut pair, BROKER, id, 1);
        pair.pass(Duration::from_millis(1));
        read(&mut pair, AGENT, id);
    }
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.wires[AGENT].frames - before, 10);
}

#[test]
fn what_is_typed_while_the_line_is_full_goes_in_one_frame() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    pair.wires[BROKER].room = 0;
    for _ in 0..100 {
        write(&mut pair, BROKER, id, 1);
    }
    pair.wires[BROKER].room = usize::MAX;
    let before = pair.wires[BROKER].frames;
    pair.drain(BROKER);
    assert_eq!(pair.wires[BROKER].frames - before, 1);
}

#[test]
fn a_reset_reaches_the_other_end_though_it_reads_nothing() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    write(&mut pair, BROKER, id, 300_000);
    pair.settle();
    let end = &mut pair.ends[BROKER];
    end.app.reset(&mut end.link, id, Code::KILLED);
    pair.drain(BROKER);
    pair.settle();
    assert_eq!(pair.ends[AGENT].app.streams[&id].gone, Some(Code::KILLED));
    assert_eq!(pair.ends[AGENT].link.read(id, 10), Read::Gone(Code::UNKNOWN));
    assert_eq!(pair.ends[AGENT].link.write(id, b"x"), Written::Gone(Code::UNKNOWN));
    pair.assert_nothing_is_left();
}

#[test]
fn resets_may_cross_with_resets_and_with_anything_else() {
    let mut pair = Pair::connected(Config::default());
    for _ in 0..2 {
        let id = opened(&mut pair, Class::Bulk);
        write(&mut pair, BROKER, id, 40_000);
        write(&mut pair, AGENT, id, 40_000);
        finish(&mut pair, AGENT, id);
        for end in [BROKER, AGENT] {
            let this = &mut pair.ends[end];
            this.app.reset(&mut this.link, id, Code::CANCELLED);
            pair.drain(end);
        }
        pair.settle();
    }
    pair.assert_nothing_is_left();
}

#[test]
fn a_stream_that_was_reset_before_it_was_opened_is_never_heard_of() {
    let mut pair = Pair::connected(Config::default());
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, Class::Interactive).unwrap();
    end.app.reset(&mut end.link, id, Code::CANCELLED);
    let next = end.app.open(&mut end.link, Class::Interactive).unwrap();
    pair.settle();
    let agent = &pair.ends[AGENT].app.streams;
    assert!(!agent.contains_key(&id) && agent.contains_key(&next));
}

#[test]
fn no_more_streams_than_allowed_can_be_opened_until_one_is_over() {
    let mut pair = Pair::connected(Config { streams_max: 3, ..Config::default() });
    let ids: Vec<StreamId> = (0..3).map(|_| opened(&mut pair, Class::Interactive)).collect();
    let broker = &mut pair.ends[BROKER].link;
    assert_eq!(broker.open(Target::Sshd, Class::Interactive), Err(OpenError::TooMany));
    broker.reset(ids[0], Code::CANCELLED);
    assert!(broker.open(Target::Sshd, Class::Interactive).is_ok());
}

#[test]
fn an_agent_with_a_lower_limit_refuses_what_is_above_twice_of_it() {
    let mut pair = Pair::new(Config::default());
    pair.ends[AGENT].link = Link::new(Role::Agent, Config { streams_max: 2, ..Config::default() }, pair.now);
    pair.connect(Attach::Fresh);
    for _ in 0..6 {
        let end = &mut pair.ends[BROKER];
        end.app.open(&mut end.link, Class::Interactive).unwrap();
    }
    pair.settle();
    assert_eq!(pair.streams(), [4, 4]);
    for number in [5, 6] {
        assert_eq!(pair.ends[BROKER].app.streams[&StreamId(number)].gone, Some(Code::LIMIT));
    }
}

#[test]
fn a_bulk_window_grows_while_it_is_what_limits_and_an_interactive_one_does_not() {
    for (class, grown) in [(Class::Bulk, 2 << 20), (Class::Interactive, 256 * 1024)] {
        let mut pair = far_apart(Config::default());
        let id = opened(&mut pair, class);
        for _ in 0..2000 {
            write(&mut pair, AGENT, id, 1 << 20);
            pair.pass(Duration::from_millis(5));
            read(&mut pair, BROKER, id);
        }
        assert_eq!(pair.ends[BROKER].link.streams[&id].inbound.window(), grown, "{class:?}");
    }
}

#[test]
fn all_bulk_windows_of_a_link_together_grow_only_so_far() {
    let mut pair = far_apart(Config { window_bulk_max: 1 << 20, ..Config::default() });
    let ids: Vec<StreamId> = (0..12).map(|_| opened(&mut pair, Class::Bulk)).collect();
    // One after the other, each alone on the line, learns that its window is too small.
    for id in &ids {
        for _ in 0..200 {
            write(&mut pair, AGENT, *id, 1 << 20);
            pair.pass(Duration::from_millis(10));
            read(&mut pair, BROKER, *id);
        }
    }
    let streams = &pair.ends[BROKER].link.streams;
    let learned: u64 = ids.iter().map(|id| streams[id].inbound.learned()).sum();
    assert_eq!(learned, 4 << 20);
    for id in ids {
        let this = &mut pair.ends[BROKER];
        this.app.reset(&mut this.link, id, Code::CANCELLED);
    }
    assert_eq!(pair.ends[BROKER].link.spare_window(), 4 << 20, "what a stream had learned is free again");
}

#[test]
fn tiny_frames_hold_no_more_memory_than_their_bytes() {
    let mut pair = Pair::connected(Config::default());
    let id = opened(&mut pair, Class::Interactive);
    let mut chance = Chance::new(1);
    for _ in 0..30_000 {
        write(&mut pair, BROKER, id, 1 + chance.below(3));
        pair.pass(Duration::from_micros(100));
    }
    pair.settle();
    let inbound = &pair.ends[AGENT].link.streams[&id].inbound;
    assert!(inbound.unread() > 30_000);
    assert!(inbound.pieces() < 100, "{} pieces", inbound.pieces());
    assert_eq!(read(&mut pair, AGENT, id), pair.ends[BROKER].app.streams[&id].written);
}
