//! Browsers of all kinds against a real session.

use std::time::Duration;

use moorline_wire::term::frame::{HostControl, ViewerControl, ViewerFrame};
use moorline_wire::{Code, SessionId};

use super::Users;
use crate::actor::Kind;
use crate::socket::Incoming;
use crate::testkit::agent::{Agent, Connected};
use crate::testkit::browser::Browser;
use crate::testkit::{Kit, eventually, stop_clock};

async fn world() -> (Kit, Agent, Connected, SessionId) {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    let id = kit.shell(&agent.id()).await.unwrap();
    (kit, agent, connected, id)
}

fn resume_of(attached: &HostControl) -> String {
    match attached {
        HostControl::Attached { resume, .. } => resume.clone(),
        other => panic!("{other:?}"),
    }
}

/// The same tab on a new socket.
async fn come_back(kit: &Kit, session: &SessionId, old: Browser, resume: &str) -> Browser {
    let mut browser = Browser::open(kit, session, "anna");
    (browser.have, browser.in_next) = (old.have, old.in_next);
    drop(old);
    browser.hello(None, Some(resume.to_owned())).await;
    browser
}

#[actix::test]
async fn who_says_no_hello_is_closed_after_5_s() {
    let (kit, _agent, _connected, session) = world().await;
    let mut silent = Browser::open(&kit, &session, "anna");
    let clock = stop_clock();
    clock.pass(Duration::from_secs(6)).await;
    assert_eq!(silent.refusal().await, Code::HELLO_TIMEOUT);
    drop(clock);
    assert_eq!(kit.metric("moorline_timeouts_total{what=\"hello\"}"), 1.0);
    kit.actors(Kind::UserConnection, 0).await;
    kit.settled().await;
}

#[actix::test]
async fn a_ticket_works_once_and_for_30_s_and_for_one_person_and_session() {
    let (kit, agent, _connected, session) = world().await;
    let other = kit.shell(&agent.id()).await.unwrap();
    let ticket = kit.users.ticket(&session, "anna").unwrap();
    let mut first = Browser::open(&kit, &session, "anna");
    first.hello(Some(ticket.clone()), None).await;
    first.sees("$ ").await;
    // Used before; another person's; another session's; never given out.
    let attempts = [
        (session.clone(), "anna", ticket),
        (session.clone(), "eve", kit.users.ticket(&session, "anna").unwrap()),
        (other, "anna", kit.users.ticket(&session, "anna").unwrap()),
        (session.clone(), "anna", "invented".to_owned()),
    ];
    for (session, person, ticket) in attempts {
        let mut thief = Browser::open(&kit, &session, person);
        thief.hello(Some(ticket), None).await;
        assert_eq!(thief.refusal().await, Code::TICKET_EXPIRED);
    }
    let late = kit.users.ticket(&session, "anna").unwrap();
    let clock = stop_clock();
    clock.pass(Duration::from_secs(31)).await;
    let mut tardy = Browser::open(&kit, &session, "anna");
    tardy.hello(Some(late), None).await;
    assert_eq!(tardy.refusal().await, Code::TICKET_EXPIRED);
    drop(clock);
    assert_eq!(kit.metric("moorline_auth_failures_total{kind=\"terminal\"}"), 5.0);
    first.types("not disturbed").await;
    first.sees("not disturbed").await;
    kit.settled().await;
}

#[actix::test]
async fn a_browser_comes_back_with_its_token_and_nothing_is_lost_or_doubled() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut browser, attached) = Browser::attach(&kit, &session).await;
    let mut resume = resume_of(&attached);
    browser.sees("$ ").await;
    for n in 0..20 {
        browser.types("abc").await;
        if n % 2 == 0 {
            browser.sees("abc").await;
        }
        let in_next = browser.in_next;
        let output = std::mem::take(&mut browser.output);
        browser = come_back(&kit, &session, browser, &resume).await;
        browser.output = output;
        let attached = browser.control().await;
        resume = resume_of(&attached);
        let HostControl::Attached { in_ack, gap, snapshot, .. } = attached else { panic!() };
        assert!(gap.is_none() && !snapshot);
        // What the socket swallowed with its end is typed again, from where the host says.
        for _ in 0..(in_next - in_ack) / 3 {
            browser.in_next -= 3;
        }
        while browser.in_next < in_next {
            browser.types("abc").await;
        }
    }
    while browser.output.len() < 2 + 60 {
        browser.more().await;
    }
    assert_eq!(browser.output, format!("$ {}", "abc".repeat(20)).into_bytes());
    assert_eq!(kit.metric("moorline_session_resumes_total{leg=\"browser\"}"), 20.0);
    // Each time either its end was seen first, or that it came again.
    let left = |cause| kit.metric(&format!("moorline_viewers_left_total{{cause=\"{cause}\"}}"));
    assert_eq!(left("cut") + left("cancelled"), 20.0);
    kit.settled().await;
}

#[actix::test]
async fn who_comes_back_after_the_end_with_any_token_of_theirs_hears_how_it_ended() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut browser, attached) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    let token = resume_of(&attached);
    drop(browser);
    assert!(kit.sessions.kill(&session, "anna", Some("enough")).await.unwrap());
    for _ in 0..2 {
        let mut late = Browser::open(&kit, &session, "anna");
        late.hello(None, Some(token.clone())).await;
        assert_eq!(late.ending().await.code, Code::KILLED);
    }
    let mut eve = Browser::open(&kit, &session, "eve");
    eve.hello(None, Some(token)).await;
    assert_eq!(eve.refusal().await, Code::TICKET_EXPIRED);
    kit.settled().await;
}

#[actix::test]
async fn a_resume_token_is_rotated_and_the_old_one_is_worth_nothing() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut browser, attached) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    let first = resume_of(&attached);
    let mut back = come_back(&kit, &session, browser, &first).await;
    let second = resume_of(&back.control().await);
    assert_ne!(first, second);
    back.types("it has the new one").await;
    back.sees("it has the new one").await;
    let mut thief = Browser::open(&kit, &session, "anna");
    thief.hello(None, Some(first)).await;
    assert_eq!(thief.refusal().await, Code::TICKET_EXPIRED);
    // Right token, other person: worth nothing without the login.
    let mut eve = Browser::open(&kit, &session, "eve");
    eve.hello(None, Some(second)).await;
    assert_eq!(eve.refusal().await, Code::TICKET_EXPIRED);
    kit.settled().await;
}

#[actix::test]
async fn a_resume_token_works_with_those_who_know_nothing_but_the_key_while_the_store_is_held() {
    let (mut kit, _agent, _connected, session) = world().await;
    let (mut browser, attached) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    let held = kit.hold_store().await;
    // As after a start of the broker: nothing is remembered.
    kit.users = Users::start(kit.users.shared.parts.clone()).unwrap();
    let first = resume_of(&attached);
    let mut back = come_back(&kit, &session, browser, &first).await;
    let second = resume_of(&back.control().await);
    back.types("it has the new one").await;
    back.sees("it has the new one").await;
    held.release().await;
    let mut thief = Browser::open(&kit, &session, "anna");
    thief.hello(None, Some(first)).await;
    assert_eq!(thief.refusal().await, Code::TICKET_EXPIRED);
    kit.users = Users::start(kit.users.shared.parts.clone()).unwrap();
    let mut eve = Browser::open(&kit, &session, "eve");
    eve.hello(None, Some(second)).await;
    assert_eq!(eve.refusal().await, Code::TICKET_EXPIRED);
    kit.settled().await;
}

#[actix::test]
async fn a_second_tab_takes_over_and_the_first_is_told_by_whom() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut first, _) = Browser::attach(&kit, &session).await;
    first.sees("$ ").await;
    let ticket = kit.users.ticket(&session, "anna").unwrap();
    let mut second = Browser::open(&kit, &session, "anna");
    second.set_key("tab-2");
    second.hello(Some(ticket), None).await;
    let (last, code) = first.closed().await;
    assert_eq!(last, Some(HostControl::TakenOver { by: "anna".into() }));
    assert_eq!(code, Some(Code::TAKEN_OVER));
    assert_eq!(kit.metric("moorline_viewers_left_total{cause=\"taken_over\"}"), 1.0);
    second.sees("$ ").await;
    kit.actors(Kind::UserConnection, 1).await;
    kit.settled().await;
}

#[actix::test]
async fn a_session_known_only_to_the_store_answers_a_hello_with_its_ending() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut browser, _) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    kit.sessions.kill(&session, "otto", Some("maintenance")).await.unwrap();
    let ending = browser.ending().await;
    let clock = stop_clock();
    clock.pass(Duration::from_secs(10)).await;
    drop(clock);
    kit.actors(Kind::SshSession, 0).await;
    while kit.sessions.view(&session).await.is_some() {
        tokio::task::yield_now().await;
    }
    let ticket = kit.users.ticket(&session, "anna").unwrap();
    let mut late = Browser::open(&kit, &session, "anna");
    late.hello(Some(ticket), None).await;
    assert_eq!(late.ending().await, ending);
    kit.settled().await;
}

#[actix::test]
async fn a_frame_out_of_place_closes_that_socket_and_leaves_the_session() {
    let (kit, _agent, _connected, session) = world().await;
    let broken = [
        Incoming::Binary(vec![0xbf].into()),
        Incoming::Text("{".into()),
        Incoming::Binary(vec![0x81].into()),
    ];
    for message in broken {
        let (mut browser, _) = Browser::attach(&kit, &session).await;
        browser.sees("$ ").await;
        browser.say_raw(message.clone()).await;
        assert_eq!(browser.refusal().await, Code::PROTOCOL, "{message:?}");
    }
    // In the right form, and impossible: output acknowledged that was never sent.
    let (mut browser, _) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    browser.say(ViewerFrame::Ack { offset: 1 << 40 }).await;
    assert_eq!(browser.refusal().await, Code::PROTOCOL);
    let (mut good, _) = Browser::attach(&kit, &session).await;
    good.types("fine").await;
    good.sees("fine").await;
    kit.actors(Kind::UserConnection, 1).await;
    kit.settled().await;
}

#[actix::test]
async fn a_browser_that_reads_nothing_is_dropped_after_a_while_and_only_it() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut stuck, _) = Browser::attach(&kit, &session).await;
    stuck.sees("$ ").await;
    // More messages than its socket holds, none of which it reads.
    for nonce in 0..200 {
        stuck.say(ViewerFrame::Ping { nonce, acked: stuck.have }).await;
        eventually_some().await;
    }
    let clock = stop_clock();
    clock.pass(Duration::from_secs(46)).await;
    kit.actors(Kind::UserConnection, 0).await;
    drop(clock);
    assert_eq!(kit.metric("moorline_timeouts_total{what=\"viewer_stalled\"}"), 1.0);
    let (mut next, _) = Browser::attach(&kit, &session).await;
    next.types("fine").await;
    next.sees("fine").await;
    kit.settled().await;
}

async fn eventually_some() {
    let mut turns = 0;
    eventually(|| {
        turns += 1;
        turns > 20
    })
    .await;
}

#[actix::test]
async fn a_browser_may_end_its_session_and_is_named_as_the_one_who_did() {
    let (kit, _agent, _connected, session) = world().await;
    let (mut browser, _) = Browser::attach(&kit, &session).await;
    browser.sees("$ ").await;
    let kill = ViewerControl::Kill { reason: Some("done".into()) };
    browser.say(ViewerFrame::Control(kill)).await;
    let ending = browser.ending().await;
    assert_eq!((ending.code, ending.by.as_deref()), (Code::KILLED, Some("anna")));
    kit.settled().await;
}

#[actix::test]
async fn who_said_goodbye_left_on_purpose_however_the_connection_ends() {
    let (kit, _agent, _connected, session) = world().await;
    for goodbye in [ViewerControl::Leaving, ViewerControl::Detach] {
        let (mut browser, _) = Browser::attach(&kit, &session).await;
        browser.say(ViewerFrame::Control(goodbye)).await;
    }
    let left = |cause| kit.metric(&format!("moorline_viewers_left_total{{cause=\"{cause}\"}}"));
    eventually(|| left("closed") == 2.0).await;
    assert_eq!(left("cut") + left("cancelled"), 0.0);
    kit.settled().await;
}
