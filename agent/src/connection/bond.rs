//! What lasts while WebSockets come and go: the link, its resume token, and the tasks of its streams.

use std::future::Future;
use std::time::Duration;

use moorline_link_io::{Event, LinkHandle};
use moorline_wire::Code;
use moorline_wire::link::greeting::Welcome;
use moorline_wire::link::{Attach, Class, Config as LinkConfig, Input, Output, Role, Violation};
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::clock;

/// Windows as DESIGN section 4 has them: a terminal needs no more, and a bulk stream learns.
const WINDOW_INTERACTIVE: u32 = 256 * 1024;
const WINDOW_BULK_MAX: u32 = 2 * 1024 * 1024;

/// The link and what belongs to it.
pub struct Bond {
    /// The machine.
    pub link: LinkHandle,
    /// Its streams. Dropped, they are cancelled.
    pub streams: JoinSet<()>,
    /// Shows the broker that we have this link.
    pub resume: String,
    /// Over how long all of the broker's devices are to spread when they come back together.
    spread: Duration,
    ping: Duration,
    lost: bool,
}

impl Bond {
    /// A new link, as the broker's welcome wants it.
    pub fn new(welcome: &Welcome, streams_max: usize) -> Self {
        let config = link_config(welcome, streams_max);
        let ping = config.ping_every;
        let link = LinkHandle::new(Role::Agent, config, clock::now());
        let resume = welcome.resume.clone();
        Self { link, streams: JoinSet::new(), resume, spread: Duration::ZERO, ping, lost: false }
    }

    /// Whether the link is beyond resuming.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// How often a standing link has something to do, at least.
    pub fn turns_within(&self) -> Duration {
        self.ping
    }

    /// A WebSocket stands.
    pub fn connected(&mut self, attach: Attach, welcome: &Welcome) -> Result<(), Violation> {
        self.resume.clone_from(&welcome.resume);
        self.spread = Duration::from_millis(welcome.spread_ms.into());
        self.link.handle(clock::now(), Input::Connected(attach))
    }

    /// Over how long this device may take to come back, for all that people notice: not at all, while they use it.
    pub fn may_take(&self) -> Duration {
        if self.link.streams() > 0 { Duration::ZERO } else { self.spread }
    }

    /// The WebSocket is gone.
    pub fn disconnected(&mut self) {
        if let Err(violation) = self.link.handle(clock::now(), Input::Disconnected) {
            tracing::error!(what = violation.what, "the link does not take its disconnection");
            self.lost = true;
        }
    }

    /// Acts upon an event; gives back what is the WebSocket's business.
    pub fn take(&mut self, event: Event, agent: &Agent) -> Option<Output> {
        match event {
            Event::Opened { stream, target, class } => {
                tracing::debug!(stream = %stream.id(), ?target, bulk = class == Class::Bulk, "the broker opened a stream");
                self.streams.spawn(agent.serve(stream, target));
                None
            }
            Event::Violated(violation) => Some(Output::Close(violation.code)),
            Event::Link(output) => {
                match &output {
                    Output::Unstable => tracing::info!("nothing was heard from the broker for a while"),
                    Output::Steady => tracing::info!("the broker is heard again"),
                    Output::Rtt(rtt) => agent.metrics.rtt(*rtt),
                    Output::GoingAway { come_back_after } => {
                        tracing::info!(?come_back_after, "the broker goes away");
                    }
                    Output::Lost => {
                        tracing::info!("the link could not be resumed in time; its sessions are over");
                        self.lost = true;
                    }
                    _ => {}
                }
                Some(output)
            }
        }
    }

    /// Keeps the link's time while there is no WebSocket, until `io` is done.
    pub async fn while_away<T>(&mut self, agent: &Agent, io: impl Future<Output = T>) -> T {
        tokio::pin!(io);
        loop {
            while let Some(event) = self.link.poll_event() {
                self.take(event, agent);
            }
            if self.lost {
                self.streams.abort_all();
            }
            tokio::select! {
                done = &mut io => return done,
                () = self.link.stirred() => {}
                () = clock::until(self.link.poll_timeout()) => self.link.handle_timeout(clock::now()),
                () = reap(&mut self.streams) => {}
            }
        }
    }
}

/// Waits for the end of a stream's task.
pub async fn reap(streams: &mut JoinSet<()>) {
    match streams.join_next().await {
        Some(Err(err)) if err.is_panic() => tracing::error!(%err, "the task of a stream panicked"),
        Some(_) => {}
        None => std::future::pending().await,
    }
}

fn link_config(welcome: &Welcome, streams_max: usize) -> LinkConfig {
    // The broker decides, within what keeps the link alive on any network.
    let duration = |ms: u32, least: u32, most: u32| Duration::from_millis(ms.clamp(least, most).into());
    let dead_after = duration(welcome.dead_ms, 1_000, 120_000);
    LinkConfig {
        window_interactive: WINDOW_INTERACTIVE,
        window_bulk_max: WINDOW_BULK_MAX,
        streams_max,
        ping_every: duration(welcome.ping_ms, 100, 60_000),
        unstable_after: dead_after.mul_f64(2.0 / 3.0),
        dead_after,
        resume_within: duration(welcome.resume_within_ms, 0, 3_600_000),
    }
}

/// Codes after which only a person can help.
pub fn needs_a_person(code: Code) -> bool {
    [
        Code::NOT_ENROLLED,
        Code::BAD_SIGNATURE,
        Code::EVICTED,
        Code::BROKER_UNTRUSTED,
        Code::VERSION,
        Code::POLICY,
        Code::DEVICE_REVOKED,
        Code::INSTALL_KEY_OVER,
        Code::KEY_REPLACED,
    ]
    .contains(&code)
}
