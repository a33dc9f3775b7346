//! People, and the invitations with which they set a password.

use std::str::FromStr;

use moorline_wire::Code;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use zeroize::Zeroizing;

use super::{Store, micros, timestamp, undecodable};
use crate::access::Role;
use crate::id::PersonId;
use crate::problem::Problem;
use crate::token::Hashed;

/// A person, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Their id.
    pub id: PersonId,
    /// The name of the account, which no other ever had or gets.
    pub name: String,
    /// The most that they can be given.
    pub roles: Vec<Role>,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// Whether they may log in.
    pub state: PersonState,
    /// Whether they have set a password.
    pub has_password: bool,
    /// Whether their password needs a code of an authenticator beside it.
    pub has_second_factor: bool,
    /// When the account was made.
    pub created: jiff::Timestamp,
}

/// A person with what they prove who they are by.
#[derive(Clone)]
pub struct Credentials {
    /// Who.
    pub person: PersonRow,
    /// The hash of their password, if they have set one.
    pub hash: Option<Zeroizing<String>>,
    /// The secret of their authenticator, be it confirmed or not: `person.has_second_factor` says.
    pub totp: Option<Zeroizing<Vec<u8>>>,
}

/// Whether somebody may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonState {
    /// They may.
    Active,
    /// They may not, for now.
    Disabled,
    /// They are gone; only the name is kept, so that nobody else gets what was theirs.
    Removed,
}

impl PersonState {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Removed => "removed",
        }
    }

    fn of_word(word: &str) -> Result<Self, sqlx::Error> {
        let known = [Self::Active, Self::Disabled, Self::Removed];
        let state = known.into_iter().find(|state| state.word() == word);
        state.ok_or_else(|| undecodable("state", anyhow::anyhow!("{word:?} is no state of a person")))
    }
}

/// What an invitation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invited {
    /// A new administrator, who chooses a name.
    Administrator,
    /// This person.
    Person(Box<PersonRow>),
}

impl Store {
    /// Everybody who was not removed, by name.
    pub async fn people(&self) -> Result<Vec<PersonRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM people WHERE state <> 'removed' ORDER BY name";
            sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(person_of).collect()
        };
        self.measured("people", call).await
    }

    /// One person who was not removed.
    pub async fn person(&self, id: &PersonId) -> Result<Option<PersonRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM people WHERE id = $1 AND state <> 'removed'";
            let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&self.pool).await?;
            row.as_ref().map(person_of).transpose()
        };
        self.measured("person", call).await
    }

    /// The person of that name, removed or not.
    pub async fn person_named(&self, name: &str) -> Result<Option<PersonRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM people WHERE name = $1";
            let row = sqlx::query(sql).bind(name).fetch_optional(&self.pool).await?;
            row.as_ref().map(person_of).transpose()
        };
        self.measured("person_named", call).await
    }

    /// The person of that name and what they prove who they are by, in one question: whether there is such a
    /// person does not show in how long it takes.
    pub async fn credentials(&self, name: &str) -> Result<Option<Credentials>, Problem> {
        let call = async {
            let sql = "SELECT * FROM people WHERE name = $1 AND state <> 'removed'";
            let row = sqlx::query(sql).bind(name).fetch_optional(&self.pool).await?;
            let Some(row) = row else { return Ok(None) };
            let hash: Option<String> = row.try_get("password")?;
            let totp: Option<Vec<u8>> = row.try_get("totp")?;
            let person = person_of(&row)?;
            Ok(Some(Credentials { person, hash: hash.map(Zeroizing::new), totp: totp.map(Zeroizing::new) }))
        };
        self.measured("credentials", call).await
    }

    /// Whether there is anybody who can log in and administer.
    pub async fn has_administrator(&self) -> Result<bool, Problem> {
        self.administrates_besides(None).await
    }

    /// Whether there is anybody else who can.
    pub async fn administrators_besides(&self, id: &PersonId) -> Result<bool, Problem> {
        self.administrates_besides(Some(id)).await
    }

    async fn administrates_besides(&self, id: Option<&PersonId>) -> Result<bool, Problem> {
        let call = async {
            let sql = "SELECT count(*) FROM people WHERE state = 'active' AND password IS NOT NULL
                       AND ($1 IS NULL OR id <> $1) AND $2 || roles || $2 LIKE $3";
            let count: i64 = sqlx::query_scalar(sql)
                .bind(id.map(PersonId::as_str))
                .bind("\n")
                .bind(format!("%\n{}\n%", Role::Admin.word()))
                .fetch_one(&self.pool)
                .await?;
            Ok(count > 0)
        };
        self.measured("administrators", call).await
    }

    /// Keeps a new person, without a password. LIMIT: the name was used before.
    pub async fn add_person(&self, person: &PersonRow) -> Result<(), Problem> {
        let call =
            async { insert(person, None).execute(&self.pool).await.map(|done| done.rows_affected() > 0) };
        if self.written("add_person", call).await? { Ok(()) } else { Err(name_taken()) }
    }

    /// Keeps a person's roles, groups and state. `false`: there is no such person.
    pub async fn change_person(&self, person: &PersonRow) -> Result<bool, Problem> {
        let call = async {
            let sql =
                "UPDATE people SET roles = $2, groups = $3, state = $4 WHERE id = $1 AND state <> 'removed'";
            sqlx::query(sql)
                .bind(person.id.as_str())
                .bind(words(person.roles.iter().map(|role| role.word())))
                .bind(words(&person.groups))
                .bind(person.state.word())
                .execute(&self.pool)
                .await
                .map(|done| done.rows_affected() > 0)
        };
        self.written("change_person", call).await
    }

    /// Removes a person with everything that is theirs but the name.
    pub async fn remove_person(&self, id: &PersonId) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            for sql in [
                "DELETE FROM logins WHERE person = $1",
                "DELETE FROM tokens WHERE person = $1",
                "DELETE FROM invitations WHERE person = $1",
                "DELETE FROM recovery_codes WHERE person = $1",
                "DELETE FROM provider_links WHERE person = $1",
                "DELETE FROM grants WHERE who = (SELECT 'person:' || name FROM people WHERE id = $1)",
            ] {
                sqlx::query(sql).bind(id.as_str()).execute(&mut *all).await?;
            }
            let sql = "UPDATE people SET state = 'removed', password = NULL, roles = '', groups = '',
                           totp = NULL, totp_since_us = NULL
                       WHERE id = $1 AND state <> 'removed'";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&mut *all).await?;
            all.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("remove_person", call).await
    }

    /// Sets a password in the place of the one with the hash `before`, or of none, and ends every login and
    /// invitation of the person. `false`: it was changed meanwhile, and nothing is done.
    pub async fn set_password(
        &self,
        id: &PersonId,
        before: Option<&str>,
        hash: &str,
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            if !replace_hash(&mut all, id, before, hash).await? {
                return Ok(false);
            }
            end_everything_of(&mut all, id).await?;
            all.commit().await.map(|()| true)
        };
        self.written("set_password", call).await
    }

    /// Keeps another hash of the same password. `false`: the password was changed meanwhile, and stays so.
    pub async fn rehash(&self, id: &PersonId, before: &str, hash: &str) -> Result<bool, Problem> {
        let call = async {
            let mut one = self.pool.acquire().await?;
            replace_hash(&mut one, id, Some(before), hash).await
        };
        self.written("rehash", call).await
    }

    /// Keeps an invitation; the one before, for the same, is worth nothing any more.
    pub async fn invite(
        &self,
        secret: Hashed,
        person: Option<&PersonId>,
        expires: jiff::Timestamp,
    ) -> Result<(), Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let person = person.map(PersonId::as_str);
            let sql = "DELETE FROM invitations WHERE person IS NOT DISTINCT FROM $1";
            sqlx::query(sql).bind(person).execute(&mut *all).await?;
            let sql = "INSERT INTO invitations (secret, person, expires_us) VALUES ($1, $2, $3)";
            sqlx::query(sql)
                .bind(secret.bytes())
                .bind(person)
                .bind(micros(expires))
                .execute(&mut *all)
                .await?;
            all.commit().await
        };
        self.written("invite", call).await
    }

    /// What an invitation is for, if it can be used at this time.
    pub async fn invited(&self, secret: Hashed, now: jiff::Timestamp) -> Result<Option<Invited>, Problem> {
        let call = async {
            let sql =
                "SELECT i.person AS invited, p.* FROM invitations i LEFT JOIN people p ON p.id = i.person
                       WHERE i.secret = $1 AND i.expires_us > $2";
            let row =
                sqlx::query(sql).bind(secret.bytes()).bind(micros(now)).fetch_optional(&self.pool).await?;
            let Some(row) = row else { return Ok(None) };
            if row.try_get::<Option<&str>, _>("invited")?.is_none() {
                return Ok(Some(Invited::Administrator));
            }
            let person = person_of(&row)?;
            Ok((person.state == PersonState::Active).then(|| Invited::Person(Box::new(person))))
        };
        self.measured("invited", call).await
    }

    /// Uses an invitation up for a new administrator. `Ok(false)`: it is not there any more.
    pub async fn accept_administrator(
        &self,
        secret: Hashed,
        person: &PersonRow,
        hash: &str,
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let sql = "DELETE FROM invitations WHERE secret = $1 AND person IS NULL";
            let used = sqlx::query(sql).bind(secret.bytes()).execute(&mut *all).await?.rows_affected();
            let added = insert(person, Some(hash)).execute(&mut *all).await?.rows_affected();
            // Rolled back when it is dropped: the invitation stays for another name.
            if used > 0 && added > 0 {
                all.commit().await?;
            }
            Ok((used > 0, added > 0))
        };
        match self.written("accept_administrator", call).await? {
            (true, false) => Err(name_taken()),
            (used, added) => Ok(used && added),
        }
    }

    /// Uses an invitation up for a person's password. `Ok(false)`: it is not there any more.
    pub async fn accept_person(&self, secret: Hashed, id: &PersonId, hash: &str) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let sql = "DELETE FROM invitations WHERE secret = $1 AND person = $2";
            let done = sqlx::query(sql).bind(secret.bytes()).bind(id.as_str()).execute(&mut *all).await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            let sql = "UPDATE people SET password = $2 WHERE id = $1 AND state <> 'removed'";
            sqlx::query(sql).bind(id.as_str()).bind(hash).execute(&mut *all).await?;
            end_everything_of(&mut all, id).await?;
            all.commit().await.map(|()| true)
        };
        self.written("accept_person", call).await
    }
}

/// `false`: the hash is not that any more.
async fn replace_hash(
    one: &mut sqlx::SqliteConnection,
    id: &PersonId,
    before: Option<&str>,
    hash: &str,
) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE people SET password = $3 WHERE id = $1 AND password IS $2 AND state <> 'removed'";
    let done = sqlx::query(sql).bind(id.as_str()).bind(before).bind(hash).execute(one).await?;
    Ok(done.rows_affected() > 0)
}

/// Within a transaction: what was begun before a new password is over.
async fn end_everything_of(all: &mut sqlx::SqliteConnection, id: &PersonId) -> Result<(), sqlx::Error> {
    for sql in ["DELETE FROM logins WHERE person = $1", "DELETE FROM invitations WHERE person = $1"] {
        sqlx::query(sql).bind(id.as_str()).execute(&mut *all).await?;
    }
    Ok(())
}

impl PersonRow {
    /// Whether they are an administrator who may log in.
    pub fn administers(&self) -> bool {
        self.state == PersonState::Active && self.roles.contains(&Role::Admin)
    }
}

/// Inserts nothing if the name is taken.
pub(super) fn insert<'a>(
    person: &'a PersonRow,
    hash: Option<&'a str>,
) -> sqlx::query::Query<'a, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let sql = "INSERT INTO people (id, name, password, roles, groups, state, created_us)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING";
    sqlx::query(sql)
        .bind(person.id.as_str())
        .bind(&person.name)
        .bind(hash)
        .bind(words(person.roles.iter().map(|role| role.word())))
        .bind(words(&person.groups))
        .bind(person.state.word())
        .bind(micros(person.created))
}

pub(super) fn name_taken() -> Problem {
    Problem::new(Code::BAD_REQUEST)
        .saying("This name is taken, or was somebody's before. Names are not given twice: choose another.")
}

/// Words as lines of one text.
pub(super) fn words<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    words.join("\n")
}

/// The words of such a text.
pub(super) fn unwords<T: FromStr>(row: &SqliteRow, column: &str) -> Result<Vec<T>, sqlx::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: &str = row.try_get(column)?;
    text.lines().map(|word| word.parse().map_err(|e: T::Err| undecodable(column, e))).collect()
}

/// A column that holds one word.
pub(super) fn word<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.try_get::<&str, _>(column)?.parse().map_err(|e: T::Err| undecodable(column, e))
}

pub(super) fn person_of(row: &SqliteRow) -> Result<PersonRow, sqlx::Error> {
    Ok(PersonRow {
        id: word(row, "id")?,
        name: row.try_get("name")?,
        roles: unwords(row, "roles")?,
        groups: unwords(row, "groups")?,
        state: PersonState::of_word(row.try_get("state")?)?,
        has_password: row.try_get::<Option<&str>, _>("password")?.is_some(),
        has_second_factor: row.try_get::<Option<i64>, _>("totp_since_us")?.is_some(),
        created: timestamp("created_us", row.try_get("created_us")?)?,
    })
}
