//! Whose account of the provider is whose here. It is linked by issuer and subject, never by a name alone: by whoever
//! is logged in here and shows both, or when an account is made for it at the first login (`oidc.create`).

use moorline_wire::Code;

use super::provider::{Claims, Flow, Provider, Purpose, Sealed};
use super::throttle::Key;
use super::{Caller, Identity, LoggedIn, Pass, Secret, Whence, new_person};
use crate::clock::{self, wall};
use crate::id::{LoginId, PersonId};
use crate::metrics::Proof;
use crate::problem::Problem;
use crate::store::{PersonRow, PersonState, ProviderAccount, Rests};

/// What a browser shows that comes back from the provider.
pub struct Returned {
    /// The cookie that it got when it began.
    pub cookie: String,
    /// What it was sent there with.
    pub state: String,
    /// Who the provider says that it is, if it does.
    pub issuer: Option<String>,
    /// What the provider gives the token for; `None`: it did not let them in.
    pub code: Option<Secret>,
}

/// What came of a login at the provider.
pub enum Arrival {
    /// Somebody is let in.
    In {
        /// Their login.
        logged_in: LoggedIn,
        /// What became of their account.
        account: AccountNews,
    },
    /// An account was linked with this person's.
    Linked(PersonRow),
}

/// What a login at the provider did to the account here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountNews {
    /// Nothing.
    Same,
    /// It was made.
    Made,
    /// It has other roles or groups.
    Changed,
}

impl Identity {
    /// The provider. UNKNOWN: none is set.
    pub fn provider(&self) -> Result<&Provider, Problem> {
        self.shared.provider.as_ref().ok_or_else(|| {
            Problem::new(Code::UNKNOWN)
                .saying("This broker has no login provider. Log in with your password.")
        })
    }

    /// Begins to link somebody's own account with one of the provider's: whoever does that knows the password.
    pub async fn begin_link(
        &self,
        caller: &Caller,
        password: Secret,
        redirect: &str,
        from: &Whence,
    ) -> Result<(String, Sealed), Problem> {
        let provider = self.provider()?;
        let found = self.with_password(caller, password, from).await?;
        let Pass::Login(login, _) = &caller.pass else { return Err(Problem::new(Code::LOGIN_EXPIRED)) };
        let (person, login) = (found.person.id.to_string(), login.to_string());
        provider.begin(redirect, Purpose::Link { person, login }, "/account").await
    }

    /// Who came back from the provider, and what for. The flow is told also if they are not let in.
    pub async fn arrive(
        &self,
        returned: Returned,
        from: &Whence,
    ) -> Result<(Flow, Result<Arrival, Problem>), Problem> {
        let keys: Vec<Key> = Key::of_address(from.address).into_iter().collect();
        self.not_throttled(&keys)?;
        let flow = self.provider()?.resumed(&returned.cookie, &returned.state);
        let flow = flow.inspect_err(|_| self.shared.metrics.auth_failure(Proof::Provider))?;
        let arrived = self.arrived(&flow, returned, from).await;
        // That the provider is away is nobody's failure.
        if arrived.as_ref().is_err_and(|problem| problem.code.http_status() < 500) {
            self.throttle().failed(clock::now(), keys);
            self.shared.metrics.auth_failure(Proof::Provider);
        }
        Ok((flow, arrived))
    }

    async fn arrived(&self, flow: &Flow, returned: Returned, from: &Whence) -> Result<Arrival, Problem> {
        let provider = self.provider()?;
        let refused = |why: &'static str| Problem::new(Code::PROVIDER_REFUSED).because(anyhow::anyhow!(why));
        // RFC 9207: another provider's answer, given to us as this one's.
        if returned.issuer.is_some_and(|issuer| issuer != provider.issuer()) {
            return Err(refused("another issuer answered"));
        }
        let code = returned.code.ok_or_else(|| refused("it did not let them in"))?;
        let claims = provider.finish(flow, code).await?;
        let account =
            ProviderAccount { issuer: provider.issuer().to_owned(), subject: claims.subject.clone() };
        match flow.purpose.linked() {
            Some((person, login)) => self.link(&person, &login, &account).await.map(Arrival::Linked),
            None => self.let_in(&claims, &account, from).await,
        }
    }

    async fn let_in(
        &self,
        claims: &Claims,
        account: &ProviderAccount,
        from: &Whence,
    ) -> Result<Arrival, Problem> {
        let (person, news) = match self.shared.store.person_of_provider(account).await? {
            Some((person, _)) if person.state != PersonState::Active => {
                return Err(Problem::new(Code::NOT_LINKED));
            }
            Some((person, true)) => self.follow(person, claims).await?,
            Some((person, false)) => (person, AccountNews::Same),
            None if self.shared.config.oidc.create => {
                (self.made_for(claims, account).await?, AccountNews::Made)
            }
            None => return Err(Problem::new(Code::NOT_LINKED)),
        };
        let rests = Rests::Provider { issuer: &account.issuer, subject: &account.subject };
        let logged_in = self.begin(person, rests, from).await?;
        Ok(Arrival::In { logged_in, account: news })
    }

    /// An account that was made for one of the provider's has the roles and groups that it has there.
    async fn follow(&self, person: PersonRow, claims: &Claims) -> Result<(PersonRow, AccountNews), Problem> {
        let config = &self.shared.config.oidc;
        let (roles, groups) = (claims.roles(config), claims.groups(config));
        if (&roles, &groups) == (&person.roles, &person.groups) {
            return Ok((person, AccountNews::Same));
        }
        let _turn = self.turn().await;
        let person = PersonRow { roles, groups, ..person };
        self.shared.store.change_person(&person).await?;
        self.changed();
        Ok((person, AccountNews::Changed))
    }

    /// A name that is somebody's already is not given again: whoever has it may link their account.
    async fn made_for(&self, claims: &Claims, account: &ProviderAccount) -> Result<PersonRow, Problem> {
        let config = &self.shared.config;
        let not_linked = |why: &'static str| Problem::new(Code::NOT_LINKED).because(anyhow::anyhow!(why));
        let name = claims.name(&config.oidc).ok_or_else(|| not_linked("it has no name"))?;
        let person = new_person(name, claims.roles(&config.oidc), claims.groups(&config.oidc));
        let person = person.map_err(|_| not_linked("its name can be none here"))?;
        let _turn = self.turn().await;
        if self.shared.store.people().await?.len() >= config.limits.people {
            return Err(Problem::new(Code::LIMIT));
        }
        match self.shared.store.add_provider_person(&person, account).await {
            Ok(()) => Ok(person),
            Err(problem) if problem.code == Code::BAD_REQUEST => Err(not_linked("its name is taken")),
            Err(problem) => Err(problem),
        }
    }

    /// Only as long as the login is there by which it was begun.
    async fn link(
        &self,
        person: &PersonId,
        login: &LoginId,
        account: &ProviderAccount,
    ) -> Result<PersonRow, Problem> {
        let logins = self.shared.store.logins(person).await?;
        let found = self.shared.store.person(person).await?;
        let active = found.filter(|found| found.state == PersonState::Active);
        let person = active.filter(|_| logins.iter().any(|row| row.id == *login));
        let person = person.ok_or_else(|| Problem::new(Code::LOGIN_LOST))?;
        if self.shared.store.link(&person.id, account, wall()).await? {
            return Ok(person);
        }
        Err(Problem::new(Code::NOT_LINKED)
            .saying("That account of the provider is linked already, or yours is. Unlink it first."))
    }

    /// Takes the link of somebody's own account away, with the logins that rest on it. Whoever has no password would
    /// lock themselves out.
    pub async fn unlink(&self, caller: &Caller) -> Result<(), Problem> {
        let id = caller.id.as_ref().ok_or_else(|| Problem::new(Code::UNKNOWN))?;
        let person = self.shared.store.person(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))?;
        if !person.has_password {
            return Err(Problem::new(Code::BAD_REQUEST).saying(
                "You have no password, so you could not log in any more. Ask an administrator for a link to set one.",
            ));
        }
        if !self.shared.store.unlink(id).await? {
            return Err(Problem::new(Code::UNKNOWN)
                .saying("Your account is linked with none of the provider's. There is nothing to unlink."));
        }
        self.changed();
        Ok(())
    }

    /// Takes somebody's accounts of the provider away, and ends the logins that rest on them. UNKNOWN: they have none.
    pub async fn unlink_person(&self, id: &PersonId) -> Result<(), Problem> {
        if !self.shared.store.unlink(id).await? {
            return Err(Problem::new(Code::UNKNOWN)
                .saying("This person has no account of the provider. There is nothing to unlink."));
        }
        self.changed();
        Ok(())
    }
}
