//! Sessions: create, show, attach again, kill. How they are listed stands in `session_list`.

use actix_web::http::header;
use actix_web::web::{Data, Json};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use moorline_wire::term::Size;
use moorline_wire::term::frame::Step;
use moorline_wire::{Code, DeviceId, Ending, SessionId};
use serde::{Deserialize, Serialize};

use super::Parts;
use super::answer::ErrorBody;
use super::audit::audit;
use super::body::{Body, Id, Query};
use super::guard::Traced;
use super::route::Person;
use crate::access::{Right, is_login};
use crate::metrics::KilledBy;
use crate::problem::Problem;
use crate::readable::is_harmless;
use crate::session::{Keeping, NewSession, SessionState, SessionView, StepTime};
use crate::store::{House, SessionRow};
use crate::trace::{Place, Trace};
use crate::warden::kind_of;

/// What a terminal may be large: `u16` on the wire, and an emulator keeps every cell.
const SIDE_MAX: u16 = 1000;

/// One session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Session {
    id: String,
    device: String,
    /// The device's name when the session began.
    device_name: String,
    login: String,
    /// Who asked for it.
    person: String,
    /// `connecting`, `live`, `detached` (nobody is attached), `device_away`, `adrift` (the shell is
    /// believed to be kept on its device, and cannot be reached for now) or `ended`.
    state: &'static str,
    started: String,
    ended: Option<String>,
    #[schema(value_type = Option<EndingBody>)]
    ending: Option<Ending>,
    /// How many are attached.
    viewers: usize,
    command: Option<String>,
    /// Whether a keeper on the device has the shell, so that it outlives the broker; `null`: not known yet.
    kept: Option<bool>,
    /// How long the steps of its set-up took.
    steps: Vec<StepBody>,
    /// The trace of its set-up: 32 hexadecimal digits, which also stand in the broker's log.
    trace_id: Option<String>,
}

/// Why a session is over.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used: the value is wire's Ending")]
struct EndingBody {
    /// The stable name of the reason.
    code: String,
    /// A sentence for the person.
    text: String,
    /// Who ended it, when a person did.
    by: Option<String>,
    /// `{"status":0}` or `{"signal":"TERM"}`, when the program ended by itself.
    #[schema(value_type = Option<Object>)]
    exit: Option<()>,
}

/// One step of a set-up.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StepBody {
    /// `broker`, `device`, `host_key`, `login` or `shell`.
    #[schema(value_type = String)]
    step: Step,
    ms: u32,
}

/// Which shell is wanted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionWish {
    #[schema(value_type = String)]
    device: DeviceId,
    /// As whom; the device's own default otherwise.
    login: Option<String>,
    cols: u16,
    rows: u16,
    /// A command instead of a shell.
    command: Option<String>,
}

/// A new session, and what its first attach needs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Created {
    id: String,
    /// For the first message on the terminal's socket; once, and soon.
    ticket: String,
}

/// What one more attach needs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Ticket {
    /// For the first message on the terminal's socket; once, and soon.
    ticket: String,
}

/// Why a session is killed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct KillQuery {
    /// Shown to whoever is attached.
    reason: Option<String>,
}

/// Which sessions are killed, and why; a user or a device is required.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct KillManyQuery {
    /// Those of this person.
    user: Option<String>,
    /// Those on this device.
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// Shown to whoever is attached.
    reason: Option<String>,
}

/// Whether it was ended by this.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Killed {
    /// `false`: it was over already.
    killed: bool,
}

/// How many were ended by this.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct KilledMany {
    killed: usize,
}

/// Opens a session; its set-up goes on while the terminal attaches.
#[utoipa::path(post, path = "/api/v1/sessions", request_body = SessionWish,
    responses((status = 201, body = Created), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(super) async fn create(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Body(wish): Body<SessionWish>,
) -> Result<HttpResponse, Problem> {
    let device = wish.device.clone();
    let caller = req.extensions().get::<Traced>().map(|Traced(place)| *place);
    let trace = Trace::session(caller.as_ref());
    let created = created(&parts, &person, wish, &trace).await;
    if let Err(problem) = &created {
        trace.failed(problem.code);
    }
    audit(
        &req,
        &person,
        "session_create",
        created.as_ref().map_or(device.as_str(), |made| &made.id),
        &created,
    );
    let created = created?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/sessions/{}", created.id)))
        .json(created))
}

async fn created(
    parts: &Parts,
    person: &Person,
    wish: SessionWish,
    trace: &Trace,
) -> Result<Created, Problem> {
    let bad = |text: &str| Problem::new(Code::BAD_REQUEST).saying(text);
    let side = 1..=SIDE_MAX;
    if !side.contains(&wish.cols) || !side.contains(&wish.rows) {
        return Err(bad("This is no size of a terminal. Give 1 to 1000 columns and rows."));
    }
    if wish.login.as_deref().is_some_and(|login| !is_login(login)) {
        return Err(bad(
            "This is no login. Give 1 to 64 characters without blanks that do not begin with a dash.",
        ));
    }
    if wish.command.as_deref().is_some_and(|command| command.is_empty() || command.contains('\0')) {
        return Err(bad("This is no command. Give one without NUL, or none for a shell."));
    }
    let login = allowed_login(parts, person, &wish).await?;
    let new = NewSession {
        device: wish.device,
        login: Some(login),
        size: Size { cols: wish.cols, rows: wish.rows, xpx: 0, ypx: 0 },
        command: wish.command,
        person: person.name.clone(),
        trace: trace.clone(),
    };
    let id = parts.sessions.create(new).await?;
    let _step = trace.step("ticket");
    let ticket = parts.users.ticket(&id, &person.name)?;
    Ok(Created { id: id.into(), ticket })
}

/// As whom, if they may: what was decided for one login is not left to the device to name another.
async fn allowed_login(parts: &Parts, person: &Person, wish: &SessionWish) -> Result<String, Problem> {
    let subject = &person.caller.subject;
    let device = parts.warden.device(subject, &wish.device, None).await?;
    let login = wish.login.clone().unwrap_or(device.login);
    let act = kind_of(wish.command.as_deref());
    let view = parts.warden.view_of(subject, &device.id).await?;
    if view.decide(act, &device.id, Some(&login)).is_allowed() {
        return Ok(login);
    }
    let what = if wish.command.is_some() { "run a command" } else { "open a shell" };
    Err(Problem::new(Code::POLICY)
        .saying(format!("You may not {what} as {login} on this device. Ask an administrator for access.")))
}

/// A ticket to attach again: from another tab, or after the resume token was lost.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/tickets", params(("id" = String, Path)),
    responses((status = 201, body = Ticket), (status = 404, body = ErrorBody), (status = 410, body = ErrorBody)))]
pub(super) async fn ticket(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<SessionId>,
) -> Result<HttpResponse, Problem> {
    let ticket = fresh_ticket(&parts, &person, &id).await;
    audit(&req, &person, "session_ticket", id.as_str(), &ticket);
    Ok(HttpResponse::Created().json(Ticket { ticket: ticket? }))
}

async fn fresh_ticket(parts: &Parts, person: &Person, id: &SessionId) -> Result<String, Problem> {
    match one(parts, id).await? {
        session if session.state == "ended" => Err(Problem::new(Code::GONE)),
        _ => parts.users.ticket(id, &person.name),
    }
}

/// One session.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Session), (status = 404, body = ErrorBody)))]
pub(super) async fn show(parts: Data<Parts>, Id(id): Id<SessionId>) -> Result<Json<Session>, Problem> {
    one(&parts, &id).await.map(Json)
}

/// Where the set-up of a session is traced; an error if there is no such session.
pub(super) async fn traced(parts: &Parts, id: &SessionId) -> Result<Option<Place>, Problem> {
    if let Some(view) = parts.sessions.view(id).await {
        return Ok(view.traced);
    }
    let row = parts.store.session(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))?;
    Ok(row.traced)
}

pub(super) async fn one(parts: &Parts, id: &SessionId) -> Result<Session, Problem> {
    if let Some(view) = parts.sessions.view(id).await {
        return Ok(of_view(view));
    }
    parts.store.session(id).await?.map(of_row).ok_or_else(|| Problem::new(Code::UNKNOWN))
}

/// Ends a session at once, and tells whoever is attached who did it and why.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", params(("id" = String, Path), KillQuery),
    responses((status = 200, body = Killed), (status = 404, body = ErrorBody)))]
pub(super) async fn kill(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Id(id): Id<SessionId>,
    Query(query): Query<KillQuery>,
) -> Result<Json<Killed>, Problem> {
    let outcome = match readable(query.reason.as_deref()) {
        Ok(reason) => parts.sessions.kill(&id, &person.name, reason).await,
        Err(problem) => Err(problem),
    };
    audit(&req, &person, "session_kill", id.as_str(), &outcome);
    let killed = outcome?;
    if killed {
        parts.metrics.killed(KilledBy::Session);
    }
    Ok(Json(Killed { killed }))
}

/// Ends every session of a person, or on a device.
#[utoipa::path(delete, path = "/api/v1/sessions", params(KillManyQuery),
    responses((status = 200, body = KilledMany), (status = 400, body = ErrorBody)))]
pub(super) async fn kill_many(
    req: HttpRequest,
    parts: Data<Parts>,
    person: Person,
    Query(query): Query<KillManyQuery>,
) -> Result<Json<KilledMany>, Problem> {
    let by = match (&query.user, &query.device) {
        (None, None) => {
            let text = "It is not said whose sessions are to be ended. Add ?user= or ?device=.";
            return Err(Problem::new(Code::BAD_REQUEST).saying(text));
        }
        (Some(_), _) => KilledBy::User,
        (None, Some(_)) => KilledBy::Device,
    };
    let reason = readable(query.reason.as_deref())?;
    let theirs = parts.warden.view(&person.caller.subject).await?;
    let mut killed = 0;
    for session in parts.sessions.live().await {
        let of_user = query.user.as_ref().is_none_or(|user| *user == session.person);
        let on_device = query.device.as_ref().is_none_or(|device| *device == session.device);
        // Those that they may not end are passed over, and not told of.
        if !(of_user && on_device && theirs.has(Right::Kill, &(&session).into())) {
            continue;
        }
        let outcome = parts.sessions.kill(&session.id, &person.name, reason).await;
        audit(&req, &person, "session_kill", session.id.as_str(), &outcome);
        if outcome? {
            parts.metrics.killed(by);
            killed += 1;
        }
    }
    Ok(Json(KilledMany { killed }))
}

/// A reason is shown to people: one line of printable text.
fn readable(reason: Option<&str>) -> Result<Option<&str>, Problem> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let bad = reason.is_some_and(|reason| reason.chars().count() > 200 || !reason.chars().all(is_harmless));
    if bad {
        return Err(Problem::new(Code::BAD_REQUEST)
            .saying("This reason cannot be shown. Give at most 200 printable characters."));
    }
    Ok(reason)
}

pub(super) fn of_view(view: SessionView) -> Session {
    Session {
        id: view.id.into(),
        device: view.device.into(),
        device_name: view.device_name,
        login: view.login,
        person: view.person,
        state: view.state.label(),
        started: time(view.started),
        ended: view.ended.map(time),
        ending: view.ending,
        viewers: view.viewers,
        command: view.command,
        kept: match view.keeping {
            Keeping::Unknown | Keeping::Asked => None,
            Keeping::Kept | Keeping::Released => Some(true),
            Keeping::Plain => Some(false),
        },
        steps: view.steps.into_iter().map(|StepTime { step, ms }| StepBody { step, ms }).collect(),
        trace_id: view.traced.map(|place| place.trace_id()),
    }
}

pub(super) fn of_row(row: SessionRow) -> Session {
    Session {
        id: row.id.into(),
        device: row.device.into(),
        device_name: row.device_name,
        login: row.login,
        person: row.person,
        // A row without an end that no actor tells of is the next broker's.
        state: if row.ended.is_some() { "ended" } else { SessionState::Adrift.label() },
        started: time(row.started),
        ended: row.ended.map(time),
        ending: row.ending,
        viewers: 0,
        command: row.command,
        kept: match row.house {
            House::Unknown => None,
            House::Keeper => Some(true),
            House::Plain => Some(false),
        },
        steps: Vec::new(),
        trace_id: row.traced.map(|place| place.trace_id()),
    }
}

/// RFC 3339 with as many digits always, so that the texts sort as the times do.
pub(super) fn time(at: jiff::Timestamp) -> String {
    format!("{at:.6}")
}
