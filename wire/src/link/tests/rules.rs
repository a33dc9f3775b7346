//! What cannot be is refused as loudly as what can be is accepted.

use std::time::Instant;

use bytes::Bytes;

use crate::link::frame::{Frame, Resumed, ResumedState};
use crate::link::{Attach, Class, Config, Input, Link, Role, Target, Violation};
use crate::{Code, StreamId};

const ONE: StreamId = StreamId(1);
const TWO: StreamId = StreamId(2);

/// A link in its steady state, with stream 1 open (opened by it, or by a peer that let it send
/// 100 bytes).
fn steady(role: Role) -> Link {
    let now = Instant::now();
    let mut link = Link::new(role, Config::default(), now);
    link.handle(now, Input::Connected(Attach::Fresh)).unwrap();
    match role {
        Role::Broker => _ = link.open(Target::Sshd, Class::Interactive).unwrap(),
        Role::Agent => send(&mut link, open(ONE)).unwrap(),
    }
    while link.poll_transmit(now).is_some() {}
    link
}

/// The same link on a new transport, waiting for the peer's RESUME.
fn resuming(role: Role) -> Link {
    let mut link = steady(role);
    link.handle(Instant::now(), Input::Connected(Attach::Resumed)).unwrap();
    assert!(link.poll_transmit(Instant::now()).is_some());
    link
}

fn send(link: &mut Link, frame: Frame) -> Result<(), Violation> {
    link.handle(Instant::now(), Input::Frame(frame.encode()))
}

fn open(stream: StreamId) -> Frame {
    Frame::Open { stream, target: Target::Sshd, class: Class::Interactive, limit: 100 }
}

fn data(stream: StreamId, offset: u64, length: usize) -> Frame {
    Frame::Data { stream, offset, bytes: vec![7; length].into() }
}

fn credit(received: u64, limit: u64, finished: bool) -> Frame {
    Frame::Credit { stream: ONE, received, limit, finished }
}

fn resume(next_stream: u32, streams: &[(u32, ResumedState)]) -> Frame {
    let resumed =
        |(stream, state): &(u32, ResumedState)| Resumed { stream: StreamId(*stream), state: *state };
    Frame::Resume { next_stream, streams: streams.iter().map(resumed).collect() }
}

fn at(received: u64, limit: u64, finished: bool) -> ResumedState {
    ResumedState::Open { received, limit, finished }
}

/// Checks that the frames are in order but for the last, which is refused for that reason.
fn refuses(mut link: Link, frames: &[Frame], why: &str) {
    let (last, before) = frames.split_last().unwrap();
    for frame in before {
        send(&mut link, frame.clone()).unwrap();
    }
    let refused = send(&mut link, last.clone()).expect_err(why);
    assert_eq!(refused.what, why, "{last:?}");
    assert!(!link.is_resumable() && link.streams() == 0, "a violation ends the link");
}

#[test]
fn numbers_of_streams_are_those_of_streams() {
    refuses(steady(Role::Broker), &[open(TWO)], "OPEN by an agent");
    refuses(steady(Role::Agent), &[open(ONE)], "OPEN of a number that was used before");
    refuses(
        steady(Role::Agent),
        &[open(StreamId(5)), open(StreamId(4))],
        "OPEN of a number that was used before",
    );
    refuses(steady(Role::Agent), &[open(StreamId(u32::MAX))], "OPEN of the very last number");
    for role in [Role::Broker, Role::Agent] {
        let never = "a frame of a stream that was not opened";
        refuses(steady(role), &[data(TWO, 0, 1)], never);
        refuses(steady(role), &[Frame::Fin { stream: TWO, offset: 0 }], never);
        refuses(
            steady(role),
            &[Frame::Credit { stream: TWO, received: 0, limit: 1, finished: false }],
            never,
        );
        let reset = Frame::Reset { stream: TWO, code: Code::CANCELLED };
        refuses(steady(role), &[reset], "RESET of a stream that was not opened");
        for stream in [ONE, TWO] {
            refuses(steady(role), &[Frame::ResetOk { stream }], "RESET_OK of a stream that was not reset");
        }
        let over = "a frame of a stream that is over";
        let reset = Frame::Reset { stream: ONE, code: Code::CANCELLED };
        refuses(steady(role), &[reset.clone(), data(ONE, 0, 1)], over);
        refuses(steady(role), &[reset, credit(0, 1 << 20, false)], over);
    }
}

#[test]
fn data_comes_at_its_offset_within_the_window_and_before_the_fin() {
    for role in [Role::Broker, Role::Agent] {
        let elsewhere = "DATA at another offset than the next";
        refuses(steady(role), &[data(ONE, 1, 1)], elsewhere);
        refuses(steady(role), &[data(ONE, 0, 5), data(ONE, 0, 5)], elsewhere);
        refuses(steady(role), &[data(ONE, u64::MAX, 5)], elsewhere);
        let fin = |offset| Frame::Fin { stream: ONE, offset };
        refuses(steady(role), &[fin(1)], "FIN at another offset than the next");
        refuses(steady(role), &[data(ONE, 0, 5), fin(4)], "FIN at another offset than the next");
        refuses(steady(role), &[fin(0), fin(0)], "FIN after FIN");
        refuses(steady(role), &[fin(0), data(ONE, 0, 1)], "DATA after FIN");
        let window: Vec<Frame> = (0..33).map(|n| data(ONE, n * 8192, 8192)).collect();
        refuses(steady(role), &window, "DATA beyond the window");
    }
}

#[test]
fn credit_is_for_what_was_sent_and_is_never_withdrawn() {
    let not_sent = "an acknowledgement of what was not sent, or a withdrawn one";
    for role in [Role::Broker, Role::Agent] {
        let wrote = || {
            let mut link = steady(role);
            link.write(ONE, b"0123456789");
            assert!(link.poll_transmit(Instant::now()).is_some());
            link
        };
        refuses(wrote(), &[credit(11, 1 << 20, false)], not_sent);
        refuses(wrote(), &[credit(10, 1 << 20, false), credit(9, 1 << 20, false)], not_sent);
        refuses(wrote(), &[credit(u64::MAX, u64::MAX, false)], not_sent);
        refuses(wrote(), &[credit(0, 1 << 20, false), credit(0, 5, false)], "a withdrawn credit");
        let fin = "an acknowledgement of a FIN that was not sent";
        refuses(wrote(), &[credit(10, 1 << 20, true)], fin);
        let mut finished = wrote();
        finished.finish(ONE);
        refuses(finished, &[credit(10, 1 << 20, true)], fin);
        let mut finished = wrote();
        finished.finish(ONE);
        assert!(finished.poll_transmit(Instant::now()).is_some());
        refuses(finished, &[credit(9, 1 << 20, true)], fin);
    }
}

#[test]
fn resume_is_the_first_frame_of_a_resumed_link_and_of_no_other() {
    for role in [Role::Broker, Role::Agent] {
        let resume = resume(2, &[(1, at(0, 1 << 20, false))]);
        refuses(steady(role), std::slice::from_ref(&resume), "RESUME where nothing is resumed");
        refuses(resuming(role), &[resume.clone(), resume.clone()], "RESUME where nothing is resumed");
        refuses(resuming(role), &[Frame::Ping { nonce: 1 }], "a frame before RESUME");
        let mut silent = steady(role);
        silent.handle(Instant::now(), Input::Connected(Attach::Resumed)).unwrap();
        refuses(silent, &[resume, Frame::Ping { nonce: 1 }], "a frame before it had our RESUME");
    }
}

#[test]
fn resume_fits_what_both_ends_have_seen() {
    let open = (1, at(0, 1 << 20, false));
    for role in [Role::Broker, Role::Agent] {
        refuses(resuming(role), &[resume(2, &[])], "RESUME that forgot a stream which was not finished");
        let beyond = "RESUME of a stream that it never saw opened";
        refuses(resuming(role), &[resume(2, &[open, (2, at(0, 0, false))])], beyond);
        let ahead = "an acknowledgement of what was not sent, or a withdrawn one";
        refuses(resuming(role), &[resume(2, &[(1, at(1, 1 << 20, false))])], ahead);
        let withdrawn = resume(2, &[(1, at(0, 5, false))]);
        refuses(resuming(role), &[withdrawn], "a withdrawn credit");
        let fin = resume(2, &[(1, at(0, 1 << 20, true))]);
        refuses(resuming(role), &[fin], "an acknowledgement of a FIN that was not sent");
    }
    let unseen = "RESUME that saw a stream which was not opened";
    refuses(resuming(Role::Broker), &[resume(3, &[open])], unseen);
    refuses(resuming(Role::Broker), &[resume(0, &[])], unseen);
    let taken_back = "RESUME that takes back streams which were opened";
    refuses(resuming(Role::Agent), &[resume(1, &[])], taken_back);
}

#[test]
fn pongs_answer_pings_and_only_the_broker_goes_away() {
    for role in [Role::Broker, Role::Agent] {
        let mut link = steady(role);
        let mut now = Instant::now();
        for _ in 0..2 {
            now += Config::default().ping_every;
            link.handle_timeout(now);
            while link.poll_transmit(now).is_some() {}
        }
        let pong = |nonce| Frame::Pong { nonce };
        // The answer to the earlier ping was overtaken, and says nothing new.
        refuses(link, &[pong(2), pong(1), pong(2), pong(3)], "PONG to a ping that was not sent");
        refuses(steady(role), &[pong(7)], "PONG to a ping that was not sent");
    }
    let away = Frame::GoingAway { come_back_after_ms: 5 };
    refuses(steady(Role::Broker), &[away], "GOING_AWAY by an agent");
}

#[test]
fn a_pong_of_a_former_transport_is_refused_whether_its_ping_was_answered_there_or_not() {
    let pong = |nonce| Frame::Pong { nonce };
    let pings = |link: &mut Link, now: Instant| {
        link.handle_timeout(now);
        while link.poll_transmit(now).is_some() {}
    };
    for role in [Role::Broker, Role::Agent] {
        let moved = || {
            let (mut link, mut now) = (steady(role), Instant::now());
            for _ in 0..2 {
                now += Config::default().ping_every;
                pings(&mut link, now);
            }
            send(&mut link, pong(1)).unwrap();
            link.handle(now, Input::Connected(Attach::Resumed)).unwrap();
            assert!(link.poll_transmit(now).is_some(), "its RESUME");
            send(&mut link, resume(2, &[(1, at(0, 1 << 20, false))])).unwrap();
            pings(&mut link, now + Config::default().ping_every);
            link
        };
        for late in [1, 2] {
            refuses(moved(), &[pong(late)], "PONG to a ping that was not sent");
            refuses(moved(), &[pong(3), pong(3), pong(late)], "PONG to a ping that was not sent");
        }
    }
}

#[test]
fn whoever_resets_or_opens_without_listening_is_stopped() {
    let mut link = steady(Role::Agent);
    let flood = (2..).map(|number| open(StreamId(number)));
    let refused = flood.map(|frame| send(&mut link, frame)).take(10_000).find_map(Result::err).unwrap();
    assert_eq!(refused.code, Code::LIMIT);

    let mut link = steady(Role::Agent);
    let opens_and_resets = (2..).flat_map(|number| {
        [open(StreamId(number)), Frame::Reset { stream: StreamId(number), code: Code::CANCELLED }]
    });
    let refused =
        opens_and_resets.map(|frame| send(&mut link, frame)).take(10_000).find_map(Result::err).unwrap();
    assert_eq!(refused.code, Code::LIMIT);
}

#[test]
fn a_thousand_pings_get_one_pong() {
    let mut link = steady(Role::Broker);
    for nonce in 0..1000 {
        send(&mut link, Frame::Ping { nonce }).unwrap();
    }
    let now = Instant::now();
    assert_eq!(link.poll_transmit(now), Some(Frame::Pong { nonce: 999 }.encode()));
    assert_eq!(link.poll_transmit(now), None);
}

#[test]
fn an_oversized_frame_is_too_large() {
    let mut link = steady(Role::Agent);
    let frame = Bytes::from(vec![0x11; 64 * 1024 + 1]);
    let refused = link.handle(Instant::now(), Input::Frame(frame)).unwrap_err();
    assert_eq!(refused.code, Code::TOO_LARGE);
}

#[test]
fn the_resume_of_the_fullest_link_fits_a_frame() {
    let streams: Vec<(u32, ResumedState)> =
        (1..=crate::link::frame::RESUMED_MAX as u32).map(|n| (n, at(1, 2, true))).collect();
    let frame = resume(5000, &streams);
    let bytes = frame.encode();
    assert!(bytes.len() <= crate::link::frame::FRAME_BYTES_MAX);
    assert_eq!(Frame::decode(bytes), Ok(frame));
}
