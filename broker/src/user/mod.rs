//! stub
use std::net::SocketAddr;
use std::sync::Arc;

use moorline_wire::SessionId;

use crate::actor::Registry;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::session::Sessions;
use crate::socket::SocketEnds;
use crate::store::Store;

/// What the browser terminals need.
#[derive(Clone)]
pub struct UserParts {
    /// The settings.
    pub config: Arc<Config>,
    /// Where sessions that ended earlier are known.
    pub store: Store,
    /// What is counted.
    pub metrics: Metrics,
    /// The way to the sessions.
    pub sessions: Sessions,
    /// Where actors are listed.
    pub registry: Registry,
}

/// Who opened a terminal socket.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who is logged in.
    pub person: String,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// The request that became the socket.
    pub request_id: String,
}

/// The browser terminals: the only way to them.
#[derive(Clone)]
pub struct Users {
    parts: UserParts,
}

impl Users {
    /// Nothing runs until somebody comes.
    pub fn start(parts: UserParts) -> Self {
        Self { parts }
    }
    /// A ticket for one attach to that session by that person.
    pub fn ticket(&self, session: &SessionId, person: &str) -> Result<String, Problem> {
        let _ = (session, person);
        Err(Problem::new(moorline_wire::Code::INTERNAL))
    }
    /// Serves a terminal socket, on the current arbiter.
    pub fn accept(&self, ends: SocketEnds, session: SessionId, visitor: Visitor) {
        let _ = (ends, session, visitor);
    }
}
