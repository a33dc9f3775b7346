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
mod system_sshd;

use system_sshd::{InForce, SystemSshd};

/// An install key is shorter.
const KEY_BYTES_MAX: u64 = 4096;

/// What `enroll` was told.
#[derive(Debug, clap::Args)]
pub struct Enroll {
    /// The broker's address, such as wss://broker.example; may be left out with --system-sshd, once it is enrolled
    #[arg(long, value_name = "URL", required_unless_present = "system_sshd")]
    broker: Option<String>,
    /// The install key; others on this machine can read it in the list of processes, so rather use --key-file
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// A file with the install key; - reads it from standard input
    #[arg(long, value_name = "FILE")]
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
    /// Let the OpenSSH of this device answer, and let it trust the broker's certificates
    #[arg(long)]
    system_sshd: bool,
    /// Take back what --system-sshd has written
    #[arg(long, requires = "system_sshd", conflicts_with = "broker")]
    undo: bool,
    /// Let the running sshd read its configuration anew
    #[arg(long, requires = "system_sshd")]
    reload: bool,
    /// The configuration of that sshd
    #[arg(long, value_name = "FILE", requires = "system_sshd", default_value = "/etc/ssh/sshd_config")]
    sshd_config: PathBuf,
}

/// Where what `enroll` writes lies.
struct Place {
    settings: PathBuf,
    state: Option<PathBuf>,
}

impl Enroll {
    /// Enrols; gives what to tell.
    pub fn run(&self) -> Result<String, Problem> {
        if self.undo {
            let sshd = SystemSshd::of(&self.sshd_config)?;
            return Ok(sshd.undo()? + &sshd.reload(self.reload)?);
        }
        let place = self.place()?;
        let Some(broker) = &self.broker else { return self.trust(&self.layers(&place, None)?) };
        let key = self.install_key()?;
        let mut layers = self.layers(&place, Some(broker))?;
        if self.system_sshd {
            through_the_system(&mut layers, &SystemSshd::of(&self.sshd_config)?.in_force()?)?;
        }
        let config = Config::check(&layers)?;
        let state = StateDir::open(&config.state_dir)?;
        if !state.user_cas()?.keys.is_empty() {
            return Err(Problem::new(Code::BAD_CONFIG).saying(format!(
                "This device is enrolled already, as {} (state in {}). Start its agent; or give another --dir, or \
                 delete the state, to enrol it anew.",
                state.identity()?.device(),
                config.state_dir.display()
            )));
        }
        let (agent, pending) = greet(config, key)?;
        let written = settings::write(&place.settings, &layers)?;
        let trusted = if self.system_sshd { self.trust(&layers)? } else { String::new() };
        Ok(told(&agent, pending) + &trusted + &self.told_to_start(broker, &place, written))
    }

    /// Lets the system's sshd trust the CA that this device has pinned.
    fn trust(&self, layers: &Layers) -> Result<String, Problem> {
        let config = Config::check(layers)?;
        let state = StateDir::open(&config.state_dir)?;
        if state.user_cas()?.keys.is_empty() {
            return Err(Problem::new(Code::NOT_ENROLLED).saying(
                "This device is not enrolled yet, so there is no CA to trust. Give --broker and an install key as well.",
            ));
        }
        let sshd = SystemSshd::of(&self.sshd_config)?;
        Ok(sshd.trust(&state.user_ca_file())? + &sshd.reload(self.reload)?)
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
            (None, None) => {
                let why =
                    "an install key is needed: give a file with it, or - to read it from standard input";
                return Err(Problem::setting("--key-file", why));
            }
            (None, Some(file)) => {
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
    fn layers(&self, place: &Place, broker: Option<&String>) -> Result<Layers, Problem> {
        let mut layers = Layers::default();
        if place.settings.exists() {
            layers.file(&place.settings)?;
        }
        if let Some(state) = &place.state {
            layers.set("state_dir", Value::String(state.display().to_string()))?;
        }
        if let Some(broker) = broker {
            layers.set("broker.url", Value::String(broker.clone()))?;
        }
        if self.insecure {
            layers.set("broker.insecure", Value::Boolean(true))?;
        }
        self.set.iter().try_for_each(|setting| layers.argument(setting))?;
        Ok(layers)
    }

    fn told_to_start(&self, broker: &str, place: &Place, written: bool) -> String {
        let settings = place.settings.display();
        let told = match written {
            true => format!("Wrote {settings}: the settings, each explained.\n"),
            false => format!("Left {settings} as it was; it must name this broker ({broker}).\n"),
        };
        told + &format!("Start the agent, if it does not run:\n\n    moorline-agent --config {settings}\n")
    }
}

/// What became of the device.
fn told(agent: &Agent, pending: bool) -> String {
    let device = agent.identity().device().clone();
    let what = if pending {
        format!(
            "The broker knows this device now, as {device}. It waits for approval: until somebody approves it on the \
             devices page, it gets no sessions.\n"
        )
    } else {
        format!("This device is enrolled, as {device}.\n")
    };
    what + &format!(
        "What it is called: {}. The broker's CA is trusted from now on; the device's own key is in {}.\n",
        agent.config.name,
        agent.config.state_dir.display()
    )
}

/// The agent leads to that sshd.
fn through_the_system(layers: &mut Layers, sshd: &InForce) -> Result<(), Problem> {
    layers.set("sshd.mode", Value::String("system".to_owned()))?;
    if let Some(address) = sshd.address {
        layers.set("sshd.address", Value::String(address.to_string()))?;
    }
    let files = sshd.host_key_files.iter().cloned().map(Value::String);
    layers.set("sshd.host_key_files", Value::Array(files.collect()))
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
