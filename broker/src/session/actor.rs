//! `SshSession`: one shell of one person on one device, and everybody who looks at it.
//!
//! It owns the terminal's host (output ring, viewers' cursors, input offsets), the emulator that
//! rebuilds the screen for those who come back, and the SSH client. It lives on the arbiter that
//! drives its device's link: a keystroke changes threads once, between the browser's socket and
//! here, and its echo once on the way back.
//!
//! Output is pulled: a frame is cut from the ring when the viewer's socket has room for it, so
//! that nothing waits where a kill, or a Ctrl-C's echo, could not overtake it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use actix::fut::WrapFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, StreamHandler};
use bytes::Bytes;
use futures_util::stream;
use moorline_screen::Screen;
use moorline_wire::term::frame::Step;
use moorline_wire::term::{Host, HostConfig, HostInput, HostOutput, ViewerId};
use moorline_wire::{Code, Ending};
use tokio::sync::{mpsc, watch};
use tracing::{Span, error, info, info_span, warn};

use super::gauges::Gauges;
use super::ssh::{FromShell, Plan, Shell};
use super::state::{Input, Limits, Output, Phase, Session, Way};
use super::{SessionParts, SessionState, SessionView, StepTime};
use crate::clock::{Deadline, now, wall};
use crate::device::{Leg, Opened, Presence};
use crate::metrics::{Direction, KilledBy};
use crate::problem::Problem;
use viewers::{Away, Viewer};

mod viewers;

pub use viewers::{Hello, Join};

/// What a session is started with.
pub struct Start {
    /// What everybody needs.
    pub parts: SessionParts,
    /// What it looks like at first.
    pub view: watch::Sender<SessionView>,
    /// The stream to the device's sshd.
    pub opened: Opened,
    /// What to log in to.
    pub plan: Plan,
}

/// One session.
pub struct SshSession {
    state: Session,
    host: Host,
    screen: Screen,
    shell: Option<Shell>,
    /// Taken by `started`.
    to_start: Option<(Opened, Plan)>,
    viewers: BTreeMap<ViewerId, Viewer>,
    last_viewer: u64,
    /// When who is away went, by the key of the tab.
    away: Away,
    view: watch::Sender<SessionView>,
    /// The step of the set-up that runs, for traces: a child of this actor's span.
    step: Span,
    parts: SessionParts,
    gauges: Gauges,
    deadline: Deadline,
}

impl SshSession {
    /// A session whose set-up begins when it is started.
    pub fn new(start: Start) -> Self {
        let Start { parts, view, opened, plan } = start;
        let (timing, limits) = (&parts.config.timing, &parts.config.limits);
        let session_limits = Limits {
            setup: timing.ssh_handshake,
            login: timing.ssh_auth,
            shell: timing.ssh_channel,
            detached_for: timing.detached_for,
            device_kept: timing.link_resume_within,
            linger: timing.ticket,
        };
        let window = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let host_config = HostConfig {
            ring_bytes: limits.ring.bytes(),
            window: window(limits.window.bytes()),
            in_window: window(limits.in_window.bytes()),
            viewers_max: limits.viewers_per_session,
            driver_back_within: timing.driver_back_within,
            ..HostConfig::default()
        };
        let gauges = Gauges::new(parts.metrics.clone());
        Self {
            state: Session::new(session_limits, now()),
            host: Host::new(host_config, plan.size, now()),
            screen: Screen::new(plan.size.cols, plan.size.rows),
            shell: None,
            to_start: Some((opened, plan)),
            viewers: BTreeMap::new(),
            last_viewer: 0,
            away: Away::default(),
            step: Span::none(),
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
            } else if let Some(output) = self.host.poll_output() {
                self.perform_for_host(output, ctx);
            } else {
                break;
            }
        }
        self.publish();
        let next = [self.state.poll_timeout(), self.host.poll_timeout()].into_iter().flatten().min();
        self.deadline.arm(ctx, next, |session, ctx| {
            session.deadline.passed();
            session.state.handle_timeout(now());
            session.host.handle_timeout(now());
            session.drive(ctx);
        });
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Tell(control) => self.host.handle(now(), HostInput::Tell(control)),
            Output::Took(step, took) => {
                self.step = step_after(step);
                self.parts.metrics.setup_step(step, took);
                let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                self.view.send_modify(|view| view.steps.push(StepTime { step, ms }));
            }
            Output::TimedOut(what) => self.parts.metrics.timeout(what),
            Output::WasAway(time) => {
                self.parts.metrics.gap(time);
                self.parts.metrics.session_resumed("device");
            }
            Output::End(ending) => self.end(ending),
            Output::Stop => ctx.stop(),
        }
    }

    /// The shell is cut before anybody is told: what it still says does not count.
    fn end(&mut self, ending: Ending) {
        self.shell = None;
        self.to_start = None;
        self.step = Span::none();
        info!(session = %self.view.borrow().id, ending = %ending.code, "session ended");
        self.host.handle(now(), HostInput::Ended(ending.clone()));
        self.view.send_modify(|view| {
            view.ended = Some(wall());
            view.ending = Some(ending);
        });
    }

    fn perform_for_host(&mut self, output: HostOutput, ctx: &mut Context<Self>) {
        match output {
            HostOutput::Transmit(viewer) => self.transmit(viewer, ctx),
            HostOutput::ToShell(bytes) => {
                self.parts.metrics.bytes(Direction::Input, bytes.len());
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
                    viewer.closing = Some(code);
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
        let (cols, rows) = self.screen.size();
        let offset = self.host.head();
        let bytes = Bytes::from(bytes);
        self.host.handle(now(), HostInput::Snapshot { offset, cols, rows, bytes });
    }

    /// The emulator reads whatever a device writes. Should that ever make it panic, the session
    /// goes on with an empty screen: only a later snapshot is poorer.
    fn on_screen(&mut self, work: impl FnOnce(&mut Screen)) {
        let screen = &mut self.screen;
        if std::panic::catch_unwind(AssertUnwindSafe(|| work(screen))).is_err() {
            error!(session = %self.view.borrow().id, "terminal emulator panicked, its screen starts anew");
            let size = self.host.size();
            self.screen = Screen::new(size.cols, size.rows);
        }
    }

    /// Makes the view say what is so now.
    fn publish(&mut self) {
        let viewers = self.viewers.len();
        let state = match (self.state.phase(), self.state.way()) {
            (Phase::Over, _) => SessionState::Ended,
            (_, Way::Broken) => SessionState::DeviceAway,
            (Phase::Live, _) if viewers == 0 => SessionState::Detached,
            (Phase::Live, _) => SessionState::Live,
            _ => SessionState::Connecting,
        };
        self.gauges.state(state);
        self.view.send_if_modified(|view| {
            let changed = (view.state, view.viewers) != (state, viewers);
            (view.state, view.viewers) = (state, viewers);
            changed
        });
    }
}

/// The span of the step that follows that one.
fn step_after(step: Step) -> Span {
    match step {
        Step::Broker => info_span!("device"),
        Step::Device => info_span!("host_key"),
        Step::HostKey => info_span!("login"),
        Step::Login => info_span!("shell"),
        Step::Shell => Span::none(),
    }
}

impl Actor for SshSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some((opened, plan)) = self.to_start.take() {
            let (tell, told) = mpsc::unbounded_channel();
            ctx.add_stream(legs(opened.leg));
            ctx.add_stream(stream::unfold(
                told,
                |mut told| async move { told.recv().await.map(|e| (e, told)) },
            ));
            self.shell = Some(Shell::start(opened.stream, plan, tell));
        }
        self.happened(Input::Done(Step::Broker), ctx);
    }
}

/// How the way to the device is: at first, whenever it changes, and when there is none any more.
fn legs(leg: watch::Receiver<Leg>) -> impl futures_util::Stream<Item = OnLeg> {
    stream::unfold((Some(leg), true), |(leg, first)| async move {
        let mut leg = leg?;
        if !first && leg.changed().await.is_err() {
            return Some((OnLeg(None), (None, false)));
        }
        let now = *leg.borrow_and_update();
        Some((OnLeg(Some(now)), (Some(leg), false)))
    })
}

struct OnLeg(Option<Leg>);

impl StreamHandler<OnLeg> for SshSession {
    fn handle(&mut self, OnLeg(leg): OnLeg, ctx: &mut Self::Context) {
        if let Some(rtt) = leg.and_then(|leg| leg.rtt) {
            self.host.set_device_rtt(rtt);
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

impl StreamHandler<FromShell> for SshSession {
    fn handle(&mut self, event: FromShell, ctx: &mut Self::Context) {
        // Cut off: nothing that still comes is the session's.
        if self.shell.is_none() {
            return;
        }
        let input = match event {
            FromShell::Output(bytes) => return self.output(bytes, ctx),
            FromShell::InputTaken(total) => {
                self.host.handle(now(), HostInput::InputTaken { total });
                return self.drive(ctx);
            }
            FromShell::Step(step) => Input::Done(step),
            FromShell::Exited(exit) => Input::Exited(exit),
            FromShell::Failed(problem) => {
                warn!(session = %self.view.borrow().id, cause = problem.chain(), "ssh failed");
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
        self.on_screen(|screen| screen.feed(&bytes));
        if let Some(shell) = &self.shell {
            shell.taken(bytes.len());
        }
        self.host.handle(now(), HostInput::Output(bytes));
        self.drive(ctx);
    }

    /// The key is written down, so that an administrator can look at it and accept it.
    fn host_key_changed(&mut self, shown: String, ctx: &mut Context<Self>) -> Input {
        let device = self.view.borrow().device.clone();
        warn!(%device, "device shows another host key than the pinned ones");
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
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicNow;

#[cfg(test)]
impl Handler<PanicNow> for SshSession {
    type Result = ();

    fn handle(&mut self, _: PanicNow, _: &mut Self::Context) {
        panic!("told to");
    }
}
