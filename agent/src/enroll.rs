//! `moorline-agent enroll`: makes this device known to a broker, writes its settings, and says what happened.
//!
//! The install key is used for one greeting and is written nowhere: from then on the device proves itself by
//! its own key. Where the broker refuses, the settings are not written, and the same command can be given
//! again.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use moorline_wire::Code;
use toml::Value;
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::config::{Config, Layers};
use crate::connection::{Dialer, InstallKey, introduce};
use crate::identity::StateDir;
use crate::{Problem, clock};

mod settings;

/// An install key is shorter.
const KEY_BYTES_MAX: u64 = 4096;

/// What `enroll` was told.
#[derive(Debug, clap::Args)]
pub struct Enroll {
    /// The broker's address, such as wss://broker.example
    #[arg(long, value_name = "URL")]
    broker: String,
    /// The install key; others on this machine can read it in the list of processes, so rather use --key-file
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// A file with the install key; - reads it from standard input
    #[arg(long, value_name = "FILE", required_unless_present = "key")]
    key_file: Option<PathBuf>,
    /// A folder for agent.toml and the state; without it, they are where the service looks for them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One setting more for agent.toml, such as name=pump-7
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Allow ws:// to another machine, which is not encrypted
    #[arg(long)]
    insecure: bool,
}

/// Where what `enroll` writes lies.
struct Place {
    settings: PathBuf,
    state: Option<PathBuf>,
}

impl Enroll {
    /// Enrols; gives what to tell.
    pub fn run(&self) -> Result<String, Problem> {
        let key = self.install_key()?;
        let place = self.place()?;
        let layers = self.layers(&place)?;
        let config = Config::check(&layers)?;
        let state = StateDir::open(&config.state_dir)?;
        if state.user_ca()?.is_some() {
            return Err(Problem::new(Code::BAD_CONFIG).saying(format!(
                "This device is enrolled already, as {} (state in {}). Start its agent; or give another --dir, or \
                 delete the state, to enrol it anew.",
                state.identity()?.device(),
                config.state_dir.display()
            )));
        }
        let (agent, pending) = greet(config, key)?;
        let written = settings::write(&place.settings, &layers)?;
        Ok(self.told(&agent, pending, &place, written))
    }

    fn install_key(&self) -> Result<InstallKey, Problem> {
        let trouble = |err: io::Error, from: &str| {
            Problem::setting("--key-file", format!("{from} cannot be read: {err}")).because(err)
        };
        let text = match (&self.key, &self.key_file) {
            (Some(key), _) => Zeroizing::new(key.clone()),
            (None, Some(file)) if file.as_os_str() == "-" => {
                if io::stdin().is_terminal() {
                    eprintln!("Paste the install key and press Enter.");
                }
                let mut line = Zeroizing::new(String::new());
                io::stdin().read_line(&mut line).map_err(|err| trouble(err, "standard input"))?;
                line
            }
            (None, file) => {
                let file = file.as_deref().unwrap_or(Path::new("-"));
                let mut text = Zeroizing::new(String::new());
                fs::File::open(file)
                    .and_then(|open| open.take(KEY_BYTES_MAX).read_to_string(&mut text))
                    .map_err(|err| trouble(err, &file.display().to_string()))?;
                text
            }
        };
        InstallKey::parse(&text).ok_or_else(|| {
            Problem::setting(
                "--key",
                "this is not an install key. It is one line, mli_... as the broker showed it once; copy it whole",
            )
        })
    }

    fn place(&self) -> Result<Place, Problem> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|err| Problem::setting("--dir", format!("{}: {err}", path.display())))
        };
        if let Some(dir) = &self.dir {
            let dir = absolute(dir)?;
            return Ok(Place { settings: dir.join("agent.toml"), state: Some(dir.join("state")) });
        }
        if nix::unistd::geteuid().is_root() {
            return Ok(Place { settings: "/etc/moorline/agent.toml".into(), state: None });
        }
        let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let base = base.unwrap_or_else(|| home().join(".config"));
        Ok(Place { settings: base.join("moorline/agent.toml"), state: None })
    }

    /// What was there before, and over it what was told now.
    fn layers(&self, place: &Place) -> Result<Layers, Problem> {
        let mut layers = Layers::default();
        if place.settings.exists() {
            layers.file(&place.settings)?;
        }
        if let Some(state) = &place.state {
            layers.set("state_dir", Value::String(state.display().to_string()))?;
        }
        layers.set("broker.url", Value::String(self.broker.clone()))?;
        if self.insecure {
            layers.set("broker.insecure", Value::Boolean(true))?;
        }
        self.set.iter().try_for_each(|setting| layers.argument(setting))?;
        Ok(layers)
    }

    fn told(&self, agent: &Agent, pending: bool, place: &Place, written: bool) -> String {
        let device = agent.identity().device().clone();
        let settings = place.settings.display();
        let mut told = if pending {
            format!(
                "The broker knows this device now, as {device}. It waits for approval: until an administrator approves \
                 it on the devices page, it gets no sessions.\n"
            )
        } else {
            format!("This device is enrolled, as {device}.\n")
        };
        told += &format!(
            "What it is called: {}. The broker's CA is trusted from now on; its own key is in {}.\n",
            agent.config.name,
            agent.config.state_dir.display()
        );
        told += &match written {
            true => format!("Wrote {settings}: the settings, each explained.\n"),
            false => format!("Left {settings} as it was; it must name this broker ({}).\n", self.broker),
        };
        told + &format!("Start the agent, if it does not run:\n\n    moorline-agent --config {settings}\n")
    }
}

/// The first greeting; whether the device waits for approval.
fn greet(config: Config, key: InstallKey) -> Result<(Agent, bool), Problem> {
    let dialer = Dialer::new(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Problem::new(Code::INTERNAL).saying("cannot start the runtime").because(err))?;
    runtime.block_on(async {
        // It serves no session, so there is nothing to bury.
        let (agent, _) = Agent::new(config)?;
        let agent = agent.enrolling_with(Some(key));
        let limit = agent.config.timing.connect + agent.config.timing.greeting;
        let greeting = Box::pin(introduce(&agent, &dialer));
        let late = |late| Problem::new(Code::LINK_DEAD).because(late);
        let welcome = clock::within(limit, "enrolling", greeting).await.map_err(late)??;
        Ok((agent, welcome.pending))
    })
}

/// Writes a new file, whole or not at all, and the folders to it. `false`: there is one, and it was left alone.
pub(crate) fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(err) => return Err(err),
    };
    if let Err(err) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        let _ = fs::remove_file(path);
        return Err(err);
    }
    Ok(true)
}
