//! Defaults < file < environment < `--set`: one value per key, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Settings;
use crate::Problem;

/// What an environment variable must begin with to be a setting.
const PREFIX: &str = "MOORLINE_";
/// Variables with the prefix that are no settings.
const NO_SETTINGS: &[&str] = &[
    "MOORLINE_CONFIG",
    "MOORLINE_WRITE_CONFIG",
    // What a keeper reads, and what it tells its program.
    crate::keeper::DIR_VARIABLE,
    crate::keeper::SHELL_VARIABLE,
    crate::keeper::SESSION_VARIABLE,
];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// `--set`.
    Argument,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Argument => f.write_str("--set"),
        }
    }
}

/// The values of all keys, and where each came from.
#[derive(Debug)]
pub struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Default for Layers {
    fn default() -> Self {
        let defaults =
            Table::try_from(Settings::default()).expect("the defaults are TOML, a test reads them");
        let mut leaves = Vec::new();
        flatten("", &defaults, &mut leaves);
        Self { values: leaves.into_iter().map(|(key, value)| (key, (value, Origin::Default))).collect() }
    }
}

impl Layers {
    /// Adds what a file says.
    pub fn file(&mut self, path: &Path) -> Result<(), Problem> {
        let text = std::fs::read_to_string(path)
            .map_err(|err| Problem::setting("--config", format!("cannot read {}: {err}", path.display())))?;
        let table: Table = toml::from_str(&text)
            .map_err(|err| Problem::setting("--config", format!("{} is not TOML: {err}", path.display())))?;
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        leaves.into_iter().try_for_each(|(key, value)| self.put(&key, value, Origin::File(path.to_owned())))
    }

    /// Adds what the environment says: `MOORLINE_BROKER__URL`, or `MOORLINE_BROKER__PROXY_FILE` for a
    /// file that holds the value.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Problem> {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX).filter(|_| !NO_SETTINGS.contains(&name.as_str()))
            else {
                continue;
            };
            let key = rest.to_lowercase().replace("__", ".");
            let origin = Origin::Environment(name);
            match key.strip_suffix("_file") {
                Some(secret) if !self.values.contains_key(&key) && self.values.contains_key(secret) => {
                    let held = std::fs::read_to_string(&text).map_err(|err| {
                        Problem::setting(secret, format!("cannot read {text} ({origin}): {err}"))
                    })?;
                    self.text(secret, held.trim(), origin)?;
                }
                _ => self.text(&key, &text, origin)?,
            }
        }
        Ok(())
    }

    /// Adds one `--set KEY=VALUE`.
    pub fn argument(&mut self, argument: &str) -> Result<(), Problem> {
        let (key, text) = argument
            .split_once('=')
            .ok_or_else(|| Problem::setting("--set", format!("{argument:?} is not KEY=VALUE")))?;
        self.text(key.trim(), text, Origin::Argument)
    }

    /// All keys with their values and origins, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value, &Origin)> {
        self.values.iter().map(|(key, (value, origin))| (key.as_str(), value, origin))
    }

    /// Where the value of this key came from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.values.get(key).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// The settings that all of this amounts to.
    pub fn settings(&self) -> Result<Settings, Problem> {
        let whole = nest(self.values.iter().map(|(key, (value, _))| (key.as_str(), value)));
        whole.try_into().map_err(|err| self.culprit(&err))
    }

    /// Finds the key whose value alone spoils the defaults.
    fn culprit(&self, whole: &toml::de::Error) -> Problem {
        let defaults = Layers::default();
        for (key, (value, origin)) in &self.values {
            let mut values: BTreeMap<&str, &Value> =
                defaults.values.iter().map(|(key, (value, _))| (key.as_str(), value)).collect();
            values.insert(key, value);
            if let Err(err) = nest(values.into_iter()).try_into::<Settings>() {
                return Problem::setting(key, format!("{value} ({origin}): {}", err.message()));
            }
        }
        Problem::setting("settings", whole.message())
    }

    /// Adds one value, as an argument gives it.
    pub fn set(&mut self, key: &str, value: Value) -> Result<(), Problem> {
        self.put(key, value, Origin::Argument)
    }

    fn text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Problem> {
        let value = match self.known(key, &origin)? {
            Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Array(_) => list(text),
            _ => Some(Value::String(text.to_owned())),
        };
        match value {
            Some(value) => self.put(key, value, origin),
            None => Err(Problem::setting(key, format!("{text:?} ({origin}) is not of the form it needs"))),
        }
    }

    fn put(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), Problem> {
        // A section in which everything is a comment says nothing.
        let is_section = |known: &String| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        if value.as_table().is_some_and(Table::is_empty) && self.values.keys().any(is_section) {
            return Ok(());
        }
        let default = self.known(key, &origin)?;
        if default.type_str() != value.type_str() {
            let (is, wanted) = (value.type_str(), default.type_str());
            return Err(Problem::setting(key, format!("{value} ({origin}) is of type {is}, not {wanted}")));
        }
        self.values.insert(key.to_owned(), (value, origin));
        Ok(())
    }

    fn known(&self, key: &str, origin: &Origin) -> Result<&Value, Problem> {
        self.values.get(key).map(|(value, _)| value).ok_or_else(|| {
            Problem::setting(key, format!("there is no such setting ({origin}); --check lists all of them"))
        })
    }
}

fn list(text: &str) -> Option<Value> {
    if text.trim_start().starts_with('[') {
        return toml::from_str::<Table>(&format!("list = {text}")).ok()?.remove("list");
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
}

fn flatten(prefix: &str, table: &Table, leaves: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(&key, inner, leaves),
            value => leaves.push((key, value.clone())),
        }
    }
}

fn nest<'a>(leaves: impl Iterator<Item = (&'a str, &'a Value)>) -> Table {
    let mut whole = Table::new();
    for (key, value) in leaves {
        match key.split_once('.') {
            None => drop(whole.insert(key.to_owned(), value.clone())),
            Some((table, name)) => {
                let inner = whole.entry(table).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(inner) = inner {
                    inner.insert(name.to_owned(), value.clone());
                }
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_later_layer_goes_before_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        std::fs::write(&file, "name = 'file'\nlogin = 'file'\n[broker]\nurl = 'ws://localhost:1'\n").unwrap();
        let mut layers = Layers::default();
        layers.file(&file).unwrap();
        layers
            .environment(environment(&[("MOORLINE_LOGIN", "env"), ("MOORLINE_NAME", "env"), ("PATH", "x")]))
            .unwrap();
        layers.argument("name=set").unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!((settings.name.as_str(), settings.login.as_str()), ("set", "env"));
        assert_eq!(settings.broker.url, "ws://localhost:1");
        assert_eq!(layers.origin("name"), &Origin::Argument);
        assert_eq!(layers.origin("login"), &Origin::Environment("MOORLINE_LOGIN".into()));
        assert_eq!(layers.origin("broker.url"), &Origin::File(file));
        assert_eq!(layers.origin("sshd.mode"), &Origin::Default);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_origin() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        std::fs::write(&file, "[brokr]\nurl = 'x'\n").unwrap();
        let text = Layers::default().file(&file).unwrap_err().to_string();
        assert!(text.contains("brokr.url") && text.contains("agent.toml"), "{text}");
        let text = Layers::default()
            .environment(environment(&[("MOORLINE_BROKER__URI", "x")]))
            .unwrap_err()
            .to_string();
        assert!(text.contains("broker.uri") && text.contains("MOORLINE_BROKER__URI"), "{text}");
        let text = Layers::default().argument("nam=x").unwrap_err().to_string();
        assert!(text.contains("nam:") && text.contains("--set"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_by_name_value_and_origin() {
        for (argument, parts) in [
            ("timing.greeting=soon", ["timing.greeting", "soon", "--set"]),
            ("limits.input=4MB", ["limits.input", "4MB", "--set"]),
            ("limits.streams=many", ["limits.streams", "many", "--set"]),
            ("sshd.mode=none", ["sshd.mode", "none", "--set"]),
            ("broker.insecure=perhaps", ["broker.insecure", "perhaps", "--set"]),
        ] {
            let mut layers = Layers::default();
            let problem = layers.argument(argument).and_then(|()| layers.settings()).unwrap_err();
            assert_eq!(problem.code, moorline_wire::Code::BAD_CONFIG);
            let text = problem.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }

    #[test]
    fn a_secret_may_lie_in_a_file_and_a_list_may_be_written_with_commas() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("proxy");
        std::fs::write(&file, "http://u:p@proxy:3128\n").unwrap();
        let mut layers = Layers::default();
        let name = file.to_str().unwrap();
        let variables = [("MOORLINE_BROKER__PROXY_FILE", name), ("MOORLINE_EMBEDDED__LOGINS", "anna, bert")];
        layers.environment(environment(&variables)).unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!(settings.broker.proxy, "http://u:p@proxy:3128");
        assert_eq!(settings.embedded.logins, ["anna", "bert"]);
        layers.environment(environment(&[("MOORLINE_INSTALL_KEY_FILE", "/etc/key")])).unwrap();
        assert_eq!(layers.settings().unwrap().install_key_file, "/etc/key");
    }
}
