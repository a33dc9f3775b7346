//! Clients that are gone without a word in the middle of a flood: how long the broker keeps them, and what is left
//! of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use moorline_tests::wait::eventually;
use moorline_tests::{Kind, Relay, Stage, World};
use serde_json::json;

use super::held::{self, Part, Parts, kib};
use super::numbers::{Numbers, PROGRAM};
use super::pause::pause;
use super::readers::{Reader, clients, end_all};
use super::{Check, Options, Outcome, world};

/// How many vanish, so that what they cost stands out.
const CLIENTS: usize = 8;

/// The broker gives a page up that has not answered for so long: `timing.user_dead`, and a moment to see it.
const GONE_WITHIN: Duration = Duration::from_secs(46);

/// How much more memory there may be when the sessions have ended.
const GROWTH_MAX: f64 = 0.02;

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, kind: Kind) -> Result<Outcome> {
    let world = world(stage, kind, &[("timing.ticket", "5s")]).await?;
    // What the first floods of all take is taken once.
    for _ in 0..options.full_or(3, 1) {
        play(&world).await?;
    }
    let before = held::settled(&world).await;
    let played = play(&world).await?;
    let after = held::settled(&world).await;
    let of = |parts: &Parts, part| parts.get(&part).copied().unwrap_or_default().resident;
    let growth = |part| of(&after, part) / of(&before, part) - 1.0;
    let (broker, agent) = (growth(Part::Broker), growth(Part::Agent));
    let slowest = played.gone_after.iter().max().copied().unwrap_or_default().as_secs_f64();
    let median = played.gone_after[played.gone_after.len() / 2].as_secs_f64();
    Ok(Outcome {
        line: format!(
            "let go of after {median:.1} s, the last one after {slowest:.1} s (<= {} s); then the broker has {:+.1} % \
             and the agent {:+.1} % (<= {} %)",
            GONE_WITHIN.as_secs(),
            broker * 100.0,
            agent * 100.0,
            GROWTH_MAX * 100.0,
        ),
        figures: json!({
            "clients": CLIENTS, "gone_after_s": { "p50": median, "max": slowest },
            "broker_kib_each_when_gone": played.held_when_gone,
            "broker_growth": broker, "agent_growth": agent,
        }),
        checks: vec![
            Check::most("vanished client, let go of after s", slowest, GONE_WITHIN.as_secs_f64()),
            Check::most("vanished clients, broker grows %", broker * 100.0, GROWTH_MAX * 100.0),
            Check::most("vanished clients, agent grows %", agent * 100.0, GROWTH_MAX * 100.0),
        ],
    })
}

struct Played {
    /// How long each one was kept, in order.
    gone_after: Vec<Duration>,
    /// What the broker has more for each than before the flood, when it has let go of them all.
    held_when_gone: f64,
}

/// Some clients vanish, and in the end their sessions are ended.
async fn play(world: &World) -> Result<Played> {
    let relay = Relay::to(world.broker.address).await?;
    let opened = clients(world, relay.address, CLIENTS).await?;
    let before = held::parts(world);
    let mut readers = Vec::new();
    for mut client in opened {
        let mut numbers = Numbers::new();
        numbers.take(&client.runs(PROGRAM).await?)?;
        readers.push(Reader::of(client, Some(numbers)));
    }
    pause(Duration::from_secs(3)).await;
    for reader in &readers {
        reader.check()?;
        ensure!(reader.bytes() > 0, "there is no flood");
    }
    relay.stall();
    let since = Instant::now();
    let mut gone_after = Vec::new();
    for reader in &readers {
        let gone = eventually(Duration::from_secs(120), "the broker to let go", async || {
            let session = world.broker.session(&reader.session).await?;
            ensure!(session["viewers"] == 0, "it is {session}");
            Ok(since.elapsed())
        });
        gone_after.push(gone.await?);
    }
    gone_after.sort();
    let after = held::parts(world);
    let own = |parts: &Parts| parts.get(&Part::Broker).copied().unwrap_or_default().own;
    let held_when_gone = kib((own(&after) - own(&before)) / CLIENTS as f64);
    end_all(world, readers.iter().map(|reader| reader.session.clone()), 0).await?;
    Ok(Played { gone_after, held_when_gone })
}
