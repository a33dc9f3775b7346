//! Pings, silence, breaks, and what is left of a link afterwards.

use std::time::{Duration, Instant};

use super::pair::{AGENT, BROKER, End, Pair};
use crate::link::{Answer, Attach, Class, Config, Input, Link, OpenError, Output, Role, Target, Violation};
use crate::{Code, StreamId};

fn told(end: &End, wanted: &Output) -> usize {
    end.told.iter().filter(|output| *output == wanted).count()
}

fn open(pair: &mut Pair) -> StreamId {
    let end = &mut pair.ends[BROKER];
    let id = end.app.open(&mut end.link, Class::Interactive).unwrap();
    pair.drain(BROKER);
    id
}

#[test]
fn both_ends_measure_the_round_trip_at_once_and_every_five_seconds_while_somebody_uses_the_link() {
    let mut pair = Pair::connected(Config::default());
    for end in &pair.ends {
        assert_eq!(end.link.rtt(), Some(Duration::from_millis(40)));
    }
    open(&mut pair);
    pair.pass(Duration::from_secs(60));
    for end in &pair.ends {
        assert_eq!(told(end, &Output::Rtt(Duration::from_millis(40))), 13);
    }
}

#[test]
fn a_broker_at_rest_answers_and_asks_by_itself_only_twice_a_minute() {
    let mut pair = Pair::connected(Config::default());
    pair.pass(Duration::from_secs(121));
    let measured = |end: &End| told(end, &Output::Rtt(Duration::from_millis(40)));
    assert_eq!((measured(&pair.ends[AGENT]), measured(&pair.ends[BROKER])), (25, 5));
    for end in &pair.ends {
        assert_eq!(told(end, &Output::Unstable), 0);
    }
}

#[test]
fn a_ping_is_answered_by_itself_as_it_is_among_other_frames() {
    let mut pair = Pair::connected(Config::default());
    pair.pass(Duration::from_secs(31));
    let now = pair.now;
    let (ping, pong) =
        ([&[0x16][..], &7_u64.to_be_bytes()].concat(), [&[0x17][..], &7_u64.to_be_bytes()].concat());
    let broker = &mut pair.ends[BROKER].link;
    let answered = broker.answer(now, &ping).unwrap();
    assert_eq!(answered, Answer { frames: [Some(pong.clone().into()), None], rtt: None });
    // Half a minute later its own ping goes with it, once.
    let later = now + Duration::from_secs(28);
    let [_, own] = broker.answer(later, &ping).unwrap().frames;
    let own = own.unwrap();
    assert_eq!(own[0], 0x16);
    assert_eq!(broker.answer(later, &ping).unwrap().frames[1], None);
    // The answer to that tells the round trip, once.
    let (answer, took) = ([&[0x17], &own[1..]].concat(), Duration::from_millis(30));
    let told = Answer { rtt: Some(took), ..Answer::default() };
    assert_eq!(broker.answer(later + took, &answer), Some(told));
    assert_eq!(broker.answer(later + took, &answer), Some(Answer::default()));
    for other in [&pong[..], &ping[..8], &[], &[ping.clone(), vec![0]].concat()] {
        assert_eq!(broker.answer(later, other), None, "{other:?}");
    }
    assert!(broker.is_at_rest());
    broker.handle(later, Input::Disconnected).unwrap();
    assert_eq!(broker.answer(later, &ping), None);
    assert!(!broker.is_at_rest());
}

#[test]
fn a_ping_that_is_answered_by_itself_ends_an_unstable_time_and_asks_for_acknowledgements() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    pair.settle();
    let agent = &mut pair.ends[AGENT];
    agent.link.write(id, b"typed");
    pair.drain(AGENT);
    pair.pass(Duration::from_millis(100));
    let now = pair.now + Duration::from_secs(11);
    let broker = &mut pair.ends[BROKER].link;
    broker.handle_timeout(now);
    while broker.poll_output().is_some() {}
    let ping = [&[0x16][..], &1000_u64.to_be_bytes()].concat();
    broker.answer(now, &ping).unwrap();
    assert_eq!(broker.poll_output(), Some(Output::Steady));
    assert!(broker.has_transmit(), "nothing is said of what has arrived");
}

#[test]
fn a_broker_asks_before_it_calls_a_silent_agent_unstable() {
    let mut pair = Pair::connected(Config::default());
    pair.pass(Duration::from_secs(31));
    // The agent hears and answers, but its own clock stands still.
    pair.ends[AGENT].stands_still = true;
    pair.pass(Duration::from_secs(60));
    assert_eq!(told(&pair.ends[BROKER], &Output::Unstable), 0);
}

#[test]
fn a_black_hole_is_unstable_after_ten_seconds_and_closed_after_fifteen() {
    let mut pair = Pair::connected(Config::default());
    pair.pass(Duration::from_secs(100));
    for wire in &mut pair.wires {
        wire.cut(0);
    }
    pair.pass(Duration::from_secs(9));
    assert_eq!(told(&pair.ends[BROKER], &Output::Unstable), 0);
    pair.pass(Duration::from_secs(2));
    assert_eq!(told(&pair.ends[BROKER], &Output::Unstable), 1);
    assert_eq!(told(&pair.ends[BROKER], &Output::Close(Code::LINK_DEAD)), 0);
    pair.pass(Duration::from_secs(5));
    for end in &pair.ends {
        assert_eq!(told(end, &Output::Unstable), 1);
        assert_eq!(told(end, &Output::Close(Code::LINK_DEAD)), 1);
    }
}

#[test]
fn one_byte_after_unstable_is_steady_also_over_a_new_transport() {
    let mut pair = Pair::connected(Config::default());
    for wire in &mut pair.wires {
        wire.cut(0);
    }
    pair.pass(Duration::from_secs(12));
    pair.connect(Attach::Resumed);
    pair.settle();
    for end in &pair.ends {
        assert_eq!((told(end, &Output::Unstable), told(end, &Output::Steady)), (1, 1));
    }
}

#[test]
fn a_driver_that_cannot_send_is_not_woken_again_and_again() {
    let mut pair = Pair::connected(Config::default());
    pair.wires[BROKER].room = 0;
    let mut steps = 0;
    let limit = pair.now + Duration::from_secs(9);
    while pair.step_before(limit) {
        steps += 1;
    }
    assert!(steps < 20, "{steps} wake-ups in 9 s of nothing");
}

#[test]
fn a_link_without_transport_is_lost_after_a_minute_with_all_its_streams() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    pair.settle();
    pair.cut();
    pair.pass(Duration::from_secs(59));
    assert_eq!(pair.streams(), [1, 1]);
    pair.pass(Duration::from_secs(2));
    for end in &pair.ends {
        assert_eq!(end.app.streams[&id].gone, Some(Code::DEVICE_LOST));
        assert_eq!(told(end, &Output::Lost), 1);
        assert!(!end.link.is_resumable());
        assert_eq!(end.link.poll_timeout(), None);
    }
    let broker = &mut pair.ends[BROKER].link;
    assert_eq!(broker.open(Target::Sshd, Class::Bulk), Err(OpenError::Lost));
    let resumed = broker.handle(pair.now, Input::Connected(Attach::Resumed));
    assert_eq!(resumed.map_err(|violation| violation.code), Err(Code::DEVICE_LOST));
}

#[test]
fn a_lost_link_works_again_after_a_fresh_greeting() {
    let mut pair = Pair::connected(Config::default());
    let old = open(&mut pair);
    pair.cut();
    pair.pass(Duration::from_secs(61));
    pair.connect(Attach::Fresh);
    let new = open(&mut pair);
    assert_ne!(old, new, "a number is never used twice");
    pair.settle();
    assert_eq!(pair.streams(), [1, 1]);
    assert!(pair.ends[AGENT].app.streams.contains_key(&new));
}

#[test]
fn a_fresh_greeting_over_a_link_that_still_stood_loses_its_streams() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    pair.settle();
    pair.connect(Attach::Fresh);
    pair.settle();
    for end in &pair.ends {
        assert_eq!(end.app.streams[&id].gone, Some(Code::DEVICE_LOST));
        assert_eq!(told(end, &Output::Lost), 0);
    }
    pair.assert_nothing_is_left();
}

#[test]
fn an_agent_takes_the_numbers_of_another_broker_process_from_one_again() {
    let mut pair = Pair::connected(Config::default());
    open(&mut pair);
    pair.settle();
    pair.cut();
    let other = Pair::new(Config::default());
    pair.ends[BROKER] = other.ends.into_iter().next().unwrap();
    pair.connect(Attach::Fresh);
    pair.ends[AGENT].app.streams.clear();
    let id = open(&mut pair);
    pair.settle();
    assert_eq!(id, StreamId(1));
    assert!(pair.ends[AGENT].app.streams.contains_key(&id));
}

#[test]
fn streams_may_be_opened_before_there_is_a_transport_and_while_it_is_down() {
    let mut pair = Pair::new(Config::default());
    open(&mut pair);
    pair.connect(Attach::Fresh);
    pair.settle();
    assert_eq!(pair.streams(), [1, 1]);
    pair.cut();
    open(&mut pair);
    pair.connect(Attach::Resumed);
    pair.settle();
    assert_eq!(pair.streams(), [2, 2]);
}

#[test]
fn a_second_greeting_of_a_link_that_stands_changes_nothing() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    for _ in 0..3 {
        pair.connect(Attach::Resumed);
        pair.pass(Duration::from_millis(30)); // one RESUME has arrived, no more
    }
    pair.settle();
    assert_eq!(pair.streams(), [1, 1]);
    assert_eq!(pair.ends[AGENT].app.streams[&id].gone, None);
}

#[test]
fn a_frame_that_comes_late_after_the_end_of_its_transport_is_passed_over() {
    let mut pair = Pair::connected(Config::default());
    pair.cut();
    let late = Input::Frame(bytes::Bytes::from_static(b"no frame at all"));
    assert_eq!(pair.ends[BROKER].link.handle(pair.now, late), Ok(()));
}

#[test]
fn the_agent_hears_when_to_come_back() {
    let mut pair = Pair::connected(Config::default());
    let come_back_after = Duration::from_millis(1234);
    pair.input(BROKER, Input::GoAway { come_back_after });
    pair.settle();
    assert_eq!(told(&pair.ends[AGENT], &Output::GoingAway { come_back_after }), 1);
    // An agent has nothing of the kind to say.
    pair.input(AGENT, Input::GoAway { come_back_after });
    pair.settle();
    assert_eq!(pair.ends[BROKER].told.len(), 1, "a round trip");
    // Said to nobody, it is not said to the next one.
    pair.cut();
    pair.input(BROKER, Input::GoAway { come_back_after });
    pair.connect(Attach::Resumed);
    pair.settle();
    assert_eq!(told(&pair.ends[AGENT], &Output::GoingAway { come_back_after }), 1);
}

#[test]
fn an_end_that_hears_before_it_speaks_forgets_what_is_over() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    pair.settle();
    // The agent has finished and knows it; the broker's FIN comes when the agent cannot answer.
    let agent = &mut pair.ends[AGENT];
    agent.app.finish(&mut agent.link, id);
    pair.settle();
    pair.wires[AGENT].room = 0;
    let broker = &mut pair.ends[BROKER];
    broker.app.wind_up(&mut broker.link);
    pair.settle();
    let agent = &mut pair.ends[AGENT];
    agent.app.wind_up(&mut agent.link);
    pair.cut();
    pair.renew_wires();
    pair.attach(BROKER, Attach::Resumed);
    pair.attach(AGENT, Attach::Resumed);
    pair.pass(Duration::from_millis(100));
    pair.wires[AGENT].room = usize::MAX;
    pair.settle();
    pair.assert_nothing_is_left();
}

#[test]
fn a_violation_loses_the_link_and_says_so_to_its_streams() {
    let mut pair = Pair::connected(Config::default());
    let id = open(&mut pair);
    pair.settle();
    let broken = Input::Frame(bytes::Bytes::from_static(&[0xff]));
    let link = &mut pair.ends[BROKER].link;
    let violation = link.handle(pair.now, broken).unwrap_err();
    assert_eq!(violation, Violation { code: Code::PROTOCOL, what: "a frame of an unknown type" });
    pair.ends[BROKER].attached = false;
    pair.drain(BROKER);
    assert_eq!(pair.ends[BROKER].app.streams[&id].gone, Some(Code::PROTOCOL));
    assert_eq!(told(&pair.ends[BROKER], &Output::Lost), 1);
    assert!(!pair.ends[BROKER].link.is_resumable());
}

#[test]
fn a_time_that_goes_backwards_breaks_nothing() {
    let later = Instant::now() + Duration::from_secs(1000);
    let mut link = Link::new(Role::Broker, Config::default(), later);
    let earlier = later - Duration::from_secs(500);
    link.handle(later, Input::Connected(Attach::Fresh)).unwrap();
    link.handle_timeout(earlier);
    assert!(link.poll_transmit(earlier).is_none());
    link.handle(earlier, Input::Disconnected).unwrap();
    link.handle_timeout(later);
}

#[test]
fn an_end_that_is_about_to_go_ends_every_stream_at_both_ends_with_its_reason() {
    let mut pair = Pair::connected(Config::default());
    let streams = [open(&mut pair), open(&mut pair)];
    pair.settle();
    pair.ends[AGENT].link.reset_streams(Code::AGENT_STOPPED);
    pair.drain(AGENT);
    pair.settle();
    for end in &pair.ends {
        assert_eq!(end.link.streams(), 0);
        for stream in streams {
            assert_eq!(told(end, &Output::Reset { stream, code: Code::AGENT_STOPPED }), 1);
        }
    }
}
