//! A peer that sends anything at all: nothing panics, and nothing grows without bound.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::chance::{Chance, with_seeds};
use super::pair::{AGENT, BROKER, Pair};
use crate::link::frame::{Frame, Resumed, ResumedState};
use crate::link::greeting::Message;
use crate::link::{Attach, Class, Config, Input, Link, Output, Role, Target};
use crate::{Code, StreamId};

fn noise(chance: &mut Chance, length: u64) -> Bytes {
    (0..length).map(|_| chance.next() as u8).collect()
}

#[test]
fn random_bytes_are_a_frame_or_a_violation() {
    with_seeds(20_000, |seed| {
        let mut chance = Chance::new(seed);
        let length = chance.below(60);
        let mut bytes = BytesMut::from(&noise(&mut chance, length)[..]);
        if let Some(kind) = bytes.first_mut().filter(|_| seed % 4 > 0) {
            *kind = 0x10 + *kind % 10;
        }
        let bytes = bytes.freeze();
        _ = Message::decode(&bytes);
        if let Ok(frame) = Frame::decode(bytes.clone()) {
            assert_eq!(frame.encode(), bytes, "{frame:?} has two forms");
        }
    });
}

#[test]
fn a_greeting_of_random_json_is_a_greeting_or_a_violation() {
    with_seeds(2000, |seed| {
        let mut chance = Chance::new(seed);
        let mut bytes = vec![1 + chance.below(4) as u8];
        bytes.extend_from_slice(
            br#"{"versions":[1,1],"broker":"b","nonce":"AA==","code":"limit","text":"t"}"#,
        );
        for _ in 0..chance.below(4) {
            let at = chance.below(bytes.len() as u64) as usize;
            bytes[at] = chance.next() as u8;
        }
        _ = Message::decode(&bytes);
    });
    assert_eq!(Message::decode(&vec![b'['; 20_000]).unwrap_err().code, Code::TOO_LARGE);
    let mut deep = vec![2];
    deep.resize(16_000, b'[');
    assert!(Message::decode(&deep).is_err());
}

/// Numbers that lie where something may go wrong.
fn number(chance: &mut Chance) -> u64 {
    match chance.below(6) {
        0 => u64::MAX - chance.below(3),
        1 => 1 << chance.below(64),
        2 => 256 * 1024 + chance.below(3) - 1,
        3 => 64 * 1024 + chance.below(3) - 1,
        _ => chance.below(50),
    }
}

/// A frame that is well formed, and mostly out of place.
fn any_frame(chance: &mut Chance) -> Frame {
    let stream = StreamId(1 + chance.below(5) as u32);
    match chance.below(12) {
        0..3 => Frame::Open {
            stream: StreamId(if chance.percent(5) { u32::MAX - 1 } else { 1 + chance.below(300) as u32 }),
            target: Target::Sshd,
            class: if chance.percent(50) { Class::Bulk } else { Class::Interactive },
            limit: number(chance),
        },
        3 => {
            let length = 1 + chance.below(20_000);
            Frame::Data { stream, offset: number(chance), bytes: vec![7; length as usize].into() }
        }
        4 => {
            let (received, limit, finished) = (number(chance), number(chance), chance.percent(20));
            Frame::Credit { stream, received, limit, finished }
        }
        5 => Frame::Fin { stream, offset: number(chance) },
        6 => Frame::Reset { stream, code: Code::from_number(chance.next() as u16) },
        7 => Frame::ResetOk { stream },
        8 => Frame::Ping { nonce: chance.next() },
        9 => Frame::Pong { nonce: chance.below(4) },
        10 => Frame::GoingAway { come_back_after_ms: chance.next() as u32 },
        _ => any_resume(chance),
    }
}

fn any_resume(chance: &mut Chance) -> Frame {
    let mut streams = Vec::new();
    for stream in 1..=5 {
        let state = match chance.below(3) {
            0 => continue,
            1 => ResumedState::Reset(Code::CANCELLED),
            _ => {
                let (received, limit, finished) = (number(chance), number(chance), chance.percent(20));
                ResumedState::Open { received, limit, finished }
            }
        };
        streams.push(Resumed { stream: StreamId(stream), state });
    }
    Frame::Resume { next_stream: chance.below(8) as u32, streams }
}

/// Uses the link as somebody would who knows nothing of the peer's intentions.
fn use_it(link: &mut Link, chance: &mut Chance, now: Instant) {
    let id = StreamId(1 + chance.below(5) as u32);
    match chance.below(8) {
        0 if link.role == Role::Broker => _ = link.open(Target::Sshd, Class::Bulk),
        0..3 => _ = link.write(id, &[7; 3000]),
        3..5 => _ = link.read(id, 1 + chance.below(100_000) as usize),
        5 => link.finish(id),
        6 => link.reset(id, Code::CANCELLED),
        _ => link.handle_timeout(now),
    }
    for _ in 0..chance.below(6) {
        link.poll_transmit(now);
    }
    while link.poll_output().is_some() {}
}

#[test]
fn well_formed_frames_in_any_order_are_taken_or_refused() {
    with_seeds(3000, |seed| {
        let mut chance = Chance::new(seed);
        let mut now = Instant::now();
        let role = if chance.percent(50) { Role::Broker } else { Role::Agent };
        let mut link = Link::new(role, Config { streams_max: 4, ..Config::default() }, now);
        for _ in 0..200 {
            now += Duration::from_millis(chance.below(200));
            if !link.has_transport() {
                let attach = if link.is_resumable() { Attach::Resumed } else { Attach::Fresh };
                link.handle(now, Input::Connected(attach)).unwrap();
            }
            let frame = any_frame(&mut chance);
            let refused = link.handle(now, Input::Frame(frame.encode())).is_err();
            assert_eq!(refused, link.phase == crate::link::machine::Phase::Lost, "{frame:?}");
            use_it(&mut link, &mut chance, now);
            assert!(link.streams() <= 8 && link.resets.len() <= 1024 && link.reset_oks.len() <= 4096);
        }
    });
}

/// Two honest links, and somebody between them who changes a byte now and then.
#[test]
fn a_changed_byte_is_a_violation_or_other_data_and_never_a_panic() {
    with_seeds(400, |seed| {
        let mut chance = Chance::new(seed);
        let mut pair = Pair::new(Config::default());
        let now = pair.now;
        for end in &mut pair.ends {
            end.link.handle(now, Input::Connected(Attach::Fresh)).unwrap();
        }
        for step in 0..300u64 {
            let now = now + Duration::from_millis(step * 50);
            for (from, to) in [(BROKER, AGENT), (AGENT, BROKER)] {
                use_it(&mut pair.ends[from].link, &mut chance, now);
                let Some(frame) = pair.ends[from].link.poll_transmit(now) else { continue };
                let mut changed = BytesMut::from(&frame[..]);
                if chance.percent(10) {
                    let at = chance.below(changed.len().min(24) as u64) as usize;
                    changed[at] ^= 1 << chance.below(8);
                }
                if pair.ends[to].link.handle(now, Input::Frame(changed.freeze())).is_err() {
                    return;
                }
            }
        }
    });
}

#[test]
fn a_peer_that_floods_gets_no_more_of_our_memory_than_its_windows() {
    let now = Instant::now();
    let mut link = Link::new(Role::Agent, Config { streams_max: 4, ..Config::default() }, now);
    link.handle(now, Input::Connected(Attach::Fresh)).unwrap();
    let mut held = 0;
    for stream in (1..=3).map(StreamId) {
        let (target, class) = (Target::Sshd, Class::Bulk);
        let open = Frame::Open { stream, target, class, limit: u64::MAX };
        link.handle(now, Input::Frame(open.encode())).unwrap();
        while link.poll_transmit(now).is_some() {}
        for offset in 0.. {
            let data = Frame::Data { stream, offset, bytes: Bytes::from_static(b"x") };
            if offset >= 256 * 1024 {
                break;
            }
            link.handle(now, Input::Frame(data.encode())).unwrap();
        }
        held += link.streams[&stream].inbound.pieces();
        assert_eq!(link.streams[&stream].inbound.unread(), 256 * 1024);
    }
    assert!(held < 300, "{held} pieces");
    let outputs = std::iter::from_fn(|| link.poll_output()).count();
    assert_eq!(outputs, 6, "each stream was opened, and is readable");
    // A limit of u64::MAX is no reason to keep more than our own window.
    let taken = link.write(StreamId(1), &vec![0; 64 << 20]);
    assert_eq!(taken, crate::link::Written::Taken(2 << 20));
}

#[test]
fn a_peer_that_never_acknowledges_single_bytes_gets_a_bounded_number_of_them() {
    let mut pair = Pair::connected(Config::default());
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, Class::Interactive).unwrap();
    pair.drain(BROKER);
    pair.wires[BROKER].cut(0);
    for _ in 0..5000 {
        let end = &mut pair.ends[BROKER];
        end.app.write(&mut end.link, id, 1);
        pair.drain(BROKER);
    }
    assert!(pair.ends[BROKER].app.streams[&id].written <= 1025);
    assert!(!pair.ends[BROKER].told.contains(&Output::Writable(id)));
}
