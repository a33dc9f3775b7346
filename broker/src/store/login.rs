//! Logins (browsers with a cookie) and API tokens: what somebody shows to say who they are.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::person::{PersonState, person_of, unwords, word, words};
use super::{PersonRow, Store, micros, timestamp, undecodable};
use crate::access::Scope;
use crate::id::{LoginId, PersonId, TokenId};
use crate::problem::Problem;
use crate::token::Hashed;

/// A login, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRow {
    /// Its id.
    pub id: LoginId,
    /// Whose.
    pub person: PersonId,
    /// When they logged in.
    pub created: jiff::Timestamp,
    /// When it was last used, a minute more or less.
    pub seen: jiff::Timestamp,
    /// From which address.
    pub address: String,
    /// With which browser.
    pub agent: String,
    /// How they showed who they are.
    pub way: Way,
}

/// How somebody showed who they are when they logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a password, and a second factor if they have one.
    Password,
    /// The OpenID provider said so.
    Provider,
}

impl Way {
    /// The way in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Provider => "provider",
        }
    }

    fn of_word(word: &str) -> Result<Self, sqlx::Error> {
        let known = [Self::Password, Self::Provider];
        let way = known.into_iter().find(|way| way.word() == word);
        way.ok_or_else(|| undecodable("way", anyhow::anyhow!("{word:?} is no way to log in")))
    }
}

/// What a new login rests on: it was looked at before, and must still be so in the moment the login is kept.
#[derive(Clone, Copy)]
pub enum Rests<'a> {
    /// On a password with this hash, and on whether a second factor was asked for.
    Password {
        /// As it was compared with.
        hash: Option<&'a str>,
        /// Whether a code was asked for.
        second_factor: bool,
    },
    /// On an account of a provider.
    Provider {
        /// Which provider.
        issuer: &'a str,
        /// What it calls them.
        subject: &'a str,
    },
}

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// Whose.
    pub person: PersonId,
    /// What its owner calls it.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// From when on it is worth nothing.
    pub expires: jiff::Timestamp,
    /// When it was last used, a minute more or less.
    pub used: Option<jiff::Timestamp>,
}

/// So many logins one person has at most; a further one ends the oldest.
const LOGINS_MAX: i64 = 50;

impl Store {
    /// Keeps a new login; too many of one person end the oldest. `false`: what it rests on was changed or taken
    /// away meanwhile, or they may not log in any more.
    pub async fn add_login(
        &self,
        secret: Hashed,
        login: &LoginRow,
        rests: Rests<'_>,
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            if !still_rests(&mut all, &login.person, rests).await? {
                return Ok(false);
            }
            let sql = "INSERT INTO logins (secret, id, person, created_us, seen_us, address, agent, way)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            sqlx::query(sql)
                .bind(secret.bytes())
                .bind(login.id.as_str())
                .bind(login.person.as_str())
                .bind(micros(login.created))
                .bind(micros(login.seen))
                .bind(&login.address)
                .bind(&login.agent)
                .bind(login.way.word())
                .execute(&mut *all)
                .await?;
            let sql = "DELETE FROM logins WHERE person = $1 AND id NOT IN
                       (SELECT id FROM logins WHERE person = $1 ORDER BY created_us DESC, id LIMIT $2)";
            sqlx::query(sql).bind(login.person.as_str()).bind(LOGINS_MAX).execute(&mut *all).await?;
            all.commit().await.map(|()| true)
        };
        self.written("add_login", call).await
    }

    /// The login of that secret and its person, if they may log in.
    pub async fn login(&self, secret: Hashed) -> Result<Option<(LoginRow, PersonRow)>, Problem> {
        let call = async {
            let sql = "SELECT l.id AS own_id, l.person, l.created_us AS own_created_us, l.seen_us, l.address,
                           l.agent, l.way, p.* FROM logins l JOIN people p ON p.id = l.person WHERE l.secret = $1";
            let row = sqlx::query(sql).bind(secret.bytes()).fetch_optional(&self.pool).await?;
            row.map(|row| Ok((login_of(&row)?, person_of(&row)?))).transpose()
        };
        Ok(self.measured("login", call).await?.filter(|(_, person)| person.state == PersonState::Active))
    }

    /// Somebody's logins, the newest first.
    pub async fn logins(&self, person: &PersonId) -> Result<Vec<LoginRow>, Problem> {
        let call = async {
            let sql =
                "SELECT id AS own_id, person, created_us AS own_created_us, seen_us, address, agent, way
                       FROM logins WHERE person = $1 ORDER BY created_us DESC, id";
            let rows = sqlx::query(sql).bind(person.as_str()).fetch_all(&self.pool).await?;
            rows.iter().map(login_of).collect()
        };
        self.measured("logins", call).await
    }

    /// A login was used.
    pub async fn login_seen(&self, id: &LoginId, at: jiff::Timestamp) -> Result<(), Problem> {
        let sql = "UPDATE logins SET seen_us = $2 WHERE id = $1";
        let call =
            async { sqlx::query(sql).bind(id.as_str()).bind(micros(at)).execute(&self.pool).await.map(drop) };
        self.written("login_seen", call).await
    }

    /// Ends one login of a person. `false`: they have no such login.
    pub async fn end_login(&self, person: &PersonId, id: &LoginId) -> Result<bool, Problem> {
        let call = async {
            let sql = "DELETE FROM logins WHERE person = $1 AND id = $2";
            let done = sqlx::query(sql).bind(person.as_str()).bind(id.as_str()).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("end_login", call).await
    }

    /// Ends every login of a person.
    pub async fn end_logins(&self, person: &PersonId) -> Result<(), Problem> {
        let sql = "DELETE FROM logins WHERE person = $1";
        let call = async { sqlx::query(sql).bind(person.as_str()).execute(&self.pool).await.map(drop) };
        self.written("end_logins", call).await
    }

    /// Removes what nobody can use any more: logins that began or were seen before these times, tokens and
    /// invitations that are over.
    pub async fn forget_expired(
        &self,
        now: jiff::Timestamp,
        begun: jiff::Timestamp,
        seen: jiff::Timestamp,
    ) -> Result<(), Problem> {
        let call = async {
            let sql = "DELETE FROM logins WHERE created_us <= $1 OR seen_us <= $2";
            sqlx::query(sql).bind(micros(begun)).bind(micros(seen)).execute(&self.pool).await?;
            for sql in [
                "DELETE FROM tokens WHERE expires_us <= $1",
                "DELETE FROM invitations WHERE expires_us <= $1",
            ] {
                sqlx::query(sql).bind(micros(now)).execute(&self.pool).await?;
            }
            Ok(())
        };
        self.written("forget_expired", call).await
    }

    /// Keeps a new token.
    pub async fn add_token(&self, secret: Hashed, token: &TokenRow) -> Result<(), Problem> {
        let call = async {
            let sql = "INSERT INTO tokens (secret, id, person, label, scopes, created_us, expires_us)
                       VALUES ($1, $2, $3, $4, $5, $6, $7)";
            sqlx::query(sql)
                .bind(secret.bytes())
                .bind(token.id.as_str())
                .bind(token.person.as_str())
                .bind(&token.label)
                .bind(words(token.scopes.iter().map(|scope| scope.word())))
                .bind(micros(token.created))
                .bind(micros(token.expires))
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("add_token", call).await
    }

    /// The token of that secret and its owner, if they may log in.
    pub async fn token(&self, secret: Hashed) -> Result<Option<(TokenRow, PersonRow)>, Problem> {
        let call = async {
            let sql = "SELECT t.id AS own_id, t.person, t.label, t.scopes, t.created_us AS own_created_us,
                           t.expires_us, t.used_us, p.*
                       FROM tokens t JOIN people p ON p.id = t.person WHERE t.secret = $1";
            let row = sqlx::query(sql).bind(secret.bytes()).fetch_optional(&self.pool).await?;
            row.map(|row| Ok((token_of(&row)?, person_of(&row)?))).transpose()
        };
        Ok(self.measured("token", call).await?.filter(|(_, person)| person.state == PersonState::Active))
    }

    /// Somebody's tokens, the newest first; everybody's, if nobody is named.
    pub async fn tokens(&self, person: Option<&PersonId>) -> Result<Vec<TokenRow>, Problem> {
        let call = async {
            let sql = "SELECT id AS own_id, person, label, scopes, created_us AS own_created_us, expires_us, used_us
                       FROM tokens WHERE $1 IS NULL OR person = $1 ORDER BY created_us DESC, id";
            let rows = sqlx::query(sql).bind(person.map(PersonId::as_str)).fetch_all(&self.pool).await?;
            rows.iter().map(token_of).collect()
        };
        self.measured("tokens", call).await
    }

    /// A token was used.
    pub async fn token_used(&self, id: &TokenId, at: jiff::Timestamp) -> Result<(), Problem> {
        let sql = "UPDATE tokens SET used_us = $2 WHERE id = $1";
        let call =
            async { sqlx::query(sql).bind(id.as_str()).bind(micros(at)).execute(&self.pool).await.map(drop) };
        self.written("token_used", call).await
    }

    /// Ends a token; only that person's, if one is named. `false`: there is no such token.
    pub async fn end_token(&self, id: &TokenId, person: Option<&PersonId>) -> Result<bool, Problem> {
        let call = async {
            let sql = "DELETE FROM tokens WHERE id = $1 AND ($2 IS NULL OR person = $2)";
            let person = person.map(PersonId::as_str);
            let done = sqlx::query(sql).bind(id.as_str()).bind(person).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("end_token", call).await
    }
}

/// Within the transaction of a new login. It takes the lock of writing, so that nothing changes until it is over.
async fn still_rests(
    all: &mut sqlx::SqliteConnection,
    person: &PersonId,
    rests: Rests<'_>,
) -> Result<bool, sqlx::Error> {
    let asked = match rests {
        Rests::Password { hash, second_factor } => {
            let sql = "UPDATE people SET state = state WHERE id = $1 AND state = 'active' AND password IS $2
                       AND (totp_since_us IS NOT NULL) = $3";
            sqlx::query(sql).bind(person.as_str()).bind(hash).bind(second_factor)
        }
        Rests::Provider { issuer, subject } => {
            let sql = "UPDATE people SET state = state WHERE id = $1 AND state = 'active' AND EXISTS
                       (SELECT 1 FROM provider_links WHERE person = $1 AND issuer = $2 AND subject = $3)";
            sqlx::query(sql).bind(person.as_str()).bind(issuer).bind(subject)
        }
    };
    Ok(asked.execute(all).await?.rows_affected() > 0)
}

fn login_of(row: &SqliteRow) -> Result<LoginRow, sqlx::Error> {
    Ok(LoginRow {
        id: word(row, "own_id")?,
        person: word(row, "person")?,
        created: timestamp("created_us", row.try_get("own_created_us")?)?,
        seen: timestamp("seen_us", row.try_get("seen_us")?)?,
        address: row.try_get("address")?,
        agent: row.try_get("agent")?,
        way: Way::of_word(row.try_get("way")?)?,
    })
}

fn token_of(row: &SqliteRow) -> Result<TokenRow, sqlx::Error> {
    let used: Option<i64> = row.try_get("used_us")?;
    Ok(TokenRow {
        id: word(row, "own_id")?,
        person: word(row, "person")?,
        label: row.try_get("label")?,
        scopes: unwords(row, "scopes")?,
        created: timestamp("created_us", row.try_get("own_created_us")?)?,
        expires: timestamp("expires_us", row.try_get("expires_us")?)?,
        used: used.map(|at| timestamp("used_us", at)).transpose()?,
    })
}
