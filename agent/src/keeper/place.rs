//! Where an attach and a keeper meet: a folder of the login's own, and in it, for each session, a
//! socket and a lock.
//!
//! The keeper holds the lock for its life, so a socket without a locked lock is one that a dead keeper
//! left behind. Whoever takes the lock makes the socket and gives both to the keeper that it starts:
//! so two that come at once start one. The keeper removes both before it lets go of the lock; who has
//! locked a file that is no longer in the folder has locked nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use moorline_wire::SessionId;
use nix::unistd::geteuid;
use rustix::fs::{AtFlags, FlockOperation, OFlags, flock, unlinkat};

/// The longest path of a unix socket, without the NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What keeps a keeper from being reached.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The folder cannot be made or opened.
    #[error("cannot open the folder of the keepers {0}: {1}")]
    Folder(PathBuf, #[source] io::Error),
    /// Somebody else could put a socket of theirs there.
    #[error(
        "the folder of the keepers {0} belongs to another user: remove it or choose another with keeper.dir"
    )]
    Foreign(PathBuf),
    /// Somebody else could reach our sockets.
    #[error("the folder of the keepers {0} is open to others: run chmod 700 on it")]
    Open(PathBuf),
    /// A file in it.
    #[error("cannot {0} in the folder of the keepers: {1}")]
    File(&'static str, #[source] io::Error),
}

/// The folder, open.
#[derive(Debug)]
pub struct Place {
    folder: File,
    path: PathBuf,
    name: String,
}

/// The right to start the session's keeper, or to be it.
#[derive(Debug)]
pub struct Lock(File);

impl From<Lock> for OwnedFd {
    fn from(lock: Lock) -> Self {
        lock.0.into()
    }
}

/// How the lock of a session is.
#[derive(Debug)]
pub enum Locked {
    /// It is ours now: there is no keeper.
    ByUs(Lock),
    /// There is a keeper, or one is about to be.
    ByAnother,
    /// There is no such file.
    Absent,
}

impl Place {
    /// The folder for this session, made if it is not there.
    pub fn open(session: &SessionId, dir: Option<&Path>) -> Result<Self, PlaceError> {
        let path = match dir {
            Some(dir) => make(dir).map(|()| dir.to_owned()),
            None => make_default(),
        };
        let path = path.map_err(|(path, err)| PlaceError::Folder(path, err))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).expect("the flags of open(2) are an int");
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        let failed = |err| PlaceError::Folder(path.clone(), err);
        let folder = opened.map_err(failed)?;
        let metadata = folder.metadata().map_err(failed)?;
        if metadata.uid() != geteuid().as_raw() {
            return Err(PlaceError::Foreign(path));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(PlaceError::Open(path));
        }
        Ok(Self { folder, path, name: session.to_string() })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock if nobody has it and the file is there.
    pub fn lock_if_there(&self) -> Result<Locked, PlaceError> {
        self.lock_with(false)
    }

    /// Takes the lock if nobody has it.
    pub fn lock(&self) -> Result<Locked, PlaceError> {
        self.lock_with(true)
    }

    fn lock_with(&self, create: bool) -> Result<Locked, PlaceError> {
        let path = self.within(&self.lock_name());
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(&path);
            let file = match opened {
                Err(err) if err.kind() == io::ErrorKind::NotFound && !create => return Ok(Locked::Absent),
                opened => opened.map_err(|err| PlaceError::File("open a lock", err))?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Locked::ByUs(Lock(file))),
                // Removed between opening and locking.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Locked::ByAnother),
                Err(err) => return Err(PlaceError::File("take a lock", err.into())),
            }
        }
    }

    /// The session's socket, anew.
    pub fn listen(&self, _lock: &Lock) -> Result<UnixListener, PlaceError> {
        self.remove_file(&self.socket_name());
        UnixListener::bind(self.socket()).map_err(|err| PlaceError::File("make a socket", err))
    }

    /// A connection to whoever listens there.
    pub fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.socket())
    }

    /// Removes what a keeper had there. Only for who has the lock.
    pub fn clear(&self) {
        self.remove_file(&self.socket_name());
        self.remove_file(&self.lock_name());
    }

    fn remove_file(&self, name: &str) {
        // It may be gone already.
        let _ = unlinkat(&self.folder, name, AtFlags::empty());
    }

    fn socket_name(&self) -> String {
        format!("{}.sock", self.name)
    }

    fn lock_name(&self) -> String {
        format!("{}.lock", self.name)
    }

    /// By the open folder where the path is too long for a socket.
    fn socket(&self) -> PathBuf {
        let path = self.path.join(self.socket_name());
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX { path } else { self.within(&self.socket_name()) }
    }

    fn within(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd()))
    }
}

/// Whether the open file is the one that stands at that path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

fn make(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let failed = |err| (path.to_owned(), err);
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed),
    }
}

fn make_default() -> Result<PathBuf, (PathBuf, io::Error)> {
    let first = default_path();
    if make(&first).is_ok() {
        return Ok(first);
    }
    let second = PathBuf::from(format!("/tmp/moorline-{}", geteuid()));
    make(&second).map(|()| second)
}

fn default_path() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/run/moorline/keep");
    }
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    base.unwrap_or_else(|| home().join(".local/state")).join("moorline/keep")
}
