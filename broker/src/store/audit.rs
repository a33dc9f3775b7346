//! The audit: who did what, on what, from where, when, with what outcome.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, micros, timestamp};
use crate::problem::Problem;

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number; later acts have larger ones. 0 until it is kept.
    pub seq: i64,
    /// When.
    pub at: jiff::Timestamp,
    /// Who; for a login that failed, whoever was named.
    pub who: String,
    /// What.
    pub what: String,
    /// On what.
    pub target: String,
    /// From which address.
    pub address: String,
    /// `done`, or the code of the refusal.
    pub outcome: String,
    /// The request with which it was asked for.
    pub request_id: String,
}

/// Which acts are wanted, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those before this number.
    pub before: Option<i64>,
    /// Only this person's.
    pub who: Option<String>,
    /// Only acts of this kind.
    pub what: Option<String>,
    /// At most so many.
    pub count_max: u32,
}

impl Store {
    /// Keeps acts, all of them or none.
    pub async fn add_audit(&self, rows: &[AuditRow]) -> Result<(), Problem> {
        let call = async {
            let mut all = self.pool.begin().await?;
            for row in rows {
                let sql = "INSERT INTO audit (at_us, who, what, target, address, outcome, request_id)
                           VALUES ($1, $2, $3, $4, $5, $6, $7)";
                sqlx::query(sql)
                    .bind(micros(row.at))
                    .bind(&row.who)
                    .bind(&row.what)
                    .bind(&row.target)
                    .bind(&row.address)
                    .bind(&row.outcome)
                    .bind(&row.request_id)
                    .execute(&mut *all)
                    .await?;
            }
            all.commit().await
        };
        self.written("add_audit", call).await
    }

    /// Acts, the newest first.
    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, Problem> {
        let call = async {
            let sql = "SELECT * FROM audit WHERE ($1 IS NULL OR seq < $1) AND ($2 IS NULL OR who = $2)
                       AND ($3 IS NULL OR what = $3) ORDER BY seq DESC LIMIT $4";
            let rows = sqlx::query(sql)
                .bind(filter.before)
                .bind(filter.who)
                .bind(filter.what)
                .bind(i64::from(filter.count_max))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(audit_of).collect()
        };
        self.measured("audit", call).await
    }

    /// Keeps the newest acts and no more than `count_max`.
    pub async fn bound_audit(&self, count_max: usize) -> Result<(), Problem> {
        let call = async {
            let sql = "DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - $1";
            let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
            sqlx::query(sql).bind(count_max).execute(&self.pool).await.map(drop)
        };
        self.written("bound_audit", call).await
    }
}

fn audit_of(row: &SqliteRow) -> Result<AuditRow, sqlx::Error> {
    Ok(AuditRow {
        seq: row.try_get("seq")?,
        at: timestamp("at_us", row.try_get("at_us")?)?,
        who: row.try_get("who")?,
        what: row.try_get("what")?,
        target: row.try_get("target")?,
        address: row.try_get("address")?,
        outcome: row.try_get("outcome")?,
        request_id: row.try_get("request_id")?,
    })
}
