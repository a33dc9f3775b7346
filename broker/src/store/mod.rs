//! What outlives the process: devices, sessions and their endings, in SQLite.
//!
//! Every call ends within `timing.store` and is measured. A failure becomes a [`Problem`] with
//! DISK_FULL or STORE_FAILED; its cause goes to the log. The store knows no actors and no HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moorline_wire::Code;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::clock;
use crate::config::Timing;
use crate::metrics::{Metrics, Wait};
use crate::problem::Problem;

mod audit;
mod device;
mod grant;
mod install_key;
mod login;
mod person;
mod private_key;
mod provider;
mod second;
mod seen;
mod session;
mod standing;

pub use audit::{AuditFilter, AuditRow};
pub use device::{DeviceRow, DeviceSeen};
pub use grant::GrantRow;
pub use install_key::{Enrolling, InstallKeyRow, KeyMode, KeyProofs};
pub use login::{LoginRow, Rests, TokenRow, Way};
pub use person::{Credentials, Invited, PersonRow, PersonState};
pub use private_key::PrivateKeyRow;
pub use provider::ProviderAccount;
pub use session::{EndedAt, House, SessionFilter, SessionRow, SessionsOf};
pub use standing::Standing;

/// The file of the store inside `data_dir`.
pub const FILE: &str = "moorline.db";

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    limit: Duration,
    metrics: Metrics,
    noted: Arc<seen::Noted>,
    /// The last write failed: until one succeeds, that the store can be read says little.
    refuses_writes: Arc<AtomicBool>,
}

impl Store {
    /// Opens the file, makes it when it is missing, and brings its tables up to date.
    pub async fn open(path: &Path, timing: &Timing, metrics: Metrics) -> Result<Self, Problem> {
        keep_private(path).map_err(|e| io_problem(&e, path).because(e))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A row that was told to a person as done survives a power cut; a broker writes few rows.
            .synchronous(SqliteSynchronous::Full)
            // Below `timing.store`, so that a locked file is told as such and not as a time-out.
            .busy_timeout(timing.store.mul_f32(0.8));
        // A connection to a local file does not go stale: it is kept.
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(timing.store);
        let store = Self {
            pool: pool.connect_lazy_with(options),
            limit: timing.store,
            metrics,
            noted: Arc::default(),
            refuses_writes: Arc::default(),
        };
        store.migrate().await?;
        store.count_refused().await?;
        store.count_pending().await?;
        Ok(store)
    }

    /// Opens every connection now: the first burst of calls waits for none, and how many files and
    /// threads the broker has does not depend on what it has been through.
    pub async fn open_all(&self) -> Result<(), Problem> {
        let all = futures_util::future::try_join_all((0..CONNECTIONS).map(|_| self.pool.acquire()));
        self.measured("open", all).await.map(drop)
    }

    async fn migrate(&self) -> Result<(), Problem> {
        let migrations = async {
            sqlx::migrate!().run(&self.pool).await.map_err(|e| match e {
                sqlx::migrate::MigrateError::Execute(e) => e,
                other => sqlx::Error::Migrate(Box::new(other)),
            })
        };
        self.measured("migrate", migrations).await
    }

    /// Whether the store answers, and takes writes if it refused the last one.
    pub async fn answers(&self) -> Result<(), Problem> {
        if self.refuses_writes.load(Ordering::Relaxed) {
            // More than any row needs: on a full disk a small write may still find a place.
            let write = async {
                sqlx::query("INSERT OR REPLACE INTO probe (id, filling) VALUES (1, zeroblob(65536))")
                    .execute(&self.pool)
                    .await?;
                sqlx::query("DELETE FROM probe").execute(&self.pool).await.map(drop)
            };
            return self.written("probe", write).await;
        }
        let one = async { sqlx::query("SELECT 1").execute(&self.pool).await.map(drop) };
        self.measured("answers", one).await
    }

    /// Writes what is pending into the main file and closes it.
    pub async fn close(&self) {
        // That it fails is in the log, and a device will be seen again.
        let _ = self.write_noted().await;
        self.pool.close().await;
    }

    /// Every write goes through here: whether it was taken is remembered for [`Store::answers`].
    async fn written<T>(
        &self,
        op: &'static str,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Problem> {
        let outcome = self.measured(op, call).await;
        self.refuses_writes.store(outcome.is_err(), Ordering::Relaxed);
        self.metrics.store_takes_writes(outcome.as_ref().err().map(|problem| problem.code));
        outcome
    }

    /// Every call goes through here: limited, measured, its failure put into words.
    async fn measured<T>(
        &self,
        op: &'static str,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Problem> {
        let began = clock::now();
        let answer = clock::within(self.limit, Wait::Store, call).await;
        self.metrics.stored(op, clock::now().saturating_duration_since(began));
        let problem = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(e)) => problem_of(e),
            Err(late) => {
                self.metrics.timeout(Wait::Store);
                Problem::new(Code::STORE_FAILED).because(late)
            }
        };
        self.metrics.store_failed(problem.code);
        tracing::error!(op, cause = problem.chain(), "store failed");
        Err(problem)
    }
}

/// Five readers beside one writer; more would only wait for the same lock.
const CONNECTIONS: u32 = 6;

/// SQLITE_FULL and its extended codes (<https://www.sqlite.org/rescode.html#full>).
const SQLITE_FULL: i32 = 13;

fn problem_of(e: sqlx::Error) -> Problem {
    let full = match &e {
        sqlx::Error::Database(e) => {
            e.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| code & 0xff == SQLITE_FULL)
        }
        sqlx::Error::Io(e) => e.kind() == std::io::ErrorKind::StorageFull,
        _ => false,
    };
    Problem::new(if full { Code::DISK_FULL } else { Code::STORE_FAILED }).because(e)
}

fn io_problem(e: &std::io::Error, path: &Path) -> Problem {
    match e.kind() {
        std::io::ErrorKind::StorageFull => Problem::new(Code::DISK_FULL),
        _ => Problem::new(Code::BAD_CONFIG).saying(format!(
            "The store {} cannot be made: {e}. Choose another folder with data_dir, or make it writable.",
            path.display()
        )),
    }
}

/// Makes a folder that only this user may look into.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that only this user may look into, and makes it when it is missing.
pub fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Makes the store's file before SQLite would make it readable for others. The files that SQLite
/// puts beside it take the mode of the main file.
fn keep_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    private_file(path).map(drop)
}

/// A column that holds what this version does not understand.
fn undecodable(column: &str, e: impl Into<anyhow::Error>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: e.into().into() }
}

/// Times are whole microseconds since 1970, so that they sort as numbers.
fn micros(at: jiff::Timestamp) -> i64 {
    at.as_microsecond()
}

fn timestamp(column: &str, micros: i64) -> Result<jiff::Timestamp, sqlx::Error> {
    jiff::Timestamp::from_microsecond(micros).map_err(|e| undecodable(column, e))
}

#[cfg(test)]
mod tests;
