//! Somebody who types into a real shell the whole time, and looks whether each key comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use moorline_tests::Terminal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::pause::pause;

/// Between two keys.
const BETWEEN_KEYS: Duration = Duration::from_millis(15);

/// A key that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
pub struct Person {
    typing: Arc<AtomicBool>,
    /// How long each key took, in milliseconds.
    keys: mpsc::UnboundedReceiver<f64>,
    work: Option<JoinHandle<Result<()>>>,
    terminal: Arc<Terminal>,
}

impl Person {
    /// Begins to type in a terminal whose shell is ready.
    pub async fn at(terminal: Terminal) -> Result<Self> {
        // What is typed comes back from the program, once.
        terminal.types("stty raw -echo; printf '%s%s' BE GUN; exec cat\r");
        terminal.shows("BEGUN").await?;
        let terminal = Arc::new(terminal);
        let typing = Arc::new(AtomicBool::new(true));
        let (took, keys) = mpsc::unbounded_channel();
        let work = tokio::spawn(types(Arc::clone(&terminal), Arc::clone(&typing), took));
        Ok(Self { typing, keys, work: Some(work), terminal })
    }

    /// Stops typing for a while, or begins again.
    pub fn types(&self, typing: bool) {
        self.typing.store(typing, Ordering::Relaxed);
    }

    /// How long each key took since the last time that this was asked.
    pub fn keys(&mut self) -> Vec<f64> {
        std::iter::from_fn(|| self.keys.try_recv().ok()).collect()
    }

    /// Waits for so many keys from now on.
    pub async fn so_many(&mut self, count: usize) -> Result<Vec<f64>> {
        self.keys();
        let mut keys = Vec::new();
        while keys.len() < count {
            match self.keys.recv().await {
                Some(key) => keys.push(key),
                None => self.fails().await?,
            }
        }
        Ok(keys)
    }

    /// Says why it types no more.
    async fn fails(&mut self) -> Result<()> {
        if let Some(work) = self.work.take() {
            work.await??;
        }
        anyhow::bail!("nobody types any more")
    }

    /// Fails unless the terminal is as if nothing had happened.
    pub fn check(&self) -> Result<()> {
        self.terminal.check_open()?;
        let errors = self.terminal.errors();
        ensure!(errors.is_empty(), "an error was shown to a person: {}", errors.join("; "));
        let losses = self.terminal.losses();
        ensure!(losses == (0, 0), "the screen was rebuilt or has a gap: {losses:?}");
        Ok(())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(work) = &self.work {
            work.abort();
        }
    }
}

async fn types(
    terminal: Arc<Terminal>,
    typing: Arc<AtomicBool>,
    took: mpsc::UnboundedSender<f64>,
) -> Result<()> {
    for number in 0.. {
        pause(BETWEEN_KEYS).await;
        while !typing.load(Ordering::Relaxed) {
            pause(BETWEEN_KEYS).await;
        }
        let key = char::from(b'a' + (number % 26) as u8).to_string();
        let since = Instant::now();
        terminal.types(&key);
        terminal.find(PATIENCE, key.as_bytes()).await?;
        // Nobody asks any more when the run is over.
        let _ = took.send(since.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
