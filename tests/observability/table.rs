//! The table of faults: `dashboards/README.md` has it as the chaos suite checks it, and what it names is
//! there.

use moorline_tests::broker::root;
use moorline_tests::signs;

use crate::panels::metrics_in;
use crate::{alerts, panels};

#[test]
fn the_table_of_faults_is_that_of_the_chaos_suite() {
    let readme = std::fs::read_to_string(root().join("dashboards/README.md")).expect("there is a README");
    let table = signs::table();
    assert!(readme.contains(&table), "dashboards/README.md does not have this table:\n{table}");
}

#[test]
fn every_sign_is_on_the_panel_that_the_table_names() {
    let panels = panels::all();
    for fault in signs::FAULTS {
        for sign in fault.signs {
            let panel =
                panels.iter().find(|panel| (panel.dashboard, &*panel.title) == (sign.dashboard, sign.panel));
            let panel = panel.unwrap_or_else(|| panic!("{}: there is no panel {}", fault.name, sign.panel));
            let shown = panel.queries.iter().flat_map(|query| metrics_in(query));
            let is_it = |metric: String| metric.strip_suffix("_bucket").unwrap_or(&metric) == sign.metric;
            assert!(
                shown.into_iter().any(is_it),
                "{}: {} is not on {}",
                fault.name,
                sign.metric,
                panel.name()
            );
            for (label, _) in sign.labels {
                let by = |query: &String| query.contains(label);
                assert!(
                    panel.queries.iter().any(by),
                    "{}: {} does not tell by {label}",
                    fault.name,
                    panel.name()
                );
            }
        }
    }
}

#[test]
fn every_alert_of_the_table_looks_at_a_sign_of_its_fault() {
    let alerts = alerts::all();
    for fault in signs::FAULTS {
        let Some(name) = fault.alert else { continue };
        let alert = alerts.iter().find(|alert| alert.name == name);
        let alert = alert.unwrap_or_else(|| panic!("{}: there is no alert {name}", fault.name));
        let looked_at = metrics_in(&alert.expr);
        let is_one = |metric: &String| {
            let metric = metric.strip_suffix("_bucket").unwrap_or(metric);
            fault.signs.iter().any(|sign| sign.metric == metric)
        };
        assert!(looked_at.iter().any(is_one), "{}: {name} looks at {looked_at:?}", fault.name);
    }
}
