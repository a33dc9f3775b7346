//! The processes that simulate devices, seen from the run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use moorline_tests::{Broker, Stage, wait};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::crowd::{Orders, Tally};

/// So many devices are in one process: half of what its descriptors allow where they are fewest.
const DEVICES_EACH: usize = 5_000;

/// So many of a process connect at the same time when they come for the first time.
const AT_ONCE: usize = 64;

/// The devices are other machines: here they take what the broker and its person leave.
const NICE: &str = "10";

/// See the module. Dropped, the processes end.
pub struct Crowds {
    crowds: Vec<Process>,
    /// How many devices they are.
    pub devices: u64,
}

struct Process {
    _child: Child,
    _ends_it: ChildStdin,
    tally: watch::Receiver<Tally>,
    reading: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Crowds {
    /// Starts as many devices, which begin to connect at once.
    pub async fn start(stage: &Stage, broker: &Broker, devices: usize) -> Result<Self> {
        let install_key = std::fs::read_to_string(stage.path("install.key"))?.trim().to_owned();
        let seed = format!("{:032x}", rand::random::<u128>());
        let mut crowds = Vec::new();
        for first in (0..devices).step_by(DEVICES_EACH) {
            let orders = Orders {
                broker: broker.address,
                install_key: install_key.clone(),
                first: u32::try_from(first)?,
                count: u32::try_from(DEVICES_EACH.min(devices - first))?,
                at_once: AT_ONCE,
                seed: seed.clone(),
            };
            crowds.push(Process::start(&orders).await?);
        }
        Ok(Self { crowds, devices: devices as u64 })
    }

    /// How they all are.
    pub fn tally(&self) -> Tally {
        self.crowds.iter().fold(Tally::default(), |sum, crowd| sum.and(&crowd.tally.borrow()))
    }

    /// Waits until they are such, and says how long that took.
    pub async fn are(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Tally) -> bool,
    ) -> Result<Duration> {
        let since = Instant::now();
        let outcome = wait::eventually(limit, what, async || {
            let tally = self.tally();
            let ended = self.crowds.iter().any(|crowd| crowd.reading.is_finished());
            ensure!(!ended, wait::Hopeless("a process of simulated devices has ended".to_owned()));
            ensure!(wanted(&tally), "{tally:?}");
            Ok(())
        });
        outcome.await.map(|()| since.elapsed())
    }
}

impl Process {
    async fn start(orders: &Orders) -> Result<Self> {
        let me: PathBuf = std::env::current_exe()?;
        let mut command = Command::new("nice");
        command.args(["-n", NICE]).arg(me).arg("crowd");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start simulated devices")?;
        let mut ends_it = child.stdin.take().context("it has a standard input")?;
        ends_it.write_all(format!("{}\n", serde_json::to_string(orders)?).as_bytes()).await?;
        let mut lines = BufReader::new(child.stdout.take().context("it has an output")?).lines();
        let (tell, tally) = watch::channel(Tally::default());
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str(&line) {
                    Ok(now) => tell.send_replace(now),
                    Err(_) => return,
                };
            }
        });
        Ok(Self { _child: child, _ends_it: ends_it, tally, reading })
    }
}
