//! One history, cut everywhere: after every frame of either direction, alone and in every pair,
//! and again while it resumes. Most frames of it have one byte of data, so a cut after every
//! frame is a cut at every byte.

use std::time::Duration;

use super::pair::{AGENT, BROKER, Pair};
use crate::link::{Attach, Class, Config};
use crate::{Code, StreamId};

/// What is done, one after the other.
#[derive(Clone, Copy)]
enum Act {
    Open(Class),
    Write(usize, u32, u64),
    Read(usize, u32),
    Finish(usize, u32),
    Reset(usize, u32),
}

use Act::{Finish, Open, Read, Reset, Write};

const STORY: &[Act] = &[
    Open(Class::Interactive), // 1: a dialogue of single bytes
    Write(BROKER, 1, 1),
    Write(BROKER, 1, 1),
    Open(Class::Bulk), // 2: a copy with an end
    Write(AGENT, 1, 1),
    Write(BROKER, 2, 9000),
    Write(AGENT, 1, 1),
    Read(BROKER, 1),
    Open(Class::Interactive), // 3: the broker changes its mind
    Write(BROKER, 3, 5),
    Write(AGENT, 2, 3),
    Reset(BROKER, 3),
    Finish(BROKER, 2),
    Write(BROKER, 1, 1),
    Open(Class::Interactive), // 4: the agent changes its mind
    Read(AGENT, 1),
    Write(BROKER, 4, 1),
    Read(AGENT, 2),
    Reset(AGENT, 4),
    Finish(AGENT, 2),
    Open(Class::Interactive), // 5: both change their minds
    Finish(AGENT, 1),
    Write(BROKER, 5, 20),
    Read(BROKER, 2),
    Reset(BROKER, 5),
    Reset(AGENT, 5),
    Write(BROKER, 1, 40_000),
    Read(BROKER, 1),
    Finish(BROKER, 1),
    Open(Class::Bulk), // 6: finished before anything was said
    Finish(BROKER, 6),
];

/// Tells the story over a transport each of whose directions breaks after so many frames; the
/// next one breaks likewise, and the third holds.
fn tell(first: [Option<usize>; 2], second: [Option<usize>; 2]) -> Pair {
    let mut pair = Pair::new(Config::default());
    pair.wires[BROKER].latency = Duration::from_millis(3);
    pair.wires[AGENT].latency = Duration::from_millis(4);
    pair.connect(Attach::Fresh);
    let mut breaks = [first, second].into_iter();
    arm(&mut pair, breaks.next());
    for act in STORY {
        perform(&mut pair, *act);
        pair.pass(Duration::from_millis(2));
        heal(&mut pair, &mut breaks);
    }
    for _ in 0..40 {
        for end in &mut pair.ends {
            end.app.wind_up(&mut end.link);
        }
        pair.pass(Duration::from_millis(50));
        heal(&mut pair, &mut breaks);
    }
    pair
}

/// Makes each direction break after so many frames.
fn arm(pair: &mut Pair, after: Option<[Option<usize>; 2]>) {
    for end in [BROKER, AGENT] {
        pair.wires[end].arrivals_left = after.and_then(|after| after[end]);
        if pair.wires[end].arrivals_left == Some(0) {
            pair.wires[end].cut(0);
        }
    }
}

/// When a direction has broken, so does the other, and both ends come back over a new transport.
fn heal(pair: &mut Pair, breaks: &mut impl Iterator<Item = [Option<usize>; 2]>) {
    if pair.wires.iter().all(|wire| !wire.broken) {
        return;
    }
    pair.cut();
    pair.renew_wires();
    arm(pair, breaks.next());
    for end in [BROKER, AGENT] {
        pair.attach(end, Attach::Resumed);
    }
}

fn perform(pair: &mut Pair, act: Act) {
    if let Open(class) = act {
        let end = &mut pair.ends[BROKER];
        end.app.open(&mut end.link, class).unwrap();
        return pair.drain(BROKER);
    }
    let (Write(who, stream, _) | Read(who, stream) | Finish(who, stream) | Reset(who, stream)) = act else {
        return;
    };
    let (end, id) = (&mut pair.ends[who], StreamId(stream));
    let lives = end.app.streams.get(&id).is_some_and(|stream| !stream.is_over());
    match act {
        _ if !lives => {} // its OPEN was lost, or the other end has reset it
        Write(_, _, length) => end.app.write(&mut end.link, id, length),
        Read(..) => _ = end.app.read(&mut end.link, id, u64::MAX),
        Finish(..) => end.app.finish(&mut end.link, id),
        Reset(..) => end.app.reset(&mut end.link, id, Code::CANCELLED),
        Open(_) => {}
    }
    pair.drain(who);
}

/// Everything arrived that was to, and nothing is left of it.
fn check(pair: &Pair) {
    pair.assert_nothing_is_left();
    let [broker, agent] = &pair.ends;
    for number in [1, 2, 6] {
        let (ours, theirs) = (&broker.app.streams[&StreamId(number)], &agent.app.streams[&StreamId(number)]);
        assert!(ours.ended && theirs.ended, "{number}: {ours:?} {theirs:?}");
        assert_eq!((ours.read, theirs.read), (theirs.written, ours.written), "{number}");
        assert_eq!((ours.gone, theirs.gone), (None, None));
    }
    assert!(broker.app.streams[&StreamId(1)].written > 40_000);
}

/// How many frames each direction of the story has when nothing breaks.
fn frames() -> [usize; 2] {
    let pair = tell([None; 2], [None; 2]);
    check(&pair);
    [BROKER, AGENT].map(|end| pair.wires[end].frames)
}

#[test]
fn a_cut_after_any_frame_of_either_direction_loses_nothing() {
    let [down, up] = frames();
    assert!(down >= 30 && up >= 20, "{down} {up}");
    for first in 0..=down {
        check(&tell([Some(first), None], [None; 2]));
        for second in 0..=up {
            check(&tell([Some(first), Some(second)], [None; 2]));
            if first == 0 {
                check(&tell([None, Some(second)], [None; 2]));
            }
        }
    }
}

#[test]
fn a_second_cut_while_the_link_resumes_loses_nothing_either() {
    let [down, up] = frames();
    for first in 0..=down {
        for second in 0..=12 {
            check(&tell([Some(first), None], [Some(second), None]));
            check(&tell([Some(first), None], [None, Some(second)]));
        }
    }
    for first in 0..=up {
        for second in 0..=12 {
            check(&tell([None, Some(first)], [Some(second), None]));
            check(&tell([None, Some(first)], [None, Some(second)]));
            check(&tell([None, Some(first)], [Some(second), Some(second)]));
        }
    }
}

#[test]
fn frames_of_one_byte_cut_at_every_byte() {
    for cut in 0..=120 {
        let mut pair = Pair::connected(Config::default());
        let end = &mut pair.ends[BROKER];
        let id = end.app.open(&mut end.link, Class::Interactive).unwrap();
        pair.drain(BROKER);
        arm(&mut pair, Some([Some(cut), None]));
        for _ in 0..100 {
            for who in [BROKER, AGENT] {
                let end = &mut pair.ends[who];
                if end.app.streams.contains_key(&id) {
                    end.app.write(&mut end.link, id, 1);
                }
                pair.drain(who);
            }
            pair.pass(Duration::from_millis(1));
            heal(&mut pair, &mut std::iter::empty());
        }
        pair.settle();
        for _ in 0..3 {
            heal(&mut pair, &mut std::iter::empty());
            for end in &mut pair.ends {
                end.app.wind_up(&mut end.link);
            }
            pair.settle();
        }
        assert_eq!(pair.ends[AGENT].app.streams[&id].read, 100);
        pair.assert_nothing_is_left();
    }
}
