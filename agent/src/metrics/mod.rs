//! What the agent counts of itself, and how it tells when somebody wants to know.
//!
//! Off by default (`metrics.listen`). Counting goes on in any case: it is an addition for each thing that
//! happens, and on the path of a byte one for each frame. A keystroke waits for nothing here.
//!
//! - [`Metrics`]: what is counted, and its text in the format of Prometheus
//! - `machine`: what the kernel says of this process and of its keepers
//! - `serve`: answers `GET /metrics` on a loopback port or a unix socket

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

mod machine;
mod serve;

pub use serve::{Listener, Place, serve};

/// Declares what is counted: field, name, kind, labels, help.
macro_rules! counted {
    ($($field:ident: $name:literal $kind:literal $labels:literal $help:literal;)*) => {
        /// The numbers.
        #[derive(Debug, Default)]
        struct Numbers { $($field: AtomicU64,)* }

        /// Name, kind, labels, help and value of each, in the order of the list.
        fn told(numbers: &Numbers) -> Vec<Sample> {
            vec![$(Sample {
                name: concat!("moorline_agent_", $name),
                kind: $kind,
                labels: $labels,
                help: $help,
                value: numbers.$field.load(Relaxed) as f64,
            }),*]
        }
    };
}

counted! {
    connected: "link_connected" "gauge" "" "1 while a WebSocket to the broker stands.";
    fresh: "connections_total" "counter" "{attach=\"fresh\"}" "Greetings that the broker accepted, by whether the link went on.";
    resumed: "connections_total" "counter" "{attach=\"resumed\"}" "";
    not_dialled: "connection_failures_total" "counter" "{step=\"dial\"}" "Attempts to connect that failed, by the step they failed in.";
    not_greeted: "connection_failures_total" "counter" "{step=\"greeting\"}" "";
    broken: "links_broken_total" "counter" "" "WebSockets to the broker that broke.";
    stood_still: "stood_still_total" "counter" "" "Times that this program stood still for longer than a ping of its link: stopped, starved of the processor, or asleep with its machine.";
    streams: "streams" "gauge" "" "Streams of the link that are open: each is an SSH connection.";
    opened: "streams_opened_total" "counter" "" "Streams that the broker opened.";
    received: "link_bytes_total" "counter" "{direction=\"received\"}" "Bytes of the link, by direction.";
    sent: "link_bytes_total" "counter" "{direction=\"sent\"}" "";
    let_in: "logins_total" "counter" "{outcome=\"let_in\"}" "Logins at the embedded sshd, by outcome.";
    refused: "logins_total" "counter" "{outcome=\"refused\"}" "";
}

/// One line of the text. One without help goes on with the name before.
struct Sample {
    name: &'static str,
    kind: &'static str,
    labels: &'static str,
    help: &'static str,
    value: f64,
}

/// What is counted. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    numbers: Numbers,
    /// The last round trip, in nanoseconds; 0: none was measured yet.
    rtt: AtomicU64,
}

impl Metrics {
    /// A WebSocket to the broker stands.
    pub fn connected(&self, resumed: bool) {
        let numbers = &self.0.numbers;
        numbers.connected.store(1, Relaxed);
        if resumed { &numbers.resumed } else { &numbers.fresh }.fetch_add(1, Relaxed);
    }

    /// It is gone; `broke`: not because we leave.
    pub fn disconnected(&self, broke: bool) {
        self.0.numbers.connected.store(0, Relaxed);
        self.0.numbers.broken.fetch_add(u64::from(broke), Relaxed);
    }

    /// This program stood still.
    pub fn stood_still(&self) {
        self.0.numbers.stood_still.fetch_add(1, Relaxed);
    }

    /// No WebSocket could be had.
    pub fn not_dialled(&self) {
        self.0.numbers.not_dialled.fetch_add(1, Relaxed);
    }

    /// The broker did not take us, or we did not take the broker.
    pub fn not_greeted(&self) {
        self.0.numbers.not_greeted.fetch_add(1, Relaxed);
    }

    /// A ping of the link came back.
    pub fn rtt(&self, rtt: Duration) {
        self.0.rtt.store(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The broker opened a stream, which is served until this is dropped.
    pub fn stream(&self) -> Streaming {
        self.0.numbers.opened.fetch_add(1, Relaxed);
        self.0.numbers.streams.fetch_add(1, Relaxed);
        Streaming(self.clone())
    }

    /// A frame came.
    pub fn received(&self, bytes: usize) {
        self.0.numbers.received.fetch_add(bytes as u64, Relaxed);
    }

    /// A frame goes.
    pub fn sent(&self, bytes: usize) {
        self.0.numbers.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// The embedded sshd let somebody in, or did not.
    pub fn login(&self, let_in: bool) {
        let numbers = &self.0.numbers;
        if let_in { &numbers.let_in } else { &numbers.refused }.fetch_add(1, Relaxed);
    }

    /// Everything in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut samples = told(&self.0.numbers);
        let plain = |name, kind, help, value| Sample { name, kind, labels: "", help, value };
        let rtt = self.0.rtt.load(Relaxed);
        if rtt > 0 {
            let help = "The last round trip of a ping of the link.";
            samples.push(plain("moorline_agent_link_rtt_seconds", "gauge", help, rtt as f64 / 1e9));
        }
        samples.push(Sample {
            labels: concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            ..plain("moorline_agent_build_info", "gauge", "Always 1; the label says which version runs.", 1.0)
        });
        samples.extend(machine::samples());
        for Sample { name, kind, labels, help, value } in samples {
            if !help.is_empty() {
                // Writing into a String cannot fail.
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            let _ = writeln!(text, "{name}{labels} {value}");
        }
        text
    }
}

/// A stream that is served.
pub struct Streaming(Metrics);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.0.numbers.streams.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_stands_in_the_text_and_each_name_is_explained_once() {
        let metrics = Metrics::default();
        metrics.connected(false);
        metrics.connected(true);
        metrics.rtt(Duration::from_micros(1500));
        metrics.received(10);
        metrics.login(false);
        let streaming = metrics.stream();
        let text = metrics.text();
        for line in [
            "moorline_agent_link_connected 1",
            "moorline_agent_connections_total{attach=\"fresh\"} 1",
            "moorline_agent_connections_total{attach=\"resumed\"} 1",
            "moorline_agent_link_rtt_seconds 0.0015",
            "moorline_agent_streams 1",
            "moorline_agent_link_bytes_total{direction=\"received\"} 10",
            "moorline_agent_logins_total{outcome=\"refused\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        // What these say is the machine's business: it may have other keepers than ours.
        for name in ["moorline_agent_keepers ", "process_resident_memory_bytes ", "process_open_fds "] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{text}");
        }
        let mut last = String::new();
        for line in text.lines() {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                last = of.split(' ').next().unwrap_or_default().to_owned();
                assert_eq!(text.matches(&format!("# TYPE {last} ")).count(), 1, "{last}");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&last), "{line} is not below its explanation");
            }
        }
        drop(streaming);
        metrics.disconnected(true);
        let text = metrics.text();
        for line in [
            "moorline_agent_streams 0",
            "moorline_agent_link_connected 0",
            "moorline_agent_links_broken_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
