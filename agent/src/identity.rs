//! Who this device is, and the broker it belongs to: the files of the state folder.
//!
//! ```text
//! identity               the device's Ed25519 key (OpenSSH form); from its first one follows its id, which
//!                        stands in the comment of every later one
//! identity.next          the key that takes the place of that one, until the broker has taken it
//! ssh_host_ed25519_key   the host key of the embedded sshd (OpenSSH form)
//! user_ca.pub            the broker's CA for user certificates, pinned at enrolment
//! ```
//! The folder is 0700 and the files 0600. Each is written beside its place, flushed, and moved, so
//! that a power cut leaves either the old one or the new one. A file that others can read is refused
//! and not repaired: whoever could read it may have copied it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use moorline_wire::{Code, DeviceId};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::Problem;

const IDENTITY: &str = "identity";
const NEXT_IDENTITY: &str = "identity.next";
/// How the comment of a later key begins; the device's id follows.
const LATER: &str = "moorline identity of ";
const HOST_KEY: &str = "ssh_host_ed25519_key";
const USER_CA: &str = "user_ca.pub";

/// The state folder.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// The device's own key.
pub struct Identity {
    pair: Ed25519KeyPair,
    device: DeviceId,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Identity {
    fn of(key: &PrivateKey) -> Result<Self, Problem> {
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(broken(IDENTITY, "it is not an Ed25519 key"));
        };
        let seed = Zeroizing::new(pair.private.to_bytes());
        let pair = Ed25519KeyPair::from_seed_and_public_key(&*seed, pair.public.as_ref())
            .map_err(|_| broken(IDENTITY, "its two halves do not belong together"))?;
        let named = key.comment().to_string();
        let device = match named.strip_prefix(LATER) {
            Some(id) => id.parse().map_err(|err| broken(IDENTITY, err))?,
            None => device_id(pair.public_key().as_ref()),
        };
        Ok(Self { pair, device })
    }

    /// The device's id, which follows from its key.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The public key, 32 bytes.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// An Ed25519 signature.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

/// The CAs that a device trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserCas {
    /// Of the last handover that was heard; 0: none was.
    pub generation: u64,
    /// Usually one; two while it is being replaced.
    pub keys: Vec<PublicKey>,
}

/// Before the generation, in the file of the CAs: a comment to OpenSSH.
const GENERATION: &str = "# moorline generation ";

/// `d-` and base32 of the first 80 bits of the key's SHA-256.
pub fn device_id(key: &[u8]) -> DeviceId {
    let hash = digest(&SHA256, key);
    let text = data_encoding::BASE32_NOPAD.encode(&hash.as_ref()[..10]).to_lowercase();
    format!("d-{text}").parse().expect("80 bits are 16 characters of base32")
}

impl StateDir {
    /// Opens the folder, or makes it.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let trouble = |what: &str, err: io::Error| {
            Problem::setting("state_dir", format!("cannot {what} {}: {err}", path.display())).because(err)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|err| trouble("make", err))?;
        let meta = fs::metadata(path).map_err(|err| trouble("look at", err))?;
        if meta.uid() != nix::unistd::geteuid().as_raw() {
            let why = format!("{} belongs to another user (uid {})", path.display(), meta.uid());
            return Err(Problem::setting("state_dir", why));
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|err| trouble("close", err))?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The device's identity; made at the first start.
    pub fn identity(&self) -> Result<Identity, Problem> {
        Identity::of(&self.key(IDENTITY, "moorline identity")?)
    }

    /// The key that takes the place of the present one, if there is one.
    pub fn next_identity(&self) -> Result<Option<Identity>, Problem> {
        if !self.has_next_identity() {
            return Ok(None);
        }
        match self.read_key(NEXT_IDENTITY)? {
            Some(key) => Identity::of(&key).map(Some),
            None => Ok(None),
        }
    }

    /// Whether there is one.
    pub fn has_next_identity(&self) -> bool {
        self.path.join(NEXT_IDENTITY).exists()
    }

    /// Makes it, if there is none yet.
    pub fn make_next_identity(&self, device: &DeviceId) -> Result<(), Problem> {
        self.key(NEXT_IDENTITY, &format!("{LATER}{device}")).map(drop)
    }

    /// Puts it into the place of the present one, which is gone then.
    pub fn take_next_identity(&self) -> Result<(), Problem> {
        fs::rename(self.path.join(NEXT_IDENTITY), self.path.join(IDENTITY))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|err| self.trouble("replace", IDENTITY, err))
    }

    /// The embedded sshd's host key; made at the first start.
    pub fn host_key(&self) -> Result<PrivateKey, Problem> {
        self.key(HOST_KEY, "moorline host key")
    }

    /// The broker's CAs; none before the device is enrolled.
    pub fn user_cas(&self) -> Result<UserCas, Problem> {
        let Some(text) = self.read(USER_CA)? else { return Ok(UserCas::default()) };
        let mut cas = UserCas::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.strip_prefix(GENERATION) {
                Some(number) => cas.generation = number.parse().map_err(|err| broken(USER_CA, err))?,
                None => cas.keys.push(PublicKey::from_openssh(line).map_err(|err| broken(USER_CA, err))?),
            }
        }
        if cas.keys.is_empty() { Err(broken(USER_CA, "there is no key in it")) } else { Ok(cas) }
    }

    /// Where that is kept.
    pub fn user_ca_file(&self) -> PathBuf {
        self.path.join(USER_CA)
    }

    /// Pins the broker's CAs, in a form that OpenSSH's `TrustedUserCAKeys` reads as well.
    pub fn pin_user_cas(&self, cas: &UserCas) -> Result<(), Problem> {
        let mut text = String::new();
        if cas.generation > 0 {
            text += &format!("{GENERATION}{}\n", cas.generation);
        }
        for ca in &cas.keys {
            text += &ca.to_openssh().map_err(|err| broken(USER_CA, err))?;
            text += "\n";
        }
        self.write(USER_CA, text.as_bytes()).map_err(|err| self.trouble("write", USER_CA, err))
    }

    fn key(&self, name: &str, comment: &str) -> Result<PrivateKey, Problem> {
        if let Some(key) = self.read_key(name)? {
            return Ok(key);
        }
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut *seed)
            .map_err(|_| Problem::new(Code::INTERNAL).saying("the system gives no random bytes"))?;
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, comment).map_err(|err| broken(name, err))?;
        let text = key.to_openssh(LineEnding::LF).map_err(|err| broken(name, err))?;
        self.write(name, text.as_bytes()).map_err(|err| self.trouble("write", name, err))?;
        tracing::info!(file = %self.path.join(name).display(), "made a new key");
        Ok(key)
    }

    fn read_key(&self, name: &str) -> Result<Option<PrivateKey>, Problem> {
        let Some(text) = self.read(name)? else { return Ok(None) };
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|err| broken(name, err))?;
        if key.is_encrypted() { Err(broken(name, "it asks for a passphrase")) } else { Ok(Some(key)) }
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>, Problem> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(self.trouble("open", name, err)),
        };
        let meta = file.metadata().map_err(|err| self.trouble("look at", name, err))?;
        if meta.mode() & 0o077 != 0 {
            let path = self.path.join(name);
            return Err(Problem::setting(
                "state_dir",
                format!(
                    "others can read {} (mode {:o}); if nobody did, chmod 600 it, else delete it and enrol again",
                    path.display(),
                    meta.mode() & 0o777
                ),
            ));
        }
        let text = io::read_to_string(file).map_err(|err| self.trouble("read", name, err))?;
        Ok(Some(Zeroizing::new(text)))
    }

    /// Beside its place, to the disk, then into its place.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.path.join(format!(".{name}.{}", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(err) = written.and_then(|()| fs::rename(&beside, self.path.join(name))) {
            let _ = fs::remove_file(&beside);
            return Err(err);
        }
        File::open(&self.path)?.sync_all()
    }

    fn trouble(&self, what: &str, name: &str, err: io::Error) -> Problem {
        let path = self.path.join(name);
        Problem::setting("state_dir", format!("cannot {what} {}: {err}", path.display())).because(err)
    }
}

fn broken(name: &str, why: impl std::fmt::Display) -> Problem {
    let remedy = "restore it from a backup, or delete it and enrol the device again";
    Problem::setting("state_dir", format!("the file {name} is broken ({why}); {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("a/state")).unwrap();
        (dir, state)
    }

    #[test]
    fn a_second_start_is_the_same_device_with_the_same_host_key() {
        let (_dir, state) = folder();
        let first = (state.identity().unwrap().device().clone(), state.host_key().unwrap());
        let again = StateDir::open(&state.path).unwrap();
        assert_eq!(first.0, *again.identity().unwrap().device());
        assert_eq!(first.1.public_key(), again.host_key().unwrap().public_key());
        assert_eq!(device_id(state.identity().unwrap().public()), first.0);
        for name in [IDENTITY, HOST_KEY] {
            assert_eq!(fs::metadata(state.path.join(name)).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&state.path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&state.path).unwrap().count(), 2, "something was left beside");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_dir, state) = folder();
        state.identity().unwrap();
        fs::set_permissions(state.path.join(IDENTITY), Permissions::from_mode(0o640)).unwrap();
        let text = state.identity().unwrap_err().to_string();
        assert!(text.contains("identity") && text.contains("640") && text.contains("chmod"), "{text}");
    }

    #[test]
    fn a_broken_file_is_named_at_start_and_kept() {
        let (_dir, state) = folder();
        for (name, text) in [(IDENTITY, "not a key"), (HOST_KEY, ""), (USER_CA, "ssh-ed25519 AAAA")] {
            state.write(name, text.as_bytes()).unwrap();
        }
        for (problem, name) in [
            (state.identity().unwrap_err(), IDENTITY),
            (state.host_key().unwrap_err(), HOST_KEY),
            (state.user_cas().unwrap_err(), USER_CA),
        ] {
            assert!(problem.to_string().contains(name), "{problem}");
        }
        assert_eq!(fs::read_to_string(state.path.join(IDENTITY)).unwrap(), "not a key");
    }

    #[test]
    fn the_pinned_ca_is_read_back() {
        let (_dir, state) = folder();
        assert!(state.user_cas().unwrap().keys.is_empty());
        let ca = state.host_key().unwrap().public_key().clone();
        let other = state.key("other", "x").unwrap().public_key().clone();
        for cas in [
            UserCas { generation: 0, keys: vec![ca.clone()] },
            UserCas { generation: 1, keys: vec![ca, other.clone()] },
            UserCas { generation: 2, keys: vec![other] },
        ] {
            state.pin_user_cas(&cas).unwrap();
            assert_eq!(state.user_cas().unwrap(), cas);
        }
    }

    #[test]
    fn a_signature_is_valid_under_the_public_key() {
        let (_dir, state) = folder();
        let identity = state.identity().unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, identity.public());
        assert!(key.verify(b"hello", &identity.sign(b"hello")).is_ok());
    }

    #[test]
    fn a_later_key_is_made_once_takes_the_place_of_the_present_one_and_is_the_same_device() {
        let (_dir, state) = folder();
        let first = state.identity().unwrap();
        assert!(state.next_identity().unwrap().is_none());
        state.make_next_identity(first.device()).unwrap();
        let next = state.next_identity().unwrap().unwrap();
        state.make_next_identity(first.device()).unwrap();
        assert_eq!(state.next_identity().unwrap().unwrap().public(), next.public(), "it was made anew");
        assert_eq!(state.identity().unwrap().public(), first.public(), "the present one is gone already");
        state.take_next_identity().unwrap();
        let now = state.identity().unwrap();
        assert_eq!((now.public(), now.device()), (next.public(), first.device()));
        assert!(!state.has_next_identity() && now.public() != first.public());
        let mode = fs::metadata(state.path.join(IDENTITY)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
