//! A login that was begun: sealed with a key of this process and kept by the browser as a cookie, so that nobody can
//! fill our memory with logins that are never finished, and nobody can finish one in another browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moorline_wire::Code;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::id::{LoginId, PersonId};
use crate::problem::Problem;
use crate::token::Hashed;

/// How long somebody may take at the provider.
const LASTS_S: i64 = 600;

/// What its cookie holds at most; browsers take 4096 bytes.
const SEALED_MAX: usize = 3500;

/// A login that was begun.
#[derive(Serialize, Deserialize)]
pub struct Flow {
    /// What comes back with the browser.
    pub(super) state: String,
    /// What comes back in the token.
    pub(super) nonce: String,
    /// What proves that the code is asked for by whoever began (PKCE).
    pub(super) verifier: String,
    /// Our address to which the browser is sent back.
    pub(super) redirect: String,
    /// Our page that is shown afterwards.
    pub back: String,
    /// What for.
    pub purpose: Purpose,
    /// Until when, in seconds since 1970.
    pub(super) until: i64,
}

/// What a login at the provider is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To be let in.
    LogIn,
    /// To link the account there with one's own here, by somebody who is logged in here.
    Link {
        /// Whose.
        person: String,
        /// By which login.
        login: String,
    },
}

impl Purpose {
    /// Whose account is linked, by which login; `None`: none is.
    pub fn linked(&self) -> Option<(PersonId, LoginId)> {
        match self {
            Self::LogIn => None,
            Self::Link { person, login } => Some((person.parse().ok()?, login.parse().ok()?)),
        }
    }
}

impl Flow {
    /// Compared by hash: it takes the same time wherever the first difference is.
    pub(super) fn has_state(&self, state: &str) -> bool {
        Hashed::of(&self.state) == Hashed::of(state)
    }
}

/// Until when a login that begins now can be finished.
pub(super) fn end(now: jiff::Timestamp) -> i64 {
    now.as_second() + LASTS_S
}

/// A flow as the browser keeps it.
pub struct Sealed(String);

impl Sealed {
    /// As a cookie's value.
    pub fn into_text(self) -> String {
        self.0
    }

    /// How long it can be opened.
    pub fn lasts() -> std::time::Duration {
        std::time::Duration::from_secs(LASTS_S.unsigned_abs())
    }
}

/// The key of this process. Another process knows it not: logins that were begun before a restart are begun again.
pub(super) struct Key(LessSafeKey);

impl Key {
    /// A random key.
    pub(super) fn fresh() -> Self {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *bytes).expect("the system has given random bytes for more than this");
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*bytes).expect("the key has its length")))
    }

    pub(super) fn seal(&self, flow: &Flow) -> Result<Sealed, Problem> {
        let internal = |why: &'static str| Problem::new(Code::INTERNAL).because(anyhow::anyhow!(why));
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| internal("the system gave no random bytes"))?;
        let mut bytes = serde_json::to_vec(flow).map_err(|_| internal("a flow is plain data"))?;
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(|_| internal("a flow could not be sealed"))?;
        bytes.splice(0..0, nonce);
        Ok(Sealed(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// `None`: it was sealed by somebody else, or is over.
    pub(super) fn open(&self, text: &str, now: jiff::Timestamp) -> Option<Flow> {
        let mut bytes = (text.len() <= SEALED_MAX).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
        if bytes.len() < NONCE_LEN {
            return None;
        }
        let mut sealed = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        let flow: Flow = serde_json::from_slice(opened).ok()?;
        (now.as_second() < flow.until).then_some(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(until: i64) -> Flow {
        let text = |text: &str| text.to_owned();
        Flow {
            state: text("state"),
            nonce: text("nonce"),
            verifier: text("verifier"),
            redirect: text("https://moorline.example.org/api/v1/login/oidc/callback"),
            back: text("/devices"),
            purpose: Purpose::LogIn,
            until,
        }
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_flow_is_opened_by_the_process_that_sealed_it_until_it_is_over() {
        let (key, other) = (Key::fresh(), Key::fresh());
        let text = key.seal(&flow(1000)).unwrap().into_text();
        assert!(!text.contains("state") && text.len() < SEALED_MAX);
        let opened = key.open(&text, at(999)).unwrap();
        assert!(opened.has_state("state") && !opened.has_state("State") && !opened.has_state(""));
        assert!(key.open(&text, at(1000)).is_none(), "it is over");
        assert!(other.open(&text, at(999)).is_none(), "another process sealed it");
        for at_byte in [0, 20, text.len() - 2] {
            let mut changed = text.clone().into_bytes();
            changed[at_byte] = if changed[at_byte] == b'A' { b'B' } else { b'A' };
            assert!(key.open(std::str::from_utf8(&changed).unwrap(), at(999)).is_none());
        }
        for bad in ["", "A", "AAAA", "!", &"A".repeat(5000)] {
            assert!(key.open(bad, at(0)).is_none(), "{bad:?}");
        }
    }
}
