//! Every setting, where it came from, and what is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{User, geteuid};

mod layers;
mod settings;
mod size;
mod url;

pub use layers::{Layers, Origin};
pub use settings::{Embedded, Format, Keeper, Limits, Log, Mode, Settings, Sshd, Timing};
pub use size::Size;
pub use url::BrokerUrl;

use crate::Problem;
use crate::metrics::Place;

/// The settings, checked: what is in here can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// What people call this device.
    pub name: String,
    /// The login that a session gets when none is asked for.
    pub login: String,
    /// Where identity, host key and the broker's CA are kept.
    pub state_dir: PathBuf,
    /// A file with the broker's install key.
    pub install_key_file: Option<PathBuf>,
    /// Where the broker is.
    pub broker: BrokerUrl,
    /// Certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How to get there.
    pub proxy: ProxyChoice,
    /// Which SSH server answers.
    pub sshd: Sshd,
    /// The SSH server inside the agent.
    pub embedded: Embedded,
    /// The processes that own the terminals.
    pub keeper: Keeper,
    /// How much of anything.
    pub limits: Limits,
    /// How long anything may take.
    pub timing: Timing,
    /// What is logged.
    pub log: Log,
    /// Where the agent's figures are told.
    pub metrics: Option<Place>,
}

/// How to get to the broker. (A proxy's address may hold a password: never shown.)
#[derive(Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// As HTTPS_PROXY and its relatives say.
    Environment,
    /// Directly.
    None,
    /// Through this one.
    Url(String),
}

impl std::fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProxyChoice::Environment => "Environment",
            ProxyChoice::None => "None",
            ProxyChoice::Url(_) => "Url(..)",
        })
    }
}

impl Config {
    /// Reads all layers and checks what they amount to.
    pub fn load(file: Option<&Path>, arguments: &[String]) -> Result<(Self, Layers), Problem> {
        let mut layers = Layers::default();
        if let Some(file) = file {
            layers.file(file)?;
        }
        layers.environment(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )?;
        arguments.iter().try_for_each(|argument| layers.argument(argument))?;
        Ok((Self::check(&layers)?, layers))
    }

    /// Checks every setting into a form that cannot be wrong.
    pub fn check(layers: &Layers) -> Result<Self, Problem> {
        let settings = layers.settings()?;
        let refuse =
            |key: &str, why: String| Problem::setting(key, format!("{why} ({})", layers.origin(key)));
        let broker = BrokerUrl::parse(&settings.broker.url).map_err(|why| refuse("broker.url", why))?;
        if !broker.secure && !broker.is_loopback() && !settings.broker.insecure {
            let why = "ws:// to another machine is not encrypted; use wss://, or set broker.insecure = true";
            return Err(refuse("broker.url", why.into()));
        }
        check_timing(&settings.timing).map_err(|(key, why)| refuse(key, why))?;
        for (key, number) in [
            ("limits.streams", settings.limits.streams),
            ("limits.channels", settings.limits.channels),
            ("limits.auth_tries", settings.limits.auth_tries),
        ] {
            if !(1..=10_000).contains(&number) {
                return Err(refuse(key, format!("{number} is not between 1 and 10000")));
            }
        }
        if settings.limits.input < Size(1 << 20) {
            return Err(refuse(
                "limits.input",
                "less than 1MiB would stop the input of a fast client".into(),
            ));
        }
        if settings.sshd.mode == Mode::System && !settings.sshd.address.contains(':') {
            return Err(refuse("sshd.address", format!("{:?} is not HOST:PORT", settings.sshd.address)));
        }
        if let Err(err) = settings.log.filter.parse::<tracing_subscriber::filter::Targets>() {
            return Err(refuse("log.filter", err.to_string()));
        }
        let listen = Some(settings.metrics.listen.as_str()).filter(|listen| !listen.is_empty());
        let metrics = listen.map(str::parse).transpose().map_err(|why| refuse("metrics.listen", why))?;
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Ok(Self {
            name: Some(settings.name).filter(|name| !name.is_empty()).unwrap_or_else(host_name),
            login: Some(settings.login).filter(|login| !login.is_empty()).unwrap_or_else(own_login),
            state_dir: path(&settings.state_dir).unwrap_or_else(default_state_dir),
            install_key_file: path(&settings.install_key_file),
            broker,
            ca_file: path(&settings.broker.ca_file),
            proxy: match settings.broker.proxy.as_str() {
                "environment" => ProxyChoice::Environment,
                "none" | "" => ProxyChoice::None,
                url => ProxyChoice::Url(url.to_owned()),
            },
            sshd: settings.sshd,
            embedded: settings.embedded,
            keeper: settings.keeper,
            limits: settings.limits,
            timing: settings.timing,
            log: settings.log,
            metrics,
        })
    }
}

fn check_timing(timing: &Timing) -> Result<(), (&'static str, String)> {
    let above_zero = [
        ("timing.backoff_min", timing.backoff_min),
        ("timing.connect", timing.connect),
        ("timing.greeting", timing.greeting),
        ("timing.sshd_connect", timing.sshd_connect),
        ("timing.ssh_handshake", timing.ssh_handshake),
        ("timing.ssh_auth", timing.ssh_auth),
        ("timing.leave", timing.leave),
    ];
    if let Some((key, _)) = above_zero.into_iter().find(|(_, duration)| *duration == Duration::ZERO) {
        return Err((key, "must be more than zero".into()));
    }
    if timing.backoff_max < timing.backoff_min {
        return Err(("timing.backoff_max", "is less than timing.backoff_min".into()));
    }
    if timing.backoff_refused < timing.backoff_max {
        return Err(("timing.backoff_refused", "is less than timing.backoff_max".into()));
    }
    Ok(())
}

/// Writes every effective value with its origin, as `--check` shows it.
pub fn show(layers: &Layers, out: &mut impl Write) -> std::io::Result<()> {
    for (key, value, origin) in layers.iter() {
        let shown = match (key, value.as_str()) {
            ("broker.proxy", Some(url)) if url.contains('@') => "\"(has a password)\"".to_owned(),
            _ => value.to_string(),
        };
        writeln!(out, "{key} = {shown}  # {origin}")?;
    }
    Ok(())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn own_login() -> String {
    let named = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    named.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| geteuid().to_string())
}

fn default_state_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/lib/moorline-agent");
    }
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    base.unwrap_or_else(|| home().join(".local/state")).join("moorline-agent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<Config, Problem> {
        let mut layers = Layers::default();
        arguments.iter().try_for_each(|argument| layers.argument(argument))?;
        Config::check(&layers)
    }

    #[test]
    fn the_defaults_can_be_used() {
        let config = check(&[]).unwrap();
        assert_eq!(config.broker.to_string(), "ws://127.0.0.1:8080/agent/v1/link");
        assert!(!config.name.is_empty() && !config.login.is_empty());
    }

    #[test]
    fn an_unencrypted_broker_on_another_machine_is_refused_unless_it_is_asked_for() {
        for url in ["ws://broker.example:8080", "http://10.0.0.1", "ws://[2001:db8::1]:80"] {
            let text = check(&[&format!("broker.url={url}")]).unwrap_err().to_string();
            assert!(text.contains("broker.insecure"), "{text}");
            assert!(check(&[&format!("broker.url={url}"), "broker.insecure=true"]).is_ok());
        }
        for url in ["ws://localhost:1", "ws://127.9.9.9", "http://[::1]:8080", "wss://broker.example"] {
            assert!(check(&[&format!("broker.url={url}")]).is_ok(), "{url} was refused");
        }
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused() {
        for (argument, word) in [
            ("timing.backoff_max=1ms", "timing.backoff_max"),
            ("timing.backoff_refused=1s", "timing.backoff_refused"),
            ("timing.greeting=0s", "timing.greeting"),
            ("limits.streams=0", "limits.streams"),
            ("limits.input=1KiB", "limits.input"),
            ("broker.url=ftp://x", "broker.url"),
            ("log.filter=a=b=c", "log.filter"),
            ("metrics.listen=0.0.0.0:9101", "metrics.listen"),
        ] {
            let text = check(&[argument]).unwrap_err().to_string();
            assert!(text.contains(word) && text.contains("--set"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_has_every_key_with_its_origin_and_no_password() {
        let mut layers = Layers::default();
        layers.argument("broker.proxy=http://anna:canary@proxy:1").unwrap();
        let mut shown = Vec::new();
        show(&layers, &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("timing.greeting = \"10s\"  # default"), "{shown}");
        assert!(shown.contains("broker.proxy") && shown.contains("# --set"), "{shown}");
        assert!(!format!("{:?}", Config::check(&layers).unwrap()).contains("canary"));
    }
}
