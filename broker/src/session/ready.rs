//! What it takes to reach a session's shell: a stream to the device, proofs for it, and what to run
//! there.

use moorline_wire::link::Class;
use moorline_wire::term::Size;
use moorline_wire::{Code, DeviceId, SessionId};

use super::SessionParts;
use super::ssh::{Plain, Plan, Program, Proof};
use super::state::Shell;
use crate::ca::IssueFor;
use crate::device::Opened;
use crate::problem::Problem;
use crate::trace::Place;

/// A session, as far as its shell is concerned.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which session.
    pub session: SessionId,
    /// On which device.
    pub device: DeviceId,
    /// As whom.
    pub login: String,
    /// Who asked for it.
    pub person: String,
    /// The first size of the terminal.
    pub size: Size,
    /// A command instead of a shell.
    pub command: Option<String>,
    /// Where its set-up is traced.
    pub traced: Option<Place>,
}

/// Everything to begin with.
pub struct Ready {
    /// The way to the device's sshd.
    pub opened: Opened,
    /// What to log in to.
    pub plan: Plan,
}

/// For a session that begins now.
pub async fn ready(parts: &SessionParts, wish: &Wish, pinned: Vec<String>) -> Result<Ready, Problem> {
    let opened = parts.devices.open(&wish.device, Class::Interactive).await?;
    let plain = Plain { size: wish.size.clamped(), command: wish.command.clone() };
    let program = match exec(parts, &opened, wish) {
        Some(exec) => Program::Keeper { exec, or: Some(plain) },
        None => Program::Plain(plain),
    };
    with_proofs(parts, wish, opened, pinned, program).await
}

/// For a session whose shell is with a keeper, or may be: of one that never was, nothing is left.
pub async fn ready_again(parts: &SessionParts, wish: &Wish, shell: Shell) -> Result<Ready, Problem> {
    let device = parts.store.device(&wish.device).await?.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
    if device.offered_host_keys.is_some() {
        return Err(Problem::new(Code::HOST_KEY_CHANGED));
    }
    let opened = parts.devices.open(&wish.device, Class::Interactive).await?;
    let Some(exec) = exec(parts, &opened, wish) else {
        return Err(match shell {
            Shell::Kept => Problem::new(Code::SHELL_REFUSED)
                .because(anyhow::anyhow!("the agent on the device offers no keeper any more")),
            Shell::Unknown | Shell::Plain => Problem::new(Code::GONE),
        });
    };
    with_proofs(parts, wish, opened, device.host_keys, Program::Keeper { exec, or: None }).await
}

async fn with_proofs(
    parts: &SessionParts,
    wish: &Wish,
    opened: Opened,
    pinned: Vec<String>,
    program: Program,
) -> Result<Ready, Problem> {
    let ways = parts.keys.ways(&wish.device).await?;
    let mut proofs = Vec::new();
    if ways.certificate {
        let (key, certificate) = parts.ca.issue(&IssueFor {
            session: &wish.session,
            person: &wish.person,
            login: &wish.login,
            device_clock: opened.clock,
            valid_for: parts.config.timing.certificate,
            heard: opened.heard,
        })?;
        proofs.push(Proof::Certificate(key.into(), Box::new(certificate)));
    }
    proofs.extend(ways.key.map(Proof::Key));
    let plan = Plan { login: wish.login.clone(), proofs, pinned, program };
    Ok(Ready { opened, plan })
}

/// The command that leads to the session's keeper, if the device has one.
fn exec(parts: &SessionParts, opened: &Opened, wish: &Wish) -> Option<String> {
    let agent = opened.keeper.as_deref().filter(|_| parts.config.keeper.enabled)?;
    // In quotes for whatever shell the login has: POSIX 2.2.2.
    let agent = agent.replace('\'', r"'\''");
    Some(format!("'{agent}' keep --session {}", wish.session))
}
