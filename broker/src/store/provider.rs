//! Which account of an OpenID provider is whose.

use std::collections::HashSet;

use sqlx::Row;

use super::person::{insert, name_taken, person_of, word};
use super::{PersonRow, Store, micros};
use crate::id::PersonId;
use crate::problem::Problem;

/// An account of a provider: the two together are never given to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderAccount {
    /// Which provider.
    pub issuer: String,
    /// What it calls the account.
    pub subject: String,
}

impl Store {
    /// Whose account that is, and whether theirs here was made for it. A removed person has none.
    pub async fn person_of_provider(
        &self,
        account: &ProviderAccount,
    ) -> Result<Option<(PersonRow, bool)>, Problem> {
        let call = async {
            let sql = "SELECT l.made, p.* FROM provider_links l JOIN people p ON p.id = l.person
                       WHERE l.issuer = $1 AND l.subject = $2";
            let asked = sqlx::query(sql).bind(&account.issuer).bind(&account.subject);
            let row = asked.fetch_optional(&self.pool).await?;
            row.map(|row| Ok((person_of(&row)?, row.try_get("made")?))).transpose()
        };
        self.measured("person_of_provider", call).await
    }

    /// Keeps a new person and that the account is theirs. LIMIT: the name was used before.
    pub async fn add_provider_person(
        &self,
        person: &PersonRow,
        account: &ProviderAccount,
    ) -> Result<(), Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            if insert(person, None).execute(&mut *all).await?.rows_affected() == 0 {
                return Ok(false);
            }
            let sql = "INSERT INTO provider_links (issuer, subject, person, made, created_us)
                       VALUES ($1, $2, $3, TRUE, $4)";
            sqlx::query(sql)
                .bind(&account.issuer)
                .bind(&account.subject)
                .bind(person.id.as_str())
                .bind(micros(person.created))
                .execute(&mut *all)
                .await?;
            all.commit().await.map(|()| true)
        };
        if self.written("add_provider_person", call).await? { Ok(()) } else { Err(name_taken()) }
    }

    /// Keeps that the account is a person's. `false`: it is somebody's already, or they have another one.
    pub async fn link(
        &self,
        person: &PersonId,
        account: &ProviderAccount,
        now: jiff::Timestamp,
    ) -> Result<bool, Problem> {
        let call = async {
            let sql = "INSERT INTO provider_links (issuer, subject, person, made, created_us)
                       VALUES ($1, $2, $3, FALSE, $4) ON CONFLICT DO NOTHING";
            sqlx::query(sql)
                .bind(&account.issuer)
                .bind(&account.subject)
                .bind(person.as_str())
                .bind(micros(now))
                .execute(&self.pool)
                .await
                .map(|done| done.rows_affected() > 0)
        };
        self.written("link", call).await
    }

    /// Takes a person's accounts of providers away, and the logins that rest on them. `false`: there were none.
    pub async fn unlink(&self, person: &PersonId) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let sql = "DELETE FROM provider_links WHERE person = $1";
            let done = sqlx::query(sql).bind(person.as_str()).execute(&mut *all).await?;
            let sql = "DELETE FROM logins WHERE person = $1 AND way = 'provider'";
            sqlx::query(sql).bind(person.as_str()).execute(&mut *all).await?;
            all.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("unlink", call).await
    }

    /// Everybody who has an account of a provider.
    pub async fn linked(&self) -> Result<HashSet<PersonId>, Problem> {
        let call = async {
            let rows =
                sqlx::query("SELECT DISTINCT person FROM provider_links").fetch_all(&self.pool).await?;
            rows.iter().map(|row| word(row, "person")).collect()
        };
        self.measured("linked", call).await
    }
}
