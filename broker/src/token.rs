//! Secrets that we hand out and later get back: 256 random bits, kept only as their hash.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moorline_wire::Code;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::problem::Problem;

/// A fresh secret, on its way to its owner. Never logged, never kept.
pub struct Token(Zeroizing<String>);

impl Token {
    /// 256 random bits.
    pub fn fresh() -> Result<Self, Problem> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| {
            Problem::new(Code::INTERNAL).because(anyhow::anyhow!("the system gave no random bytes"))
        })?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// The secret as text, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What we keep of it.
    pub fn hashed(&self) -> Hashed {
        Hashed::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The hash of a secret: worthless to whoever reads it.
#[derive(Clone, Copy)]
pub struct Hashed([u8; 32]);

impl Hashed {
    /// The hash of a secret that came back.
    pub fn of(secret: &str) -> Self {
        let hash = digest(&SHA256, secret.as_bytes());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The hash itself, for the store.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Takes the same time wherever the first difference is.
impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl Eq for Hashed {}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_never_shown() {
        let token = Token::fresh().unwrap();
        assert_eq!(Hashed::of(token.reveal()), token.hashed());
        assert_ne!(Token::fresh().unwrap().hashed(), token.hashed());
        assert_eq!(token.reveal().len(), 43);
        assert!(!format!("{token:?}{:?}", token.hashed()).contains(token.reveal()));
    }
}
