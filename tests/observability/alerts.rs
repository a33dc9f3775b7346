//! The alert rules: each with a runbook, with a test in which it fires and one in which it does not, and
//! all of it as `promtool` likes it.

use std::fs;
use std::process::Command;

use moorline_tests::broker::root;

use crate::panels;

/// One alert.
#[derive(Debug)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// When it fires.
    pub expr: String,
    rest: String,
}

/// Every alert of the rules.
pub fn all() -> Vec<Alert> {
    let rules = read("dashboards/alerts/moorline.yml");
    let (_, rules) = rules.split_once("- alert: ").expect("there are alerts");
    rules.split("- alert: ").map(alert).collect()
}

/// The lines of one alert, whose expression stands behind `expr:` or below it.
fn alert(lines: &str) -> Alert {
    let (name, rest) = lines.split_once('\n').expect("an alert has more than a name");
    let (_, below) = rest.split_once("expr:").unwrap_or_else(|| panic!("{name} has no expression"));
    let end = ["\n        for:", "\n        labels:"].iter().filter_map(|key| below.find(key)).min();
    let (expr, rest) = below.split_at(end.unwrap_or(below.len()));
    Alert {
        name: name.trim().to_owned(),
        expr: expr.trim_start_matches([' ', '|']).to_owned(),
        rest: rest.to_owned(),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the rules' tests.
fn tests() -> Vec<String> {
    let files = fs::read_dir(root().join("dashboards/alerts/tests")).expect("the alerts have tests");
    files.flatten().map(|file| file.path().display().to_string()).collect()
}

/// Runs promtool in the root; it must be content.
pub fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(root()).output();
    let output = output.expect("promtool is there: tests/scripts/install.sh");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_likes_the_scrape_configuration_and_the_rules() {
    promtool(&["check", "config", "dashboards/prometheus.yml"]);
    promtool(&["check", "rules", "dashboards/alerts/moorline.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let tests = tests();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(String::as_str));
    promtool(&arguments);
}

#[test]
fn every_alert_has_a_test_that_fires_and_one_that_does_not() {
    let tests: String = tests().iter().map(|path| fs::read_to_string(path).expect("it was listed")).collect();
    for Alert { name, .. } in all() {
        let of_it = format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}\n");
        let expected: Vec<_> = tests.split(&of_it).skip(1).map(|after| after.trim_start()).collect();
        assert!(
            expected.iter().any(|samples| samples.starts_with("exp_samples: []")),
            "{name} is never still"
        );
        assert!(expected.iter().any(|samples| samples.starts_with("exp_samples:\n")), "{name} never fires");
    }
}

#[test]
fn every_alert_says_how_urgent_it_is_what_to_do_and_where_to_look() {
    let runbooks = read("dashboards/runbooks.md");
    let alerts = all();
    assert!(alerts.len() > 20, "{alerts:?}");
    for Alert { name, rest, .. } in &alerts {
        assert!(rest.contains("severity: page") || rest.contains("severity: warn"), "{name}: {rest}");
        for key in ["summary: \"", "description: \""] {
            assert!(rest.contains(key), "{name} has no {key}");
        }
        assert!(
            rest.contains(&format!("runbook: \"runbooks.md#{}\"", name.to_lowercase())),
            "{name}: {rest}"
        );
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name} has no runbook");
        let leads = |dashboard: &&str| rest.contains(&format!("dashboard: \"moorline-{dashboard}\""));
        assert!(panels::DASHBOARDS.iter().any(leads), "{name} leads to no dashboard");
    }
    let books = runbooks.lines().filter_map(|line| line.strip_prefix("## "));
    for book in books {
        assert!(alerts.iter().any(|alert| alert.name == book), "there is no alert {book}");
    }
}
