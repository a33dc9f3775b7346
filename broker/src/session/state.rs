//! What is decided about a session: pure, without actors, sockets and clock.
//!
//! ```text
//! Opening ─Device→ HostKey ─HostKey→ Login ─Login→ Shell ─Shell→ Live
//!    ↑  └──────────────┴──────────────┴─────────────┴──────────────┤
//!  Adrift ←──────────────── the shell is with a keeper ────────────┤
//!    └──────────────────────────────→ Over ←───────────────────────┘
//! ```
//! A session whose keeper cannot be reached is adrift: it is taken up again as soon as its device is
//! there, again and again, until it ends or `adrift_for` is over. Everything else that goes wrong
//! leads to [`Phase::Over`], once: what happens after that changes nothing any more. So a kill fences
//! the session: no output, exit or failure that follows speaks against it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use moorline_wire::term::frame::{HostControl, LegState, Step};
use moorline_wire::{Code, Ending, Exit};

use crate::metrics::Wait;

mod age;
#[cfg(test)]
mod tests;
mod words;

use age::Age;
pub use age::AgeLimits;
use words::{in_words, too_slow};

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
    /// How long a device that is away may take to come back to its link.
    pub device_kept: Duration,
    /// How long a keeper that cannot be reached is believed in.
    pub adrift_for: Duration,
    /// The wait before the shell is taken up again, the first time and at most.
    pub again_after: (Duration, Duration),
    /// How long the ending waits for somebody who has a ticket and has not come yet.
    pub linger: Duration,
    /// How old it may get, and how idle.
    pub age: AgeLimits,
}

/// After the last viewer has gone, an ended session is still there for so long: a tab that was
/// just reconnecting gets the rest of the output and the ending.
const LINGER_AFTER_VIEWERS: Duration = Duration::from_secs(5);

/// How often who waits is told that the device is away: below the time after which a page gives a
/// connection up.
const SAY_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// A shell that was there for so long counts as taken up.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The device has not answered yet.
    Opening,
    /// Keys are exchanged.
    HostKey,
    /// The login is checked.
    Login,
    /// The keeper, or channel, terminal and shell, are asked for.
    Shell,
    /// The shell is there.
    Live,
    /// The keeper cannot be reached.
    Adrift,
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

/// Who has the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// Nobody yet, as far as is known.
    Unknown,
    /// A keeper on the device.
    Kept,
    /// The SSH connection: it ends with it.
    Plain,
}

/// What can happen to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A step of the set-up ended.
    Done(Step),
    /// It is known who has the shell.
    Housed(Shell),
    /// The set-up or the connection failed.
    Failed(Ending),
    /// There is no keeper of this session on the device.
    Absent,
    /// Another broker has the session.
    Superseded,
    /// The program ended; with a status, if the device told one.
    Exited(Option<Exit>),
    /// The device is there, and the way to its sshd is opened.
    Reopened,
    /// The way to the device changed.
    Way(Way),
    /// So many are attached.
    Viewers(usize),
    /// Somebody typed, so long ago.
    Typed(Duration),
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
    /// The set-up failed in that step; for the metrics.
    SetUpFailed(Step, Code),
    /// A wait reached its limit; for the metrics.
    TimedOut(Wait),
    /// The device was away for so long.
    WasAway(Duration),
    /// The shell was out of reach for so long, and is there again.
    WasAdrift(Duration),
    /// Cut the connection to the device; who is attached has to come again.
    CutOff,
    /// When the device is there, after this wait, open the way to it, and say `Reopened`.
    Reopen(Duration),
    /// It is over: cut the shell, tell the viewers, write it down.
    End(Ending),
    /// The broker goes, the session stays: tell the viewers to come again, and stop.
    Leave,
    /// Nobody needs it any more.
    Stop,
}

/// When to ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// ... give up the set-up.
    SetUp(Wait, Step),
    /// ... end a session to which nobody came back.
    Detached,
    /// ... stop believing in a keeper that cannot be reached.
    Adrift,
    /// ... say again that the device is away.
    SayAgain,
    /// ... warn of an end by age or idleness, or carry it out.
    Age,
    /// ... let an ended session go.
    Linger,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    phase: Phase,
    shell: Shell,
    /// When the set-up that runs began.
    started: Instant,
    /// When the step that runs began.
    step_began: Instant,
    way: Way,
    away_since: Option<Instant>,
    /// Since when the shell was not reached, until it is live again.
    adrift_since: Option<Instant>,
    attempts: u32,
    live_since: Option<Instant>,
    say_again_at: Option<Instant>,
    age: Age,
    viewers: usize,
    anybody_came: bool,
    /// Since when nobody is attached.
    alone_since: Option<Instant>,
    ended_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session that was just asked for.
    pub fn new(limits: Limits, shell: Shell, now: Instant) -> Self {
        Self {
            limits,
            phase: Phase::Opening,
            shell,
            started: now,
            step_began: now,
            way: Way::Steady,
            away_since: None,
            adrift_since: None,
            attempts: 0,
            live_since: None,
            say_again_at: None,
            age: Age::new(limits.age, now),
            viewers: 0,
            anybody_came: false,
            alone_since: Some(now),
            ended_at: None,
            outputs: VecDeque::new(),
        }
    }

    /// A session of a former process, or of an actor that failed: it was asked for so long ago.
    pub fn revived(limits: Limits, shell: Shell, now: Instant, age: Duration) -> Self {
        let mut session = Self::new(limits, shell, now);
        session.age = Age::of(limits.age, now, age);
        session.go_adrift(now);
        session
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How the way to the device is.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Who has the shell.
    pub fn shell(&self) -> Shell {
        self.shell
    }

    /// Whether the shell is out of reach, or being taken up again.
    pub fn is_adrift(&self) -> bool {
        self.adrift_since.is_some()
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
            Input::Housed(shell) => self.shell = shell,
            Input::Failed(ending) => self.failed(now, ending),
            Input::Absent => self.absent(now),
            Input::Superseded => self.superseded(now),
            Input::Exited(exit) => self.end(now, exited(exit)),
            Input::Reopened => self.reopened(now),
            Input::Way(way) => self.way_is(now, way),
            Input::Typed(ago) => self.age.typed(now, ago),
            Input::Kill { by, reason } => self.end(now, Ending::killed(&by, reason.as_deref())),
            Input::Drain => self.drain(now),
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
                self.failed(now, Ending::of(Code::SETUP_TIMEOUT).saying(too_slow(step)));
            }
            Timer::Detached => {
                let kept = in_words(self.limits.detached_for);
                let text = format!("Nobody was attached to this session for {kept}, so it was ended.");
                self.outputs.push_back(Output::TimedOut(Wait::Detached));
                self.end(now, Ending::of(Code::IDLE_LIMIT).saying(text));
            }
            Timer::Adrift => {
                let kept = in_words(self.limits.adrift_for);
                let text = format!("The device could not be reached for {kept}, so its shell was given up.");
                self.outputs.push_back(Output::TimedOut(Wait::Adrift));
                self.end(now, Ending::of(Code::DEVICE_LOST).saying(text));
            }
            Timer::SayAgain => self.say_that_it_is_away(now),
            Timer::Age => self.aged(now),
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
        let over = self.ended_at.zip(self.alone_since).map(|(ended, alone)| {
            let wait = if self.anybody_came { LINGER_AFTER_VIEWERS } else { self.limits.linger };
            (ended.max(alone) + wait, Timer::Linger)
        });
        if self.phase == Phase::Over {
            return over;
        }
        let detached = self.alone_since.map(|since| (since + self.limits.detached_for, Timer::Detached));
        let adrift = self.adrift_since.map(|since| (since + self.limits.adrift_for, Timer::Adrift));
        let again = self.say_again_at.map(|at| (at, Timer::SayAgain));
        let age = self.age.next().map(|at| (at, Timer::Age));
        [self.set_up_timer(), detached, adrift, again, age].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn set_up_timer(&self) -> Option<(Instant, Timer)> {
        let Limits { setup, login, shell, .. } = self.limits;
        let whole = self.started + setup;
        let within = |limit| whole.min(self.step_began + limit);
        match self.phase {
            Phase::Opening => Some((whole, Timer::SetUp(Wait::SshHandshake, Step::Device))),
            Phase::HostKey => Some((whole, Timer::SetUp(Wait::SshHandshake, Step::HostKey))),
            Phase::Login => Some((within(login), Timer::SetUp(Wait::SshAuth, Step::Login))),
            Phase::Shell => Some((within(shell), Timer::SetUp(Wait::SshChannel, Step::Shell))),
            Phase::Live | Phase::Adrift | Phase::Over => None,
        }
    }

    /// The step of the set-up that runs.
    fn step(&self) -> Option<Step> {
        match self.phase {
            // The way to a device that is there could not be opened.
            Phase::Adrift => Some(Step::Broker),
            Phase::Opening => Some(Step::Device),
            Phase::HostKey => Some(Step::HostKey),
            Phase::Login => Some(Step::Login),
            Phase::Shell => Some(Step::Shell),
            Phase::Live | Phase::Over => None,
        }
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
            self.live(now);
        }
    }

    fn live(&mut self, now: Instant) {
        self.live_since = Some(now);
        self.say_again_at = None;
        if let Some(since) = self.adrift_since.take() {
            self.outputs.push_back(Output::WasAdrift(now.duration_since(since)));
        }
        self.outputs.push_back(Output::Tell(HostControl::Live));
    }

    /// What a keeper holds is not lost with the way to it, unless it is not ours any more.
    fn failed(&mut self, now: Instant, ending: Ending) {
        if let Some(step) = self.step() {
            self.outputs.push_back(Output::SetUpFailed(step, ending.code));
        }
        let hopeless =
            matches!(ending.code, Code::HOST_KEY_CHANGED | Code::DEVICE_REFUSED | Code::UNKNOWN_DEVICE);
        let kept = self.shell == Shell::Kept || self.is_adrift();
        if hopeless || !kept {
            return self.end(now, ending);
        }
        self.go_adrift(now);
    }

    fn go_adrift(&mut self, now: Instant) {
        self.phase = Phase::Adrift;
        self.adrift_since.get_or_insert(now);
        self.away_since = None;
        self.way = Way::Steady;
        self.outputs.push_back(Output::CutOff);
        self.say_that_it_is_away(now);
        let wait = self.wait(now);
        self.outputs.push_back(Output::Reopen(wait));
    }

    /// The first attempt at once: most breaks are over when they are seen.
    fn wait(&mut self, now: Instant) -> Duration {
        let (first, most) = self.limits.again_after;
        if let Some(since) = self.live_since.take() {
            // What breaks again and again is not taken up without a pause.
            let steady = now.duration_since(since) >= STEADY_AFTER;
            self.attempts = if steady { 0 } else { self.attempts.min(1) };
        }
        let doublings = self.attempts.saturating_sub(1).min(16);
        let wait = if self.attempts == 0 { Duration::ZERO } else { first.saturating_mul(1 << doublings) };
        self.attempts += 1;
        wait.min(most)
    }

    fn say_that_it_is_away(&mut self, now: Instant) {
        let Some(since) = self.adrift_since else { return };
        let kept = (since + self.limits.adrift_for).saturating_duration_since(now);
        let device = HostControl::Device { state: LegState::Lost, kept_s: kept.as_secs() };
        self.outputs.push_back(Output::Tell(device));
        self.say_again_at = Some(now + SAY_AGAIN_EVERY);
    }

    fn reopened(&mut self, now: Instant) {
        if self.phase != Phase::Adrift {
            return;
        }
        self.phase = Phase::Opening;
        (self.started, self.step_began) = (now, now);
        self.say_again_at = None;
        let kept_s = self.limits.adrift_for.as_secs();
        self.outputs.push_back(Output::Tell(HostControl::Device { state: LegState::Steady, kept_s }));
    }

    /// The device holds nothing of it: it was started anew, or somebody ended the keeper.
    fn absent(&mut self, now: Instant) {
        let text = "The shell is no longer on the device: it was started anew, or the shell ended while \
                    nobody could be told. Open a new session.";
        self.end(now, Ending::of(Code::GONE).saying(text));
    }

    /// Two brokers that take a session from each other would serve nobody: this one lets it go.
    fn superseded(&mut self, now: Instant) {
        self.phase = Phase::Adrift;
        self.adrift_since.get_or_insert(now);
        self.outputs.push_back(Output::CutOff);
        let text = "Another broker has taken this session over.".to_owned();
        self.outputs.push_back(Output::Tell(HostControl::Notice { text }));
        self.say_that_it_is_away(now);
    }

    fn drain(&mut self, now: Instant) {
        if self.shell == Shell::Plain {
            let text = "The broker is being restarted, and this shell could not be kept.";
            return self.end(now, Ending::of(Code::GOING_AWAY).saying(text));
        }
        self.outputs.push_back(Output::Leave);
    }

    fn way_is(&mut self, now: Instant, way: Way) {
        if self.phase == Phase::Adrift {
            return;
        }
        if way == Way::Gone {
            return self.failed(now, self.lost());
        }
        if way == self.way {
            return;
        }
        self.way = way;
        let kept = if self.shell == Shell::Kept { self.limits.adrift_for } else { self.limits.device_kept };
        let kept_s = kept.as_secs();
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

    fn lost(&self) -> Ending {
        match self.way {
            Way::Broken => Ending::of(Code::DEVICE_LOST).saying(format!(
                "The device was away for longer than {}, so its shell could not be kept.",
                in_words(self.limits.device_kept)
            )),
            // It was evicted, forgotten, started anew, or its connection failed.
            _ => Ending::of(Code::DEVICE_LOST).saying("The device's link was ended, and this shell with it."),
        }
    }

    fn aged(&mut self, now: Instant) {
        match self.age.due(now) {
            Some(age::Due::Warn(text)) => self.outputs.push_back(Output::Tell(HostControl::Notice { text })),
            Some(age::Due::End(ending, what)) => {
                self.outputs.push_back(Output::TimedOut(what));
                self.end(now, ending);
            }
            None => {}
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

fn exited(exit: Option<Exit>) -> Ending {
    match exit {
        Some(exit) => Ending::exited(exit),
        None => Ending::of(Code::EXITED).saying("The shell ended; the device did not say with which status."),
    }
}
