//! Clients that are kept: each is read by a task of its own, which answers pings and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use moorline_tests::World;
use moorline_tests::wait::eventually;
use tokio::task::JoinHandle;

use super::client::{Client, Got};
use super::numbers::Numbers;

/// How many sessions are opened at a time.
const AT_A_TIME: usize = 2;

/// A client whose task reads what comes.
pub struct Reader {
    /// The session's id.
    pub session: String,
    bytes: Arc<AtomicU64>,
    reading: JoinHandle<Result<()>>,
}

impl Reader {
    /// Reads and forgets, or checks that what comes are the numbers that are due.
    pub fn of(mut client: Client, mut numbers: Option<Numbers>) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let (session, counted) = (client.session.clone(), Arc::clone(&bytes));
        let reading = tokio::spawn(async move {
            loop {
                match client.next().await? {
                    Got::Output(output) => {
                        counted.fetch_add(output.len() as u64, Ordering::Relaxed);
                        if let Some(numbers) = &mut numbers {
                            numbers.take(&output)?;
                        }
                    }
                    Got::Closed => return Ok(()),
                    Got::Live | Got::Other => {}
                }
            }
        });
        Self { session, bytes, reading }
    }

    /// How much output came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Fails unless it still reads.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.reading.is_finished(), "the reader of {} has ended", self.session);
        Ok(())
    }

    /// Ends, and tells why it ended before.
    pub async fn ends(mut self) -> Result<()> {
        if self.reading.is_finished() {
            return (&mut self.reading).await.context("a reader has failed")?;
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// So many clients with a shell each, by way of that address.
pub async fn clients(world: &World, through: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let open = |_| async move {
        let mut client = Client::open_through(&world.broker, &world.device.id, through).await?;
        client.ready().await?;
        anyhow::Ok(client)
    };
    futures_util::stream::iter(0..count).map(open).buffer_unordered(AT_A_TIME).try_collect().await
}

/// So many idle sessions.
pub async fn idle(world: &World, count: usize) -> Result<Vec<Reader>> {
    let open = |_| async move {
        let mut client = Client::open(&world.broker, &world.device.id).await?;
        client.ready().await?;
        anyhow::Ok(Reader::of(client, None))
    };
    futures_util::stream::iter(0..count).map(open).buffer_unordered(AT_A_TIME).try_collect().await
}

/// Ends sessions as an administrator does, and waits until nothing of them is left on the device.
pub async fn end_all(world: &World, sessions: impl IntoIterator<Item = String>, left: usize) -> Result<()> {
    for session in sessions {
        world.broker.end(&session, "measured").await?;
    }
    eventually(Duration::from_secs(60), "the sessions to be gone", async || {
        let processes = world.device.processes().len();
        ensure!(processes <= left, "{processes} processes are left on the device");
        Ok(())
    })
    .await
}
