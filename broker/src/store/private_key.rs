//! Private keys of devices, sealed: what they are, only the vault can tell.

use moorline_wire::DeviceId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, micros, timestamp, undecodable};
use crate::problem::Problem;

/// A device, and which handover of the CA it has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardRow {
    /// Which device.
    pub device: String,
    /// Its name for people.
    pub name: String,
    /// The generation; 0: none.
    pub generation: u64,
}

/// A private key with which the broker logs in to one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateKeyRow {
    /// Which device.
    pub device: DeviceId,
    /// With which key it is sealed.
    pub key_id: String,
    /// The key, sealed.
    pub sealed: Vec<u8>,
    /// e.g. `ssh-ed25519`.
    pub algorithm: String,
    /// Of its public half, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// How the broker logs in to this device; `None`: as it does to all.
    pub login_with: Option<String>,
    /// When it was given.
    pub set: jiff::Timestamp,
}

impl Store {
    /// The key of that device, if it has one.
    pub async fn private_key(&self, device: &DeviceId) -> Result<Option<PrivateKeyRow>, Problem> {
        let call = async {
            let row = sqlx::query("SELECT * FROM device_private_keys WHERE device = $1")
                .bind(device.as_str())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(key_of).transpose()
        };
        self.measured("private_key", call).await
    }

    /// Every key that is sealed with another key than this one.
    pub async fn private_keys_sealed_otherwise(&self, key_id: &str) -> Result<Vec<PrivateKeyRow>, Problem> {
        let call = async {
            let rows = sqlx::query("SELECT * FROM device_private_keys WHERE key_id <> $1")
                .bind(key_id)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(key_of).collect()
        };
        self.measured("private_keys_sealed_otherwise", call).await
    }

    /// Gives a device this key, instead of the one that it has.
    pub async fn set_private_key(&self, key: &PrivateKeyRow) -> Result<(), Problem> {
        let call = async {
            sqlx::query(
                "INSERT INTO device_private_keys (device, key_id, sealed, algorithm, fingerprint, login_with, set_us)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (device) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed,
                     algorithm = excluded.algorithm, fingerprint = excluded.fingerprint,
                     login_with = excluded.login_with, set_us = excluded.set_us",
            )
            .bind(key.device.as_str())
            .bind(&key.key_id)
            .bind(&key.sealed)
            .bind(&key.algorithm)
            .bind(&key.fingerprint)
            .bind(&key.login_with)
            .bind(micros(key.set))
            .execute(&self.pool)
            .await
            .map(drop)
        };
        self.written("set_private_key", call).await
    }

    /// The device has heard that handover of the CA. Written only when it is news: there may be thousands of greetings.
    pub async fn heard_ca(&self, device: &DeviceId, generation: u64) -> Result<(), Problem> {
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        let known = async {
            sqlx::query_scalar::<_, i64>("SELECT generation FROM device_cas WHERE device = $1")
                .bind(device.as_str())
                .fetch_optional(&self.pool)
                .await
        };
        if self.measured("heard_ca_known", known).await? == Some(generation) {
            return Ok(());
        }
        let call = async {
            sqlx::query(
                "INSERT INTO device_cas (device, generation) VALUES ($1, $2)
                 ON CONFLICT (device) DO UPDATE SET generation = excluded.generation",
            )
            .bind(device.as_str())
            .bind(generation)
            .execute(&self.pool)
            .await
            .map(drop)
        };
        self.written("heard_ca", call).await
    }

    /// Every device that has not heard that handover, by name.
    pub async fn have_not_heard(&self, generation: u64) -> Result<Vec<HeardRow>, Problem> {
        let call = async {
            let rows = sqlx::query(
                "SELECT id, name, coalesce(generation, 0) AS generation FROM devices
                 LEFT JOIN device_cas ON device = id WHERE coalesce(generation, 0) < $1 ORDER BY name, id",
            )
            .bind(i64::try_from(generation).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
            let of_row = |row: &SqliteRow| {
                let generation = row.try_get::<i64, _>("generation")?;
                let generation = u64::try_from(generation).unwrap_or(0);
                Ok(HeardRow { device: row.try_get("id")?, name: row.try_get("name")?, generation })
            };
            rows.iter().map(of_row).collect()
        };
        self.measured("have_not_heard", call).await
    }

    /// Takes a device's key away. `false`: it had none.
    pub async fn remove_private_key(&self, device: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            sqlx::query("DELETE FROM device_private_keys WHERE device = $1")
                .bind(device.as_str())
                .execute(&self.pool)
                .await
                .map(|done| done.rows_affected() > 0)
        };
        self.written("remove_private_key", call).await
    }
}

fn key_of(row: &SqliteRow) -> Result<PrivateKeyRow, sqlx::Error> {
    Ok(PrivateKeyRow {
        device: row
            .try_get::<String, _>("device")?
            .parse()
            .map_err(|e: moorline_wire::id::BadId| undecodable("device", e))?,
        key_id: row.try_get("key_id")?,
        sealed: row.try_get("sealed")?,
        algorithm: row.try_get("algorithm")?,
        fingerprint: row.try_get("fingerprint")?,
        login_with: row.try_get("login_with")?,
        set: timestamp("set_us", row.try_get("set_us")?)?,
    })
}
