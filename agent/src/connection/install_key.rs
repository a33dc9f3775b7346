//! An install key: with it this device becomes known to a broker, and the broker proves itself to this device.

use base64::prelude::{BASE64_STANDARD, Engine};
use moorline_wire::install_key::{OF_THE_BROKER, OF_THE_DEVICE, parts};
use moorline_wire::link::greeting::{Challenge, Hello, INSTALL_KEYS};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

/// See the module.
pub enum InstallKey {
    /// A secret that both sides have: the one of the broker's `enroll.install_key_file`.
    Shared(hmac::Key),
    /// One of the broker's list (see `moorline_wire::install_key`).
    Listed {
        /// Which one.
        id: String,
        /// With which the device proves itself.
        device: Ed25519KeyPair,
        /// With which the broker does.
        broker: hmac::Key,
    },
}

impl std::fmt::Debug for InstallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstallKey(..)")
    }
}

impl InstallKey {
    /// One line: `mli_...`, or at least 32 bytes in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.trim();
        if let Some((id, secret)) = parts(line) {
            let device = Ed25519KeyPair::from_seed_unchecked(&made_from(OF_THE_DEVICE, secret)).ok()?;
            let broker = hmac::Key::new(hmac::HMAC_SHA256, &made_from(OF_THE_BROKER, secret));
            return Some(Self::Listed { id, device, broker });
        }
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(line).ok()?);
        (bytes.len() >= 32).then(|| Self::Shared(hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes())))
    }

    /// Puts the proof into a hello, before that is signed.
    pub(super) fn prove(&self, hello: &mut Hello, challenge: &Challenge) {
        let bytes = hello.enroll_bytes(challenge);
        match self {
            Self::Shared(key) => hello.enroll = Some(BASE64_STANDARD.encode(hmac::sign(key, &bytes))),
            Self::Listed { .. } if !challenge.knows(INSTALL_KEYS) => {}
            Self::Listed { id, device, .. } => {
                hello.enroll = Some(BASE64_STANDARD.encode(device.sign(&bytes)));
                hello.install_key = Some(id.clone());
            }
        }
    }

    /// Whether the broker has proved these bytes.
    pub(super) fn verify(&self, bytes: &[u8], proof: &str) -> bool {
        let (Self::Shared(key) | Self::Listed { broker: key, .. }) = self;
        BASE64_STANDARD.decode(proof).is_ok_and(|proof| hmac::verify(key, bytes, &proof).is_ok())
    }
}

fn made_from(domain: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    let whole = Zeroizing::new(format!("{domain}{secret}"));
    Zeroizing::new(digest(&SHA256, whole.as_bytes()).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_key_is_one_of_the_list_or_one_line_of_enough_base64() {
        let line = BASE64_STANDARD.encode([7; 32]);
        assert!(matches!(InstallKey::parse(&format!("{line}\n")), Some(InstallKey::Shared(_))));
        for text in ["", "short", &BASE64_STANDARD.encode([7; 31]), &format!("{line}\n{line}"), "!!!!"] {
            assert!(InstallKey::parse(text).is_none(), "{text:?} was taken");
        }
        let listed = moorline_wire::install_key::text("k-abcdefghijklmnop", &"s".repeat(43));
        for (text, is_listed) in [(&line, false), (&listed, true)] {
            let key = InstallKey::parse(text).unwrap();
            assert_eq!(matches!(key, InstallKey::Listed { .. }), is_listed);
            let (InstallKey::Shared(broker) | InstallKey::Listed { broker, .. }) = &key;
            let proof = BASE64_STANDARD.encode(hmac::sign(broker, b"x"));
            assert!(key.verify(b"x", &proof) && !key.verify(b"y", &proof) && !key.verify(b"x", "?"));
            assert!(!format!("{key:?}").contains(text.as_str()));
        }
    }
}
