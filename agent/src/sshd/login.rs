//! The users of this device, and which of them a session may be for.
//!
//! PAM is not asked: nobody types a password here, and a session is a plain process of the user, as
//! with OpenSSH's `UsePAM no`. What OpenSSH then checks itself is checked here: the shell, the
//! account's expiry, `/etc/nologin`.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgrouplist};

use crate::config::Embedded;

/// A user of this device.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its first group.
    pub gid: Gid,
    /// All its groups.
    pub groups: Vec<Gid>,
    /// Its home folder.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: PathBuf,
}

/// Why a login cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such user.
    #[error("there is no such user on this device")]
    Unknown,
    /// Not this one.
    #[error("the agent runs as {0} and can start sessions for that user only")]
    NotOwn(String),
    /// Not in `embedded.logins`.
    #[error("the login is not in embedded.logins")]
    NotListed,
    /// `nologin` and the like.
    #[error("the user's shell {0} is none to log in with")]
    Shell(PathBuf),
    /// The account has expired.
    #[error("the user's account has expired")]
    Expired,
    /// `/etc/nologin`.
    #[error("/etc/nologin says that only root may log in now")]
    Closed,
}

impl Login {
    /// The user that the agent runs as. A container may run it as a number without a name.
    pub fn own() -> Result<Self, Refusal> {
        if let Ok(Some(user)) = User::from_uid(geteuid()) {
            return Ok(Self::of(user));
        }
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        Ok(Self {
            name: std::env::var("USER").unwrap_or_else(|_| geteuid().to_string()),
            uid: geteuid(),
            gid: getegid(),
            groups: Vec::new(),
            home: variable("HOME").unwrap_or_else(|| "/".into()),
            shell: variable("SHELL").unwrap_or_else(|| "/bin/sh".into()),
        })
    }

    /// The user of this name, if a session may be for it. Reads the user database: may take a while.
    pub fn find(name: &str, settings: &Embedded) -> Result<Self, Refusal> {
        let login = if geteuid().is_root() { Self::any(name)? } else { Self::only_own(name)? };
        if !settings.logins.is_empty() && !settings.logins.iter().any(|listed| listed == name) {
            return Err(Refusal::NotListed);
        }
        Ok(Self { shell: chosen_shell(&login, settings), ..login })
    }

    fn only_own(name: &str) -> Result<Self, Refusal> {
        let own = Self::own()?;
        if own.name == name { Ok(own) } else { Err(Refusal::NotOwn(own.name)) }
    }

    fn any(name: &str) -> Result<Self, Refusal> {
        let login = Self::of(User::from_name(name).ok().flatten().ok_or(Refusal::Unknown)?);
        // Its own shell decides, whatever shell the settings choose: nologin means nobody.
        if !is_a_login_shell(&login.shell) {
            return Err(Refusal::Shell(login.shell));
        }
        if has_expired(&fs::read_to_string("/etc/shadow").unwrap_or_default(), name, today()) {
            return Err(Refusal::Expired);
        }
        if !login.uid.is_root() && fs::exists("/etc/nologin").unwrap_or(false) {
            return Err(Refusal::Closed);
        }
        Ok(login)
    }

    fn of(user: User) -> Self {
        let name = std::ffi::CString::new(user.name.clone()).unwrap_or_default();
        let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        // passwd(5): an empty shell means /bin/sh.
        let shell = if user.shell.as_os_str().is_empty() { "/bin/sh".into() } else { user.shell };
        Self { name: user.name, uid: user.uid, gid: user.gid, groups, home: user.dir, shell }
    }
}

fn chosen_shell(login: &Login, settings: &Embedded) -> PathBuf {
    if settings.shell.is_empty() { login.shell.clone() } else { PathBuf::from(&settings.shell) }
}

fn is_a_login_shell(shell: &PathBuf) -> bool {
    let refuses = shell.file_name().is_none_or(|name| name == "nologin" || name == "false");
    !refuses && rustix::fs::access(shell, rustix::fs::Access::EXEC_OK).is_ok()
}

/// shadow(5): the eighth field is the day, since 1970, from which on the account is closed.
fn has_expired(shadow: &str, name: &str, today: u64) -> bool {
    let mut lines = shadow.lines().map(|line| line.split(':'));
    let field = lines.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(6)));
    field.flatten().and_then(|day| day.parse::<u64>().ok()).is_some_and(|day| today >= day)
}

fn today() -> u64 {
    crate::clock::unix_seconds() / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn an_account_is_closed_from_its_day_on() {
        let shadow =
            "root:*:19000:0:99999:7:::\nanna:!:19000:0:99999:7::20000:\nbert:x:1:2:3:4:5:nonsense:\n";
        for (name, day, expired) in [
            ("anna", 19_999, false),
            ("anna", 20_000, true),
            ("root", 90_000, false),
            ("bert", 90_000, false),
            ("carl", 90_000, false),
        ] {
            assert_eq!(has_expired(shadow, name, day), expired, "{name} on day {day}");
        }
    }

    #[test]
    fn a_login_that_cannot_be_used_is_refused_with_the_reason() {
        let settings = Settings::default().embedded;
        let own = Login::own().unwrap();
        assert!(Login::find(&own.name, &settings).is_ok());
        let other = Login::find("no-such-user-here", &settings).unwrap_err();
        let listed = Embedded { logins: vec!["someone".into()], ..settings.clone() };
        assert_eq!(Login::find(&own.name, &listed).unwrap_err(), Refusal::NotListed);
        if !geteuid().is_root() {
            assert_eq!(other, Refusal::NotOwn(own.name));
            return;
        }
        assert_eq!(other, Refusal::Unknown);
        assert_eq!(Login::find("daemon", &settings).unwrap_err(), Refusal::Shell("/usr/sbin/nologin".into()));
        let chosen = Embedded { shell: "/bin/sh".into(), ..settings };
        assert!(Login::find("daemon", &chosen).is_err(), "the chosen shell opened a closed account");
        assert_eq!(Login::find(&own.name, &chosen).unwrap().shell, PathBuf::from("/bin/sh"));
    }
}
