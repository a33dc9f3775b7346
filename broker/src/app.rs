//! The composition root: starts the parts in their order, and takes them apart in the other.
//!
//! On SIGTERM or SIGINT: nothing new is taken (`/readyz` says so), sessions are left to the next
//! broker (those that no keeper holds are ended), browsers and agents are told when to come back, the
//! sockets close, the store is closed; all within `timing.drain`.
//! A second signal ends the process at once.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use moorline_wire::{Code, Ending};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::actor::{Pulse, Registry, Watchdog};
use crate::audit::Auditor;
use crate::ca::Ca;
use crate::clock;
use crate::config::Config;
use crate::device::{DeviceParts, Devices};
use crate::http::{self, Health, Seats};
use crate::identity::{self, Identity};
use crate::keys::LoginKeys;
use crate::metrics::{Metrics, Wait};
use crate::problem::Problem;
use crate::running::Running;
use crate::session::{SessionParts, Sessions};
use crate::store::{self, Store};
use crate::tls::Tls;
use crate::user::{ResumeKey, UserParts, Users};
use crate::warden::Warden;

/// Runs the broker until a signal ends it.
pub async fn run(config: Arc<Config>) -> Result<(), Problem> {
    let mut signals = Signals::new()?;
    raise_open_files(config.limits.sockets);
    let app = App::start(config).await?;
    signals.next().await;
    tracing::info!("stopping");
    tokio::select! {
        () = app.drain() => tracing::info!("stopped"),
        () = signals.next() => tracing::warn!("a second signal: stopping at once"),
    }
    Ok(())
}

/// A running broker.
pub struct App {
    /// Where it listens.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests listen on port 0"))]
    pub address: SocketAddr,
    parts: http::Parts,
    server: ServerHandle,
    /// Held until the end, so that no second broker works in the same folder.
    _folder: File,
    running: Running,
}

impl App {
    /// Starts every part; the listen address is taken first, since that fails most often.
    pub async fn start(config: Arc<Config>) -> Result<Self, Problem> {
        let listener = http::listen(&config)?;
        identity::check_provider(&config.oidc)?;
        let folder = take_folder(&config.data_dir)?;
        let metrics = Metrics::new();
        let tls = Tls::load(&config.tls, &metrics)?;
        let store = Store::open(&config.data_dir.join(store::FILE), &config.timing, metrics.clone()).await?;
        store.open_all().await?;
        end_plain_leftovers(&store, &metrics).await?;
        let notes = store.clone();
        // Owner: this thread's arbiter; `Store::close` writes what is left.
        actix_rt::spawn(async move { notes.write_notes().await });
        let ca = Ca::load_or_create(&config.data_dir)?;
        let resume_key = ResumeKey::load_or_create(&config.data_dir)?;
        let known = store.device_count().await?;
        let unstarted = |e: std::io::Error| {
            Problem::new(Code::INTERNAL)
                .saying("The broker could not be started. Look at its log.")
                .because(e)
        };
        let watchdog = Watchdog::start(config.timing.arbiter_stuck, metrics.clone()).map_err(unstarted)?;
        let keys = LoginKeys::load(&config.ssh, store.clone())?;
        keys.renew().await?;
        let secrets = Secrets { ca, keys, resume_key };
        let parts = assemble(config, store, metrics, secrets, watchdog.pulse(), known)?;
        watchdog.watch_current();
        parts.metrics.watch_this_thread();
        let running = Running::begin(&parts.config.data_dir);
        if running.after_a_crash {
            parts.metrics.former_run_crashed();
        }
        let (server, address) = http::serve(listener, parts.clone(), watchdog, tls.as_ref())?;
        let handle = server.handle();
        // Owner: `server` below, the handle that stops it.
        actix_rt::spawn(server);
        let secure = tls.is_some();
        if let Some(tls) = tls {
            // Owner: the system; it ends with the process.
            actix_rt::spawn(tls.keep_fresh(parts.audit.clone()));
        }
        // Owner: the system; it ends with the process, and ends what is not allowed until then.
        actix_rt::spawn(parts.warden.clone().watch_over());
        tell_if_nobody_can_log_in(&parts).await?;
        tell_service_manager(&[sd_notify::NotifyState::Ready]);
        tracing::info!(listen = %address, tls = secure, name = parts.config.name, demo = parts.config.demo, "listening");
        Ok(Self { address, parts, server: handle, _folder: folder, running })
    }

    /// From now on nothing new is taken, and `/readyz` says so.
    pub fn stop_taking(&self) {
        self.parts.health.drain();
        self.parts.metrics.draining();
    }

    /// Stops every part within `timing.drain`.
    pub async fn drain(self) {
        tell_service_manager(&[sd_notify::NotifyState::Stopping]);
        self.stop_taking();
        let limit = self.parts.config.timing.drain;
        if clock::within(limit, Wait::Drain, self.take_apart()).await.is_err() {
            self.parts.metrics.timeout(Wait::Drain);
            tracing::warn!("not everything ended in time");
        }
        self.running.end();
    }

    async fn take_apart(&self) {
        // Sessions first: their farewells still reach the devices and the browsers.
        self.parts.sessions.drain().await;
        self.parts.devices.drain().await;
        self.server.stop(true).await;
        // A writer that is gone has told why.
        let _ = self.parts.audit.flush().await;
        self.parts.store.close().await;
    }
}

/// What only the broker knows.
struct Secrets {
    /// Signs the certificates of sessions.
    ca: Ca,
    /// Private keys for devices that take no certificates.
    keys: LoginKeys,
    /// What proves that a browser was there before.
    resume_key: ResumeKey,
}

fn assemble(
    config: Arc<Config>,
    store: Store,
    metrics: Metrics,
    secrets: Secrets,
    pulse: Pulse,
    known: usize,
) -> Result<http::Parts, Problem> {
    let Secrets { ca, keys, resume_key } = secrets;
    let registry = Registry::new(metrics.clone(), config.timing.restart_window);
    let audit = Auditor::start(store.clone(), config.limits.audit);
    let devices = Devices::start(DeviceParts {
        config: config.clone(),
        store: store.clone(),
        metrics: metrics.clone(),
        ca: ca.clone(),
        audit: audit.clone(),
        registry: registry.clone(),
        known,
    });
    let sessions = Sessions::start(SessionParts {
        config: config.clone(),
        store: store.clone(),
        metrics: metrics.clone(),
        ca,
        keys: keys.clone(),
        devices: devices.clone(),
        registry: registry.clone(),
    });
    let identity = Identity::new(config.clone(), store.clone(), metrics.clone());
    let warden =
        Warden::new(config.clone(), store.clone(), identity.clone(), sessions.clone(), audit.clone());
    let users = Users::start(UserParts {
        config: config.clone(),
        metrics: metrics.clone(),
        sessions: sessions.clone(),
        warden: warden.clone(),
        audit: audit.clone(),
        registry: registry.clone(),
        resume_key,
    })?;
    let (seats, health) = (Seats::new(config.limits.event_streams), Health::default());
    Ok(http::Parts {
        config,
        store,
        metrics,
        devices,
        keys,
        sessions,
        users,
        identity,
        warden,
        audit,
        registry,
        seats,
        pulse,
        health,
    })
}

async fn tell_if_nobody_can_log_in(parts: &http::Parts) -> Result<(), Problem> {
    if !parts.config.demo && !parts.store.has_administrator().await? {
        tracing::warn!(
            "nobody can log in yet: moorline-broker init prints a link for the first administrator"
        );
    }
    Ok(())
}

/// Sessions whose shells were a former process's own ended with it.
async fn end_plain_leftovers(store: &Store, metrics: &Metrics) -> Result<(), Problem> {
    let ending = Ending::of(Code::GONE).saying("The broker was restarted. Open a new session.");
    let ended = store.end_plain_leftovers(ending, clock::wall()).await?;
    for _ in 0..ended {
        metrics.session_ended(Code::GONE);
    }
    if ended > 0 {
        tracing::info!(ended, "sessions of a former process were ended");
    }
    Ok(())
}

/// Makes the data folder for this user alone, and takes it for this process alone.
pub fn take_folder(folder: &Path) -> Result<File, Problem> {
    let unusable = |e: std::io::Error| {
        Problem::new(if e.kind() == std::io::ErrorKind::StorageFull {
            Code::DISK_FULL
        } else {
            Code::BAD_CONFIG
        })
        .saying(format!(
            "The folder data_dir = {} cannot be used: {e}. Make it writable, or choose another with --set \
                 data_dir=FOLDER.",
            folder.display()
        ))
        .because(e)
    };
    store::private_folder(folder).map_err(unusable)?;
    let lock = store::private_file(&folder.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::Error(e)) => Err(unusable(e)),
        Err(std::fs::TryLockError::WouldBlock) => Err(Problem::new(Code::STORE_FAILED).saying(format!(
            "Another broker works in {}. Stop it, or choose another folder with --set data_dir=FOLDER.",
            folder.display()
        ))),
    }
}

/// Allows as many open files as the system lets us: 1024, the usual beginning, is fewer sockets
/// than `limits.sockets` promises.
fn raise_open_files(sockets: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(error = %e, "could not raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    if allowed.is_some_and(|allowed| allowed < sockets as u64) {
        tracing::info!(allowed, sockets, "the system allows fewer open files than limits.sockets");
    }
}

/// SIGTERM and SIGINT. Also caught: SIGXFSZ, which would end the process when a file reaches the
/// limit of the process (`ulimit -f`); caught, the write fails and is told as such.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    _file_size: Signal,
}

/// SIGXFSZ of Linux (signal(7)).
const FILE_SIZE: SignalKind = SignalKind::from_raw(25);

impl Signals {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|e| Problem::new(Code::INTERNAL).because(e));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            _file_size: listen(FILE_SIZE)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Under systemd (`Type=notify`); elsewhere nobody listens, which is no fault.
fn tell_service_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::debug!(error = %e, "could not tell the service manager");
    }
}
