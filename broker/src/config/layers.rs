//! The layers: defaults < file < environment < `--set`, each value with its origin.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use moorline_wire::Code;

use super::value::Raw;
use super::{Config, check};
use crate::problem::Problem;

/// What every variable of the environment that is a setting begins with.
const ENV_PREFIX: &str = "MOORLINE_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This variable of the environment.
    Environment(String),
    /// This `--set`.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// What the person gave, layer by layer.
#[derive(Debug, Default)]
pub struct Layers {
    /// `--config FILE`.
    pub file: Option<PathBuf>,
    /// The environment, whole.
    pub environment: Vec<(String, String)>,
    /// Each `--set KEY=VALUE`.
    pub set: Vec<String>,
}

/// The settings and where each came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Every effective value with its origin, one line each: what `--check` prints.
    pub fn listing(&self) -> String {
        let lines = self.config.shown().into_iter().map(|(key, value)| {
            let origin = self.origins.get(key).unwrap_or(&Origin::Default);
            format!("{key} = {value}  # {origin}\n")
        });
        lines.collect()
    }

    /// One setting with its value and its origin, for a refusal.
    pub(super) fn told(&self, key: &str) -> String {
        let shown = self.config.shown();
        let value = shown.iter().find(|(declared, _)| *declared == key).map_or("", |(_, value)| value);
        format!("{key} = {value} ({})", self.origins.get(key).unwrap_or(&Origin::Default))
    }
}

/// Puts the layers together and checks the result.
pub fn load(layers: &Layers) -> Result<Loaded, Problem> {
    let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new() };
    if let Some(path) = &layers.file {
        loaded.take_file(path)?;
    }
    loaded.take_environment(&layers.environment)?;
    for pair in &layers.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| refused(format!("--set {pair} is not of the form KEY=VALUE.")))?;
        loaded.take(key.trim(), &Raw::text(value), Origin::CommandLine)?;
    }
    check::relations(&loaded).map_err(refused)?;
    Ok(loaded)
}

impl Loaded {
    fn take_file(&mut self, path: &Path) -> Result<(), Problem> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| refused(format!("{} cannot be read: {e}.", path.display())).because(e))?;
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| refused(format!("{} is not TOML: {e}", path.display())))?;
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        for (key, value) in leaves {
            let origin = Origin::File(path.to_owned());
            let raw =
                Raw::of_file(value).map_err(|why| bad_value(&key, &value.to_string(), &origin, &why))?;
            self.take(&key, &raw, origin)?;
        }
        Ok(())
    }

    /// `MOORLINE_TIMING__LINK_PING=2s`; `MOORLINE_NAME_FILE=PATH` takes the value out of a file.
    fn take_environment(&mut self, environment: &[(String, String)]) -> Result<(), Problem> {
        for (name, value) in environment {
            // The tests have variables of their own, which the programs under test inherit.
            let Some(rest) = name.strip_prefix(ENV_PREFIX).filter(|rest| !rest.starts_with("TEST_")) else {
                continue;
            };
            let key = rest.to_lowercase().replace("__", ".");
            let origin = Origin::Environment(name.clone());
            match key.strip_suffix("_file").filter(|_| !is_declared(&key)).filter(|key| is_declared(key)) {
                Some(key) => {
                    let text = std::fs::read_to_string(value).map_err(|e| {
                        refused(format!("{name} names {value}, which cannot be read: {e}.")).because(e)
                    })?;
                    self.take(key, &Raw::text(text.trim()), origin)?;
                }
                None => self.take(&key, &Raw::text(value), origin)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, key: &str, raw: &Raw, origin: Origin) -> Result<(), Problem> {
        match self.config.set(key, raw) {
            Some(Ok(())) => {
                self.origins.insert(key.to_owned(), origin);
                Ok(())
            }
            Some(Err(why)) => {
                let given = match raw {
                    Raw::Text(text) => format!("{text:?}"),
                    Raw::List(items) => format!("{items:?}"),
                };
                Err(bad_value(key, &given, &origin, &why))
            }
            None => Err(refused(unknown(key, &origin))),
        }
    }
}

fn is_declared(key: &str) -> bool {
    Config::declared().iter().any(|declared| declared.key == key)
}

fn refused(text: String) -> Problem {
    Problem::new(Code::BAD_CONFIG).saying(text)
}

fn bad_value(key: &str, given: &str, origin: &Origin, why: &str) -> Problem {
    refused(format!("{key} = {given} ({origin}) cannot be used: it {why}."))
}

/// Names the key and its origin, and the setting that was probably meant.
fn unknown(key: &str, origin: &Origin) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let meant = Config::declared().into_iter().map(|declared| declared.key).find(|declared| {
        declared.rsplit('.').next() == Some(last)
            || declared.replace(['.', '_'], "") == key.replace(['.', '_', '-'], "")
    });
    let hint = match meant {
        Some(meant) => format!("Did you mean {meant}?"),
        None => "config/broker.toml lists every setting.".to_owned(),
    };
    format!("There is no setting {key} ({origin}). {hint}")
}

/// The leaves of a table with their full keys.
fn flatten<'a>(prefix: &str, table: &'a toml::Table, leaves: &mut Vec<(String, &'a toml::Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, leaves),
            leaf => leaves.push((key, leaf)),
        }
    }
}
