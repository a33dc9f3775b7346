//! Sessions and their endings.

use moorline_wire::{DeviceId, Ending, SessionId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, micros, timestamp, undecodable};
use crate::problem::Problem;
use crate::trace::Place;

/// A session, over or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// On which device.
    pub device: DeviceId,
    /// The device's name when the session began; the device may be forgotten since.
    pub device_name: String,
    /// As whom.
    pub login: String,
    /// Who asked for it.
    pub person: String,
    /// The command, if it is not a shell.
    pub command: Option<String>,
    /// When it was asked for.
    pub started: jiff::Timestamp,
    /// When it ended.
    pub ended: Option<jiff::Timestamp>,
    /// Why it ended.
    pub ending: Option<Ending>,
    /// Who holds its shell.
    pub house: House,
    /// Where its set-up is traced.
    pub traced: Option<Place>,
}

/// Who holds a session's shell, and so with whom it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum House {
    /// Not known yet: nothing was heard since the shell was asked for.
    Unknown,
    /// A keeper on the device: the shell outlives the broker.
    Keeper,
    /// The broker's own SSH connection: the shell ends with the broker.
    Plain,
}

impl House {
    /// The house as the store has it.
    fn label(self) -> &'static str {
        match self {
            House::Unknown => "unknown",
            House::Keeper => "keeper",
            House::Plain => "plain",
        }
    }

    fn of_label(label: &str) -> Result<Self, sqlx::Error> {
        let known = [House::Unknown, House::Keeper, House::Plain];
        let house = known.into_iter().find(|house| house.label() == label);
        house.ok_or_else(|| undecodable("house", anyhow::anyhow!("{label:?} is no house")))
    }
}

/// Which sessions are wanted by how they are. Those that are not over are told by their actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionsOf {
    /// All.
    #[default]
    All,
    /// Those that are over.
    Ended,
}

/// Which sessions are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFilter {
    /// By how they are.
    pub state: SessionsOf,
    /// Of one device only.
    pub device: Option<DeviceId>,
    /// Those in which each of these words stands somewhere, in lower case.
    pub words: Vec<String>,
    /// Of the ended ones, those that come after this place.
    pub after: Option<EndedAt>,
    /// At most so many.
    pub count_max: u32,
}

/// A place in the list of the ended sessions, which begins with the last one that ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedAt {
    /// When the session at this place ended, in microseconds since 1970: as exact as the store.
    pub ended_us: i64,
    /// Which session it is.
    pub id: SessionId,
}

impl Store {
    /// Keeps a session that begins.
    pub async fn session_started(&self, session: &SessionRow) -> Result<(), Problem> {
        let call = async {
            sqlx::query(
                "INSERT INTO sessions (id, device, device_name, login, person, command, started_us, house,
                     traced)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(session.id.as_str())
            .bind(session.device.as_str())
            .bind(&session.device_name)
            .bind(&session.login)
            .bind(&session.person)
            .bind(&session.command)
            .bind(micros(session.started))
            .bind(session.house.label())
            .bind(session.traced.map(|place| place.to_string()))
            .execute(&self.pool)
            .await
            .map(drop)
        };
        self.written("session_started", call).await
    }

    /// Keeps why a session ended. The first ending counts.
    pub async fn session_ended(
        &self,
        id: &SessionId,
        ending: &Ending,
        at: jiff::Timestamp,
    ) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE sessions SET ended_us = $2, ending = $3 WHERE id = $1 AND ended_us IS NULL")
                .bind(id.as_str())
                .bind(micros(at))
                .bind(json(ending)?)
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("session_ended", call).await
    }

    /// Keeps who holds a session's shell.
    pub async fn session_housed(&self, id: &SessionId, house: House) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE sessions SET house = $2 WHERE id = $1")
                .bind(id.as_str())
                .bind(house.label())
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("session_housed", call).await
    }

    /// Keeps that the device holds nothing of a session any more.
    pub async fn session_released(&self, id: &SessionId) -> Result<(), Problem> {
        let call = async {
            sqlx::query("UPDATE sessions SET released = TRUE WHERE id = $1")
                .bind(id.as_str())
                .execute(&self.pool)
                .await
                .map(drop)
        };
        self.written("session_released", call).await
    }

    /// Sessions that are over and of which their device may still hold something, the newest first.
    pub async fn unreleased(&self, count_max: u32) -> Result<Vec<SessionRow>, Problem> {
        let call = async {
            // Word for word the condition of the index.
            let rows = sqlx::query(
                "SELECT * FROM sessions WHERE ended_us IS NOT NULL AND house <> 'plain' AND NOT released
                 ORDER BY started_us DESC LIMIT $1",
            )
            .bind(count_max)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(session_of).collect()
        };
        self.measured("unreleased", call).await
    }

    /// Sessions that are not over, the newest first.
    pub async fn unfinished(&self) -> Result<Vec<SessionRow>, Problem> {
        let call = async {
            let rows =
                sqlx::query("SELECT * FROM sessions WHERE ended_us IS NULL ORDER BY started_us DESC, id")
                    .fetch_all(&self.pool)
                    .await?;
            rows.iter().map(session_of).collect()
        };
        self.measured("unfinished", call).await
    }

    /// The session of that id.
    pub async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, Problem> {
        let call = async {
            let row = sqlx::query("SELECT * FROM sessions WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(session_of).transpose()
        };
        self.measured("session", call).await
    }

    /// Sessions: the last begun first, or, of those that are over, the last ended first.
    pub async fn sessions(&self, filter: SessionFilter) -> Result<Vec<SessionRow>, Problem> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT * FROM sessions WHERE TRUE");
        if let Some(device) = filter.device {
            sql.push(" AND device = ").push_bind(String::from(device));
        }
        if filter.state == SessionsOf::Ended {
            sql.push(" AND ended_us IS NOT NULL");
        }
        if let Some(after) = filter.after {
            sql.push(" AND (ended_us, id) < (").push_bind(after.ended_us);
            sql.push(", ").push_bind(String::from(after.id)).push(")");
        }
        for word in filter.words {
            sql.push(" AND instr(").push(TEXT_OF_ROW).push(", ").push_bind(word).push(") > 0");
        }
        sql.push(match filter.state {
            SessionsOf::All => " ORDER BY started_us DESC, id",
            SessionsOf::Ended => " ORDER BY ended_us DESC, id DESC",
        });
        sql.push(" LIMIT ").push_bind(filter.count_max);
        let call = async {
            let rows = sql.build().fetch_all(&self.pool).await?;
            rows.iter().map(session_of).collect()
        };
        self.measured("sessions", call).await
    }

    /// Ends every session whose shell ended with a former process; says how many there were. One
    /// that a keeper holds, or may hold, is not over.
    pub async fn end_plain_leftovers(&self, ending: Ending, at: jiff::Timestamp) -> Result<u64, Problem> {
        let call = async {
            sqlx::query(
                "UPDATE sessions SET ended_us = $1, ending = $2 WHERE ended_us IS NULL AND house = 'plain'",
            )
            .bind(micros(at))
            .bind(json(&ending)?)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
        };
        self.written("end_plain_leftovers", call).await
    }
}

/// What can be searched for: everything that a person sees of a session.
const TEXT_OF_ROW: &str = "lower(id || ' ' || device || ' ' || device_name || ' ' || login || ' ' || person || ' ' ||
    coalesce(command, '') || ' ' || coalesce(ending ->> 'code', '') || ' ' || coalesce(ending ->> 'text', '') || ' ' ||
    coalesce(ending ->> 'by', ''))";

fn json(ending: &Ending) -> Result<String, sqlx::Error> {
    serde_json::to_string(ending).map_err(|e| sqlx::Error::Encode(e.into()))
}

fn session_of(row: &SqliteRow) -> Result<SessionRow, sqlx::Error> {
    let ending: Option<&str> = row.try_get("ending")?;
    Ok(SessionRow {
        id: row
            .try_get::<String, _>("id")?
            .parse()
            .map_err(|e: moorline_wire::id::BadId| undecodable("id", e))?,
        device: row
            .try_get::<String, _>("device")?
            .parse()
            .map_err(|e: moorline_wire::id::BadId| undecodable("device", e))?,
        device_name: row.try_get("device_name")?,
        login: row.try_get("login")?,
        person: row.try_get("person")?,
        command: row.try_get("command")?,
        started: timestamp("started_us", row.try_get("started_us")?)?,
        ended: row.try_get::<Option<i64>, _>("ended_us")?.map(|at| timestamp("ended_us", at)).transpose()?,
        ending: ending.map(serde_json::from_str).transpose().map_err(|e| undecodable("ending", e))?,
        house: House::of_label(row.try_get("house")?)?,
        // One that a later version writes in another way is no reason to lose the session.
        traced: row.try_get::<Option<&str>, _>("traced")?.and_then(|text| text.parse().ok()),
    })
}
