//! The broker's SSH certificate authority for users.
//!
//! Each session logs in with a fresh key that lives in memory only, and a certificate for it that
//! is valid for minutes, for one login, with nothing but a pty permitted. The CA's own key is one
//! file in the data folder; devices learn its public half when they are enrolled.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use moorline_wire::{Code, SessionId};
use ring::rand::{SecureRandom, SystemRandom};
use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::problem::Problem;

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
        Self::open(data_dir).map_err(|err| {
            let told = format!("The CA key {} cannot be used: {err:#}.", data_dir.join(FILE).display());
            Problem::new(Code::BAD_CONFIG).saying(told).because(err)
        })
    }

    fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let key = match File::open(&path) {
            Ok(file) => read(file)?,
            Err(err) if err.kind() == ErrorKind::NotFound => create(data_dir)?,
            Err(err) => return Err(err).context("opening it"),
        };
        let public_line = key.public_key().to_openssh().context("writing its public half")?.into();
        Ok(Self { key: Arc::new(key), public_line })
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

fn random<const N: usize>() -> anyhow::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
    Ok(bytes)
}

fn fresh_key(comment: &str) -> anyhow::Result<PrivateKey> {
    let pair = Ed25519Keypair::from_seed(&*random::<32>()?);
    Ok(PrivateKey::new(pair.into(), comment)?)
}

fn read(mut file: File) -> anyhow::Result<PrivateKey> {
    let mode = file.metadata().context("reading its permissions")?.permissions().mode() & 0o777;
    anyhow::ensure!(mode & 0o077 == 0, "its mode is {mode:o}, so others can use it; make it 600");
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).context("reading it")?;
    PrivateKey::from_openssh(text.as_bytes()).context("it is not a private key in OpenSSH form")
}

/// Writes a new key under another name and renames it: there is a whole key or none.
fn create(data_dir: &Path) -> anyhow::Result<PrivateKey> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).context("making the data folder")?;
    let mode = data_dir.metadata().context("reading the data folder")?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        std::fs::set_permissions(data_dir, Permissions::from_mode(0o700))
            .context("closing the data folder to others")?;
    }
    let key = fresh_key("moorline user CA")?;
    let draft = data_dir.join("ca_key.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .context("creating it")?;
    file.write_all(key.to_openssh(LineEnding::LF)?.as_bytes()).context("writing it")?;
    file.sync_all().context("writing it")?;
    // A link refuses to replace a key that another process has made meanwhile.
    std::fs::hard_link(&draft, data_dir.join(FILE)).context("naming it")?;
    std::fs::remove_file(&draft).context("removing its draft")?;
    File::open(data_dir).and_then(|dir| dir.sync_all()).context("writing the data folder")?;
    Ok(key)
}

#[cfg(test)]
mod tests {
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
