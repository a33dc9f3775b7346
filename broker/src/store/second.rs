//! Second factors: the secret of a person's authenticator, and the codes for who has lost it.

use sqlx::SqliteConnection;

use super::{Store, micros};
use crate::id::{LoginId, PersonId};
use crate::problem::Problem;
use crate::token::Hashed;

impl Store {
    /// Keeps a new secret, which counts for nothing until it is confirmed. `false`: they have a second factor.
    pub async fn begin_totp(&self, id: &PersonId, secret: &[u8]) -> Result<bool, Problem> {
        let call = async {
            let sql =
                "UPDATE people SET totp = $2 WHERE id = $1 AND state = 'active' AND totp_since_us IS NULL";
            let done = sqlx::query(sql).bind(id.as_str()).bind(secret).execute(&self.pool).await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("begin_totp", call).await
    }

    /// From now on the secret counts, with these codes beside it; every login but `kept` ends, since it was made
    /// without. `false`: the secret is another one, or that step was taken before.
    pub async fn confirm_totp(
        &self,
        id: &PersonId,
        secret: &[u8],
        step: i64,
        codes: &[Hashed],
        kept: &LoginId,
        now: jiff::Timestamp,
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            let sql = "UPDATE people SET totp_since_us = $4, totp_step = $3
                       WHERE id = $1 AND totp = $2 AND totp_since_us IS NULL AND totp_step < $3";
            let asked = sqlx::query(sql).bind(id.as_str()).bind(secret).bind(step).bind(micros(now));
            if asked.execute(&mut *all).await?.rows_affected() == 0 {
                return Ok(false);
            }
            only_these_codes(&mut all, id, codes).await?;
            let sql = "DELETE FROM logins WHERE person = $1 AND id <> $2";
            sqlx::query(sql).bind(id.as_str()).bind(kept.as_str()).execute(&mut *all).await?;
            all.commit().await.map(|()| true)
        };
        self.written("confirm_totp", call).await
    }

    /// Takes the code of a step. `false`: it, or a later one, was taken before, or the secret is another one.
    pub async fn take_totp_step(&self, id: &PersonId, secret: &[u8], step: i64) -> Result<bool, Problem> {
        let call = async {
            let sql = "UPDATE people SET totp_step = $3
                       WHERE id = $1 AND totp = $2 AND totp_since_us IS NOT NULL AND totp_step < $3";
            let asked = sqlx::query(sql).bind(id.as_str()).bind(secret).bind(step);
            Ok(asked.execute(&self.pool).await?.rows_affected() > 0)
        };
        self.written("take_totp_step", call).await
    }

    /// Uses a recovery code up. `false`: they have no such code, or not any more.
    pub async fn take_recovery_code(&self, id: &PersonId, code: Hashed) -> Result<bool, Problem> {
        let call = async {
            let sql = "DELETE FROM recovery_codes WHERE person = $1 AND code = $2";
            let asked = sqlx::query(sql).bind(id.as_str()).bind(code.bytes());
            Ok(asked.execute(&self.pool).await?.rows_affected() > 0)
        };
        self.written("take_recovery_code", call).await
    }

    /// From now on these are their recovery codes, and none that they had. `false`: that is not their second factor (any
    /// more).
    pub async fn renew_recovery_codes(
        &self,
        id: &PersonId,
        secret: &[u8],
        codes: &[Hashed],
    ) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            // First: this takes the store's one writer, so that what is looked at stays so.
            only_these_codes(&mut all, id, codes).await?;
            let sql = "SELECT count(*) FROM people WHERE id = $1 AND totp = $2 AND totp_since_us IS NOT NULL";
            let asked = sqlx::query_scalar(sql).bind(id.as_str()).bind(secret);
            let has: i64 = asked.fetch_one(&mut *all).await?;
            if has == 0 {
                // Nothing of it is kept.
                return Ok(false);
            }
            all.commit().await.map(|()| true)
        };
        self.written("renew_recovery_codes", call).await
    }

    /// Takes a second factor away, or what was begun of one. `false`: there was none.
    pub async fn end_totp(&self, id: &PersonId) -> Result<bool, Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            // The last step stays: the codes of a secret that is taken back are not good again.
            let sql =
                "UPDATE people SET totp = NULL, totp_since_us = NULL WHERE id = $1 AND totp IS NOT NULL";
            let done = sqlx::query(sql).bind(id.as_str()).execute(&mut *all).await?;
            sqlx::query("DELETE FROM recovery_codes WHERE person = $1")
                .bind(id.as_str())
                .execute(&mut *all)
                .await?;
            all.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        self.written("end_totp", call).await
    }

    /// How many recovery codes they have left.
    pub async fn recovery_codes(&self, id: &PersonId) -> Result<i64, Problem> {
        let call = async {
            let sql = "SELECT count(*) FROM recovery_codes WHERE person = $1";
            sqlx::query_scalar(sql).bind(id.as_str()).fetch_one(&self.pool).await
        };
        self.measured("recovery_codes", call).await
    }
}

async fn only_these_codes(
    all: &mut SqliteConnection,
    id: &PersonId,
    codes: &[Hashed],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM recovery_codes WHERE person = $1").bind(id.as_str()).execute(&mut *all).await?;
    for code in codes {
        let sql = "INSERT INTO recovery_codes (person, code) VALUES ($1, $2)";
        sqlx::query(sql).bind(id.as_str()).bind(code.bytes()).execute(&mut *all).await?;
    }
    Ok(())
}
