//! The second factor: the code of an authenticator beside the password, and recovery codes for who has lost it.
//!
//! Each code is taken once, also over a restart: the store remembers the last step. Wrong codes count as wrong
//! passwords do. Recovery codes are 80 random bits and are kept as their SHA-256; the authenticator's secret is
//! kept as it is, in the store's 0600 file, since codes are reckoned from it.

use data_encoding::BASE32_NOPAD;
use moorline_wire::Code;
use zeroize::Zeroizing;

use super::throttle::Key;
use super::{Caller, Identity, Pass, Secret, Whence, keys_of, totp, wrong_password};
use crate::clock::{self, wall};
use crate::id::PersonId;
use crate::metrics::Proof;
use crate::problem::Problem;
use crate::secret;
use crate::store::Credentials;
use crate::token::Hashed;

/// So many recovery codes somebody gets.
const RECOVERY_CODES: usize = 10;

/// Random bytes of one.
const RECOVERY_BYTES: usize = 10;

/// Characters of one, without the lines between.
const RECOVERY_CHARS: usize = 16;

/// What an authenticator is told. Shown once.
pub struct Enrolment {
    /// The secret as people type it.
    pub secret: Zeroizing<String>,
    /// The same with everything around it, as it stands in a picture.
    pub uri: Zeroizing<String>,
}

impl Identity {
    /// Whether the second step of a login is done: at once for who has no second factor.
    pub(super) async fn second_step(
        &self,
        found: &Credentials,
        code: Option<&Secret>,
        keys: &[Key],
    ) -> Result<(), Problem> {
        if !found.person.has_second_factor {
            return Ok(());
        }
        let code = code.ok_or_else(|| Problem::new(Code::SECOND_FACTOR))?;
        // Asked again: others may have failed in the same name while the password was compared. As many as are
        // compared at once can come here together, and no more.
        self.not_throttled(keys)?;
        if self.takes(found, code.reveal()).await? {
            return Ok(());
        }
        self.throttle().failed(clock::now(), keys.to_vec());
        self.shared.metrics.auth_failure(Proof::SecondFactor);
        Err(Problem::new(Code::CODE_REFUSED))
    }

    /// Uses a code up: of the authenticator, or for who has lost it.
    async fn takes(&self, found: &Credentials, typed: &str) -> Result<bool, Problem> {
        let (store, id, code) = (&self.shared.store, &found.person.id, plain(typed));
        if code.len() == RECOVERY_CHARS {
            return store.take_recovery_code(id, Hashed::of(&code)).await;
        }
        let Some(secret) = &found.totp else { return Ok(false) };
        match totp::step_of(secret, &code, wall()) {
            Some(step) => store.take_totp_step(id, secret, step).await,
            None => Ok(false),
        }
    }

    /// Begins to set a second factor up; it counts once a code of it was shown. Whoever does that knows the password.
    pub async fn begin_totp(
        &self,
        caller: &Caller,
        password: Secret,
        from: &Whence,
    ) -> Result<Enrolment, Problem> {
        let found = self.with_password(caller, password, from).await?;
        let secret = secret::random::<{ totp::SECRET_BYTES }>()
            .map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
        if !self.shared.store.begin_totp(&found.person.id, &*secret).await? {
            return Err(Problem::new(Code::BAD_REQUEST)
                .saying("You have a second factor already. Turn it off first, then set another one up."));
        }
        let uri = totp::uri_of(&*secret, &self.shared.config.name, &found.person.name);
        Ok(Enrolment { secret: totp::text_of(&*secret), uri })
    }

    /// The authenticator shows the right code: from now on it is asked for. Gives the recovery codes, once.
    pub async fn confirm_totp(
        &self,
        caller: &Caller,
        code: &Secret,
    ) -> Result<Vec<Zeroizing<String>>, Problem> {
        let none = || {
            Problem::new(Code::BAD_REQUEST)
                .saying("No second factor waits for its first code. Begin to set one up on the account page.")
        };
        let Pass::Login(login, _) = &caller.pass else { return Err(none()) };
        let found = self.shared.store.credentials(&caller.subject.name).await?.ok_or_else(none)?;
        let waiting = found.totp.filter(|_| !found.person.has_second_factor);
        let secret = waiting.ok_or_else(none)?;
        // Nothing is to be guessed here: whoever began it was told the secret.
        let refused = || Problem::new(Code::CODE_REFUSED);
        let step = totp::step_of(&secret, &plain(code.reveal()), wall()).ok_or_else(refused)?;
        let (codes, hashed) = recovery_codes()?;
        let (id, now) = (&found.person.id, wall());
        if !self.shared.store.confirm_totp(id, &secret, step, &hashed, login, now).await? {
            return Err(refused());
        }
        self.changed();
        Ok(codes)
    }

    /// Gives somebody new recovery codes, once; those that they had are worth nothing any more. Whoever does that has the
    /// second factor, and knows the password.
    pub async fn renew_recovery_codes(
        &self,
        caller: &Caller,
        password: Secret,
        code: &Secret,
        from: &Whence,
    ) -> Result<Vec<Zeroizing<String>>, Problem> {
        let found = self.with_password(caller, password, from).await?;
        let none = || {
            Problem::new(Code::BAD_REQUEST)
                .saying("You have no second factor, so no recovery codes. Set one up on the account page.")
        };
        let secret = found.totp.as_ref().filter(|_| found.person.has_second_factor).ok_or_else(none)?;
        self.second_step(&found, Some(code), &keys_of(&found.person.name, from)).await?;
        self.throttle().succeeded(&Key::Account(found.person.name.clone()));
        let (codes, hashed) = recovery_codes()?;
        let renewed = self.shared.store.renew_recovery_codes(&found.person.id, secret, &hashed).await?;
        if renewed { Ok(codes) } else { Err(none()) }
    }

    /// Turns somebody's own second factor off: whoever does that has it, and knows the password.
    pub async fn end_totp(
        &self,
        caller: &Caller,
        password: Secret,
        code: &Secret,
        from: &Whence,
    ) -> Result<(), Problem> {
        let found = self.with_password(caller, password, from).await?;
        self.second_step(&found, Some(code), &keys_of(&found.person.name, from)).await?;
        self.throttle().succeeded(&Key::Account(found.person.name));
        self.shared.store.end_totp(&found.person.id).await?;
        self.changed();
        Ok(())
    }

    /// Takes somebody's second factor away, and ends their logins. UNKNOWN: they have none.
    pub async fn reset_totp(&self, id: &PersonId) -> Result<(), Problem> {
        if !self.shared.store.end_totp(id).await? {
            return Err(Problem::new(Code::UNKNOWN)
                .saying("This person has no second factor. There is nothing to reset."));
        }
        self.shared.store.end_logins(id).await?;
        self.changed();
        Ok(())
    }

    /// Who somebody is, if that is their password; if not, it is counted.
    pub(super) async fn with_password(
        &self,
        caller: &Caller,
        password: Secret,
        from: &Whence,
    ) -> Result<Credentials, Problem> {
        let keys = keys_of(&caller.subject.name, from);
        self.not_throttled(&keys)?;
        let found = self.shared.store.credentials(&caller.subject.name).await?;
        let found = found.ok_or_else(|| Problem::new(Code::LOGIN_EXPIRED))?;
        if self.is_right(found.hash.clone(), password, &keys).await? {
            Ok(found)
        } else {
            Err(wrong_password())
        }
    }
}

/// A code without what people put between its characters.
fn plain(typed: &str) -> Zeroizing<String> {
    let characters = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').take(64);
    Zeroizing::new(characters.map(|c| c.to_ascii_lowercase()).collect())
}

/// New ones, as they are shown and as they are kept.
fn recovery_codes() -> Result<(Vec<Zeroizing<String>>, Vec<Hashed>), Problem> {
    let codes = (0..RECOVERY_CODES).map(|_| recovery_code()).collect::<Result<Vec<_>, _>>()?;
    let hashed = codes.iter().map(|code| Hashed::of(&plain(code))).collect();
    Ok((codes, hashed))
}

fn recovery_code() -> Result<Zeroizing<String>, Problem> {
    let bytes =
        secret::random::<RECOVERY_BYTES>().map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
    let text = Zeroizing::new(BASE32_NOPAD.encode(&*bytes).to_ascii_lowercase());
    let groups: Vec<&str> = (0..RECOVERY_CHARS).step_by(4).map(|at| &text[at..at + 4]).collect();
    Ok(Zeroizing::new(groups.join("-")))
}
