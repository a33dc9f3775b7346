//! The public host keys of the system's sshd: from its files, or else from the sshd itself.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use moorline_wire::Code;
use russh::client::{self, Handler};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Disconnect, Preferred};

use crate::config::{Sshd, Timing};
use crate::{Problem, clock, sshd};

/// One of each kind that an sshd usually has.
const KINDS: [Algorithm; 3] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
];

/// The keys, in OpenSSH form.
pub async fn of_the_system(settings: &Sshd, timing: &Timing) -> Result<Vec<String>, Problem> {
    let patterns = settings.host_key_files.clone();
    let from_files = tokio::task::spawn_blocking(move || read_files(&patterns)).await.unwrap_or_default();
    if !from_files.is_empty() {
        return Ok(from_files);
    }
    let mut keys = Vec::new();
    for kind in KINDS {
        let limit = timing.sshd_connect;
        let asked =
            clock::within(limit, "asking the sshd for its host key", ask(&settings.address, kind.clone()));
        match asked.await {
            Ok(Some(key)) if !keys.contains(&key) => keys.push(key),
            Ok(_) => {}
            Err(late) => tracing::debug!(%late, %kind, "no host key"),
        }
    }
    if keys.is_empty() {
        let text = format!(
            "Neither sshd.host_key_files nor the sshd at {} gave a host key; check that it runs.",
            settings.address
        );
        return Err(Problem::new(Code::SSHD_UNREACHABLE).saying(text));
    }
    Ok(keys)
}

fn read_files(patterns: &[String]) -> Vec<String> {
    let mut keys: Vec<String> =
        patterns.iter().flat_map(|pattern| read_pattern(Path::new(pattern))).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn read_pattern(pattern: &Path) -> Vec<String> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let matching = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|file| sshd::matches(name, file)));
    matching.filter_map(|entry| line(&fs::read_to_string(entry.path()).ok()?)).collect()
}

/// Without the comment, which often names who made the key.
fn line(text: &str) -> Option<String> {
    let mut key = PublicKey::from_openssh(text.trim()).ok()?;
    key.set_comment("");
    key.to_openssh().ok()
}

/// Exchanges keys as a client that knows this kind only, and leaves before it says who it is.
async fn ask(address: &str, kind: Algorithm) -> Option<String> {
    let seen = Arc::new(Mutex::new(None));
    let config = client::Config {
        preferred: Preferred { key: Cow::Owned(vec![kind]), ..Preferred::default() },
        ..client::Config::default()
    };
    let connected = client::connect(Arc::new(config), address, Asking { seen: seen.clone() }).await;
    if let Ok(session) = connected {
        let _ = session.disconnect(Disconnect::ByApplication, "", "").await;
    }
    let key: Option<PublicKey> = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    key.and_then(|key| line(&key.to_openssh().ok()?))
}

struct Asking {
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl Handler for Asking {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.public_key());
        // That was all.
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_all_files_that_match_and_others_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        fs::write(dir.path().join("ssh_host_ed25519_key.pub"), format!("{key} root@host\n")).unwrap();
        fs::write(dir.path().join("ssh_host_broken_key.pub"), "nonsense").unwrap();
        fs::write(dir.path().join("other.pub"), key).unwrap();
        let pattern = dir.path().join("ssh_host_*_key.pub").to_str().unwrap().to_owned();
        assert_eq!(read_files(&[pattern.clone(), pattern]), [key]);
        assert!(read_files(&["/no/such/*".into(), "relative".into()]).is_empty());
    }
}
