//! The session's program: the login's shell on a terminal of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use moorline_wire::term::frame::Size;
use moorline_wire::{Exit, SessionId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::{DIR_VARIABLE, SESSION_VARIABLE, SHELL_VARIABLE};
use crate::clock;
use crate::sshd::end::End;
use crate::sshd::login::Login;
use crate::sshd::unchecked::{self, Becomes};
use crate::sshd::{pty, undertaker};

/// What every terminal here understands: it is xterm.js in the end.
const TERM: &str = "xterm-256color";

/// Our side of a running program.
#[derive(Debug)]
pub struct Program {
    /// Its terminal.
    pub terminal: End,
    sid: i32,
}

/// The program's first process.
#[derive(Debug)]
pub struct Leader {
    child: Child,
    sid: i32,
    grace: Duration,
}

/// Starts the login's shell, or a command in it.
pub fn start(
    session: &SessionId,
    command: Option<&str>,
    size: Size,
    grace: Duration,
) -> io::Result<(Program, Leader)> {
    let login = Login::own().map_err(io::Error::other)?;
    let (terminal, theirs) = pty::open()?;
    pty::resize(&terminal, of_terminal(size))?;
    let mut shell = shell(&login, session, command);
    shell.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    let child = unchecked::spawn(shell, Becomes { terminal: true, user: None })?;
    let sid =
        child.id().and_then(|id| i32::try_from(id).ok()).expect("a child that was not waited for has an id");
    Ok((Program { terminal, sid }, Leader { child, sid, grace }))
}

/// The login's home, or the root of the file system where it has none.
pub fn home() -> PathBuf {
    let home = Login::own().map(|login| login.home).ok();
    home.filter(|home| home.is_dir()).unwrap_or_else(|| PathBuf::from("/"))
}

fn shell(login: &Login, session: &SessionId, line: Option<&str>) -> Command {
    let chosen = std::env::var_os(SHELL_VARIABLE).map(PathBuf::from).filter(|shell| shell.is_absolute());
    let shell = chosen.unwrap_or_else(|| login.shell.clone());
    let name = shell.file_name().unwrap_or("sh".as_ref()).to_owned();
    let mut command = Command::new(&shell);
    match line {
        // login(1): a leading dash tells the shell that it is one to log in with.
        None => {
            let mut dashed = OsString::from("-");
            dashed.push(&name);
            command.arg0(dashed);
        }
        Some(line) => {
            command.arg0(name).arg("-c").arg(line);
        }
    }
    command.current_dir(home());
    command.env_remove(DIR_VARIABLE).env_remove(SHELL_VARIABLE);
    command.env("TERM", TERM).env("COLORTERM", "truecolor").env(SESSION_VARIABLE, session.as_str());
    command.env("SHELL", &shell);
    let usual: [(&str, &Path); 5] = [
        ("USER", login.name.as_ref()),
        ("LOGNAME", login.name.as_ref()),
        ("HOME", &login.home),
        ("LANG", "C.UTF-8".as_ref()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".as_ref()),
    ];
    // What the sshd has set stays.
    for (name, value) in usual.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
        command.env(name, value);
    }
    command
}

impl Program {
    /// Sizes its terminal.
    pub fn resize(&self, size: Size) {
        // A program that is just ending has no use for it.
        let _ = pty::resize(&self.terminal, of_terminal(size));
    }

    /// Sends a signal to whatever is in the foreground.
    pub fn signal(&self, number: u8) {
        let group = pty::foreground(&self.terminal).filter(|group| *group > 0).unwrap_or(self.sid);
        if let Ok(signal) = Signal::try_from(i32::from(number)) {
            // It may have gone meanwhile.
            let _ = kill(Pid::from_raw(-group), signal);
        }
    }
}

impl Leader {
    /// Waits until it has ended; once `ended` is cancelled, sees to it that all of its session has.
    pub async fn ended(mut self, end: CancellationToken) -> Exit {
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = end.cancelled() => {
                undertaker::end(&mut self.child, self.sid, clock::pass(self.grace)).await
            }
        };
        exit(status)
    }
}

fn exit(status: io::Result<ExitStatus>) -> Exit {
    let Ok(status) = status else { return Exit::Status(255) };
    match status.signal() {
        Some(number) => Exit::Signal(match Signal::try_from(number) {
            Ok(signal) => signal.as_str().trim_start_matches("SIG").to_owned(),
            Err(_) => format!("{number}@moorline"),
        }),
        None => Exit::Status(status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(255)),
    }
}

fn of_terminal(size: Size) -> pty::Size {
    let Size { cols, rows, xpx, ypx } = size.clamped();
    pty::Size { cols, rows, pixel_width: xpx, pixel_height: ypx }
}
