//! `DeviceDirectory`: the parent of all device connections, and the map of who is there.
//!
//! A connection that panicked is not started anew from here: its socket is gone with it, and the
//! agent comes back by itself. A device that makes its connection fail again and again is kept
//! out until the failures are a while ago.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use actix_rt::ArbiterHandle;
use moorline_link_io::LinkHandle;
use moorline_wire::link::greeting::Message as Said;
use moorline_wire::link::{Attach, Class, Config as LinkConfig, OpenError, Role, Target};
use moorline_wire::{Code, DeviceId};
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use super::actor::{DeviceConnection, EndLink, GoAway, Greeted};
use super::arrivals::Arrivals;
use super::greeting::{Greeted as Proved, welcome};
use super::state::{Admission, Presence, Roster};
use super::{DeviceParts, DeviceState, Leg, Opened};
use crate::actor::{Birth, Depth, Down, Kind, Mailbox, spawn, takes_mail};
use crate::clock::{now, wall};
use crate::metrics::Break;
use crate::problem::Problem;
use crate::socket::SocketEnds;
use crate::supervise::{Cause, Policy, Restarts};
use crate::token::Token;

/// When everybody comes back: so many a second, so that a new process is not run over, and whoever looks at it or
/// types meanwhile feels nothing. A core greets more than twice as many.
const COME_BACK_PER_SECOND: u32 = 1000;

/// A fleet may be so large that this is too short for it; those who come too early are asked to wait.
const SPREAD_MAX: Duration = Duration::from_secs(15);

/// How often it is asked which links at rest are to be looked at: whether a device is still there need not be known by
/// the millisecond.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Twice the SSH window above it: russh stalls when its window is larger than what the stream under
/// it can buffer.
const WINDOW_INTERACTIVE: u32 = 256 * 1024;

/// Enough for 100 Mbit/s over 160 ms.
const WINDOW_BULK_MAX: u32 = 2 * 1024 * 1024;

/// The parent of all device connections.
pub struct DeviceDirectory {
    parts: DeviceParts,
    /// Counts its own mail.
    mail: Arc<Depth>,
    roster: Roster,
    links: HashMap<DeviceId, Entry>,
    arrivals: Arrivals<ArbiterHandle>,
    failures: HashMap<DeviceId, Restarts>,
    policy: Policy,
    /// Whose link was ended for good, and when: a greeting that began before knows nothing of it.
    barred: HashMap<DeviceId, Instant>,
    /// So many devices there were, or are, at least.
    fleet: usize,
}

struct Entry {
    connection: Mailbox<DeviceConnection>,
    link: LinkHandle,
    leg: watch::Receiver<Leg>,
    place: ArbiterHandle,
    clock_ahead: i64,
    keeper: Option<String>,
    /// Which handover of the CA it has heard.
    heard: u64,
    /// When its link is to be looked at.
    look_at: Instant,
}

impl Entry {
    /// Whether a stream can be opened: a link that has ended is here for a moment yet.
    fn has_link(&self) -> bool {
        self.leg.borrow().presence != Presence::Offline
    }
}

impl DeviceDirectory {
    /// Nobody is there yet.
    pub fn new(parts: DeviceParts, mail: Arc<Depth>) -> Self {
        let (timing, limits) = (&parts.config.timing, &parts.config.limits);
        let policy = Policy {
            restarts: limits.restarts,
            window: timing.restart_window,
            backoff: timing.restart_backoff,
        };
        // Later than any epoch of an earlier process, as long as the clock does not run back.
        let floor = u64::try_from(wall().as_millisecond()).unwrap_or(0);
        let (links, failures, barred) = (HashMap::new(), HashMap::new(), HashMap::new());
        // Each session waits for its device at most once at a time.
        let arrivals = Arrivals::new(limits.sessions);
        let fleet = parts.known;
        Self { parts, mail, roster: Roster::new(floor), links, arrivals, failures, policy, barred, fleet }
    }

    fn link_config(&self) -> LinkConfig {
        let (timing, limits) = (&self.parts.config.timing, &self.parts.config.limits);
        LinkConfig {
            window_interactive: WINDOW_INTERACTIVE,
            window_bulk_max: WINDOW_BULK_MAX,
            streams_max: limits.streams_per_link,
            ping_every: timing.link_ping,
            unstable_after: timing.link_unstable,
            dead_after: timing.link_dead,
            resume_within: timing.link_resume_within,
        }
    }

    /// Over how long all devices are to spread when they come back together.
    fn spread(&mut self) -> Duration {
        self.fleet = self.fleet.max(self.links.len());
        let fleet = u32::try_from(self.fleet).unwrap_or(u32::MAX);
        (Duration::from_secs(1) * fleet / COME_BACK_PER_SECOND).min(SPREAD_MAX)
    }

    /// Starts a connection for a new link.
    fn begin(&mut self, born: u64, arrived: &Arrived, me: Mailbox<Self>) -> Mailbox<DeviceConnection> {
        let device = arrived.proved.device.clone();
        let link = LinkHandle::new(Role::Broker, self.link_config(), now());
        let (leg_sender, leg) = watch::channel(Leg { presence: Presence::Away, since: wall(), rtt: None });
        let birth = Birth {
            kind: Kind::DeviceConnection,
            id: device.to_string(),
            parent: Some(Kind::DeviceDirectory),
            traced: None,
            mailbox: self.parts.config.limits.mailbox,
        };
        let make = {
            let (device, link, parts) = (device.clone(), link.clone(), self.parts.clone());
            move |_| DeviceConnection::new(device, link, leg_sender, &parts)
        };
        let id = (device.clone(), born);
        let report = move |cause| me.down(Down { id, cause });
        let connection = spawn(&self.parts.registry, &arrived.place, birth, make, report);
        let entry = Entry {
            connection: connection.clone(),
            link,
            leg,
            place: arrived.place.clone(),
            clock_ahead: arrived.proved.clock_ahead,
            keeper: arrived.proved.keeper.clone(),
            heard: arrived.proved.heard,
            look_at: now(),
        };
        self.links.insert(device, entry);
        connection
    }

    fn admit(&mut self, arrived: Arrived, me: Mailbox<Self>) -> Result<(), (Box<Arrived>, Problem)> {
        let device = arrived.proved.device.clone();
        if self.failures.get_mut(&device).is_some_and(|failures| failures.worn_out(now())) {
            let text = "The connection of this device failed again and again. It may come back in a minute.";
            return Err((Box::new(arrived), Problem::new(Code::GAVE_UP).saying(text)));
        }
        if self.barred.get(&device).is_some_and(|since| arrived.proved.began <= *since) {
            // It comes back, and is told then what it is now.
            return Err((Box::new(arrived), Problem::new(Code::OVERLOADED)));
        }
        let next = match Token::fresh() {
            Ok(next) => next,
            Err(problem) => return Err((Box::new(arrived), problem)),
        };
        let (epoch, attach, connection) =
            match self.roster.admit(&device, arrived.proved.resume, next.hashed()) {
                Admission::Resume { epoch, .. } if self.links.contains_key(&device) => {
                    self.parts.metrics.link_resumed();
                    (epoch, Attach::Resumed, self.links[&device].connection.clone())
                }
                Admission::Resume { epoch, .. } | Admission::Fresh { epoch, .. } => {
                    if let Some(older) = self.links.remove(&device) {
                        end(&older, &device, EndLink::Evicted);
                    }
                    self.parts.metrics.link_opened();
                    (epoch, Attach::Fresh, self.begin(epoch, &arrived, me))
                }
            };
        if let Some(entry) = self.links.get_mut(&device) {
            entry.clock_ahead = arrived.proved.clock_ahead;
            entry.keeper.clone_from(&arrived.proved.keeper);
            entry.heard = arrived.proved.heard;
            entry.look_at = now();
            if entry.has_link() {
                self.arrivals.arrived(&device, &entry.place);
            }
        }
        let resumed = attach == Attach::Resumed;
        let spread = self.spread();
        let welcome = welcome(&self.parts, epoch, next.reveal(), resumed, &arrived.proved, spread);
        let welcome = Said::Welcome(welcome).encode();
        let greeted = Greeted { epoch, attach, welcome, ends: arrived.ends, peer: arrived.peer };
        if connection.try_send(greeted).is_err() {
            // The socket closes with what is dropped here; the agent comes back.
            warn!(%device, "connection does not take a new socket");
        }
        Ok(())
    }
}

fn end(entry: &Entry, device: &DeviceId, why: EndLink) {
    // One that does not take it has ended, or will not: its watchers hear of it either way.
    if entry.connection.try_send(why).is_err() {
        warn!(%device, ?why, "connection does not take its end");
    }
}

takes_mail!(DeviceDirectory);

impl Actor for DeviceDirectory {
    type Context = Context<Self>;

    /// Ten thousand timers that are set anew with each ping would take more time than all answers together.
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |directory, _| {
            let now = now();
            for entry in directory.links.values_mut().filter(|entry| entry.look_at <= now) {
                entry.look_at = entry.link.look(now).unwrap_or(now);
            }
        });
    }
}

/// An agent was greeted.
#[derive(Message)]
#[rtype(result = "Result<(), (Box<Arrived>, Problem)>")]
pub struct Arrived {
    /// Who it is.
    pub proved: Proved,
    /// Our ends of its socket.
    pub ends: SocketEnds,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The arbiter of its socket.
    pub place: ArbiterHandle,
}

impl Handler<Arrived> for DeviceDirectory {
    type Result = MessageResult<Arrived>;

    fn handle(&mut self, arrived: Arrived, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.admit(arrived, Mailbox::mine(ctx, &self.mail)))
    }
}

/// A stream to the sshd of a device is wanted.
#[derive(Message)]
#[rtype(result = "Result<Opened, Problem>")]
pub struct Open(pub DeviceId, pub Class);

impl Handler<Open> for DeviceDirectory {
    type Result = Result<Opened, Problem>;

    fn handle(&mut self, Open(device, class): Open, _: &mut Self::Context) -> Self::Result {
        let entry = self.links.get(&device).ok_or_else(|| Problem::new(Code::DEVICE_OFFLINE))?;
        let stream = entry.link.open(Target::Sshd, class).map_err(|err| match err {
            OpenError::TooMany => Problem::new(Code::LIMIT)
                .saying("This device has as many sessions as its link carries. End one of them first.")
                .because(err),
            OpenError::Lost => Problem::new(Code::DEVICE_OFFLINE).because(err),
        })?;
        Ok(Opened {
            stream,
            leg: entry.leg.clone(),
            place: entry.place.clone(),
            clock: wall().as_second().saturating_add(entry.clock_ahead),
            keeper: entry.keeper.clone(),
            heard: entry.heard,
        })
    }
}

/// Somebody waits until that device has a link, and is told where it lives. Closed: too many wait.
#[derive(Message)]
#[rtype(result = "oneshot::Receiver<ArbiterHandle>")]
pub struct Arrival(pub DeviceId);

impl Handler<Arrival> for DeviceDirectory {
    type Result = MessageResult<Arrival>;

    fn handle(&mut self, Arrival(device): Arrival, _: &mut Self::Context) -> Self::Result {
        let arrival = self.arrivals.wait_for(device.clone());
        if let Some(entry) = self.links.get(&device).filter(|entry| entry.has_link()) {
            self.arrivals.arrived(&device, &entry.place);
        }
        MessageResult(arrival)
    }
}

/// How every device that has a link is.
#[derive(Message)]
#[rtype(result = "HashMap<DeviceId, DeviceState>")]
pub struct States;

impl Handler<States> for DeviceDirectory {
    type Result = MessageResult<States>;

    fn handle(&mut self, _: States, _: &mut Self::Context) -> Self::Result {
        let state = |(device, entry): (&DeviceId, &Entry)| (device.clone(), *entry.leg.borrow());
        MessageResult(self.links.iter().map(state).collect())
    }
}

/// How one device is; `None`: it has no link.
#[derive(Message)]
#[rtype(result = "Option<DeviceState>")]
pub struct State(pub DeviceId);

impl Handler<State> for DeviceDirectory {
    type Result = Option<DeviceState>;

    fn handle(&mut self, State(device): State, _: &mut Self::Context) -> Self::Result {
        self.links.get(&device).map(|entry| *entry.leg.borrow())
    }
}

/// A device was forgotten or revoked: its link ends.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub DeviceId, pub EndLink);

impl Handler<Forget> for DeviceDirectory {
    type Result = ();

    fn handle(&mut self, Forget(device, why): Forget, _: &mut Self::Context) {
        let (now, greeting) = (now(), self.parts.config.timing.greeting);
        // Whoever began to greet longer ago has been refused for being late.
        self.barred.retain(|_, since| now.saturating_duration_since(*since) <= greeting);
        self.barred.insert(device.clone(), now);
        if let Some(entry) = self.links.get(&device) {
            end(entry, &device, why);
        }
    }
}

/// A device is to greet anew, at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GreetAnew(pub DeviceId);

impl Handler<GreetAnew> for DeviceDirectory {
    type Result = ();

    fn handle(&mut self, GreetAnew(device): GreetAnew, _: &mut Self::Context) {
        let Some(entry) = self.links.get(&device) else { return };
        if entry.connection.try_send(GoAway { come_back_after: Duration::ZERO }).is_err() {
            warn!(%device, "connection does not take that its device is to greet anew");
        }
    }
}

/// The broker goes away.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for DeviceDirectory {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        // Those first for whom somebody waits.
        let mut links: Vec<_> = self.links.iter().collect();
        links.sort_by_key(|(_, entry)| entry.link.streams() == 0);
        for (nth, (device, entry)) in (0u32..).zip(links) {
            let come_back_after =
                Duration::from_secs(1) + Duration::from_secs(nth.into()) / COME_BACK_PER_SECOND;
            if entry.connection.try_send(GoAway { come_back_after }).is_err() {
                warn!(%device, "connection does not take the farewell");
            }
        }
    }
}

impl Handler<Down<(DeviceId, u64)>> for DeviceDirectory {
    type Result = ();

    fn handle(&mut self, Down { id: (device, born), cause }: Down<(DeviceId, u64)>, _: &mut Self::Context) {
        if self.roster.ended(&device, born) {
            self.links.remove(&device);
        }
        // Cancelled: its arbiter has stopped, because the broker stops.
        if cause != Cause::Panicked {
            return;
        }
        self.parts.metrics.link_broken(Break::Failed);
        let failures = self.failures.entry(device.clone()).or_insert_with(|| Restarts::new(self.policy));
        let verdict = failures.failed(now());
        let registry = &self.parts.registry;
        match failures.worn_out(now()) {
            true => registry.gave_up(Kind::DeviceConnection, device.as_str()),
            false => registry.restarting(Kind::DeviceConnection, device.as_str()),
        }
        registry.news().device(&device, Presence::Offline);
        error!(%device, cause = cause.label(), ?verdict, "device connection failed, its sessions end");
        // What is too long ago to count is not kept.
        let now = now();
        self.failures.retain(|_, failures| {
            failures.worn_out(now);
            failures.count() > 0
        });
    }
}

/// Makes one connection fail, so that a test sees what else fails.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicIn(pub DeviceId);

#[cfg(test)]
impl Handler<PanicIn> for DeviceDirectory {
    type Result = ();

    fn handle(&mut self, PanicIn(device): PanicIn, _: &mut Self::Context) {
        let _ = self.links[&device].connection.try_send(super::actor::PanicNow);
    }
}
