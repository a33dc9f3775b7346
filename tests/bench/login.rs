//! Who logs in: the user of this run, but with an empty home.
//!
//! What somebody's profile does at each login may take longer than everything that is measured here. Where we
//! may (as root), this process and all its children see a user database of their own, in which the same
//! user has a home in a temporary folder. Elsewhere the login is what it is, and the report says so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, User, geteuid};

/// See the module.
#[derive(Debug)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Whether its home is empty, so that only the shell itself takes time.
    pub bare: bool,
    /// Goes with the run.
    _home: Option<tempfile::TempDir>,
}

/// To be called before there are other threads: they would not see the database.
pub fn prepare() -> Login {
    let name = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| geteuid().to_string());
    match bare_home(geteuid()) {
        Ok(home) => Login { name, bare: true, _home: Some(home) },
        Err(error) => {
            eprintln!("bench: every set-up has what the profile of {name} does at a login ({error:#})");
            Login { name, bare: false, _home: None }
        }
    }
}

fn bare_home(uid: Uid) -> Result<tempfile::TempDir> {
    let database = Path::new("/etc/passwd");
    let home = tempfile::Builder::new().prefix("moorline-bench-home-").tempdir()?;
    let lines = fs::read_to_string(database)?;
    let lines: String = lines.lines().map(|line| with_home(line, uid, home.path()) + "\n").collect();
    let ours: PathBuf = home.path().join("passwd");
    fs::write(&ours, lines)?;
    unshare(CloneFlags::CLONE_NEWNS).context("have mounts of its own")?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("keep mounts to itself")?;
    mount(Some(&ours), database, nothing, MsFlags::MS_BIND, nothing).context("have users of its own")?;
    Ok(home)
}

/// passwd(5): the third field is the user's number, the sixth its home, the seventh its shell.
fn with_home(line: &str, uid: Uid, home: &Path) -> String {
    let mut fields: Vec<_> = line.split(':').map(str::to_owned).collect();
    if fields.len() == 7 && fields[2] == uid.to_string() {
        fields[5] = home.display().to_string();
    }
    fields.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_the_user_has_another_home() {
        let of = |line| with_home(line, Uid::from_raw(7), Path::new("/h"));
        assert_eq!(of("me:x:7:8:Me:/root:/bin/bash"), "me:x:7:8:Me:/h:/bin/bash");
        assert_eq!(of("you:x:77:7:You:/home/you:/bin/sh"), "you:x:77:7:You:/home/you:/bin/sh");
    }
}
