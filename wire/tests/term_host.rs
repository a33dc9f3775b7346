//! The host, one scenario a test.

#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::ending::Exit;
use moorline_wire::term::frame::{Gap, ViewerControl, ViewerRole};
use moorline_wire::term::host::{Attach, Host, HostConfig, HostInput, HostOutput, ViewerId};
use moorline_wire::term::{HostControl, HostFrame, Size, ViewerFrame};
use moorline_wire::{Code, Ending};

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// A host on a stopped clock.
struct Stage {
    host: Host,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self::with(HostConfig::default())
    }

    fn with(config: HostConfig) -> Self {
        let now = Instant::now();
        Self { host: Host::new(config, SIZE, now), now }
    }

    fn input(&mut self, input: HostInput) -> Vec<HostOutput> {
        self.host.handle(self.now, input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<HostOutput> {
        std::iter::from_fn(|| self.host.poll_output()).collect()
    }

    fn pass(&mut self, time: Duration) -> Vec<HostOutput> {
        self.now += time;
        self.host.handle_timeout(self.now);
        self.outputs()
    }

    /// Until an acknowledgement of input goes though there is no output.
    fn pass_a_moment(&mut self) -> Vec<HostOutput> {
        self.pass(Duration::from_millis(10))
    }

    fn program_writes(&mut self, bytes: &[u8]) -> Vec<HostOutput> {
        self.input(HostInput::Output(Bytes::copy_from_slice(bytes)))
    }

    fn attach(&mut self, id: u64, key: &str, have: Option<u64>, role: ViewerRole) -> Vec<HostOutput> {
        self.attach_typing(id, key, have, role, 0)
    }

    fn attach_typing(
        &mut self,
        id: u64,
        key: &str,
        have: Option<u64>,
        role: ViewerRole,
        in_next: u64,
    ) -> Vec<HostOutput> {
        let who = format!("viewer {key}");
        let attach = Attach {
            viewer: ViewerId(id),
            key: key.into(),
            who,
            have,
            in_next,
            size: SIZE,
            role,
            attached: blank(),
        };
        self.input(HostInput::Attach(Box::new(attach)))
    }

    fn frame(&mut self, id: u64, frame: ViewerFrame) -> Vec<HostOutput> {
        self.input(HostInput::Frame { viewer: ViewerId(id), frame })
    }

    fn types(&mut self, id: u64, offset: u64, bytes: &'static [u8]) -> Vec<HostOutput> {
        self.frame(id, ViewerFrame::In { offset, bytes: Bytes::from_static(bytes) })
    }

    fn drain(&mut self, id: u64) -> Vec<HostFrame> {
        std::iter::from_fn(|| self.host.poll_transmit(self.now, ViewerId(id))).collect()
    }

    /// Everything but the messages that every attach brings.
    fn drain_plain(&mut self, id: u64) -> Vec<HostFrame> {
        let mut frames = self.drain(id);
        frames.retain(|frame| {
            !matches!(frame, HostFrame::Control(HostControl::Attached { .. } | HostControl::Viewers { .. }))
        });
        frames
    }

    fn snapshot(&mut self, offset: u64) -> Vec<HostOutput> {
        self.input(HostInput::Snapshot { offset, cols: 80, rows: 24, bytes: Bytes::from_static(b"screen") })
    }
}

fn blank() -> HostControl {
    HostControl::Attached {
        session: "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
        resume: "token".into(),
        role: ViewerRole::Watcher,
        from: 0,
        head: 0,
        in_ack: 0,
        window: 256 * 1024,
        in_window: 128 * 1024,
        ping_ms: 5000,
        dead_ms: 15000,
        size: SIZE,
        gap: None,
        snapshot: false,
        kept_s: 600,
        keeper: false,
        device: "router-7".into(),
        login: "root".into(),
    }
}

fn out(offset: u64, bytes: &[u8]) -> HostFrame {
    HostFrame::Out { offset, bytes: Bytes::copy_from_slice(bytes) }
}

fn in_ack_of(frames: &[HostFrame]) -> u64 {
    match &frames[0] {
        HostFrame::Control(HostControl::Attached { in_ack, .. }) => *in_ack,
        other => panic!("{other:?} came before attached"),
    }
}

use ViewerRole::{Driver, Watcher};

#[test]
fn a_viewer_of_a_silent_program_needs_no_snapshot() {
    let mut stage = Stage::new();
    let outputs = stage.attach(1, "a", None, Driver);
    assert_eq!(outputs, [HostOutput::Viewers { drivers: 1, watchers: 0 }, HostOutput::Transmit(ViewerId(1))]);
    stage.program_writes(b"$ ");
    assert_eq!(stage.drain_plain(1), [out(0, b"$ ")]);
}

#[test]
fn the_first_bytes_after_idle_go_at_once_and_the_next_wait_for_company() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    assert_eq!(stage.program_writes(b"a"), [HostOutput::Transmit(ViewerId(1))]);
    assert_eq!(stage.drain(1), [out(0, b"a")]);

    assert_eq!(stage.program_writes(b"b"), [], "one byte is in flight");
    stage.program_writes(b"c");
    assert_eq!(stage.host.poll_timeout(), Some(stage.now + Duration::from_millis(4)));
    assert_eq!(stage.pass(Duration::from_millis(4)), [HostOutput::Transmit(ViewerId(1))]);
    assert_eq!(stage.host.poll_timeout(), None, "it was announced; there is nothing to wait for");
    assert_eq!(stage.drain(1), [out(1, b"bc")]);

    stage.program_writes(b"d");
    let outputs = stage.frame(1, ViewerFrame::Ack { offset: 3 });
    assert_eq!(outputs, [HostOutput::Transmit(ViewerId(1))], "nothing is in flight any more");
    assert_eq!(stage.drain(1), [out(3, b"d")]);
}

#[test]
fn no_more_than_the_window_is_in_flight_and_the_gate_follows_the_driver() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    stage.program_writes(&[b'y'; 384 * 1024]);
    let outputs = stage.program_writes(b"y");
    assert!(outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");
    let sent: usize = stage
        .drain(1)
        .iter()
        .map(|frame| match frame {
            HostFrame::Out { bytes, .. } => bytes.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(sent, 256 * 1024);
    let outputs = stage.frame(1, ViewerFrame::Ack { offset: 256 * 1024 });
    assert!(!outputs.contains(&HostOutput::Gate { open: true }), "128 KiB and one byte are unread");
    stage.drain(1);
    let outputs = stage.frame(1, ViewerFrame::Ack { offset: 320 * 1024 });
    assert!(outputs.contains(&HostOutput::Gate { open: true }), "{outputs:?}");
}

#[test]
fn what_the_window_would_cut_to_little_waits_for_an_acknowledgement() {
    let mut stage = Stage::with(HostConfig { window: 1000, out_bytes_max: 300, ..HostConfig::default() });
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    stage.program_writes(&[b'y'; 1300]);
    let full = [b'y'; 300];
    assert_eq!(stage.drain(1), [out(0, &full), out(300, &full), out(600, &full)], "not 100 more");
    assert_eq!(stage.host.poll_timeout(), None, "nothing can be sent at any time");
    stage.frame(1, ViewerFrame::Ack { offset: 200 });
    assert_eq!(stage.drain(1), [out(900, &full)]);
    // The last of it is not cut, however little it is.
    stage.frame(1, ViewerFrame::Ack { offset: 300 });
    stage.pass_a_moment();
    assert_eq!(stage.drain(1), [out(1200, &full[..100])]);
}

#[test]
fn a_program_waits_a_while_for_a_driver_that_was_cut_off_and_then_goes_on() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.program_writes(b"hello");
    stage.input(HostInput::Left(ViewerId(1)));
    let outputs = stage.program_writes(&[b'y'; 385 * 1024]);
    assert!(outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");
    assert_eq!(stage.host.poll_timeout(), Some(stage.now + Duration::from_secs(30)));
    let outputs = stage.pass(Duration::from_secs(30));
    assert!(outputs.contains(&HostOutput::Gate { open: true }), "{outputs:?}");

    // Who detaches is not waited for.
    stage.attach(2, "a", Some(0), Driver);
    stage.frame(2, ViewerFrame::Control(ViewerControl::Detach));
    let outputs = stage.program_writes(&[b'y'; 400 * 1024]);
    assert!(!outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");
}

#[test]
fn a_program_does_not_wait_for_a_hidden_page_that_sleeps() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.frame(1, ViewerFrame::Control(ViewerControl::Visibility { hidden: true }));
    let outputs = stage.program_writes(&[b'y'; 385 * 1024]);
    assert!(outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");
    assert_eq!(stage.host.poll_timeout(), Some(stage.now + Duration::from_secs(10)));
    let outputs = stage.pass(Duration::from_secs(10));
    assert!(outputs.contains(&HostOutput::Gate { open: true }), "{outputs:?}");
    let outputs = stage.program_writes(&[b'y'; 385 * 1024]);
    assert!(!outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");

    // As soon as it moves again it is waited for.
    stage.drain(1);
    let outputs = stage.frame(1, ViewerFrame::Ack { offset: 1000 });
    assert!(outputs.contains(&HostOutput::Gate { open: false }), "{outputs:?}");
}

#[test]
fn who_comes_back_gets_exactly_the_rest() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.program_writes(b"hello");
    stage.drain(1);
    stage.input(HostInput::Left(ViewerId(1)));
    stage.program_writes(b" world");
    stage.attach(2, "a", Some(3), Driver);
    assert_eq!(stage.drain_plain(2), [out(3, b"lo world")]);
}

#[test]
fn who_comes_back_too_late_gets_the_gap_and_the_screen_as_of_its_end() {
    let mut stage = Stage::with(HostConfig { ring_bytes: 10, ..HostConfig::default() });
    stage.program_writes(b"0123456789abcdef");
    let outputs = stage.attach(1, "a", Some(2), Driver);
    assert!(outputs.contains(&HostOutput::SnapshotWanted));
    assert_eq!(stage.drain(1), [], "nothing comes before attached");
    stage.program_writes(b"g");
    stage.snapshot(17);
    stage.program_writes(b"h");
    let frames = stage.drain(1);
    let HostFrame::Control(HostControl::Attached { from, head, gap, snapshot, .. }) = &frames[0] else {
        panic!("{frames:?}")
    };
    assert_eq!((*from, *head, *gap, *snapshot), (17, 17, Some(Gap { from: 2, to: 17 }), true));
    assert!(matches!(frames[2], HostFrame::Snap { offset: 17, .. }), "{frames:?}");
    assert_eq!(frames[3], out(17, b"h"));
}

#[test]
fn a_watcher_that_lags_gets_one_snapshot_at_a_time_and_closes_no_gate() {
    let config = HostConfig { ring_bytes: 100, window: 50, gate_high: 200, ..HostConfig::default() };
    let mut stage = Stage::with(config);
    stage.attach(1, "w", None, Watcher);
    stage.drain(1);
    stage.program_writes(&[b'1'; 60]);
    assert_eq!(stage.drain(1), [out(0, &[b'1'; 50])]);
    let outputs = stage.program_writes(&[b'2'; 100]);
    assert_eq!(outputs, [], "it has no room for a snapshot yet");
    assert_eq!(stage.frame(1, ViewerFrame::Ack { offset: 50 }), [HostOutput::SnapshotWanted]);
    stage.snapshot(160);
    let frames = stage.drain(1);
    assert_eq!(frames[0], HostFrame::Control(HostControl::Gap(Gap { from: 50, to: 160 })));
    assert!(matches!(frames[1], HostFrame::Snap { offset: 160, .. }));

    let outputs = stage.program_writes(&[b'3'; 300]);
    assert_eq!(outputs, [], "the last snapshot is not parsed yet");
    assert_eq!(stage.frame(1, ViewerFrame::Ack { offset: 160 }), [HostOutput::SnapshotWanted]);
}

#[test]
fn input_reaches_the_program_once_whatever_is_sent_again() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    assert_eq!(stage.types(1, 0, b"ls"), [HostOutput::ToShell(Bytes::from_static(b"ls"))]);
    stage.input(HostInput::Left(ViewerId(1)));
    stage.attach_typing(2, "a", Some(0), Driver, 5);
    assert_eq!(in_ack_of(&stage.drain(2)), 0, "not yet taken");
    assert_eq!(stage.types(2, 0, b"ls -l"), [HostOutput::ToShell(Bytes::from_static(b" -l"))]);
    stage.input(HostInput::InputTaken { total: 4 });
    stage.pass_a_moment();
    assert_eq!(stage.drain(2), [HostFrame::InAck { offset: 4 }]);
}

#[test]
fn an_acknowledgement_goes_with_the_echo_or_a_moment_later_and_at_once_where_room_is_short() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    stage.types(1, 0, b"l");
    assert_eq!(stage.input(HostInput::InputTaken { total: 1 }), []);
    assert_eq!(stage.host.poll_timeout(), Some(stage.now + Duration::from_millis(10)));
    assert_eq!(stage.program_writes(b"l"), [HostOutput::Transmit(ViewerId(1))]);
    assert_eq!(stage.drain(1), [HostFrame::InAck { offset: 1 }, out(0, b"l")]);
    assert_eq!(stage.host.poll_timeout(), None);

    stage.frame(1, ViewerFrame::Ack { offset: 1 });
    stage.types(1, 1, b"s");
    stage.input(HostInput::InputTaken { total: 2 });
    assert_eq!(stage.pass(Duration::from_millis(9)), []);
    assert_eq!(stage.pass(Duration::from_millis(1)), [HostOutput::Transmit(ViewerId(1))]);
    assert_eq!(stage.drain(1), [HostFrame::InAck { offset: 2 }]);

    static PASTE: [u8; 32 * 1024] = [b'x'; 32 * 1024];
    stage.types(1, 2, &PASTE);
    stage.input(HostInput::InputTaken { total: 2 + PASTE.len() as u64 });
    assert_eq!(stage.drain(1), [HostFrame::InAck { offset: 2 + PASTE.len() as u64 }]);
}

#[test]
fn a_reloaded_page_goes_on_typing_where_its_key_stood() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.types(1, 0, b"ls -l");
    stage.input(HostInput::InputTaken { total: 2 });
    stage.attach_typing(2, "a", None, Driver, 0);
    assert_eq!(in_ack_of(&stage.drain(2)), 5);
    assert_eq!(stage.types(2, 5, b"\r"), [HostOutput::ToShell(Bytes::from_static(b"\r"))]);
    stage.input(HostInput::InputTaken { total: 6 });
    stage.pass_a_moment();
    assert_eq!(stage.drain(2), [HostFrame::InAck { offset: 6 }]);
}

/// The reload was told that everything was taken, a break right after it that nothing was.
#[test]
fn a_break_after_a_reload_asks_for_nothing_that_was_acknowledged() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.types(1, 0, b"ls -l");
    stage.attach_typing(2, "a", None, Driver, 0);
    assert_eq!(in_ack_of(&stage.drain(2)), 5);
    stage.attach_typing(3, "a", Some(0), Driver, 5);
    assert_eq!(in_ack_of(&stage.drain(3)), 5);
}

#[test]
fn input_out_of_place_or_beyond_the_window_closes_the_connection() {
    for (offset, length) in [(1, 1), (0, 129 * 1024)] {
        let mut stage = Stage::new();
        stage.attach(1, "a", None, Driver);
        let bytes = Bytes::from(vec![b'x'; length]);
        let outputs = stage.frame(1, ViewerFrame::In { offset, bytes });
        assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::PROTOCOL }));
        assert!(matches!(
            stage.drain(1).last(),
            Some(HostFrame::Control(HostControl::Error { code: Code::PROTOCOL, .. }))
        ));
    }
}

#[test]
fn an_offset_that_was_never_written_closes_the_connection() {
    let mut stage = Stage::new();
    stage.program_writes(b"abc");
    let outputs = stage.attach(1, "a", Some(4), Driver);
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::PROTOCOL }));
    stage.attach(2, "b", Some(3), Driver);
    let outputs = stage.frame(2, ViewerFrame::Ack { offset: 4 });
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(2), code: Code::PROTOCOL }));
}

#[test]
fn a_watchers_input_is_dropped_and_said_so_once() {
    let mut stage = Stage::new();
    stage.attach(1, "w", None, Watcher);
    stage.drain(1);
    assert_eq!(stage.types(1, 0, b"rm"), [HostOutput::Transmit(ViewerId(1))]);
    let frames = stage.drain(1);
    assert!(matches!(frames[..], [HostFrame::Control(HostControl::Notice { .. })]), "{frames:?}");
    assert_eq!(stage.pass_a_moment(), [HostOutput::Transmit(ViewerId(1))]);
    assert_eq!(stage.drain(1), [HostFrame::InAck { offset: 2 }]);
    stage.types(1, 2, b" -rf");
    stage.pass_a_moment();
    assert_eq!(stage.drain(1), [HostFrame::InAck { offset: 6 }]);
}

#[test]
fn the_newest_driver_wins_and_the_old_one_is_told_and_heard_no_more() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    let outputs = stage.attach(2, "b", Some(0), Driver);
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::TAKEN_OVER }));
    assert_eq!(stage.drain(1), [HostFrame::Control(HostControl::TakenOver { by: "viewer b".into() })]);
    assert_eq!(stage.types(1, 0, b"x"), []);
    assert_eq!(stage.types(2, 0, b"y"), [HostOutput::ToShell(Bytes::from_static(b"y"))]);
    stage.input(HostInput::Left(ViewerId(1)));
    assert_eq!(stage.types(2, 1, b"z"), [HostOutput::ToShell(Bytes::from_static(b"z"))]);
}

#[test]
fn the_same_tab_replaces_its_old_connection_silently() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    let outputs = stage.attach(2, "a", Some(0), Driver);
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::CANCELLED }));
    assert_eq!(stage.drain(1), []);
    assert!(!outputs.iter().any(|o| matches!(o, HostOutput::Close { code: Code::TAKEN_OVER, .. })));
}

#[test]
fn control_is_taken_and_given_up() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.attach(2, "b", Some(0), Watcher);
    stage.frame(1, ViewerFrame::Control(ViewerControl::RequestView));
    assert!(stage.drain(1).contains(&HostFrame::Control(HostControl::Role { role: Watcher })));
    stage.frame(2, ViewerFrame::Control(ViewerControl::TakeControl));
    assert!(stage.drain(2).contains(&HostFrame::Control(HostControl::Role { role: Driver })));
    assert_eq!(stage.types(2, 0, b"y"), [HostOutput::ToShell(Bytes::from_static(b"y"))]);
    let outputs = stage.frame(1, ViewerFrame::Control(ViewerControl::TakeControl));
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(2), code: Code::TAKEN_OVER }));
}

#[test]
fn the_last_size_of_the_driver_wins_and_everybody_hears_where_it_took_effect() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    stage.attach(2, "w", Some(0), Watcher);
    stage.program_writes(b"abc");
    stage.drain(1);
    stage.drain(2);
    let size = |cols| Size { cols, rows: 30, xpx: 0, ypx: 0 };
    let outputs = stage.frame(1, ViewerFrame::Resize { seq: 2, size: size(100) });
    assert!(outputs.contains(&HostOutput::Resize { size: size(100), offset: 3 }));
    let late = stage.frame(1, ViewerFrame::Resize { seq: 1, size: size(90) });
    assert_eq!(late, []);
    let watchers = stage.frame(2, ViewerFrame::Resize { seq: 9, size: size(20) });
    assert_eq!(watchers, []);
    let told = HostFrame::Control(HostControl::Size { size: size(100), offset: 3 });
    assert_eq!(stage.drain(1), std::slice::from_ref(&told));
    assert_eq!(stage.drain(2), [told]);
    let huge = Size { cols: 65535, rows: 0, xpx: 0, ypx: 0 };
    let outputs = stage.frame(1, ViewerFrame::Resize { seq: 3, size: huge });
    let kept = Size { cols: 1000, rows: 1, xpx: 0, ypx: 0 };
    assert!(outputs.contains(&HostOutput::Resize { size: kept, offset: 3 }));
}

#[test]
fn what_is_left_comes_before_the_ending_and_the_ending_before_the_close() {
    let mut stage = Stage::with(HostConfig { window: 4, ..HostConfig::default() });
    stage.attach(1, "a", None, Driver);
    stage.drain(1);
    stage.program_writes(b"logout");
    let ending = Ending::exited(Exit::Status(0));
    stage.input(HostInput::Ended(ending.clone()));
    assert_eq!(stage.drain(1), [out(0, b"logo")]);
    stage.frame(1, ViewerFrame::Ack { offset: 4 });
    assert_eq!(stage.drain(1), [out(4, b"ut"), HostFrame::Control(HostControl::Ended { ending })]);
    assert_eq!(
        stage.outputs(),
        [
            HostOutput::Close { viewer: ViewerId(1), code: Code::EXITED },
            HostOutput::Viewers { drivers: 0, watchers: 0 }
        ][..1]
    );
}

#[test]
fn a_viewer_that_stands_still_hears_of_the_end_all_the_same_and_of_a_kill_soon() {
    for (ending, wait) in [
        (Ending::exited(Exit::Status(1)), Duration::from_secs(10)),
        (Ending::killed("anna", Some("maintenance")), Duration::from_millis(500)),
    ] {
        let mut stage = Stage::with(HostConfig { window: 4, ..HostConfig::default() });
        stage.attach(1, "a", None, Driver);
        stage.program_writes(b"logout");
        stage.drain(1);
        stage.input(HostInput::Ended(ending.clone()));
        assert_eq!(stage.host.poll_timeout(), Some(stage.now + wait));
        let outputs = stage.pass(wait);
        assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(1), code: ending.code }));
        assert_eq!(stage.drain(1), [HostFrame::Control(HostControl::Ended { ending })]);
    }
}

#[test]
fn who_attaches_later_hears_of_the_steps_and_that_it_is_live() {
    use moorline_wire::term::frame::Step;
    let mut stage = Stage::new();
    stage.input(HostInput::Tell(HostControl::Step { step: Step::Device, ms: 12 }));
    stage.input(HostInput::Tell(HostControl::Live));
    stage.attach(1, "a", None, Driver);
    let frames = stage.drain(1);
    assert!(matches!(frames[0], HostFrame::Control(HostControl::Attached { .. })));
    assert_eq!(
        frames[1..3],
        [
            HostFrame::Control(HostControl::Step { step: Step::Device, ms: 12 }),
            HostFrame::Control(HostControl::Live)
        ]
    );
}

#[test]
fn with_nobody_there_hold_pauses_the_program_and_continue_lets_the_oldest_go() {
    for hold in [true, false] {
        let mut stage = Stage::with(HostConfig { hold, ..HostConfig::default() });
        stage.program_writes(&[b'x'; 1000]);
        let outputs = stage.program_writes(&[b'x'; 384 * 1024]);
        assert_eq!(outputs.contains(&HostOutput::Gate { open: false }), hold);
        let outputs = stage.attach(1, "a", None, Driver);
        assert_eq!(outputs.contains(&HostOutput::Gate { open: true }), hold);
    }
}

#[test]
fn a_viewer_that_never_reads_its_messages_is_closed() {
    let mut stage = Stage::new();
    stage.attach(1, "a", None, Driver);
    let closed = (0..100).any(|n| {
        stage
            .input(HostInput::Tell(HostControl::Notice { text: format!("{n}") }))
            .contains(&HostOutput::Close { viewer: ViewerId(1), code: Code::OVERLOADED })
    });
    assert!(closed);
    assert!(stage.drain(1).len() <= 65);
}

#[test]
fn a_viewer_more_than_allowed_is_refused() {
    let mut stage = Stage::with(HostConfig { viewers_max: 2, ..HostConfig::default() });
    stage.attach(1, "a", None, Driver);
    stage.attach(2, "b", Some(0), Watcher);
    let outputs = stage.attach(3, "c", Some(0), Driver);
    assert!(outputs.contains(&HostOutput::Close { viewer: ViewerId(3), code: Code::LIMIT }));
    assert_eq!(stage.types(1, 0, b"y"), [HostOutput::ToShell(Bytes::from_static(b"y"))]);
}
