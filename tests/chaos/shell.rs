//! One person with one shell, in which the counted program runs while they type without pause.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use moorline_tests::Device;
use moorline_tests::wait::eventually;
use rand::Rng as _;
use tokio::task::AbortHandle;

use crate::account::Account;
use crate::client::{Client, Moment};
use crate::counted::{self, START, STOP};
use crate::pause::pause;
use crate::scene::Scene;

/// How long a shell may take to be there, and each part of its end.
const SOON: Duration = Duration::from_secs(30);
/// How long a person waits for a shell that is interrupted, before they call it lost.
pub const LOST_AFTER: Duration = Duration::from_secs(60);
/// Between two lines that are typed.
const TYPING: std::ops::Range<u64> = 60..180;
/// Every so many turns many lines are typed at once: 38 KB, three times what a Linux terminal takes
/// ahead of its program (8 KiB on their way to it and 4 KiB before it).
const MANY_EVERY: u64 = 10;
const MANY: usize = 1_500;
/// No more is typed at once while so many bytes wait to be taken.
const WAITS_MAX: u64 = 8 * 1024;

/// See the module.
pub struct Shell {
    /// The session's id.
    pub session: String,
    /// Which device it is on.
    pub device: String,
    client: Arc<Client>,
    folder: PathBuf,
    typed: Arc<Mutex<Typed>>,
    typing: Option<AbortHandle>,
    /// Where in what was shown the counted output begins.
    start: usize,
}

/// The record of the keys.
#[derive(Default)]
struct Typed {
    bytes: Vec<u8>,
    /// The person leaves the keyboard alone.
    resting: bool,
}

impl Shell {
    /// Opens a session on the device and starts the counted program in it.
    pub async fn open(scene: &Scene<'_>, device: &Device) -> Result<Self> {
        let (session, ticket) = scene.broker.open(&device.id).await?;
        let mut shell = Self::attach(scene, &device.agent.name, session, ticket)?;
        shell.begin().await?;
        Ok(shell)
    }

    /// Attaches to the session; nothing runs in it yet.
    pub fn attach(scene: &Scene<'_>, device: &str, session: String, ticket: String) -> Result<Self> {
        let folder = scene.stage.folder(&format!("counted-{session}"));
        let client = Client::attach(&scene.broker, scene.people.address, &session, ticket);
        Ok(Self {
            session,
            device: device.to_owned(),
            client: Arc::new(client),
            folder,
            typed: Arc::default(),
            typing: None,
            start: 0,
        })
    }

    /// Starts the counted program, and types from then on.
    pub async fn begin(&mut self) -> Result<()> {
        let me = std::env::current_exe()?;
        let line = format!("{} counted {}\r", quoted(&me), quoted(&self.folder));
        self.client.types(line);
        self.start = self.client.shows(LOST_AFTER, START).await.context("the counted program begins")?;
        let typing = type_on(Arc::clone(&self.client), Arc::clone(&self.typed));
        self.typing = Some(tokio::spawn(typing).abort_handle());
        Ok(())
    }

    /// Types a line now; gives how many bytes were typed with it.
    pub fn types(&self) -> u64 {
        type_lines(&self.client, &mut self.typed.lock().expect("no panic holds it"), 1)
    }

    /// Waits until everything typed was taken, while the person types nothing more. What a page has
    /// not got rid of is lost when somebody reloads it while the broker is dead.
    pub async fn rests(&self) -> Result<()> {
        let typed = {
            let mut typed = self.typed.lock().expect("no panic holds it");
            typed.resting = true;
            typed.bytes.len() as u64
        };
        let ever = Moment { at: Instant::now(), stamp: 0 };
        self.client.lives(LOST_AFTER, ever, typed).await.with_context(|| self.name())?;
        Ok(())
    }

    /// Types again.
    pub fn works(&self) {
        self.typed.lock().expect("no panic holds it").resting = false;
    }

    /// Waits until the person sees output that was written after the moment and answers that many
    /// typed bytes; gives how long that was after the moment.
    pub async fn lives(&self, after: Moment, taken: u64) -> Result<Duration> {
        let at = self.client.lives(LOST_AFTER, after, taken).await.with_context(|| self.name())?;
        Ok(at.saturating_duration_since(after.at))
    }

    /// Loads the page anew.
    pub fn reloads(&self) {
        self.client.reloads();
    }

    /// Device and session, for messages.
    pub fn name(&self) -> String {
        format!("session {} on {}", self.session, self.device)
    }

    /// Why it is over, if it is.
    pub fn over(&self) -> Option<String> {
        self.client.over()
    }

    /// Brings the program to its end and compares everything.
    pub async fn finish(mut self) -> Result<Account> {
        let name = self.name();
        self.settle().await.context(name)
    }

    async fn settle(&mut self) -> Result<Account> {
        if let Some(typing) = self.typing.take() {
            typing.abort();
        }
        let typed = self.typed.lock().expect("no panic holds it").bytes.clone();
        let given_up = Instant::now() + SOON;
        let taken = eventually(SOON, "the last key to be taken", async || {
            let taken = std::fs::read(counted::typed_in(&self.folder))?;
            ensure!(taken.len() >= typed.len() || Instant::now() > given_up, "some keys are on their way");
            Ok(taken)
        })
        .await?;
        std::fs::write(counted::stop_in(&self.folder), "")?;
        let stop = self.client.shows(SOON, STOP).await;
        let counts = match stop {
            Ok(at) => {
                self.client.shows_from(SOON, at, b"\x1e\r\n").await?;
                Some(at)
            }
            Err(_) => None,
        };
        let (shown, written) = (self.client.shown(), std::fs::read(counted::shown_in(&self.folder))?);
        let mut account = Account::default();
        account.of_output(&written, &shown, self.start);
        account.of_screens(&written, &shown, self.start);
        account.of_input(&typed, &taken);
        match counts {
            Some(at) => account.of_hashes(&written, &taken, &shown.bytes[at..]),
            None => account.notes.push("the program's own count was never shown".to_owned()),
        }
        for note in &mut account.notes {
            *note = format!("session {} on {}: {note}", self.session, self.device);
        }
        Ok(account)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(typing) = &self.typing {
            typing.abort();
        }
    }
}

/// Types numbered lines for as long as it is let, now and then many at once: more than a terminal
/// takes while its program is busy, so that some wait with the keeper when a fault comes.
async fn type_on(client: Arc<Client>, typed: Arc<Mutex<Typed>>) {
    for turn in 1_u64.. {
        let wait = rand::rng().random_range(TYPING);
        pause(Duration::from_millis(wait)).await;
        let mut typed = typed.lock().expect("no panic holds it");
        if !typed.resting {
            // Not on top of what waits already: how long the program takes for it is not the fault's doing.
            let waits = (typed.bytes.len() as u64).saturating_sub(client.taken());
            let lines = if turn % MANY_EVERY == 0 && waits < WAITS_MAX { MANY } else { 1 };
            type_lines(&client, &mut typed, lines);
        }
    }
}

/// Types so many lines; gives how many bytes were typed with them. The record has the order in which
/// the keys went out, because whoever types holds it.
fn type_lines(client: &Client, typed: &mut Typed, count: usize) -> u64 {
    let begins = typed.bytes.len();
    for _ in 0..count {
        let line = format!("k {:08} {:08x} ü\n", typed.bytes.len(), rand::random::<u32>());
        typed.bytes.extend_from_slice(line.as_bytes());
    }
    client.types(String::from_utf8_lossy(&typed.bytes[begins..]).into_owned());
    typed.bytes.len() as u64
}

/// The path as one word of the shell.
fn quoted(path: &std::path::Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Opens a shell on each device.
pub async fn on_each(scene: &Scene<'_>) -> Result<Vec<Shell>> {
    let opening = scene.devices.iter().map(|device| Shell::open(scene, device));
    futures_util::future::try_join_all(opening).await
}
