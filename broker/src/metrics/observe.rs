//! What happened, in the words of whoever tells it; which metric that is stands here alone.

use std::time::Duration;

use moorline_wire::Code;
use moorline_wire::term::frame::{Step, ViewerRole};

use super::{Break, Direction, KilledBy, Left, Leg, Metrics, Proof, Wait};
use crate::actor::Kind;
use crate::device::Presence;
use crate::session::SessionState;
use crate::supervise::Cause;

/// Every step of a set-up, in their order.
pub(super) const STEPS: [Step; 5] = [Step::Broker, Step::Device, Step::HostKey, Step::Login, Step::Shell];

/// Why a session can be over. Another reason would be counted, too, and appear with its first count.
const ENDINGS: [Code; 16] = [
    Code::EXITED,
    Code::KILLED,
    Code::IDLE_LIMIT,
    Code::MAX_DURATION,
    Code::DEVICE_LOST,
    Code::HOST_KEY_CHANGED,
    Code::DEVICE_REFUSED,
    Code::SETUP_TIMEOUT,
    Code::SHELL_REFUSED,
    Code::SSHD_UNREACHABLE,
    Code::SSH_FAILED,
    Code::GONE,
    Code::GOING_AWAY,
    Code::GAVE_UP,
    Code::PROTOCOL,
    Code::INTERNAL,
];

/// In which step a set-up is known to fail, and how. Another pair would be counted, too.
const FAILURES: [(Step, Code); 10] = [
    (Step::Broker, Code::STORE_FAILED),
    (Step::Device, Code::DEVICE_LOST),
    (Step::Device, Code::SSHD_UNREACHABLE),
    (Step::Device, Code::SETUP_TIMEOUT),
    (Step::HostKey, Code::HOST_KEY_CHANGED),
    (Step::HostKey, Code::SSH_FAILED),
    (Step::Login, Code::DEVICE_REFUSED),
    (Step::Login, Code::SETUP_TIMEOUT),
    (Step::Shell, Code::SHELL_REFUSED),
    (Step::Shell, Code::SETUP_TIMEOUT),
];

/// Every way in which a device is counted.
const PRESENT: [Presence; 3] = [Presence::Online, Presence::Unstable, Presence::Away];

/// The step as a metric label.
pub(super) fn step_label(step: Step) -> &'static str {
    match step {
        Step::Broker => "broker",
        Step::Device => "device",
        Step::HostKey => "host_key",
        Step::Login => "login",
        Step::Shell => "shell",
    }
}

/// Devices and their links.
impl Metrics {
    /// A device came into (`1`) or left (`-1`) this state.
    pub fn devices(&self, state: Presence, change: i64) {
        self.families.devices.with_label_values(&[state.label()]).add(change);
    }

    /// A greeting led to a new link.
    pub fn link_opened(&self) {
        self.families.links_opened.inc();
    }

    /// A broken link goes on.
    pub fn link_resumed(&self) {
        self.families.links_resumed.inc();
    }

    /// An agent told that it had stood still.
    pub fn agent_stood_still(&self) {
        self.families.agents_stood_still.inc();
    }

    /// A socket does not carry its link any more.
    pub fn link_broken(&self, cause: Break) {
        self.families.links_broken.with_label_values(&[cause.label()]).inc();
    }

    /// A ping of a link came back.
    pub fn link_rtt(&self, rtt: Duration) {
        self.families.link_rtt.observe(rtt.as_secs_f64());
    }

    /// A device waits for its turn, until this is dropped.
    pub fn greeting_waits(&self) -> Counted {
        Counted::new(&self.families.greetings_waiting)
    }

    /// A device is being greeted, until this is dropped.
    pub fn greeting_runs(&self) -> Counted {
        Counted::new(&self.families.greetings_running)
    }

    /// A device shows host keys other than the pinned ones.
    pub fn host_key_changed(&self) {
        self.families.host_key_changes.inc();
    }

    /// So many devices wait for approval.
    pub fn devices_pending(&self, count: i64) {
        self.families.devices_pending.set(count);
    }

    /// So many devices are refused because of that.
    pub fn host_keys_refused(&self, count: i64) {
        self.families.host_keys_refused.set(count);
    }
}

/// Sessions and those who are attached.
impl Metrics {
    /// A session was asked for.
    pub fn session_started(&self) {
        self.families.sessions_started.inc();
    }

    /// A session is over.
    pub fn session_ended(&self, ending: Code) {
        self.families.sessions_ended.with_label_values(&[ending.name()]).inc();
    }

    /// A session came into (`1`) or left (`-1`) this state.
    pub fn sessions(&self, state: SessionState, change: i64) {
        self.families.sessions.with_label_values(&[state.label()]).add(change);
    }

    /// A step of a set-up ended.
    pub fn setup_step(&self, step: Step, took: Duration) {
        self.families.session_setup.with_label_values(&[step_label(step)]).observe(took.as_secs_f64());
    }

    /// A set-up failed in this step.
    pub fn setup_failed(&self, step: Step, code: Code) {
        self.families.session_setup_failures.with_label_values(&[step_label(step), code.name()]).inc();
    }

    /// A person could see and type again after that long.
    pub fn gap(&self, lasted: Duration) {
        self.families.session_gap.observe(lasted.as_secs_f64());
    }

    /// A session went on where it was, over this leg.
    pub fn session_resumed(&self, leg: Leg) {
        self.families.session_resumes.with_label_values(&[leg.label()]).inc();
    }

    /// Bytes of a terminal went by: on the path of every keystroke, so nothing is looked up.
    pub fn bytes(&self, direction: Direction, count: usize) {
        match direction {
            Direction::Output => self.output_bytes.inc_by(count as u64),
            Direction::Input => self.input_bytes.inc_by(count as u64),
        }
    }

    /// A browser was attached (`1`) or left (`-1`).
    pub fn viewers(&self, role: ViewerRole, change: i64) {
        let role = match role {
            ViewerRole::Driver => "driver",
            ViewerRole::Watcher => "watcher",
        };
        self.families.viewers.with_label_values(&[role]).add(change);
    }

    /// A browser that was attached has left: a word of [`Left`], or the code that it was sent away with.
    pub fn viewer_left(&self, cause: &'static str) {
        self.families.viewers_left.with_label_values(&[cause]).inc();
    }

    /// A browser's terminal has parsed what was sent to it that long ago.
    pub fn viewer_acked(&self, after: Duration) {
        self.families.viewer_ack.observe(after.as_secs_f64());
    }

    /// A person ended a session.
    pub fn killed(&self, by: KilledBy) {
        self.families.killed.with_label_values(&[by.label()]).inc();
    }
}

/// What the gauges say now.
impl Metrics {
    /// How many sessions are in each state.
    pub fn sessions_now(&self) -> Vec<(&'static str, i64)> {
        let now = |state: &SessionState| self.families.sessions.with_label_values(&[state.label()]).get();
        SessionState::LIVING.iter().map(|state| (state.label(), now(state))).collect()
    }

    /// How many devices are connected in each way.
    pub fn devices_now(&self) -> Vec<(&'static str, i64)> {
        let now = |presence: &Presence| self.families.devices.with_label_values(&[presence.label()]).get();
        PRESENT.iter().map(|presence| (presence.label(), now(presence))).collect()
    }
}

/// Actors and threads.
impl Metrics {
    /// An actor of that kind was started (`1`) or has ended (`-1`).
    pub fn actor(&self, kind: Kind, change: i64) {
        self.families.actors.with_label_values(&[kind.label()]).add(change);
    }

    /// An actor failed.
    pub fn restart(&self, kind: Kind, cause: Cause) {
        self.families.actor_restarts.with_label_values(&[kind.label(), cause.label()]).inc();
    }

    /// An actor failed too often.
    pub fn gave_up(&self, kind: Kind) {
        self.families.actors_gave_up.with_label_values(&[kind.label()]).inc();
    }

    /// How the actors of a kind are, all together.
    pub fn actors_are(&self, kind: Kind, figures: ActorFigures) {
        let (families, kind) = (&self.families, [kind.label()]);
        families.actors_unhealthy.with_label_values(&kind).set(figures.unhealthy);
        families.actor_mailbox_depth.with_label_values(&kind).set(figures.depth);
        families.actor_mailbox_high.with_label_values(&kind).set(figures.high);
        families.actor_mailbox_fullest.with_label_values(&kind).set(figures.fullest);
    }

    /// A thread of actors answered the watchdog.
    pub fn arbiter_answered(&self, after: Duration) {
        self.families.arbiter_delay.observe(after.as_secs_f64());
    }

    /// So many threads have not answered its last question.
    pub fn arbiters_silent(&self, count: usize) {
        self.families.arbiters_silent.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// What everything stands on.
impl Metrics {
    /// A wait reached its limit.
    pub fn timeout(&self, what: Wait) {
        self.families.timeouts.with_label_values(&[what.label()]).inc();
    }

    /// Somebody could not prove who they are.
    pub fn auth_failure(&self, kind: Proof) {
        self.families.auth_failures.with_label_values(&[kind.label()]).inc();
    }

    /// A request or a greeting was refused.
    pub fn refused(&self, code: Code) {
        self.families.refusals.with_label_values(&[code.name()]).inc();
    }

    /// An operation of the store ended. Its name is a word of the store's source.
    pub fn stored(&self, op: &'static str, took: Duration) {
        self.families.store.with_label_values(&[op]).observe(took.as_secs_f64());
    }

    /// An operation of the store failed.
    pub fn store_failed(&self, code: Code) {
        self.families.store_failures.with_label_values(&[code.name()]).inc();
    }

    /// The store took the last write, or refused it for this reason.
    pub fn store_takes_writes(&self, refused: Option<Code>) {
        self.families.store_writable.set(i64::from(refused.is_none()));
        self.families.store_full.set(i64::from(refused == Some(Code::DISK_FULL)));
    }

    /// A request was answered. The route is a pattern of the route table, never a path.
    pub fn http_request(&self, route: &str, status: u16, took: Duration) {
        let status = status.to_string();
        self.families.http_request.with_label_values(&[route, &status]).observe(took.as_secs_f64());
    }

    /// A browser listens to changes, until this is dropped.
    pub fn event_stream(&self) -> Counted {
        Counted::new(&self.families.event_streams)
    }

    /// The process before this one on the same data did not end by itself.
    pub fn former_run_crashed(&self) {
        self.families.former_run_crashed.set(1);
    }

    /// New connections are shown a certificate that ends then.
    pub fn tls_certificate_expires(&self, at: jiff::Timestamp) {
        self.families.tls_expires.set(at.as_second());
    }

    /// The files of the certificate have changed and cannot be used.
    pub fn tls_reload_failed(&self) {
        self.families.tls_reload_failures.inc();
    }

    /// The broker is stopping.
    pub fn draining(&self) {
        self.families.draining.set(1);
    }
}

/// How the actors of a kind are, all together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ActorFigures {
    /// How many of them are not well.
    pub unhealthy: i64,
    /// How many messages wait for them.
    pub depth: i64,
    /// The most that ever waited for one of them.
    pub high: i64,
    /// How full the fullest mailbox is; 1 is full.
    pub fullest: f64,
}

/// One more in a gauge, until it is dropped.
pub struct Counted(prometheus::IntGauge);

impl Counted {
    fn new(gauge: &prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Every word of the closed lists stands in the text from the start: a counter that appears with its
/// first count has no rate, and an alert on it would miss the first time.
pub(super) fn begin(metrics: &Metrics) {
    let families = &metrics.families;
    for presence in PRESENT {
        metrics.devices(presence, 0);
    }
    for state in SessionState::LIVING {
        metrics.sessions(*state, 0);
    }
    for role in [ViewerRole::Driver, ViewerRole::Watcher] {
        metrics.viewers(role, 0);
    }
    for step in STEPS.map(step_label) {
        families.session_setup.with_label_values(&[step]);
    }
    let sent_away = [Code::CANCELLED, Code::TAKEN_OVER, Code::INTERRUPTED].map(Code::name);
    let words: [(&prometheus::IntCounterVec, Vec<&str>); 9] = [
        (&families.session_bytes, Direction::ALL.iter().map(|word| word.label()).collect()),
        (&families.viewers_left, Left::ALL.iter().map(|word| word.label()).chain(sent_away).collect()),
        (&families.links_broken, Break::ALL.iter().map(|word| word.label()).collect()),
        (&families.session_resumes, Leg::ALL.iter().map(|word| word.label()).collect()),
        (&families.killed, KilledBy::ALL.iter().map(|word| word.label()).collect()),
        (&families.auth_failures, Proof::ALL.iter().map(|word| word.label()).collect()),
        (&families.timeouts, Wait::ALL.iter().map(|word| word.label()).collect()),
        (&families.actors_gave_up, Kind::ALL.iter().map(|kind| kind.label()).collect()),
        (&families.store_failures, vec![Code::STORE_FAILED.name(), Code::DISK_FULL.name()]),
    ];
    for (family, labels) in words {
        for label in labels {
            family.with_label_values(&[label]);
        }
    }
    for kind in Kind::ALL {
        metrics.actor(*kind, 0);
        metrics.actors_are(*kind, ActorFigures::default());
        families.actor_restarts.with_label_values(&[kind.label(), Cause::Panicked.label()]);
    }
    for (step, code) in FAILURES {
        families.session_setup_failures.with_label_values(&[step_label(step), code.name()]);
    }
    for ending in ENDINGS {
        families.sessions_ended.with_label_values(&[ending.name()]);
    }
    metrics.store_takes_writes(None);
    families.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}
