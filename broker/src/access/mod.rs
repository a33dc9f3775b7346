//! Who may do what: decided here alone, by pure functions without IO and clock.
//!
//! Nothing is allowed unless something allows it. A *role* is the most that a person can be given: a
//! watcher looks, an operator works, an administrator may do everything without a grant. A *grant* gives
//! one person, the members of a group or everybody of a role some acts on some devices as some logins. A
//! *scope* takes from an API token what its owner may do and the token may not.
//!
//! - [`decide`]: one act on one device
//! - [`on_session`]: what somebody may do with a session that is already there
//! - [`words`]: roles, acts and scopes by their names
//! - [`selector`]: which devices and which logins a grant is about

use moorline_wire::DeviceId;

use crate::id::GrantId;

mod selector;
#[cfg(test)]
mod tests;
mod words;

pub use selector::{Logins, Selector, Tag, is_login};
pub use words::{Act, Role, Scope, Who, is_name};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The name of the account; it is never given to another one.
    pub name: String,
    /// The most that they can be given.
    pub roles: Vec<Role>,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// What their token is for; `None`: they came without one, and all that is theirs counts.
    pub scopes: Option<Vec<Scope>>,
}

/// What somebody was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// To whom.
    pub who: Who,
    /// What they may do.
    pub acts: Vec<Act>,
    /// On which devices.
    pub devices: Selector,
    /// As which logins; acts that concern no login do not ask.
    pub logins: Logins,
    /// From when on it counts no more.
    pub until: Option<jiff::Timestamp>,
}

/// A device, as a grant sees it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Which device.
    pub device: &'a DeviceId,
    /// Its tags; none, if it is not known any more.
    pub tags: &'a [Tag],
    /// As whom; `None`: the act concerns no login.
    pub login: Option<&'a str>,
}

/// A session, as an act on it sees it.
#[derive(Debug, Clone, Copy)]
pub struct OfSession<'a> {
    /// Where it runs, and as whom.
    pub target: Target<'a>,
    /// Who opened it.
    pub owner: &'a str,
    /// What allowed to open it: a shell, or a command.
    pub kind: Act,
}

/// What somebody wants with a session that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To know of it.
    See,
    /// To look at its terminal.
    Watch,
    /// To type into it.
    Drive,
    /// To end it.
    Kill,
}

/// Whether something is allowed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed by this.
    Allowed(By),
    /// Not allowed: this is missing.
    Denied(Missing),
}

/// What allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The role of an administrator.
    Admin,
    /// It is their own.
    Owner,
    /// The grant of that id.
    Grant(GrantId),
}

/// What was missing. The further down, the more of it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// The person has no role.
    Role,
    /// A role that can be given this.
    HigherRole,
    /// The token is not for this.
    Scope,
    /// Any grant for this.
    Grant,
    /// A grant that is not over.
    Unexpired,
    /// A grant for this device.
    Device,
    /// A grant for this login on this device.
    Login,
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The reason in a sentence.
    pub fn reason(&self) -> String {
        let said = match self {
            Self::Allowed(By::Admin) => "An administrator may do everything.",
            Self::Allowed(By::Owner) => "It is their own.",
            Self::Allowed(By::Grant(id)) => return format!("The grant {id} allows it."),
            Self::Denied(Missing::Role) => "The person has no role.",
            Self::Denied(Missing::HigherRole) => "The person's role cannot be given this.",
            Self::Denied(Missing::Scope) => "The token is not for this.",
            Self::Denied(Missing::Grant) => "No grant gives them this.",
            Self::Denied(Missing::Unexpired) => "The grant that gave them this is over.",
            Self::Denied(Missing::Device) => "Their grants for this are for other devices.",
            Self::Denied(Missing::Login) => "Their grants for this device are for other logins.",
        };
        said.to_owned()
    }

    /// This one if it allows, or the other one.
    fn or(self, other: impl FnOnce() -> Decision) -> Decision {
        match self {
            Self::Allowed(_) => self,
            Self::Denied(missing) => match other() {
                Self::Denied(further) => Self::Denied(missing.max(further)),
                allowed => allowed,
            },
        }
    }
}

impl Subject {
    /// Whether they may do what only administrators do.
    pub fn administers(&self) -> bool {
        let in_scope = self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&Scope::Admin));
        in_scope && self.roles.contains(&Role::Admin)
    }

    /// What keeps them from this act before any grant is asked.
    fn held_back(&self, act: Act) -> Option<Missing> {
        let in_scope = |scopes: &Vec<Scope>| scopes.contains(&Scope::Act(act));
        if self.roles.is_empty() {
            return Some(Missing::Role);
        }
        if !self.roles.iter().any(|role| role.can_be_given(act)) {
            return Some(Missing::HigherRole);
        }
        (!self.scopes.as_ref().is_none_or(in_scope)).then_some(Missing::Scope)
    }

    fn is_meant(&self, who: &Who) -> bool {
        match who {
            Who::Person(name) => *name == self.name,
            Who::Group(group) => self.groups.contains(group),
            Who::Role(role) => self.roles.contains(role),
        }
    }
}

/// Whether `subject` may do `act` there, and which grant says so or what is missing.
pub fn decide(
    now: jiff::Timestamp,
    subject: &Subject,
    act: Act,
    target: Target<'_>,
    grants: &[Grant],
) -> Decision {
    if let Some(missing) = subject.held_back(act) {
        return Decision::Denied(missing);
    }
    if subject.roles.contains(&Role::Admin) {
        return Decision::Allowed(By::Admin);
    }
    let theirs = grants.iter().filter(|grant| grant.acts.contains(&act) && subject.is_meant(&grant.who));
    let mut nearest = Missing::Grant;
    for grant in theirs {
        match falls_short(now, grant, target) {
            None => return Decision::Allowed(By::Grant(grant.id.clone())),
            Some(missing) => nearest = nearest.max(missing),
        }
    }
    Decision::Denied(nearest)
}

/// What a grant lacks to be of use there.
fn falls_short(now: jiff::Timestamp, grant: &Grant, target: Target<'_>) -> Option<Missing> {
    if grant.until.is_some_and(|until| until <= now) {
        return Some(Missing::Unexpired);
    }
    if !grant.devices.matches(target.device, target.tags) {
        return Some(Missing::Device);
    }
    target.login.is_some_and(|login| !grant.logins.contain(login)).then_some(Missing::Login)
}

/// Whether `subject` may know that there is this device: who may do anything with it may.
pub fn sees_device(now: jiff::Timestamp, subject: &Subject, target: Target<'_>, grants: &[Grant]) -> bool {
    let target = Target { login: None, ..target };
    // A token sees what its owner sees: what it is for is asked when it does something.
    let owner = Subject { scopes: None, ..subject.clone() };
    Act::ALL.iter().any(|act| decide(now, &owner, *act, target, grants).is_allowed())
}

/// Whether `subject` has `right` to a session. Its owner types into it as long as they could open it.
pub fn on_session(
    now: jiff::Timestamp,
    subject: &Subject,
    right: Right,
    session: OfSession<'_>,
    grants: &[Grant],
) -> Decision {
    let may = |subject: &Subject, act| decide(now, subject, act, session.target, grants);
    let owns = session.owner == subject.name;
    match right {
        Right::See => {
            let owner = Subject { scopes: None, ..subject.clone() };
            if owns && !subject.roles.is_empty() {
                return Decision::Allowed(By::Owner);
            }
            may(&owner, Act::Watch).or(|| may(&owner, Act::Kill)).or(|| may(&owner, Act::Manage))
        }
        Right::Watch => {
            on_session(now, subject, Right::Drive, session, grants).or(|| may(subject, Act::Watch))
        }
        Right::Drive => match may(subject, session.kind) {
            // Another's shell is watched, not used; an administrator may take it over.
            Decision::Allowed(By::Grant(_)) if !owns => Decision::Denied(Missing::Grant),
            decided => decided,
        },
        Right::Kill => {
            let in_scope = subject.held_back(Act::Kill) != Some(Missing::Scope);
            if owns && in_scope && !subject.roles.is_empty() {
                return Decision::Allowed(By::Owner);
            }
            may(subject, Act::Kill)
        }
    }
}
