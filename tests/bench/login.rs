//! Who logs in: the user of this run, best with an empty home (`at_an_empty_home` in `tests/scripts`).
//!
//! What somebody's profile does at each login may take longer than everything that is measured here.

use nix::unistd::{User, geteuid};

/// See the module.
#[derive(Debug)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Whether its home is empty, so that only the shell itself takes time.
    pub bare: bool,
}

/// To be called before anybody has logged in: a login may leave something in the home.
pub fn look() -> Login {
    let Some(user) = User::from_uid(geteuid()).ok().flatten() else {
        return Login { name: geteuid().to_string(), bare: false };
    };
    let bare = user.dir.read_dir().is_ok_and(|mut inside| inside.next().is_none());
    if !bare {
        eprintln!("bench: every set-up has what the profile of {} does at a login", user.name);
    }
    Login { name: user.name, bare }
}
