//! A person's terminal that never gives up: the viewer machine of `wire` on a WebSocket, which
//! comes back as the page does, and keeps everything it was shown under its offset.
//!
//! It tells apart what a person would not: bytes that were skipped (a gap, or a screen that had to
//! be rebuilt although nobody reloaded the tab) and bytes that a snapshot stands for after a reload.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use moorline_tests::{Broker, wait};
use moorline_wire::term::Size;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

mod driver;

/// The size of every terminal of the suite.
pub const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// See the module.
pub struct Client {
    orders: mpsc::UnboundedSender<Order>,
    seen: Arc<Seen>,
    driving: AbortHandle,
}

/// What a person does.
enum Order {
    Type(Vec<u8>),
    /// Throw the page away and load it again.
    Reload,
}

/// When something happened: on the clock of the suite, and on that of the devices (the machine's).
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For durations.
    pub at: Instant,
    /// For comparing with the stamps of the output.
    pub stamp: u128,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Self { at: Instant::now(), stamp }
    }
}

/// The last whole line of the counted program that was shown.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// When the device wrote it.
    pub stamp: u128,
    /// How many bytes were typed when it did.
    pub taken: u64,
    /// When it was shown.
    pub at: Instant,
}

/// Output that came in one go: from which offset, and where it stands in `Shown::bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The offset of its first byte.
    pub from: u64,
    /// Where it begins in what was shown.
    pub at: usize,
    /// Whether a reload is what ended the stretch before it.
    pub reloaded: bool,
}

/// A screen as it was sent: everything up to the offset stands for it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it stands for.
    pub offset: u64,
    /// Its width and height.
    pub size: (u16, u16),
    /// What brings it back.
    pub bytes: Vec<u8>,
}

/// All that a terminal was shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Every byte of output, in the order it came.
    pub bytes: Vec<u8>,
    /// Where the bytes belong.
    pub stretches: Vec<Stretch>,
    /// The screens after reloads and gaps.
    pub snapshots: Vec<Snapshot>,
}

struct Seen {
    shown: Mutex<Shown>,
    news: watch::Sender<News>,
}

/// What others wait for.
#[derive(Debug, Clone, Default)]
struct News {
    progress: Option<Progress>,
    /// How far `Shown::bytes` goes.
    length: usize,
    /// Why the session is over for this terminal.
    over: Option<String>,
}

impl Client {
    /// Attaches to the session by way of that address, and stays until it is dropped.
    pub fn attach(broker: &Broker, through: SocketAddr, session: &str, ticket: String) -> Self {
        let seen = Arc::new(Seen { shown: Mutex::default(), news: watch::Sender::default() });
        let (orders, taken) = mpsc::unbounded_channel();
        let driver = driver::Driver::new(broker, through, session, ticket, Arc::clone(&seen), taken);
        let driving = tokio::spawn(driver.run()).abort_handle();
        Self { orders, seen, driving }
    }

    /// Types by hand.
    pub fn types(&self, bytes: impl Into<Vec<u8>>) {
        // Once the session is over nobody listens; that it is over is seen elsewhere.
        let _ = self.orders.send(Order::Type(bytes.into()));
    }

    /// Loads the page anew: what it was shown is forgotten there, its key and token are not.
    pub fn reloads(&self) {
        let _ = self.orders.send(Order::Reload);
    }

    /// Waits until the news are such that `look` gives something.
    async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&News) -> Option<T>,
    ) -> Result<T> {
        let mut news = self.seen.news.subscribe();
        let waiting = async {
            loop {
                let now = news.borrow_and_update().clone();
                if let Some(found) = look(&now) {
                    return Ok(found);
                }
                if let Some(over) = now.over {
                    bail!("the session is over: {over}");
                }
                news.changed().await?;
            }
        };
        wait::within(limit, what, waiting).await?.with_context(|| format!("waiting for {what}"))
    }

    /// Waits until a line is shown that was written after the moment and counts that many keys.
    pub async fn lives(&self, limit: Duration, after: Moment, taken: u64) -> Result<Instant> {
        self.until(limit, "output that answers what was typed", |now| {
            let progress = now.progress.filter(|seen| seen.stamp > after.stamp && seen.taken >= taken);
            progress.map(|seen| seen.at)
        })
        .await
    }

    /// Waits until these bytes are shown; gives where in `Shown::bytes` they end.
    pub async fn shows(&self, limit: Duration, needle: &[u8]) -> Result<usize> {
        self.shows_from(limit, 0, needle).await
    }

    /// The same, looking only from there on.
    pub async fn shows_from(&self, limit: Duration, mut looked: usize, needle: &[u8]) -> Result<usize> {
        self.until(limit, &format!("{:?}", String::from_utf8_lossy(needle)), |_| {
            let shown = self.seen.shown.lock().expect("no panic holds it");
            let from = looked;
            looked = from.max(shown.bytes.len().saturating_sub(needle.len()));
            let at = shown.bytes[from..].windows(needle.len()).position(|part| part == needle)?;
            Some(from + at + needle.len())
        })
        .await
    }

    /// How many typed bytes the program has taken, as far as it was shown.
    pub fn taken(&self) -> u64 {
        self.seen.news.borrow().progress.map_or(0, |progress| progress.taken)
    }

    /// Everything that it was shown.
    pub fn shown(&self) -> Shown {
        self.seen.shown.lock().expect("no panic holds it").clone()
    }

    /// Why the session is over for it, if it is.
    pub fn over(&self) -> Option<String> {
        self.seen.news.borrow().over.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Seen {
    fn tell(&self, change: impl FnOnce(&mut News)) {
        self.news.send_modify(change);
    }

    /// Output that belongs at the offset.
    fn show(&self, offset: u64, bytes: &[u8], reloaded: bool) {
        let mut shown = self.shown.lock().expect("no panic holds it");
        let at = shown.bytes.len();
        let goes_on = shown.stretches.last().is_some_and(|last| last.from + (at - last.at) as u64 == offset);
        if !goes_on || reloaded {
            shown.stretches.push(Stretch { from: offset, at, reloaded });
        }
        shown.bytes.extend_from_slice(bytes);
        let (length, progress) = (shown.bytes.len(), last_line(&shown.bytes, at));
        drop(shown);
        self.tell(|now| {
            now.length = length;
            now.progress = progress.or(now.progress);
        });
    }
}

/// No line of the counted program is longer.
const LINE_BYTES_MAX: usize = 120;

/// The last whole counted line of the output, if one has ended at or after `fresh`.
fn last_line(output: &[u8], fresh: usize) -> Option<Progress> {
    let mut rest = &output[fresh.saturating_sub(LINE_BYTES_MAX)..];
    while let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
        rest = &rest[..end];
        let start = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Some(progress) = parse(&rest[start..]) {
            return Some(progress);
        }
    }
    None
}

fn parse(line: &[u8]) -> Option<Progress> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.strip_prefix("L ")?.split(' ').skip(1);
    let (stamp, taken) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    line.ends_with("✓\r").then(|| Progress { stamp, taken, at: Instant::now() })
}
