//! The keeper: the process on the device that owns a session's terminal and remembers its recent
//! output, so that the session outlives the broker, the agent and every connection between.
//!
//! `moorline-agent keep --session ID` runs twice, as two processes:
//!
//! - [`attach`]: what an sshd runs as the login, at the end of an SSH channel. It finds the session's
//!   keeper, or starts it, and hands over to it what it has from sshd (`line`). It understands only the
//!   first message.
//! - [`hold`]: the keeper itself, detached from whatever started it.
//!
//! In reading order: `place` (the folder, the lock and the socket by which the two meet), `attach`,
//! `state` (decides: epochs, viewers, the end), `hold` (performs), `connections`, `courtesy`, `program`.
//!
//! A keeper writes no log and reads no settings: what it must know comes with the message that
//! creates it. It runs as the login, and nobody else but root can reach it.

use std::path::PathBuf;
use std::process::ExitCode;

use moorline_wire::SessionId;

mod attach;
mod connections;
mod courtesy;
mod hold;
mod line;
mod place;
mod program;
mod state;

/// The variable that names the folder of the sockets, where no argument does.
pub const DIR_VARIABLE: &str = "MOORLINE_KEEP_DIR";
/// The variable that names the shell, where it is not to be the login's own.
pub const SHELL_VARIABLE: &str = "MOORLINE_SHELL";

/// The variable by which a program knows its session.
pub const SESSION_VARIABLE: &str = "MOORLINE_SESSION";

/// Attaches to a session's keeper, or is it.
#[derive(Debug, clap::Args)]
pub struct Keep {
    /// Which session
    #[arg(long, value_name = "ID")]
    session: SessionId,
    /// Where the sockets of this login's keepers are [default: /run/moorline/keep as root, else
    /// ~/.local/state/moorline/keep, or /tmp/moorline-UID where that cannot be made]
    #[arg(long, value_name = "DIR", env = DIR_VARIABLE)]
    dir: Option<PathBuf>,
    /// Be the keeper: standard input is the lock, standard output the socket
    #[arg(long, hide = true)]
    hold: bool,
}

impl Keep {
    /// Runs to its end.
    pub fn run(self) -> ExitCode {
        let ended = if self.hold {
            hold::run(self.session, self.dir.as_deref())
        } else {
            attach::run(&self.session, self.dir.as_deref())
        };
        // Who could be told was told.
        if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What the agent says of its keeper in the greeting: where the program is that runs it.
pub fn capability() -> Option<String> {
    let own = std::env::current_exe().ok()?;
    let path = own.to_str()?;
    // So Linux marks a program that was replaced while it runs: the new one stands at the same place.
    Some(format!("keeper:{}", path.strip_suffix(" (deleted)").unwrap_or(path)))
}
