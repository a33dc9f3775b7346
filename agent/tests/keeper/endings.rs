//! How a session ends, and that nothing of it is left.

use moorline_wire::Exit;
use moorline_wire::keep::{Create, FromKeeper, KeeperControl, OrderControl, ToKeeper};
use moorline_wire::term::HostFrame;
use moorline_wire::term::frame::HostControl;

use crate::device::{Device, create, has, processes, until};

const BYE: ToKeeper = ToKeeper::Order(OrderControl::Bye);

#[tokio::test]
async fn how_it_ended_is_told_to_everybody_until_one_says_bye_and_then_nothing_is_left() {
    let device = Device::new();
    let (mut first, _) = device.taken(1, Some(create("echo last words; exit 7"))).await;
    let ended = KeeperControl::Ended { exit: Exit::Status(7) };
    assert_eq!(first.hear_control().await, Some(ended));
    first.child.kill().await.unwrap();
    for epoch in 2..4 {
        let (broker, taken) = device.taken(epoch, None).await;
        assert_eq!(taken.exit, Some(Exit::Status(7)));
        broker.ends().await;
    }
    let (mut broker, _) = device.taken(4, None).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    let output = broker.read_output(1, 0, |output| has(output, "last words\r\n")).await;
    assert_eq!(output, b"last words\r\n");
    let mut told = false;
    loop {
        match broker.hear().await.unwrap() {
            FromKeeper::Frame(1, HostFrame::Control(HostControl::Ended { .. })) => told = true,
            FromKeeper::Control(KeeperControl::Close { viewer: 1, .. }) => break,
            _ => {}
        }
    }
    assert!(told);
    broker.say(&BYE).await;
    assert_eq!(broker.hear_control().await, Some(KeeperControl::Gone));
    assert!(broker.hear().await.is_none());
    device.nothing_is_left().await;
}

#[tokio::test]
async fn a_program_that_ignores_the_hangup_is_killed_after_the_grace() {
    let device = Device::new();
    let word = 600_000_000 + std::process::id();
    let command =
        format!("trap '' HUP TERM; (trap '' HUP; sleep {word}) & echo up; while :; do sleep {word}; done");
    let (mut broker, _) = device.taken(1, Some(create(&command))).await;
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    broker.read_output(1, 0, |output| has(output, "up")).await;
    let sleeping = || processes(|line| line.starts_with(&format!("sleep\0{word}")));
    until("it sleeps", || sleeping().len() == 2).await;
    broker.say(&ToKeeper::Order(OrderControl::End)).await;
    let ended = KeeperControl::Ended { exit: Exit::Signal("KILL".into()) };
    loop {
        match broker.hear_control().await {
            Some(KeeperControl::Close { .. }) => {}
            other => break assert_eq!(other, Some(ended)),
        }
    }
    assert!(sleeping().is_empty());
    broker.say(&ToKeeper::Order(OrderControl::Leave { viewer: 1 })).await;
    broker.say(&BYE).await;
    until("it goes", || device.keepers().is_empty()).await;
    device.nothing_is_left().await;
}

#[tokio::test]
async fn a_shell_that_exits_is_not_kept_by_what_it_left_in_the_background() {
    let device = Device::new();
    let word = 610_000_000 + std::process::id();
    let command = format!("trap '' HUP; sleep {word} & echo bye; exit 3");
    let (mut broker, _) = device.taken(1, Some(create(&command))).await;
    assert_eq!(broker.hear_control().await, Some(KeeperControl::Ended { exit: Exit::Status(3) }));
    for pid in processes(|line| line.starts_with(&format!("sleep\0{word}"))) {
        crate::device::kill(pid);
    }
}

#[tokio::test]
async fn an_orphan_ends_by_itself() {
    let device = Device::new();
    let word = 620_000_000 + std::process::id();
    let order = Create { orphaned_for_s: 1, ..create(&format!("sleep {word}")) };
    let (broker, _) = device.taken(1, Some(order)).await;
    broker.ends().await;
    device.nothing_is_left().await;
    assert!(processes(|line| line.starts_with(&format!("sleep\0{word}"))).is_empty());
}

#[tokio::test]
async fn an_orphan_whose_program_has_ended_goes_too() {
    let device = Device::new();
    let order = Create { orphaned_for_s: 1, ..create("true") };
    let (broker, _) = device.taken(1, Some(order)).await;
    broker.ends().await;
    device.nothing_is_left().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_said_and_nothing_is_left() {
    let device = Device::new();
    let mut command = device.keep();
    command.env("MOORLINE_SHELL", "/nowhere/shell");
    let mut broker = crate::device::Attached::by(command);
    broker.say(&device.take(1, Some(create("")))).await;
    match broker.hear_control().await {
        Some(KeeperControl::Failed { text }) => assert!(text.contains("cannot start the program"), "{text}"),
        other => panic!("{other:?}"),
    }
    device.nothing_is_left().await;
}
