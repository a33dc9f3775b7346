//! Seals private keys before the store has them, so that its file alone, or a copy of it, opens no device.
//!
//! AES-256-GCM with a random nonce for each; what is sealed for one device is of no use for another. A sealed key names
//! the key that it is sealed with: a new one is put in front of `ssh.storage_key_file`, and at the next start everything is
//! sealed anew with it. Then the old one can go.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use moorline_wire::DeviceId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::secret;

/// Old keys are kept for a while, not for ever.
const KEYS_MAX: usize = 16;

/// See the module.
pub struct Vault {
    /// The first seals; all of them open.
    keys: Vec<(String, LessSafeKey)>,
}

/// A private key as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// With which key.
    pub key_id: String,
    /// The nonce, and what came of it.
    pub bytes: Vec<u8>,
}

/// Why something cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Sealed with a key that is not there any more.
    #[error("it is sealed with the key {0}, which ssh.storage_key_file does not have any more")]
    NoKey(String),
    /// Changed since, or of another device.
    #[error("it is damaged, or was sealed for another device")]
    Damaged,
}

impl Vault {
    /// Reads the keys: one a line, each 32 bytes in base64, the newest first. The text says what is wrong.
    pub fn of(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut keys = Vec::new();
        for (number, line) in lines.enumerate() {
            let bytes = Zeroizing::new(STANDARD.decode(line).unwrap_or_default());
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| {
                format!("line {} is not 32 bytes in base64 (openssl rand -base64 32)", number + 1)
            })?;
            // Of no use to whoever wants the key: a digest of 256 random bits.
            let id = HEXLOWER.encode(&digest(&SHA256, &bytes).as_ref()[..8]);
            keys.push((id, LessSafeKey::new(key)));
        }
        match keys.len() {
            0 => Err("there is no key in it (openssl rand -base64 32)".to_owned()),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(format!("there are more than {KEYS_MAX} keys in it")),
        }
    }

    /// The id of the key that seals.
    pub fn key_id(&self) -> &str {
        &self.keys[0].0
    }

    /// Seals it for that device.
    pub fn seal(&self, device: &DeviceId, secret: &[u8]) -> anyhow::Result<Sealed> {
        let (key_id, key) = &self.keys[0];
        let nonce = *secret::random::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(secret.to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(device, key_id)),
                &mut bytes,
            )
            .map_err(|_| anyhow::anyhow!("a private key could not be sealed"))?;
        Ok(Sealed { key_id: key_id.clone(), bytes: [&nonce[..], &bytes, tag.as_ref()].concat() })
    }

    /// Opens what was sealed for that device.
    pub fn open(&self, device: &DeviceId, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let key = self.keys.iter().find(|(id, _)| *id == sealed.key_id);
        let (key_id, key) = key.ok_or_else(|| Unopened::NoKey(sealed.key_id.clone()))?;
        let (nonce, rest) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or(Unopened::Damaged)?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(bound_to(device, key_id)), &mut bytes);
        let length = opened.map_err(|_| Unopened::Damaged)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

/// What is sealed along without being secret: it must be the same when it is opened.
fn bound_to(device: &DeviceId, key_id: &str) -> Vec<u8> {
    format!("moorline device private key\n{key_id}\n{device}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"the private half of a key, in some form";

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    fn device(last: char) -> DeviceId {
        format!("d-aaaaaaaaaaaaaaa{last}").parse().unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_for_its_device_alone_and_hides_what_it_is() {
        let vault = Vault::of(&line(1)).unwrap();
        let (one, two) =
            (vault.seal(&device('a'), SECRET).unwrap(), vault.seal(&device('a'), SECRET).unwrap());
        assert_ne!(one.bytes, two.bytes, "a nonce was used twice");
        assert!(!one.bytes.windows(8).any(|part| SECRET.windows(8).any(|plain| plain == part)));
        assert_eq!(&*vault.open(&device('a'), &one).unwrap(), SECRET);
        assert_eq!(vault.open(&device('b'), &one), Err(Unopened::Damaged));
        for at in 0..one.bytes.len() {
            let mut damaged = one.clone();
            damaged.bytes[at] ^= 1;
            assert_eq!(vault.open(&device('a'), &damaged), Err(Unopened::Damaged), "byte {at}");
            damaged.bytes.truncate(at);
            assert_eq!(vault.open(&device('a'), &damaged), Err(Unopened::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens_until_it_is_taken_away() {
        let old = Vault::of(&line(1)).unwrap();
        let sealed = old.seal(&device('a'), SECRET).unwrap();
        let both = Vault::of(&format!("{}\n\n{}\n", line(2), line(1))).unwrap();
        assert_eq!(&*both.open(&device('a'), &sealed).unwrap(), SECRET);
        let anew = both.seal(&device('a'), SECRET).unwrap();
        assert_ne!(anew.key_id, sealed.key_id);
        let new = Vault::of(&line(2)).unwrap();
        assert_eq!(&*new.open(&device('a'), &anew).unwrap(), SECRET);
        assert_eq!(new.open(&device('a'), &sealed), Err(Unopened::NoKey(sealed.key_id.clone())));
        // Whoever says that it was sealed with another key gets nowhere.
        let lying = Sealed { key_id: new.key_id().to_owned(), ..sealed };
        assert_eq!(both.open(&device('a'), &lying), Err(Unopened::Damaged));
    }

    #[test]
    fn a_file_without_a_whole_key_is_refused_with_its_line() {
        for (text, why) in [
            ("", "no key"),
            ("AAAA", "line 1"),
            ("not base64 at all", "line 1"),
            (&*format!("{}\n{}", line(1), STANDARD.encode([1; 31])), "line 2"),
            (&*(line(1) + "\n").repeat(17), "more than 16"),
        ] {
            let told = Vault::of(text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
