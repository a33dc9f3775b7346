//! Install keys of the list, devices that wait or were revoked, and devices that change their key.

use actix_rt::Arbiter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use moorline_wire::Code;
use moorline_wire::link::greeting::Hello;
use ring::signature::KeyPair;

use super::directory::Arrived;
use super::greeting::Greeted;
use super::{fresh_install_key, id_of};
use crate::clock::{now, wall};
use crate::id::InstallKeyId;
use crate::store::{InstallKeyRow, KeyMode, Standing};
use crate::testkit::Kit;
use crate::testkit::agent::{Agent, fresh_key, socket};

/// An install key in the store; gives it as it is shown once.
async fn install_key(kit: &Kit, change: impl FnOnce(&mut InstallKeyRow)) -> String {
    let mut row = InstallKeyRow {
        id: InstallKeyId::fresh().unwrap(),
        label: "lab".into(),
        mode: KeyMode::Automatic,
        uses_max: None,
        uses: 0,
        tags: vec!["lab".parse().unwrap()],
        expires: wall() + jiff::SignedDuration::from_hours(1),
        created: wall(),
        created_by: "anna".into(),
    };
    change(&mut row);
    let (key, proofs) = fresh_install_key(&row.id).unwrap();
    kit.store.add_install_key(&row, &proofs).await.unwrap();
    key.to_string()
}

fn with_key(key: &str) -> Agent {
    let mut agent = Agent::new();
    agent.install_key = Some(key.to_owned());
    agent
}

#[actix::test]
async fn a_device_that_comes_with_a_listed_install_key_has_its_tags_and_the_brokers_proof() {
    let kit = Kit::new().await;
    let mut agent = with_key(&install_key(&kit, |_| ()).await);
    let connected = agent.connect(&kit).await.unwrap();
    assert!(connected.welcome.enrolled.is_some() && !connected.welcome.pending);
    let row = kit.store.device(&agent.id()).await.unwrap().unwrap();
    let keys = kit.store.install_keys().await.unwrap();
    assert_eq!((row.standing, row.install_key.as_ref()), (Standing::Approved, Some(&keys[0].id)));
    assert_eq!((row.tags, keys[0].uses), (vec!["lab".parse().unwrap()], 1));
    // Coming back is no further use.
    agent.cut(connected);
    agent.connect(&kit).await.unwrap();
    assert_eq!(kit.store.install_keys().await.unwrap()[0].uses, 1);
    kit.audit.flush().await.unwrap();
    let audit =
        kit.store.audit(crate::store::AuditFilter { count_max: 9, ..Default::default() }).await.unwrap();
    let line = |row: &crate::store::AuditRow| (row.who.clone(), row.what.clone(), row.target.clone());
    let told: Vec<_> = audit.iter().map(line).collect();
    assert_eq!(told, [(keys[0].id.to_string(), "device_enroll".to_owned(), agent.id().to_string())]);
}

#[actix::test]
async fn an_install_key_that_is_used_up_over_or_ended_enrols_nobody_more() {
    let kit = Kit::new().await;
    let once = install_key(&kit, |row| row.uses_max = Some(1)).await;
    let mut first = with_key(&once);
    let connected = first.connect(&kit).await.unwrap();
    assert_eq!(with_key(&once).connect(&kit).await.err().unwrap().code, Code::INSTALL_KEY_OVER);
    // Whom it made known comes in with it as without it.
    first.cut(connected);
    first.connect(&kit).await.unwrap();
    let expired = install_key(&kit, |row| row.expires = wall()).await;
    assert_eq!(with_key(&expired).connect(&kit).await.err().unwrap().code, Code::INSTALL_KEY_OVER);
    for row in kit.store.install_keys().await.unwrap() {
        assert!(row.is_over(wall()));
        assert!(kit.store.end_install_key(&row.id).await.unwrap());
    }
    assert_eq!(with_key(&once).connect(&kit).await.err().unwrap().code, Code::NOT_ENROLLED);
    assert_eq!(kit.store.device_count().await.unwrap(), 1);
    assert_eq!(kit.metric("moorline_refusals_total{code=\"install_key_over\"}"), 2.0);
}

#[actix::test]
async fn the_secret_of_another_install_key_proves_nothing() {
    let kit = Kit::new().await;
    let (one, other) = (install_key(&kit, |_| ()).await, install_key(&kit, |_| ()).await);
    let (id, secret) = (&one[..21], &other[21..]);
    let refused = with_key(&format!("{id}{secret}")).connect(&kit).await.err().unwrap();
    assert_eq!(refused.code, Code::NOT_ENROLLED);
    // What the broker keeps does not prove it either: it is the other half.
    let keys = kit.store.install_keys().await.unwrap();
    let (_, kept) = kit.store.install_key(&keys[0].id).await.unwrap().unwrap();
    assert!(!one.contains(&BASE64.encode(&kept.public)) && !one.contains(&BASE64.encode(&kept.broker)));
    let mut agent = with_key(&one);
    let twin = agent.twin();
    let refused = agent.connect_as(&kit, |challenge, mut hello| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &kept.broker);
        hello.enroll = Some(BASE64.encode(ring::hmac::sign(&key, &hello.enroll_bytes(challenge))));
        twin.sign(hello, challenge)
    });
    assert_eq!(refused.await.err().unwrap().code, Code::NOT_ENROLLED);
}

#[actix::test]
async fn a_device_of_a_pending_key_is_connected_and_gets_no_session_until_it_is_approved() {
    let kit = Kit::new().await;
    let mut agent = with_key(&install_key(&kit, |row| row.mode = KeyMode::Pending).await);
    let connected = agent.connect(&kit).await.unwrap();
    assert!(connected.welcome.pending);
    assert_eq!(kit.shell(&agent.id()).await.unwrap_err().code, Code::DEVICE_PENDING);
    assert_eq!(kit.metric("moorline_devices_pending"), 1.0);
    assert!(kit.store.approve(&agent.id()).await.unwrap());
    assert!(!kit.store.approve(&agent.id()).await.unwrap(), "it waits no more");
    kit.shell(&agent.id()).await.unwrap();
    assert_eq!(kit.metric("moorline_devices_pending"), 0.0);
    agent.cut(connected);
    assert!(!agent.connect(&kit).await.unwrap().welcome.pending);
}

#[actix::test]
async fn no_more_devices_wait_for_approval_than_may_and_the_one_too_many_uses_nothing() {
    let kit = Kit::with(|config| config.limits.devices_pending = 1).await;
    let key = install_key(&kit, |row| row.mode = KeyMode::Pending).await;
    let _first = with_key(&key).connect(&kit).await.unwrap();
    let mut second = with_key(&key);
    let refused = second.connect(&kit).await.err().unwrap();
    assert_eq!(refused.code, Code::LIMIT);
    assert!(refused.text.contains("limits.devices_pending"), "{}", refused.text);
    assert_eq!(kit.store.device(&second.id()).await.unwrap(), None);
    assert_eq!(kit.store.install_keys().await.unwrap()[0].uses, 1);
}

#[actix::test]
async fn a_revoked_device_is_cut_off_and_refused_also_after_it_was_forgotten() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let mut connected = agent.connect(&kit).await.unwrap();
    assert!(kit.store.revoke(&agent.id(), &[], wall()).await.unwrap());
    kit.devices.revoke(&agent.id()).await;
    assert_eq!(connected.closed.recv().await, Some(Code::DEVICE_REVOKED));
    assert_eq!(agent.connect(&kit).await.err().unwrap().code, Code::DEVICE_REVOKED);
    assert_eq!(kit.shell(&agent.id()).await.unwrap_err().code, Code::DEVICE_REVOKED);
    assert!(kit.store.forget(&agent.id()).await.unwrap());
    assert_eq!(agent.connect(&kit).await.err().unwrap().code, Code::DEVICE_REVOKED, "it has the install key");
    assert_eq!(kit.store.device(&agent.id()).await.unwrap(), None);
    assert_eq!(kit.metric("moorline_refusals_total{code=\"device_revoked\"}"), 3.0);
}

#[actix::test]
async fn a_device_changes_its_key_and_both_count_until_the_new_one_is_used() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    assert!(!connected.welcome.next_key_taken);
    let mut old = agent.twin();
    agent.next_key = Some(fresh_key());
    agent.cut(connected);
    // Again, as an agent does that was killed before it could write down that it was taken.
    for _ in 0..2 {
        let connected = agent.connect(&kit).await.unwrap();
        assert!(connected.welcome.next_key_taken && connected.welcome.resumed);
        agent.cut(connected);
    }
    (old.resume, old.link) = (agent.resume.take(), agent.link.take());
    let connected = old.connect(&kit).await.unwrap();
    old.cut(connected);
    (agent.resume, agent.link) = (old.resume.take(), old.link.take());
    agent.use_next_key();
    let connected = agent.connect(&kit).await.unwrap();
    assert!(connected.welcome.resumed, "the link goes on with the new key");
    let refused = old.connect(&kit).await.err().unwrap();
    assert_eq!(refused.code, Code::KEY_REPLACED);
    assert_eq!(kit.metric("moorline_devices{state=\"online\"}"), 1.0);
    // With the device, every key that it has is revoked.
    let row = kit.store.device(&agent.id()).await.unwrap().unwrap();
    kit.store.revoke(&agent.id(), &[id_of(&row.key)], wall()).await.unwrap();
    kit.store.forget(&agent.id()).await.unwrap();
    for mut late in [old, agent] {
        let id = id_of(&row.key);
        assert!(kit.store.is_revoked(&late.id(), &id).await.unwrap());
        assert!(late.connect(&kit).await.is_err());
    }
}

#[actix::test]
async fn a_next_key_that_does_not_sign_for_itself_is_not_taken() {
    let kit = Kit::new().await;
    let mut agent = Agent::new();
    let connected = agent.connect(&kit).await.unwrap();
    agent.cut(connected);
    agent.next_key = Some(fresh_key());
    let (thief, others) = (agent.twin(), fresh_key());
    let swapped = agent.connect_as(&kit, move |challenge, mut hello| {
        let key = BASE64.encode(others.public_key().as_ref());
        hello.next_key.as_mut().unwrap().key = key;
        thief.sign(hello, challenge)
    });
    assert_eq!(swapped.await.err().unwrap().code, Code::BAD_SIGNATURE);
    assert_eq!(kit.store.device(&agent.id()).await.unwrap().unwrap().next_key, None);
}

#[actix::test]
async fn a_greeting_that_began_before_the_device_was_revoked_comes_too_late() {
    let kit = Kit::new().await;
    let device = Agent::new().id();
    let arrives = async |began| {
        let (ends, _raw) = socket();
        let proved = Greeted {
            heard: 0,
            device: device.clone(),
            resume: None,
            enrolled: None,
            clock_ahead: 0,
            keeper: None,
            pending: false,
            next_key_taken: false,
            key_asked: false,
            began,
        };
        let arrived = Arrived { proved, ends, peer: ([127, 0, 0, 1], 1).into(), place: Arbiter::current() };
        kit.devices.directory.send(arrived).await.unwrap().map_err(|(_, problem)| problem.code)
    };
    let before = now();
    kit.devices.revoke(&device).await;
    assert_eq!(arrives(before).await, Err(Code::OVERLOADED));
    while now() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(arrives(now()).await, Ok(()), "that is for the greeting to decide");
}

#[actix::test]
async fn what_a_device_said_once_lets_nobody_in_again() {
    let kit = Kit::new().await;
    let mut agent = with_key(&install_key(&kit, |_| ()).await);
    let mut said = None;
    let heard = |_: &_, hello: Hello| said.insert(hello).clone();
    let connected = agent.connect_as(&kit, heard).await.unwrap();
    agent.cut(connected);
    let said = said.unwrap();
    let again = said.clone();
    let replayed = agent.twin().connect_as(&kit, |_, _| again).await.err().unwrap();
    assert_eq!(replayed.code, Code::BAD_SIGNATURE, "the challenge is another one");
    // Nor does the proof of the install key, under a key of one's own.
    let mut thief = Agent::new();
    thief.install_key = None;
    let own_key = thief.twin();
    let stolen = thief.connect_as(&kit, |challenge, mut hello| {
        (hello.enroll, hello.install_key) = (said.enroll, said.install_key);
        own_key.sign(hello, challenge)
    });
    assert_eq!(stolen.await.err().unwrap().code, Code::NOT_ENROLLED);
    assert_eq!(kit.metric("moorline_auth_failures_total{kind=\"device\"}"), 2.0);
}
