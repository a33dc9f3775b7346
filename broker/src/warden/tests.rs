//! What ends when it is not allowed any more: sessions and terminals of real actors.

use std::time::Duration;

use moorline_wire::Code;
use moorline_wire::term::frame::{HostControl, ViewerControl, ViewerFrame, ViewerRole};

use super::*;
use crate::id::{GrantId, LoginId};
use crate::identity::new_person;
use crate::store::{GrantRow, LoginRow, Rests, Way};
use crate::testkit::Kit;
use crate::testkit::agent::{Agent, Connected};
use crate::testkit::browser::Browser;
use crate::token::{Hashed, Token};
use crate::user::Visitor;

struct World {
    kit: Kit,
    agent: Agent,
    _connected: Connected,
    grant: GrantId,
}

impl World {
    /// A device of the lab, where `anna` may have shells and `walt` may watch.
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let kit = Kit::with(change).await;
        let mut agent = Agent::new();
        let connected = agent.connect(&kit).await.unwrap();
        kit.store.tag(&agent.id(), &["lab".parse().unwrap()]).await.unwrap();
        person(&kit, "anna", Role::Operator).await;
        person(&kit, "walt", Role::Watcher).await;
        let grant = grant(&kit, "person:anna", "shell").await;
        grant_watch(&kit).await;
        Self { kit, agent, _connected: connected, grant }
    }

    async fn person(&self, name: &str) -> PersonRow {
        self.kit.store.person_named(name).await.unwrap().unwrap()
    }

    /// The terminal of somebody with a login of their own, attached.
    async fn attached(&self, session: &SessionId, name: &str) -> (Browser, LoginId) {
        let (pass, login) = self.login(name).await;
        let standing = self.kit.warden.standing(&pass, session, Use::Looks).await.unwrap();
        let visitor = Visitor {
            person: name.to_owned(),
            peer: None,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            request_id: "r-1".into(),
            pass,
            standing,
            traced: None,
        };
        let mut browser = Browser::visit(&self.kit, session, visitor);
        browser.set_key(name);
        browser.hello(Some(self.kit.users.ticket(session, name).unwrap()), None).await;
        (browser, login)
    }

    async fn login(&self, name: &str) -> (Pass, LoginId) {
        let (secret, now) = (Token::fresh().unwrap(), wall());
        let login = LoginRow {
            id: LoginId::fresh().unwrap(),
            person: self.person(name).await.id,
            created: now,
            seen: now,
            address: String::new(),
            agent: String::new(),
            way: Way::Password,
        };
        let rests = Rests::Password { hash: None, second_factor: false };
        assert!(self.kit.store.add_login(secret.hashed(), &login, rests).await.unwrap());
        (Pass::Login(login.id.clone(), secret.hashed()), login.id)
    }

    async fn shell(&self) -> SessionId {
        self.kit.shell(&self.agent.id()).await.unwrap()
    }
}

async fn person(kit: &Kit, name: &str, role: Role) {
    kit.store.add_person(&new_person(name, vec![role], Vec::new()).unwrap()).await.unwrap();
}

async fn grant(kit: &Kit, who: &str, act: &str) -> GrantId {
    let grant = Grant {
        id: GrantId::fresh().unwrap(),
        who: who.parse().unwrap(),
        acts: vec![act.parse().unwrap()],
        devices: "lab".parse().unwrap(),
        logins: "root".parse().unwrap(),
        until: None,
    };
    let row = GrantRow { grant, created: wall(), created_by: "test".into() };
    kit.store.add_grant(&row).await.unwrap();
    row.grant.id
}

async fn grant_watch(kit: &Kit) {
    grant(kit, "person:walt", "watch").await;
}

#[actix::test]
async fn a_session_is_ended_when_its_owner_could_not_open_it_any_more() {
    for how in ["grant", "role", "disabled", "removed", "tags"] {
        let world = World::new().await;
        let (kit, session) = (&world.kit, world.shell().await);
        kit.warden.look().await.unwrap();
        assert_eq!(kit.sessions.ending(&session).await.unwrap(), None, "{how}");
        let anna = world.person("anna").await;
        match how {
            "grant" => assert!(kit.store.remove_grant(&world.grant).await.unwrap()),
            "role" => {
                kit.store.change_person(&PersonRow { roles: vec![Role::Watcher], ..anna }).await.unwrap();
            }
            "disabled" => {
                kit.store.change_person(&PersonRow { state: PersonState::Disabled, ..anna }).await.unwrap();
            }
            "removed" => assert!(kit.store.remove_person(&anna.id).await.unwrap()),
            _ => kit.store.tag(&world.agent.id(), &["yard".parse().unwrap()]).await.unwrap(),
        }
        kit.warden.look().await.unwrap();
        let ending = kit.sessions.ending(&session).await.unwrap().unwrap();
        assert_eq!(ending.code, Code::KILLED, "{how}");
        assert_eq!(ending.text, "moorline ended this session: the access that allowed it was taken away.");
        kit.audit.flush().await.unwrap();
        let kept =
            kit.store.audit(crate::store::AuditFilter { count_max: 9, ..Default::default() }).await.unwrap();
        // Before that, its device was enrolled.
        let ended: Vec<_> = kept.iter().filter(|row| row.what == "session_end").collect();
        assert_eq!(ended.iter().map(|row| row.target.as_str()).collect::<Vec<_>>(), [session.as_str()]);
        kit.settled().await;
    }
}

#[actix::test]
async fn a_terminal_is_closed_as_soon_as_its_login_ends_and_the_shell_stays() {
    let world = World::new().await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut browser, login) = world.attached(&session, "anna").await;
    browser.sees("$ ").await;
    let (mut other, _) = world.attached(&session, "walt").await;
    other.until(|control| matches!(control, HostControl::Attached { .. })).await;
    assert!(kit.store.end_login(&world.person("anna").await.id, &login).await.unwrap());
    kit.identity.changed();
    assert_eq!(browser.refusal().await, Code::LOGIN_EXPIRED);
    assert_eq!(kit.sessions.ending(&session).await.unwrap(), None);
    // Of others nothing ends; and a new login is back in the same shell.
    let (mut again, _) = world.attached(&session, "anna").await;
    again.types("still here").await;
    again.sees("still here").await;
    drop((again, other));
    kit.settled().await;
}

#[actix::test]
async fn what_runs_out_by_itself_is_noticed_within_its_time() {
    let world = World::with(|config| config.login.check = Duration::from_millis(50)).await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut browser, login) = world.attached(&session, "walt").await;
    browser.until(|control| matches!(control, HostControl::Attached { .. })).await;
    // Nobody says that something was changed.
    assert!(kit.store.end_login(&world.person("walt").await.id, &login).await.unwrap());
    assert_eq!(browser.refusal().await, Code::LOGIN_EXPIRED);
    kit.settled().await;
}

#[actix::test]
async fn a_terminal_is_closed_when_what_allowed_to_look_is_taken_back() {
    let world = World::new().await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut browser, _) = world.attached(&session, "walt").await;
    browser.until(|control| matches!(control, HostControl::Attached { .. })).await;
    for row in kit.store.grants().await.unwrap() {
        if row.grant.who.to_string() == "person:walt" {
            kit.store.remove_grant(&row.grant.id).await.unwrap();
        }
    }
    kit.identity.changed();
    assert_eq!(browser.refusal().await, Code::UNKNOWN, "it is as if there were no such session");
    kit.settled().await;
}

#[actix::test]
async fn whoever_only_watches_cannot_type_take_over_resize_or_end() {
    let world = World::new().await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut anna, _) = world.attached(&session, "anna").await;
    anna.sees("$ ").await;
    // The hello asks for what it may not have: it is let in as what it may be.
    let (mut walt, _) = world.attached(&session, "walt").await;
    let attached = walt.until(|control| matches!(control, HostControl::Attached { .. })).await;
    let HostControl::Attached { role, .. } = attached else { panic!("{attached:?}") };
    assert_eq!(role, ViewerRole::Watcher);
    walt.say(ViewerFrame::Control(ViewerControl::TakeControl)).await;
    let is_told = |control: &HostControl| matches!(control, HostControl::Notice { text } if text.starts_with("You may look"));
    walt.until(is_told).await;
    walt.say(ViewerFrame::Control(ViewerControl::Kill { reason: None })).await;
    walt.until(is_told).await;
    walt.types("intruder").await;
    walt.until(|control| matches!(control, HostControl::Notice { text } if text.contains("not sent"))).await;
    anna.types("mine alone").await;
    anna.sees("mine alone").await;
    assert!(!String::from_utf8_lossy(&anna.output).contains("intruder"));
    assert_eq!(kit.sessions.ending(&session).await.unwrap(), None);
    drop((anna, walt));
    kit.settled().await;
}

#[actix::test]
async fn whoever_may_less_than_before_comes_back_as_what_they_are_now() {
    let world = World::new().await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut anna, _) = world.attached(&session, "anna").await;
    anna.sees("$ ").await;
    grant(kit, "person:anna", "watch").await;
    kit.identity.changed();
    // More of what they had is no reason to disturb them.
    anna.types("undisturbed").await;
    anna.sees("undisturbed").await;
    kit.store.remove_grant(&world.grant).await.unwrap();
    kit.identity.changed();
    assert_eq!(anna.refusal().await, Code::INTERRUPTED);
    let (mut back, _) = world.attached(&session, "anna").await;
    let attached = back.until(|control| matches!(control, HostControl::Attached { .. })).await;
    assert!(matches!(attached, HostControl::Attached { role: ViewerRole::Watcher, .. }));
    drop(back);
    kit.settled().await;
}

#[actix::test]
async fn a_store_that_does_not_answer_takes_nothing_away() {
    let world = World::new().await;
    let (kit, session) = (&world.kit, world.shell().await);
    let (mut anna, _) = world.attached(&session, "anna").await;
    anna.sees("$ ").await;
    kit.store.close().await;
    kit.identity.changed();
    assert!(kit.warden.look().await.is_err());
    anna.types("still here").await;
    anna.sees("still here").await;
    assert!(
        kit.identity.of_cookie("anything").await.is_err_and(|problem| problem.code == Code::STORE_FAILED)
    );
}

#[actix::test]
async fn an_unknown_cookie_is_nobodys() {
    let world = World::new().await;
    let pass = Pass::Login(LoginId::fresh().unwrap(), Hashed::of("invented"));
    let session = world.shell().await;
    let refused = world.kit.warden.standing(&pass, &session, Use::Works).await.unwrap_err();
    assert_eq!(refused.code, Code::LOGIN_EXPIRED);
    world.kit.settled().await;
}
