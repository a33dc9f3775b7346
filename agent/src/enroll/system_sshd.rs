//! The OpenSSH of this device, set up to trust the broker's certificates, and set back.
//!
//! One file is written, a drop-in beside sshd_config; it names the CA in the agent's state folder, so that a CA
//! that the agent pins later counts as well. It stays only if `sshd -t` takes it and `sshd -T` says that it is
//! in force. Nothing is reloaded unless that was asked for.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use moorline_wire::Code;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::write_new;
use crate::Problem;

/// Where distributions put it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"];

/// The drop-in, in the folder that sshd_config includes.
const DROP_IN: &str = "sshd_config.d/50-moorline.conf";

/// How the drop-in begins: by it we know it again.
const HEAD: &str = "# Written by moorline-agent enroll --system-sshd; taken back with --undo.\n";

/// The OpenSSH of this device.
pub(super) struct SystemSshd {
    program: PathBuf,
    config: PathBuf,
}

/// What is in force, as far as we ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InForce {
    /// Where the agent reaches it.
    pub(super) address: Option<SocketAddr>,
    /// Its public host keys.
    pub(super) host_key_files: Vec<String>,
    ca_file: Option<String>,
    pid_file: Option<String>,
}

impl SystemSshd {
    /// The sshd of that configuration; refused, if it does not take it as it is now.
    pub(super) fn of(config: &Path) -> Result<Self, Problem> {
        let program = PROGRAMS.iter().map(PathBuf::from).find(|program| program.exists());
        let none =
            || Problem::setting("--system-sshd", "there is no sshd here. Install OpenSSH's server first");
        let sshd = Self { program: program.ok_or_else(none)?, config: config.to_owned() };
        sshd.asked("-t").map_err(|told| {
            trouble(format!("sshd does not take its configuration as it is now. Correct that first: {told}"))
        })?;
        Ok(sshd)
    }

    /// What is in force now.
    pub(super) fn in_force(&self) -> Result<InForce, Problem> {
        self.asked("-T").map(|told| in_force(&told)).map_err(trouble)
    }

    /// Lets it trust that CA. What is not taken or not in force is taken back at once.
    pub(super) fn trust(&self, ca: &Path) -> Result<String, Problem> {
        let drop_in = self.drop_in();
        let text = format!("{HEAD}TrustedUserCAKeys {}\n", ca.display());
        let former = self.ours()?;
        if former.as_ref() == Some(&text) {
            return Ok(format!("{} says already that sshd trusts the broker's CA.\n", drop_in.display()));
        }
        let written = self.remove().and_then(|()| write_new(&drop_in, 0o644, &text));
        written.map_err(|err| trouble(format!("{} cannot be written: {err}", drop_in.display())))?;
        if let Err(problem) = self.is_trusted(ca) {
            // As it was before.
            let restored = self.remove().and_then(|()| match &former {
                Some(former) => write_new(&drop_in, 0o644, former).map(drop),
                None => Ok(()),
            });
            return match restored {
                Ok(()) => Err(problem),
                Err(err) => Err(trouble(format!(
                    "{problem} And {} could not be taken back: {err}. Do that by hand",
                    drop_in.display()
                ))),
            };
        }
        Ok(format!("Wrote {}: sshd trusts the certificates of this broker.\n", drop_in.display()))
    }

    fn is_trusted(&self, ca: &Path) -> Result<(), Problem> {
        let told = self.asked("-t").map_err(|told| {
            trouble(format!("sshd does not take what was written, so it was taken back: {told}"))
        });
        told?;
        match self.in_force()?.ca_file {
            Some(file) if Path::new(&file) == ca => Ok(()),
            Some(other) => Err(trouble(format!(
                "{} names another CA already ({other}), and the first one counts, so nothing was changed. Add the \
                 line of {} to that file",
                self.config.display(),
                ca.display()
            ))),
            None => Err(trouble(format!(
                "{} does not read {}, so nothing was changed. Add this as its first line: Include {}",
                self.config.display(),
                self.drop_in().display(),
                self.drop_in().with_file_name("*.conf").display()
            ))),
        }
    }

    /// Takes the drop-in away.
    pub(super) fn undo(&self) -> Result<String, Problem> {
        let drop_in = self.drop_in();
        if self.ours()?.is_none() {
            return Ok(format!("There is no {}: nothing is to be undone.\n", drop_in.display()));
        }
        self.remove().map_err(|err| trouble(format!("{} cannot be removed: {err}", drop_in.display())))?;
        self.asked("-t").map_err(trouble)?;
        Ok(format!("Removed {}: sshd trusts the certificates of this broker no more.\n", drop_in.display()))
    }

    /// Lets the running sshd read its configuration anew, or says how that is done.
    pub(super) fn reload(&self, now: bool) -> Result<String, Problem> {
        const BY_HAND: &str = "Let it take effect: systemctl reload ssh (or sshd).\n";
        if !now {
            return Ok(BY_HAND.to_owned());
        }
        let file = self.in_force()?.pid_file.unwrap_or_default();
        let pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        let is_sshd = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            *pid > 1 && name.trim() == "sshd"
        };
        match pid.filter(is_sshd).map(|pid| kill(Pid::from_raw(pid), Signal::SIGHUP)) {
            Some(Ok(())) => Ok("Told sshd to read its configuration anew. Sessions go on.\n".to_owned()),
            _ => Ok(format!("No running sshd was found by {file:?}. {BY_HAND}")),
        }
    }

    fn drop_in(&self) -> PathBuf {
        self.config.with_file_name(DROP_IN)
    }

    /// What our drop-in says; somebody else's of that name is left alone.
    fn ours(&self) -> Result<Option<String>, Problem> {
        let drop_in = self.drop_in();
        match fs::read_to_string(&drop_in) {
            Ok(text) if text.starts_with(HEAD) => Ok(Some(text)),
            Ok(_) => {
                Err(trouble(format!("{} was not written by this program. Move it away", drop_in.display())))
            }
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(trouble(format!("{} cannot be read: {err}", drop_in.display()))),
        }
    }

    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_file(self.drop_in()) {
            Err(err) if err.kind() != ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        }
    }

    /// What `sshd FLAG` says; `Err`: what it complains about.
    fn asked(&self, flag: &str) -> Result<String, String> {
        let output = Command::new(&self.program).arg(flag).arg("-f").arg(&self.config).output();
        let output = output.map_err(|err| format!("{} cannot be run: {err}", self.program.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        // It reads people's files: what it says of them may be anything.
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(told.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect())
    }
}

fn trouble(why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BAD_CONFIG).saying(format!("{why}."))
}

/// Of what `sshd -T` says: one setting a line, its name in small letters.
fn in_force(told: &str) -> InForce {
    let mut found = InForce::default();
    for (name, value) in told.lines().filter_map(|line| line.split_once(' ')) {
        let value = value.trim();
        match name {
            "trustedusercakeys" if value != "none" => found.ca_file = Some(value.to_owned()),
            "pidfile" => found.pid_file = Some(value.to_owned()),
            "hostkey" => found.host_key_files.push(format!("{value}.pub")),
            "listenaddress" => found.address = found.address.or_else(|| value.parse().ok().map(reached)),
            _ => {}
        }
    }
    found
}

/// What listens on every address is reached on our own.
fn reached(address: SocketAddr) -> SocketAddr {
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if address.ip().is_unspecified() { SocketAddr::new(own, address.port()) } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_read_from_what_sshd_tells() {
        let told = "port 2222\nlistenaddress [::]:2222\nlistenaddress 0.0.0.0:2222\nhostkey /etc/ssh/a\n\
                    hostkey /etc/ssh/b\ntrustedusercakeys none\npidfile /run/sshd.pid\nusedns no\n";
        assert_eq!(
            in_force(told),
            InForce {
                address: Some("127.0.0.1:2222".parse().unwrap()),
                host_key_files: vec!["/etc/ssh/a.pub".into(), "/etc/ssh/b.pub".into()],
                ca_file: None,
                pid_file: Some("/run/sshd.pid".into()),
            }
        );
        assert_eq!(in_force("trustedusercakeys /ca\n").ca_file.as_deref(), Some("/ca"));
    }
}
