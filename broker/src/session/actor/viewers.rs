//! The viewers of a session: how they join, what is sent to them, how they leave.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle, StreamHandler};
use futures_util::stream;
use moorline_wire::Code;
use moorline_wire::term::frame::{HostControl, Size, ViewerControl, ViewerRole};
use moorline_wire::term::host::Attach;
use moorline_wire::term::{self, HostFrame, ViewerFrame, ViewerId};
use tokio::sync::watch;
use tracing::warn;

use super::SshSession;
use super::ack::AckClock;
use crate::clock::{self, now};
use crate::metrics::{Direction, Left, Wait};
use crate::pipe::{self, Refused, pipe};
use crate::session::SessionView;
use crate::session::parting::Parting;
use crate::session::state::{Input, Phase};
use crate::socket::Outgoing;

/// Frames of one viewer that wait for the session: few, so that a flood stops at the socket.
const FRAMES: usize = 8;

/// What waits on its way to the device: more than the windows of all viewers, with their headers.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One attached browser.
pub struct Viewer {
    /// Who, in words.
    pub who: String,
    /// The key of its tab, which it keeps over its connections.
    key: String,
    ways: Ways,
    /// When it last said anything.
    heard: Instant,
    /// How long it takes to parse what it is sent.
    ack: AckClock,
    /// What listens to it.
    reading: SpawnHandle,
    /// Somebody waits for room in `outgoing`.
    waiting: bool,
    /// To be closed when everything was sent.
    closing: Option<Code>,
}

/// The ways to a browser.
#[derive(Clone)]
pub struct Ways {
    /// Where its frames go.
    pub outgoing: pipe::Sender<Outgoing>,
    /// Where it is said why it left.
    pub parting: Parting,
}

/// Tabs that lost their connection and may come back: for how long a person saw nothing.
#[derive(Default)]
pub struct Away(VecDeque<(String, Instant)>);

impl Away {
    /// A session has few viewers, and those who left long ago do not come back.
    const TABS_MAX: usize = 64;

    fn went(&mut self, key: String) {
        if self.0.len() >= Self::TABS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((key, now()));
    }

    fn came_back(&mut self, key: &str) -> Option<Duration> {
        let at = self.0.iter().position(|(tab, _)| tab == key)?;
        let (_, went) = self.0.remove(at)?;
        Some(now().duration_since(went))
    }
}

/// How far a viewer's frames went.
enum Sent {
    /// There is nothing left.
    Everything,
    /// Its socket takes no more for now.
    NoRoom,
    /// It is gone, or was told to go.
    Closed,
}

impl Viewer {
    /// It is to go, once everything was sent.
    pub fn close(&mut self, code: Code) {
        self.ways.parting.because(code.name());
        self.closing = Some(code);
    }
}

impl SshSession {
    /// Sends that viewer's frames while its socket has room.
    pub(super) fn transmit(&mut self, id: ViewerId, ctx: &mut Context<Self>) {
        match self.transmit_some(id) {
            Sent::Everything => {}
            Sent::Closed => {
                if let Some(viewer) = self.viewers.get(&id) {
                    // Counts only where nobody has told it to go.
                    viewer.ways.parting.socket_gone();
                }
                self.left(id, ctx);
            }
            Sent::NoRoom => self.wait_for_room(id, ctx),
        }
    }

    fn transmit_some(&mut self, id: ViewerId) -> Sent {
        let Some(viewer) = self.viewers.get_mut(&id) else { return Sent::Everything };
        loop {
            let room = match viewer.ways.outgoing.try_reserve() {
                Ok(room) => room,
                Err(Refused::Closed(())) => return Sent::Closed,
                Err(Refused::Full(())) => return Sent::NoRoom,
            };
            match (self.house.poll_transmit(now(), id), viewer.closing) {
                (Some(frame), _) => {
                    if self.traced.is_on() && self.state.phase() == Phase::Live && shows(&frame) {
                        self.traced.over();
                    }
                    viewer.ack.sent(now(), &frame);
                    room.send(outgoing(frame));
                }
                (None, Some(code)) => {
                    room.send(Outgoing::Close(code, reason(code, &self.view)));
                    return Sent::Closed;
                }
                (None, None) => return Sent::Everything,
            }
        }
    }

    /// A viewer whose socket takes nothing for `timing.user_dead` is dropped, and only the viewer.
    fn wait_for_room(&mut self, id: ViewerId, ctx: &mut Context<Self>) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        if std::mem::replace(&mut viewer.waiting, true) {
            return;
        }
        let limit = self.parts.config.timing.user_dead;
        let room = clock::within(limit, Wait::ViewerStalled, viewer.ways.outgoing.clone().reserve_owned());
        // Given back at once: the next `transmit` takes it.
        let room = async move { room.await.map(drop) };
        ctx.spawn(room.into_actor(self).map(move |room, session, ctx| {
            if let Some(viewer) = session.viewers.get_mut(&id) {
                viewer.waiting = false;
                if room.is_err() {
                    viewer.ways.parting.because(Left::Stalled.label());
                }
            }
            match room {
                Ok(()) => session.transmit(id, ctx),
                Err(late) => {
                    session.parts.metrics.timeout(late.what);
                    session.left(id, ctx);
                }
            }
            session.drive(ctx);
        }));
    }

    /// A viewer is gone. Its connection hears of it, because nobody listens to it any more.
    fn left(&mut self, id: ViewerId, ctx: &mut Context<Self>) {
        if let Some(viewer) = self.viewers.remove(&id) {
            ctx.cancel_future(viewer.reading);
            if viewer.closing.is_none() {
                self.away.went(viewer.key);
            }
            self.house.left(now(), id);
            self.state.handle(now(), Input::Viewers(self.viewers.len()));
            if self.viewers.is_empty() && self.state.phase() == Phase::Live {
                // Nobody waits for a first byte any more.
                self.traced.over();
            }
        }
    }
}

/// Whether a person sees something of it.
fn shows(frame: &HostFrame) -> bool {
    match frame {
        HostFrame::Out { bytes, .. } | HostFrame::Snap { bytes, .. } => !bytes.is_empty(),
        HostFrame::InAck { .. } | HostFrame::Pong { .. } | HostFrame::Control(_) => false,
    }
}

fn outgoing(frame: HostFrame) -> Outgoing {
    match frame.encode() {
        term::Message::Binary(bytes) => Outgoing::Binary(bytes),
        term::Message::Text(text) => Outgoing::Text(text),
    }
}

/// The close frame says the same as the message before it: the ending, or the code's sentence.
fn reason(code: Code, view: &watch::Sender<SessionView>) -> String {
    match &view.borrow().ending {
        Some(ending) if ending.code == code => ending.text.clone(),
        _ => code.sentence().to_owned(),
    }
}

/// Somebody whose hello was accepted wants to see and type.
#[derive(Message)]
#[rtype(result = "pipe::Sender<ViewerFrame>")]
pub struct Join {
    /// Who, in words.
    pub who: String,
    /// Their hello.
    pub hello: Hello,
    /// The next resume token of this viewer.
    pub resume: String,
    /// The ways to their browser.
    pub ways: Ways,
}

/// What a hello says besides who it is.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The next output offset wanted; `None`: send the screen.
    pub have: Option<u64>,
    /// The key under which the viewer's input offsets are remembered.
    pub viewer: String,
    /// The viewer's next input offset.
    pub in_next: u64,
    /// The size of its terminal.
    pub size: Size,
    /// What it wants to be; the driver if it does not say.
    pub role: Option<ViewerRole>,
    /// Whether it was attached before.
    pub resumed: bool,
}

impl Handler<Join> for SshSession {
    type Result = MessageResult<Join>;

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) -> Self::Result {
        let Join { who, hello, resume, ways } = join;
        self.last_viewer += 1;
        let id = ViewerId(self.last_viewer);
        let (sender, frames) = pipe(FRAMES);
        let attached = self.attached(&hello, resume);
        if let Some(gap) = self.gap_of(&hello.viewer) {
            self.parts.metrics.gap(gap);
        }
        self.traced.seen();
        let reading = ctx.add_stream(frames_of(id, frames));
        let viewer = Viewer {
            who: who.clone(),
            key: hello.viewer.clone(),
            ways,
            heard: now(),
            ack: AckClock::default(),
            reading,
            waiting: false,
            closing: None,
        };
        self.viewers.insert(id, viewer);
        let attach = Attach {
            viewer: id,
            key: hello.viewer,
            who,
            have: hello.have,
            in_next: hello.in_next,
            size: hello.size,
            role: hello.role.unwrap_or(ViewerRole::Driver),
            attached,
        };
        self.house.attach(now(), attach);
        self.happened(Input::Viewers(self.viewers.len()), ctx);
        MessageResult(sender)
    }
}

impl SshSession {
    /// A viewer did something.
    fn did(&mut self, viewer: ViewerId, frame: ViewerFrame) {
        if let Some(viewer) = self.viewers.get_mut(&viewer) {
            viewer.heard = now();
            if let Some(after) = viewer.ack.heard(viewer.heard, &frame) {
                self.parts.metrics.viewer_acked(after);
            }
        }
        if let ViewerFrame::In { bytes, .. } = &frame {
            self.parts.metrics.bytes(Direction::Input, bytes.len());
            self.state.handle(now(), Input::Typed(Duration::ZERO));
        }
        // Whoever sends more than their window says is stopped by the keeper; but while the way to
        // it is slow, it waits here.
        if self.shell.as_ref().is_some_and(|shell| shell.waiting() > WAITING_BYTES_MAX) {
            warn!(session = %self.wish.session, "a viewer sends more than the device takes");
            return self.house.close(viewer, Code::OVERLOADED);
        }
        self.house.frame(now(), viewer, frame);
    }

    /// For how long whoever comes with this key saw nothing. A connection that still stands and was
    /// silent for long is one that its tab found dead before we did.
    fn gap_of(&mut self, key: &str) -> Option<Duration> {
        let silence = |viewer: &Viewer| now().duration_since(viewer.heard);
        let stands = |viewer: &&Viewer| viewer.key == key && viewer.closing.is_none();
        let silent = self.viewers.values().filter(stands).map(silence).min();
        let dead = self.parts.config.timing.viewer_dead;
        self.away.came_back(key).or_else(|| silent.filter(|silent| *silent >= dead / 2))
    }

    /// The answer to a hello, but for what the host fills in.
    fn attached(&self, hello: &Hello, resume: String) -> HostControl {
        let (timing, limits) = (&self.parts.config.timing, &self.parts.config.limits);
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let view = self.view.borrow();
        HostControl::Attached {
            session: view.id.clone(),
            resume,
            role: hello.role.unwrap_or(ViewerRole::Driver),
            from: 0,
            head: 0,
            in_ack: 0,
            window: bytes(limits.window.bytes()),
            in_window: bytes(limits.in_window.bytes()),
            ping_ms: ms(timing.viewer_ping),
            dead_ms: ms(timing.viewer_dead),
            size: hello.size,
            gap: None,
            snapshot: false,
            kept_s: timing.detached_for.as_secs(),
            keeper: false,
            device: view.device_name.clone(),
            login: view.login.clone(),
        }
    }
}

/// What that viewer does; `None` when its connection is gone.
fn frames_of(
    id: ViewerId,
    frames: pipe::Receiver<ViewerFrame>,
) -> impl futures_util::Stream<Item = FromViewer> {
    stream::unfold(Some(frames), move |frames| async move {
        let mut frames = frames?;
        let frame = frames.recv().await;
        let still = frame.is_some().then_some(frames);
        Some((FromViewer(id, frame), still))
    })
}

struct FromViewer(ViewerId, Option<ViewerFrame>);

impl StreamHandler<FromViewer> for SshSession {
    fn handle(&mut self, FromViewer(viewer, frame): FromViewer, ctx: &mut Self::Context) {
        match frame {
            // Nothing that a page says about its tab changes a session yet.
            Some(ViewerFrame::Control(ViewerControl::Visibility { .. })) => return,
            Some(frame) => self.did(viewer, frame),
            None => self.left(viewer, ctx),
        }
        self.drive(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
