//! The broker's end of a keeper, against keepers that do as they are told and others.

use bytes::Bytes;
use moorline_wire::keep::{FromKeeper, KeeperControl, OrderControl, PREAMBLE, Taken, ToKeeper};
use moorline_wire::term::frame::{LegState, Step, ViewerControl, ViewerRole};

use super::*;

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

struct Test {
    house: House,
    now: Instant,
    /// What the keeper gets.
    keeper: moorline_wire::keep::Decoder,
}

fn session() -> SessionId {
    "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

fn answer(resume: &str) -> HostControl {
    HostControl::Attached {
        session: session(),
        resume: resume.to_owned(),
        role: ViewerRole::Driver,
        from: 0,
        head: 0,
        in_ack: 0,
        window: 1000,
        in_window: 1000,
        ping_ms: 1,
        dead_ms: 2,
        size: SIZE,
        gap: None,
        snapshot: false,
        kept_s: 9,
        keeper: false,
        device: "pump".to_owned(),
        login: "root".to_owned(),
    }
}

fn taken() -> KeeperControl {
    KeeperControl::Taken(Taken { version: 1, created: true, head: 0, oldest: 0, idle_ms: 0, exit: None })
}

impl Test {
    fn new() -> Self {
        let house = House::of_keeper(3, 1000);
        Self { house, now: Instant::now(), keeper: moorline_wire::keep::Decoder::plain() }
    }

    /// With a keeper, to which this viewer is let in.
    fn joined(viewer: u64) -> Self {
        let mut test = Self::new();
        test.take();
        test.attach(viewer);
        test.outputs();
        test
    }

    fn take(&mut self) {
        self.house.take(&session(), 7, None);
        let now = self.now;
        self.house.shell_said(now, Bytes::from_static(PREAMBLE));
        self.says(FromKeeper::Control(taken()));
    }

    fn attach(&mut self, viewer: u64) {
        self.attach_as(viewer, &format!("tab{viewer}"));
    }

    fn attach_as(&mut self, viewer: u64, key: &str) {
        let attach = Attach {
            viewer: ViewerId(viewer),
            key: key.to_owned(),
            who: "anna".to_owned(),
            have: Some(5),
            in_next: 3,
            size: SIZE,
            role: ViewerRole::Driver,
            attached: answer("secret"),
        };
        self.house.attach(self.now, attach);
    }

    fn says(&mut self, message: FromKeeper) {
        self.house.shell_said(self.now, message.encode());
    }

    fn outputs(&mut self) -> Vec<HostOutput> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.house.poll_output()).collect();
        for output in &outputs {
            if let HostOutput::ToShell(bytes) = output {
                self.keeper.push(bytes);
            }
        }
        outputs
    }

    /// What the keeper was told since the last time.
    fn orders(&mut self) -> Vec<ToKeeper> {
        self.outputs();
        let raw = std::iter::from_fn(|| self.keeper.next_message().unwrap());
        raw.filter_map(|raw| ToKeeper::decode(raw).unwrap()).collect()
    }

    fn frames(&mut self, viewer: u64) -> Vec<HostFrame> {
        std::iter::from_fn(|| self.house.poll_transmit(self.now, ViewerId(viewer))).collect()
    }
}

fn out(bytes: usize) -> HostFrame {
    HostFrame::Out { offset: 0, bytes: Bytes::from(vec![b'x'; bytes]) }
}

fn is_join(order: &ToKeeper) -> bool {
    matches!(order, ToKeeper::Order(OrderControl::Join { .. }))
}

#[test]
fn who_comes_before_the_keeper_is_there_hears_how_it_goes_and_then_joins() {
    let mut test = Test::new();
    test.house.tell(test.now, HostControl::Step { step: Step::Device, ms: 4 });
    test.attach(1);
    let lost = HostControl::Device { state: LegState::Lost, kept_s: 60 };
    test.house.tell(test.now, lost.clone());
    let step = HostFrame::Control(HostControl::Step { step: Step::Device, ms: 4 });
    assert_eq!(test.frames(1), [step, HostFrame::Control(lost)]);
    assert!(!test.orders().iter().any(is_join));
    test.take();
    let join = test.orders().into_iter().find(is_join).expect("it joins");
    let ToKeeper::Order(OrderControl::Join { have, in_next, attached, .. }) = join else { panic!() };
    assert_eq!((have, in_next), (Some(5), 3));
    assert_eq!(*attached, answer(""), "the device has no use for the token");
    assert!(matches!(test.house.poll_news(), Some(News::Taken(_))));
}

#[test]
fn the_answer_to_a_hello_is_the_brokers_but_for_what_only_the_keeper_knows() {
    let mut test = Test::joined(1);
    let mut lies = answer("stolen");
    if let HostControl::Attached { from, device, in_ack, .. } = &mut lies {
        (*from, *in_ack, *device) = (5, 3, "bank".to_owned());
    }
    test.says(FromKeeper::Frame(1, HostFrame::Control(lies)));
    let mut expected = answer("secret");
    if let HostControl::Attached { from, in_ack, keeper, .. } = &mut expected {
        (*from, *in_ack, *keeper) = (5, 3, true);
    }
    assert_eq!(test.frames(1), [HostFrame::Control(expected), HostFrame::Control(HostControl::Live)]);
}

#[test]
fn frames_go_both_ways_as_they_are() {
    let mut test = Test::joined(1);
    test.orders();
    let typed = ViewerFrame::In { offset: 3, bytes: Bytes::from_static(b"ls\r") };
    test.house.frame(test.now, ViewerId(1), typed.clone());
    assert_eq!(test.orders(), [ToKeeper::Frame(1, typed)]);
    test.says(FromKeeper::Frame(1, out(10)));
    assert!(test.outputs().contains(&HostOutput::Transmit(ViewerId(1))));
    assert_eq!(test.frames(1), [out(10)]);
    test.house.set_device_rtt(Duration::from_millis(7));
    test.says(FromKeeper::Frame(1, HostFrame::Pong { nonce: 1, device_rtt_us: 0, head: 9 }));
    assert_eq!(test.frames(1), [HostFrame::Pong { nonce: 1, device_rtt_us: 7000, head: 9 }]);
}

#[test]
fn a_kill_that_a_viewer_asks_for_is_the_brokers_to_carry_out() {
    let mut test = Test::joined(1);
    test.orders();
    let kill = ViewerFrame::Control(ViewerControl::Kill { reason: Some("done".into()) });
    test.house.frame(test.now, ViewerId(1), kill);
    let wanted = HostOutput::KillWanted { viewer: ViewerId(1), reason: Some("done".into()) };
    assert_eq!(test.outputs(), [wanted]);
}

#[test]
fn when_the_way_breaks_who_joined_comes_again_and_who_waits_waits_on() {
    let mut test = Test::joined(1);
    test.orders();
    test.says(FromKeeper::Frame(1, out(10)));
    test.house.lost();
    test.attach(2);
    let outputs = test.outputs();
    let close = HostOutput::Close { viewer: ViewerId(1), code: Code::INTERRUPTED };
    assert!(outputs.contains(&close), "{outputs:?}");
    let last = test.frames(1);
    assert!(matches!(&last[..], [HostFrame::Control(HostControl::Error { code: Code::INTERRUPTED, .. })]));
    // What the lost keeper still says is nobody's.
    test.says(FromKeeper::Frame(2, out(3)));
    assert_eq!(test.frames(2), []);
    test.take();
    assert_eq!(test.orders().iter().filter(|order| is_join(order)).count(), 1);
}

#[test]
fn an_exit_leaves_the_rest_to_the_keeper_and_any_other_ending_overtakes_it() {
    let exited = Ending::exited(Exit::Status(0));
    let mut test = Test::joined(1);
    test.says(FromKeeper::Frame(1, out(10)));
    test.house.ended(test.now, exited.clone());
    test.says(FromKeeper::Frame(1, HostFrame::Control(HostControl::Ended { ending: exited.clone() })));
    test.says(FromKeeper::Control(KeeperControl::Close { viewer: 1, code: Code::EXITED }));
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::EXITED }));
    assert_eq!(test.frames(1), [out(10), HostFrame::Control(HostControl::Ended { ending: exited })]);

    let killed = Ending::killed("anna", None);
    let mut test = Test::joined(1);
    test.says(FromKeeper::Frame(1, out(10)));
    test.house.ended(test.now, killed.clone());
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::KILLED }));
    assert_eq!(test.frames(1), [HostFrame::Control(HostControl::Ended { ending: killed })]);
}

#[test]
fn who_comes_after_the_end_is_told_it_and_an_exit_with_the_rest_of_the_output() {
    let failed = Ending::of(Code::SSHD_UNREACHABLE);
    let mut test = Test::new();
    test.house.ended(test.now, failed.clone());
    test.attach(1);
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(1), code: failed.code }));
    assert_eq!(test.frames(1), [HostFrame::Control(HostControl::Ended { ending: failed })]);

    let exited = Ending::exited(Exit::Status(0));
    let mut test = Test::joined(1);
    test.orders();
    test.house.ended(test.now, exited.clone());
    test.attach(2);
    assert!(test.orders().iter().any(is_join), "the rest of the output is with the keeper");
    test.says(FromKeeper::Control(KeeperControl::Gone));
    let ended = HostFrame::Control(HostControl::Ended { ending: exited });
    assert_eq!((test.frames(1), test.frames(2)), (vec![ended.clone()], vec![ended]));
}

#[test]
fn a_device_does_not_speak_for_the_broker() {
    let mut test = Test::joined(1);
    let killed = Ending::killed("the boss", Some("call this number"));
    for lie in [HostControl::Ended { ending: killed }, HostControl::Live] {
        test.says(FromKeeper::Frame(1, HostFrame::Control(lie)));
    }
    assert_eq!(test.frames(1), []);
}

#[test]
fn a_keeper_that_sends_more_than_the_window_or_garbage_breaks_the_protocol() {
    let mut test = Test::joined(1);
    test.house.poll_news();
    for _ in 0..100 {
        test.says(FromKeeper::Frame(1, out(32 * 1024)));
    }
    assert!(matches!(test.house.poll_news(), Some(News::Violated(_))));
    let mut test = Test::joined(1);
    test.house.poll_news();
    test.house.shell_said(test.now, Bytes::from_static(&[0xff; 64]));
    assert!(matches!(test.house.poll_news(), Some(News::Violated(_))));
}

#[test]
fn nothing_may_be_typed_before_the_hello_is_answered() {
    let mut test = Test::new();
    test.attach(1);
    let typed = ViewerFrame::In { offset: 3, bytes: Bytes::from_static(b"x") };
    test.house.frame(test.now, ViewerId(1), typed);
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::PROTOCOL }));
}

#[test]
fn no_more_wait_than_may_and_a_tab_that_comes_twice_waits_once() {
    let mut test = Test::new();
    for viewer in 1..=4 {
        test.attach(viewer);
    }
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(4), code: Code::LIMIT }));
    test.attach_as(5, "tab1");
    assert!(test.outputs().contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::CANCELLED }));
    test.take();
    assert_eq!(test.orders().iter().filter(|order| is_join(order)).count(), 3);
}

#[test]
fn where_there_is_no_keeper_who_waits_is_let_in_to_the_plain_shell() {
    let mut test = Test::new();
    test.house.tell(test.now, HostControl::Step { step: Step::Login, ms: 4 });
    let mut attach = Attach {
        viewer: ViewerId(1),
        key: "tab".to_owned(),
        who: "anna".to_owned(),
        have: None,
        in_next: 0,
        size: SIZE,
        role: ViewerRole::Driver,
        attached: answer("secret"),
    };
    attach.have = None;
    test.house.attach(test.now, attach);
    test.house.become_ours(HostConfig::default(), SIZE, test.now);
    assert!(!test.house.is_kept());
    test.house.shell_said(test.now, Bytes::from_static(b"$ "));
    let frames = test.frames(1);
    assert!(
        matches!(&frames[0], HostFrame::Control(HostControl::Attached { keeper: false, .. })),
        "{frames:?}"
    );
    let prompt = HostFrame::Out { offset: 0, bytes: Bytes::from_static(b"$ ") };
    assert!(frames.contains(&prompt), "{frames:?}");
}
