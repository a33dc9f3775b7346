//! The broker's SSH certificate authority for users.
//!
//! Each session logs in with a fresh key that lives in memory only, and a certificate for it that
//! is valid for minutes, for one login, with nothing but a pty permitted. The CA's own key is one
//! file in the data folder; devices learn its public half when they are enrolled.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use moorline_wire::{Code, SessionId};
use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::secret::{self, random};

const FILE: &str = "ca_key";

/// How far a certificate is dated back: the device's clock was read a moment ago, and it may run
/// differently from ours.
const BACK_DATED: u64 = 60;

/// The certificate authority. Clones share the key.
#[derive(Clone)]
pub struct Ca {
    key: Arc<PrivateKey>,
    public_line: Arc<str>,
}

/// Whom a certificate is for.
#[derive(Debug, Clone)]
pub struct IssueFor<'a> {
    /// The session that logs in with it.
    pub session: &'a SessionId,
    /// The person behind the session.
    pub person: &'a str,
    /// The login on the device: the only principal.
    pub login: &'a str,
    /// The device's clock, in seconds since 1970. It may be far from ours.
    pub device_clock: i64,
    /// How long the certificate is valid.
    pub valid_for: Duration,
}

impl Ca {
    /// Reads the key from `data_dir`, or makes it when it is not there yet.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, Problem> {
        let make = || {
            Ok(Zeroizing::new(fresh_key("moorline user CA")?.to_openssh(LineEnding::LF)?.as_bytes().to_vec()))
        };
        secret::load_or_create(data_dir, FILE, "CA key", make, |text| {
            let key = PrivateKey::from_openssh(text).context("it is not a private key in OpenSSH form")?;
            let public_line = key.public_key().to_openssh().context("writing its public half")?.into();
            Ok(Self { key: Arc::new(key), public_line })
        })
    }

    /// The public key as one line in OpenSSH form, as `TrustedUserCAKeys` wants it.
    pub fn public_line(&self) -> &str {
        &self.public_line
    }

    /// A fresh key and a certificate for it.
    pub fn issue(&self, whom: &IssueFor<'_>) -> Result<(PrivateKey, Certificate), Problem> {
        self.signed(whom).map_err(|err| Problem::new(Code::INTERNAL).because(err))
    }

    fn signed(&self, whom: &IssueFor<'_>) -> anyhow::Result<(PrivateKey, Certificate)> {
        let key = fresh_key("moorline session")?;
        let nonce = random::<32>()?;
        // A clock before 1970 is not a date that a certificate can have.
        let clock = u64::try_from(whom.device_clock).unwrap_or(0);
        let after = clock.saturating_sub(BACK_DATED);
        let before = clock.saturating_add(whom.valid_for.as_secs());
        let mut builder = Builder::new(nonce.to_vec(), key.public_key().clone(), after, before)?;
        builder
            .cert_type(CertType::User)?
            .key_id(format!("{} {}", whom.session, whom.person))?
            .valid_principal(whom.login)?
            .extension("permit-pty", "")?
            .comment("moorline")?;
        Ok((key, builder.sign(&*self.key)?))
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("public", &self.public_line).finish_non_exhaustive()
    }
}

fn fresh_key(comment: &str) -> anyhow::Result<PrivateKey> {
    let pair = Ed25519Keypair::from_seed(&*random::<32>()?);
    Ok(PrivateKey::new(pair.into(), comment)?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use russh::keys::ssh_key::HashAlg;

    fn session() -> SessionId {
        "s-abcdefghijklmnopqrstuvwxyz".parse().unwrap()
    }

    fn issue(ca: &Ca, clock: i64) -> (PrivateKey, Certificate) {
        ca.issue(&IssueFor {
            session: &session(),
            person: "anna",
            login: "root",
            device_clock: clock,
            valid_for: Duration::from_secs(300),
        })
        .unwrap()
    }

    #[test]
    fn the_key_is_made_once_closed_to_others_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new");
        let first = Ca::load_or_create(&data).unwrap();
        let again = Ca::load_or_create(&data).unwrap();
        assert_eq!(first.public_line(), again.public_line());
        assert!(first.public_line().starts_with("ssh-ed25519 "));
        assert_eq!(data.join(FILE).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!data.join("ca_key.new").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_path_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        Ca::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let problem = Ca::load_or_create(dir.path()).unwrap_err();
        assert_eq!(problem.code, Code::BAD_CONFIG);
        assert!(problem.text.contains("644") && problem.text.contains("ca_key"), "{}", problem.text);
    }

    #[test]
    fn a_broken_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, "not a key").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Ca::load_or_create(dir.path()).unwrap_err().code, Code::BAD_CONFIG);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn a_certificate_is_for_one_login_for_minutes_of_the_device_clock_and_a_pty_only() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path()).unwrap();
        // A board without a clock of its own: three minutes after the epoch.
        let (key, cert) = issue(&ca, 180);
        assert_eq!(cert.valid_principals(), ["root"]);
        assert_eq!(cert.key_id(), "s-abcdefghijklmnopqrstuvwxyz anna");
        assert_eq!((cert.valid_after(), cert.valid_before()), (120, 480));
        assert!(cert.critical_options().is_empty());
        let extensions: Vec<_> = cert.extensions().keys().collect();
        assert_eq!(extensions, ["permit-pty"]);
        assert_eq!(cert.cert_type(), CertType::User);
        assert_eq!(cert.public_key(), key.public_key().key_data());
        cert.validate_at(200, [&ca.key.public_key().fingerprint(HashAlg::Sha256)]).unwrap();
    }

    #[test]
    fn two_sessions_never_share_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path()).unwrap();
        let (one, _) = issue(&ca, 1_000_000);
        let (other, _) = issue(&ca, 1_000_000);
        assert_ne!(one.public_key().key_data(), other.public_key().key_data());
    }
}
