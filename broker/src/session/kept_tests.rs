//! Sessions whose shell is with a keeper, in a simulated world: whatever breaks between the page
//! and the keeper, the shell goes on.

use std::time::Duration;

use moorline_wire::term::frame::{HostControl, LegState};
use moorline_wire::{Code, Exit, SessionId};

use super::{Keeping, SessionState};
use crate::actor::Kind;
use crate::testkit::agent::{Agent, Connected};
use crate::testkit::browser::Browser;
use crate::testkit::{Kit, eventually, stop_clock};

/// A broker with one device that is online and has a keeper.
async fn world() -> (Kit, Agent, Connected) {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    agent.capabilities = vec!["keeper:/opt/moorline/agent".to_owned()];
    let connected = agent.connect(&kit).await.unwrap();
    (kit, agent, connected)
}

async fn live(kit: &Kit, agent: &Agent) -> (SessionId, Browser, String) {
    let id = kit.shell(&agent.id()).await.unwrap();
    let ticket = kit.users.ticket(&id, "anna").unwrap();
    let mut browser = Browser::open(kit, &id, "anna");
    browser.hello(Some(ticket), None).await;
    let resume = attached(&mut browser).await;
    browser.sees("$ ").await;
    (id, browser, resume)
}

/// The token for the next time.
async fn attached(browser: &mut Browser) -> String {
    let control = browser.until(|control| matches!(control, HostControl::Attached { .. })).await;
    let HostControl::Attached { resume, keeper, .. } = control else { unreachable!() };
    assert!(keeper, "the shell is not with a keeper");
    resume
}

/// The page comes again with what it has.
async fn comes_again(kit: &Kit, id: &SessionId, old: Browser, resume: String) -> Browser {
    let mut browser = old.again(kit, id, "anna");
    browser.hello(None, Some(resume)).await;
    browser
}

async fn is(kit: &Kit, id: &SessionId, state: SessionState) {
    while kit.sessions.view(id).await.is_none_or(|view| view.state != state) {
        tokio::task::yield_now().await;
    }
}

fn running(agent: &Agent) -> usize {
    agent.manners.keepers.lock().unwrap().running()
}

fn started(agent: &Agent) -> usize {
    agent.manners.keepers.lock().unwrap().started
}

#[actix::test]
async fn a_shell_is_started_at_the_keeper_and_its_command_names_the_session() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser, _) = live(&kit, &agent).await;
    browser.types("hello").await;
    browser.sees("hello").await;
    let asked = agent.manners.asked.lock().unwrap().clone();
    assert_eq!(asked, [format!("'/opt/moorline/agent' keep --session {id}")]);
    assert_eq!(kit.sessions.view(&id).await.unwrap().keeping, Keeping::Kept);
    kit.settled().await;
}

#[actix::test]
async fn a_panic_in_a_session_costs_its_viewers_a_new_hello_and_nothing_else() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser, resume) = live(&kit, &agent).await;
    browser.types("before").await;
    browser.sees("before").await;
    kit.sessions.panic_in(&id).await.unwrap();
    assert_eq!(browser.refusal().await, Code::INTERRUPTED);
    agent.manners.keepers.lock().unwrap().write(id.as_str(), " meanwhile");
    let mut browser = comes_again(&kit, &id, browser, resume).await;
    attached(&mut browser).await;
    browser.types("after").await;
    browser.sees("$ before meanwhileafter").await;
    assert_eq!(started(&agent), 1);
    assert_eq!(kit.metric("moorline_actor_restarts_total{cause=\"panicked\",kind=\"ssh_session\"}"), 1.0);
    kit.settled().await;
}

#[actix::test]
async fn an_agent_that_starts_anew_finds_its_sessions_taken_up() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser, resume) = live(&kit, &agent).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    is(&kit, &id, SessionState::DeviceAway).await;
    let _connected = agent.connect(&kit).await.unwrap();
    assert_eq!(browser.refusal().await, Code::INTERRUPTED);
    let mut browser = comes_again(&kit, &id, browser, resume).await;
    attached(&mut browser).await;
    browser.types("on").await;
    browser.sees("$ on").await;
    assert_eq!(started(&agent), 1);
    kit.settled().await;
}

#[actix::test]
async fn who_comes_while_the_device_is_away_hears_how_long_the_shell_is_kept_and_then_sees_it() {
    let (kit, mut agent, connected) = world().await;
    let clock = stop_clock();
    let (id, mut browser, resume) = live(&kit, &agent).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    clock.pass(Duration::from_secs(61)).await;
    assert_eq!(browser.refusal().await, Code::INTERRUPTED);
    is(&kit, &id, SessionState::Adrift).await;
    let mut browser = comes_again(&kit, &id, browser, resume).await;
    let away = |control: &HostControl| matches!(control, HostControl::Device { state: LegState::Lost, .. });
    for _ in 0..3 {
        let HostControl::Device { kept_s, .. } = browser.until(away).await else { unreachable!() };
        assert!((86_000..=86_400).contains(&kept_s), "{kept_s}");
        clock.pass(Duration::from_secs(5)).await;
    }
    let _connected = agent.connect(&kit).await.unwrap();
    attached(&mut browser).await;
    browser.sees("$ ").await;
    drop(clock);
    kit.settled().await;
}

#[actix::test]
async fn the_next_broker_takes_sessions_up_when_their_device_comes() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser, resume) = live(&kit, &agent).await;
    browser.types("one").await;
    browser.sees("$ one").await;
    kept_is_written(&kit, &id).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    let next = kit.successor().await;
    is(&next, &id, SessionState::Adrift).await;
    assert_eq!(next.metric("moorline_sessions{state=\"adrift\"}"), 1.0);
    let _connected = agent.connect(&next).await.unwrap();
    is(&next, &id, SessionState::Detached).await;
    let mut browser = comes_again(&next, &id, browser, resume).await;
    attached(&mut browser).await;
    browser.types("two").await;
    browser.sees("$ onetwo").await;
    assert_eq!(started(&agent), 1);
    next.settled().await;
}

#[actix::test]
async fn the_next_broker_takes_a_session_up_when_somebody_wants_to_see_it() {
    let (kit, mut agent, connected) = world().await;
    let (id, browser, resume) = live(&kit, &agent).await;
    kept_is_written(&kit, &id).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    let next = kit.successor().await;
    let mut browser = comes_again(&next, &id, browser, resume).await;
    let away = |control: &HostControl| matches!(control, HostControl::Device { state: LegState::Lost, .. });
    browser.until(away).await;
    let _connected = agent.connect(&next).await.unwrap();
    attached(&mut browser).await;
    next.settled().await;
}

#[actix::test]
async fn a_session_that_was_being_set_up_when_the_broker_died_gets_one_shell() {
    let (kit, mut agent, connected) = world().await;
    agent.manners.ponders_login.store(true, std::sync::atomic::Ordering::SeqCst);
    let id = kit.shell(&agent.id()).await.unwrap();
    drop(connected);
    agent.manners.ponders_login.store(false, std::sync::atomic::Ordering::SeqCst);
    (agent.link, agent.resume) = (None, None);
    let next = kit.successor().await;
    let _connected = agent.connect(&next).await.unwrap();
    let ticket = next.users.ticket(&id, "anna").unwrap();
    let mut browser = Browser::open(&next, &id, "anna");
    browser.hello(Some(ticket), None).await;
    attached(&mut browser).await;
    browser.sees("$ ").await;
    assert_eq!(started(&agent), 1);
    next.settled().await;
}

#[actix::test]
async fn a_shell_that_is_gone_from_its_device_is_gone_and_not_started_again() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser, resume) = live(&kit, &agent).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    agent.manners.keepers.lock().unwrap().reboot();
    let _connected = agent.connect(&kit).await.unwrap();
    assert_eq!(browser.refusal().await, Code::INTERRUPTED);
    let mut browser = comes_again(&kit, &id, browser, resume).await;
    assert_eq!(browser.ending().await.code, Code::GONE);
    assert_eq!(started(&agent), 1);
    kit.settled().await;
}

#[actix::test]
async fn an_exit_reaches_everybody_with_the_rest_of_the_output_and_the_keeper_goes() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser, _) = live(&kit, &agent).await;
    browser.types("exit").await;
    assert_eq!(browser.ending().await.exit, Some(Exit::Status(3)));
    while kit.store.session(&id).await.unwrap().unwrap().ending.is_none() {
        tokio::task::yield_now().await;
    }
    eventually(|| agent.manners.keepers.lock().unwrap().is_empty()).await;
    kit.settled().await;
}

#[actix::test]
async fn a_kill_while_the_device_is_away_is_told_at_once_and_carried_out_when_it_returns() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser, _) = live(&kit, &agent).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    is(&kit, &id, SessionState::DeviceAway).await;
    assert!(kit.sessions.kill(&id, "boss", Some("maintenance")).await.unwrap());
    assert_eq!(browser.ending().await.text, "boss ended this session: maintenance");
    assert_eq!(running(&agent), 1);
    let _connected = agent.connect(&kit).await.unwrap();
    eventually(|| running(&agent) == 0).await;
    released(&kit, &id).await;
    kit.settled().await;
}

#[actix::test]
async fn a_kill_that_the_broker_did_not_live_to_carry_out_is_carried_out_by_the_next() {
    let (kit, mut agent, connected) = world().await;
    let (id, _browser, _) = live(&kit, &agent).await;
    kept_is_written(&kit, &id).await;
    drop(connected);
    (agent.link, agent.resume) = (None, None);
    let next = kit.successor().await;
    assert!(next.sessions.kill(&id, "boss", None).await.unwrap());
    assert!(!next.sessions.kill(&id, "boss", None).await.unwrap(), "killed twice");
    next.settled().await;
    let last = next.successor().await;
    let _connected = agent.connect(&last).await.unwrap();
    eventually(|| running(&agent) == 0).await;
    released(&last, &id).await;
}

#[actix::test]
async fn a_session_that_another_broker_took_is_left_to_it() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser, _) = live(&kit, &agent).await;
    agent.manners.keepers.lock().unwrap().steal(id.as_str(), u64::MAX);
    browser.types("x").await;
    assert_eq!(browser.refusal().await, Code::INTERRUPTED);
    is(&kit, &id, SessionState::Adrift).await;
    assert_eq!(running(&agent), 1);
    kit.settled().await;
}

#[actix::test]
async fn a_drain_sends_everybody_away_to_come_again_and_ends_no_kept_session() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser, _) = live(&kit, &agent).await;
    kit.sessions.drain().await;
    assert_eq!(browser.refusal().await, Code::GOING_AWAY);
    kit.actors(Kind::SshSession, 0).await;
    assert_eq!(kit.store.session(&id).await.unwrap().unwrap().ending, None);
    assert_eq!(running(&agent), 1);
}

#[actix::test]
async fn a_session_that_fails_again_and_again_is_given_up_and_its_shell_ended() {
    let (kit, agent, _connected) = world().await;
    let (id, _browser, _) = live(&kit, &agent).await;
    for _ in 0..6 {
        let awake = || kit.registry.count(Kind::SshSession) == 1;
        eventually(awake).await;
        let _ = kit.sessions.panic_in(&id).await;
        kit.actors(Kind::SshSession, 0).await;
    }
    while kit.store.session(&id).await.unwrap().unwrap().ending.is_none() {
        tokio::task::yield_now().await;
    }
    let ending = kit.store.session(&id).await.unwrap().unwrap().ending.unwrap();
    assert_eq!(ending.code, Code::GAVE_UP);
    eventually(|| running(&agent) == 0).await;
    released(&kit, &id).await;
    kit.settled().await;
}

async fn kept_is_written(kit: &Kit, id: &SessionId) {
    while kit.store.session(id).await.unwrap().unwrap().house != crate::store::House::Keeper {
        tokio::task::yield_now().await;
    }
}

/// The store knows that the device holds nothing of it.
async fn released(kit: &Kit, id: &SessionId) {
    while kit.store.unreleased(10).await.unwrap().iter().any(|row| row.id == *id) {
        tokio::task::yield_now().await;
    }
}
