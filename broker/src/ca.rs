//! The broker's SSH certificate authority for users.
//!
//! Each session logs in with a fresh key that lives in memory only, and a certificate for it that
//! is valid for minutes, for one login, with nothing but a pty permitted. The CA's own key is one
//! file in the data folder; devices learn its public half when they are enrolled.
//!
//! It is replaced in two steps (`moorline-broker ca`). `rotate` makes the next key: each device is told by the old one, in
//! its greeting, to trust both, and gets certificates of the next one as soon as it says that it does. `finish` makes
//! the next one the only one. The generation is odd between the two and even outside.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use moorline_wire::link::greeting::Handover;
use moorline_wire::{Code, SessionId};
use russh::keys::Certificate;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::secret::{self, random};

pub mod command;

const FILE: &str = "ca_key";
const NEXT: &str = "ca_key.next";
const GENERATION: &str = "ca_generation";

/// How far a certificate is dated back: the device's clock was read a moment ago, and it may run
/// differently from ours.
const BACK_DATED: u64 = 60;

/// The certificate authority. Clones share the key.
#[derive(Clone)]
pub struct Ca {
    key: Arc<PrivateKey>,
    public_line: Arc<str>,
    /// While it is being replaced: the one to come, and its public line.
    next: Option<(Arc<PrivateKey>, Arc<str>)>,
    generation: u64,
    /// What devices are told, if it was ever replaced.
    handover: Option<Arc<Handover>>,
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
    /// Which handover the device has heard.
    pub heard: u64,
}

impl Ca {
    /// Reads the key from `data_dir`, or makes it when it is not there yet.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, Problem> {
        let (key, public_line) = load_key(data_dir, FILE)?;
        let next = if data_dir.join(NEXT).exists() { Some(load_key(data_dir, NEXT)?) } else { None };
        let mut generation = generation_of(data_dir)?;
        // A step that was cut short between its two files.
        if (generation % 2 == 1) != next.is_some() {
            generation += 1;
            write_generation(data_dir, generation)?;
        }
        let mut ca = Self { key, public_line, next, generation, handover: None };
        if generation > 0 {
            let made = ca.made_handover().map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
            ca.handover = Some(Arc::new(made));
        }
        Ok(ca)
    }

    /// Makes the next key. From now on devices are told to trust both.
    pub fn rotate(data_dir: &Path) -> Result<Self, Problem> {
        let now = Self::load_or_create(data_dir)?;
        if now.next.is_some() {
            return Err(Problem::new(Code::BAD_CONFIG).saying(
                "The CA is being replaced already. `moorline-broker ca status` tells which devices know the next one; \
                 `ca finish` ends it.",
            ));
        }
        load_key(data_dir, NEXT)?;
        write_generation(data_dir, now.generation + 1)?;
        Self::load_or_create(data_dir)
    }

    /// Makes the next key the only one.
    pub fn finish(data_dir: &Path) -> Result<Self, Problem> {
        let now = Self::load_or_create(data_dir)?;
        if now.next.is_none() {
            let text = "The CA is not being replaced. `moorline-broker ca rotate` begins it.";
            return Err(Problem::new(Code::BAD_CONFIG).saying(text));
        }
        // The old key is overwritten by the rename: nobody signs with it any more.
        let renamed = std::fs::rename(data_dir.join(NEXT), data_dir.join(FILE));
        renamed.map_err(|e| {
            Problem::new(Code::BAD_CONFIG).saying(format!("The CA key cannot be replaced: {e}."))
        })?;
        write_generation(data_dir, now.generation + 1)?;
        Self::load_or_create(data_dir)
    }

    /// The handover that devices are to have heard; 0: there was none.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is being replaced.
    pub fn is_rotating(&self) -> bool {
        self.next.is_some()
    }

    /// What devices are told, if the CA was ever replaced.
    pub fn handover(&self) -> Option<Handover> {
        self.handover.as_deref().cloned()
    }

    fn made_handover(&self) -> anyhow::Result<Handover> {
        let lines = std::iter::once(&self.public_line).chain(self.next.iter().map(|(_, line)| line));
        let cas: Vec<String> = lines.map(|line| line.to_string()).collect();
        let said = Handover::signed_bytes(self.generation, &cas);
        let signature = self.key.try_sign(&said).context("signing the handover")?;
        let signature = BASE64.encode(signature.as_bytes());
        Ok(Handover { generation: self.generation, cas, signature })
    }

    /// The public key as one line in OpenSSH form, as `TrustedUserCAKeys` wants it.
    pub fn public_line(&self) -> &str {
        &self.public_line
    }

    /// A fresh key and a certificate for it.
    pub fn issue(&self, whom: &IssueFor<'_>) -> Result<(PrivateKey, Certificate), Problem> {
        self.signed(whom).map_err(|err| Problem::new(Code::INTERNAL).because(err))
    }

    /// The next one, for devices that have heard of it; sessions of the others go on with the old one.
    fn signer(&self, heard: u64) -> &PrivateKey {
        match &self.next {
            Some((next, _)) if heard >= self.generation => next,
            _ => &self.key,
        }
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
        Ok((key, builder.sign(self.signer(whom.heard))?))
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("public", &self.public_line).finish_non_exhaustive()
    }
}

fn load_key(data_dir: &Path, name: &str) -> Result<(Arc<PrivateKey>, Arc<str>), Problem> {
    let make =
        || Ok(Zeroizing::new(fresh_key("moorline user CA")?.to_openssh(LineEnding::LF)?.as_bytes().to_vec()));
    secret::load_or_create(data_dir, name, "CA key", make, |text| {
        let key = PrivateKey::from_openssh(text).context("it is not a private key in OpenSSH form")?;
        let public_line = key.public_key().to_openssh().context("writing its public half")?.into();
        Ok((Arc::new(key), public_line))
    })
}

fn generation_of(data_dir: &Path) -> Result<u64, Problem> {
    let path = data_dir.join(GENERATION);
    let unusable = |why: String| {
        Problem::new(Code::BAD_CONFIG).saying(format!("The file {} cannot be used: {why}.", path.display()))
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| unusable("it is not a number".to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(unusable(e.to_string())),
    }
}

fn write_generation(data_dir: &Path, generation: u64) -> Result<(), Problem> {
    secret::replace(data_dir, GENERATION, format!("{generation}\n").as_bytes())
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
            heard: 0,
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

    fn is_signed_by(handover: &Handover, ca: &PrivateKey) -> bool {
        let key = ca.public_key().key_data().ed25519().unwrap().0;
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
        let said = Handover::signed_bytes(handover.generation, &handover.cas);
        key.verify(&said, &BASE64.decode(&handover.signature).unwrap()).is_ok()
    }

    #[test]
    fn it_is_replaced_in_two_steps_and_each_device_gets_what_it_trusts() {
        let dir = tempfile::tempdir().unwrap();
        let old = Ca::load_or_create(dir.path()).unwrap();
        assert!(old.handover().is_none() && Ca::finish(dir.path()).is_err());
        let both = Ca::rotate(dir.path()).unwrap();
        assert!(Ca::rotate(dir.path()).is_err());
        let handover = both.handover().unwrap();
        assert_eq!((handover.generation, handover.cas.len()), (1, 2));
        assert_eq!(handover.cas[0], old.public_line());
        // Devices trust the old one, and so hear of the next one by it alone.
        assert!(is_signed_by(&handover, &old.key) && !is_signed_by(&handover, &both.next.clone().unwrap().0));
        let by = |ca: &Ca, heard: u64| {
            let session = session();
            let (person, login, valid_for) = ("anna", "root", Duration::from_secs(300));
            let whom =
                IssueFor { session: &session, person, login, device_clock: 1_000_000, valid_for, heard };
            ca.issue(&whom).unwrap().1.signature_key().clone()
        };
        let next = both.next.clone().unwrap().0;
        assert_eq!(by(&both, 0), *old.key.public_key().key_data());
        assert_eq!(by(&both, 1), *next.public_key().key_data());
        // What a restart reads is the same.
        assert_eq!(Ca::load_or_create(dir.path()).unwrap().handover().unwrap().cas, handover.cas);
        let new = Ca::finish(dir.path()).unwrap();
        let handover = new.handover().unwrap();
        assert_eq!((handover.generation, handover.cas.len()), (2, 1));
        assert!(is_signed_by(&handover, &next) && !is_signed_by(&handover, &old.key));
        assert_eq!(by(&new, 0), *next.public_key().key_data());
        assert_eq!(dir.path().join(FILE).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_step_that_was_cut_short_is_ended_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        Ca::rotate(dir.path()).unwrap();
        // The key was made, and the number not yet written.
        write_generation(dir.path(), 0).unwrap();
        let both = Ca::load_or_create(dir.path()).unwrap();
        assert!(both.is_rotating() && both.generation() == 1);
        // The key was replaced, and the number not yet written.
        std::fs::rename(dir.path().join(NEXT), dir.path().join(FILE)).unwrap();
        let new = Ca::load_or_create(dir.path()).unwrap();
        assert!(!new.is_rotating() && new.generation() == 2);
    }
}
