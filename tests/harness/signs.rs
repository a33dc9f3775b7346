//! What a person who sees only the dashboards sees of each fault of the chaos suite: which figure
//! moves, in which panel that shows, and which alert tells of it.
//!
//! The chaos suite checks that the figures move, the tests of the dashboards that the panels and
//! alerts are there and show these figures, and that `dashboards/README.md` has the same table.

use std::fmt::Write as _;

use crate::figures::{Figures, Labels};

/// What a fault looks like.
#[derive(Debug)]
pub struct Fault {
    /// Its name in the chaos suite.
    pub name: &'static str,
    /// What has failed, in words.
    pub failed: &'static str,
    /// What moves. All of it.
    pub signs: &'static [Sign],
    /// The alert that tells of it, if it lasts or comes often.
    pub alert: Option<&'static str>,
}

/// A figure that moves.
#[derive(Debug)]
pub struct Sign {
    /// Its metric; for a histogram without `_bucket`.
    pub metric: &'static str,
    /// Which of its samples, all together.
    pub labels: Labels<'static>,
    /// How it moves.
    pub change: Change,
    /// The dashboard that shows it: the name of its file.
    pub dashboard: &'static str,
    /// The panel there.
    pub panel: &'static str,
}

/// How a figure moves.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// It grows, by at least that much.
    Grows(f64),
    /// It is this afterwards.
    Is(f64),
    /// It does not move.
    Stays,
    /// A histogram gets observations above this one of its bounds.
    Above(&'static str),
}

const fn grows(
    metric: &'static str,
    labels: Labels<'static>,
    dashboard: &'static str,
    panel: &'static str,
) -> Sign {
    Sign { metric, labels, change: Change::Grows(1.0), dashboard, panel }
}

const fn left(causes: &'static [(&'static str, &'static [&'static str])]) -> Sign {
    grows("moorline_viewers_left_total", causes, "sessions", "Browsers that left, by cause")
}

const fn broke(causes: &'static [(&'static str, &'static [&'static str])]) -> Sign {
    grows("moorline_links_broken_total", causes, "fleet", "Links that broke, by cause")
}

const RESUMED: Sign = grows("moorline_links_resumed_total", &[], "fleet", "Links opened and resumed");
const STOOD_STILL: Sign = grows("moorline_agents_stood_still_total", &[], "fleet", "Agents that stood still");
const NOBODY_STILL: Sign = Sign { change: Change::Stays, ..STOOD_STILL };
const OPENED: Sign = grows("moorline_links_opened_total", &[], "fleet", "Links opened and resumed");
const STARTED: Sign = grows("process_start_time_seconds", &[], "broker", "Starts");
const CRASHED: Sign = Sign { change: Change::Is(1.0), ..IN_ORDER };
const IN_ORDER: Sign = Sign {
    metric: "moorline_former_run_crashed",
    labels: &[],
    change: Change::Is(0.0),
    dashboard: "broker",
    panel: "Crashed before",
};
const STORM: Sign = Sign { change: Change::Grows(500.0), panel: "Links begun anew", ..OPENED };
const SLOW_SCREENS: Sign = Sign {
    metric: "moorline_viewer_ack_seconds",
    labels: &[],
    change: Change::Above("0.05"),
    dashboard: "sessions",
    panel: "From output to screen",
};
const LONG_GAPS: Sign = Sign {
    metric: "moorline_session_gap_seconds",
    labels: &[],
    change: Change::Above("10"),
    dashboard: "sessions",
    panel: "Gaps",
};

/// Every fault of the chaos suite but the one that is made of two others.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "tab_reload",
        failed: "nothing: a person loaded the page again",
        signs: &[left(&[("cause", &["closed"])])],
        alert: None,
    },
    Fault {
        name: "browser_cut",
        failed: "the network of the people, which says so",
        signs: &[left(&[("cause", &["cut"])])],
        alert: Some("MoorlineBrowsersCutOff"),
    },
    Fault {
        name: "browser_stall",
        failed: "the network of the people, silently",
        signs: &[left(&[("cause", &["cancelled", "silent", "stalled"])]), LONG_GAPS],
        alert: Some("MoorlineBrowsersCutOff"),
    },
    Fault {
        name: "browser_delay",
        failed: "the network of the people, which is slow",
        signs: &[SLOW_SCREENS],
        alert: Some("MoorlineTerminalsSlow"),
    },
    Fault {
        name: "device_cut",
        failed: "the network of the devices, which says so: their links go on",
        signs: &[broke(&[("cause", &["closed"])]), RESUMED],
        alert: Some("MoorlineLinkFlapping"),
    },
    Fault {
        name: "device_stall",
        failed: "the network of the devices, silently, and no agent stood still",
        signs: &[broke(&[("cause", &["replaced", "silent"])]), RESUMED, NOBODY_STILL],
        alert: Some("MoorlineLinkFlapping"),
    },
    Fault {
        name: "agent_kill",
        failed: "the agents: their links begin anew",
        signs: &[broke(&[("cause", &["closed", "replaced"])]), OPENED],
        alert: Some("MoorlineLinkFlapping"),
    },
    Fault {
        name: "agent_stop",
        failed: "the agents, which stand still, as silent as a dead network, and say so when they are back",
        signs: &[broke(&[("cause", &["silent"])]), RESUMED, STOOD_STILL],
        alert: Some("MoorlineLinkFlapping"),
    },
    Fault {
        name: "broker_kill",
        failed: "the broker, which crashed",
        signs: &[STARTED, CRASHED],
        alert: Some("MoorlineCrashed"),
    },
    Fault {
        name: "broker_term",
        failed: "nothing: the broker was stopped in good order",
        signs: &[STARTED, IN_ORDER],
        alert: None,
    },
    Fault {
        name: "broker_kill_setup",
        failed: "the broker, which crashed while a session was set up",
        signs: &[STARTED, CRASHED],
        alert: Some("MoorlineCrashed"),
    },
    Fault {
        name: "store_locked",
        failed: "the store, which another process holds",
        signs: &[grows(
            "moorline_store_failures_total",
            &[("code", &["store_failed"])],
            "broker",
            "Store: failures",
        )],
        alert: Some("MoorlineStoreFailing"),
    },
    Fault {
        name: "disk_full",
        failed: "the disk of the store",
        signs: &[grows(
            "moorline_store_failures_total",
            &[("code", &["disk_full"])],
            "broker",
            "Store: failures",
        )],
        alert: Some("MoorlineStoreFull"),
    },
    Fault {
        name: "session_panic",
        failed: "the actor of a session",
        signs: &[grows(
            "moorline_actor_restarts_total",
            &[("kind", &["ssh_session"]), ("cause", &["panicked"])],
            "broker",
            "Restarts of actors",
        )],
        alert: Some("MoorlineActorsRestarting"),
    },
    Fault {
        name: "devices_500",
        failed: "the broker, which crashed with many devices",
        signs: &[STARTED, CRASHED, STORM],
        alert: Some("MoorlineCrashed"),
    },
];

/// The fault of that name.
pub fn of(name: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name)
}

impl Fault {
    /// The signs that are not to be seen between the two scrapes.
    pub fn missing(&self, before: &Figures, after: &Figures) -> Vec<String> {
        let missing = self.signs.iter().filter(|sign| !sign.shows(before, after));
        missing.map(|sign| format!("{} is not to be seen", sign.words())).collect()
    }
}

impl Sign {
    fn shows(&self, before: &Figures, after: &Figures) -> bool {
        let start = "process_start_time_seconds";
        let restarted = after.sum(start, &[]) > before.sum(start, &[]);
        // A new process counts from nothing; Prometheus knows that, too.
        let anew = restarted && self.metric != start;
        let grown = |value: &dyn Fn(&Figures) -> f64| value(after) - if anew { 0.0 } else { value(before) };
        match self.change {
            Change::Is(value) => after.sum(self.metric, self.labels) == value,
            Change::Stays => grown(&|figures| figures.sum(self.metric, self.labels)) == 0.0,
            Change::Grows(by) if self.metric == start => restarted && by > 0.0,
            Change::Grows(by) => grown(&|figures| figures.sum(self.metric, self.labels)) >= by,
            Change::Above(bound) => {
                let above = |figures: &Figures| {
                    figures.sum(&format!("{}_count", self.metric), &[])
                        - figures.sum(&format!("{}_bucket", self.metric), &[("le", &[bound])])
                };
                grown(&above) >= 1.0
            }
        }
    }

    /// The figure and how it moves, as it stands in the table.
    pub fn words(&self) -> String {
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|(label, values)| {
                format!("{label}={}\"{}\"", if values.len() > 1 { "~" } else { "" }, values.join("|"))
            })
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let change = match self.change {
            Change::Grows(1.0) => "grows".to_owned(),
            Change::Grows(by) => format!("grows by {by}"),
            Change::Is(value) => format!("is {value}"),
            Change::Stays => "stays".to_owned(),
            Change::Above(bound) => format!("has more above {bound} s"),
        };
        format!("`{}{labels}` {change}", self.metric)
    }
}

/// The table of `dashboards/README.md`.
pub fn table() -> String {
    let mut text =
        "| fault | what has failed | what moves | where it shows | alert |\n|---|---|---|---|---|\n"
            .to_owned();
    for Fault { name, failed, signs, alert } in FAULTS {
        let moves: Vec<_> = signs.iter().map(Sign::words).collect();
        let panels: Vec<_> = signs.iter().map(|sign| format!("{}: {}", sign.dashboard, sign.panel)).collect();
        let alert = alert.unwrap_or("none");
        let _ = writeln!(
            text,
            "| `{name}` | {failed} | {} | {} | {alert} |",
            moves.join("; ").replace('|', "\\|"),
            panels.join("; ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(start: f64, closed: f64, slow: f64) -> Figures {
        let text = format!(
            "process_start_time_seconds {start}\nmoorline_viewers_left_total{{cause=\"closed\"}} {closed}\n\
             moorline_former_run_crashed 1\nmoorline_viewer_ack_seconds_count {}\n\
             moorline_viewer_ack_seconds_bucket{{le=\"0.05\"}} 10\n",
            10.0 + slow
        );
        Figures::parse(&text).unwrap()
    }

    #[test]
    fn a_sign_is_seen_when_its_figure_moves_and_not_otherwise() {
        let reload = of("tab_reload").unwrap();
        let before = figures(100.0, 3.0, 0.0);
        assert_eq!(reload.missing(&before, &figures(100.0, 4.0, 0.0)), Vec::<String>::new());
        assert_eq!(
            reload.missing(&before, &before),
            ["`moorline_viewers_left_total{cause=\"closed\"}` grows is not to be seen"]
        );
        // A new process begins to count anew.
        assert!(reload.missing(&before, &figures(200.0, 1.0, 0.0)).is_empty());
        assert!(of("broker_kill").unwrap().missing(&before, &figures(200.0, 0.0, 0.0)).is_empty());
        assert_eq!(of("broker_kill").unwrap().missing(&before, &before).len(), 1);
        assert!(of("browser_delay").unwrap().missing(&before, &figures(100.0, 3.0, 1.0)).is_empty());
        assert_eq!(of("browser_delay").unwrap().missing(&before, &before).len(), 1);
        assert_eq!(of("nothing").map(|fault| fault.name), None);
    }
}
