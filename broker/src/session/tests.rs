//! Sessions against a real SSH server behind a simulated agent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use moorline_wire::term::frame::{HostControl, LegState, Size, Step, ViewerFrame};
use moorline_wire::{Code, Ending, Exit, SessionId};

use super::{SessionState, SessionView};
use crate::actor::Kind;
use crate::testkit::agent::{Agent, Connected};
use crate::testkit::browser::Browser;
use crate::testkit::{Kit, eventually, sshd, stop_clock};

/// A broker with one device that is online.
async fn world() -> (Kit, Agent, Connected) {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    (kit, agent, connected)
}

async fn live(kit: &Kit, agent: &Agent) -> (SessionId, Browser) {
    let id = kit.shell(&agent.id()).await.unwrap();
    let (mut browser, _) = Browser::attach(kit, &id).await;
    browser.sees("$ ").await;
    (id, browser)
}

/// Waits until the store knows how the session ended.
async fn written(kit: &Kit, id: &SessionId) -> Ending {
    loop {
        if let Some(ending) = kit.store.session(id).await.unwrap().unwrap().ending {
            return ending;
        }
        tokio::task::yield_now().await;
    }
}

async fn view_until(kit: &Kit, id: &SessionId, mut so: impl FnMut(&SessionView) -> bool) -> SessionView {
    loop {
        if let Some(view) = kit.sessions.view(id).await
            && so(&view)
        {
            return view;
        }
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn a_shell_is_reached_step_by_step_and_says_back_what_is_typed() {
    let (kit, agent, _connected) = world().await;
    let id = kit.shell(&agent.id()).await.unwrap();
    let (mut browser, _) = Browser::attach(&kit, &id).await;
    browser.until(|control| matches!(control, HostControl::Live)).await;
    browser.sees("$ ").await;
    browser.types("hello").await;
    browser.sees("hello").await;
    let view = view_until(&kit, &id, |view| view.state == SessionState::Live).await;
    let steps: Vec<_> = view.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, [Step::Broker, Step::Device, Step::HostKey, Step::Login, Step::Shell]);
    let asked = agent.manners.asked.lock().unwrap().clone();
    assert_eq!(asked, ["COLORTERM=truecolor", "LANG=C.UTF-8", "TERM=xterm-256color"]);
    assert_eq!(*agent.manners.size.lock().unwrap(), (80, 24));
    kit.settled().await;
}

#[actix::test]
async fn the_certificate_is_of_the_ca_for_the_login_and_of_the_devices_clock() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    // Its clock is late, so that a certificate by the broker's clock would begin in its future.
    let clock = crate::clock::wall().as_second() - 200;
    agent.clock = clock;
    let _connected = agent.connect(&kit).await.unwrap();
    let (first, _one) = live(&kit, &agent).await;
    let (_, _other) = live(&kit, &agent).await;
    let shown = agent.manners.certificates.lock().unwrap().clone();
    let (login, certificate) = &shown[0];
    assert_eq!((login.as_str(), certificate.valid_principals()), ("root", ["root".to_owned()].as_slice()));
    assert_eq!(certificate.key_id(), format!("{first} anna"));
    let (after, before) = (certificate.valid_after() as i64, certificate.valid_before() as i64);
    assert!((clock - 60..clock - 40).contains(&after), "{}", after - clock);
    assert!((clock + 300..clock + 320).contains(&before), "{}", before - clock);
    assert_ne!(shown[0].1.public_key(), shown[1].1.public_key(), "two sessions share a key");
    kit.settled().await;
}

#[actix::test]
async fn an_unknown_and_an_offline_device_are_told_apart_a_thousand_times() {
    let (kit, mut agent, connected) = world().await;
    let stranger = Agent::new().id();
    for _ in 0..1000 {
        assert_eq!(kit.shell(&stranger).await.unwrap_err().code, Code::UNKNOWN_DEVICE);
    }
    agent.link = None;
    kit.devices.forget(&agent.id()).await;
    kit.actors(Kind::DeviceConnection, 0).await;
    drop(connected);
    for _ in 0..1000 {
        assert_eq!(kit.shell(&agent.id()).await.unwrap_err().code, Code::DEVICE_OFFLINE);
    }
    assert_eq!(kit.registry.count(Kind::SshSession), 0);
    kit.settled().await;
}

#[actix::test]
async fn an_exit_status_reaches_the_browser_the_api_and_the_store() {
    let (kit, agent, _connected) = world().await;
    agent.manners.status.store(3, Ordering::SeqCst);
    let (id, mut browser) = live(&kit, &agent).await;
    browser.types("exit").await;
    let ending = browser.ending().await;
    assert_eq!(ending.exit, Some(Exit::Status(3)));
    assert_eq!(written(&kit, &id).await, ending);
    assert_eq!(kit.metric("moorline_sessions_ended_total{ending=\"exited\"}"), 1.0);
    kit.settled().await;
}

#[actix::test]
async fn a_command_that_is_over_before_anybody_attaches_still_shows_its_output() {
    let (kit, agent, _connected) = world().await;
    let id = kit.session(&agent.id(), |new| new.command = Some("true".into())).await.unwrap();
    written(&kit, &id).await;
    let (mut browser, _) = Browser::attach(&kit, &id).await;
    assert_eq!(browser.ending().await.exit, Some(Exit::Status(0)));
    assert_eq!(browser.output, b"$ ");
    kit.settled().await;
}

#[actix::test]
async fn each_way_in_which_a_device_can_refuse_has_its_code_and_the_broker_lives() {
    let (kit, agent, _connected) = world().await;
    let manners = &agent.manners;
    let flags = [
        (&manners.refuses_login, Code::DEVICE_REFUSED),
        (&manners.refuses_channel, Code::SHELL_REFUSED),
        (&manners.refuses_pty, Code::SHELL_REFUSED),
        (&manners.refuses_shell, Code::SHELL_REFUSED),
    ];
    for (flag, code) in flags {
        flag.store(true, Ordering::SeqCst);
        let id = kit.shell(&agent.id()).await.unwrap();
        assert_eq!(written(&kit, &id).await.code, code);
        flag.store(false, Ordering::SeqCst);
    }
    for (reset, code) in
        [(Code::SSHD_UNREACHABLE, Code::SSHD_UNREACHABLE), (Code::INTERNAL, Code::SSH_FAILED)]
    {
        *manners.reset.lock().unwrap() = Some(reset);
        let id = kit.shell(&agent.id()).await.unwrap();
        assert_eq!(written(&kit, &id).await.code, code);
        *manners.reset.lock().unwrap() = None;
    }
    let (_, mut browser) = live(&kit, &agent).await;
    browser.types("vanish").await;
    assert_eq!(browser.ending().await.code, Code::SSH_FAILED);
    live(&kit, &agent).await;
    kit.settled().await;
}

#[actix::test]
async fn each_step_that_takes_too_long_ends_the_setup_and_is_counted() {
    let (kit, agent, _connected) = world().await;
    let manners = &agent.manners;
    let steps = [
        (&manners.silent, "ssh_handshake", 16, None),
        (&manners.ponders_login, "ssh_auth", 11, Some(Step::HostKey)),
        (&manners.ponders_shell, "ssh_channel", 6, Some(Step::Login)),
    ];
    for (flag, what, seconds, reached) in steps {
        flag.store(true, Ordering::SeqCst);
        let id = kit.shell(&agent.id()).await.unwrap();
        let wait_for =
            |view: &SessionView| reached.is_none_or(|step| view.steps.iter().any(|s| s.step == step));
        view_until(&kit, &id, wait_for).await;
        let clock = stop_clock();
        clock.pass(Duration::from_secs(seconds)).await;
        let view = view_until(&kit, &id, |view| view.ending.is_some()).await;
        assert_eq!(view.ending.unwrap().code, Code::SETUP_TIMEOUT, "{what}");
        drop(clock);
        assert_eq!(kit.metric(&format!("moorline_timeouts_total{{what=\"{what}\"}}")), 1.0);
        flag.store(false, Ordering::SeqCst);
    }
    // What hung is gone from the device, too.
    let link = agent.link.clone().unwrap();
    manners.silent.store(false, Ordering::SeqCst);
    eventually(|| link.streams() == 0).await;
    kit.settled().await;
}

#[actix::test]
async fn another_host_key_than_the_pinned_one_is_refused_and_written_down() {
    let (kit, mut agent, connected) = world().await;
    // The sshd was changed behind the agent's back: the greeting still tells the old key.
    let pinned = agent.host_key.clone();
    agent.host_key = sshd::host_key();
    let impostor = agent.host_key.public_key().to_openssh().unwrap();
    agent.cut(connected);
    agent.link = None;
    agent.resume = None;
    let honest = pinned.public_key().to_openssh().unwrap();
    let told = agent.with_host_keys(vec![honest]);
    let _connected = agent.connect_as(&kit, told).await.unwrap();
    let id = kit.shell(&agent.id()).await.unwrap();
    assert_eq!(written(&kit, &id).await.code, Code::HOST_KEY_CHANGED);
    assert!(agent.manners.certificates.lock().unwrap().is_empty(), "logged in to an unknown host");
    loop {
        let row = kit.store.device(&agent.id()).await.unwrap().unwrap();
        if let Some(offered) = row.offered_host_keys {
            assert_eq!(offered, [crate::device::normal_host_key(&impostor).unwrap()]);
            break;
        }
        tokio::task::yield_now().await;
    }
    // From now on no session is even begun, until an administrator accepts the key.
    assert_eq!(kit.shell(&agent.id()).await.unwrap_err().code, Code::HOST_KEY_CHANGED);
    kit.store.accept_host_keys(&agent.id()).await.unwrap();
    live(&kit, &agent).await;
    kit.settled().await;
}

#[actix::test]
async fn a_kill_tells_who_and_why_ends_the_shell_on_the_device_and_is_idempotent() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    let (_, mut neighbour) = live(&kit, &agent).await;
    assert_eq!(agent.manners.running.load(Ordering::SeqCst), 2);
    assert!(kit.sessions.kill(&id, "otto", Some("maintenance")).await.unwrap());
    let ending = browser.ending().await;
    assert_eq!((ending.code, ending.by.as_deref()), (Code::KILLED, Some("otto")));
    assert_eq!(ending.text, "otto ended this session: maintenance");
    eventually(|| agent.manners.running.load(Ordering::SeqCst) == 1).await;
    assert!(!kit.sessions.kill(&id, "otto", None).await.unwrap());
    assert_eq!(written(&kit, &id).await, ending);
    neighbour.types("still here").await;
    neighbour.sees("still here").await;
    kit.settled().await;
}

#[actix::test]
async fn a_session_that_never_was_cannot_be_killed_and_one_long_over_is() {
    let (kit, agent, _connected) = world().await;
    let nobody = "s-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    assert_eq!(kit.sessions.kill(&nobody, "otto", None).await.unwrap_err().code, Code::UNKNOWN);
    let (id, mut browser) = live(&kit, &agent).await;
    browser.types("exit").await;
    browser.ending().await;
    let clock = stop_clock();
    clock.pass(Duration::from_secs(40)).await;
    drop(clock);
    kit.actors(Kind::SshSession, 0).await;
    assert!(!kit.sessions.kill(&id, "otto", None).await.unwrap());
    kit.settled().await;
}

#[actix::test]
async fn a_kill_of_a_session_whose_device_is_away_is_at_once_for_people_and_later_for_the_device() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    agent.cut(connected);
    browser.until(|control| matches!(control, HostControl::Device { state: LegState::Lost, .. })).await;
    assert!(kit.sessions.kill(&id, "otto", None).await.unwrap());
    assert_eq!(browser.ending().await.code, Code::KILLED);
    assert_eq!(agent.manners.running.load(Ordering::SeqCst), 1);
    let _back = agent.connect(&kit).await.unwrap();
    eventually(|| agent.manners.running.load(Ordering::SeqCst) == 0).await;
    kit.settled().await;
}

#[actix::test]
async fn a_device_that_comes_back_in_time_is_a_pause_for_the_shell() {
    let (kit, mut agent, connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    agent.cut(connected);
    browser.until(|control| matches!(control, HostControl::Device { state: LegState::Lost, .. })).await;
    assert_eq!(kit.sessions.view(&id).await.unwrap().state, SessionState::DeviceAway);
    browser.types("typed while it was away").await;
    let _back = agent.connect(&kit).await.unwrap();
    browser.sees("typed while it was away").await;
    assert_eq!(kit.metric("moorline_session_resumes_total{leg=\"device\"}"), 1.0);
    kit.settled().await;
}

#[actix::test]
async fn a_device_that_does_not_come_back_ends_its_sessions_as_device_lost() {
    let (kit, agent, connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    let clock = stop_clock();
    agent.cut(connected);
    clock.pass(Duration::from_secs(62)).await;
    let ending = browser.ending().await;
    assert_eq!(ending.code, Code::DEVICE_LOST);
    drop(clock);
    assert_eq!(written(&kit, &id).await, ending);
    kit.settled().await;
}

#[actix::test]
async fn a_session_with_nobody_attached_is_ended_after_its_limit_and_says_so() {
    let kit = Kit::with(|config| config.timing.detached_for = Duration::from_secs(600)).await;
    let mut agent = Agent::new();
    let _connected = agent.connect(&kit).await.unwrap();
    let (id, browser) = live(&kit, &agent).await;
    drop(browser);
    view_until(&kit, &id, |view| view.state == SessionState::Detached).await;
    let clock = stop_clock();
    clock.pass(Duration::from_secs(598)).await;
    assert_eq!(kit.sessions.view(&id).await.unwrap().state, SessionState::Detached);
    clock.pass(Duration::from_secs(4)).await;
    let view = view_until(&kit, &id, |view| view.ending.is_some()).await;
    assert_eq!(view.ending.unwrap().code, Code::IDLE_LIMIT);
    eventually(|| agent.manners.running.load(Ordering::SeqCst) == 0).await;
    kit.settled().await;
}

#[actix::test]
async fn a_panic_in_one_session_is_said_plainly_and_leaves_the_others() {
    let (kit, agent, _connected) = world().await;
    let (unlucky, mut browser) = live(&kit, &agent).await;
    let (_, mut neighbour) = live(&kit, &agent).await;
    kit.sessions.panic_in(&unlucky).await.unwrap();
    let ending = browser.ending().await;
    assert_eq!(ending.code, Code::INTERNAL);
    assert!(ending.text.contains("Open a new session"), "{}", ending.text);
    assert_eq!(written(&kit, &unlucky).await, ending);
    eventually(|| agent.manners.running.load(Ordering::SeqCst) == 1).await;
    neighbour.types("still here").await;
    neighbour.sees("still here").await;
    let restarts = "moorline_actor_restarts_total{cause=\"panicked\",kind=\"ssh_session\"}";
    assert_eq!(kit.metric(restarts), 1.0);
    kit.settled().await;
}

#[actix::test]
async fn size_and_signals_reach_the_shell_also_while_its_input_is_not_read() {
    let (kit, agent, _connected) = world().await;
    let (_, mut browser) = live(&kit, &agent).await;
    let size = Size { cols: 120, rows: 40, xpx: 0, ypx: 0 };
    browser.say(ViewerFrame::Resize { seq: 1, size }).await;
    browser.say(ViewerFrame::Signal { number: 2 }).await;
    browser.say(ViewerFrame::Signal { number: 99 }).await;
    eventually(|| *agent.manners.size.lock().unwrap() == (120, 40)).await;
    eventually(|| *agent.manners.signals.lock().unwrap() == ["INT"]).await;
    browser.until(|control| matches!(control, HostControl::Size { size: told, .. } if *told == size)).await;
    kit.settled().await;
}

#[actix::test]
async fn all_256_byte_values_pass_both_ways_unchanged() {
    let (kit, agent, _connected) = world().await;
    let (_, mut browser) = live(&kit, &agent).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100 * 1024).collect();
    for piece in bytes.chunks(8 * 1024) {
        let offset = browser.in_next;
        browser.in_next += piece.len() as u64;
        browser.say(ViewerFrame::In { offset, bytes: bytes::Bytes::copy_from_slice(piece) }).await;
    }
    while browser.output.len() < 2 + bytes.len() {
        browser.more().await;
    }
    assert_eq!(browser.output[2..], bytes);
    kit.settled().await;
}

#[actix::test]
async fn no_more_sessions_are_open_than_there_may_be() {
    let kit = Kit::with(|config| {
        config.limits.sessions = 3;
        config.limits.sessions_per_device = 2;
    })
    .await;
    let (mut one, mut other) = (Agent::new(), Agent::new());
    let _connected = (one.connect(&kit).await.unwrap(), other.connect(&kit).await.unwrap());
    kit.shell(&one.id()).await.unwrap();
    kit.shell(&one.id()).await.unwrap();
    let full = kit.shell(&one.id()).await.unwrap_err();
    assert!(full.code == Code::LIMIT && full.text.contains("sessions_per_device"), "{}", full.text);
    let last = kit.shell(&other.id()).await.unwrap();
    assert_eq!(kit.shell(&other.id()).await.unwrap_err().code, Code::LIMIT);
    kit.sessions.kill(&last, "otto", None).await.unwrap();
    kit.shell(&other.id()).await.unwrap();
    kit.settled().await;
}

#[actix::test]
async fn a_login_that_is_no_name_is_refused_before_the_device_is_asked() {
    let (kit, agent, _connected) = world().await;
    for login in ["", "a\nb", &"x".repeat(65)] {
        let refused = kit.session(&agent.id(), |new| new.login = Some(login.to_owned())).await;
        assert_eq!(refused.unwrap_err().code, Code::BAD_REQUEST);
    }
    kit.settled().await;
}

#[actix::test]
async fn an_ending_is_written_down_when_the_store_answers_again() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    let held = kit.hold_store().await;
    browser.types("exit").await;
    let ending = browser.ending().await;
    let clock = stop_clock();
    clock.pass(Duration::from_secs(20)).await;
    drop(clock);
    held.release().await;
    assert_eq!(written(&kit, &id).await, ending);
    kit.settled().await;
}

#[actix::test]
async fn a_drain_ends_every_session_with_a_word_and_takes_no_new_one() {
    let (kit, agent, _connected) = world().await;
    let (id, mut browser) = live(&kit, &agent).await;
    kit.sessions.drain().await;
    assert_eq!(kit.store.session(&id).await.unwrap().unwrap().ending.unwrap().code, Code::GOING_AWAY);
    assert_eq!(browser.ending().await.code, Code::GOING_AWAY);
    assert_eq!(kit.shell(&agent.id()).await.unwrap_err().code, Code::GOING_AWAY);
    kit.settled().await;
}

#[actix::test]
async fn after_20_sessions_everything_is_back_where_it_was() {
    let (kit, agent, _connected) = world().await;
    let link = agent.link.clone().unwrap();
    for n in 0..20 {
        let (id, mut browser) = live(&kit, &agent).await;
        if n % 2 == 0 {
            browser.types("exit").await;
        } else {
            kit.sessions.kill(&id, "otto", None).await.unwrap();
        }
        browser.ending().await;
    }
    kit.actors(Kind::UserConnection, 0).await;
    let clock = stop_clock();
    clock.pass(Duration::from_secs(10)).await;
    drop(clock);
    kit.actors(Kind::SshSession, 0).await;
    eventually(|| link.streams() == 0).await;
    eventually(|| agent.manners.running.load(Ordering::SeqCst) == 0).await;
    assert!(kit.sessions.live().await.is_empty());
    assert_eq!(kit.metric("moorline_sessions{state=\"live\"}"), 0.0);
    assert_eq!(kit.metric("moorline_viewers{role=\"driver\"}"), 0.0);
    kit.settled().await;
}
