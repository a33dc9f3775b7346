//! The panels of all dashboards, as Grafana would read them.

use std::collections::{BTreeSet, HashSet};

use moorline_tests::broker::root;
use serde_json::Value;

/// Every dashboard: the name of its file.
pub const DASHBOARDS: [&str; 3] = ["fleet", "sessions", "broker"];

/// One panel.
#[derive(Debug)]
pub struct Panel {
    /// The file that it is in.
    pub dashboard: &'static str,
    /// Its title.
    pub title: String,
    /// What it asks for, with Grafana's variables in it.
    pub queries: Vec<String>,
    json: Value,
}

impl Panel {
    /// For messages.
    pub fn name(&self) -> String {
        format!("{}: {}", self.dashboard, self.title)
    }
}

/// The dashboard of that name.
pub fn dashboard(name: &str) -> Value {
    let path = root().join(format!("dashboards/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every panel of every dashboard, without the headings.
pub fn all() -> Vec<Panel> {
    let panels = |dashboard: &'static str| {
        let json = self::dashboard(dashboard);
        let panels = json["panels"].as_array().cloned().unwrap_or_default();
        panels.into_iter().filter(|panel| panel["type"] != "row").map(move |json| Panel {
            dashboard,
            title: text(&json["title"]),
            queries: targets(&json).map(|target| text(&target["expr"])).collect(),
            json,
        })
    };
    DASHBOARDS.into_iter().flat_map(panels).collect()
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}

fn text(json: &Value) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

/// Every metric that is named in an expression, as the exposition names it.
pub fn metrics_in(expression: &str) -> BTreeSet<String> {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = expression.split(|char| !word(char));
    let ours =
        words.filter(|word| word.starts_with("moorline_") || word.starts_with("process_") || *word == "up");
    ours.map(str::to_owned).collect()
}

#[test]
fn every_panel_says_what_it_shows_and_how_it_is_to_be_read() {
    for panel in all() {
        let (name, defaults) = (panel.name(), &panel.json["fieldConfig"]["defaults"]);
        let description = text(&panel.json["description"]);
        assert!(description.len() > 40 && description.ends_with('.'), "{name}: {description:?}");
        assert!(!text(&defaults["unit"]).is_empty(), "{name} has no unit");
        let steps = defaults["thresholds"]["steps"].as_array().map_or(0, Vec::len);
        assert!(steps > 0, "{name} has no thresholds");
        assert!(!panel.queries.is_empty(), "{name} asks for nothing");
        for target in targets(&panel.json) {
            assert_eq!(target["datasource"]["uid"], "$source", "{name}");
            assert!(!text(&target["legendFormat"]).is_empty(), "{name} has a query without a legend");
        }
        for query in &panel.queries {
            assert!(query.contains("$instance"), "{name} asks for all brokers: {query}");
        }
    }
}

#[test]
fn no_two_panels_have_the_same_name_number_or_place() {
    for dashboard in DASHBOARDS {
        let json = self::dashboard(dashboard);
        let panels = json["panels"].as_array().expect("there are panels");
        let (mut numbers, mut titles, mut cells) = (HashSet::new(), HashSet::new(), HashSet::new());
        for panel in panels {
            assert!(numbers.insert(panel["id"].as_u64()), "{dashboard}: {} has another's id", panel["title"]);
            assert!(titles.insert(text(&panel["title"])), "{dashboard}: {} stands twice", panel["title"]);
            let at = |side: &str| panel["gridPos"][side].as_u64().expect("a panel has a place");
            for x in at("x")..at("x") + at("w") {
                assert!(x < 24, "{dashboard}: {} is wider than the page", panel["title"]);
                for y in at("y")..at("y") + at("h") {
                    assert!(cells.insert((x, y)), "{dashboard}: {} lies on another panel", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn all_dashboards_have_the_same_variables_and_lead_to_each_other_and_to_the_console() {
    let mut uids = HashSet::new();
    for name in DASHBOARDS {
        let json = dashboard(name);
        assert!(uids.insert(text(&json["uid"])), "{name} has the uid of another");
        let variables = json["templating"]["list"].as_array().expect("there are variables");
        let names: Vec<_> = variables.iter().map(|variable| text(&variable["name"])).collect();
        assert_eq!(names, ["source", "instance", "interval", "console"], "{name}");
        let links = json["links"].as_array().expect("there are links");
        assert!(
            links.iter().any(|link| link["type"] == "dashboards" && link["includeVars"] == true),
            "{name}"
        );
        assert!(links.iter().any(|link| text(&link["url"]).starts_with("${console}")), "{name}");
        assert!(
            json["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "moorline")),
            "{name}"
        );
    }
}
