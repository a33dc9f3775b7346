//! For tests of actors: the broker's inner half with a simulated world around it.
//!
//! - [`Kit`]: devices, sessions and users over a store in a temporary folder
//! - [`agent`]: an agent on a socket that is two channels, with the real link machine
//! - [`sshd`]: a real SSH server at the end of a stream, which does as it is told
//! - [`keeper`]: keepers on the device, which outlive every connection
//! - [`browser`]: a browser's end of a terminal socket
//! - [`stop_clock`]: time stands still but for `tokio::time::advance`

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_wire::term::Size;
use moorline_wire::{DeviceId, SessionId};

use crate::actor::{Kind, Registry};
use crate::audit::Auditor;
use crate::ca::Ca;
use crate::config::Config;
use crate::device::{DeviceParts, Devices};
use crate::identity::Identity;
use crate::keys::LoginKeys;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::session::{NewSession, SessionParts, Sessions};
use crate::store::Store;
use crate::trace::Trace;
use crate::user::{ResumeKey, UserParts, Users};
use crate::warden::Warden;

pub mod agent;
pub mod browser;
pub mod keeper;
pub mod sshd;

/// The install key of every [`Kit`].
pub const INSTALL_KEY: &str = "dGhlIGluc3RhbGwga2V5IG9mIHRoZSB0ZXN0cyBpcyBsb25n";

/// The broker's inner half.
pub struct Kit {
    /// A store of its own.
    pub store: Store,
    /// Counts of its own.
    pub metrics: Metrics,
    /// A CA of its own.
    pub ca: Ca,
    /// Its actors.
    pub registry: Registry,
    /// Its devices.
    pub devices: Devices,
    /// Its sessions.
    pub sessions: Sessions,
    /// Its users.
    pub users: Users,
    /// Its people.
    pub identity: Identity,
    /// What they may.
    pub warden: Warden,
    /// What they did.
    pub audit: Auditor,
    folder: Rc<tempfile::TempDir>,
}

impl Kit {
    /// With the default settings.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With settings of the test's own.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("install_key"), format!("{INSTALL_KEY}\n")).unwrap();
        Self::begin(Rc::new(folder), change).await
    }

    /// Another broker process over the same folder. The first may be dead, or not know that it is
    /// to be.
    pub async fn successor(&self) -> Self {
        Self::begin(self.folder.clone(), |_| ()).await
    }

    async fn begin(folder: Rc<tempfile::TempDir>, change: impl FnOnce(&mut Config)) -> Self {
        let install_key = folder.path().join("install_key");
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.enroll.install_key_file = Some(install_key);
        change(&mut config);
        let config = Arc::new(config);
        let metrics = Metrics::new();
        let path = folder.path().join(crate::store::FILE);
        let store = Store::open(&path, &config.timing, metrics.clone()).await.unwrap();
        let ca = Ca::load_or_create(folder.path()).unwrap();
        let registry = Registry::new(metrics.clone(), config.timing.restart_window);
        let audit = Auditor::start(store.clone(), config.limits.audit);
        let devices = Devices::start(DeviceParts {
            config: config.clone(),
            store: store.clone(),
            metrics: metrics.clone(),
            ca: ca.clone(),
            audit: audit.clone(),
            registry: registry.clone(),
            known: 0,
        });
        let sessions = Sessions::start(SessionParts {
            config: config.clone(),
            store: store.clone(),
            metrics: metrics.clone(),
            ca: ca.clone(),
            keys: LoginKeys::load(&config.ssh, store.clone()).unwrap(),
            devices: devices.clone(),
            registry: registry.clone(),
        });
        let identity = Identity::new(config.clone(), store.clone(), metrics.clone());
        let warden =
            Warden::new(config.clone(), store.clone(), identity.clone(), sessions.clone(), audit.clone());
        let users = Users::start(UserParts {
            warden: warden.clone(),
            audit: audit.clone(),
            config,
            metrics: metrics.clone(),
            sessions: sessions.clone(),
            registry: registry.clone(),
            resume_key: ResumeKey::load_or_create(folder.path()).unwrap(),
        });
        let users = users.unwrap();
        Self { store, metrics, ca, registry, devices, sessions, users, identity, warden, audit, folder }
    }

    /// Replaces the install key.
    pub fn set_install_key(&self, text: &str) {
        std::fs::write(self.folder.path().join("install_key"), text).unwrap();
    }

    /// Makes every write to the store wait, until it is released.
    pub async fn hold_store(&self) -> HeldStore {
        HeldStore::new(self.folder.path().join(crate::store::FILE)).await
    }

    /// Asks for a shell on that device.
    pub async fn shell(&self, device: &DeviceId) -> Result<SessionId, Problem> {
        self.session(device, |_| ()).await
    }

    /// Asks for a session of the test's own.
    pub async fn session(
        &self,
        device: &DeviceId,
        change: impl FnOnce(&mut NewSession),
    ) -> Result<SessionId, Problem> {
        let mut new = NewSession {
            device: device.clone(),
            login: None,
            size: Size { cols: 80, rows: 24, xpx: 0, ypx: 0 },
            command: None,
            person: "anna".to_owned(),
            trace: Trace::session(None),
        };
        change(&mut new);
        self.sessions.create(new).await
    }

    /// Waits until every ending is written down. The last line of a test that ends sessions: what
    /// is still in the store's hands after a test's block has no runtime to be dropped in.
    pub async fn settled(&self) {
        self.sessions.settled().await;
    }

    /// Waits until so many actors of that kind live.
    pub async fn actors(&self, kind: Kind, count: usize) {
        eventually(|| self.registry.count(kind) == count).await;
    }

    /// The value of a metric, as `/metrics` would show it.
    pub fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.metrics.text()).unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// The write lock of the store's file, held by somebody else.
pub struct HeldStore {
    connection: sqlx::SqliteConnection,
}

impl HeldStore {
    async fn new(path: std::path::PathBuf) -> Self {
        use sqlx::{ConnectOptions, Executor};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = options.connect().await.unwrap();
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        Self { connection }
    }

    /// Lets the writes go on.
    pub async fn release(mut self) {
        use sqlx::Executor;
        self.connection.execute("ROLLBACK").await.unwrap();
    }
}

/// Lets everybody else run until it is so. Time does not pass by this; a test that waits for what
/// never comes is ended by the test runner.
pub async fn eventually(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

/// Stops the clock until it is dropped. A stopped clock of tokio jumps ahead when nobody has
/// anything to do, also while the store's thread works; a blocking task keeps it from that.
pub fn stop_clock() -> StoppedClock {
    let (keep, kept) = std::sync::mpsc::channel::<()>();
    let waits = tokio::task::spawn_blocking(move || {
        let _ = kept.recv();
    });
    drop(waits);
    tokio::time::pause();
    StoppedClock { _keep: keep }
}

/// See [`stop_clock`].
pub struct StoppedClock {
    _keep: std::sync::mpsc::Sender<()>,
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}

impl StoppedClock {
    /// Lets that much time pass, and everybody do what they then have to do.
    pub async fn pass(&self, time: Duration) {
        // In steps, so that who arms a timer when another fires is not late.
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_millis(250));
            tokio::time::advance(step).await;
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            left -= step;
        }
    }
}
