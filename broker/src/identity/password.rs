//! Passwords: hashed with argon2id, off the threads that serve, few at once.
//!
//! The parameters are those that OWASP's Password Storage Cheat Sheet names first for servers: 19 MiB of
//! memory, two passes, one lane. They stand in each hash, so that they can be raised later: a hash with
//! others is made anew when its owner logs in.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use moorline_wire::Code;
use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::clock;
use crate::metrics::Wait;
use crate::problem::Problem;
use crate::secret;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What the password of nobody is compared with, so that a name that is not there takes as long. The hash is
/// random: nobody knows a password for it.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$RKgU3kZmCAfUiAM2YPgV3A$aRL5xGcvj8L57eGQ7yilKWzsIu34Eo83whUxfGvMpu8";

/// NIST SP 800-63B asks for 8 where there is a second factor and 15 where there is none; 12 is what people do.
const CHARS_MIN: usize = 12;

/// Longer than any passphrase; more would only be work for us.
const BYTES_MAX: usize = 512;

/// What somebody typed that nobody else may know. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret that came in.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Hashes and compares passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    wait_max: Duration,
}

impl Passwords {
    /// At most `at_once` are hashed at a time; who waits longer than `wait_max` is sent away.
    pub fn new(at_once: usize, wait_max: Duration) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), wait_max }
    }

    /// The hash of a new password of that person, if it can be one.
    pub async fn hashed(&self, name: &str, password: Secret) -> Result<Zeroizing<String>, Problem> {
        acceptable(name, password.reveal())?;
        self.in_turn(|| true, move || hash(password.reveal().as_bytes()))
            .await?
            .unwrap_or_else(|| Err(Problem::new(Code::INTERNAL)))
    }

    /// Whether this is the password of that hash; without a hash it is not, and that takes as long.
    /// `still` is asked once more when the turn has come; `None`: it said no. `wrong` is told before the turn
    /// is over, also if whoever asked has gone: whose turn is next finds it counted.
    pub async fn matches(
        &self,
        hash: Option<Zeroizing<String>>,
        password: Secret,
        still: impl FnOnce() -> bool,
        wrong: impl FnOnce() + Send + 'static,
    ) -> Result<Option<bool>, Problem> {
        let comparing = move || {
            let known = hash.is_some();
            let compared = matches(hash.as_ref().map_or(NOBODYS, |hash| hash), password.reveal());
            if !(known && compared) {
                wrong();
            }
            known && compared
        };
        self.in_turn(still, comparing).await
    }

    /// Whether a hash was made with other parameters than today's.
    pub fn is_outdated(hash: &str) -> bool {
        let today = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
        !hash.starts_with(&today)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        still: impl FnOnce() -> bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Problem> {
        let turn = clock::within(self.wait_max, Wait::PasswordTurn, self.turns.clone().acquire_owned());
        let turn = match turn.await {
            Ok(turn) => turn.map_err(|e| Problem::new(Code::INTERNAL).because(e))?,
            Err(late) => return Err(Problem::new(Code::OVERLOADED).because(late)),
        };
        if !still() {
            return Ok(None);
        }
        // The turn is over when the work is: also if whoever asked has gone.
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        working.await.map(Some).map_err(|e| Problem::new(Code::INTERNAL).because(e))
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are in argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8]) -> Result<Zeroizing<String>, Problem> {
    let salt = secret::random::<16>().map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
    let hashed: Result<PasswordHash, _> = argon2().hash_password_with_salt(password, &*salt);
    let hashed = hashed.map_err(|e| Problem::new(Code::INTERNAL).because(anyhow::anyhow!("{e}")))?;
    Ok(Zeroizing::new(hashed.to_string()))
}

/// With the parameters that stand in the hash. Compares without regard to where the first difference is.
fn matches(hash: &str, password: &str) -> bool {
    // Longer ones were never taken.
    password.len() <= BYTES_MAX
        && PasswordHash::new(hash)
            .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Whether a new password can be taken. No rules on which characters: length is what counts.
fn acceptable(name: &str, password: &str) -> Result<(), Problem> {
    let bad = |text: &str| Err(Problem::new(Code::BAD_REQUEST).saying(text));
    if password.chars().count() < CHARS_MIN {
        return bad("This password is too short. Take 12 characters or more; a few words in a row are good.");
    }
    if password.len() > BYTES_MAX {
        return bad("This password is too long. Take one of at most 512 bytes.");
    }
    let mut different: Vec<char> = password.to_lowercase().chars().collect();
    different.sort_unstable();
    different.dedup();
    let lower = password.to_lowercase();
    let guessable = different.len() < 5
        || ["123456", "password", "moorline"]
            .iter()
            .any(|word| lower.replace(word, "").chars().count() < CHARS_MIN / 2);
    if guessable || (name.len() > 2 && lower.replace(name, "").chars().count() < CHARS_MIN / 2) {
        return bad("This password is easily guessed. Take one that has nothing to do with the name.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "correct horse battery";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn passwords() -> Passwords {
        Passwords::new(2, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = passwords();
        let hash = passwords.hashed("anna", secret(GOOD)).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", *hash);
        assert!(
            !Passwords::is_outdated(&hash) && Passwords::is_outdated("$argon2id$v=19$m=4096,t=3,p=1$x$y")
        );
        assert_ne!(hash, passwords.hashed("anna", secret(GOOD)).await.unwrap(), "each has its own salt");
        for (typed, right) in [(GOOD, true), ("correct horse batterx", false), ("", false)] {
            let compared =
                passwords.matches(Some(hash.clone()), secret(typed), || true, || ()).await.unwrap();
            assert_eq!(compared, Some(right), "{typed}");
        }
        assert_eq!(passwords.matches(None, secret(GOOD), || true, || ()).await.unwrap(), Some(false));
        assert!(PasswordHash::new(NOBODYS).is_ok() && !Passwords::is_outdated(NOBODYS), "it takes as long");
        assert_eq!(passwords.matches(Some(hash), secret(GOOD), || false, || ()).await.unwrap(), None);
        assert_eq!(format!("{:?}", secret(GOOD)), "Secret(..)");
    }

    /// A hash of another program, with other parameters: they stand in the hash.
    #[tokio::test]
    async fn a_hash_with_other_parameters_is_still_compared() {
        let params = Params::new(64, 1, 1, None).unwrap();
        let old: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(GOOD.as_bytes(), b"0123456789abcdef")
            .unwrap();
        let old = Zeroizing::new(old.to_string());
        assert!(Passwords::is_outdated(&old));
        assert_eq!(passwords().matches(Some(old), secret(GOOD), || true, || ()).await.unwrap(), Some(true));
    }

    #[test]
    fn what_is_short_long_or_easily_guessed_is_no_password() {
        let long = "x1y2z3".repeat(100);
        for bad in [
            "",
            "short",
            "eleven char",
            "aaaaaaaaaaaaaaaa",
            "Password1234",
            "annaannaanna",
            "123456123456",
            &long,
        ] {
            assert_eq!(acceptable("anna", bad).unwrap_err().code, Code::BAD_REQUEST, "{bad:?}");
        }
        for good in [GOOD, "zwölf Zeichen", "päßwörter sind lang", "q8#Vn2!xK0@w"] {
            assert!(acceptable("anna", good).is_ok(), "{good:?}");
        }
    }

    #[tokio::test]
    async fn no_more_are_hashed_at_once_than_may_and_the_rest_is_sent_away_in_time() {
        let passwords = Passwords::new(1, Duration::from_millis(20));
        let _turn = passwords.turns.clone().acquire_owned().await.unwrap();
        let refused = passwords.matches(None, secret(GOOD), || true, || ()).await.unwrap_err();
        assert_eq!(refused.code, Code::OVERLOADED);
    }
}
