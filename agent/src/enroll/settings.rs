//! agent.toml as `enroll` writes it: every setting with its explanation, and those that were told in force.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use crate::Problem;
use crate::config::{Layers, Origin};

/// Every setting, explained, at its default.
const DEFAULTS: &str = include_str!("../../../config/agent.toml");

/// Writes the settings. `false`: there is such a file, and it was left as it is.
pub(super) fn write(path: &Path, layers: &Layers) -> Result<bool, Problem> {
    super::write_new(path, 0o644, &text(layers)).map_err(|err| {
        let why =
            format!("the broker knows this device now, but {} cannot be written: {err}", path.display());
        Problem::setting("--dir", why).because(err)
    })
}

/// What is at its default stands there as a comment, so that a newer agent's defaults are taken.
fn text(layers: &Layers) -> String {
    let told = layers.iter().filter(|(_, _, origin)| **origin != Origin::Default);
    let told: BTreeMap<&str, &Value> = told.map(|(key, value, _)| (key, value)).collect();
    let mut section = String::new();
    let lines = DEFAULTS.lines().skip(3).map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            return format!("{line}\n");
        };
        match told.get(format!("{section}{name}").as_str()) {
            Some(value) => format!("{name} = {value}\n"),
            None => format!("#{line}\n"),
        }
    });
    let lines: String = lines.collect();
    format!("# Settings of moorline-agent. What is commented out is at its default.\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_in_force_and_everything_else_a_comment() {
        let mut layers = Layers::default();
        for told in ["broker.url=wss://b.example", "limits.streams=7", "embedded.logins=pi,root", "name=a\"b"]
        {
            layers.argument(told).unwrap();
        }
        let text = text(&layers);
        let mut read = Layers::default();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("agent.toml"), &text).unwrap();
        read.file(&dir.path().join("agent.toml")).unwrap();
        assert_eq!(read.settings().unwrap(), layers.settings().unwrap());
        let told = read.iter().filter(|(_, _, origin)| **origin != Origin::Default).count();
        assert_eq!(told, 4, "{text}");
        assert!(text.contains("\n#mode = \"embedded\"\n"), "{text}");
    }
}
