//! What a stream promises to whoever holds it.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use moorline_wire::Code;
use moorline_wire::link::{Attach, Class, Config, Input, Output, Role, Target};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::joined::{Joined, within_seconds};
use crate::{Event, LinkHandle, LinkStream, Outlet, StreamReset, reset_code};

/// Bytes that are not the same anywhere.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn echo(stream: LinkStream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    writer.shutdown().await.unwrap();
}

/// Sends all, and checks that all comes back, while both directions are full.
async fn there_and_back(stream: LinkStream, bytes: Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let expected = bytes.clone();
    let sender = tokio::spawn(async move {
        for piece in bytes.chunks(10_007) {
            writer.write_all(piece).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.unwrap();
    sender.await.unwrap();
    assert!(back == expected, "{} of {} bytes came back", back.len(), expected.len());
}

/// What was finished is forgotten at both ends as soon as the last acknowledgement is there.
async fn nothing_is_left(joined: &Joined) {
    within_seconds(10, "streams are forgotten", async {
        while joined.broker.streams() + joined.agent.streams() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_go_there_and_back() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (ours, theirs) = joined.open(Class::Interactive).await;
    tokio::spawn(echo(theirs));
    within_seconds(30, "echo", there_and_back(ours, pattern(1, 3 << 20))).await;
    nothing_is_left(&joined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_streams_at_once_do_not_mix_and_do_not_wait_for_each_other() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let mut tasks = Vec::new();
    for number in 0..100 {
        let class = if number % 3 == 0 { Class::Bulk } else { Class::Interactive };
        let (ours, theirs) = joined.open(class).await;
        tokio::spawn(echo(theirs));
        tasks.push(tokio::spawn(there_and_back(ours, pattern(number, 200_000))));
    }
    for task in tasks {
        within_seconds(60, "one of many", task).await.unwrap();
    }
    nothing_is_left(&joined).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_over_cuts_as_if_there_had_been_none() {
    let mut joined = Joined::new(Config::default());
    let mut transport = joined.connect_for(Attach::Fresh, 100);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let class = if number % 2 == 0 { Class::Bulk } else { Class::Interactive };
        let ours = joined.broker.open(Target::Sshd, class).unwrap();
        tasks.spawn(there_and_back(ours, pattern(number, 2 << 20)));
    }
    let mut cuts = 0;
    while !tasks.is_empty() {
        tokio::select! {
            Some(stream) = joined.opened.recv() => drop(tokio::spawn(echo(stream))),
            Some(task) = tasks.join_next() => task.unwrap(),
            () = transport.broken() => {
                cuts += 1;
                transport = joined.connect_for(Attach::Resumed, 100);
            }
        }
    }
    assert!(cuts >= 20, "only {cuts} cuts");
    drop(transport);
    let _transport = joined.connect(Attach::Resumed);
    nothing_is_left(&joined).await;
}

/// Polls once whether so much can be written.
async fn takes(stream: &mut LinkStream, piece: &[u8]) -> bool {
    let once = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, piece).is_ready());
    std::future::poll_fn(once).await
}

#[tokio::test]
async fn whoever_moves_much_lets_others_have_their_turn() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (mut ours, mut theirs) = joined.open(Class::Interactive).await;
    let piece = pattern(9, 16 * 1024);
    let mut taken = Vec::new();
    for _ in 0..6 {
        taken.push(takes(&mut ours, &piece).await);
    }
    assert_eq!(taken, [true, true, false, true, true, false], "there was room for all of it");
    let mut came = vec![0; 4 * piece.len()];
    within_seconds(5, "the four that were taken", theirs.read_exact(&mut came)).await.unwrap();
    assert_eq!(came, piece.repeat(4));
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_cancelled_at_the_other_end() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (ours, mut theirs) = joined.open(Class::Interactive).await;
    drop(ours);
    let error = within_seconds(5, "reset", theirs.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(StreamReset(Code::CANCELLED))));
    assert_eq!(reset_code(&theirs.write_all(b"x").await.unwrap_err()), Some(Code::CANCELLED));
    drop(theirs);
    nothing_is_left(&joined).await;
}

#[tokio::test]
async fn a_reset_says_why() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (mut ours, theirs) = joined.open(Class::Interactive).await;
    theirs.reset(Code::SSHD_UNREACHABLE);
    let error = within_seconds(5, "reset", ours.read_u8()).await.unwrap_err();
    assert_eq!(reset_code(&error), Some(Code::SSHD_UNREACHABLE));
    assert_eq!(ours.reset_code(), Some(Code::SSHD_UNREACHABLE));
    drop(ours);
    nothing_is_left(&joined).await;
}

#[tokio::test]
async fn what_was_written_before_the_shutdown_arrives_though_the_stream_was_dropped_at_its_end() {
    let mut joined = Joined::new(Config::default());
    let (mut ours, written) =
        (joined.broker.open(Target::Sshd, Class::Interactive).unwrap(), pattern(5, 50_000));
    ours.write_all(&written).await.unwrap();
    ours.shutdown().await.unwrap();
    // All of it is still here: there is no transport yet.
    let transport = joined.connect(Attach::Fresh);
    let mut theirs = joined.opened.recv().await.unwrap();
    theirs.shutdown().await.unwrap();
    assert_eq!(within_seconds(5, "end", ours.read(&mut [0; 8])).await.unwrap(), 0);
    drop(ours);
    let mut read = Vec::new();
    within_seconds(5, "all", theirs.read_to_end(&mut read)).await.unwrap();
    assert!(read == written);
    nothing_is_left(&joined).await;
    transport.cut().await;
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_and_no_longer() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (mut ours, mut theirs) = joined.open(Class::Interactive).await;
    let all = pattern(7, 4 << 20);
    let mut taken = 0;
    // Nobody else runs here while nothing is waited for.
    loop {
        tokio::select! { biased;
            more = ours.write(&all[taken..]) => taken += more.unwrap(),
            () = std::future::ready(()) => break,
        }
    }
    assert_eq!(taken, 256 * 1024, "the window");
    let writing = tokio::spawn(async move {
        ours.write_all(&all[taken..]).await.unwrap();
        ours
    });
    let mut read = vec![0; 4 << 20];
    within_seconds(20, "all", theirs.read_exact(&mut read)).await.unwrap();
    assert!(read == pattern(7, 4 << 20));
    within_seconds(5, "writer", writing).await.unwrap();
}

#[tokio::test]
async fn a_fresh_link_tells_the_old_streams_apart_from_new_ones_of_the_same_number() {
    let mut joined = Joined::new(Config::default());
    let transport = joined.connect(Attach::Fresh);
    let (ours, mut old) = joined.open(Class::Interactive).await;
    transport.cut().await;
    drop(ours);
    // Another broker process: it counts from 1 again.
    joined.broker = crate::LinkHandle::new(Role::Broker, Config::default(), Instant::now());
    let _transport = joined.connect(Attach::Fresh);
    let (mut ours, mut new) = joined.open(Class::Interactive).await;
    assert_eq!(old.id(), new.id());
    assert_eq!(reset_code(&old.write_all(b"old").await.unwrap_err()), Some(Code::DEVICE_LOST));
    drop(old);
    ours.write_all(b"new").await.unwrap();
    let mut read = [0; 3];
    within_seconds(5, "new bytes", new.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"new");
}

#[tokio::test]
async fn readers_and_writers_are_woken_when_the_device_does_not_come_back() {
    let mut joined = Joined::new(Config::default());
    let transport = joined.connect(Attach::Fresh);
    let (mut ours, theirs) = joined.open(Class::Interactive).await;
    // Some of it may get across before the cut.
    let reading = tokio::spawn(async move { ours.read_to_end(&mut Vec::new()).await.unwrap_err() });
    let writing = tokio::spawn(async move {
        let mut theirs = theirs;
        theirs.write_all(&pattern(3, 4 << 20)).await.unwrap_err()
    });
    transport.cut().await;
    tokio::task::yield_now().await;
    for handle in [&joined.broker, &joined.agent] {
        let deadline = handle.poll_timeout().expect("a link without transport has a deadline");
        handle.handle_timeout(deadline);
        assert!(std::iter::from_fn(|| handle.poll_event()).any(|e| matches!(e, Event::Link(Output::Lost))));
        assert!(!handle.is_resumable());
    }
    for error in [reading, writing] {
        let error = within_seconds(5, "the end of a stream", error).await.unwrap();
        assert_eq!(reset_code(&error), Some(Code::DEVICE_LOST));
    }
    assert!(joined.broker.open(Target::Sshd, Class::Bulk).is_err());
}

#[tokio::test]
async fn a_violation_ends_every_stream_with_its_code() {
    let mut joined = Joined::new(Config::default());
    let _transport = joined.connect(Attach::Fresh);
    let (mut ours, _theirs) = joined.open(Class::Interactive).await;
    let reading = tokio::spawn(async move { ours.read_u8().await.unwrap_err() });
    tokio::task::yield_now().await;
    let garbage = Input::Frame(b"no frame at all".as_slice().into());
    let violation = joined.broker.handle(Instant::now(), garbage).unwrap_err();
    assert_eq!(violation.code, Code::PROTOCOL);
    let error = within_seconds(5, "the end of a stream", reading).await.unwrap();
    assert_eq!(reset_code(&error), Some(Code::PROTOCOL));
}

#[tokio::test]
async fn a_stream_that_was_opened_and_reset_before_the_driver_looked_is_handed_over_and_gone() {
    let joined = Joined::new(Config::default());
    let now = Instant::now();
    let stream = joined.broker.open(Target::KeeperControl, Class::Bulk).unwrap();
    for handle in [&joined.broker, &joined.agent] {
        handle.handle(now, Input::Connected(Attach::Fresh)).unwrap();
    }
    let carry = || {
        while let Some(frame) = joined.broker.poll_transmit(now) {
            joined.agent.handle(now, Input::Frame(frame)).unwrap();
        }
    };
    carry();
    stream.reset(Code::KILLED);
    carry();
    let Some(Event::Opened { mut stream, target, class }) = joined.agent.poll_event() else {
        panic!("it was opened")
    };
    assert_eq!((target, class), (Target::KeeperControl, Class::Bulk));
    assert_eq!(stream.reset_code(), Some(Code::KILLED));
    assert_eq!(reset_code(&stream.read_u8().await.unwrap_err()), Some(Code::KILLED));
    // Nobody opened this one's successor: dropping it disturbs nothing.
    drop(stream);
    assert_eq!(joined.agent.streams(), 0);
}

#[tokio::test]
async fn the_driver_is_woken_by_what_happened_before_it_waited() {
    let joined = Joined::new(Config::default());
    let stream = joined.broker.open(Target::Sshd, Class::Interactive).unwrap();
    within_seconds(5, "open", joined.broker.stirred()).await;
    joined.broker.handle(Instant::now(), Input::Connected(Attach::Fresh)).unwrap();
    while joined.broker.poll_transmit(Instant::now()).is_some() {}
    let (_reader, mut writer) = tokio::io::split(stream);
    writer.write_all(b"key").await.unwrap();
    within_seconds(5, "write", joined.broker.stirred()).await;
    assert!(joined.broker.poll_transmit(Instant::now()).is_some());
    writer.shutdown().await.unwrap();
    within_seconds(5, "shutdown", joined.broker.stirred()).await;
    assert!(joined.broker.poll_transmit(Instant::now()).is_some());
    drop((_reader, writer));
    within_seconds(5, "drop", joined.broker.stirred()).await;
    assert!(joined.broker.poll_transmit(Instant::now()).is_some());
}

/// A link whose streams send by themselves into a transport with room for so much.
fn with_outlet(room: usize) -> (LinkHandle, std::sync::mpsc::Receiver<bytes::Bytes>) {
    let handle = LinkHandle::new(Role::Broker, Config::default(), Instant::now());
    handle.handle(Instant::now(), Input::Connected(Attach::Fresh)).unwrap();
    let (sent, transport) = std::sync::mpsc::channel();
    let mut left = room;
    handle.set_outlet(Some(Outlet::new(move |next| {
        while left > 0 {
            match next(Instant::now()) {
                Some(frame) => sent.send(frame).unwrap(),
                None => return true,
            }
            left -= 1;
        }
        false
    })));
    (handle, transport)
}

#[tokio::test]
async fn what_is_written_goes_out_without_the_driver_as_long_as_there_is_room() {
    let (handle, transport) = with_outlet(3);
    let mut stream = handle.open(Target::Sshd, Class::Interactive).unwrap();
    within_seconds(5, "open", handle.stirred()).await;
    assert!(handle.transmit());
    let _ = handle.poll_timeout();
    // OPEN, and the first ping.
    let before = transport.try_iter().count();
    stream.write_all(b"key").await.unwrap();
    assert_eq!(transport.try_iter().count(), 1);
    tokio::select! {
        biased;
        () = handle.stirred() => panic!("the driver has nothing to do"),
        () = std::future::ready(()) => {}
    }
    for _ in before + 1..=3 {
        stream.write_all(b"key").await.unwrap();
    }
    assert_eq!(transport.try_iter().count(), 3 - before - 1);
    within_seconds(5, "a transport that is full", handle.stirred()).await;
    assert!(!handle.transmit());
    handle.set_outlet(None);
    assert!(handle.poll_transmit(Instant::now()).is_some(), "what found no room is kept");
}

#[tokio::test]
async fn what_rule_a_frame_broke_is_told_to_the_driver() {
    let (handle, _transport) = with_outlet(100);
    handle.take(Instant::now(), b"no frame at all".as_slice().into());
    within_seconds(5, "a violation", handle.stirred()).await;
    let told: Vec<_> = std::iter::from_fn(|| handle.poll_event()).collect();
    let is_first = |told: &[Event]| matches!(told.first(), Some(Event::Violated(violation)) if violation.code == Code::PROTOCOL);
    assert!(
        is_first(&told) && told.iter().any(|event| matches!(event, Event::Link(Output::Lost))),
        "{told:?}"
    );
}
