//! Every metric of the broker: declared once, told by events.
//!
//! Names begin with `moorline_` and end with their unit. Labels are words of closed lists, never
//! an id, a name or anything else that somebody outside chooses: with 10,000 devices there are as many
//! lines as with one.
//!
//! - `families`: the list, with help, labels and buckets
//! - `labels`: the words that belong to nobody else
//! - `observe`: what happened, as those who see it tell it
//! - `runtime`: what the runtimes of the threads say

use std::sync::Arc;

use prometheus::{Encoder, IntCounter, Registry, TextEncoder};

mod families;
mod labels;
mod observe;
mod runtime;

use families::Families;
pub use labels::{Break, Direction, KilledBy, Left, Leg, Proof, Wait};
pub use observe::{ActorFigures, Counted};
use runtime::Runtimes;

/// What is counted. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    families: Arc<Families>,
    registry: Registry,
    runtimes: Runtimes,
    output_bytes: IntCounter,
    input_bytes: IntCounter,
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
        let bytes = |direction: Direction| families.session_bytes.with_label_values(&[direction.label()]);
        let (output_bytes, input_bytes) = (bytes(Direction::Output), bytes(Direction::Input));
        let metrics = Self { families, registry, runtimes: Runtimes::default(), output_bytes, input_bytes };
        observe::begin(&metrics);
        metrics
    }

    /// Asks the current thread's runtime from now on, for its tasks and how busy it is.
    pub fn watch_this_thread(&self) {
        self.runtimes.add_current();
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> Vec<u8> {
        self.runtimes.tell(&self.families);
        let mut text = Vec::new();
        // Writing into memory fails only for a family without samples, which is then left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use moorline_wire::Code;
    use moorline_wire::term::frame::Step;

    use super::*;
    use crate::actor::Kind;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.text()).unwrap()
    }

    #[test]
    fn what_happened_stands_in_the_text() {
        let metrics = Metrics::new();
        metrics.session_ended(Code::KILLED);
        metrics.bytes(Direction::Output, 42);
        metrics.setup_step(Step::HostKey, Duration::from_millis(3));
        metrics.setup_failed(Step::Login, Code::DEVICE_REFUSED);
        metrics.link_broken(Break::Silent);
        metrics.store_takes_writes(Some(Code::DISK_FULL));
        let figures = ActorFigures { unhealthy: 1, depth: 7, high: 9, fullest: 0.5 };
        metrics.actors_are(Kind::SshSession, figures);
        let text = text(&metrics);
        for line in [
            "moorline_sessions_ended_total{ending=\"killed\"} 1",
            "moorline_session_bytes_total{direction=\"output\"} 42",
            "moorline_session_setup_seconds_count{step=\"host_key\"} 1",
            "moorline_session_setup_seconds_bucket{step=\"host_key\",le=\"0.0025\"} 0",
            "moorline_session_setup_seconds_bucket{step=\"host_key\",le=\"0.005\"} 1",
            "moorline_session_setup_failures_total{code=\"device_refused\",step=\"login\"} 1",
            "moorline_links_broken_total{cause=\"silent\"} 1",
            "moorline_store_writable 0",
            "moorline_store_full 1",
            "moorline_actor_mailbox_depth{kind=\"ssh_session\"} 7",
            "moorline_actor_mailbox_high{kind=\"ssh_session\"} 9",
            "moorline_actor_mailbox_fullest_ratio{kind=\"ssh_session\"} 0.5",
            "moorline_actors_unhealthy{kind=\"ssh_session\"} 1",
            concat!("moorline_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    /// A counter that appears with its first count has no rate: an alert would miss the first time.
    #[test]
    fn what_can_happen_is_counted_from_the_start() {
        let text = text(&Metrics::new());
        for line in [
            "moorline_devices{state=\"away\"} 0",
            "moorline_sessions{state=\"adrift\"} 0",
            "moorline_sessions_ended_total{ending=\"gave_up\"} 0",
            "moorline_links_broken_total{cause=\"closed\"} 0",
            "moorline_session_setup_failures_total{code=\"host_key_changed\",step=\"host_key\"} 0",
            "moorline_viewers_left_total{cause=\"cut\"} 0",
            "moorline_former_run_crashed 0",
            "moorline_actor_restarts_total{cause=\"panicked\",kind=\"user_connection\"} 0",
            "moorline_actors_gave_up_total{kind=\"ssh_session\"} 0",
            "moorline_session_setup_seconds_count{step=\"shell\"} 0",
            "moorline_timeouts_total{what=\"release\"} 0",
            "moorline_host_key_changes_total 0",
            "moorline_store_writable 1",
            "moorline_draining 0",
            "moorline_tls_certificate_expires_timestamp_seconds 0",
            "moorline_tls_reload_failures_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_thread_that_works_is_seen_to_be_busy() {
        let metrics = Metrics::new();
        metrics.watch_this_thread();
        let idle = tokio::spawn(std::future::pending::<()>());
        tokio::task::yield_now().await;
        let text = text(&metrics);
        idle.abort();
        for line in [
            "moorline_runtime_workers 1",
            "moorline_tasks 1",
            "moorline_runtime_tasks{arbiter=\"main\"} 1",
            "moorline_runtime_queue_depth{arbiter=\"main\"} 0",
            "moorline_runtime_busy_seconds_total{arbiter=\"main\"} ",
            "moorline_runtime_parks_total{arbiter=\"main\"} ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_metric_has_a_sentence_and_names_end_with_their_unit() {
        let text = text(&Metrics::new());
        let mut names = HashSet::new();
        for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
            let Some(short) = name.strip_prefix("moorline_") else { continue };
            assert!(names.insert(short.to_owned()), "{name} stands twice");
            let help = format!("# HELP {name} ");
            let help = text.lines().find_map(|line| line.strip_prefix(&help)).unwrap_or_default();
            assert!(help.len() > 10 && help.ends_with('.'), "{name}: {help:?}");
            assert_eq!(kind == "counter", short.ends_with("_total"), "{name}");
            // A moment, by Prometheus' own convention, and no duration.
            let duration = short.ends_with("_seconds") && !short.ends_with("_timestamp_seconds");
            assert_eq!(kind == "histogram", duration, "{name}");
        }
        assert!(names.len() > 35, "{names:?}");
    }
}
