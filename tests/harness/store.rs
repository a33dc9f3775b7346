//! What may befall the broker's store: another process holds its lock, or the disk is full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// The store's lock, held by us.
pub struct Lock {
    connection: SqliteConnection,
}

impl Lock {
    /// Takes it: from now on nobody else writes.
    pub async fn take(store: &Path) -> Result<Self> {
        let mut connection = SqliteConnectOptions::new()
            .filename(store)
            .busy_timeout(std::time::Duration::from_secs(5))
            .connect()
            .await?;
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.context("lock the store")?;
        Ok(Self { connection })
    }

    /// Lets it go.
    pub async fn release(mut self) -> Result<()> {
        sqlx::query("ROLLBACK").execute(&mut self.connection).await?;
        Ok(self.connection.close().await?)
    }
}

/// A file system of a few MiB under the broker's data folder, unmounted when dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it; only root may.
    pub fn mount(folder: PathBuf) -> Result<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(&folder)
            .status()?;
        ensure!(status.success(), "mount a small disk: {status}");
        Ok(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// What fills a disk to the last byte until it is dropped.
pub struct Filling {
    path: PathBuf,
}

impl Filling {
    /// Fills the disk that the folder is on, which must be a small one.
    pub fn pour(folder: &Path) -> Result<Self> {
        let filling = Self { path: folder.join("filling") };
        let mut file = File::create(&filling.path)?;
        let piece = [0; 4096];
        for _ in 0..16 * 1024 {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(filling),
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
        bail!("the disk takes more than 64 MiB: it is no small one")
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
