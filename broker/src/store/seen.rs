//! What greetings told: noted at once, and written together with what others told.
//!
//! A write that is on the disk takes milliseconds, whatever is in it. When ten thousand devices come back within a
//! second, a write for each would keep the last of them waiting for a quarter of a minute, all for names and times
//! that nobody waits for. So while one write is under way, the rest gathers for the next.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moorline_wire::DeviceId;
use sqlx::QueryBuilder;
use tokio::sync::Notify;

use super::{DeviceSeen, Store, micros};
use crate::clock;
use crate::problem::Problem;

/// So many rows are in one statement: seven values each, of the 32,766 that SQLite takes.
const ROWS_AT_ONCE: usize = 500;

/// A store that takes no writes is tried again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Of each device the newest that is not written yet.
#[derive(Debug, Default)]
pub(super) struct Noted {
    devices: Mutex<HashMap<DeviceId, DeviceSeen>>,
    more: Notify,
}

impl Noted {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, DeviceSeen>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Takes note of what a greeting told. A name that a person gave stays.
    pub fn seen(&self, id: &DeviceId, seen: DeviceSeen) {
        self.noted.lock().insert(id.clone(), seen);
        self.noted.more.notify_one();
    }

    /// Writes what is noted, whenever there is something, for ever.
    pub async fn write_notes(&self) {
        loop {
            self.noted.more.notified().await;
            if self.write_noted().await.is_err() {
                clock::pause_for(AGAIN_AFTER).await;
                self.noted.more.notify_one();
            }
        }
    }

    /// Writes what is noted now. What cannot be written stays noted.
    pub async fn write_noted(&self) -> Result<(), Problem> {
        let noted: Vec<_> = std::mem::take(&mut *self.noted.lock()).into_iter().collect();
        for (at, rows) in noted.chunks(ROWS_AT_ONCE).enumerate() {
            if let Err(problem) = self.written("seen", self.write_rows(rows)).await {
                let mut newer = self.noted.lock();
                for (id, seen) in noted.into_iter().skip(at * ROWS_AT_ONCE) {
                    newer.entry(id).or_insert(seen);
                }
                return Err(problem);
            }
        }
        Ok(())
    }

    async fn write_rows(&self, rows: &[(DeviceId, DeviceSeen)]) -> Result<(), sqlx::Error> {
        let mut statement = QueryBuilder::new(
            "UPDATE devices SET name = CASE WHEN renamed THEN name ELSE seen.column2 END, login = seen.column3,
                 platform = seen.column4, software = seen.column5, sshd = seen.column6, last_seen_us = seen.column7
             FROM (",
        );
        statement.push_values(rows, |mut row, (id, seen)| {
            row.push_bind(id.as_str()).push_bind(&seen.name).push_bind(&seen.login).push_bind(&seen.platform);
            row.push_bind(&seen.software).push_bind(&seen.sshd).push_bind(micros(seen.at));
        });
        statement.push(") AS seen WHERE devices.id = seen.column1");
        // Each count of rows is a statement of its own, not worth to be kept.
        statement.build().persistent(false).execute(&self.pool).await.map(drop)
    }
}
