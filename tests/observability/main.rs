//! Dashboards, alerts and metrics belong together: what a panel asks for is counted, what is counted
//! is on a panel, and each alert fires.
//!
//! There is no Grafana in these tests: a real Prometheus scrapes a real broker and is asked what the
//! panels would ask.
//!
//! - `panels`: reads `dashboards/*.json`, and what each panel must say
//! - `alerts`: reads the rules, and what each alert must have
//! - `table`: the table of faults in `dashboards/README.md`
//! - `prometheus`: the program; `work`: people, devices and faults for it to see
//! - `proof`: everything above against it

mod alerts;
mod panels;
mod prometheus;
mod proof;
mod table;
mod work;
