//! A keystroke does not wait behind a download.

use std::time::Duration;

use super::pair::{AGENT, BROKER, Pair};
use crate::StreamId;
use crate::link::{Attach, Class, Config};

/// 20 Mbit/s, 20 ms one way: an ordinary line. What the line has not sent stands in its queue
/// for as long as this at most.
fn slow_line(queue: Duration) -> Pair {
    let mut pair = Pair::new(Config::default());
    for wire in &mut pair.wires {
        wire.latency = Duration::from_millis(20);
        wire.rate = Some(2_500_000);
        wire.queue = queue;
    }
    pair.connect(Attach::Fresh);
    pair.settle();
    pair
}

fn open(pair: &mut Pair, class: Class) -> StreamId {
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, class).unwrap();
    pair.drain(BROKER);
    id
}

/// Keeps the download going for a millisecond.
fn download(pair: &mut Pair, streams: &[StreamId]) {
    for id in streams {
        let agent = &mut pair.ends[AGENT];
        if agent.app.streams.contains_key(id) {
            agent.app.write(&mut agent.link, *id, 1 << 20);
        }
        let broker = &mut pair.ends[BROKER];
        broker.app.read(&mut broker.link, *id, u64::MAX);
    }
    pair.drain(AGENT);
    pair.drain(BROKER);
    pair.pass(Duration::from_millis(1));
}

/// How long the echo of a keystroke takes while the download goes on.
fn echo(pair: &mut Pair, keys: StreamId, streams: &[StreamId]) -> Duration {
    let began = pair.now;
    let broker = &mut pair.ends[BROKER];
    broker.app.write(&mut broker.link, keys, 1);
    loop {
        download(pair, streams);
        let agent = &mut pair.ends[AGENT];
        let typed = agent.app.read(&mut agent.link, keys, u64::MAX);
        agent.app.write(&mut agent.link, keys, typed);
        pair.drain(AGENT);
        let broker = &mut pair.ends[BROKER];
        if broker.app.read(&mut broker.link, keys, u64::MAX) > 0 {
            return pair.now - began;
        }
    }
}

/// The slowest of fifty echoes, and what the downloads moved per second meanwhile.
fn echoes_beside_downloads(pair: &mut Pair, class: Class, count: usize) -> (Duration, u64) {
    let keys = open(pair, Class::Interactive);
    let streams: Vec<StreamId> = (0..count).map(|_| open(pair, class)).collect();
    pair.settle();
    for _ in 0..3000 {
        download(pair, &streams);
    }
    let moved = |pair: &Pair| streams.iter().map(|id| pair.ends[BROKER].app.streams[id].read).sum::<u64>();
    let (before, began) = (moved(pair), pair.now);
    let slowest = (0..50).map(|_| echo(pair, keys, &streams)).max().unwrap();
    let rate = (moved(pair) - before) as f64 / (pair.now - began).as_secs_f64();
    (slowest, rate as u64)
}

#[test]
fn an_echo_beside_a_download_takes_one_small_frame_longer_than_alone() {
    let mut pair = slow_line(Duration::ZERO);
    let (slowest, rate) = echoes_beside_downloads(&mut pair, Class::Bulk, 1);
    assert!(slowest <= Duration::from_millis(40 + 5), "{slowest:?}");
    assert!(rate > 2_000_000, "the download uses the line: {rate}");
}

#[test]
fn a_line_with_a_second_of_queue_is_not_filled_with_bulk() {
    let mut pair = slow_line(Duration::from_secs(1));
    let (slowest, rate) = echoes_beside_downloads(&mut pair, Class::Bulk, 3);
    assert!(slowest <= Duration::from_millis(40 + 45), "{slowest:?}");
    assert!(rate > 2_000_000, "the downloads use the line: {rate}");
}

#[test]
fn a_fast_line_is_filled_too() {
    let mut pair = Pair::new(Config::default());
    for wire in &mut pair.wires {
        wire.latency = Duration::from_millis(10);
        wire.rate = Some(60_000_000);
        wire.queue = Duration::from_millis(50);
    }
    pair.connect(Attach::Fresh);
    pair.settle();
    let (slowest, rate) = echoes_beside_downloads(&mut pair, Class::Bulk, 1);
    assert!(slowest <= Duration::from_millis(20 + 20), "{slowest:?}");
    assert!(rate > 40_000_000, "{rate}");
}

#[test]
fn a_terminal_that_prints_without_end_leaves_another_its_turn() {
    let mut pair = slow_line(Duration::ZERO);
    let (slowest, _) = echoes_beside_downloads(&mut pair, Class::Interactive, 1);
    assert!(slowest <= Duration::from_millis(40 + 3 * 7), "{slowest:?}");
}

#[test]
fn neither_does_it_fill_a_line_with_a_second_of_queue() {
    let mut pair = slow_line(Duration::from_secs(1));
    let (slowest, rate) = echoes_beside_downloads(&mut pair, Class::Interactive, 2);
    assert!(slowest <= Duration::from_millis(40 + 45), "{slowest:?}");
    assert!(rate > 2_000_000, "{rate}");
}

/// Each of many streams may have a little that was not acknowledged because it was too little.
#[test]
fn what_lingers_unacknowledged_holds_nobody_up() {
    for class in [Class::Bulk, Class::Interactive] {
        let mut pair = slow_line(Duration::ZERO);
        for _ in 0..200 {
            let id = open(&mut pair, class);
            pair.pass(Duration::from_millis(100));
            let agent = &mut pair.ends[AGENT];
            agent.app.write(&mut agent.link, id, 15_000);
            pair.drain(AGENT);
        }
        let last = open(&mut pair, Class::Bulk);
        pair.pass(Duration::from_millis(100));
        for _ in 0..1500 {
            download(&mut pair, &[last]);
        }
        let moved = pair.ends[BROKER].app.streams[&last].read;
        assert!(moved > 2_000_000, "{moved} in a second and a half");
    }
}

#[test]
fn bulk_that_is_held_back_waits_for_no_later_ping_than_it_must() {
    let mut pair = slow_line(Duration::ZERO);
    let streams: Vec<StreamId> = (0..9).map(|_| open(&mut pair, Class::Bulk)).collect();
    pair.settle();
    for round in 1..=60 {
        for id in &streams {
            let agent = &mut pair.ends[AGENT];
            agent.app.write(&mut agent.link, *id, 12_000);
            pair.drain(AGENT);
        }
        pair.pass(Duration::from_millis(160));
        for id in &streams {
            let broker = &mut pair.ends[BROKER];
            broker.app.read(&mut broker.link, *id, u64::MAX);
            assert_eq!(broker.app.streams[id].read, 12_000 * round);
        }
    }
}

#[test]
fn bulk_goes_on_beside_somebody_who_types() {
    let mut pair = slow_line(Duration::ZERO);
    let (_, rate) = echoes_beside_downloads(&mut pair, Class::Bulk, 5);
    assert!(rate > 2_000_000, "{rate}");
}
