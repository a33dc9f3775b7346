//! Nothing is lost and nothing comes twice, whoever is killed in between.

use moorline_wire::keep::{FromKeeper, OrderControl, ToKeeper};
use moorline_wire::term::HostFrame;
use moorline_wire::term::frame::{HostControl, ViewerFrame};

use crate::device::{Device, create, has, until};

#[tokio::test]
async fn output_goes_on_byte_for_byte_after_twelve_kills() {
    let device = Device::new();
    const LINES: usize = 300_000;
    let command = format!("stty raw -echo; seq 1 {LINES}; echo end; sleep 1000");
    let expected: Vec<u8> = (1..=LINES).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    // A break is not a leave: the program waits for its driver, so that nothing falls out of the ring.
    let order = moorline_wire::keep::Create { driver_back_within_ms: 60_000, ..create(&command) };
    let mut output = Vec::new();
    for round in 0..=12 {
        let (mut broker, _) = device.taken(round + 1, Some(order.clone())).await;
        let at = output.len() as u64;
        broker.say(&device.join(1, "tab", Some(at), 0)).await;
        let HostControl::Attached { from, gap, snapshot, .. } = broker.hear_attached().await else {
            unreachable!()
        };
        assert_eq!((from, gap, snapshot), (at, None, false));
        // Whole pieces of up to 32 KiB come: half of an even share leaves enough for the last round.
        let part = expected.len() / 26;
        let enough = |got: &[u8]| if round < 12 { got.len() > part } else { got.ends_with(b"end\n") };
        output.extend(broker.read_output(1, at, enough).await);
        broker.child.kill().await.unwrap();
    }
    assert_eq!(output.len(), expected.len() + 4);
    assert!(output.starts_with(&expected), "bytes differ");
}

#[tokio::test]
async fn input_that_is_sent_again_after_a_kill_is_applied_once() {
    let device = Device::new();
    let command = "stty raw -echo; echo up; cat";
    let typed: String = (0..4000).map(|number| format!("{number},")).collect();
    let (mut at, mut output) = (0, Vec::new());
    for round in 0..6u64 {
        let (mut broker, _) = device.taken(round + 1, Some(create(command))).await;
        broker.say(&device.join(1, "tab", Some(output.len() as u64), at as u64)).await;
        let HostControl::Attached { in_ack, .. } = broker.hear_attached().await else { unreachable!() };
        if round == 0 {
            output.extend(broker.read_output(1, 0, |got| has(got, "up\n")).await);
        }
        // Everything again that was not acknowledged, and a part that was.
        let from = (in_ack as usize).saturating_sub(usize::from(round > 0) * 10);
        at = (from + 4000).min(typed.len());
        for piece in (from..at).step_by(100) {
            broker.types(1, piece as u64, &typed[piece..at.min(piece + 100)]).await;
        }
        let wanted = if round < 5 { (at as u64).saturating_sub(1500) } else { at as u64 };
        while let Some(message) = broker.hear().await {
            match message {
                FromKeeper::Frame(_, HostFrame::InAck { offset }) if offset >= wanted => break,
                FromKeeper::Frame(_, HostFrame::Out { offset, bytes }) => {
                    assert_eq!(offset, output.len() as u64);
                    output.extend_from_slice(&bytes);
                }
                _ => {}
            }
        }
        broker.child.kill().await.unwrap();
    }
    let (mut broker, _) = device.taken(100, None).await;
    let have = output.len() as u64;
    broker.say(&device.join(1, "tab", Some(have), at as u64)).await;
    let HostControl::Attached { in_ack, .. } = broker.hear_attached().await else { unreachable!() };
    for piece in (in_ack as usize..typed.len()).step_by(1000) {
        broker.types(1, piece as u64, &typed[piece..typed.len().min(piece + 1000)]).await;
    }
    let left = typed.len() + 3 - output.len();
    output.extend(broker.read_output(1, have, |got| got.len() >= left).await);
    assert_eq!(String::from_utf8(output).unwrap(), format!("up\n{typed}"));
}

#[tokio::test]
async fn a_snapshot_brings_screen_and_modes_back() {
    let device = Device::new();
    let command = r"printf '\033[?2004h\033[?1003h\033[?1006hfirst\r\n\033[31mred\033[m'; sleep 1000";
    let (mut first, _) = device.taken(1, Some(create(command))).await;
    first.say(&device.join(1, "tab", Some(0), 0)).await;
    first.read_output(1, 0, |output| has(output, "red\u{1b}[m")).await;
    first.child.kill().await.unwrap();
    let (mut second, taken) = device.taken(2, None).await;
    second.say(&device.join(1, "other tab", None, 0)).await;
    let HostControl::Attached { snapshot, from, .. } = second.hear_attached().await else { unreachable!() };
    assert!(snapshot);
    assert_eq!(from, taken.head);
    loop {
        if let Some(FromKeeper::Frame(1, HostFrame::Snap { cols: 80, rows: 24, bytes, .. })) =
            second.hear().await
        {
            for part in ["\u{1b}[?2004h", "\u{1b}[?1003h", "\u{1b}[?1006h", "first", "red"] {
                assert!(has(&bytes, part), "{part:?} is missing");
            }
            break;
        }
    }
}

#[tokio::test]
async fn a_program_that_is_held_loses_nothing_while_nobody_reads() {
    let device = Device::new();
    let command = "stty raw; seq 1 1000000; echo end; sleep 1000";
    let order = moorline_wire::keep::Create { hold: true, ..create(command) };
    let (first, _) = device.taken(1, Some(order)).await;
    first.ends().await;
    let mut epoch = 2;
    // It stands still far below the ring's end.
    let mut last = 0;
    loop {
        let (broker, taken) = device.taken(epoch, None).await;
        broker.ends().await;
        assert_eq!(taken.oldest, 0);
        epoch += 1;
        if taken.head == last && last > 300 << 10 {
            break;
        }
        last = taken.head;
    }
    let (mut broker, _) = device.taken(epoch, None).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    let output = broker.read_output(1, 0, |output| output.ends_with(b"end\n")).await;
    let expected: Vec<u8> = (1..=1_000_000).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    assert_eq!(output.len(), expected.len() + 4);
    assert!(output.starts_with(&expected), "bytes differ");
}

#[tokio::test]
async fn a_program_that_goes_on_loses_its_oldest_output_and_one_gap_is_told() {
    let device = Device::new();
    let done = device.path("done");
    let command =
        format!("stty -echo; echo up; read go; seq 1 1000000; touch {}; sleep 1000", done.display());
    let (mut first, _) = device.taken(1, Some(create(&command))).await;
    first.say(&device.join(1, "tab", Some(0), 0)).await;
    first.read_output(1, 0, |output| has(output, "up\r\n")).await;
    first.types(1, 0, "go\n").await;
    first.read_output(1, 4, |output| output.len() > 100_000).await;
    first.say(&ToKeeper::Order(OrderControl::Leave { viewer: 1 })).await;
    first.ends().await;
    until("the program is done without us", || done.exists()).await;
    let everything = 4 + (1..=1_000_000).map(|line: u32| line.to_string().len() as u64 + 2).sum::<u64>();
    let (mut broker, mut taken) = device.taken(2, None).await;
    for epoch in 3.. {
        if taken.head == everything {
            break;
        }
        (broker, taken) = device.taken(epoch, None).await;
    }
    assert!(taken.oldest > 1_000_000, "{taken:?}");
    broker.say(&device.join(1, "tab", Some(100_001), 0)).await;
    let HostControl::Attached { gap, from, snapshot, .. } = broker.hear_attached().await else {
        unreachable!()
    };
    let gap = gap.expect("the gap is told");
    assert!(snapshot);
    assert_eq!((gap.from, gap.to), (100_001, from));
    loop {
        match broker.hear().await.unwrap() {
            FromKeeper::Frame(_, HostFrame::Snap { offset, bytes, .. }) => {
                assert_eq!(offset, from);
                assert!(has(&bytes, "999998"), "it is not the last screen");
                break;
            }
            FromKeeper::Frame(_, HostFrame::Out { .. }) => panic!("output before the screen"),
            _ => {}
        }
    }
    let ping = ViewerFrame::Ping { nonce: 7, acked: from };
    broker.say(&ToKeeper::Frame(1, ping)).await;
    loop {
        match broker.hear().await.unwrap() {
            FromKeeper::Frame(_, HostFrame::Pong { nonce: 7, .. }) => break,
            FromKeeper::Frame(_, HostFrame::Control(HostControl::Gap(_))) => panic!("a second gap"),
            _ => {}
        }
    }
}
