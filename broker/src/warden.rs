//! The warden: applies what [`crate::access`] decides to the devices and sessions that are there, and ends
//! what is not allowed any more.
//!
//! - [`Warden::view`] and [`Warden::view_of`]: what one person may, for lists and for one device
//! - [`Warden::standing`]: what somebody may do in a session's terminal, asked again as long as they are there
//! - [`Warden::watch_over`]: ends the sessions of those who could not open them any more
//!
//! What is not to be seen is `unknown`, as what is not there.

use std::collections::HashMap;
use std::sync::Arc;

use moorline_wire::{Code, DeviceId, SessionId};
use tokio::sync::watch;

use crate::access::{
    self, Act, Decision, Grant, OfSession, Right, Role, Subject, Tag, Target, decide, on_session,
};
use crate::audit::Auditor;
use crate::clock::{self, wall};
use crate::config::Config;
use crate::identity::{DEMO, Identity, Pass, Use};
use crate::metrics::Wait;
use crate::problem::Problem;
use crate::session::{SessionView, Sessions};
use crate::store::{AuditRow, DeviceRow, PersonRow, PersonState, SessionRow, Store};

/// What the audit calls the broker itself.
pub const SELF: &str = "moorline";

/// Why a session is ended that could not be opened any more.
const TAKEN_AWAY: &str = "the access that allowed it was taken away.";

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Warden {
    config: Arc<Config>,
    store: Store,
    identity: Identity,
    sessions: Sessions,
    audit: Auditor,
}

/// What somebody may do in a session's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Type, and not only look.
    pub drives: bool,
    /// End it.
    pub kills: bool,
}

/// Who opened a session, where, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    owner: String,
    device: DeviceId,
    login: String,
    kind: Act,
}

impl From<&SessionView> for Facts {
    fn from(view: &SessionView) -> Self {
        Self {
            owner: view.person.clone(),
            device: view.device.clone(),
            login: view.login.clone(),
            kind: kind_of(view.command.as_deref()),
        }
    }
}

impl From<&SessionRow> for Facts {
    fn from(row: &SessionRow) -> Self {
        Self {
            owner: row.person.clone(),
            device: row.device.clone(),
            login: row.login.clone(),
            kind: kind_of(row.command.as_deref()),
        }
    }
}

/// What is to be allowed for a session: a shell, or a command.
pub fn kind_of(command: Option<&str>) -> Act {
    if command.is_some() { Act::Exec } else { Act::Shell }
}

/// What one person may do, at one moment.
#[derive(Debug)]
pub struct View {
    now: jiff::Timestamp,
    subject: Subject,
    grants: Vec<Grant>,
    tags: HashMap<DeviceId, Vec<Tag>>,
}

impl View {
    /// Whether they may do this on a device; as whom, where it matters.
    pub fn decide(&self, act: Act, device: &DeviceId, login: Option<&str>) -> Decision {
        decide(self.now, &self.subject, act, self.target(device, login), &self.grants)
    }

    /// Whether they may know that there is this device.
    pub fn sees(&self, device: &DeviceId) -> bool {
        access::sees_device(self.now, &self.subject, self.target(device, None), &self.grants)
    }

    /// Whether they have this right to that session.
    pub fn has(&self, right: Right, facts: &Facts) -> bool {
        let target = self.target(&facts.device, Some(&facts.login));
        let session = OfSession { target, owner: &facts.owner, kind: facts.kind };
        on_session(self.now, &self.subject, right, session, &self.grants).is_allowed()
    }

    fn target<'a>(&'a self, device: &'a DeviceId, login: Option<&'a str>) -> Target<'a> {
        Target { device, tags: self.tags.get(device).map_or(&[], Vec::as_slice), login }
    }
}

impl Warden {
    /// Over these parts.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        identity: Identity,
        sessions: Sessions,
        audit: Auditor,
    ) -> Self {
        Self { config, store, identity, sessions, audit }
    }

    /// What they may, on every device.
    pub async fn view(&self, subject: &Subject) -> Result<View, Problem> {
        let grants = self.grants(subject).await?;
        let tags = if grants.is_empty() {
            HashMap::new()
        } else {
            self.store.devices().await?.into_iter().map(|device| (device.id, device.tags)).collect()
        };
        Ok(View { now: wall(), subject: subject.clone(), grants, tags })
    }

    /// What they may, on this device.
    pub async fn view_of(&self, subject: &Subject, device: &DeviceId) -> Result<View, Problem> {
        let grants = self.grants(subject).await?;
        let row = if grants.is_empty() { None } else { self.store.device(device).await? };
        let tags = row.into_iter().map(|device| (device.id, device.tags)).collect();
        Ok(View { now: wall(), subject: subject.clone(), grants, tags })
    }

    /// Grants that could matter: an administrator needs none.
    async fn grants(&self, subject: &Subject) -> Result<Vec<Grant>, Problem> {
        if subject.roles.contains(&Role::Admin) {
            return Ok(Vec::new());
        }
        Ok(self.store.grants().await?.into_iter().map(|row| row.grant).collect())
    }

    /// The device, if they may know of it; `Err(POLICY)` if they do and may not do this with it.
    pub async fn device(
        &self,
        subject: &Subject,
        id: &DeviceId,
        act: Option<Act>,
    ) -> Result<DeviceRow, Problem> {
        let view = self.view_of(subject, id).await?;
        let row = self.store.device(id).await?.filter(|_| view.sees(id));
        let row = row.ok_or_else(|| Problem::new(Code::UNKNOWN_DEVICE))?;
        let allowed = act.is_none_or(|act| view.decide(act, id, None).is_allowed());
        if allowed { Ok(row) } else { Err(Problem::new(Code::POLICY)) }
    }

    /// Whether they have this right to that session; one that they may not see is not there.
    pub async fn session(&self, subject: &Subject, id: &SessionId, right: Right) -> Result<(), Problem> {
        let facts = self.facts(id).await?;
        let view = self.view_of(subject, &facts.device).await?;
        if !view.has(Right::See, &facts) {
            return Err(Problem::new(Code::UNKNOWN));
        }
        if view.has(right, &facts) { Ok(()) } else { Err(Problem::new(Code::POLICY)) }
    }

    /// What somebody may do now in the terminal of a session, with what they came with.
    pub async fn standing(&self, pass: &Pass, id: &SessionId, how: Use) -> Result<Standing, Problem> {
        if *pass == Pass::Demo {
            return Ok(Standing { drives: true, kills: true });
        }
        let subject = self.identity.still(pass, how).await?.subject;
        let facts = self.facts(id).await?;
        let view = self.view_of(&subject, &facts.device).await?;
        if !view.has(Right::Watch, &facts) {
            let seen = view.has(Right::See, &facts);
            return Err(Problem::new(if seen { Code::POLICY } else { Code::UNKNOWN }));
        }
        Ok(Standing { drives: view.has(Right::Drive, &facts), kills: view.has(Right::Kill, &facts) })
    }

    /// Whether what somebody came with is still an administrator's. LOGIN_EXPIRED: it is nobody's any more.
    pub async fn administers(&self, pass: &Pass) -> Result<bool, Problem> {
        Ok(self.identity.still(pass, Use::Looks).await?.subject.administers())
    }

    async fn facts(&self, id: &SessionId) -> Result<Facts, Problem> {
        if let Some(view) = self.sessions.view(id).await {
            return Ok((&view).into());
        }
        let row = self.store.session(id).await?.ok_or_else(|| Problem::new(Code::UNKNOWN))?;
        Ok((&row).into())
    }

    /// Told when it is time to look again: something was changed, or `login.check` is over.
    pub async fn time_to_look(&self, changes: &mut watch::Receiver<u64>) {
        // Late is as good as changed: both are a reason to look. A sender that is gone lets the time pass.
        let changed = async {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = clock::within(self.config.login.check, Wait::LoginCheck, changed).await;
    }

    /// See [`Identity::changes`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.identity.changes()
    }

    /// Ends what is not allowed any more, for as long as the broker runs. In demo mode everything is.
    pub async fn watch_over(self) {
        let mut changes = self.changes();
        loop {
            // A store that does not answer takes nothing away from anybody; it has told the log.
            let _ = self.look().await;
            self.time_to_look(&mut changes).await;
        }
    }

    /// Looks once.
    pub async fn look(&self) -> Result<(), Problem> {
        if !self.config.demo {
            self.identity.forget_expired().await?;
        }
        let mut sessions = self.sessions.live().await;
        sessions.retain(|session| session.person != DEMO || !self.config.demo);
        if sessions.is_empty() {
            return Ok(());
        }
        let people: HashMap<String, PersonRow> =
            self.store.people().await?.into_iter().map(|person| (person.name.clone(), person)).collect();
        let grants: Vec<Grant> = self.store.grants().await?.into_iter().map(|row| row.grant).collect();
        let tags = self.tags(&sessions).await?;
        for session in &sessions {
            let subject = people.get(&session.person).map(subject_of);
            let target = Target {
                device: &session.device,
                tags: tags.get(&session.device).map_or(&[], Vec::as_slice),
                login: Some(&session.login),
            };
            let kind = kind_of(session.command.as_deref());
            let allowed =
                subject.is_some_and(|subject| decide(wall(), &subject, kind, target, &grants).is_allowed());
            if !allowed {
                self.end(session).await;
            }
        }
        Ok(())
    }

    /// Those of the devices of the sessions: of a large fleet few have one.
    async fn tags(&self, sessions: &[SessionView]) -> Result<HashMap<DeviceId, Vec<Tag>>, Problem> {
        let mut tags = HashMap::new();
        for SessionView { device, .. } in sessions {
            if !tags.contains_key(device) {
                let row = self.store.device(device).await?;
                tags.insert(device.clone(), row.map(|row| row.tags).unwrap_or_default());
            }
        }
        Ok(tags)
    }

    async fn end(&self, session: &SessionView) {
        let outcome = self.sessions.kill(&session.id, SELF, Some(TAKEN_AWAY)).await;
        let outcome = outcome.map_or_else(|problem| problem.code.name(), |_| "done");
        self.audit.record(AuditRow {
            seq: 0,
            at: wall(),
            who: SELF.to_owned(),
            what: "session_end".to_owned(),
            target: session.id.to_string(),
            address: String::new(),
            outcome: outcome.to_owned(),
            request_id: String::new(),
        });
    }
}

/// Who somebody is for [`crate::access`], without anything that they came with; disabled, they have no role.
pub fn subject_of(person: &PersonRow) -> Subject {
    let roles = if person.state == PersonState::Active { person.roles.clone() } else { Vec::new() };
    Subject { name: person.name.clone(), roles, groups: person.groups.clone(), scopes: None }
}

#[cfg(test)]
mod tests;
