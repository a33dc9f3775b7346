//! The running agent: what is prepared once, and what serves the streams of the link.

use std::future::Future;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use moorline_link_io::LinkStream;
use moorline_wire::Code;
use moorline_wire::link::Target;
use russh::keys::PublicKey;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Mode};
use crate::connection::{self, Dialer, InstallKey};
use crate::identity::{Identity, StateDir, UserCas};
use crate::metrics::{Listener, Metrics};
use crate::sshd::{EmbeddedSshd, UserCa};
use crate::{Problem, clock, host_keys, keeper, metrics, service, tunnel};

/// What is prepared once.
pub struct Agent {
    /// The settings.
    pub config: Config,
    identity: RwLock<Arc<Identity>>,
    /// The pinned CA of the broker.
    pub user_ca: UserCa,
    /// What is counted.
    pub metrics: Metrics,
    /// What this device can do beyond the least, for the greeting.
    pub capabilities: Vec<String>,
    state: StateDir,
    service: Service,
    /// The install key that `enroll` was given, instead of the one of `install_key_file`.
    given: Option<Arc<InstallKey>>,
}

/// Which SSH server answers.
enum Service {
    Embedded { sshd: EmbeddedSshd, host_key: String },
    System,
}

impl Agent {
    /// Reads or makes what the state folder holds. The second value is the work that ends what
    /// sessions leave behind; it is to be driven until it is done.
    pub fn new(config: Config) -> Result<(Self, impl Future<Output = ()> + Send + 'static), Problem> {
        let state = StateDir::open(&config.state_dir)?;
        let identity = state.identity()?;
        let (user_ca, metrics) = (UserCa::default(), Metrics::default());
        let cas = state.user_cas()?;
        if !cas.keys.is_empty() {
            user_ca.set(&cas.keys);
        }
        let (service, burials) = match config.sshd.mode {
            Mode::System => (Service::System, None),
            Mode::Embedded => {
                let key = state.host_key()?;
                let host_key = public_line(key.public_key())?;
                let (embedded, limits, timing) = (&config.embedded, &config.limits, &config.timing);
                let keeper = &config.keeper;
                let (ca, metrics) = (user_ca.clone(), metrics.clone());
                let (sshd, burials) = EmbeddedSshd::new(key, ca, embedded, keeper, limits, timing, metrics);
                (Service::Embedded { sshd, host_key }, Some(burials))
            }
        };
        // Now: an upgrade may put another program in our place.
        let capabilities = keeper::capability().filter(|_| config.keeper.enabled).into_iter().collect();
        let identity = RwLock::new(Arc::new(identity));
        let given = None;
        let agent = Self { config, identity, user_ca, metrics, capabilities, state, service, given };
        agent.install_key()?;
        let burials = async move {
            if let Some(burials) = burials {
                burials.await;
            }
        };
        Ok((agent, burials))
    }

    /// Enrols with this key, whatever the settings say.
    pub fn enrolling_with(mut self, key: Option<InstallKey>) -> Self {
        self.given = key.map(Arc::new);
        self
    }

    /// Who this device is.
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that is to take the place of the present one, if there is one.
    pub fn next_identity(&self) -> Result<Option<Identity>, Problem> {
        self.state.next_identity()
    }

    /// Makes it, if there is none yet.
    pub fn make_next_identity(&self) -> Result<(), Problem> {
        self.state.make_next_identity(self.identity().device())
    }

    /// Whether there is such a key.
    pub fn has_next_identity(&self) -> bool {
        self.state.has_next_identity()
    }

    /// The broker has taken the next key: it is this device's from now on.
    pub fn take_next_identity(&self, next: Identity) -> Result<(), Problem> {
        self.state.take_next_identity()?;
        tracing::info!(device = %next.device(), "the broker has taken the next key of this device");
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// Serves one stream of the link until its end. When the future is dropped, the stream is reset.
    pub fn serve(&self, stream: LinkStream, target: Target) -> impl Future<Output = ()> + Send + 'static {
        let sshd = match &self.service {
            Service::Embedded { sshd, .. } => Some(sshd.clone()),
            Service::System => None,
        };
        let (address, connect) = (self.config.sshd.address.clone(), self.config.timing.sshd_connect);
        let streaming = self.metrics.stream();
        async move {
            let _streaming = streaming;
            match (target, sshd) {
                (Target::Sshd, Some(sshd)) => sshd.serve(stream).await,
                (Target::Sshd, None) => tunnel::run(stream, &address, connect).await,
                // A later version's; this one has no keeper to control.
                (Target::KeeperControl, _) => stream.reset(Code::UNKNOWN),
            }
        }
    }

    /// The sshd's public host keys, for the broker to pin.
    pub async fn host_keys(&self) -> Result<Vec<String>, Problem> {
        match &self.service {
            Service::Embedded { host_key, .. } => Ok(vec![host_key.clone()]),
            Service::System => host_keys::of_the_system(&self.config.sshd, &self.config.timing).await,
        }
    }

    /// The install key, if one is configured and its file is there. (A file that is not there yet may
    /// come: in a demonstration the broker makes it.)
    pub fn install_key(&self) -> Result<Option<Arc<InstallKey>>, Problem> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        let Some(file) = &self.config.install_key_file else { return Ok(None) };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), "the install key is not there (yet)");
                return Ok(None);
            }
            Err(err) => {
                return Err(Problem::setting("install_key_file", format!("{}: {err}", file.display())));
            }
        };
        let why = "is not an install key: one line, mli_... or at least 32 bytes in base64";
        let wrong = || Problem::setting("install_key_file", format!("{} {why}", file.display()));
        InstallKey::parse(&text).map(|key| Some(Arc::new(key))).ok_or_else(wrong)
    }

    /// The CAs that are pinned.
    pub fn cas(&self) -> Result<UserCas, Problem> {
        self.state.user_cas()
    }

    /// Pins the broker's CAs, in the state folder and for the sessions to come.
    pub fn pin(&self, cas: &UserCas) -> Result<(), Problem> {
        self.state.pin_user_cas(cas)?;
        self.user_ca.set(&cas.keys);
        let fingerprints = cas.keys.iter().map(|ca| ca.fingerprint(Default::default()).to_string());
        let trusted = fingerprints.collect::<Vec<_>>().join(" ");
        tracing::info!(
            generation = cas.generation,
            trusted,
            "from now on these CAs of the broker are trusted"
        );
        Ok(())
    }
}

fn public_line(key: &PublicKey) -> Result<String, Problem> {
    key.to_openssh().map_err(|err| Problem::new(Code::INTERNAL).because(err))
}

/// Answers whoever asks for the figures, for ever; where nobody is to ask, it only waits.
async fn tell_figures(agent: &Agent) -> Result<impl Future<Output = ()> + use<>, Problem> {
    let listener = match &agent.config.metrics {
        None => None,
        Some(place) => {
            let listener = Listener::bind(place).await;
            let why = |err: io::Error| Problem::setting("metrics.listen", format!("{place}: {err}"));
            tracing::info!(%place, "the figures of this agent are told");
            Some(listener.map_err(why)?)
        }
    };
    let metrics = agent.metrics.clone();
    Ok(async move {
        match listener {
            Some(listener) => metrics::serve(listener, metrics).await,
            None => std::future::pending().await,
        }
    })
}

/// Runs until it is told to leave, then ends all sessions, within the limit for it.
pub async fn run(config: Config, leave: CancellationToken) -> Result<(), Problem> {
    let limit = config.timing.leave;
    let dialer = Dialer::new(&config)?;
    let (agent, burials) = Agent::new(config)?;
    tracing::info!(
        device = %agent.identity().device(),
        name = agent.config.name,
        broker = %agent.config.broker,
        sshd = agent.config.sshd.mode.as_str(),
        "agent started"
    );
    let telling = tell_figures(&agent).await?;
    service::ready();
    let agent = Arc::new(agent);
    let connected = agent.clone();
    let leaving = leave.clone();
    let connection = async move {
        connection::run(&connected, &dialer, &leaving).await;
        if let Service::Embedded { sshd, .. } = &connected.service {
            sshd.close();
        }
        drop(connected);
    };
    drop(agent);
    let deadline = async {
        leave.cancelled().await;
        service::stopping();
        // A little earlier than the limit, so that the process is gone by then.
        clock::pass(limit.mul_f64(0.9)).await;
    };
    tokio::select! {
        _ = async { tokio::join!(connection, burials) } => tracing::info!("left"),
        () = telling => {}
        () = service::stay_alive() => {}
        () = deadline => tracing::warn!("left before everything was ended"),
    }
    Ok(())
}
