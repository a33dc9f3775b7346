//! A person's terminal without a browser: the viewer machine of `wire` on a real WebSocket, which
//! comes back by itself when the network breaks, and remembers what it was shown.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use moorline_wire::Ending;
use moorline_wire::term::frame::{HostControl, Step};
use moorline_wire::term::{Size, ViewerControl};
use ring::digest;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::broker::Broker;
use crate::wait;

mod driver;

/// How much of the output is kept to be searched.
const KEPT: usize = 16 << 20;

/// See the module.
pub struct Terminal {
    /// The session's id.
    pub session: String,
    commands: mpsc::UnboundedSender<Command>,
    seen: Arc<Seen>,
    driving: AbortHandle,
}

/// What the test does to the terminal.
#[derive(Debug)]
enum Command {
    Typed(Vec<u8>),
    Pasted(Bytes),
    Resize(Size),
    Say(ViewerControl),
    /// Break the socket and come back.
    Cut,
    /// Leave the socket unread, or read it again.
    Read(bool),
}

/// Everything that the terminal was shown and told.
struct Seen {
    now: Mutex<Now>,
    changes: watch::Sender<u64>,
}

/// The state of a terminal.
struct Now {
    /// The last output, at most twice [`KEPT`].
    output: Vec<u8>,
    /// How much was dropped before it.
    dropped: usize,
    /// Where the next search begins, counted from the first byte of all.
    searched: usize,
    digest: digest::Context,
    live: bool,
    attached: u64,
    rebuilt: u64,
    gaps: u64,
    steps: Vec<Step>,
    controls: Vec<HostControl>,
    ending: Option<Ending>,
    ended_at: Option<Instant>,
    closed: Option<u16>,
    failed: Option<String>,
}

impl Seen {
    fn change(&self, with: impl FnOnce(&mut Now)) {
        with(&mut self.now.lock().expect("no panic holds it"));
        self.changes.send_modify(|count| *count += 1);
    }

    fn look<T>(&self, at: impl FnOnce(&mut Now) -> T) -> T {
        at(&mut self.now.lock().expect("no panic holds it"))
    }
}

impl Now {
    fn new() -> Self {
        Self {
            output: Vec::new(),
            dropped: 0,
            searched: 0,
            digest: digest::Context::new(&digest::SHA256),
            live: false,
            attached: 0,
            rebuilt: 0,
            gaps: 0,
            steps: Vec::new(),
            controls: Vec::new(),
            ending: None,
            ended_at: None,
            closed: None,
            failed: None,
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.output.extend_from_slice(bytes);
        if self.output.len() > 2 * KEPT {
            let excess = self.output.len() - KEPT;
            self.output.drain(..excess);
            self.dropped += excess;
        }
    }

    /// How much was shown.
    fn shown(&self) -> u64 {
        (self.dropped + self.output.len()) as u64
    }

    /// What is shown from where the last search ended.
    fn rest(&self) -> &[u8] {
        &self.output[self.searched.saturating_sub(self.dropped)..]
    }
}

impl Terminal {
    /// Opens a session on the device, 80 by 24.
    pub async fn open(broker: &Broker, device: &str) -> Result<Self> {
        Self::open_as(broker, json!({ "device": device, "cols": 80, "rows": 24 })).await
    }

    /// Opens the session that the body describes.
    pub async fn open_as(broker: &Broker, body: Value) -> Result<Self> {
        let side = |name: &str| body[name].as_u64().unwrap_or(80) as u16;
        let size = Size { cols: side("cols"), rows: side("rows"), xpx: 0, ypx: 0 };
        let (session, ticket) = broker.open_as(body).await?;
        Ok(Self::attach(broker, broker.address, &session, ticket, size))
    }

    /// Attaches to a session with a ticket, by way of that address (the broker's, or a relay's).
    pub fn attach(broker: &Broker, through: SocketAddr, session: &str, ticket: String, size: Size) -> Self {
        let seen = Arc::new(Seen { now: Mutex::new(Now::new()), changes: watch::Sender::new(0) });
        let (commands, orders) = mpsc::unbounded_channel();
        let driver = driver::Driver::new(broker, through, session, ticket, size, Arc::clone(&seen), orders);
        let driving = tokio::spawn(driver.run()).abort_handle();
        Self { session: session.to_owned(), commands, seen, driving }
    }

    fn order(&self, command: Command) {
        // Once the session is over nobody listens, and nothing is to be done.
        let _ = self.commands.send(command);
    }

    /// Types by hand.
    pub fn types(&self, text: &str) {
        self.order(Command::Typed(text.as_bytes().to_vec()));
    }

    /// Pastes.
    pub fn pastes(&self, bytes: impl Into<Bytes>) {
        self.order(Command::Pasted(bytes.into()));
    }

    /// Resizes its window.
    pub fn resizes(&self, cols: u16, rows: u16) {
        self.order(Command::Resize(Size { cols, rows, xpx: 0, ypx: 0 }));
    }

    /// Sends a control message.
    pub fn says(&self, control: ViewerControl) {
        self.order(Command::Say(control));
    }

    /// Breaks its socket; it comes back by itself.
    pub fn cuts(&self) {
        self.order(Command::Cut);
    }

    /// Leaves its socket unread, so that the network fills up.
    pub fn stops_reading(&self) {
        self.order(Command::Read(false));
    }

    /// Reads again.
    pub fn reads_again(&self) {
        self.order(Command::Read(true));
    }

    /// Waits until the state is such that `look` gives something.
    async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&mut Now) -> Option<T>,
    ) -> Result<T> {
        let mut changes = self.seen.changes.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = self.seen.look(&mut look) {
                    return Ok(found);
                }
                if let Some(failed) = self.seen.look(|now| now.failed.clone()) {
                    return Err(anyhow!(failed));
                }
                changes.changed().await?;
            }
        };
        let result = wait::within(limit, what, waiting).await.and_then(|result| result);
        result.with_context(|| {
            self.seen.look(|now| format!("for {what}; shown last: {:?}", end_of(&now.output)))
        })
    }

    /// Waits until the shell is there.
    pub async fn live(&self) -> Result<()> {
        self.until(wait::SOON, "the shell to be there", |now| now.live.then_some(())).await
    }

    /// Waits for a shell that takes commands, and gives it a prompt that is known.
    pub async fn ready(&self) -> Result<()> {
        self.live().await?;
        self.types("PS1=\"$(printf '%s%s ' RE ADY)\"; PROMPT_COMMAND=; unset HISTFILE\r");
        self.shows("READY ").await
    }

    /// Waits until this text is shown, after whatever was searched before.
    pub async fn shows(&self, text: &str) -> Result<()> {
        self.shows_within(wait::SOON, text).await
    }

    /// The same with a limit.
    pub async fn shows_within(&self, limit: Duration, text: &str) -> Result<()> {
        self.find(limit, text.as_bytes()).await?;
        Ok(())
    }

    /// Waits until this text is at the end of what is shown, whatever was searched.
    pub async fn shows_last(&self, text: &str) -> Result<()> {
        let limit = Duration::from_secs(60);
        self.until(limit, text, |now| end_of(&now.output).contains(text).then_some(())).await
    }

    /// Waits for these bytes; gives what was shown before them since the last search.
    pub async fn find(&self, limit: Duration, needle: &[u8]) -> Result<Vec<u8>> {
        let mut looked = 0;
        self.until(limit, &format!("{:?}", String::from_utf8_lossy(needle)), |now| {
            let rest = now.rest();
            let from = looked.min(rest.len());
            let at = rest[from..].windows(needle.len()).position(|part| part == needle).map(|at| at + from);
            looked = rest.len().saturating_sub(needle.len());
            let at = at?;
            let before = rest[..at].to_vec();
            now.searched = now.searched.max(now.dropped) + at + needle.len();
            Some(before)
        })
        .await
    }

    /// Runs a command in the shell; gives what it printed (without the echo) and its status.
    pub async fn runs(&self, command: &str) -> Result<(String, u32)> {
        let mark = format!("{:08x}", rand::random::<u32>());
        let (first, second) = mark.split_at(4);
        // The marks are put together by the shell, so that the echo of the line has none of them.
        self.types(&format!(
            "printf '%s%s<' {first} {second}; {command}; printf '>%s%s:%s.' {second} {first} $?\r"
        ));
        self.find(wait::SOON, format!("{mark}<").as_bytes()).await?;
        let printed = self.find(Duration::from_secs(60), format!(">{second}{first}:").as_bytes()).await?;
        let status = self.find(wait::SOON, b".").await?;
        Ok((String::from_utf8_lossy(&printed).replace("\r\n", "\n"), String::from_utf8(status)?.parse()?))
    }

    /// Waits for the session's ending.
    pub async fn ends(&self) -> Result<Ending> {
        self.ends_within(wait::SOON).await
    }

    /// The same with a limit.
    pub async fn ends_within(&self, limit: Duration) -> Result<Ending> {
        self.until(limit, "the ending", |now| now.ending.clone()).await
    }

    /// When the ending came.
    pub fn ended_at(&self) -> Option<Instant> {
        self.seen.look(|now| now.ended_at)
    }

    /// Waits until the broker has closed for good, and gives the code.
    pub async fn closes(&self) -> Result<u16> {
        self.until(Duration::from_secs(60), "the close frame", |now| now.closed).await
    }

    /// Fails if the session has ended for this terminal.
    pub fn check_open(&self) -> Result<()> {
        let (ending, closed, failed) =
            self.seen.look(|now| (now.ending.clone(), now.closed, now.failed.clone()));
        ensure!(
            ending.is_none() && closed.is_none() && failed.is_none(),
            "it ended: {ending:?} {closed:?} {failed:?}"
        );
        Ok(())
    }

    /// How often it was attached.
    pub fn attached(&self) -> u64 {
        self.seen.look(|now| now.attached)
    }

    /// Waits until it was attached more than so often.
    pub async fn attached_again(&self, than: u64) -> Result<()> {
        self.until(Duration::from_secs(30), "another attach", |now| (now.attached > than).then_some(())).await
    }

    /// How often its screen had to be rebuilt, and how many gaps it was told of.
    pub fn losses(&self) -> (u64, u64) {
        self.seen.look(|now| (now.rebuilt, now.gaps))
    }

    /// The errors that its person was shown.
    pub fn errors(&self) -> Vec<String> {
        let text = |control: &HostControl| match control {
            HostControl::Error { code, text, .. } => Some(format!("{code}: {text}")),
            _ => None,
        };
        self.seen.look(|now| now.controls.iter().filter_map(text).collect())
    }

    /// The steps of the setup, as they were told.
    pub fn steps(&self) -> Vec<Step> {
        self.seen.look(|now| now.steps.clone())
    }

    /// Waits for a control message such that `pick` gives something.
    pub async fn told<T>(&self, what: &str, mut pick: impl FnMut(&HostControl) -> Option<T>) -> Result<T> {
        self.until(Duration::from_secs(60), what, |now| now.controls.iter().find_map(&mut pick)).await
    }

    /// All the output that is kept, as text.
    pub fn text(&self) -> String {
        self.seen.look(|now| String::from_utf8_lossy(&now.output).into_owned())
    }

    /// How many bytes it was shown.
    pub fn shown(&self) -> u64 {
        self.seen.look(|now| now.shown())
    }

    /// Waits until more than this many bytes were shown.
    pub async fn shown_more(&self, than: u64) -> Result<()> {
        self.until(Duration::from_secs(60), "more output", |now| (now.shown() > than).then_some(())).await
    }

    /// The SHA-256 of everything it was shown, in hexadecimal.
    pub fn sha256(&self) -> String {
        data_encoding::HEXLOWER.encode(self.seen.look(|now| now.digest.clone()).finish().as_ref())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

fn end_of(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[output.len().saturating_sub(400)..]).into_owned()
}
