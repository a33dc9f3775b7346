//! `DeviceConnection`: drives one device's link over whatever socket carries it at the moment.
//!
//! The link outlives its sockets for `timing.link_resume_within`; this actor does, too. It lives
//! on the arbiter of the device's first socket.

use std::net::SocketAddr;
use std::time::Duration;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, StreamHandler};
use bytes::Bytes;
use futures_util::{Stream, stream};
use moorline_link_io::{Event, LinkHandle, Outlet};
use moorline_wire::link::{Attach, Input as LinkInput, Output as LinkOutput, Violation};
use moorline_wire::{Code, DeviceId};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::state::{Connection, Input, Output, Presence};
use super::{DeviceParts, Leg};
use crate::actor::takes_mail;
use crate::clock::{Deadline, now, wall};
use crate::metrics::{Break, Metrics};
use crate::news::News;
use crate::pipe::{self, Refused};
use crate::socket::{Answers, Incoming, Outgoing, Reflex, SocketEnds};

/// One device's connection.
pub struct DeviceConnection {
    state: Connection,
    device: DeviceId,
    link: LinkHandle,
    /// What carries the link at the moment.
    socket: Option<Carrier>,
    /// How the device is, for everybody who wants to know. Closed: there is no link any more.
    leg: watch::Sender<Leg>,
    gauge: PresenceGauge,
    metrics: Metrics,
    news: News,
    deadline: Deadline,
}

struct Carrier {
    outgoing: pipe::Sender<Outgoing>,
    reflex: Reflex,
    link: LinkHandle,
    reading: SpawnHandle,
    /// Somebody waits for room in `outgoing`.
    waiting: bool,
}

/// What an older socket still hears does not count, and nothing more goes into it.
impl Drop for Carrier {
    fn drop(&mut self) {
        self.reflex.clear();
        self.link.set_outlet(None);
    }
}

impl DeviceConnection {
    /// A connection whose first socket comes with [`Greeted`].
    pub fn new(device: DeviceId, link: LinkHandle, leg: watch::Sender<Leg>, parts: &DeviceParts) -> Self {
        let (metrics, news) = (parts.metrics.clone(), parts.registry.news().clone());
        let gauge = PresenceGauge { metrics: metrics.clone(), counted: None };
        let deadline = Deadline::default();
        let state = Connection::default();
        Self { state, device, link, socket: None, leg, gauge, metrics, news, deadline }
    }

    /// Carries out everything that is pending, then sleeps until the next deadline.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        loop {
            while let Some(event) = self.link.poll_event() {
                self.happened(event);
            }
            let Some(output) = self.state.poll_output() else { break };
            self.perform(output, ctx);
        }
        self.transmit(ctx);
        // A link at rest is looked after by the directory, together with all others.
        let due = if self.link.is_at_rest() { None } else { self.link.poll_timeout() };
        self.deadline.arm(ctx, due, |connection, ctx| {
            connection.deadline.passed();
            connection.link.handle_timeout(now());
            connection.drive(ctx);
        });
    }

    /// What the link says, as an input.
    fn happened(&mut self, event: Event) {
        let input = match event {
            Event::Link(LinkOutput::Unstable) => Input::Unstable,
            Event::Link(LinkOutput::Steady) => Input::Steady,
            Event::Link(LinkOutput::Close(code)) => Input::Close(code),
            Event::Link(LinkOutput::Lost) => Input::Lost,
            Event::Link(LinkOutput::Rtt(rtt)) => return measured(rtt, &self.metrics, &self.leg),
            Event::Violated(violation) => return self.violated(&violation),
            // Only an agent is told these.
            Event::Opened { .. } | Event::Link(_) => return,
        };
        self.state.handle(input);
    }

    fn perform(&mut self, output: Output, ctx: &mut Context<Self>) {
        match output {
            Output::Publish(presence) => self.publish(presence),
            Output::CloseSocket(code) => {
                self.metrics.link_broken(broken_by(code));
                if let Some(socket) = self.socket.take() {
                    ctx.cancel_future(socket.reading);
                    // A socket whose queue is full closes without a reason, when it is dropped.
                    let _ = socket.outgoing.try_send(Outgoing::Close(code, code.sentence().to_owned()));
                }
                self.tell_link(LinkInput::Disconnected);
            }
            Output::TellDisconnected => {
                self.metrics.link_broken(Break::Closed);
                self.socket = None;
                self.tell_link(LinkInput::Disconnected);
            }
            Output::TellGoAway(come_back_after) => self.tell_link(LinkInput::GoAway { come_back_after }),
            Output::Stop => ctx.stop(),
        }
    }

    fn publish(&mut self, presence: Presence) {
        info!(device = %self.device, presence = presence.label(), "device");
        self.gauge.set(presence);
        self.news.device(&self.device, presence);
        self.leg.send_modify(|leg| {
            leg.presence = presence;
            leg.since = wall();
        });
    }

    fn tell_link(&mut self, input: LinkInput) {
        if let Err(violation) = self.link.handle(now(), input) {
            self.violated(&violation);
        }
    }

    fn violated(&mut self, violation: &Violation) {
        warn!(device = %self.device, code = %violation.code, %violation, "device broke the protocol");
        self.state.handle(Input::Close(violation.code));
    }

    /// Sends frames while the socket has room for them; what has to wait waits in the link, where
    /// a keystroke can still go ahead of it.
    fn transmit(&mut self, ctx: &mut Context<Self>) {
        let Some(socket) = &mut self.socket else { return };
        if !self.link.transmit() && !std::mem::replace(&mut socket.waiting, true) {
            let outgoing = socket.outgoing.clone();
            let room = async move {
                // Given back at once: the next `transmit` takes it.
                drop(outgoing.reserve_owned().await);
            };
            ctx.spawn(room.into_actor(self).map(|(), connection, ctx| {
                if let Some(socket) = &mut connection.socket {
                    socket.waiting = false;
                }
                connection.drive(ctx);
            }));
        }
    }

    /// What the reader of the socket does with a frame from now on: it answers a ping, or gives the frame to the link.
    fn set_reflex(&self, reflex: &Reflex, outgoing: &pipe::Sender<Outgoing>) {
        let (link, outgoing) = (self.link.clone(), outgoing.clone());
        let (metrics, leg) = (self.metrics.clone(), self.leg.clone());
        reflex.set(move |frame| {
            // Not ahead of what the link has given already: the answer to an earlier ping may be in it.
            let answer = if outgoing.is_empty() { link.answer(now(), frame) } else { None };
            let Some(answer) = answer else {
                link.take(now(), frame.to_bytes());
                return Some(Answers::default());
            };
            if let Some(rtt) = answer.rtt {
                measured(rtt, &metrics, &leg);
            }
            Some(answer.frames)
        });
    }

    fn frame(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Binary(frame) => self.tell_link(LinkInput::Frame(frame)),
            Incoming::Text(_) => {
                let what = "a text message on a link";
                self.violated(&Violation { code: Code::PROTOCOL, what });
            }
        }
    }
}

/// The way of frames into a socket.
fn outlet(outgoing: pipe::Sender<Outgoing>) -> Outlet {
    Outlet::new(move |next| {
        loop {
            match outgoing.try_reserve() {
                Ok(room) => match next(now()) {
                    Some(frame) => room.send(Outgoing::Binary(frame)),
                    None => return true,
                },
                // The reader of this socket will hear of its end.
                Err(Refused::Closed(())) => return true,
                Err(Refused::Full(())) => return false,
            }
        }
    })
}

/// A round trip of the link was measured.
fn measured(rtt: Duration, metrics: &Metrics, leg: &watch::Sender<Leg>) {
    metrics.link_rtt(rtt);
    leg.send_modify(|leg| leg.rtt = Some(rtt));
}

/// Why we close a socket that carries a link, for the metrics.
fn broken_by(code: Code) -> Break {
    match code {
        Code::LINK_DEAD => Break::Silent,
        Code::EVICTED => Break::Replaced,
        Code::NOT_ENROLLED | Code::DEVICE_REVOKED => Break::Forgotten,
        Code::GOING_AWAY => Break::Drained,
        Code::INTERNAL => Break::Failed,
        // The link says only what rule was broken.
        _ => Break::Protocol,
    }
}

takes_mail!(DeviceConnection);

impl Actor for DeviceConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(stirrings(self.link.clone()));
    }
}

/// Something for the driver to do, whenever a stream of the link has done something, or its time has come.
fn stirrings(link: LinkHandle) -> impl Stream<Item = Stirred> {
    stream::unfold(link, |link| async move {
        link.stirred().await;
        Some((Stirred, link))
    })
}

struct Stirred;

impl StreamHandler<Stirred> for DeviceConnection {
    fn handle(&mut self, _: Stirred, ctx: &mut Self::Context) {
        self.link.handle_timeout(now());
        self.drive(ctx);
    }
}

/// A socket was greeted and carries the link from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Greeted {
    /// Its number.
    pub epoch: u64,
    /// Whether the link goes on or begins.
    pub attach: Attach,
    /// The welcome, the first message over it.
    pub welcome: Bytes,
    /// Our ends of it.
    pub ends: SocketEnds,
    /// Where it comes from.
    pub peer: SocketAddr,
}

impl Handler<Greeted> for DeviceConnection {
    type Result = ();

    fn handle(&mut self, greeted: Greeted, ctx: &mut Self::Context) {
        let Greeted { epoch, attach, welcome, ends, peer } = greeted;
        self.state.handle(Input::Attached { epoch });
        // Puts away a socket that still stood, so that the link hears of the new one after it.
        self.drive(ctx);
        if !self.state.has_socket() {
            return;
        }
        debug!(device = %self.device, %peer, epoch, ?attach, "device greeted");
        let SocketEnds { incoming, outgoing, reflex, gone: _ } = ends;
        let reading = ctx.add_stream(frames(epoch, incoming));
        self.tell_link(LinkInput::Connected(attach));
        // Before the device hears that it may speak: all that it says goes one way, and nothing is overtaken.
        self.set_reflex(&reflex, &outgoing);
        // A channel that only ever carried the challenge has room, unless the socket is gone.
        let _ = outgoing.try_send(Outgoing::Binary(welcome));
        let (way_out, link) = (outlet(outgoing.clone()), self.link.clone());
        self.socket = Some(Carrier { outgoing, reflex, link, reading, waiting: false });
        // After that: a carrier that this one takes the place of has taken its own with it.
        self.link.set_outlet(Some(way_out));
        // The first ping of all.
        self.link.handle_timeout(now());
        self.drive(ctx);
    }
}

/// What comes over the socket of that epoch; `None` when it is gone.
fn frames(epoch: u64, incoming: pipe::Receiver<Incoming>) -> impl Stream<Item = FromSocket> {
    stream::unfold(Some(incoming), move |incoming| async move {
        let mut incoming = incoming?;
        match incoming.recv().await {
            Some(frame) => Some((FromSocket { epoch, frame: Some(frame) }, Some(incoming))),
            None => Some((FromSocket { epoch, frame: None }, None)),
        }
    })
}

struct FromSocket {
    epoch: u64,
    frame: Option<Incoming>,
}

impl StreamHandler<FromSocket> for DeviceConnection {
    fn handle(&mut self, FromSocket { epoch, frame }: FromSocket, ctx: &mut Self::Context) {
        match frame {
            Some(frame) => self.frame(frame),
            None => self.state.handle(Input::SocketGone { epoch }),
        }
        self.drive(ctx);
    }

    // The end of one socket is not the end of the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

/// The link is to end.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub enum EndLink {
    /// A newer link of the same device has begun.
    Evicted,
    /// The device was forgotten.
    Forgotten,
    /// The device was revoked.
    Revoked,
}

impl Handler<EndLink> for DeviceConnection {
    type Result = ();

    fn handle(&mut self, end: EndLink, ctx: &mut Self::Context) {
        self.state.handle(match end {
            EndLink::Evicted => Input::Evicted,
            EndLink::Forgotten => Input::Forgotten,
            EndLink::Revoked => Input::Revoked,
        });
        self.drive(ctx);
    }
}

/// The broker goes away: say when to come back, then close.
#[derive(Message, Debug, Clone, Copy)]
#[rtype(result = "()")]
pub struct GoAway {
    /// When the device may come back.
    pub come_back_after: Duration,
}

impl Handler<GoAway> for DeviceConnection {
    type Result = ();

    fn handle(&mut self, GoAway { come_back_after }: GoAway, ctx: &mut Self::Context) {
        self.state.handle(Input::GoAway(come_back_after));
        self.drive(ctx);
        self.state.handle(Input::SaidGoodbye);
        self.drive(ctx);
    }
}

/// Fails on purpose, so that a test sees what else fails.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicNow;

#[cfg(test)]
impl Handler<PanicNow> for DeviceConnection {
    type Result = ();

    fn handle(&mut self, _: PanicNow, _: &mut Self::Context) {
        panic!("told to");
    }
}

/// Counts this device in `devices{state}`, in one state at a time, until it is dropped.
struct PresenceGauge {
    metrics: Metrics,
    counted: Option<Presence>,
}

impl PresenceGauge {
    fn set(&mut self, presence: Presence) {
        self.clear();
        if presence != Presence::Offline {
            self.metrics.devices(presence, 1);
            self.counted = Some(presence);
        }
    }

    fn clear(&mut self) {
        if let Some(presence) = self.counted.take() {
            self.metrics.devices(presence, -1);
        }
    }
}

impl Drop for PresenceGauge {
    fn drop(&mut self) {
        self.clear();
    }
}
