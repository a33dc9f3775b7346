//! Users: the browsers' terminal sockets.
//!
//! [`Users`] is the handle, and the only way in. Behind it: `tickets` knows who may attach for the
//! first time and `resume` who may come back, `actor` serves one socket, `shortcut` leads keys
//! past it, `bounds` holds what its person may do there, `state` holds its decisions. A connection that failed is not started
//! anew from here: its socket is gone with it, and the browser comes back by itself, to a session
//! that noticed nothing but a viewer who left.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_rt::Arbiter;
use moorline_wire::SessionId;
use tracing::error;

use crate::actor::{Birth, Kind, Registry, spawn};
use crate::audit::Auditor;
use crate::clock::now;
use crate::config::Config;
use crate::identity::Pass;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::session::Sessions;
use crate::socket::SocketEnds;
use crate::supervise::Cause;
use crate::token::Token;
use crate::trace::Place;
use crate::warden::{Standing, Warden};
use actor::UserConnection;
use resume::{ProcessId, Resumes};
use tickets::{Grant, Tickets};

mod actor;
mod bounds;
mod resume;
mod shortcut;
mod state;
#[cfg(test)]
mod tests;
mod tickets;

pub use resume::ResumeKey;

/// What the browser terminals need.
#[derive(Clone)]
pub struct UserParts {
    /// The settings.
    pub config: Arc<Config>,
    /// What is counted.
    pub metrics: Metrics,
    /// The way to the sessions.
    pub sessions: Sessions,
    /// Knows whether they may still be here.
    pub warden: Warden,
    /// Where it is kept who ended a session from its terminal.
    pub audit: Auditor,
    /// Where actors are listed.
    pub registry: Registry,
    /// What resume tokens are signed with.
    pub resume_key: ResumeKey,
}

/// Who opened a terminal socket.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who is logged in.
    pub person: String,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// From where, as the audit has it: behind a proxy, not the proxy.
    pub address: IpAddr,
    /// The request that became the socket.
    pub request_id: String,
    /// With what they came; the socket lasts no longer than that is worth something.
    pub pass: Pass,
    /// What they may do in the terminal.
    pub standing: Standing,
    /// Where the set-up of its session is traced.
    pub traced: Option<Place>,
}

/// The browser terminals: the only way to them. Cheap to clone.
#[derive(Clone)]
pub struct Users {
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    parts: UserParts,
    gate: Mutex<Gate>,
}

/// Who may attach.
struct Gate {
    tickets: Tickets,
    resumes: Resumes,
}

impl Shared {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// Nothing runs until somebody comes.
    pub fn start(parts: UserParts) -> Result<Self, Problem> {
        let (timing, limits) = (&parts.config.timing, &parts.config.limits);
        // A ticket for each socket that there may be, and a chain of resume tokens for each viewer
        // that a busy session comes to have; more are old ones, whose owners get new tickets.
        let tickets = Tickets::new(timing.ticket, limits.sockets);
        let (key, viewers) = (parts.resume_key.clone(), limits.sessions.saturating_mul(4));
        let resumes = Resumes::new(key, ProcessId::fresh()?, timing.resume_for, viewers);
        let gate = Mutex::new(Gate { tickets, resumes });
        Ok(Self { shared: Arc::new(Shared { parts, gate }) })
    }

    /// A ticket for one attach to that session by that person.
    pub fn ticket(&self, session: &SessionId, person: &str) -> Result<String, Problem> {
        let ticket = Token::fresh()?;
        let grant = Grant { session: session.clone(), person: person.to_owned() };
        self.shared.gate().tickets.issue(now(), ticket.hashed(), grant);
        Ok(ticket.reveal().to_owned())
    }

    /// Serves a terminal socket, on the current arbiter.
    pub fn accept(&self, ends: SocketEnds, session: SessionId, visitor: Visitor) {
        let parts = &self.shared.parts;
        let birth = Birth {
            kind: Kind::UserConnection,
            id: visitor.request_id.clone(),
            parent: None,
            traced: visitor.traced,
            mailbox: parts.config.limits.mailbox,
        };
        let shared = self.shared.clone();
        let make = move |_| UserConnection::new(shared, ends, session, visitor);
        let report = move |cause: Cause| {
            if cause == Cause::Panicked {
                error!("a terminal's connection failed; its browser comes back to its session");
            }
        };
        spawn(&parts.registry, &Arbiter::current(), birth, make, report);
    }
}
