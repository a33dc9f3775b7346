//! Install keys, and the devices that enrol with them.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::device::insert;
use super::person::{unwords, word, words};
use super::{DeviceRow, Standing, Store, micros, timestamp, undecodable};
use crate::access::Tag;
use crate::id::InstallKeyId;
use crate::problem::Problem;

/// An install key, without what it proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallKeyRow {
    /// Its id.
    pub id: InstallKeyId,
    /// What it is called.
    pub label: String,
    /// What becomes of a device that comes with it.
    pub mode: KeyMode,
    /// How many devices may enrol with it; `None`: as many as like.
    pub uses_max: Option<u32>,
    /// How many did.
    pub uses: u32,
    /// The tags of the devices that enrol with it.
    pub tags: Vec<Tag>,
    /// From when on it is worth nothing.
    pub expires: jiff::Timestamp,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// By whom.
    pub created_by: String,
}

impl InstallKeyRow {
    /// Whether nobody enrols with it any more.
    pub fn is_over(&self, now: jiff::Timestamp) -> bool {
        self.expires <= now || self.uses_max.is_some_and(|most| self.uses >= most)
    }
}

/// What becomes of a device that comes with an install key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMode {
    /// It is enrolled at once.
    Automatic,
    /// It waits until somebody approves it.
    Pending,
}

impl KeyMode {
    fn word(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Pending => "pending",
        }
    }
}

/// What is kept of an install key's secret; see `moorline_wire::install_key`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyProofs {
    /// Checks what a device signs.
    pub public: Vec<u8>,
    /// Proves the broker to the device.
    pub broker: Vec<u8>,
}

impl std::fmt::Debug for KeyProofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyProofs(..)")
    }
}

/// How an attempt to enrol with an install key went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolling {
    /// The device is known now, and the key was used once more.
    Done,
    /// The key is used up, has expired, or was ended meanwhile.
    KeyOver,
    /// As many devices wait for approval as may.
    TooManyPending,
}

impl Store {
    /// Every install key, the newest first.
    pub async fn install_keys(&self) -> Result<Vec<InstallKeyRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM install_keys ORDER BY created_us DESC, id";
            sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(key_of).collect()
        };
        self.measured("install_keys", call).await
    }

    /// The install key of that id, and what is kept of its secret.
    pub async fn install_key(
        &self,
        id: &InstallKeyId,
    ) -> Result<Option<(InstallKeyRow, KeyProofs)>, Problem> {
        let call = async {
            let sql = "SELECT * FROM install_keys WHERE id = $1";
            let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&self.pool).await?;
            let both = |row: SqliteRow| {
                let proofs = KeyProofs { public: row.try_get("public")?, broker: row.try_get("proof")? };
                Ok((key_of(&row)?, proofs))
            };
            row.map(both).transpose()
        };
        self.measured("install_key", call).await
    }

    /// Keeps a new install key.
    pub async fn add_install_key(&self, key: &InstallKeyRow, proofs: &KeyProofs) -> Result<(), Problem> {
        let call = async {
            let sql =
                "INSERT INTO install_keys (id, public, proof, label, mode, uses_max, uses, tags, expires_us,
                           created_us, created_by)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
            sqlx::query(sql)
                .bind(key.id.as_str())
                .bind(&proofs.public)
                .bind(&proofs.broker)
                .bind(&key.label)
                .bind(key.mode.word())
                .bind(key.uses_max)
                .bind(key.uses)
                .bind(words(key.tags.iter().map(Tag::as_str)))
                .bind(micros(key.expires))
                .bind(micros(key.created))
                .bind(&key.created_by)
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("add_install_key", call).await
    }

    /// Ends an install key; the devices that came with it stay. `false`: there is no such key.
    pub async fn end_install_key(&self, id: &InstallKeyId) -> Result<bool, Problem> {
        let call = async {
            let sql = "DELETE FROM install_keys WHERE id = $1";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("end_install_key", call).await
    }

    /// Keeps a new device and counts the use of its install key: both or neither.
    pub async fn enroll_with(
        &self,
        key: &InstallKeyId,
        device: &DeviceRow,
        pending_max: usize,
        now: jiff::Timestamp,
    ) -> Result<Enrolling, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            // First: this takes the store's one writer, so that two that come at once are counted one after the other.
            let sql = "UPDATE install_keys SET uses = uses + 1
                       WHERE id = $1 AND expires_us > $2 AND (uses_max IS NULL OR uses < uses_max)";
            let used = sqlx::query(sql).bind(key.as_str()).bind(micros(now)).execute(&mut *all).await?;
            if used.rows_affected() == 0 {
                return Ok(Enrolling::KeyOver);
            }
            insert(&mut all, device).await?;
            let sql = "SELECT count(*) FROM devices WHERE standing = 'pending'";
            let pending: i64 = sqlx::query_scalar(sql).fetch_one(&mut *all).await?;
            if usize::try_from(pending).unwrap_or(0) > pending_max {
                // Nothing of it is kept.
                return Ok(Enrolling::TooManyPending);
            }
            all.commit().await?;
            Ok(Enrolling::Done)
        };
        let enrolling = self.written("enroll_with", call).await?;
        if enrolling == Enrolling::Done && device.standing == Standing::Pending {
            self.count_pending().await?;
        }
        Ok(enrolling)
    }
}

fn key_of(row: &SqliteRow) -> Result<InstallKeyRow, sqlx::Error> {
    let mode: &str = row.try_get("mode")?;
    let known = [KeyMode::Automatic, KeyMode::Pending];
    let mode = known.into_iter().find(|known| known.word() == mode);
    Ok(InstallKeyRow {
        id: word(row, "id")?,
        label: row.try_get("label")?,
        mode: mode.ok_or_else(|| undecodable("mode", anyhow::anyhow!("no mode of an install key")))?,
        uses_max: row.try_get("uses_max")?,
        uses: row.try_get("uses")?,
        tags: unwords(row, "tags")?,
        expires: timestamp("expires_us", row.try_get("expires_us")?)?,
        created: timestamp("created_us", row.try_get("created_us")?)?,
        created_by: row.try_get("created_by")?,
    })
}
