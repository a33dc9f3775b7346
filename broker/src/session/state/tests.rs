//! What is decided about a session, on a clock that is only told.

use super::*;

const LIMITS: Limits = Limits {
    setup: Duration::from_secs(15),
    login: Duration::from_secs(10),
    shell: Duration::from_secs(5),
    detached_for: Duration::from_secs(600),
    device_kept: Duration::from_secs(60),
    adrift_for: Duration::from_secs(86_400),
    again_after: (Duration::from_millis(250), Duration::from_secs(15)),
    age: AgeLimits { idle: Duration::ZERO, longest: Duration::ZERO, warning: Duration::ZERO },
    linger: Duration::from_secs(30),
};

struct Test {
    session: Session,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        let now = Instant::now();
        Self { session: Session::new(LIMITS, Shell::Plain, now), now }
    }

    fn live() -> Self {
        let mut test = Self::new();
        for step in [Step::Device, Step::HostKey, Step::Login, Step::Shell] {
            test.tell(Input::Done(step));
        }
        test
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(self.now, input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    /// Goes to the next deadline; gives how long that took, and what is then to be done.
    fn wait(&mut self) -> (u64, Vec<Output>) {
        let at = self.session.poll_timeout().expect("a deadline");
        let waited = at.duration_since(self.now).as_secs();
        self.now = at;
        self.session.handle_timeout(at);
        (waited, self.outputs())
    }
}

fn ending(outputs: &[Output]) -> &Ending {
    let endings: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::End(ending) => Some(ending),
            _ => None,
        })
        .collect();
    assert_eq!(endings.len(), 1, "{outputs:?}");
    endings[0]
}

fn kill() -> Input {
    Input::Kill { by: "anna".into(), reason: Some("maintenance".into()) }
}

#[test]
fn each_step_is_told_with_its_time_and_the_last_makes_it_live() {
    let mut test = Test::new();
    for (step, live) in
        [(Step::Device, false), (Step::HostKey, false), (Step::Login, false), (Step::Shell, true)]
    {
        test.now += Duration::from_millis(7);
        let outputs = test.tell(Input::Done(step));
        assert_eq!(outputs[0], Output::Took(step, Duration::from_millis(7)));
        assert_eq!(outputs[1], Output::Tell(HostControl::Step { step, ms: 7 }));
        assert_eq!(outputs.contains(&Output::Tell(HostControl::Live)), live);
    }
    assert_eq!(test.session.phase(), Phase::Live);
}

#[test]
fn a_step_out_of_order_is_no_step() {
    let mut test = Test::new();
    assert_eq!(test.tell(Input::Done(Step::Shell)), []);
    assert_eq!(test.session.phase(), Phase::Opening);
}

#[test]
fn each_step_of_the_setup_has_its_limit_and_says_what_took_too_long() {
    let steps = [Step::Device, Step::HostKey, Step::Login];
    let expected = [
        (15, Wait::SshHandshake, "sshd to answer"),
        (15, Wait::SshHandshake, "exchange of keys"),
        (10, Wait::SshAuth, "check the login"),
        (5, Wait::SshChannel, "start a shell"),
    ];
    for (done, (seconds, what, words)) in expected.into_iter().enumerate() {
        let mut test = Test::new();
        for step in &steps[..done] {
            test.tell(Input::Done(*step));
        }
        let (waited, outputs) = test.wait();
        assert_eq!((waited, &outputs[0]), (seconds, &Output::TimedOut(what)));
        let step = [Step::Device, Step::HostKey, Step::Login, Step::Shell][done];
        assert!(outputs.contains(&Output::SetUpFailed(step, Code::SETUP_TIMEOUT)), "{outputs:?}");
        assert_eq!(ending(&outputs).code, Code::SETUP_TIMEOUT);
        assert!(ending(&outputs).text.contains(words), "{}", ending(&outputs).text);
    }
}

#[test]
fn a_slow_step_does_not_lengthen_the_whole_setup() {
    let mut test = Test::new();
    test.now += Duration::from_secs(13);
    test.tell(Input::Done(Step::Device));
    test.tell(Input::Done(Step::HostKey));
    assert_eq!(test.wait().0, 2);
}

#[test]
fn a_kill_says_who_and_why_and_comes_before_everything_that_follows() {
    let mut test = Test::live();
    let outputs = test.tell(kill());
    assert_eq!(ending(&outputs).text, "anna ended this session: maintenance");
    assert_eq!(ending(&outputs).code, Code::KILLED);
    assert_eq!(test.tell(kill()), []);
    assert_eq!(test.tell(Input::Exited(Some(Exit::Status(0)))), []);
    assert_eq!(test.tell(Input::Way(Way::Gone)), []);
    assert_eq!(test.session.phase(), Phase::Over);
}

#[test]
fn a_kill_ends_a_setup_at_every_step() {
    for done in 0..4 {
        let mut test = Test::new();
        for step in &[Step::Device, Step::HostKey, Step::Login][..done.min(3)] {
            test.tell(Input::Done(*step));
        }
        assert_eq!(ending(&test.tell(kill())).code, Code::KILLED);
        assert_eq!(test.tell(Input::Done(Step::Shell)), []);
    }
}

#[test]
fn exit_status_and_signal_reach_the_ending() {
    let mut test = Test::live();
    let exit = Exit::Signal("TERM".into());
    assert_eq!(ending(&test.tell(Input::Exited(Some(exit.clone())))).exit, Some(exit));
    let mut test = Test::live();
    let outputs = test.tell(Input::Exited(Some(Exit::Status(3))));
    assert_eq!(ending(&outputs).text, "The shell exited with status 3.");
}

#[test]
fn a_device_that_comes_back_in_time_is_a_pause_and_one_that_does_not_is_the_end() {
    let mut test = Test::live();
    let told = test.tell(Input::Way(Way::Broken));
    let lost = HostControl::Device { state: LegState::Lost, kept_s: 60 };
    assert_eq!(told, [Output::Tell(lost)]);
    test.now += Duration::from_secs(9);
    let told = test.tell(Input::Way(Way::Steady));
    assert!(told.contains(&Output::WasAway(Duration::from_secs(9))), "{told:?}");
    test.tell(Input::Way(Way::Broken));
    let outputs = test.tell(Input::Way(Way::Gone));
    assert_eq!(ending(&outputs).code, Code::DEVICE_LOST);
    assert!(ending(&outputs).text.contains("1 minute"), "{}", ending(&outputs).text);
}

#[test]
fn a_session_that_nobody_comes_to_is_ended_and_says_after_how_long() {
    let mut test = Test::live();
    test.tell(Input::Viewers(1));
    assert_eq!(test.session.poll_timeout(), None);
    test.now += Duration::from_secs(5000);
    test.tell(Input::Viewers(0));
    let (waited, outputs) = test.wait();
    assert_eq!(waited, 600);
    assert_eq!(ending(&outputs).code, Code::IDLE_LIMIT);
    assert!(ending(&outputs).text.contains("10 minutes"), "{}", ending(&outputs).text);
}

#[test]
fn an_ended_session_waits_for_its_viewers_and_a_little_longer() {
    let mut test = Test::live();
    test.tell(Input::Viewers(1));
    test.tell(Input::Exited(Some(Exit::Status(0))));
    assert_eq!(test.session.poll_timeout(), None);
    test.tell(Input::Viewers(0));
    assert_eq!(test.wait(), (5, vec![Output::Stop]));
    assert_eq!(test.session.poll_timeout(), None);
}

#[test]
fn a_command_that_ends_before_anybody_came_waits_for_the_one_with_the_ticket() {
    let mut test = Test::live();
    test.tell(Input::Exited(Some(Exit::Status(0))));
    assert_eq!(test.wait(), (30, vec![Output::Stop]));
}

#[test]
fn a_drain_says_that_the_broker_is_restarted() {
    assert_eq!(ending(&Test::live().tell(Input::Drain)).code, Code::GOING_AWAY);
}

/// A session whose shell is with a keeper, with somebody attached.
fn kept() -> Test {
    let mut test = Test::live();
    test.session.shell = Shell::Kept;
    test.tell(Input::Viewers(1));
    test
}

fn reopens(outputs: &[Output]) -> Duration {
    let waits: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Reopen(wait) => Some(*wait),
            _ => None,
        })
        .collect();
    assert_eq!(waits.len(), 1, "{outputs:?}");
    waits[0]
}

fn set_up_again(test: &mut Test) -> Vec<Output> {
    let mut outputs = test.tell(Input::Reopened);
    for step in [Step::Device, Step::HostKey, Step::Login, Step::Shell] {
        outputs.extend(test.tell(Input::Done(step)));
    }
    outputs
}

#[test]
fn a_kept_shell_is_taken_up_again_when_the_way_to_it_breaks() {
    for broken in [Input::Failed(Ending::of(Code::SSH_FAILED)), Input::Way(Way::Gone)] {
        let mut test = kept();
        test.now += STEADY_AFTER;
        let outputs = test.tell(broken);
        assert!(outputs.contains(&Output::CutOff));
        let lost = HostControl::Device { state: LegState::Lost, kept_s: 86_400 };
        assert!(outputs.contains(&Output::Tell(lost)));
        assert_eq!(reopens(&outputs), Duration::ZERO);
        assert_eq!(test.session.phase(), Phase::Adrift);
        test.now += Duration::from_millis(300);
        let outputs = set_up_again(&mut test);
        assert!(outputs.contains(&Output::WasAdrift(Duration::from_millis(300))));
        assert!(!test.session.is_adrift());
        assert_eq!(test.session.phase(), Phase::Live);
    }
}

#[test]
fn who_waits_for_the_device_hears_every_five_seconds_how_long_the_shell_is_kept() {
    let mut test = kept();
    test.tell(Input::Way(Way::Gone));
    for n in 1..4 {
        let lost = HostControl::Device { state: LegState::Lost, kept_s: 86_400 - 5 * n };
        assert_eq!(test.wait(), (5, vec![Output::Tell(lost)]));
    }
}

#[test]
fn each_attempt_waits_longer_and_one_that_lasts_begins_anew() {
    let mut test = kept();
    let fail = || Input::Failed(Ending::of(Code::SSH_FAILED));
    let waits: Vec<u128> = (0..9).map(|_| reopens(&test.tell(fail())).as_millis()).collect();
    assert_eq!(waits, [0, 250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    set_up_again(&mut test);
    test.now += STEADY_AFTER;
    assert_eq!(reopens(&test.tell(fail())), Duration::ZERO);
    set_up_again(&mut test);
    assert_eq!(reopens(&test.tell(fail())).as_millis(), 250, "it breaks at once, again and again");
}

#[test]
fn a_set_up_that_hangs_while_the_shell_is_taken_up_is_tried_again() {
    let mut test = kept();
    test.tell(Input::Way(Way::Gone));
    test.tell(Input::Reopened);
    let (waited, outputs) = test.wait();
    assert_eq!(waited, 15);
    assert_eq!(reopens(&outputs), Duration::from_millis(250));
}

#[test]
fn a_plain_shell_ends_with_its_connection_and_one_that_never_began_with_its_set_up() {
    let mut test = Test::live();
    assert_eq!(ending(&test.tell(Input::Failed(Ending::of(Code::SSH_FAILED)))).code, Code::SSH_FAILED);
    let mut test = Test::new();
    test.session.shell = Shell::Unknown;
    assert_eq!(ending(&test.tell(Input::Failed(Ending::of(Code::SSH_FAILED)))).code, Code::SSH_FAILED);
}

#[test]
fn a_session_of_a_former_process_is_adrift_until_it_is_live_or_over() {
    let now = Instant::now();
    for shell in [Shell::Kept, Shell::Unknown] {
        let mut test = Test { session: Session::revived(LIMITS, shell, now, Duration::from_secs(9)), now };
        assert_eq!(reopens(&test.outputs()), Duration::ZERO);
        assert!(test.session.is_adrift());
        set_up_again(&mut test);
        assert_eq!(test.session.phase(), Phase::Live);
    }
    let mut test = Test { session: Session::revived(LIMITS, Shell::Kept, now, Duration::ZERO), now };
    test.tell(Input::Reopened);
    let outputs = test.tell(Input::Absent);
    assert_eq!(ending(&outputs).code, Code::GONE);
}

#[test]
fn a_keeper_that_is_out_of_reach_for_too_long_is_given_up() {
    let mut test = kept();
    test.tell(Input::Way(Way::Gone));
    let last = loop {
        let (_, outputs) = test.wait();
        if outputs.iter().any(|output| matches!(output, Output::End(_))) {
            break outputs;
        }
    };
    assert_eq!(ending(&last).code, Code::DEVICE_LOST);
    assert!(ending(&last).text.contains("24 hours"), "{}", ending(&last).text);
}

#[test]
fn another_host_key_or_a_refused_login_ends_a_session_that_is_adrift() {
    for code in [Code::HOST_KEY_CHANGED, Code::DEVICE_REFUSED, Code::UNKNOWN_DEVICE] {
        let mut test = kept();
        test.tell(Input::Way(Way::Gone));
        test.tell(Input::Reopened);
        assert_eq!(ending(&test.tell(Input::Failed(Ending::of(code)))).code, code);
    }
}

#[test]
fn a_session_that_another_broker_took_is_not_taken_back() {
    let mut test = kept();
    let outputs = test.tell(Input::Superseded);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Reopen(_))), "{outputs:?}");
    assert!(outputs.contains(&Output::CutOff));
}

#[test]
fn a_kill_ends_a_session_that_is_adrift_at_once() {
    let mut test = kept();
    test.tell(Input::Way(Way::Gone));
    assert_eq!(ending(&test.tell(kill())).code, Code::KILLED);
    assert_eq!(test.tell(Input::Reopened), []);
}

#[test]
fn a_drain_leaves_a_kept_shell_to_the_next_broker() {
    assert_eq!(kept().tell(Input::Drain), [Output::Leave]);
}

#[test]
fn an_idle_session_is_warned_and_ended_and_a_key_keeps_it() {
    let now = Instant::now();
    let age = AgeLimits {
        idle: Duration::from_secs(300),
        longest: Duration::ZERO,
        warning: Duration::from_secs(60),
    };
    let limits = Limits { age, ..LIMITS };
    let mut test = Test { session: Session::new(limits, Shell::Plain, now), now };
    for step in [Step::Device, Step::HostKey, Step::Login, Step::Shell] {
        test.tell(Input::Done(step));
    }
    test.tell(Input::Viewers(1));
    let (waited, outputs) = test.wait();
    assert_eq!(waited, 240);
    assert!(matches!(&outputs[..], [Output::Tell(HostControl::Notice { .. })]), "{outputs:?}");
    test.tell(Input::Typed(Duration::ZERO));
    assert_eq!(test.wait().0, 240);
    let (waited, outputs) = test.wait();
    assert_eq!((waited, ending(&outputs).code), (60, Code::IDLE_LIMIT));
}
