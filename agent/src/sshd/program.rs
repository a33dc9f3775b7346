//! The program of a session: how it is started, and that it never outlives its owner unnoticed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use nix::unistd::geteuid;
use russh::Pty as Mode;
use tokio::process::{Child, Command};

use super::end::End;
use super::login::Login;
use super::unchecked::{self, Becomes, User};
use super::undertaker::{Left, Undertaker};
use super::{modes, pty};

/// What a client wants of its terminal.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// The TERM variable.
    pub term: String,
    /// Its size.
    pub size: pty::Size,
    /// Its modes.
    pub modes: Vec<(Mode, u32)>,
}

/// What is to be started.
#[derive(Debug)]
pub struct Order<'a> {
    /// As whom.
    pub login: &'a Login,
    /// A command for the shell; none for a login shell.
    pub command: Option<&'a [u8]>,
    /// What the client asked for when another command was forced upon it.
    pub original: Option<&'a [u8]>,
    /// On a terminal, or on pipes.
    pub terminal: Option<&'a Terminal>,
    /// What the client set, as far as it may.
    pub environment: &'a [(String, String)],
}

/// Our side of the program's input and output.
#[derive(Debug)]
pub enum Ends {
    /// Both are one.
    Terminal(Arc<End>),
    /// Each has its own.
    Pipes {
        /// Where its input goes.
        stdin: Arc<End>,
        /// Where its output comes from.
        stdout: End,
        /// Where its errors come from.
        stderr: End,
    },
}

impl Ends {
    /// Where its input goes.
    pub fn input(&self) -> &Arc<End> {
        match self {
            Self::Terminal(end) | Self::Pipes { stdin: end, .. } => end,
        }
    }
}

/// A running program. Dropped before it has ended, it is ended.
#[derive(Debug)]
pub struct Program {
    leader: Option<Child>,
    sid: i32,
    undertaker: Undertaker,
}

impl Program {
    /// Starts it.
    pub fn start(order: &Order<'_>, undertaker: &Undertaker) -> io::Result<(Self, Ends)> {
        let mut command = command(order);
        let becomes = |terminal| Becomes { terminal, user: other_user(order.login) };
        let (child, ends) = match order.terminal {
            Some(wanted) => {
                let (ours, theirs) = terminal(wanted, order.login)?;
                command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
                (unchecked::spawn(command, becomes(true))?, Ends::Terminal(Arc::new(ours)))
            }
            None => {
                let (stdin, stdout, stderr) = (pipe()?, pipe()?, pipe()?);
                command.stdin(stdin.0).stdout(stdout.1).stderr(stderr.1);
                let ends = Ends::Pipes {
                    stdin: Arc::new(End::new(stdin.1)?),
                    stdout: End::new(stdout.0)?,
                    stderr: End::new(stderr.0)?,
                };
                (unchecked::spawn(command, becomes(false))?, ends)
            }
        };
        let sid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("a child that was not waited for has an id");
        Ok((Self { leader: Some(child), sid, undertaker: undertaker.clone() }, ends))
    }

    /// The first process, which leads its POSIX session and its process group.
    pub fn sid(&self) -> i32 {
        self.sid
    }

    /// Waits until its first process has ended. Not to be called again after that.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(leader) = &mut self.leader else { return std::future::pending().await };
        let status = leader.wait().await;
        self.leader = None;
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(leader) = self.leader.take() {
            self.undertaker.bury(Left { leader, sid: self.sid });
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = std::io::pipe()?;
    Ok((read.into(), write.into()))
}

fn terminal(wanted: &Terminal, login: &Login) -> io::Result<(End, OwnedFd)> {
    let (ours, theirs) = pty::open()?;
    if geteuid().is_root() {
        // The program opens its terminal by name, too (tmux, mesg); the group stays, usually tty.
        rustix::fs::fchown(&theirs, Some(rustix::fs::Uid::from_raw(login.uid.as_raw())), None)?;
    }
    pty::resize(&ours, wanted.size)?;
    modes::apply(&theirs, &wanted.modes)?;
    Ok((ours, theirs))
}

fn other_user(login: &Login) -> Option<User> {
    let other = geteuid().is_root();
    other.then(|| User { uid: login.uid, gid: login.gid, groups: login.groups.clone() })
}

/// The shell, with nothing of the agent's own environment.
fn command(order: &Order<'_>) -> Command {
    let login = order.login;
    let mut command = Command::new(&login.shell);
    let name = login.shell.file_name().unwrap_or(OsStr::new("sh"));
    match order.command {
        // login(1): a leading dash tells the shell that it is one to log in with.
        None => {
            let mut dashed = OsString::from("-");
            dashed.push(name);
            command.arg0(dashed);
        }
        Some(line) => {
            command.arg0(name).arg("-c").arg(OsStr::from_bytes(line));
        }
    }
    let here = if login.home.is_dir() { login.home.as_path() } else { Path::new("/") };
    command.current_dir(here).env_clear();
    command.envs(order.environment.iter().map(|(name, value)| (name, value)));
    command.env("USER", &login.name).env("LOGNAME", &login.name).env("HOME", &login.home);
    command.env("SHELL", &login.shell).env("PATH", search_path(login));
    if let Some(terminal) = order.terminal.filter(|terminal| !terminal.term.is_empty()) {
        command.env("TERM", &terminal.term);
    }
    if let Some(original) = order.original {
        command.env("SSH_ORIGINAL_COMMAND", OsStr::from_bytes(original));
    }
    command
}

/// As Debian's login has it.
fn search_path(login: &Login) -> &'static str {
    if login.uid.is_root() {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    }
}
