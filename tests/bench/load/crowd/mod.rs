//! A process full of simulated devices: on one thread, each a task of its own. It is told what to be in one line
//! of JSON, tells how it is in further ones, and ends with its standard input.

mod device;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use moorline_agent::config::{Settings, Timing};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::pause::pause;
use device::Device;

/// How often it says how it is.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// So many different complaints are kept.
const COMPLAINTS_MAX: usize = 16;

/// What a crowd is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The broker.
    pub broker: SocketAddr,
    /// Its install key.
    pub install_key: String,
    /// The number of its first device.
    pub first: u32,
    /// How many devices it is.
    pub count: u32,
    /// How many of them may connect at the same time when they come for the first time.
    pub at_once: usize,
    /// What their keys are made of.
    pub seed: String,
}

/// How a crowd is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Devices that are connected.
    pub up: u64,
    /// Greetings that went on with a link.
    pub resumed: u64,
    /// Greetings that began one.
    pub fresh: u64,
    /// Greetings that were refused.
    pub refused: u64,
    /// Attempts to connect that came to nothing.
    pub failed: u64,
    /// Connections that broke.
    pub broke: u64,
    /// How often nothing was heard from the broker for a while.
    pub unstable: u64,
    /// What may not happen, and how often it did.
    pub complaints: BTreeMap<String, u64>,
    /// Why an attempt failed last.
    pub failed_last: Option<String>,
}

impl Tally {
    /// Both together.
    pub fn and(mut self, other: &Self) -> Self {
        self.up += other.up;
        self.resumed += other.resumed;
        self.fresh += other.fresh;
        self.refused += other.refused;
        self.failed += other.failed;
        self.broke += other.broke;
        self.unstable += other.unstable;
        for (complaint, count) in &other.complaints {
            *self.complaints.entry(complaint.clone()).or_default() += count;
        }
        self.failed_last = self.failed_last.or_else(|| other.failed_last.clone());
        self
    }
}

/// What its devices share.
struct Crowd {
    broker: SocketAddr,
    install_key: hmac::Key,
    seed: String,
    timing: Timing,
    first_time: Semaphore,
    tally: RefCell<Tally>,
    told: Cell<bool>,
}

impl Crowd {
    fn of(orders: &Orders) -> Self {
        Self {
            broker: orders.broker,
            install_key: hmac::Key::new(hmac::HMAC_SHA256, orders.install_key.as_bytes()),
            seed: orders.seed.clone(),
            timing: Settings::default().timing,
            first_time: Semaphore::new(orders.at_once),
            tally: RefCell::default(),
            told: Cell::new(false),
        }
    }

    #[cfg(test)]
    fn for_tests() -> Self {
        let broker = SocketAddr::from(([127, 0, 0, 1], 1));
        let (install_key, seed) = ("k".repeat(44), "seed".to_owned());
        Self::of(&Orders { broker, install_key, first: 0, count: 1, at_once: 1, seed })
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.borrow_mut());
        self.told.set(false);
    }

    fn complain(&self, what: &str) {
        self.count(|tally| {
            if tally.complaints.len() < COMPLAINTS_MAX || tally.complaints.contains_key(what) {
                *tally.complaints.entry(what.to_owned()).or_default() += 1;
            }
        });
    }

    fn failed_last(&self, error: &anyhow::Error) {
        self.count(|tally| tally.failed_last = Some(format!("{error:#}")));
    }

    /// Says how it is, whenever that has changed.
    async fn tell(&self) -> Result<()> {
        loop {
            pause(TELL_EVERY).await;
            if !self.told.replace(true) {
                let line = serde_json::to_string(&*self.tally.borrow())?;
                writeln!(std::io::stdout(), "{line}")?;
            }
        }
    }
}

/// Is a crowd, until nobody wants it any more.
pub fn run() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line).context("read the orders")?;
    end_with_the_input();
    let crowd = Rc::new(Crowd::of(&orders));
    let mut devices = Vec::new();
    for number in orders.first..orders.first + orders.count {
        devices.push(Device::new(Rc::clone(&crowd), number)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        for device in devices {
            tokio::task::spawn_local(device.live());
        }
        crowd.tell().await
    })
}

/// Ends this process when its standard input ends, and so when whoever started it does.
fn end_with_the_input() {
    std::thread::spawn(|| {
        let mut rest = String::new();
        while std::io::stdin().lock().read_line(&mut rest).is_ok_and(|bytes| bytes > 0) {}
        // Ten thousand tasks need not be taken apart one by one.
        std::process::exit(0);
    });
}
