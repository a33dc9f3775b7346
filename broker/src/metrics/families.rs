//! The list: every metric with its kind, its name, its help and its labels, and how each is made.
//!
//! Names end with their unit. A histogram names its buckets: they reach from what is good to what
//! is a fault, and are few, because each costs a line per label at every scrape.

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// From one machine to itself up to a satellite and a full queue.
const ROUND_TRIP: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Up to `timing.ssh_handshake`.
const SET_UP: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// From what nobody notices to what makes people reload.
const GAP: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];

/// Up to `timing.store`; a request that asks the store takes as long.
const CALL: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Up to `timing.arbiter_stuck`.
const DELAY: &[f64] = &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The buckets of a line; none, if it has none.
macro_rules! buckets {
    () => {
        &[]
    };
    ($buckets:ident) => {
        $buckets
    };
}

/// Makes the metrics from one list: field, kind (and buckets), name, help, labels.
macro_rules! metrics {
    ($($field:ident: $kind:ident $(of $buckets:ident)? $name:literal $help:literal [$($label:literal),*];)*) => {
        pub(super) struct Families { $(pub(super) $field: $kind),* }

        impl Families {
            /// Every metric, in that registry.
            pub(super) fn registered_in(registry: &Registry) -> Self {
                $(let $field = <$kind as Family>::made(
                    concat!("moorline_", $name), $help, &[$($label),*], buckets!($($buckets)?),
                );
                registry.register(Box::new($field.clone())).expect("each name stands once in the list");)*
                Self { $($field),* }
            }
        }
    };
}

metrics! {
    // Devices and their links.
    devices: IntGaugeVec "devices" "Connected devices by the state of their link." ["state"];
    links_opened: IntCounter "links_opened_total" "Greetings that led to a new link." [];
    agents_stood_still: IntCounter "agents_stood_still_total" "Greetings of agents that had stood still, by their own account: stopped, starved of the processor, or asleep with their machine." [];
    links_resumed: IntCounter "links_resumed_total" "Greetings that went on with a link that was broken." [];
    links_broken: IntCounterVec "links_broken_total" "Sockets that stopped carrying a link, by cause." ["cause"];
    link_rtt: Histogram of ROUND_TRIP "link_rtt_seconds" "Round trips of the links' pings." [];
    greetings_waiting: IntGauge "greetings_waiting" "Devices that wait for their turn to be greeted." [];
    greetings_running: IntGauge "greetings_running" "Devices that are being greeted." [];
    host_key_changes: IntCounter "host_key_changes_total" "Times that a device showed host keys other than the pinned ones." [];
    host_keys_refused: IntGauge "devices_with_changed_host_key" "Known devices whose sessions are refused until their new host keys are accepted." [];
    devices_pending: IntGauge "devices_pending" "Known devices that get no sessions until somebody approves them." [];

    // Sessions and the people attached to them.
    sessions: IntGaugeVec "sessions" "Sessions that are not over, by state." ["state"];
    sessions_started: IntCounter "sessions_started_total" "Sessions that were asked for." [];
    sessions_ended: IntCounterVec "sessions_ended_total" "Sessions that are over, by ending." ["ending"];
    session_setup: HistogramVec of SET_UP "session_setup_seconds" "How long each step of a set-up took." ["step"];
    session_setup_failures: IntCounterVec "session_setup_failures_total" "Set-ups, and attempts to take a shell up again, that failed, by the step they failed in." ["step", "code"];
    session_gap: Histogram of GAP "session_gap_seconds" "How long a break lasted for a person." [];
    session_resumes: IntCounterVec "session_resumes_total" "Attaches that went on where they were, by leg." ["leg"];
    session_bytes: IntCounterVec "session_bytes_total" "Bytes of terminals, by direction." ["direction"];
    viewers: IntGaugeVec "viewers" "Attached browsers by role." ["role"];
    viewers_left: IntCounterVec "viewers_left_total" "Browsers that were attached and left, by why." ["cause"];
    viewer_ack: Histogram of ROUND_TRIP "viewer_ack_seconds" "From output sent to a browser until its terminal has parsed it." [];
    killed: IntCounterVec "killed_total" "Sessions that a person ended, by how they were addressed." ["by"];

    // Actors and the threads they run on.
    actors: IntGaugeVec "actors" "Supervised actors that live." ["kind"];
    actors_unhealthy: IntGaugeVec "actors_unhealthy" "Actors that failed within timing.restart_window, or whose mailbox is three quarters full." ["kind"];
    actor_restarts: IntCounterVec "actor_restarts_total" "Failures of actors, each followed by a restart if not given up, by what ended the one before." ["kind", "cause"];
    actors_gave_up: IntCounterVec "actors_gave_up_total" "Actors that failed too often and are not started anew." ["kind"];
    actor_mailbox_depth: IntGaugeVec "actor_mailbox_depth" "Messages that wait for the actors of a kind, all together." ["kind"];
    actor_mailbox_high: IntGaugeVec "actor_mailbox_high" "The most messages that ever waited for one of the actors of a kind that live now." ["kind"];
    actor_mailbox_fullest: GaugeVec "actor_mailbox_fullest_ratio" "How full the fullest mailbox of a kind is: 1 is limits.mailbox." ["kind"];
    tasks: IntGauge "tasks" "Tasks of connections, SSH and the store that live, besides those of actors." [];
    runtime_workers: IntGauge "runtime_workers" "Threads that run actors and tasks." [];
    runtime_tasks: IntGaugeVec "runtime_tasks" "Tasks that live, by thread, besides those of actors." ["arbiter"];
    runtime_queue: IntGaugeVec "runtime_queue_depth" "Tasks that were woken from other threads and wait for this one." ["arbiter"];
    runtime_busy: CounterVec "runtime_busy_seconds_total" "How long a thread was at work." ["arbiter"];
    runtime_parks: CounterVec "runtime_parks_total" "How often a thread had nothing to do." ["arbiter"];
    arbiter_delay: Histogram of DELAY "arbiter_delay_seconds" "How long a thread of actors took to answer the watchdog, which asks each once a second." [];
    arbiters_silent: IntGauge "arbiters_silent" "Threads of actors that have not answered the watchdog's last question." [];

    // What everything stands on.
    store: HistogramVec of CALL "store_seconds" "How long each operation of the store took." ["op"];
    store_failures: IntCounterVec "store_failures_total" "Operations of the store that failed, by reason." ["code"];
    store_writable: IntGauge "store_writable" "Whether the store took the last write: 1, or 0 while it refuses them." [];
    store_full: IntGauge "store_full" "1 while the store refuses writes because its disk is full." [];
    http_request: HistogramVec of CALL "http_request_seconds" "How long requests took, by route and status." ["route", "status"];
    tls_expires: IntGauge "tls_certificate_expires_timestamp_seconds" "When the certificate that new connections are shown ends, in seconds since 1970; 0 without TLS." [];
    tls_reload_failures: IntCounter "tls_reload_failures_total" "Times that the files of the certificate had changed and could not be used; the one before was kept." [];
    event_streams: IntGauge "event_streams" "Browsers that listen to changes." [];
    timeouts: IntCounterVec "timeouts_total" "Waits that reached their limit." ["what"];
    auth_failures: IntCounterVec "auth_failures_total" "Refused proofs of who somebody is." ["kind"];
    refusals: IntCounterVec "refusals_total" "Requests and greetings that were refused, by code." ["code"];
    draining: IntGauge "draining" "1 while the broker is stopping." [];
    former_run_crashed: IntGauge "former_run_crashed" "1 if the process before this one, on the same data, did not end by itself." [];
    build_info: IntGaugeVec "build_info" "Always 1; the label says which version runs." ["version"];
}

/// A kind of metric that can be made from its line in the list.
trait Family: Sized {
    fn made(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Self;
}

macro_rules! plain {
    ($($kind:ident)*) => {$(
        impl Family for $kind {
            fn made(name: &str, help: &str, _: &[&str], _: &[f64]) -> Self {
                Self::new(name, help).expect("names in the list are valid")
            }
        }
    )*};
}

macro_rules! labelled {
    ($($kind:ident)*) => {$(
        impl Family for $kind {
            fn made(name: &str, help: &str, labels: &[&str], _: &[f64]) -> Self {
                Self::new(Opts::new(name, help), labels).expect("names in the list are valid")
            }
        }
    )*};
}

plain! { IntCounter IntGauge }
labelled! { IntCounterVec CounterVec IntGaugeVec GaugeVec }

impl Family for Histogram {
    fn made(name: &str, help: &str, _: &[&str], buckets: &[f64]) -> Self {
        Self::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
            .expect("names in the list are valid")
    }
}

impl Family for HistogramVec {
    fn made(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Self {
        Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
            .expect("names in the list are valid")
    }
}
