//! Private keys with which the broker logs in to devices that know keys and no certificates: one of the broker's own, or
//! one per device.
//!
//! - `vault`: how those of devices are sealed before the store has them
//! - [`parsed`]: what is a private key, and what is not
//! - [`LoginKeys`]: which key, and whether before, after or instead of a certificate
//!
//! They are read and never told again: what is shown of one is its kind and its fingerprint.

use std::sync::Arc;

use moorline_wire::{Code, DeviceId};
use russh::keys::ssh_key::{HashAlg, LineEnding};
use russh::keys::{PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

use crate::clock;
use crate::config::{LoginWith, Ssh};
use crate::identity::Secret;
use crate::problem::Problem;
use crate::secret;
use crate::store::{PrivateKeyRow, Store};

#[cfg(test)]
mod tests;
mod vault;

use vault::{Sealed, Vault};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct LoginKeys {
    own: Option<Arc<PrivateKey>>,
    login_with: LoginWith,
    vault: Option<Arc<Vault>>,
    store: Store,
}

/// How to log in to a device.
pub struct Ways {
    /// With a certificate, which comes first.
    pub certificate: bool,
    /// With this key.
    pub key: Option<Arc<PrivateKey>>,
}

impl LoginKeys {
    /// Reads the broker's own key and those that seal.
    pub fn load(settings: &Ssh, store: Store) -> Result<Self, Problem> {
        let own = match &settings.private_key_file {
            Some(file) => {
                let text = secret::read_text("ssh.private_key_file", file)?;
                let passphrase = match &settings.passphrase_file {
                    Some(file) => Some(secret::read_text("ssh.passphrase_file", file)?),
                    None => None,
                };
                let passphrase = passphrase.as_ref().map(|text| text.trim_end_matches(['\r', '\n']));
                let key = parsed(&text, passphrase).map_err(|why| {
                    Problem::new(Code::BAD_CONFIG)
                        .saying(format!("ssh.private_key_file = {} cannot be used: {why}", file.display()))
                })?;
                warn_of_rsa(&key, "ssh.private_key_file");
                Some(Arc::new(key))
            }
            None => None,
        };
        Ok(Self { own, login_with: settings.login_with, vault: opened(settings)?.map(Arc::new), store })
    }

    /// Seals everything anew that is sealed with an older key.
    pub async fn renew(&self) -> Result<(), Problem> {
        let Some(vault) = &self.vault else { return Ok(()) };
        for row in self.store.private_keys_sealed_otherwise(vault.key_id()).await? {
            let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.sealed.clone() };
            match vault.open(&row.device, &sealed) {
                Ok(secret) => {
                    let sealed = self.sealed(vault, &row.device, &secret)?;
                    let anew = PrivateKeyRow { key_id: sealed.key_id, sealed: sealed.bytes, ..row };
                    self.store.set_private_key(&anew).await?;
                    tracing::info!(device = %anew.device, "its private key is sealed with the new key");
                }
                Err(error) => {
                    tracing::warn!(device = %row.device, %error, "its private key cannot be opened")
                }
            }
        }
        Ok(())
    }

    /// How to log in to that device.
    pub async fn ways(&self, device: &DeviceId) -> Result<Ways, Problem> {
        let Some(row) = self.store.private_key(device).await? else {
            return self.chosen(self.login_with, self.own.clone());
        };
        let login_with = row
            .login_with
            .as_deref()
            .and_then(|word| LoginWith::of_word(word).ok())
            .unwrap_or(self.login_with);
        let key = match self.open(&row) {
            Ok(key) => Some(Arc::new(key)),
            Err(problem) if login_with == LoginWith::Key => return Err(problem),
            Err(problem) => {
                tracing::warn!(%device, cause = problem.chain(), "its private key cannot be used: a certificate alone");
                None
            }
        };
        self.chosen(login_with, key)
    }

    fn chosen(&self, login_with: LoginWith, key: Option<Arc<PrivateKey>>) -> Result<Ways, Problem> {
        match login_with {
            LoginWith::Certificate => Ok(Ways { certificate: true, key: None }),
            LoginWith::CertificateThenKey => Ok(Ways { certificate: true, key }),
            LoginWith::Key if key.is_some() => Ok(Ways { certificate: false, key }),
            LoginWith::Key => Err(Problem::new(Code::DEVICE_REFUSED).saying(
                "The broker is to log in to this device with a private key, and has none. Give the device one, or set \
                 ssh.private_key_file.",
            )),
        }
    }

    /// Keeps a key for a device; gives what may be shown of it.
    pub async fn set(
        &self,
        device: &DeviceId,
        text: &Secret,
        passphrase: Option<&Secret>,
        login_with: Option<LoginWith>,
    ) -> Result<PrivateKeyRow, Problem> {
        let refused = |why: String| Problem::new(Code::BAD_REQUEST).saying(why);
        let vault = self.vault.as_ref().ok_or_else(|| {
            refused(
                "This broker has no key to seal private keys with. Set ssh.storage_key_file and start it again."
                    .to_owned(),
            )
        })?;
        let (text, passphrase) = (text.clone(), passphrase.cloned());
        // A passphrase is made slow to try on purpose.
        let key = actix_rt::task::spawn_blocking(move || {
            parsed(text.reveal(), passphrase.as_ref().map(Secret::reveal))
        })
        .await
        .map_err(|e| Problem::new(Code::INTERNAL).because(e))?
        .map_err(|why| refused(format!("This private key cannot be used: {why}")))?;
        warn_of_rsa(&key, device.as_str());
        // Without its passphrase: the broker, which starts by itself, would have to keep that as well.
        let plain = key.to_openssh(LineEnding::LF).map_err(|e| Problem::new(Code::INTERNAL).because(e))?;
        let sealed = self.sealed(vault, device, plain.as_bytes())?;
        let row = PrivateKeyRow {
            device: device.clone(),
            key_id: sealed.key_id,
            sealed: sealed.bytes,
            algorithm: key.algorithm().as_str().to_owned(),
            fingerprint: key.public_key().fingerprint(HashAlg::Sha256).to_string(),
            login_with: login_with.map(|way| way.word().to_owned()),
            set: clock::wall(),
        };
        self.store.set_private_key(&row).await?;
        Ok(row)
    }

    fn sealed(&self, vault: &Vault, device: &DeviceId, secret: &[u8]) -> Result<Sealed, Problem> {
        vault.seal(device, secret).map_err(|e| Problem::new(Code::INTERNAL).because(e))
    }

    fn open(&self, row: &PrivateKeyRow) -> Result<PrivateKey, Problem> {
        let unusable = |cause: anyhow::Error| {
            Problem::new(Code::BAD_CONFIG)
                .saying("The private key of this device cannot be opened. Give the device its key again.")
                .because(cause)
        };
        let none = || unusable(anyhow::anyhow!("there is no ssh.storage_key_file"));
        let vault = self.vault.as_ref().ok_or_else(none)?;
        let sealed = Sealed { key_id: row.key_id.clone(), bytes: row.sealed.clone() };
        let secret = vault.open(&row.device, &sealed).map_err(|e| unusable(e.into()))?;
        PrivateKey::from_openssh(&secret).map_err(|e| unusable(e.into()))
    }
}

/// The keys that seal: from their file, or from the environment.
fn opened(settings: &Ssh) -> Result<Option<Vault>, Problem> {
    let (what, text) = match &settings.storage_key_file {
        Some(file) => (
            format!("ssh.storage_key_file = {}", file.display()),
            secret::read_text("ssh.storage_key_file", file)?,
        ),
        None if settings.storage_key.reveal().is_empty() => return Ok(None),
        None => ("ssh.storage_key".to_owned(), Zeroizing::new(settings.storage_key.reveal().to_owned())),
    };
    Vault::of(&text)
        .map(Some)
        .map_err(|why| Problem::new(Code::BAD_CONFIG).saying(format!("{what} cannot be used: {why}.")))
}

/// The private key that stands in a text. The error is a sentence with what is expected; it has nothing of the text.
pub fn parsed(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    if !text.trim_start().starts_with(concat!("-----BEGIN OPENSSH ", "PRIVATE KEY-----")) {
        return Err("it is not a private key in OpenSSH form. Convert it: ssh-keygen -p -f FILE".to_owned());
    }
    let key =
        PrivateKey::from_openssh(text.trim_start().as_bytes()).map_err(|_| "it is damaged.".to_owned())?;
    match (key.is_encrypted(), passphrase) {
        (false, _) => Ok(key),
        (true, None) => Err("it has a passphrase, and none was given.".to_owned()),
        (true, passphrase) => {
            decode_secret_key(text, passphrase).map_err(|_| "its passphrase is another one.".to_owned())
        }
    }
}

fn warn_of_rsa(key: &PrivateKey, of: &str) {
    if key.algorithm().is_rsa() {
        tracing::warn!(
            of,
            "a private key is RSA, whose library can leak it by its timing (RUSTSEC-2023-0071): better use Ed25519"
        );
    }
}
