//! Every setting of the agent, once: the field, what it means, and its default below.
//!
//! `config/agent.toml` is written from this file by the test at its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::size::Size;

/// The settings as they are written; an empty text means "by itself", as the field says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What people call this device. Empty: its host name.
    pub name: String,
    /// The login that a session gets when none is asked for. Empty: the user that the agent runs as.
    pub login: String,
    /// Where the identity, the host key and the broker's CA are kept (0700).
    /// Empty: /var/lib/moorline-agent as root, else ~/.local/state/moorline-agent.
    pub state_dir: String,
    /// A file with the broker's install key. With it the device enrols itself at the first connection.
    pub install_key_file: String,
    /// The broker that this device belongs to.
    pub broker: Broker,
    /// Which SSH server answers.
    pub sshd: Sshd,
    /// The SSH server inside the agent (sshd.mode = "embedded").
    pub embedded: Embedded,
    /// The processes that own the terminals, so that sessions outlive broker and agent.
    pub keeper: Keeper,
    /// How much of anything.
    pub limits: Limits,
    /// How long anything may take.
    pub timing: Timing,
    /// What is logged, to standard error.
    pub log: Log,
    /// What the agent counts of itself, for Prometheus.
    pub metrics: Metrics,
}

/// The broker that this device belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Its address: wss://HOST[:PORT][/PATH], or ws:// (https:// and http:// mean the same). The path
    /// is /agent/v1/link where none is given. ws:// is for this machine only.
    pub url: String,
    /// Allow ws:// to another machine: everybody between can then see when this device is used, and
    /// cut it off. What runs inside stays encrypted by SSH.
    pub insecure: bool,
    /// A file with certificates (PEM) that are trusted for wss:// beside the system's.
    pub ca_file: String,
    /// "environment" (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), "none", or http://[USER:PASSWORD@]HOST:PORT.
    pub proxy: String,
}

/// Which SSH server answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sshd {
    /// "embedded": the one inside the agent, which listens on no port. "system": the OpenSSH of this device.
    pub mode: Mode,
    /// Where the system's sshd listens.
    pub address: String,
    /// Its public host keys, which the broker pins (* in the file name). When none can be read, the agent
    /// asks the sshd itself.
    pub host_key_files: Vec<String>,
}

/// Which SSH server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The one inside the agent.
    Embedded,
    /// The OpenSSH of this device.
    System,
}

impl Mode {
    /// As it is said in the greeting.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Embedded => "embedded",
            Mode::System => "system",
        }
    }
}

/// The SSH server inside the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// The shell of every session. Empty: the one of the login in /etc/passwd.
    pub shell: String,
    /// Keys that may log in beside the broker's certificates; %h is the login's home, %u its name, %% a
    /// percent sign. Empty: certificates only.
    pub authorized_keys: String,
    /// Environment variables that a client may set (* matches any characters).
    pub accept_env: Vec<String>,
    /// The logins that may be used. Empty: as root every one with a valid shell, else only the agent's own.
    pub logins: Vec<String>,
}

/// The processes that own the terminals, so that sessions outlive broker and agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keeper {
    /// Offer keepers to the broker. Without them a session ends with the broker's process.
    pub enabled: bool,
    /// Where their sockets are (0700, each login's own); %h is the login's home, %u its name, %% a percent
    /// sign. Only for the embedded sshd: another one sets MOORLINE_KEEP_DIR in its own way. Empty:
    /// /run/moorline/keep for root, ~/.local/state/moorline/keep for others.
    pub dir: String,
}

/// How much of anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Streams (SSH connections) at once.
    pub streams: usize,
    /// Sessions within one SSH connection.
    pub channels: usize,
    /// Login attempts within one SSH connection.
    pub auth_tries: usize,
    /// Typed or piped input that waits for a program which does not read, per SSH connection. Beyond a
    /// sixteenth of it the input is slowed to a trickle; beyond all of it the connection waits.
    pub input: Size,
}

/// How long anything may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// The first wait before dialling again; doubled each time, and a random part of it is taken.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// The longest wait before dialling again.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// The longest wait when the broker refuses this device, which only a person can change.
    #[serde(with = "humantime_serde")]
    pub backoff_refused: Duration,
    /// A connection that lasted this long starts the waits anew.
    #[serde(with = "humantime_serde")]
    pub stable_after: Duration,
    /// Dialling: name look-up, TCP, proxy, TLS and the WebSocket upgrade.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// The greeting after that.
    #[serde(with = "humantime_serde")]
    pub greeting: Duration,
    /// Connecting to the system's sshd.
    #[serde(with = "humantime_serde")]
    pub sshd_connect: Duration,
    /// The key exchange of an SSH connection.
    #[serde(with = "humantime_serde")]
    pub ssh_handshake: Duration,
    /// The login of an SSH connection, after its key exchange.
    #[serde(with = "humantime_serde")]
    pub ssh_auth: Duration,
    /// From SIGHUP to SIGKILL for the processes of a session whose connection is gone.
    #[serde(with = "humantime_serde")]
    pub kill_grace: Duration,
    /// Leaving after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub leave: Duration,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Which events: a level, or TARGET=LEVEL, separated by commas.
    pub filter: String,
    /// "text" or "json".
    pub format: Format,
}

/// What the agent counts of itself, for Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where GET /metrics is answered: a loopback address with a port, or unix:/PATH/OF/A/SOCKET. Empty:
    /// nowhere.
    pub listen: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            name: String::new(),
            login: String::new(),
            state_dir: String::new(),
            install_key_file: String::new(),
            broker: Broker {
                url: "ws://127.0.0.1:8080".into(),
                insecure: false,
                ca_file: String::new(),
                proxy: "environment".into(),
            },
            sshd: Sshd {
                mode: Mode::Embedded,
                address: "127.0.0.1:22".into(),
                host_key_files: texts(&["/etc/ssh/ssh_host_*_key.pub"]),
            },
            embedded: Embedded {
                shell: String::new(),
                authorized_keys: "%h/.ssh/authorized_keys".into(),
                accept_env: texts(&["LANG", "LANGUAGE", "LC_*", "COLORTERM", "TERM_PROGRAM", "TZ"]),
                logins: Vec::new(),
            },
            keeper: Keeper { enabled: true, dir: String::new() },
            limits: Limits { streams: 256, channels: 10, auth_tries: 6, input: Size(16 << 20) },
            timing: Timing {
                backoff_min: Duration::from_millis(250),
                backoff_max: Duration::from_secs(15),
                backoff_refused: Duration::from_secs(60),
                stable_after: Duration::from_secs(60),
                connect: Duration::from_secs(10),
                greeting: Duration::from_secs(10),
                sshd_connect: Duration::from_secs(5),
                ssh_handshake: Duration::from_secs(15),
                ssh_auth: Duration::from_secs(10),
                kill_grace: Duration::from_secs(5),
                leave: Duration::from_secs(5),
            },
            log: Log { filter: "info".into(), format: Format::Text },
            metrics: Metrics { listen: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/agent.toml");

    /// The documentation of every field of `structure`, as this very file has it.
    fn fields(structure: &str) -> Vec<(String, Vec<String>)> {
        let source = include_str!("settings.rs");
        let body = source.split_once(&format!("pub struct {structure} {{")).expect(structure).1;
        let body = body.split_once("\n}").expect("a struct ends").0;
        let (mut fields, mut doc) = (Vec::new(), Vec::new());
        for line in body.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("/// ") {
                doc.push(text.to_owned());
            } else if let Some(field) = line.strip_prefix("pub ") {
                let name = field.split_once(':').expect("a field has a type").0;
                fields.push((name.to_owned(), std::mem::take(&mut doc)));
            }
        }
        fields
    }

    /// What `config/agent.toml` must be: every key at its default, with its explanation.
    fn rendered() -> String {
        let defaults = toml::Table::try_from(Settings::default()).expect("the defaults are TOML");
        let mut text = "# Every setting of moorline-agent at its default. A file may leave out what it does not change.\n\
             # Each can also be set as MOORLINE_BROKER__URL=... in the environment or --set broker.url=... .\n\
             # Written from agent/src/config/settings.rs; a test keeps them equal.\n"
            .to_owned();
        let mut tables = Vec::new();
        for (name, doc) in fields("Settings") {
            match &defaults[&name] {
                toml::Value::Table(table) => tables.push((name, doc, table)),
                value => entry(&mut text, &name, &doc, value),
            }
        }
        for (name, doc, table) in tables {
            let _ = writeln!(text, "\n# {}\n[{name}]", doc.join("\n# "));
            let structure = name[..1].to_uppercase() + &name[1..];
            for (name, doc) in fields(&structure) {
                entry(&mut text, &name, &doc, &table[&name]);
            }
        }
        text
    }

    fn entry(text: &mut String, name: &str, doc: &[String], value: &toml::Value) {
        let _ = writeln!(text, "\n# {}\n{name} = {value}", doc.join("\n# "));
    }

    #[test]
    fn the_file_has_every_key_at_its_default_with_its_explanation() {
        let rendered = rendered();
        if std::env::var_os("MOORLINE_WRITE_CONFIG").is_some() {
            std::fs::write(FILE, &rendered).expect("config/agent.toml can be written");
        }
        let file = std::fs::read_to_string(FILE).expect("config/agent.toml can be read");
        assert_eq!(
            file, rendered,
            "write it with MOORLINE_WRITE_CONFIG=1 cargo nextest run -p moorline-agent the_file_has"
        );
        assert_eq!(toml::from_str::<Settings>(&file).expect("the file is valid"), Settings::default());
    }
}
