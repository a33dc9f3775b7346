//! Devices that are not what they say, or that send what they should not.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use moorline_tests::impostor::{Impostor, Taken};
use moorline_tests::raw::{Raw, Upgrade};
use moorline_tests::{Agent, Broker, Kind, Stage, World, inspect, once, seed};
use moorline_wire::Code;
use moorline_wire::link::SUBPROTOCOL;
use moorline_wire::link::greeting::{Message as Greeting, Refused};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio_tungstenite::tungstenite::Message;

once! {
    an_impostor_with_the_right_id_and_the_wrong_key_is_refused_and_the_device_stays,
    a_device_without_the_install_key_is_refused,
    a_greeting_with_one_changed_field_is_refused,
    a_greeting_cannot_be_used_twice,
    a_link_of_another_version_is_told_so,
    a_greeting_out_of_place_is_refused,
    a_device_that_does_not_greet_is_closed_in_time,
    frames_that_break_the_rules_close_the_link_and_nothing_else,
    a_newer_connection_of_the_same_device_evicts_the_older,
    an_agent_whose_broker_was_set_up_anew_refuses_it,
    an_agent_refuses_an_unencrypted_broker_on_another_machine,
}

fn refused(taken: Taken, code: Code) -> Result<Refused> {
    match taken {
        Taken::Refused(refused) if refused.code == code && refused.text.ends_with('.') => Ok(refused),
        other => bail!("wanted {code:?}, got {other:?}"),
    }
}

async fn an_impostor_with_the_right_id_and_the_wrong_key_is_refused_and_the_device_stays(
    stage: &Stage,
) -> Result<()> {
    stage.announce("bad_signature");
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    let impostor = Impostor::new(stage)?;
    let id = world.device.id.parse()?;
    refused(impostor.greets(&world.broker, |hello| hello.device = id, |_| {}).await?, Code::BAD_SIGNATURE)?;
    stage.logged("broker", &["bad_signature"]).await?;
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    assert_eq!(world.broker.device(&world.device.id).await?["name"], "device");
    ensure!(world.broker.metric("moorline_auth_failures_total", &[]).await? >= 1.0, "it was not counted");
    Ok(())
}

async fn a_device_without_the_install_key_is_refused(stage: &Stage) -> Result<()> {
    stage.announce("not_enrolled");
    stage.announce("bad_signature");
    let broker = Broker::start(stage).await?;
    let impostor = Impostor::new(stage)?;
    // The signature covers the proof, so it is taken away before signing would be: both are spoilt.
    for proof in [None, Some("AAAA".to_owned())] {
        let taken = impostor.greets(&broker, |_| {}, |hello| hello.enroll = proof.clone()).await?;
        ensure!(
            matches!(&taken, Taken::Refused(refused) if [Code::NOT_ENROLLED, Code::BAD_SIGNATURE].contains(&refused.code)),
            "{taken:?}"
        );
    }
    assert_eq!(broker.get("/api/v1/devices").await?["devices"], serde_json::json!([]));
    // A real agent with another install key says what is to be done.
    stage.announce("enrol");
    std::fs::write(stage.path("other.key"), "bm90IHRoZSBrZXkgdGhhdCB0aGUgYnJva2VyIGhhcywgbm8gc2ly")?;
    let key = stage.path("other.key").display().to_string();
    let _agent = Agent::start_with(stage, "device", broker.address, &[("install_key_file", &key)])?;
    stage.logged("device", &["not_enrolled"]).await?;
    assert_eq!(broker.get("/api/v1/devices").await?["devices"], serde_json::json!([]));
    Ok(())
}

async fn a_greeting_with_one_changed_field_is_refused(stage: &Stage) -> Result<()> {
    for text in ["bad_signature", "not_enrolled", "protocol"] {
        stage.announce(text);
    }
    let broker = Broker::start(stage).await?;
    let impostor = Impostor::new(stage)?;
    type Spoil = fn(&mut moorline_wire::link::greeting::Hello);
    let spoils: [(&str, Spoil); 6] = [
        ("name", |hello| hello.name.push('x')),
        ("login", |hello| hello.login = "root2".into()),
        ("host keys", |hello| hello.host_keys.push("ssh-ed25519 AAAA".into())),
        ("clock", |hello| hello.clock += 1),
        ("sshd", |hello| hello.sshd = "system".into()),
        ("signature", |hello| {
            hello.signature.replace_range(0..1, if hello.signature.starts_with('A') { "B" } else { "A" })
        }),
    ];
    for (what, spoil) in spoils {
        let taken = impostor.greets(&broker, |_| {}, spoil).await?;
        ensure!(matches!(taken, Taken::Refused(_)), "another {what} was taken");
    }
    match impostor.greets(&broker, |_| {}, |_| {}).await? {
        Taken::In(_, welcome) => ensure!(!welcome.resumed && welcome.enrolled.is_some(), "{welcome:?}"),
        Taken::Refused(refused) => bail!("the unchanged one was refused: {refused:?}"),
    }
    Ok(())
}

async fn a_greeting_cannot_be_used_twice(stage: &Stage) -> Result<()> {
    stage.announce("bad_signature");
    let broker = Broker::start(stage).await?;
    let impostor = Impostor::new(stage)?;
    let mut overheard = None;
    impostor.greets(&broker, |_| {}, |hello| overheard = Some(hello.clone())).await?;
    let overheard = overheard.context("the greeting was made")?;
    refused(
        impostor.greets(&broker, |_| {}, |hello| *hello = overheard.clone()).await?,
        Code::BAD_SIGNATURE,
    )?;
    Ok(())
}

async fn a_link_of_another_version_is_told_so(stage: &Stage) -> Result<()> {
    stage.announce("version");
    let broker = Broker::start(stage).await?;
    let impostor = Impostor::new(stage)?;
    refused(impostor.greets(&broker, |hello| hello.version = 9, |_| {}).await?, Code::VERSION)?;
    match Raw::link(&broker, "moorline.link.v9").await {
        Ok(Upgrade::Done(mut raw)) => {
            let (frame, _) = raw.closed().await?;
            assert_eq!(u16::from(frame.code), Code::VERSION.number());
        }
        Ok(Upgrade::Refused(status, body)) => {
            ensure!(status == 426 && body["code"] == "version", "{status} {body}")
        }
        Err(error) => ensure!(format!("{error:#}").to_lowercase().contains("protocol"), "{error:#}"),
    }
    Ok(())
}

/// A socket on which the broker's challenge was heard.
async fn challenged(broker: &Broker) -> Result<Raw> {
    let Upgrade::Done(mut raw) = Raw::link(broker, SUBPROTOCOL).await? else {
        bail!("the upgrade was refused")
    };
    match raw.next().await? {
        Message::Binary(bytes) => {
            ensure!(matches!(Greeting::decode(&bytes)?, Greeting::Challenge(_)), "no challenge")
        }
        other => bail!("no challenge: {other:?}"),
    }
    Ok(*raw)
}

/// Reads on until the broker has closed, and fails unless it was with that code.
async fn is_closed(raw: &mut Raw, code: Code) -> Result<()> {
    let (frame, _) = raw.closed().await?;
    ensure!(u16::from(frame.code) == code.number(), "wanted {code:?}, got {frame:?}");
    Ok(())
}

async fn a_greeting_out_of_place_is_refused(stage: &Stage) -> Result<()> {
    for text in ["protocol", "greeting"] {
        stage.announce(text);
    }
    let broker = Broker::start(stage).await?;
    for frame in [vec![], vec![0], vec![0xff; 100], vec![1, b'{', b'}'], vec![2, b'{'], vec![2; 15_000]] {
        let mut raw = challenged(&broker).await?;
        raw.send(frame).await?;
        is_closed(&mut raw, Code::PROTOCOL).await?;
    }
    Ok(())
}

async fn a_device_that_does_not_greet_is_closed_in_time(stage: &Stage) -> Result<()> {
    stage.announce("hello_timeout");
    let broker =
        Broker::start_with(stage, moorline_tests::broker::free_port(), &[("timing.greeting", "1s")]).await?;
    is_closed(&mut challenged(&broker).await?, Code::HELLO_TIMEOUT).await
}

async fn frames_that_break_the_rules_close_the_link_and_nothing_else(stage: &Stage) -> Result<()> {
    for text in ["violation", "protocol", "too_large", "link"] {
        stage.announce(text);
    }
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    let impostor = Impostor::new(stage)?;
    let mut random = StdRng::seed_from_u64(seed());
    let before = inspect::resident(world.broker.pid())?;
    for round in 0..200 {
        let Taken::In(mut raw, _) = impostor.greets(&world.broker, |_| {}, |_| {}).await? else {
            bail!("it was refused")
        };
        let mut frame = vec![0; random.random_range(0..200)];
        random.fill_bytes(&mut frame);
        // Half of them begin like a real frame: a type, then garbage.
        if round % 2 == 0 && !frame.is_empty() {
            frame[0] = random.random_range(0..16);
        }
        // Some garbage may be a frame that is allowed; then the next one is not.
        let _ = raw.send(Bytes::from(frame)).await;
        let _ = raw.send(vec![0xee; 3]).await;
        let (close, _) = raw.closed().await?;
        ensure!(u16::from(close.code) >= 4000, "round {round}: {close:?}");
    }
    let Taken::In(mut raw, _) = impostor.greets(&world.broker, |_| {}, |_| {}).await? else {
        bail!("it was refused")
    };
    raw.send(vec![1; 200_000]).await?;
    raw.closed().await?;
    let after = inspect::resident(world.broker.pid())?;
    ensure!(after < before + (32 << 20), "{before} bytes became {after}");
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    Ok(())
}

async fn a_newer_connection_of_the_same_device_evicts_the_older(stage: &Stage) -> Result<()> {
    stage.announce("evicted");
    let broker = Broker::start(stage).await?;
    let impostor = Impostor::new(stage)?;
    let Taken::In(mut older, first) = impostor.greets(&broker, |_| {}, |_| {}).await? else {
        bail!("it was refused")
    };
    let Taken::In(_newer, second) = impostor.greets(&broker, |_| {}, |_| {}).await? else {
        bail!("it was refused")
    };
    ensure!(second.epoch > first.epoch, "{} after {}", second.epoch, first.epoch);
    is_closed(&mut older, Code::EVICTED).await?;
    broker.device_is(impostor.id()?.as_str(), "online").await
}

async fn an_agent_whose_broker_was_set_up_anew_refuses_it(stage: &Stage) -> Result<()> {
    for text in ["broker_untrusted", "link", "connect"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, Kind::Embedded).await?;
    world.broker.process.kill()?;
    // The same place, but another CA; and the device has no install key any more.
    std::fs::remove_file(stage.path("broker/ca_key"))?;
    world.device.agent.process.kill()?;
    let at_once = [("timing.backoff_min", "10ms"), ("timing.backoff_max", "50ms"), ("install_key_file", "")];
    let _agent = Agent::start_with(stage, "device", world.broker.address, &at_once)?;
    world.broker.restart(stage).await?;
    stage.logged("device", &["broker_untrusted"]).await?;
    // It leaves as soon as it has seen the other CA, and takes its time before it looks again.
    world.broker.device_is(&world.device.id, "away").await
}

async fn an_agent_refuses_an_unencrypted_broker_on_another_machine(stage: &Stage) -> Result<()> {
    stage.announce("ws://");
    stage.announce("bad_config");
    let mut agent = Agent::start_with(stage, "device", ([192, 0, 2, 1], 80).into(), &[])?;
    let status = agent.process.ended(moorline_tests::wait::SOON).await?;
    ensure!(!status.success(), "it started");
    let log = stage.log("device");
    ensure!(log.contains("wss://") || log.contains("insecure"), "no remedy: {log}");
    Ok(())
}
