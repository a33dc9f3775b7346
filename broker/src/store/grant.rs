//! Grants: who was given what.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::person::{unwords, word, words};
use super::{Store, micros, timestamp};
use crate::access::Grant;
use crate::id::GrantId;
use crate::problem::Problem;

/// A grant and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The grant.
    pub grant: Grant,
    /// When it was given.
    pub created: jiff::Timestamp,
    /// By whom.
    pub created_by: String,
}

impl Store {
    /// Every grant, the oldest first.
    pub async fn grants(&self) -> Result<Vec<GrantRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM grants ORDER BY created_us, id";
            sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(grant_of).collect()
        };
        self.measured("grants", call).await
    }

    /// Keeps a grant.
    pub async fn add_grant(&self, row: &GrantRow) -> Result<(), Problem> {
        let call = async {
            let sql = "INSERT INTO grants (id, who, acts, devices, logins, until_us, created_us, created_by)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            sqlx::query(sql)
                .bind(row.grant.id.as_str())
                .bind(row.grant.who.to_string())
                .bind(words(row.grant.acts.iter().map(|act| act.word())))
                .bind(row.grant.devices.to_string())
                .bind(row.grant.logins.to_string())
                .bind(row.grant.until.map(micros))
                .bind(micros(row.created))
                .bind(&row.created_by)
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("add_grant", call).await
    }

    /// Takes a grant back. `false`: there is no such grant.
    pub async fn remove_grant(&self, id: &GrantId) -> Result<bool, Problem> {
        let call = async {
            let sql = "DELETE FROM grants WHERE id = $1";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("remove_grant", call).await
    }
}

fn grant_of(row: &SqliteRow) -> Result<GrantRow, sqlx::Error> {
    let until: Option<i64> = row.try_get("until_us")?;
    Ok(GrantRow {
        grant: Grant {
            id: word(row, "id")?,
            who: word(row, "who")?,
            acts: unwords(row, "acts")?,
            devices: word(row, "devices")?,
            logins: word(row, "logins")?,
            until: until.map(|at| timestamp("until_us", at)).transpose()?,
        },
        created: timestamp("created_us", row.try_get("created_us")?)?,
        created_by: row.try_get("created_by")?,
    })
}
