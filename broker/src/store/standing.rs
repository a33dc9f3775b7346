//! Whether a device may have sessions: approved, revoked, and the keys that prove it.

use moorline_wire::DeviceId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, micros, undecodable};
use crate::problem::Problem;

/// Whether a device may have sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits until somebody approves it.
    Pending,
    /// It may.
    Approved,
    /// It does not come in any more.
    Revoked,
}

impl Standing {
    /// Its word, in the store and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Revoked => "revoked",
        }
    }
}

pub(super) fn standing_of(row: &SqliteRow) -> Result<Standing, sqlx::Error> {
    let word: &str = row.try_get("standing")?;
    let known = [Standing::Pending, Standing::Approved, Standing::Revoked];
    let standing = known.into_iter().find(|standing| standing.word() == word);
    standing.ok_or_else(|| undecodable("standing", anyhow::anyhow!("{word:?} is no standing of a device")))
}

impl Store {
    /// Lets a device have sessions. `false`: it did not wait for that.
    pub async fn approve(&self, id: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            let sql = "UPDATE devices SET standing = 'approved' WHERE id = $1 AND standing = 'pending'";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        let approved = self.written("approve", call).await?;
        self.count_pending().await?;
        Ok(approved)
    }

    /// Keeps a device out for ever, and the keys that have these ids. `false`: it was revoked before.
    pub async fn revoke(
        &self,
        id: &DeviceId,
        keys: &[DeviceId],
        now: jiff::Timestamp,
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let sql = "UPDATE devices SET standing = 'revoked' WHERE id = $1 AND standing <> 'revoked'";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&mut *all).await?;
            for id in std::iter::once(id).chain(keys) {
                bar(&mut all, id, now).await?;
            }
            all.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        let revoked = self.written("revoke", call).await?;
        self.count_pending().await?;
        Ok(revoked)
    }

    /// Whether one of these ids, of a device or of a key, was revoked.
    pub async fn is_revoked(&self, device: &DeviceId, key: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            let sql = "SELECT count(*) FROM revoked WHERE id IN ($1, $2)";
            let found: i64 = sqlx::query_scalar(sql)
                .bind(device.as_str())
                .bind(key.as_str())
                .fetch_one(&self.pool)
                .await?;
            Ok(found > 0)
        };
        self.measured("is_revoked", call).await
    }

    /// Asks a device for another key. `false`: it was asked before, or was revoked.
    pub async fn ask_for_key(&self, id: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            let sql = "UPDATE devices SET key_asked = TRUE
                       WHERE id = $1 AND NOT key_asked AND standing <> 'revoked'";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("ask_for_key", call).await
    }

    /// Keeps the key that is to take the place of a device's present one; both count until it is used.
    pub async fn next_device_key(&self, id: &DeviceId, next: &[u8]) -> Result<(), Problem> {
        let call = async {
            let sql = "UPDATE devices SET next_key = $2 WHERE id = $1";
            sqlx::query(sql).bind(id.as_str()).bind(next).execute(&self.pool).await.map(drop)
        };
        self.written("next_device_key", call).await
    }

    /// The next key was used: the one before counts no more.
    pub async fn device_key_changed(&self, id: &DeviceId, next: &[u8]) -> Result<(), Problem> {
        let call = async {
            let sql = "UPDATE devices SET key = next_key, next_key = NULL, key_asked = FALSE
                       WHERE id = $1 AND next_key = $2";
            sqlx::query(sql).bind(id.as_str()).bind(next).execute(&self.pool).await.map(drop)
        };
        self.written("device_key_changed", call).await
    }

    /// Tells the metrics how many devices wait for approval.
    pub(super) async fn count_pending(&self) -> Result<(), Problem> {
        let call = async {
            sqlx::query_scalar("SELECT count(*) FROM devices WHERE standing = 'pending'")
                .fetch_one(&self.pool)
                .await
        };
        self.metrics.devices_pending(self.measured("devices_pending", call).await?);
        Ok(())
    }
}

async fn bar(all: &mut SqliteConnection, id: &DeviceId, now: jiff::Timestamp) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO revoked (id, revoked_us) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    sqlx::query(sql).bind(id.as_str()).bind(micros(now)).execute(all).await.map(drop)
}
