//! Devices: who they are, and which host keys are pinned.

use moorline_wire::{Code, DeviceId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::person::{unwords, words};
use super::standing::standing_of;
use super::{Standing, Store, micros, timestamp, undecodable};
use crate::access::Tag;
use crate::id::InstallKeyId;
use crate::problem::Problem;

/// A device that the broker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its id.
    pub id: DeviceId,
    /// Its name for people.
    pub name: String,
    /// Its Ed25519 public key, 32 bytes.
    pub key: Vec<u8>,
    /// The key that takes the place of that one as soon as it is used.
    pub next_key: Option<Vec<u8>>,
    /// It is asked for another key.
    pub key_asked: bool,
    /// Whether it may have sessions.
    pub standing: Standing,
    /// The install key that it came with; `None`: the one of `enroll.install_key_file`.
    pub install_key: Option<InstallKeyId>,
    /// The login that a session gets when none is asked for.
    pub login: String,
    /// e.g. `linux x86_64`.
    pub platform: String,
    /// `embedded` or `system`.
    pub sshd: String,
    /// The agent's software and version.
    pub software: String,
    /// The pinned host keys, in OpenSSH form.
    pub host_keys: Vec<String>,
    /// Other host keys that it showed since, until somebody accepts them.
    pub offered_host_keys: Option<Vec<String>>,
    /// When it was enrolled.
    pub enrolled: jiff::Timestamp,
    /// When it last greeted.
    pub last_seen: Option<jiff::Timestamp>,
    /// What administrators call it, for grants. Enrolling does not change them.
    pub tags: Vec<Tag>,
}

/// What a greeting told about a device that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSeen {
    /// The name that the agent gives; it counts until somebody renames the device.
    pub name: String,
    /// The login that a session gets when none is asked for.
    pub login: String,
    /// e.g. `linux x86_64`.
    pub platform: String,
    /// The agent's software and version.
    pub software: String,
    /// `embedded` or `system`.
    pub sshd: String,
    /// When.
    pub at: jiff::Timestamp,
}

impl Store {
    /// The device of that id.
    pub async fn device(&self, id: &DeviceId) -> Result<Option<DeviceRow>, Problem> {
        let call = async {
            let row = sqlx::query("SELECT * FROM devices WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(device_of).transpose()
        };
        self.measured("device", call).await
    }

    /// Every device, by name.
    pub async fn devices(&self) -> Result<Vec<DeviceRow>, Problem> {
        let call = async {
            let rows = sqlx::query("SELECT * FROM devices ORDER BY name, id").fetch_all(&self.pool).await?;
            rows.iter().map(device_of).collect()
        };
        self.measured("devices", call).await
    }

    /// How many devices there are.
    pub async fn device_count(&self) -> Result<usize, Problem> {
        let call = async {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM devices").fetch_one(&self.pool).await?;
            Ok(usize::try_from(count).unwrap_or(0))
        };
        self.measured("device_count", call).await
    }

    /// Keeps a new device. One that was known is replaced: it proved the install key again.
    pub async fn enroll(&self, device: &DeviceRow) -> Result<(), Problem> {
        let call = async { insert(&mut *self.pool.acquire().await?, device).await };
        self.written("enroll", call).await
    }

    /// Keeps other host keys than the pinned ones, until somebody accepts them; `None` when the
    /// device shows the pinned ones again.
    pub async fn offered_host_keys(&self, id: &DeviceId, keys: Option<Vec<String>>) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE devices SET offered_host_keys = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(keys.as_deref().map(lines))
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("offered_host_keys", call).await?;
        self.count_refused().await
    }

    /// Pins the host keys that the device offered. `false`: it had offered none.
    pub async fn accept_host_keys(&self, id: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            sqlx::query(
                "UPDATE devices SET host_keys = offered_host_keys, offered_host_keys = NULL
                 WHERE id = $1 AND offered_host_keys IS NOT NULL",
            )
            .bind(id.as_str())
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() > 0)
        };
        let accepted = self.written("accept_host_keys", call).await?;
        self.count_refused().await?;
        Ok(accepted)
    }

    /// Gives a device a name that its agent does not change any more.
    pub async fn rename(&self, id: &DeviceId, name: &str) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE devices SET name = $2, renamed = TRUE WHERE id = $1")
                .bind(id.as_str())
                .bind(name)
                .execute(&self.pool)
                .await
        };
        match self.written("rename", call).await?.rows_affected() {
            0 => Err(Problem::new(Code::UNKNOWN_DEVICE)),
            _ => Ok(()),
        }
    }

    /// Gives a device these tags and no others.
    pub async fn tag(&self, id: &DeviceId, tags: &[Tag]) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE devices SET tags = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(words(tags.iter().map(Tag::as_str)))
                .execute(&self.pool)
                .await
        };
        match self.written("tag", call).await?.rows_affected() {
            0 => Err(Problem::new(Code::UNKNOWN_DEVICE)),
            _ => Ok(()),
        }
    }

    /// Forgets a device; its sessions' rows stay. `false`: there was none.
    pub async fn forget(&self, id: &DeviceId) -> Result<bool, Problem> {
        let call = async {
            sqlx::query("DELETE FROM devices WHERE id = $1")
                .bind(id.as_str())
                .execute(&self.pool)
                .await
                .map(|done| done.rows_affected() > 0)
        };
        let forgotten = self.written("forget", call).await?;
        self.count_pending().await?;
        self.count_refused().await?;
        Ok(forgotten)
    }

    /// Tells the metrics how many devices are refused until somebody accepts their host keys. It
    /// looks at every device, but only when one of them has changed in this.
    pub(super) async fn count_refused(&self) -> Result<(), Problem> {
        let call = async {
            sqlx::query_scalar("SELECT count(*) FROM devices WHERE offered_host_keys IS NOT NULL")
                .fetch_one(&self.pool)
                .await
        };
        self.metrics.host_keys_refused(self.measured("host_keys_refused", call).await?);
        Ok(())
    }
}

/// Keeps a new device. Of one that is known its tags and its standing stay.
pub(super) async fn insert(all: &mut SqliteConnection, device: &DeviceRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO devices (id, name, key, login, platform, sshd, software, host_keys,
             offered_host_keys, enrolled_us, last_seen_us, tags, standing, install_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, renamed = FALSE, key = excluded.key,
             login = excluded.login, platform = excluded.platform, sshd = excluded.sshd,
             software = excluded.software, host_keys = excluded.host_keys,
             offered_host_keys = excluded.offered_host_keys, enrolled_us = excluded.enrolled_us,
             last_seen_us = excluded.last_seen_us",
    )
    .bind(device.id.as_str())
    .bind(&device.name)
    .bind(&device.key)
    .bind(&device.login)
    .bind(&device.platform)
    .bind(&device.sshd)
    .bind(&device.software)
    .bind(lines(&device.host_keys))
    .bind(device.offered_host_keys.as_deref().map(lines))
    .bind(micros(device.enrolled))
    .bind(device.last_seen.map(micros))
    .bind(words(device.tags.iter().map(Tag::as_str)))
    .bind(device.standing.word())
    .bind(device.install_key.as_ref().map(InstallKeyId::as_str))
    .execute(all)
    .await
    .map(drop)
}

fn lines(keys: &[String]) -> String {
    keys.join("\n")
}

fn unlines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn device_of(row: &SqliteRow) -> Result<DeviceRow, sqlx::Error> {
    Ok(DeviceRow {
        id: row
            .try_get::<String, _>("id")?
            .parse()
            .map_err(|e: moorline_wire::id::BadId| undecodable("id", e))?,
        name: row.try_get("name")?,
        key: row.try_get("key")?,
        next_key: row.try_get("next_key")?,
        key_asked: row.try_get("key_asked")?,
        standing: standing_of(row)?,
        install_key: row
            .try_get::<Option<&str>, _>("install_key")?
            .map(|id| id.parse().map_err(|e: crate::id::BadId| undecodable("install_key", e)))
            .transpose()?,
        login: row.try_get("login")?,
        platform: row.try_get("platform")?,
        sshd: row.try_get("sshd")?,
        software: row.try_get("software")?,
        host_keys: unlines(row.try_get("host_keys")?),
        offered_host_keys: row.try_get::<Option<&str>, _>("offered_host_keys")?.map(unlines),
        enrolled: timestamp("enrolled_us", row.try_get("enrolled_us")?)?,
        last_seen: row
            .try_get::<Option<i64>, _>("last_seen_us")?
            .map(|at| timestamp("last_seen_us", at))
            .transpose()?,
        tags: unwords(row, "tags")?,
    })
}
