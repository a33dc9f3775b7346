//! What is decided about a session: pure, without actors, sockets and clock.
//!
//! ```text
//! Opening ─Device→ HostKey ─HostKey→ Login ─Login→ Shell ─Shell→ Live
//!    └──────────────────┴──────────────┴─────────────┴──────────────┴──→ Over
//! ```
//! Every way out leads to [`Phase::Over`], once: what happens after that changes nothing any
//! more. So a kill fences the session: no output, exit or failure that follows speaks against it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use moorline_wire::term::frame::{HostControl, LegState, Step};
use moorline_wire::{Code, Ending, Exit};

/// The limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The whole set-up.
    pub setup: Duration,
    /// The login within it.
    pub login: Duration,
    /// Channel, terminal and shell within it.
    pub shell: Duration,
    /// How long the shell is kept with nobody attached.
    pub detached_for: Duration,
    /// How long a device that is away may take to come back; told to people.
    pub device_kept: Duration,
    /// How long the ending waits for somebody who has a ticket and has not come yet.
    pub linger: Duration,
}

/// After the last viewer has gone, an ended session is still there for so long: a tab that was
/// just reconnecting gets the rest of the output and the ending.
const LINGER_AFTER_VIEWERS: Duration = Duration::from_secs(5);

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The device has not answered yet.
    Opening,
    /// Keys are exchanged.
    HostKey,
    /// The login is checked.
    Login,
    /// Channel, terminal and shell are asked for.
    Shell,
    /// The shell is there.
    Live,
    /// It is over.
    Over,
}

/// How the way to the device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It works.
    Steady,
    /// Nothing was heard for some time.
    Unstable,
    /// It is broken and may come back.
    Broken,
    /// It does not come back.
    Gone,
}

/// What can happen to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A step of the set-up ended.
    Done(Step),
    /// The set-up or the connection failed.
    Failed(Ending),
    /// The program ended; with a status, if the device told one.
    Exited(Option<Exit>),
    /// The way to the device changed.
    Way(Way),
    /// So many are attached.
    Viewers(usize),
    /// Somebody wants it ended.
    Kill {
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// The broker goes away.
    Drain,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Tell every viewer.
    Tell(HostControl),
    /// A step took so long.
    Took(Step, Duration),
    /// A wait reached its limit; for the metrics.
    TimedOut(&'static str),
    /// The device was away for so long.
    WasAway(Duration),
    /// It is over: cut the shell, tell the viewers, write it down.
    End(Ending),
    /// Nobody needs it any more.
    Stop,
}

/// When to ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// ... give up the set-up.
    SetUp(&'static str, Step),
    /// ... end a session to which nobody came back.
    Detached,
    /// ... let an ended session go.
    Linger,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    phase: Phase,
    started: Instant,
    /// When the step that runs began.
    step_began: Instant,
    way: Way,
    away_since: Option<Instant>,
    viewers: usize,
    anybody_came: bool,
    /// Since when nobody is attached.
    alone_since: Option<Instant>,
    ended_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session that was just asked for.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            phase: Phase::Opening,
            started: now,
            step_began: now,
            way: Way::Steady,
            away_since: None,
            viewers: 0,
            anybody_came: false,
            alone_since: Some(now),
            ended_at: None,
            outputs: VecDeque::new(),
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How the way to the device is.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Decides.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Viewers(count) = input {
            return self.viewers(now, count);
        }
        if self.phase == Phase::Over {
            return;
        }
        match input {
            Input::Done(step) => self.done(now, step),
            Input::Failed(ending) => self.end(now, ending),
            Input::Exited(Some(exit)) => self.end(now, Ending::exited(exit)),
            Input::Exited(None) => {
                let text = "The shell ended; the device did not say with which status.";
                self.end(now, Ending::of(Code::EXITED).saying(text));
            }
            Input::Way(way) => self.way_is(now, way),
            Input::Kill { by, reason } => self.end(now, Ending::killed(&by, reason.as_deref())),
            Input::Drain => {
                let text = "The broker is being restarted, and this shell could not be kept.";
                self.end(now, Ending::of(Code::GOING_AWAY).saying(text));
            }
            Input::Viewers(_) => {}
        }
    }

    /// To be called at `poll_timeout`; harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((at, timer)) = self.next_timer() else { return };
        if at > now {
            return;
        }
        match timer {
            Timer::SetUp(what, step) => {
                self.outputs.push_back(Output::TimedOut(what));
                self.end(now, Ending::of(Code::SETUP_TIMEOUT).saying(too_slow(step)));
            }
            Timer::Detached => {
                let text = format!(
                    "Nobody was attached to this session for {}, so it was ended.",
                    in_words(self.limits.detached_for)
                );
                self.outputs.push_back(Output::TimedOut("detached"));
                self.end(now, Ending::of(Code::IDLE_LIMIT).saying(text));
            }
            Timer::Linger => {
                // Once: whoever carries this out does not come back.
                self.ended_at = None;
                self.outputs.push_back(Output::Stop);
            }
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    fn next_timer(&self) -> Option<(Instant, Timer)> {
        let Limits { setup, login, shell, detached_for, linger, .. } = self.limits;
        let whole = self.started + setup;
        let set_up = match self.phase {
            Phase::Opening => Some((whole, Timer::SetUp("ssh_handshake", Step::Device))),
            Phase::HostKey => Some((whole, Timer::SetUp("ssh_handshake", Step::HostKey))),
            Phase::Login => Some((whole.min(self.step_began + login), Timer::SetUp("ssh_auth", Step::Login))),
            Phase::Shell => {
                Some((whole.min(self.step_began + shell), Timer::SetUp("ssh_channel", Step::Shell)))
            }
            Phase::Live | Phase::Over => None,
        };
        let detached = (self.phase != Phase::Over)
            .then(|| self.alone_since.map(|since| (since + detached_for, Timer::Detached)))
            .flatten();
        let over = self.ended_at.zip(self.alone_since).map(|(ended, alone)| {
            let wait = if self.anybody_came { LINGER_AFTER_VIEWERS } else { linger };
            (ended.max(alone) + wait, Timer::Linger)
        });
        [set_up, detached, over].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn done(&mut self, now: Instant, step: Step) {
        let next = match (self.phase, step) {
            (Phase::Opening, Step::Device) => Phase::HostKey,
            (Phase::HostKey, Step::HostKey) => Phase::Login,
            (Phase::Login, Step::Login) => Phase::Shell,
            (Phase::Shell, Step::Shell) => Phase::Live,
            // What the broker itself did before there was a device to wait for.
            (phase, Step::Broker) => phase,
            _ => return,
        };
        let took = now.duration_since(self.step_began);
        self.step_began = now;
        self.phase = next;
        self.outputs.push_back(Output::Took(step, took));
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.outputs.push_back(Output::Tell(HostControl::Step { step, ms }));
        if next == Phase::Live {
            self.outputs.push_back(Output::Tell(HostControl::Live));
        }
    }

    fn way_is(&mut self, now: Instant, way: Way) {
        if way == Way::Gone {
            let text = format!(
                "The device was away for longer than {}, so its shell could not be kept.",
                in_words(self.limits.device_kept)
            );
            let ending = match self.way {
                Way::Broken => Ending::of(Code::DEVICE_LOST).saying(text),
                // It was evicted, forgotten, started anew, or its connection failed.
                _ => Ending::of(Code::DEVICE_LOST)
                    .saying("The device's link was ended, and this shell with it."),
            };
            return self.end(now, ending);
        }
        if way == self.way {
            return;
        }
        self.way = way;
        let kept_s = self.limits.device_kept.as_secs();
        let state = match way {
            Way::Steady => LegState::Steady,
            Way::Unstable => LegState::Unstable,
            Way::Broken | Way::Gone => LegState::Lost,
        };
        self.outputs.push_back(Output::Tell(HostControl::Device { state, kept_s }));
        if way == Way::Broken {
            self.away_since = Some(now);
        } else if let Some(since) = self.away_since.take() {
            self.outputs.push_back(Output::WasAway(now.duration_since(since)));
        }
    }

    fn viewers(&mut self, now: Instant, count: usize) {
        self.anybody_came |= count > 0;
        self.viewers = count;
        if count > 0 {
            self.alone_since = None;
        } else {
            self.alone_since.get_or_insert(now);
        }
    }

    fn end(&mut self, now: Instant, ending: Ending) {
        self.phase = Phase::Over;
        self.ended_at = Some(now);
        self.outputs.push_back(Output::End(ending));
    }
}

fn too_slow(step: Step) -> String {
    let what = match step {
        Step::Broker => "the broker",
        Step::Device => "the device's sshd to answer",
        Step::HostKey => "the exchange of keys with the device",
        Step::Login => "the device's sshd to check the login",
        Step::Shell => "the device to start a shell",
    };
    format!("Waiting for {what} took too long. {}", Code::SETUP_TIMEOUT.remedy())
}

/// A time as people say it.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        _ => (seconds / 3600, "hour"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        setup: Duration::from_secs(15),
        login: Duration::from_secs(10),
        shell: Duration::from_secs(5),
        detached_for: Duration::from_secs(600),
        device_kept: Duration::from_secs(60),
        linger: Duration::from_secs(30),
    };

    struct Test {
        session: Session,
        now: Instant,
    }

    impl Test {
        fn new() -> Self {
            let now = Instant::now();
            Self { session: Session::new(LIMITS, now), now }
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
            (15, "ssh_handshake", "sshd to answer"),
            (15, "ssh_handshake", "exchange of keys"),
            (10, "ssh_auth", "check the login"),
            (5, "ssh_channel", "start a shell"),
        ];
        for (done, (seconds, what, words)) in expected.into_iter().enumerate() {
            let mut test = Test::new();
            for step in &steps[..done] {
                test.tell(Input::Done(*step));
            }
            let (waited, outputs) = test.wait();
            assert_eq!((waited, &outputs[0]), (seconds, &Output::TimedOut(what)));
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
        assert!(ending(&outputs).text.contains("60 seconds"), "{}", ending(&outputs).text);
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

    #[test]
    fn times_are_told_as_people_say_them() {
        let words = [(1, "1 second"), (90, "90 seconds"), (120, "2 minutes"), (86_400, "24 hours")];
        for (seconds, expected) in words {
            assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        }
    }
}
