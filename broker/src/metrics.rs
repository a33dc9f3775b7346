//! Every metric of the broker: declared once, told by events.
//!
//! Names begin with `moorline_` and end with their unit. Labels are words of closed lists, never
//! an id, a name or anything else that somebody outside chooses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moorline_wire::Code;
use moorline_wire::term::frame::{Step, ViewerRole};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tokio::runtime::Handle;

/// From 100 µs to 60 s: what one wait of a person or of the store takes.
const SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Which way the bytes of a session went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device to the people.
    Output,
    /// From the people to the device.
    Input,
}

/// How the sessions that were killed had been addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KilledBy {
    /// By their own id.
    Session,
    /// By whose they are.
    User,
    /// By the device they are on.
    Device,
}

/// What somebody showed that proved nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A device's signature or install key.
    Device,
    /// A ticket or resume token of a terminal.
    Terminal,
    /// A name and a password.
    Password,
    /// A name and a password, or an invitation, that was not even looked at: too many before it were wrong.
    Throttled,
    /// The cookie of a login.
    Login,
    /// An API token.
    Token,
    /// An invitation to set a password.
    Invitation,
}

/// Makes the metrics from one list: field, kind, name, help, labels.
macro_rules! metrics {
    ($($field:ident: $kind:ident $name:literal $help:literal [$($label:literal),*];)*) => {
        struct Families { $($field: $kind),* }

        impl Families {
            fn registered_in(registry: &Registry) -> Self {
                $(let $field = <$kind as Family>::made(concat!("moorline_", $name), $help, &[$($label),*]);
                registry.register(Box::new($field.clone())).expect("each name stands once in the list");)*
                Self { $($field),* }
            }
        }
    };
}

metrics! {
    devices: IntGaugeVec "devices" "Connected devices by the state of their link." ["state"];
    links_opened: IntCounter "links_opened_total" "Greetings that led to a new link." [];
    links_resumed: IntCounter "links_resumed_total" "Greetings that went on with a link that was broken." [];
    link_rtt: Histogram "link_rtt_seconds" "Round trips of the links' pings." [];
    sessions: IntGaugeVec "sessions" "Sessions that are not over, by state." ["state"];
    sessions_started: IntCounter "sessions_started_total" "Sessions that were asked for." [];
    sessions_ended: IntCounterVec "sessions_ended_total" "Sessions that are over, by ending." ["ending"];
    session_setup: HistogramVec "session_setup_seconds" "How long each step of a set-up took." ["step"];
    session_gap: Histogram "session_gap_seconds" "How long a break lasted for a person." [];
    session_resumes: IntCounterVec "session_resumes_total" "Attaches that went on where they were, by leg." ["leg"];
    session_bytes: IntCounterVec "session_bytes_total" "Bytes of terminals, by direction." ["direction"];
    viewers: IntGaugeVec "viewers" "Attached browsers by role." ["role"];
    actors: IntGaugeVec "actors" "Supervised actors that live." ["kind"];
    tasks: IntGauge "tasks" "Tasks of connections, SSH and the store that live, besides those of actors." [];
    actor_restarts: IntCounterVec "actor_restarts_total" "Restarts of actors by what ended the one before." ["kind", "cause"];
    timeouts: IntCounterVec "timeouts_total" "Waits that reached their limit." ["what"];
    killed: IntCounterVec "killed_total" "Sessions that a person ended, by how they were addressed." ["by"];
    auth_failures: IntCounterVec "auth_failures_total" "Refused proofs of who somebody is." ["kind"];
    refusals: IntCounterVec "refusals_total" "Requests and greetings that were refused, by code." ["code"];
    store: HistogramVec "store_seconds" "How long each operation of the store took." ["op"];
    http_request: HistogramVec "http_request_seconds" "How long requests took, by route and status." ["route", "status"];
    draining: IntGauge "draining" "1 while the broker is stopping." [];
}

/// A kind of metric that can be made from its line in the list.
trait Family: Sized {
    fn made(name: &str, help: &str, labels: &[&str]) -> Self;
}

impl Family for IntCounter {
    fn made(name: &str, help: &str, _: &[&str]) -> Self {
        Self::new(name, help).expect("names in the list are valid")
    }
}

impl Family for IntGauge {
    fn made(name: &str, help: &str, _: &[&str]) -> Self {
        Self::new(name, help).expect("names in the list are valid")
    }
}

impl Family for IntCounterVec {
    fn made(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect("names in the list are valid")
    }
}

impl Family for IntGaugeVec {
    fn made(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(Opts::new(name, help), labels).expect("names in the list are valid")
    }
}

impl Family for Histogram {
    fn made(name: &str, help: &str, _: &[&str]) -> Self {
        Self::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))
            .expect("names in the list are valid")
    }
}

impl Family for HistogramVec {
    fn made(name: &str, help: &str, labels: &[&str]) -> Self {
        Self::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
            .expect("names in the list are valid")
    }
}

/// What is counted. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    families: Arc<Families>,
    registry: Registry,
    /// Whose tasks are counted.
    runtimes: Arc<Mutex<Vec<Handle>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, so that tests do not share counts.
    pub fn new() -> Self {
        let registry = Registry::new();
        let families = Arc::new(Families::registered_in(&registry));
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect("nothing else is named process_");
        Self { families, registry, runtimes: Arc::default() }
    }

    /// Counts the tasks of the current thread's runtime from now on.
    pub fn count_tasks_here(&self) {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).push(Handle::current());
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> Vec<u8> {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tasks: usize = runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum();
        self.families.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        // Writing into memory fails only for a family without samples, which is then left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// A greeting led to a new link.
    pub fn link_opened(&self) {
        self.families.links_opened.inc();
    }

    /// A broken link goes on.
    pub fn link_resumed(&self) {
        self.families.links_resumed.inc();
    }

    /// A ping of a link came back.
    pub fn link_rtt(&self, rtt: Duration) {
        self.families.link_rtt.observe(rtt.as_secs_f64());
    }

    /// A device came into (`1`) or left (`-1`) this state.
    pub fn devices(&self, state: &'static str, change: i64) {
        self.families.devices.with_label_values(&[state]).add(change);
    }

    /// A session was asked for.
    pub fn session_started(&self) {
        self.families.sessions_started.inc();
    }

    /// A session is over.
    pub fn session_ended(&self, ending: Code) {
        self.families.sessions_ended.with_label_values(&[ending.name()]).inc();
    }

    /// A session came into (`1`) or left (`-1`) this state.
    pub fn sessions(&self, state: &'static str, change: i64) {
        self.families.sessions.with_label_values(&[state]).add(change);
    }

    /// A step of a set-up ended.
    pub fn setup_step(&self, step: Step, took: Duration) {
        let step = match step {
            Step::Broker => "broker",
            Step::Device => "device",
            Step::HostKey => "host_key",
            Step::Login => "login",
            Step::Shell => "shell",
        };
        self.families.session_setup.with_label_values(&[step]).observe(took.as_secs_f64());
    }

    /// A person could see and type again after that long.
    pub fn gap(&self, lasted: Duration) {
        self.families.session_gap.observe(lasted.as_secs_f64());
    }

    /// A session went on where it was, over this leg: `browser` or `device`.
    pub fn session_resumed(&self, leg: &'static str) {
        self.families.session_resumes.with_label_values(&[leg]).inc();
    }

    /// Bytes of a terminal went by.
    pub fn bytes(&self, direction: Direction, count: usize) {
        let direction = match direction {
            Direction::Output => "output",
            Direction::Input => "input",
        };
        self.families.session_bytes.with_label_values(&[direction]).inc_by(count as u64);
    }

    /// A browser was attached (`1`) or left (`-1`).
    pub fn viewers(&self, role: ViewerRole, change: i64) {
        let role = match role {
            ViewerRole::Driver => "driver",
            ViewerRole::Watcher => "watcher",
        };
        self.families.viewers.with_label_values(&[role]).add(change);
    }

    /// An actor of that kind was started (`1`) or has ended (`-1`).
    pub fn actor(&self, kind: &'static str, change: i64) {
        self.families.actors.with_label_values(&[kind]).add(change);
    }

    /// An actor was started anew because of `cause`.
    pub fn restart(&self, kind: &'static str, cause: &'static str) {
        self.families.actor_restarts.with_label_values(&[kind, cause]).inc();
    }

    /// A wait reached its limit.
    pub fn timeout(&self, what: &'static str) {
        self.families.timeouts.with_label_values(&[what]).inc();
    }

    /// A person ended a session.
    pub fn killed(&self, by: KilledBy) {
        let by = match by {
            KilledBy::Session => "session",
            KilledBy::User => "user",
            KilledBy::Device => "device",
        };
        self.families.killed.with_label_values(&[by]).inc();
    }

    /// Somebody could not prove who they are.
    pub fn auth_failure(&self, proof: Proof) {
        let kind = match proof {
            Proof::Device => "device",
            Proof::Terminal => "terminal",
            Proof::Password => "password",
            Proof::Throttled => "throttled",
            Proof::Login => "login",
            Proof::Token => "token",
            Proof::Invitation => "invitation",
        };
        self.families.auth_failures.with_label_values(&[kind]).inc();
    }

    /// A request or a greeting was refused.
    pub fn refused(&self, code: Code) {
        self.families.refusals.with_label_values(&[code.name()]).inc();
    }

    /// An operation of the store ended.
    pub fn stored(&self, op: &'static str, took: Duration) {
        self.families.store.with_label_values(&[op]).observe(took.as_secs_f64());
    }

    /// A request was answered. The route is a pattern of the route table, never a path.
    pub fn http_request(&self, route: &str, status: u16, took: Duration) {
        let status = status.to_string();
        self.families.http_request.with_label_values(&[route, &status]).observe(took.as_secs_f64());
    }

    /// The broker is stopping.
    pub fn draining(&self) {
        self.families.draining.set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_stands_in_the_text() {
        let metrics = Metrics::new();
        metrics.session_ended(Code::KILLED);
        metrics.bytes(Direction::Output, 42);
        metrics.setup_step(Step::HostKey, Duration::from_millis(3));
        let text = String::from_utf8(metrics.text()).unwrap();
        for line in [
            "moorline_sessions_ended_total{ending=\"killed\"} 1",
            "moorline_session_bytes_total{direction=\"output\"} 42",
            "moorline_session_setup_seconds_count{step=\"host_key\"} 1",
            "process_open_fds",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
