//! Agents of all kinds against the real directory and connections.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use moorline_wire::link::greeting::Message;
use moorline_wire::link::greeting::{Challenge, Hello};
use moorline_wire::link::{Attach, Class, Input};
use moorline_wire::{Code, DeviceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::directory::PanicIn;
use super::{Devices, Leg, Opened, Presence};
use crate::actor::Kind;
use crate::clock::now;
use crate::config::EnrollMode;
use crate::socket::{Heard, Incoming, Outgoing};
use crate::testkit::agent::{Agent, Raw, challenge, said, socket};
use crate::testkit::{Kit, eventually, sshd, stop_clock};

async fn presence(devices: &Devices, device: &DeviceId) -> Option<Presence> {
    devices.state(device).await.map(|leg| leg.presence)
}

async fn wait_for(devices: &Devices, device: &DeviceId, wanted: Option<Presence>) {
    while presence(devices, device).await != wanted {
        tokio::task::yield_now().await;
    }
}

/// Reads the first line that the device's sshd says.
async fn ident(opened: &mut Opened) -> String {
    let mut read = [0; 8];
    opened.stream.read_exact(&mut read).await.unwrap();
    String::from_utf8_lossy(&read).into_owned()
}

#[actix::test]
async fn a_device_with_the_install_key_is_enrolled_and_its_host_key_pinned() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    assert!(connected.welcome.enrolled.is_some());
    assert_eq!(connected.welcome.ca, kit.ca.public_line());
    let row = kit.store.device(&agent.id()).await.unwrap().unwrap();
    let shown = agent.host_key.public_key().to_openssh().unwrap();
    assert_eq!(row.host_keys, [super::normal_host_key(&shown).unwrap()]);
    wait_for(&kit.devices, &agent.id(), Some(Presence::Online)).await;
    assert_eq!(kit.metric("moorline_devices{state=\"online\"}"), 1.0);
}

#[actix::test]
async fn a_wrong_install_key_or_none_is_refused_with_a_remedy() {
    let kit = Kit::new().await;
    for install_key in [Some("d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgd3Jvbmc=".to_owned()), None] {
        let mut agent = Agent::new();
        agent.install_key = install_key;
        let Err(refused) = agent.connect(&kit).await else { panic!("it was let in") };
        assert_eq!(refused.code, Code::NOT_ENROLLED);
        assert!(refused.text.contains("enroll.install_key_file"), "{}", refused.text);
        assert!(refused.retry_after_ms.is_some());
        assert_eq!(kit.store.device(&agent.id()).await.unwrap(), None);
    }
    assert_eq!(kit.metric("moorline_auth_failures_total{kind=\"device\"}"), 2.0);
}

#[actix::test]
async fn an_install_key_that_anybody_has_enrols_nobody() {
    let kit = Kit::new().await;
    kit.set_install_key("\n");
    let mut agent = Agent::new();
    agent.install_key = Some(String::new());
    assert!(agent.connect(&kit).await.is_err());
}

#[actix::test]
async fn enrolling_can_be_closed_and_known_devices_still_come_in() {
    let kit = Kit::with(|config| config.enroll.mode = EnrollMode::Closed).await;
    let mut agent = Agent::new();
    assert!(agent.connect(&kit).await.is_err());
    let open = Kit::new().await;
    drop(agent.connect(&open).await.unwrap());
    agent.install_key = None;
    let again = agent.connect(&open).await.unwrap();
    assert_eq!(again.welcome.enrolled, None);
}

#[actix::test]
async fn an_impostor_with_the_right_id_and_another_key_is_refused_and_the_original_stays() {
    let kit = Kit::new().await;
    let mut original = Agent::new();
    let connected = original.connect(&kit).await.unwrap();
    let mut impostor = Agent::new();
    let id = original.id();
    let signer = Agent::new();
    for lie in 0..3 {
        let Err(refused) = impostor
            .connect_as(&kit, |challenge, mut hello| {
                hello.device = id.clone();
                match lie {
                    // Its own key and signature under another's id.
                    0 => signer.sign(hello, challenge),
                    // The original's key, which it cannot sign with.
                    1 => {
                        hello.key = original.hello(challenge).key;
                        signer.sign(hello, challenge)
                    }
                    // What the original once said to another challenge.
                    _ => {
                        let mut old = challenge.clone();
                        old.nonce = "b2xk".into();
                        original.hello(&old)
                    }
                }
            })
            .await
        else {
            panic!("lie {lie} was believed")
        };
        assert_eq!(refused.code, Code::BAD_SIGNATURE, "lie {lie}");
    }
    assert_eq!(presence(&kit.devices, &id).await, Some(Presence::Online));
    assert_eq!(kit.registry.count(Kind::DeviceConnection), 1);
    drop(connected);
}

#[actix::test]
async fn a_device_that_says_nothing_is_closed_after_the_greeting_limit() {
    let kit = Kit::new().await;
    let clock = stop_clock();
    let (ends, mut raw) = socket();
    let devices = kit.devices.clone();
    let accepting = actix_rt::spawn(async move { devices.accept(ends, ([127, 0, 0, 1], 1).into()).await });
    challenge(&mut raw).await;
    clock.pass(Duration::from_secs(4)).await;
    assert!(raw.from.recv().now_or_never().is_none());
    clock.pass(Duration::from_secs(2)).await;
    let Message::Refused(refused) = said(&mut raw).await else { panic!("not refused") };
    assert_eq!(refused.code, Code::HELLO_TIMEOUT);
    assert_eq!(
        raw.from.recv().await,
        Some(Outgoing::Close(
            Code::HELLO_TIMEOUT,
            Code::HELLO_TIMEOUT.sentence().to_owned() + " " + Code::HELLO_TIMEOUT.remedy()
        ))
    );
    accepting.await.unwrap();
    assert_eq!(kit.metric("moorline_timeouts_total{what=\"greeting\"}"), 1.0);
}

#[actix::test]
async fn a_greeting_that_is_none_is_refused_as_out_of_place() {
    let kit = Kit::new().await;
    let wrong = [
        Incoming::Text("hello".into()),
        Incoming::Binary(b"\xff\xff\xff".as_slice().into()),
        Incoming::Binary(Vec::new().into()),
    ];
    for first in wrong {
        let (ends, mut raw) = socket();
        let devices = kit.devices.clone();
        let accepting =
            actix_rt::spawn(async move { devices.accept(ends, ([127, 0, 0, 1], 1).into()).await });
        challenge(&mut raw).await;
        raw.to.send(first).await.unwrap();
        let Message::Refused(refused) = said(&mut raw).await else { panic!("not refused") };
        assert_eq!(refused.code, Code::PROTOCOL);
        accepting.await.unwrap();
    }
}

#[actix::test]
async fn a_version_that_is_not_ours_is_refused() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let signer = Agent::new();
    let Err(refused) = agent
        .connect_as(&kit, |challenge, mut hello| {
            hello.version = 99;
            signer.sign(hello, challenge)
        })
        .await
    else {
        panic!("it was let in")
    };
    assert_eq!(refused.code, Code::VERSION);
}

#[actix::test]
async fn a_changed_host_key_is_written_down_until_the_pinned_one_is_back() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    drop(agent.connect(&kit).await.unwrap());
    let pinned = agent.host_key.clone();
    agent.host_key = sshd::host_key();
    drop(agent.connect(&kit).await.unwrap());
    let row = kit.store.device(&agent.id()).await.unwrap().unwrap();
    let offered = super::normal_host_key(&agent.host_key.public_key().to_openssh().unwrap()).unwrap();
    assert_eq!(row.offered_host_keys, Some(vec![offered]));
    agent.host_key = pinned;
    drop(agent.connect(&kit).await.unwrap());
    assert_eq!(kit.store.device(&agent.id()).await.unwrap().unwrap().offered_host_keys, None);
}

#[actix::test]
async fn what_an_agent_says_of_itself_is_short_and_without_control_characters() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let id = agent.id();
    let hostile = format!("evil\x1b]0;x\x07\n{}", "n".repeat(1000));
    let named = agent.named(&hostile);
    drop(agent.connect_as(&kit, named).await.unwrap());
    let name = kit.store.device(&id).await.unwrap().unwrap().name;
    assert!(!name.chars().any(char::is_control) && name.len() <= 128, "{name:?}");
}

#[actix::test]
async fn a_stream_goes_on_after_a_cut_when_the_device_is_back_in_time() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    let mut opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    assert_eq!(ident(&mut opened).await, "SSH-2.0-");
    agent.cut(connected);
    wait_for(&kit.devices, &agent.id(), Some(Presence::Away)).await;
    // Typed while the device is away.
    opened.stream.write_all(b"SSH-2.0-test\r\n").await.unwrap();
    let back = agent.connect(&kit).await.unwrap();
    assert!(back.welcome.resumed);
    wait_for(&kit.devices, &agent.id(), Some(Presence::Online)).await;
    // The rest of its ident, then its key exchange: it has read what was typed.
    let mut read = [0; 64];
    opened.stream.read_exact(&mut read).await.unwrap();
    assert_eq!(kit.metric("moorline_links_resumed_total"), 1.0);
    assert_eq!(kit.registry.count(Kind::DeviceConnection), 1);
}

/// What the device says, read in another thread than its connection lives in.
fn read_elsewhere(raw: &Raw, frames: Vec<Bytes>) -> Vec<Bytes> {
    let reflex = raw.reflex.clone();
    let read = std::thread::spawn(move || {
        let answers =
            frames.iter().map(|frame| reflex.react(&Heard::Any(frame)).expect("the reflex takes it"));
        answers.flatten().flatten().collect()
    });
    read.join().unwrap()
}

#[actix::test]
async fn a_second_socket_that_is_read_in_another_thread_carries_both_ways_without_a_turn_of_the_actor() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let first = agent.connect(&kit).await.unwrap();
    let mut opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    ident(&mut opened).await;
    // The broker has not noticed that the first is gone when the second comes.
    let link = agent.link.clone().unwrap();
    let (ends, mut raw) = socket();
    let devices = kit.devices.clone();
    let accepting = actix_rt::spawn(async move { devices.accept(ends, ([127, 0, 0, 1], 1).into()).await });
    let asked = challenge(&mut raw).await;
    raw.to.send(Incoming::Binary(Message::Hello(agent.hello(&asked)).encode())).await.unwrap();
    let Message::Welcome(welcome) = said(&mut raw).await else { panic!("not let in") };
    assert!(welcome.resumed);
    accepting.await.unwrap();
    agent.cut(first);
    link.handle(now(), Input::Connected(Attach::Resumed)).unwrap();

    let mut typed = 0;
    for round in 0..50 {
        // Nothing is awaited between the two: what is typed is in the socket when it is written.
        if round > 10 {
            opened.stream.write_all(b"x").now_or_never().unwrap().unwrap();
            typed += 1;
            let sent = raw.from.recv().now_or_never().flatten();
            let Some(Outgoing::Binary(frame)) = sent else { panic!("round {round}: {sent:?}") };
            link.handle(now(), Input::Frame(frame)).unwrap();
        }
        let said = std::iter::from_fn(|| link.poll_transmit(now())).collect();
        for frame in read_elsewhere(&raw, said) {
            link.handle(now(), Input::Frame(frame)).unwrap();
        }
        tokio::task::yield_now().await;
        while let Some(Some(Outgoing::Binary(frame))) = raw.from.recv().now_or_never() {
            link.handle(now(), Input::Frame(frame)).unwrap();
        }
    }
    assert_eq!(typed, 39);
    // What the device said through the other thread has come: the rest of its ident.
    let mut rest = [0; 8];
    opened.stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(kit.metric("moorline_links_resumed_total"), 1.0);
}

#[actix::test]
async fn a_device_that_does_not_come_back_in_time_is_lost_with_its_streams() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    let mut opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    ident(&mut opened).await;
    let clock = stop_clock();
    agent.cut(connected);
    clock.pass(Duration::from_secs(59)).await;
    assert_eq!(presence(&kit.devices, &agent.id()).await, Some(Presence::Away));
    clock.pass(Duration::from_secs(2)).await;
    wait_for(&kit.devices, &agent.id(), None).await;
    while opened.leg.changed().await.is_ok() {}
    let lost = opened.stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(lost.kind(), std::io::ErrorKind::ConnectionReset);
    drop(clock);
    let back = agent.connect(&kit).await.unwrap();
    assert!(!back.welcome.resumed);
}

#[actix::test]
async fn a_newer_connection_evicts_the_older_and_a_resume_token_works_once() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let mut first = agent.connect(&kit).await.unwrap();
    let token = agent.resume.clone();
    let mut opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    ident(&mut opened).await;
    agent.resume = None;
    let second = agent.connect(&kit).await.unwrap();
    assert!(second.welcome.epoch > first.welcome.epoch);
    assert_eq!(first.closed.recv().await, Some(Code::EVICTED));
    // The streams of the older link are over, and only they.
    while opened.leg.changed().await.is_ok() {}
    agent.resume = token;
    let third = agent.connect(&kit).await.unwrap();
    assert!(!third.welcome.resumed, "a token of an older link went on with the newer one");
    kit.actors(Kind::DeviceConnection, 1).await;
    drop((second, third));
}

#[actix::test]
async fn silence_is_noticed_and_closed_while_the_socket_still_stands() {
    let kit = Kit::new().await;
    let agent = Agent::new();
    let clock = stop_clock();
    let (ends, mut raw) = socket();
    let devices = kit.devices.clone();
    let accepting = actix_rt::spawn(async move { devices.accept(ends, ([127, 0, 0, 1], 1).into()).await });
    let asked = challenge(&mut raw).await;
    raw.to.send(Incoming::Binary(Message::Hello(agent.hello(&asked)).encode())).await.unwrap();
    let Message::Welcome(_) = said(&mut raw).await else { panic!("not let in") };
    accepting.await.unwrap();
    clock.pass(Duration::from_secs(11)).await;
    wait_for(&kit.devices, &agent.id(), Some(Presence::Unstable)).await;
    clock.pass(Duration::from_secs(5)).await;
    wait_for(&kit.devices, &agent.id(), Some(Presence::Away)).await;
    let closed = loop {
        match raw.from.recv().await {
            Some(Outgoing::Close(code, _)) => break code,
            Some(_) => {}
            None => panic!("closed without a code"),
        }
    };
    assert_eq!(closed, Code::LINK_DEAD);
}

#[actix::test]
async fn a_frame_out_of_place_closes_the_socket_and_not_the_broker() {
    let kit = Kit::new().await;
    let agent = Agent::new();
    let mut neighbour = Agent::new();
    let _neighbour = neighbour.connect(&kit).await.unwrap();
    for garbage in [Incoming::Binary(vec![0xee; 40].into()), Incoming::Text("x".into())] {
        let (ends, mut raw) = socket();
        let devices = kit.devices.clone();
        let accepting =
            actix_rt::spawn(async move { devices.accept(ends, ([127, 0, 0, 1], 1).into()).await });
        let asked = challenge(&mut raw).await;
        raw.to.send(Incoming::Binary(Message::Hello(agent.hello(&asked)).encode())).await.unwrap();
        accepting.await.unwrap();
        raw.to.send(garbage).await.unwrap();
        let closed = loop {
            match raw.from.recv().await {
                Some(Outgoing::Close(code, _)) => break code,
                Some(_) => {}
                None => panic!("closed without a code"),
            }
        };
        assert_eq!(closed, Code::PROTOCOL);
    }
    assert_eq!(presence(&kit.devices, &neighbour.id()).await, Some(Presence::Online));
}

#[actix::test]
async fn a_panic_in_one_connection_ends_its_streams_and_nobody_elses() {
    let kit = Kit::new().await;
    let (mut unlucky, mut lucky) = (Agent::new(), Agent::new());
    let mut first = unlucky.connect(&kit).await.unwrap();
    let _other = lucky.connect(&kit).await.unwrap();
    let mut lost = kit.devices.open(&unlucky.id(), Class::Interactive).await.unwrap();
    let mut kept = kit.devices.open(&lucky.id(), Class::Interactive).await.unwrap();
    kit.devices.directory.send(PanicIn(unlucky.id())).await.unwrap();
    // Closed without a word: the socket was dropped with the actor.
    assert_eq!(first.closed.recv().await, None);
    while lost.leg.changed().await.is_ok() {}
    assert_eq!(ident(&mut kept).await, "SSH-2.0-");
    let again = unlucky.connect(&kit).await.unwrap();
    assert!(!again.welcome.resumed);
    wait_for(&kit.devices, &unlucky.id(), Some(Presence::Online)).await;
}

#[actix::test]
async fn a_device_whose_connection_fails_again_and_again_is_kept_out_for_a_while() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    for _ in 0..5 {
        let mut connected = agent.connect(&kit).await.unwrap();
        kit.devices.directory.send(PanicIn(agent.id())).await.unwrap();
        assert_eq!(connected.closed.recv().await, None);
        wait_for(&kit.devices, &agent.id(), None).await;
    }
    let Err(refused) = agent.connect(&kit).await else { panic!("it was let in") };
    assert_eq!(refused.code, Code::GAVE_UP);
    let clock = stop_clock();
    clock.pass(Duration::from_secs(61)).await;
    drop(clock);
    agent.connect(&kit).await.unwrap();
}

#[actix::test]
async fn a_forgotten_device_is_told_and_gone() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let mut connected = agent.connect(&kit).await.unwrap();
    kit.devices.forget(&agent.id()).await;
    assert_eq!(connected.closed.recv().await, Some(Code::NOT_ENROLLED));
    wait_for(&kit.devices, &agent.id(), None).await;
    kit.actors(Kind::DeviceConnection, 0).await;
    assert_eq!(kit.metric("moorline_devices{state=\"online\"}"), 0.0);
}

#[actix::test]
async fn a_drain_tells_each_agent_when_to_come_back_and_closes() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let mut connected = agent.connect(&kit).await.unwrap();
    kit.devices.drain().await;
    assert_eq!(connected.closed.recv().await, Some(Code::GOING_AWAY));
    // The link is kept: an agent that comes back to this process goes on.
    wait_for(&kit.devices, &agent.id(), Some(Presence::Away)).await;
}

#[actix::test]
async fn a_stream_tells_where_the_keeper_is_and_a_newer_greeting_counts() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let too_long = format!("keeper:/{}", "x".repeat(4096));
    let longest = format!("/{}", "x".repeat(4095));
    let said_and_taken = [
        (vec![], None),
        (vec!["keeper:/opt/moor line/agent"], Some("/opt/moor line/agent")),
        (vec!["else", "keeper:/second"], Some("/second")),
        (vec!["keeper:relative/path"], None),
        (vec!["keeper:"], None),
        (vec!["keeper:/a\nb"], None),
        (vec!["keeper:/a\0b"], None),
        (vec![too_long.as_str()], None),
    ];
    let mut connected = agent.connect(&kit).await.unwrap();
    for (said, taken) in said_and_taken {
        agent.cut(connected);
        agent.capabilities = said.into_iter().map(str::to_owned).collect();
        connected = agent.connect(&kit).await.unwrap();
        assert!(connected.welcome.resumed, "the link goes on, and the keeper is the new one's");
        let opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
        assert_eq!(opened.keeper.as_deref(), taken, "{:?}", agent.capabilities);
    }
    agent.capabilities = vec![format!("keeper:{longest}")];
    agent.resume = None;
    let _fresh = agent.connect(&kit).await.unwrap();
    let opened = kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    assert_eq!(opened.keeper, Some(longest));
}

/// Waits for a device beside the test; done when it is finished.
fn waits_for(kit: &Kit, agent: &Agent) -> actix_rt::task::JoinHandle<()> {
    let (devices, id) = (kit.devices.clone(), agent.id());
    actix_rt::spawn(async move { drop(devices.arrival(&id).await) })
}

#[actix::test]
async fn an_arrival_wakes_those_who_wait_for_that_device_alone_however_late() {
    let kit = Kit::new().await;
    let (mut early, mut late) = (Agent::new(), Agent::new());
    let waiting: Vec<_> = (0..5).map(|_| waits_for(&kit, &early)).collect();
    let other = waits_for(&kit, &late);
    let clock = stop_clock();
    clock.pass(Duration::from_secs(24 * 60)).await;
    assert!(waiting.iter().all(|wait| !wait.is_finished()));
    let _early = early.connect(&kit).await.unwrap();
    for wait in waiting {
        wait.await.unwrap();
    }
    // Awake, they find what they waited for.
    kit.devices.open(&early.id(), Class::Interactive).await.unwrap();
    clock.pass(Duration::from_secs(1)).await;
    assert!(!other.is_finished());
    let _late = late.connect(&kit).await.unwrap();
    other.await.unwrap();
}

#[actix::test]
async fn a_device_that_is_there_or_away_has_arrived_and_one_that_was_lost_has_not() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    kit.devices.arrival(&agent.id()).await;
    agent.cut(connected);
    wait_for(&kit.devices, &agent.id(), Some(Presence::Away)).await;
    kit.devices.arrival(&agent.id()).await;
    kit.devices.open(&agent.id(), Class::Interactive).await.unwrap();
    let clock = stop_clock();
    clock.pass(Duration::from_secs(61)).await;
    wait_for(&kit.devices, &agent.id(), None).await;
    let wait = waits_for(&kit, &agent);
    clock.pass(Duration::from_secs(1)).await;
    assert!(!wait.is_finished());
    drop(clock);
    let _back = agent.connect(&kit).await.unwrap();
    wait.await.unwrap();
}

#[actix::test]
async fn more_waiters_than_sessions_are_told_early_and_a_place_given_up_is_free_again() {
    let kit = Kit::with(|config| config.limits.sessions = 2).await;
    let agent = Agent::new();
    let waiting = [waits_for(&kit, &agent), waits_for(&kit, &agent)];
    // In the directory before the next is.
    kit.devices.states().await;
    kit.devices.arrival(&agent.id()).await;
    for wait in waiting {
        wait.abort();
        let _ = wait.await;
    }
    let patient = waits_for(&kit, &agent);
    let clock = stop_clock();
    clock.pass(Duration::from_secs(1)).await;
    assert!(!patient.is_finished());
    patient.abort();
}

#[actix::test]
async fn an_unknown_device_has_no_stream() {
    let kit = Kit::new().await;
    let problem = kit.devices.open(&Agent::new().id(), Class::Interactive).await.unwrap_err();
    assert_eq!(problem.code, Code::DEVICE_OFFLINE);
}

#[actix::test]
async fn two_devices_at_once_never_mix_their_streams() {
    let kit = Kit::new().await;
    let mut agents: Vec<Agent> = (0..4).map(|_| Agent::new()).collect();
    let mut connected = Vec::new();
    for agent in &mut agents {
        connected.push(agent.connect(&kit).await.unwrap());
    }
    let mut streams = Vec::new();
    for _ in 0..5 {
        for agent in &agents {
            streams.push(kit.devices.open(&agent.id(), Class::Interactive).await.unwrap());
        }
    }
    for stream in &mut streams {
        assert_eq!(ident(stream).await, "SSH-2.0-");
    }
    let states = kit.devices.states().await;
    assert_eq!(states.len(), 4);
    assert!(states.values().all(|Leg { presence, .. }| *presence == Presence::Online));
    drop(streams);
    let links: Vec<_> = agents.iter().filter_map(|agent| agent.link.clone()).collect();
    eventually(|| links.iter().all(|link| link.streams() == 0)).await;
}

#[actix::test]
async fn an_agent_that_stood_still_is_counted_and_a_silent_network_is_not() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    agent.cut(connected);
    let connected = agent.connect(&kit).await.unwrap();
    assert_eq!(kit.metric("moorline_agents_stood_still_total"), 0.0);
    agent.cut(connected);
    let still = |_: &Challenge, mut hello: Hello| {
        hello.stood_still_ms = 15_000;
        hello
    };
    let _connected = agent.connect_as(&kit, still).await.unwrap();
    assert_eq!(kit.metric("moorline_agents_stood_still_total"), 1.0);
}
