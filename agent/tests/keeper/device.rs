//! A device with a folder for its keepers, and attaches that speak as a broker does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use moorline_agent::clock;
use moorline_wire::SessionId;
use moorline_wire::keep::{Create, Decoder, FromKeeper, KeeperControl, OrderControl, Taken, ToKeeper};
use moorline_wire::term::HostFrame;
use moorline_wire::term::frame::{HostControl, Size, ViewerFrame, ViewerRole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Long enough on a busy machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
pub const AGENT: &str = env!("CARGO_BIN_EXE_moorline-agent");

pub struct Device {
    root: tempfile::TempDir,
    pub dir: PathBuf,
    pub session: SessionId,
}

/// A session's id that no other test has.
fn fresh_session() -> SessionId {
    let letters: String =
        (0..SessionId::LENGTH).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
    format!("s-{letters}").parse().unwrap()
}

impl Device {
    pub fn new() -> Self {
        Self::within("keep")
    }

    pub fn within(name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(name);
        Self { root, dir, session: fresh_session() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn keep(&self) -> Command {
        let mut command = Command::new(AGENT);
        command.args(["keep", "--session", self.session.as_str(), "--dir"]).arg(&self.dir);
        command
    }

    pub fn attach(&self) -> Attached {
        Attached::by(self.keep())
    }

    pub fn take(&self, epoch: u64, create: Option<Create>) -> ToKeeper {
        let session = self.session.clone();
        ToKeeper::Order(OrderControl::Take { version: 1, session, epoch, create })
    }

    /// The session is ours.
    pub async fn taken(&self, epoch: u64, create: Option<Create>) -> (Attached, Taken) {
        let mut attached = self.attach();
        let taken = attached.takes(self.take(epoch, create)).await;
        (attached, taken)
    }

    pub fn join(&self, viewer: u64, key: &str, have: Option<u64>, in_next: u64) -> ToKeeper {
        let attached = HostControl::Attached {
            session: self.session.clone(),
            resume: String::new(),
            role: ViewerRole::Driver,
            from: 0,
            head: 0,
            in_ack: 0,
            window: 0,
            in_window: 0,
            ping_ms: 0,
            dead_ms: 0,
            size: SIZE,
            gap: None,
            snapshot: false,
            kept_s: 0,
            keeper: true,
            device: String::new(),
            login: String::new(),
        };
        let (key, who, attached) = (key.to_owned(), "anna".to_owned(), Box::new(attached));
        let role = ViewerRole::Driver;
        ToKeeper::Order(OrderControl::Join { viewer, key, who, have, in_next, size: SIZE, role, attached })
    }

    /// The keeper's process.
    pub fn keeper(&self) -> Option<i32> {
        self.keepers().first().copied()
    }

    pub fn keepers(&self) -> Vec<i32> {
        processes(|line| line.contains("\0--hold\0") && line.contains(self.session.as_str()))
    }

    pub fn files(&self) -> usize {
        std::fs::read_dir(&self.dir).map_or(0, Iterator::count)
    }

    pub async fn nothing_is_left(&self) {
        until("nothing is left", || self.keepers().is_empty() && self.files() == 0).await;
    }
}

/// A test that fails leaves no keeper.
impl Drop for Device {
    fn drop(&mut self) {
        for keeper in self.keepers() {
            kill(keeper);
        }
    }
}

pub fn kill(pid: i32) {
    signal(pid, nix::sys::signal::Signal::SIGKILL);
}

pub fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// The living processes whose command line, with NULs between the words, is so.
pub fn processes(is_so: impl Fn(&str) -> bool) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let line = |number: &i32| std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    numbers.filter(|number| is_so(&String::from_utf8_lossy(&line(number)))).collect()
}

/// Waits until something is so.
pub async fn until(what: &'static str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            clock::pass(Duration::from_millis(20)).await;
        }
    };
    clock::within(PATIENCE, what, wait).await.unwrap();
}

/// How sessions are created here, with this command.
pub fn create(command: &str) -> Create {
    Create {
        command: (!command.is_empty()).then(|| command.to_owned()),
        size: SIZE,
        ring_bytes: 4 << 20,
        hold: false,
        orphaned_for_s: 60,
        grace_ms: 500,
        window: 256 << 10,
        in_window: 128 << 10,
        viewers_max: 16,
        driver_back_within_ms: 0,
    }
}

/// An attach process, spoken to as a broker does.
pub struct Attached {
    pub child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    decoder: Decoder,
}

impl Attached {
    pub fn by(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout, decoder: Decoder::after_preamble() }
    }

    pub async fn say(&mut self, message: &ToKeeper) {
        // It may be gone: then the next hearing says so.
        let _ = self.stdin.write_all(&message.encode()).await;
    }

    pub async fn say_raw(&mut self, bytes: &[u8]) {
        let _ = self.stdin.write_all(bytes).await;
    }

    /// The next message; `None` at the end.
    pub async fn hear(&mut self) -> Option<FromKeeper> {
        clock::within(PATIENCE, "a message of the keeper", self.next()).await.unwrap()
    }

    async fn next(&mut self) -> Option<FromKeeper> {
        loop {
            if let Some(raw) = self.decoder.next_message().unwrap() {
                if let Some(message) = FromKeeper::decode(raw).unwrap() {
                    return Some(message);
                }
                continue;
            }
            let mut piece = vec![0; 16 * 1024];
            match self.stdout.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.decoder.push(&piece[..length]),
            }
        }
    }

    /// The next message that is not about who is attached.
    pub async fn hear_control(&mut self) -> Option<KeeperControl> {
        loop {
            match self.hear().await? {
                FromKeeper::Control(KeeperControl::Viewers { .. }) | FromKeeper::Frame(..) => {}
                FromKeeper::Control(control) => return Some(control),
            }
        }
    }

    pub async fn takes(&mut self, take: ToKeeper) -> Taken {
        self.say(&take).await;
        match self.hear_control().await {
            Some(KeeperControl::Taken(taken)) => taken,
            other => panic!("not taken: {other:?}"),
        }
    }

    pub async fn types(&mut self, viewer: u64, offset: u64, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.say(&ToKeeper::Frame(viewer, ViewerFrame::In { offset, bytes })).await;
    }

    /// Reads output from `at` on and acknowledges it, until `enough`. What was read.
    pub async fn read_output(&mut self, viewer: u64, mut at: u64, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut output = Vec::new();
        while !enough(&output) {
            let message = self.hear().await;
            if let Some(FromKeeper::Frame(_, HostFrame::Out { offset, bytes })) = &message {
                assert_eq!(*offset, at, "output is out of place");
                at += bytes.len() as u64;
                output.extend_from_slice(bytes);
                self.say(&ToKeeper::Frame(viewer, ViewerFrame::Ack { offset: at })).await;
            }
            assert!(message.is_some(), "the keeper is gone after {:?}", String::from_utf8_lossy(&output));
        }
        output
    }

    /// The answer to a join.
    pub async fn hear_attached(&mut self) -> HostControl {
        loop {
            let message = self.hear().await.expect("an answer");
            if let FromKeeper::Frame(_, HostFrame::Control(attached @ HostControl::Attached { .. })) = message
            {
                return attached;
            }
        }
    }

    pub async fn ends(mut self) {
        drop(self.stdin);
        clock::within(PATIENCE, "the end of an attach", self.child.wait()).await.unwrap().unwrap();
    }
}

pub fn has(output: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(output).contains(text)
}
