//! The folder and the logs of one test.
//!
//! When the stage is taken down, every log is read: a WARN or ERROR that the test did not announce
//! fails it, and so does any byte of a terminal in any line. On failure the folder stays, and the
//! ends of the logs are printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;

/// See the module.
#[derive(Debug)]
pub struct Stage {
    inner: Arc<Inner>,
}

/// What the stage's processes keep of it.
#[derive(Debug)]
pub struct Inner {
    dir: PathBuf,
    logs: Mutex<Vec<Log>>,
    announced: Mutex<Vec<String>>,
    canaries: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// Where the test ended: what comes later is the noise of taking the stage down.
    end: Option<u64>,
    /// Whether its warnings count: those of our own programs do, sshd's do not.
    ours: bool,
}

impl Stage {
    /// An empty folder.
    pub fn new() -> Self {
        crate::broker::install_cryptography();
        let folder = tempfile::Builder::new()
            .prefix("moorline-test-")
            .tempdir()
            .expect("a temporary folder can be made");
        let dir = folder.keep();
        Self {
            inner: Arc::new(Inner {
                dir,
                logs: Mutex::default(),
                announced: Mutex::default(),
                canaries: Mutex::default(),
            }),
        }
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.inner.dir.join(name)
    }

    /// A folder in the folder, made if it is not there.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder can be made in the stage");
        path
    }

    /// Warnings and errors with this text are part of the test.
    pub fn announce(&self, text: &str) {
        self.inner.announced.lock().expect("no panic holds it").push(text.to_owned());
    }

    /// A random word that will be typed or shown in a terminal, and must be in no log.
    pub fn canary(&self) -> String {
        let word = format!("canary{:016x}", rand::random::<u64>());
        self.inner.canaries.lock().expect("no panic holds it").push(word.clone());
        word
    }

    /// What that program has logged so far.
    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(format!("{name}.log"))).unwrap_or_default()).into_owned()
    }

    /// Waits until that program has logged a line with all of the texts, and gives it.
    pub async fn logged(&self, name: &str, texts: &[&str]) -> Result<String> {
        crate::wait::eventually(crate::wait::SOON, &format!("{texts:?} in the log of {name}"), async || {
            let log = self.log(name);
            let line = log.lines().find(|line| texts.iter().all(|text| line.contains(text)));
            line.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no such line"))
        })
        .await
    }

    /// What the logs have so far that nobody announced.
    pub fn complaints(&self) -> Vec<String> {
        self.inner.complaints()
    }

    pub(crate) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    pub(crate) fn add_log(&self, name: &str, ours: bool) -> PathBuf {
        let path = self.dir.join(format!("{name}.log"));
        let mut logs = self.logs.lock().expect("no panic holds it");
        if !logs.iter().any(|log| log.path == path) {
            logs.push(Log { path: path.clone(), end: None, ours });
        }
        path
    }

    /// The test is over: what is logged from now on does not count.
    pub(crate) fn curtain(&self) {
        for log in self.logs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter_mut() {
            if log.end.is_none() {
                log.end = Some(fs::metadata(&log.path).map(|meta| meta.len()).unwrap_or(0));
            }
        }
    }

    /// What the logs say that they should not.
    fn complaints(&self) -> Vec<String> {
        let announced = self.announced.lock().expect("no panic holds it");
        let canaries = self.canaries.lock().expect("no panic holds it");
        let mut complaints = Vec::new();
        for log in self.logs.lock().expect("no panic holds it").iter() {
            let bytes = fs::read(&log.path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let name = log.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            for canary in canaries.iter().filter(|canary| log.ours && text.contains(canary.as_str())) {
                complaints.push(format!("{name} has terminal bytes: {canary}"));
            }
            let end = log.end.map_or(bytes.len(), |end| (end as usize).min(bytes.len()));
            let counted = String::from_utf8_lossy(&bytes[..end]);
            for line in counted.lines().filter(|line| log.ours && is_serious(line)) {
                if !announced.iter().any(|text| line.contains(text.as_str())) {
                    complaints.push(format!("{name}: {line}"));
                }
            }
        }
        complaints
    }

    fn print_ends_of_logs(&self) {
        eprintln!("the folder of this test stays: {}", self.dir.display());
        for log in self.logs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter() {
            let text = String::from_utf8_lossy(&fs::read(&log.path).unwrap_or_default()).into_owned();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("---- {} (last 40 of {} lines)", log.path.display(), lines.len());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Plays one test on a stage of its own. Its logs are read when all its processes have ended.
pub async fn play(test: impl AsyncFnOnce(&Stage) -> Result<()>) {
    let stage = Stage::new();
    if let Err(error) = test(&stage).await {
        panic!("{error:#}");
    }
    let complaints = stage.inner.complaints();
    assert!(complaints.is_empty(), "nobody announced:\n{}", complaints.join("\n"));
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A keeper that was only being started when its device was taken down.
        for pid in crate::inspect::marked(&format!("MOORLINE_KEEP_DIR={}/", self.inner.dir.display())) {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        if std::thread::panicking() {
            self.inner.print_ends_of_logs();
        } else {
            let _ = fs::remove_dir_all(&self.inner.dir);
        }
    }
}

/// Whether a line of a log is one that someone may want to look at.
fn is_serious(line: &str) -> bool {
    let structured = line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"");
    let plain = || line.split_whitespace().take(3).any(|word| word == "WARN" || word == "ERROR");
    structured || plain() || line.contains("panicked at")
}
