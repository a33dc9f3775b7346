//! `SshSession`: one shell of one person on one device, and everybody who looks at it.
//!
//! It owns the way to the shell (the SSH client) and whoever is attached. Of a shell that a keeper
//! holds it has nothing else, so that nothing is lost with it: when the way breaks, or this actor
//! fails, the shell is taken up again. Of a plain shell it is the host: output ring, viewers'
//! cursors, input offsets, and the emulator that rebuilds the screen for those who come back.
//!
//! It lives on the arbiter that drives its device's link: a keystroke changes threads once, between
//! the browser's socket and here, and its echo once on the way back. Output is pulled: a frame is
//! taken when the viewer's socket has room for it, so that a kill overtakes what waits.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, StreamHandler};
use bytes::Bytes;
use futures_util::stream;
use moorline_screen::Screen;
use moorline_wire::term::frame::Step;
use moorline_wire::term::{HostOutput, ViewerId};
use moorline_wire::{Code, Ending};
use tokio::sync::watch;
use tracing::{Span, error, info, warn};

use super::gauges::Gauges;
use super::house::House;
use super::ready::{Ready, Wish};
use super::ssh::{FromShell, Program, Shell};
use super::state::{self, Input, Output, Phase, Session, Way};
use super::{SessionParts, SessionState, SessionView, StepTime, settings};
use crate::actor::takes_mail;
use crate::clock::{Deadline, now, wall};
use crate::device::{Leg, Presence};
use crate::metrics::{self, Direction, KilledBy};
use crate::problem::Problem;
use crate::trace::Trace;
use traced::{Traced, last_step};
use viewers::{Away, Viewer};

mod ack;
mod keeper;
mod traced;
mod viewers;

pub use keeper::Written;
pub use viewers::{Hello, Join, Ways};

/// What a session is started with.
pub struct Start {
    /// What everybody needs.
    pub parts: SessionParts,
    /// What it looks like at first.
    pub view: watch::Sender<SessionView>,
    /// What is wanted.
    pub wish: Wish,
    /// How it begins.
    pub begin: Begin,
}

/// How a session begins.
pub enum Begin {
    /// It was just asked for.
    Fresh(Box<Fresh>),
    /// Its shell is there already, or may be: a former process or actor had it.
    Again(state::Shell),
}

/// A session that was just asked for.
pub struct Fresh {
    /// The way to its device.
    pub ready: Ready,
    /// The trace of its set-up.
    pub trace: Trace,
    /// The step of it that runs.
    pub step: Span,
}

/// One session.
pub struct SshSession {
    state: Session,
    house: House,
    /// Of a plain shell, from its first output on: it is the largest thing that a session has.
    screen: Option<Box<Screen>>,
    wish: Wish,
    shell: Option<Shell>,
    /// Counts the connections to the device: what one of them says is of no interest to the next.
    connection: u64,
    /// Fences brokers, and connections, of this session from each other.
    epoch: keeper::Epoch,
    /// Waits for the device, to take the shell up again.
    reopening: Option<SpawnHandle>,
    /// Taken by `started`.
    to_start: Option<Ready>,
    viewers: BTreeMap<ViewerId, Viewer>,
    last_viewer: u64,
    /// When who is away went, by the key of the tab.
    away: Away,
    view: watch::Sender<SessionView>,
    traced: Traced,
    /// What the last step of a set-up is called in traces.
    last_step: &'static str,
    parts: SessionParts,
    gauges: Gauges,
    deadline: Deadline,
}

impl SshSession {
    /// A session whose set-up begins when it is started.
    pub fn new(start: Start) -> Self {
        let Start { parts, view, wish, begin } = start;
        let limits = settings::limits(&parts.config);
        let age = wall().duration_since(view.borrow().started);
        let plain = |ready: &Ready| matches!(ready.plan.program, Program::Plain(_));
        let (state, to_start, traced) = match begin {
            Begin::Fresh(fresh) => {
                let Fresh { ready, trace, step } = *fresh;
                let shell = if plain(&ready) { state::Shell::Plain } else { state::Shell::Unknown };
                (Session::new(limits, shell, now()), Some(ready), Traced::going_on(trace, step))
            }
            Begin::Again(shell) => {
                let age = Duration::try_from(age).unwrap_or_default();
                (Session::revived(limits, shell, now(), age), None, Traced::none())
            }
        };
        let house = match state.shell() {
            state::Shell::Plain => House::ours(settings::host(&parts.config), wish.size, now()),
            state::Shell::Unknown | state::Shell::Kept => settings::keeper_house(&parts.config),
        };
        let gauges = Gauges::new(parts.metrics.clone());
        Self {
            state,
            house,
            screen: None,
            wish,
            shell: None,
            connection: 0,
            epoch: keeper::Epoch::default(),
            reopening: None,
            to_start,
            viewers: BTreeMap::new(),
            last_viewer: 0,
            away: Away::default(),
            traced,
            last_step: "shell",
            view,
            parts,
            gauges,
            deadline: Deadline::default(),
        }
    }

    fn happened(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.state.handle(now(), input);
        self.drive(ctx);
    }

    /// Carries out everything that is pending, then sleeps until the next deadline.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        loop {
            if let Some(output) = self.state.poll_output() {
                self.perform(output, ctx);
            } else if let Some(output) = self.house.poll_output() {
                self.perform_for_house(output, ctx);
            } else if let Some(news) = self.house.poll_news() {
                self.keeper_said(news, ctx);
            } else {
                break;
            }
        }
        self.publish();
        let next = [self.state.poll_timeout(), self.house.poll_timeout()].into_iter().flatten().min();
        self.deadline.arm(ctx, next, |session, ctx| {
            session.deadline.passed();
            session.state.handle_timeout(now());
            session.house.handle_timeout(now());
            session.drive(ctx);
        });
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Tell(control) => self.house.tell(now(), control),
            Output::Took(step, took) => {
                self.traced.after(step, self.last_step, !self.viewers.is_empty());
                self.parts.metrics.setup_step(step, took);
                let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                self.view.send_modify(|view| view.steps.push(StepTime { step, ms }));
            }
            Output::SetUpFailed(step, code) => {
                self.traced.failed(code);
                self.parts.metrics.setup_failed(step, code);
            }
            Output::TimedOut(what) => self.parts.metrics.timeout(what),
            Output::WasAway(time) => {
                self.parts.metrics.gap(time);
                self.parts.metrics.session_resumed(metrics::Leg::Device);
            }
            Output::WasAdrift(time) => {
                self.parts.metrics.gap(time);
                self.parts.metrics.session_resumed(metrics::Leg::Keeper);
                info!(session = %self.wish.session, ms = time.as_millis(), "shell was taken up again");
            }
            Output::CutOff => self.cut_off(),
            Output::Reopen(wait) => self.reopen(wait, ctx),
            Output::End(ending) => self.end(ending, ctx),
            Output::Leave => self.leave(ctx),
            Output::Stop => ctx.stop(),
        }
    }

    /// The shell is cut before anybody is told: what it still says does not count. But a keeper whose
    /// program has ended still has the rest of the output for whoever is attached.
    fn end(&mut self, ending: Ending, ctx: &mut Context<Self>) {
        let by_itself = ending.code == Code::EXITED && self.house.is_kept();
        if !by_itself {
            self.shell = None;
        }
        if let Some(reopening) = self.reopening.take() {
            ctx.cancel_future(reopening);
        }
        self.to_start = None;
        self.traced.over();
        info!(session = %self.wish.session, ending = %ending.code, "session ended");
        self.house.ended(now(), ending.clone());
        self.view.send_modify(|view| {
            view.ended = Some(wall());
            view.ending = Some(ending);
        });
    }

    fn perform_for_house(&mut self, output: HostOutput, ctx: &mut Context<Self>) {
        match output {
            HostOutput::Transmit(viewer) => self.transmit(viewer, ctx),
            HostOutput::ToShell(bytes) => {
                if let Some(shell) = &self.shell {
                    shell.input(&bytes);
                }
            }
            HostOutput::Resize { size, .. } => {
                self.on_screen(|screen| screen.resize(size.cols, size.rows));
                if let Some(shell) = &self.shell {
                    shell.resize(size);
                }
            }
            HostOutput::Signal { number } => {
                if let Some(shell) = &self.shell {
                    shell.signal(number);
                }
            }
            HostOutput::Gate { open } => {
                if let Some(shell) = &self.shell {
                    shell.gate(open);
                }
            }
            HostOutput::SnapshotWanted => self.snapshot(),
            HostOutput::Close { viewer, code } => {
                if let Some(viewer) = self.viewers.get_mut(&viewer) {
                    viewer.close(code);
                }
                self.transmit(viewer, ctx);
            }
            HostOutput::KillWanted { viewer, reason } => {
                if let Some(viewer) = self.viewers.get(&viewer) {
                    let by = viewer.who.clone();
                    self.parts.metrics.killed(KilledBy::Session);
                    self.state.handle(now(), Input::Kill { by, reason });
                }
            }
            HostOutput::Viewers { drivers, watchers } => self.gauges.viewers(drivers, watchers),
        }
    }

    fn snapshot(&mut self) {
        let mut bytes = Vec::new();
        self.on_screen(|screen| bytes = screen.snapshot());
        let (cols, rows) =
            self.screen.as_ref().map_or((self.wish.size.cols, self.wish.size.rows), |s| s.size());
        self.house.snapshot(now(), cols, rows, Bytes::from(bytes));
    }

    /// The emulator reads whatever a device writes. Should that ever make it panic, the session
    /// goes on with an empty screen: only a later snapshot is poorer.
    fn on_screen(&mut self, work: impl FnOnce(&mut Screen)) {
        let size = self.wish.size;
        let screen = self.screen.get_or_insert_with(|| Box::new(Screen::new(size.cols, size.rows)));
        if std::panic::catch_unwind(AssertUnwindSafe(|| work(screen))).is_err() {
            error!(session = %self.wish.session, "terminal emulator panicked, its screen starts anew");
            let (cols, rows) = screen.size();
            **screen = Screen::new(cols, rows);
        }
    }

    /// Makes the view say what is so now.
    fn publish(&mut self) {
        let viewers = self.viewers.len();
        let state = match (self.state.phase(), self.state.way()) {
            (Phase::Over, _) => SessionState::Ended,
            _ if self.state.is_adrift() => SessionState::Adrift,
            (_, Way::Broken) => SessionState::DeviceAway,
            (Phase::Live, _) if viewers == 0 => SessionState::Detached,
            (Phase::Live, _) => SessionState::Live,
            _ => SessionState::Connecting,
        };
        if self.gauges.state(state) {
            self.parts.registry.news().session(&self.wish.session, state);
        }
        self.view.send_if_modified(|view| {
            let changed = (view.state, view.viewers) != (state, viewers);
            (view.state, view.viewers) = (state, viewers);
            changed
        });
    }
}

takes_mail!(SshSession);

impl Actor for SshSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(ready) = self.to_start.take() {
            self.connect(ready, ctx);
        }
        self.happened(Input::Done(Step::Broker), ctx);
    }
}

impl SshSession {
    /// Begins a connection to the device. What a former one still says is not heard.
    fn connect(&mut self, Ready { opened, plan }: Ready, ctx: &mut Context<Self>) {
        self.last_step = last_step(&plan.program);
        self.connection += 1;
        let number = self.connection;
        ctx.add_stream(legs(number, opened.leg));
        let (shell, events) = Shell::start(opened.stream, plan);
        ctx.add_stream(stream::unfold(events, move |mut events| async move {
            events.next().await.map(|event| (OnShell(number, event), events))
        }));
        self.shell = Some(shell);
    }
}

/// How the way to the device is: at first, whenever it changes, and when there is none any more.
fn legs(number: u64, leg: watch::Receiver<Leg>) -> impl futures_util::Stream<Item = OnLeg> {
    stream::unfold((Some(leg), true), move |(leg, first)| async move {
        let mut leg = leg?;
        if !first && leg.changed().await.is_err() {
            return Some((OnLeg(number, None), (None, false)));
        }
        let now = *leg.borrow_and_update();
        Some((OnLeg(number, Some(now)), (Some(leg), false)))
    })
}

struct OnLeg(u64, Option<Leg>);

impl StreamHandler<OnLeg> for SshSession {
    fn handle(&mut self, OnLeg(number, leg): OnLeg, ctx: &mut Self::Context) {
        if number != self.connection {
            return;
        }
        if let Some(rtt) = leg.and_then(|leg| leg.rtt) {
            self.house.set_device_rtt(rtt);
        }
        let way = match leg.map(|leg| leg.presence) {
            Some(Presence::Online) => Way::Steady,
            Some(Presence::Unstable) => Way::Unstable,
            Some(Presence::Away) => Way::Broken,
            // Where it is offline the link has ended: the closed channel says so next.
            Some(Presence::Offline) => return,
            None => Way::Gone,
        };
        self.happened(Input::Way(way), ctx);
    }

    // The end of the link is an input, and not the end of the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

struct OnShell(u64, FromShell);

impl StreamHandler<OnShell> for SshSession {
    fn handle(&mut self, OnShell(number, event): OnShell, ctx: &mut Self::Context) {
        // Cut off: nothing that still comes is the session's.
        if self.shell.is_none() || number != self.connection {
            return;
        }
        let input = match event {
            FromShell::Output(bytes) => return self.output(bytes, ctx),
            FromShell::InputTaken(total) => {
                self.house.input_taken(now(), total);
                return self.drive(ctx);
            }
            FromShell::Housed { kept } => return self.housed(kept, ctx),
            FromShell::Step(step) => Input::Done(step),
            FromShell::Exited(exit) => Input::Exited(exit),
            // The keeper is gone with its program, or what still comes is of no interest.
            FromShell::Failed(_) if self.state.phase() == Phase::Over => {
                self.cut_off();
                return self.drive(ctx);
            }
            FromShell::Failed(problem) => {
                warn!(session = %self.wish.session, cause = problem.chain(), "ssh failed");
                Input::Failed(problem.ending())
            }
            FromShell::HostKeyChanged(shown) => self.host_key_changed(shown, ctx),
        };
        self.happened(input, ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl SshSession {
    fn output(&mut self, bytes: Bytes, ctx: &mut Context<Self>) {
        self.parts.metrics.bytes(Direction::Output, bytes.len());
        if !self.house.is_kept() {
            self.on_screen(|screen| screen.feed(&bytes));
        }
        if let Some(shell) = &self.shell {
            shell.taken(bytes.len());
        }
        self.house.shell_said(now(), bytes);
        self.drive(ctx);
    }

    /// The key is written down, so that an administrator can look at it and accept it.
    fn host_key_changed(&mut self, shown: String, ctx: &mut Context<Self>) -> Input {
        let device = self.wish.device.clone();
        warn!(%device, "device shows another host key than the pinned ones");
        self.parts.metrics.host_key_changed();
        let store = self.parts.store.clone();
        let offered = crate::device::normal_host_key(&shown).into_iter().collect();
        let written = async move {
            if let Err(problem) = store.offered_host_keys(&device, Some(offered)).await {
                warn!(%device, cause = problem.chain(), "offered host key is not written down");
            }
        };
        ctx.spawn(written.into_actor(self));
        Input::Failed(Problem::new(Code::HOST_KEY_CHANGED).ending())
    }
}

/// The session is to end. `false`: it was over already.
#[derive(Message, Debug)]
#[rtype(result = "bool")]
pub enum EndIt {
    /// Somebody wants that.
    Kill {
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// The broker goes away.
    Drain,
}

impl Handler<EndIt> for SshSession {
    type Result = bool;

    fn handle(&mut self, end: EndIt, ctx: &mut Self::Context) -> bool {
        let lived = self.state.phase() != Phase::Over;
        let input = match end {
            EndIt::Kill { by, reason } => Input::Kill { by, reason },
            EndIt::Drain => Input::Drain,
        };
        self.happened(input, ctx);
        lived
    }
}

/// Fails on purpose, so that a test sees what else fails.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicNow;

impl Handler<PanicNow> for SshSession {
    type Result = ();

    fn handle(&mut self, _: PanicNow, _: &mut Self::Context) {
        panic!("told to");
    }
}
