//! Who somebody is: people with passwords, the logins of their browsers, their API tokens, and the
//! invitations with which a password is set.
//!
//! [`Identity`] is the handle. Behind it: `password` hashes, `second` asks for the code of an authenticator, which
//! `totp` reckons, `provider` asks an OpenID provider, `linked` knows whose accounts there are whose, `throttle` counts who was wrong how often, `first` makes a broker's folder and its first invitation. What somebody may do is decided in
//! [`crate::access`]; what of it ends when it is taken away, in [`crate::warden`].
//!
//! No answer tells an account that is there from one that is not, neither by its words nor by its time.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moorline_wire::Code;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::access::{Role, Subject, is_name};
use crate::clock::{self, wall};
use crate::config::{Config, Totp};
use crate::id::{LoginId, PersonId, TokenId};
use crate::metrics::{Metrics, Proof};
use crate::problem::Problem;
use crate::store::{Invited, LoginRow, PersonRow, PersonState, Rests, Store, TokenRow, Way};
use crate::token::{Hashed, Token};
use throttle::{Key, Limits, Throttle};

pub mod first;
mod linked;
mod password;
mod provider;
mod second;
#[cfg(test)]
mod tests;
mod throttle;
mod totp;

pub use linked::{AccountNews, Arrival, Returned};
use password::Passwords;
pub use password::Secret;
pub use provider::{Provider, Purpose, Sealed, check as check_provider, role_line};
pub use second::Enrolment;
#[cfg(test)]
pub use totp::code_at;

/// The name of the one administrator of demo mode; no account can have it.
pub const DEMO: &str = "demo";

/// What every API token begins with, so that one that was published by mistake is found.
pub const TOKEN_PREFIX: &str = "mlt_";

/// That something was used is written down once in so many seconds.
const SEEN_EVERY_S: i64 = 60;

/// What a browser says of itself is kept up to here.
const AGENT_CHARS_MAX: usize = 200;

/// Who people are. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<Config>,
    store: Store,
    metrics: Metrics,
    passwords: Passwords,
    provider: Option<Provider>,
    throttle: Mutex<Throttle>,
    /// Counts what may have taken something away from somebody.
    changes: watch::Sender<u64>,
    /// Who changes people takes turns: the last administrator stays.
    turn: tokio::sync::Mutex<()>,
}

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whence {
    /// The address, as far as we can know it.
    pub address: IpAddr,
    /// What the browser or program calls itself.
    pub agent: String,
}

/// With what somebody came: asked for again for as long as what they do with it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// Demo mode lets everybody in.
    Demo,
    /// A browser's cookie.
    Login(LoginId, Hashed),
    /// An API token.
    Token(TokenId, Hashed),
}

/// Whether a login is being used, and so goes on, or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its person does something.
    Works,
    /// It is asked whether it is still worth something.
    Looks,
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their id; demo mode's administrator has none.
    pub id: Option<PersonId>,
    /// Who asks, for [`crate::access`].
    pub subject: Subject,
    /// With what.
    pub pass: Pass,
    /// Whether they have a second factor.
    pub second_factor: SecondFactor,
}

/// Whether somebody has a second factor beside their password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// They have.
    On,
    /// They have none, and need none.
    Off,
    /// They have none, and can do nothing but set one up.
    Missing,
}

impl Caller {
    /// The administrator of demo mode.
    pub fn demo() -> Self {
        let subject =
            Subject { name: DEMO.to_owned(), roles: vec![Role::Admin], groups: Vec::new(), scopes: None };
        Self { id: None, subject, pass: Pass::Demo, second_factor: SecondFactor::Off }
    }
}

/// A login that was just made: the cookie's secret, and whose it is.
pub struct LoggedIn {
    /// For the browser, once.
    pub secret: Token,
    /// Who it is.
    pub person: PersonRow,
}

impl Identity {
    /// Over this store.
    pub fn new(config: Arc<Config>, store: Store, metrics: Metrics) -> Self {
        let login = &config.login;
        let limits = Limits {
            free: login.failures,
            first: login.lockout,
            longest: login.lockout_max,
            count_max: login.remembered,
        };
        let passwords = Passwords::new(login.hashes_at_once, config.timing.password);
        let (throttle, changes) = (Mutex::new(Throttle::new(limits)), watch::Sender::new(0));
        let turn = tokio::sync::Mutex::new(());
        let provider = Provider::of(&config, &metrics);
        let shared = Shared { config, store, metrics, passwords, provider, throttle, changes, turn };
        Self { shared: Arc::new(shared) }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.shared.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told whenever something may have been taken away from somebody.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Something may have been taken away from somebody: whoever watches over what they do looks again.
    pub fn changed(&self) {
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Holds back everybody else who changes people.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.turn.lock().await
    }

    /// Who shows this cookie.
    pub async fn of_cookie(&self, cookie: &str) -> Result<Caller, Problem> {
        self.known(self.by_login(Hashed::of(cookie), Use::Works).await, Proof::Login)
    }

    /// Who shows this API token.
    pub async fn of_token(&self, token: &str) -> Result<Caller, Problem> {
        if !token.starts_with(TOKEN_PREFIX) {
            return self.known(Ok(None), Proof::Token);
        }
        self.known(self.by_token(Hashed::of(token), Use::Works).await, Proof::Token)
    }

    /// Whether what somebody came with is still worth something, and who they are now. SECOND_FACTOR_MISSING: they have
    /// turned off what is required.
    pub async fn still(&self, pass: &Pass, how: Use) -> Result<Caller, Problem> {
        let caller = match pass {
            Pass::Demo => Some(Caller::demo()),
            Pass::Login(_, secret) => self.by_login(*secret, how).await?,
            Pass::Token(_, secret) => self.by_token(*secret, how).await?,
        };
        match caller.ok_or_else(|| Problem::new(Code::LOGIN_EXPIRED))? {
            caller if caller.second_factor == SecondFactor::Missing => {
                Err(Problem::new(Code::SECOND_FACTOR_MISSING))
            }
            caller => Ok(caller),
        }
    }

    fn known(&self, caller: Result<Option<Caller>, Problem>, proof: Proof) -> Result<Caller, Problem> {
        caller?.ok_or_else(|| {
            self.shared.metrics.auth_failure(proof);
            Problem::new(Code::LOGIN_EXPIRED)
        })
    }

    async fn by_login(&self, secret: Hashed, how: Use) -> Result<Option<Caller>, Problem> {
        let Some((login, person)) = self.shared.store.login(secret).await? else { return Ok(None) };
        let (now, limits) = (wall(), &self.shared.config.login);
        if age(now, login.created) >= limits.lasts || age(now, login.seen) >= limits.idle {
            return Ok(None);
        }
        if how == Use::Works && now.as_second() - login.seen.as_second() >= SEEN_EVERY_S {
            // A store that takes no writes keeps nobody out; that it does not is logged there.
            let _ = self.shared.store.login_seen(&login.id, now).await;
        }
        let second_factor = match (person.has_second_factor, login.way, limits.totp) {
            (true, ..) => SecondFactor::On,
            (false, Way::Password, Totp::Required) => SecondFactor::Missing,
            (false, ..) => SecondFactor::Off,
        };
        Ok(Some(caller(person, None, Pass::Login(login.id, secret), second_factor)))
    }

    async fn by_token(&self, secret: Hashed, how: Use) -> Result<Option<Caller>, Problem> {
        let Some((token, person)) = self.shared.store.token(secret).await? else { return Ok(None) };
        let now = wall();
        if token.expires <= now {
            return Ok(None);
        }
        let long_ago = |used: jiff::Timestamp| now.as_second() - used.as_second() >= SEEN_EVERY_S;
        if how == Use::Works && token.used.is_none_or(long_ago) {
            let _ = self.shared.store.token_used(&token.id, now).await;
        }
        let second_factor = if person.has_second_factor { SecondFactor::On } else { SecondFactor::Off };
        Ok(Some(caller(person, Some(token.scopes), Pass::Token(token.id, secret), second_factor)))
    }

    /// Lets somebody in by name and password, and by the code of their authenticator if they have one.
    ///
    /// The code is asked for only once the password was right. That tells who knows the password that it is right;
    /// asked before, it would tell everybody else whose account there is and how it is kept.
    pub async fn log_in(
        &self,
        name: &str,
        password: Secret,
        code: Option<&Secret>,
        from: &Whence,
    ) -> Result<LoggedIn, Problem> {
        let name = name.trim().to_lowercase();
        let keys = keys_of(&name, from);
        self.not_throttled(&keys)?;
        let found = if is_name(&name) { self.shared.store.credentials(&name).await? } else { None };
        // Whoever may not log in has no password here: it takes as long, and counts as much.
        let active = found.filter(|found| found.person.state == PersonState::Active);
        let hash = active.as_ref().and_then(|found| found.hash.clone());
        let right = self.is_right(hash.clone(), password.clone(), &keys).await?;
        let (Some(found), Some(hash)) = (active.filter(|_| right), hash) else {
            return Err(Problem::new(Code::LOGIN_REFUSED));
        };
        self.second_step(&found, code, &keys).await?;
        self.throttle().succeeded(&Key::Account(name));
        let hash = self.fresh_hash(&found.person, hash, password).await;
        let rests = Rests::Password { hash: Some(&hash), second_factor: found.person.has_second_factor };
        self.begin(found.person, rests, from).await
    }

    /// Whether that is the password; if not, it is counted. LIMIT: too many before were wrong.
    async fn is_right(
        &self,
        hash: Option<Zeroizing<String>>,
        password: Secret,
        keys: &[Key],
    ) -> Result<bool, Problem> {
        // Whoever waits for their turn while others fail in the same name waits for nothing.
        let still = || self.throttle().wait(clock::now(), keys).is_none();
        let (me, counted) = (self.clone(), keys.to_vec());
        let wrong = move || {
            me.throttle().failed(clock::now(), counted);
            me.shared.metrics.auth_failure(Proof::Password);
        };
        match self.shared.passwords.matches(hash, password, still, wrong).await? {
            Some(right) => Ok(right),
            None => self.not_throttled(keys).and(Err(Problem::new(Code::LIMIT))),
        }
    }

    /// The hash that is kept of a password that was right: made anew, if it is not as it is done today. That this
    /// does not work out keeps nobody out, and a password that was changed meanwhile stays changed.
    async fn fresh_hash(
        &self,
        person: &PersonRow,
        hash: Zeroizing<String>,
        password: Secret,
    ) -> Zeroizing<String> {
        if !Passwords::is_outdated(&hash) {
            return hash;
        }
        let Ok(fresh) = self.shared.passwords.hashed(&person.name, password).await else { return hash };
        let replaced = self.shared.store.rehash(&person.id, &hash, &fresh).await;
        if replaced.unwrap_or(false) { fresh } else { hash }
    }

    /// Makes a login. LOGIN_REFUSED: what it rests on does not hold any more.
    async fn begin(&self, person: PersonRow, rests: Rests<'_>, from: &Whence) -> Result<LoggedIn, Problem> {
        let (secret, now) = (Token::fresh()?, wall());
        let login = LoginRow {
            id: LoginId::fresh()?,
            person: person.id.clone(),
            created: now,
            seen: now,
            address: from.address.to_string(),
            agent: from.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect(),
            way: match rests {
                Rests::Password { .. } => Way::Password,
                Rests::Provider { .. } => Way::Provider,
            },
        };
        if self.shared.store.add_login(secret.hashed(), &login, rests).await? {
            Ok(LoggedIn { secret, person })
        } else {
            Err(Problem::new(Code::LOGIN_REFUSED))
        }
    }

    fn not_throttled(&self, keys: &[Key]) -> Result<(), Problem> {
        let Some(wait) = self.throttle().wait(clock::now(), keys) else { return Ok(()) };
        self.shared.metrics.auth_failure(Proof::Throttled);
        let seconds = wait.as_secs() + 1;
        Err(Problem::new(Code::LIMIT)
            .saying(format!("Too many attempts failed. Wait {seconds} s and try again.")))
    }

    /// Ends the login that somebody came with.
    pub async fn log_out(&self, caller: &Caller) -> Result<(), Problem> {
        if let (Some(person), Pass::Login(id, _)) = (&caller.id, &caller.pass) {
            self.shared.store.end_login(person, id).await?;
            self.changed();
        }
        Ok(())
    }

    /// Ends the login of a cookie that is being replaced.
    pub async fn replace(&self, cookie: &str) -> Result<(), Problem> {
        match self.by_login(Hashed::of(cookie), Use::Looks).await? {
            Some(caller) => self.log_out(&caller).await,
            None => Ok(()),
        }
    }

    /// Changes somebody's own password: who does that knows the old one. Every other login of theirs ends,
    /// and the one they came with is replaced.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: Secret,
        new: Secret,
        from: &Whence,
    ) -> Result<LoggedIn, Problem> {
        let name = &caller.subject.name;
        let keys = keys_of(name, from);
        self.not_throttled(&keys)?;
        let found = self.shared.store.credentials(name).await?;
        let found = found.ok_or_else(|| Problem::new(Code::LOGIN_EXPIRED))?;
        if !self.is_right(found.hash.clone(), old, &keys).await? {
            return Err(wrong_password());
        }
        let hash = self.shared.passwords.hashed(name, new).await?;
        let before = found.hash.as_ref().map(|hash| hash.as_str());
        if !self.shared.store.set_password(&found.person.id, before, &hash).await? {
            return Err(wrong_password());
        }
        self.changed();
        // Of the same browser, and so of the same person: no second factor is asked for again.
        let second_factor = found.person.has_second_factor;
        let rests = Rests::Password { hash: Some(&hash), second_factor };
        self.begin(found.person, rests, from).await
    }

    /// Invites somebody to set a password, or a new administrator. What comes back is shown once.
    pub async fn invite(&self, person: Option<&PersonId>) -> Result<Token, Problem> {
        let secret = Token::fresh()?;
        let expires = wall()
            + jiff::SignedDuration::try_from(self.shared.config.login.invitation)
                .map_err(|e| Problem::new(Code::BAD_CONFIG).because(e))?;
        self.shared.store.invite(secret.hashed(), person, expires).await?;
        Ok(secret)
    }

    /// What an invitation is for.
    pub async fn invited(&self, secret: &Secret, from: &Whence) -> Result<Invited, Problem> {
        let keys: Vec<Key> = Key::of_address(from.address).into_iter().collect();
        self.not_throttled(&keys)?;
        let invited = self.shared.store.invited(Hashed::of(secret.reveal()), wall()).await?;
        invited.ok_or_else(|| {
            self.throttle().failed(clock::now(), keys);
            self.shared.metrics.auth_failure(Proof::Invitation);
            no_invitation()
        })
    }

    /// Sets the password that an invitation is for, and lets its person in. A new administrator chooses a name.
    /// Somebody with a second factor needs its code as at a login: the link may have fallen into other hands.
    pub async fn accept(
        &self,
        secret: Secret,
        name: Option<&str>,
        password: Secret,
        code: Option<&Secret>,
        from: &Whence,
    ) -> Result<LoggedIn, Problem> {
        let hashed = Hashed::of(secret.reveal());
        let (person, hash) = match self.invited(&secret, from).await? {
            Invited::Administrator => self.accept_administrator(hashed, name, password).await?,
            Invited::Person(person) => {
                let keys = keys_of(&person.name, from);
                self.not_throttled(&keys)?;
                let hash = self.shared.passwords.hashed(&person.name, password).await?;
                if let Some(found) = self.shared.store.credentials(&person.name).await? {
                    self.second_step(&found, code, &keys).await?;
                }
                if !self.shared.store.accept_person(hashed, &person.id, &hash).await? {
                    return Err(no_invitation());
                }
                (*person, hash)
            }
        };
        self.throttle().succeeded(&Key::Account(person.name.clone()));
        self.changed();
        let rests = Rests::Password { hash: Some(&hash), second_factor: person.has_second_factor };
        self.begin(person, rests, from).await
    }

    async fn accept_administrator(
        &self,
        secret: Hashed,
        name: Option<&str>,
        password: Secret,
    ) -> Result<(PersonRow, Zeroizing<String>), Problem> {
        let person = new_person(name.unwrap_or_default(), vec![Role::Admin], Vec::new())?;
        let hash = self.shared.passwords.hashed(&person.name, password).await?;
        let accepted = self.shared.store.accept_administrator(secret, &person, &hash).await?;
        accepted.then_some((person, hash)).ok_or_else(no_invitation)
    }

    /// A new API token of that person. What comes back is shown once.
    pub async fn new_token(&self, token: &TokenRow) -> Result<Zeroizing<String>, Problem> {
        let secret = Zeroizing::new(format!("{TOKEN_PREFIX}{}", Token::fresh()?.reveal()));
        self.shared.store.add_token(Hashed::of(&secret), token).await?;
        Ok(secret)
    }

    /// Removes what nobody can use any more.
    pub async fn forget_expired(&self) -> Result<(), Problem> {
        let (now, limits) = (wall(), &self.shared.config.login);
        let before = |limit: std::time::Duration| {
            let limit = jiff::SignedDuration::try_from(limit).unwrap_or(jiff::SignedDuration::MAX);
            now.checked_sub(limit).unwrap_or(jiff::Timestamp::MIN)
        };
        self.shared.store.forget_expired(now, before(limits.lasts), before(limits.idle)).await
    }
}

/// An account that nobody has yet, if it can have that name.
pub fn new_person(name: &str, roles: Vec<Role>, groups: Vec<String>) -> Result<PersonRow, Problem> {
    let name = name.trim().to_lowercase();
    if !is_name(&name) || name == DEMO {
        return Err(Problem::new(Code::BAD_REQUEST).saying(
            "This is no name for an account. Take 1 to 64 of a-z, 0-9 and ._@+- with a letter or digit first.",
        ));
    }
    Ok(PersonRow {
        id: PersonId::fresh()?,
        name,
        roles,
        groups,
        state: PersonState::Active,
        has_password: false,
        has_second_factor: false,
        created: wall(),
    })
}

fn wrong_password() -> Problem {
    Problem::new(Code::LOGIN_REFUSED)
        .saying("The password is not right. Type it again; after some failures there is a wait.")
}

fn no_invitation() -> Problem {
    Problem::new(Code::LOGIN_REFUSED)
        .saying("This link was used before, or is over. Ask whoever gave it to you for a new one.")
}

fn keys_of(name: &str, from: &Whence) -> Vec<Key> {
    // Whatever was typed is remembered: no more of it than a name can have.
    let account = Key::Account(name.chars().take(64).collect());
    [account].into_iter().chain(Key::of_address(from.address)).collect()
}

fn caller(
    person: PersonRow,
    scopes: Option<Vec<crate::access::Scope>>,
    pass: Pass,
    second_factor: SecondFactor,
) -> Caller {
    let PersonRow { id, name, roles, groups, .. } = person;
    Caller { id: Some(id), subject: Subject { name, roles, groups, scopes }, pass, second_factor }
}

/// How long ago that was; a clock that was put back makes things young.
fn age(now: jiff::Timestamp, then: jiff::Timestamp) -> std::time::Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}
