use moorline_wire::term::HostFrame;
use moorline_wire::term::frame::{HostControl, ViewerRole};

use super::*;
use crate::clock;

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);

struct Stage {
    keeper: Keeper,
    start: Instant,
}

fn session() -> SessionId {
    "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

impl Stage {
    fn new() -> Self {
        let create = Create {
            command: None,
            size: SIZE,
            ring_bytes: 1 << 20,
            hold: false,
            orphaned_for_s: 100,
            grace_ms: 0,
            window: 1 << 18,
            in_window: 1 << 17,
            viewers_max: 2,
            driver_back_within_ms: 0,
        };
        let start = clock::now();
        Self { keeper: Keeper::new(session(), &create, start), start }
    }

    fn at(&mut self, seconds: u64, input: Input) -> Vec<Output> {
        self.keeper.handle(self.start + Duration::from_secs(seconds), input);
        self.outputs()
    }

    fn order(&mut self, from: ConnectionId, order: OrderControl) -> Vec<Output> {
        self.at(0, Input::Order(from, order))
    }

    fn take(&mut self, from: ConnectionId, epoch: u64) -> Vec<Output> {
        self.order(from, OrderControl::Take { version: 1, session: session(), epoch, create: None })
    }

    fn join(&mut self, from: ConnectionId, viewer: u64) -> Vec<Output> {
        let (key, who) = (format!("tab {from:?} {viewer}"), String::new());
        let attached = Box::new(HostControl::Live);
        let role = ViewerRole::Watcher;
        self.order(
            from,
            OrderControl::Join { viewer, key, who, have: Some(0), in_next: 0, size: SIZE, role, attached },
        )
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.keeper.poll_output()).collect()
    }

    fn sent(&mut self) -> Vec<FromKeeper> {
        std::iter::from_fn(|| self.keeper.poll_transmit(self.start)).collect()
    }
}

fn says(outputs: &[Output], to: ConnectionId, wanted: &KeeperControl) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Say(id, control) if *id == to && control == wanted))
}

fn takes(outputs: &[Output], to: ConnectionId) -> Option<&Taken> {
    outputs.iter().find_map(|output| match output {
        Output::Say(id, KeeperControl::Taken(taken)) if *id == to => Some(taken),
        _ => None,
    })
}

#[test]
fn only_a_higher_epoch_takes_the_session() {
    let mut stage = Stage::new();
    assert!(takes(&stage.take(FIRST, 5), FIRST).unwrap().created);
    for epoch in [0, 5] {
        let outputs = stage.take(SECOND, epoch);
        assert!(says(&outputs, SECOND, &KeeperControl::Superseded { epoch: 5 }));
        assert!(outputs.contains(&Output::Close(SECOND)));
    }
    let outputs = stage.take(SECOND, 6);
    assert!(says(&outputs, FIRST, &KeeperControl::Superseded { epoch: 6 }));
    assert!(outputs.contains(&Output::Close(FIRST)));
    assert!(!takes(&outputs, SECOND).unwrap().created);
}

#[test]
fn who_was_superseded_is_not_heard_and_the_same_number_is_another_viewer() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    stage.join(FIRST, 7);
    stage.sent();
    stage.take(SECOND, 2);
    stage.join(SECOND, 7);
    assert_eq!(stage.order(FIRST, OrderControl::End), [Output::Close(FIRST)]);
    assert_eq!(stage.order(FIRST, OrderControl::Leave { viewer: 7 }), [Output::Close(FIRST)]);
    // Its end is not that of the session's broker.
    assert_eq!(stage.at(0, Input::Lost(FIRST)), []);
    assert_eq!(stage.keeper.broker(), Some(SECOND));
    let sent = stage.sent();
    assert!(sent.iter().any(|message| matches!(message, FromKeeper::Frame(7, HostFrame::Control(_)))));
}

#[test]
fn viewers_take_turns_and_one_too_many_is_closed_and_forgotten() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    stage.join(FIRST, 1);
    stage.join(FIRST, 2);
    stage.sent();
    stage.at(0, Input::Output(Bytes::from(vec![b'x'; 100_000])));
    let order: Vec<u64> = stage
        .sent()
        .iter()
        .filter_map(|message| match message {
            FromKeeper::Frame(viewer, HostFrame::Out { .. }) => Some(*viewer),
            _ => None,
        })
        .collect();
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    stage.join(FIRST, 3);
    let close = FromKeeper::Control(KeeperControl::Close { viewer: 3, code: Code::LIMIT });
    assert_eq!(stage.sent().last(), Some(&close));
    assert_eq!(stage.keeper.viewers.len(), 2);
}

#[test]
fn a_message_full_of_output_fills_one_ssh_packet() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    stage.join(FIRST, 1);
    stage.sent();
    stage.at(0, Input::Output(Bytes::from(vec![b'x'; 100_000])));
    let lengths: Vec<usize> = stage.sent().iter().map(|message| message.encode().len()).collect();
    assert_eq!(lengths[..3], [32 * 1024; 3], "{lengths:?}");
}

#[test]
fn the_exit_is_told_until_bye_and_gone_is_the_last_word() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    stage.join(FIRST, 1);
    let exit = Exit::Status(3);
    assert!(says(
        &stage.at(1, Input::Exited(exit.clone())),
        FIRST,
        &KeeperControl::Ended { exit: exit.clone() }
    ));
    let outputs = stage.take(SECOND, 2);
    assert_eq!(takes(&outputs, SECOND).unwrap().exit, Some(exit));
    stage.join(SECOND, 1);
    let outputs = stage.order(SECOND, OrderControl::Bye);
    assert!(!outputs.contains(&Output::Go), "a viewer has not got its rest");
    stage.sent();
    let outputs = stage.outputs();
    assert!(says(&outputs, SECOND, &KeeperControl::Gone) && outputs.contains(&Output::Go), "{outputs:?}");
}

#[test]
fn bye_before_the_end_means_nothing_and_a_viewer_that_reads_nothing_holds_it_for_ten_seconds() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    assert_eq!(stage.order(FIRST, OrderControl::Bye), []);
    stage.join(FIRST, 1);
    stage.at(1, Input::Exited(Exit::Status(0)));
    stage.order(FIRST, OrderControl::Bye);
    stage.keeper.handle_timeout(stage.start + FAREWELL);
    let outputs = stage.outputs();
    assert!(outputs.contains(&Output::Go), "{outputs:?}");
}

#[test]
fn an_orphan_ends_its_program_and_goes_unless_somebody_comes() {
    let mut stage = Stage::new();
    stage.take(FIRST, 1);
    stage.at(50, Input::Lost(FIRST));
    assert_eq!(stage.keeper.poll_timeout(), Some(stage.start + Duration::from_secs(150)));
    stage.keeper.handle_timeout(stage.start + Duration::from_secs(149));
    assert_eq!(stage.outputs(), []);
    stage.keeper.handle_timeout(stage.start + Duration::from_secs(150));
    assert_eq!(stage.outputs(), [Output::EndProgram]);
    assert_eq!(stage.at(151, Input::Exited(Exit::Signal("HUP".into()))), [Output::Go]);

    let mut stage = Stage::new();
    stage.keeper.handle_timeout(stage.start + Duration::from_secs(100));
    assert_eq!(stage.outputs(), [Output::EndProgram]);
    stage.take(FIRST, 1);
    let outputs = stage.at(101, Input::Exited(Exit::Status(0)));
    assert!(!outputs.contains(&Output::Go), "its end is still to be written down");
}

#[test]
fn orders_and_frames_before_a_take_close_the_connection() {
    let mut stage = Stage::new();
    for order in [OrderControl::End, OrderControl::Bye, OrderControl::Leave { viewer: 1 }] {
        assert_eq!(stage.order(FIRST, order), [Output::Close(FIRST)]);
    }
    assert_eq!(stage.at(0, Input::Frame(FIRST, 1, ViewerFrame::Ack { offset: 0 })), [Output::Close(FIRST)]);
}
