//! Five hundred sessions, opened, used and ended in four ways, four at a time: memory stays flat, and everything
//! that has a number is given back to the last one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use moorline_tests::wait::eventually;
use moorline_tests::{Kind, Stage, Terminal, World};
use moorline_wire::term::ViewerControl;
use serde_json::{Value, json};

use super::held::{self, Part, Parts, kib};
use super::{Check, Options, Outcome, world};

/// How much more memory there may be.
const GROWTH_MAX: f64 = 0.02;

/// What must be as it was. Threads are told as well, but a runtime's threads for files come and go.
const EXACT: [&str; 7] = [
    "broker_descriptors",
    "agent_descriptors",
    "device_processes",
    "broker_actors",
    "broker_tasks",
    "broker_sessions",
    "broker_viewers",
];

type Counts = BTreeMap<&'static str, i64>;

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, kind: Kind) -> Result<Outcome> {
    // The first ones are the allocator's: what they leave is used again by the next.
    let (first, rounds, each) = options.full_or((200, 5, 100), (40, 2, 20));
    // A session that is over is remembered for as long as a ticket for it is good, and a connection of
    // the API for as long as it may be idle: neither is to be there when it is counted.
    let settings = [("timing.ticket", "5s"), ("timing.http_idle", "5s")];
    let world = world(stage, kind, &settings).await?;
    let idle = held::counts(&world).await?["broker_actors"];
    use_so_many(&world, first).await?;
    let before_counts = rests(&world, idle, None).await?;
    let mut series = vec![held::settled(&world).await];
    for _ in 0..rounds {
        use_so_many(&world, each).await?;
        rests(&world, idle, None).await?;
        series.push(held::settled(&world).await);
    }
    let after_counts = rests(&world, idle, Some(&before_counts)).await?;
    let growth = |part| growth(&series, part);
    let (broker, agent) = (growth(Part::Broker), growth(Part::Agent));
    let left: Vec<_> = EXACT.iter().filter(|name| before_counts[*name] != after_counts[*name]).collect();
    Ok(Outcome {
        line: format!(
            "after {} sessions the broker has {:+.1} % and the agent {:+.1} % (<= {} %); not as before: {left:?}",
            rounds * each,
            broker * 100.0,
            agent * 100.0,
            GROWTH_MAX * 100.0,
        ),
        figures: json!({
            "sessions": rounds * each,
            "broker_growth": (broker * 1000.0).round() / 1000.0,
            "agent_growth": (agent * 1000.0).round() / 1000.0,
            "broker_rss_kib": resident(&series, Part::Broker),
            "agent_rss_kib": resident(&series, Part::Agent),
            "before": before_counts, "after": after_counts, "not_as_before": left,
        }),
        checks: vec![
            Check::most("500 sessions, broker grows %", broker * 100.0, GROWTH_MAX * 100.0),
            Check::most("500 sessions, agent grows %", agent * 100.0, GROWTH_MAX * 100.0),
            Check::most("500 sessions, counts not as before", left.len() as f64, 0.0),
        ],
    })
}

/// Resident memory at the end against the beginning.
fn growth(series: &[Parts], part: Part) -> f64 {
    let at = |parts: &Parts| parts.get(&part).copied().unwrap_or_default().resident;
    match (series.first(), series.last()) {
        (Some(first), Some(last)) if at(first) > 0.0 => at(last) / at(first) - 1.0,
        _ => f64::INFINITY,
    }
}

fn resident(series: &[Parts], part: Part) -> Vec<Value> {
    let of = |parts: &Parts| kib(parts.get(&part).copied().unwrap_or_default().resident).into();
    series.iter().map(of).collect()
}

async fn use_so_many(world: &World, count: usize) -> Result<()> {
    let all = (0..count).map(|number| use_one(world, number));
    futures_util::stream::iter(all).buffer_unordered(4).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Opens a session, uses it, and ends it in one of four ways.
async fn use_one(world: &World, number: usize) -> Result<()> {
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.ready().await?;
    terminal.runs("seq 10000").await?;
    match number % 4 {
        0 => terminal.types("exit\r"),
        1 => drop(world.broker.end(&terminal.session, "next").await?),
        2 => terminal.says(ViewerControl::Kill { reason: None }),
        _ => terminal.types("kill -KILL $$\r"),
    }
    terminal.ends().await.map(drop)
}

/// Waits until no session is left, nor remembered, and gives the counts when they no longer change; or, where
/// it is known what they are to become, when they are that. What they are in the end is told either way.
async fn rests(world: &World, idle_actors: i64, wanted: Option<&Counts>) -> Result<Counts> {
    let mut last = Counts::new();
    let mut same = 0;
    let resting = eventually(Duration::from_secs(60), "everything to be given back", async || {
        super::pause::pause(Duration::from_secs(1)).await;
        let now = held::counts(world).await?;
        let is_same = EXACT.iter().all(|name| now.get(name) == last.get(name));
        same = if is_same { same + 1 } else { 0 };
        last = now;
        let is_wanted = wanted.is_none_or(|wanted| EXACT.iter().all(|name| wanted[name] == last[name]));
        ensure!(is_wanted && last["broker_actors"] == idle_actors, "now {last:?}");
        ensure!(last["device_processes"] == 0 && same >= 8, "for {same} looks it was {last:?}");
        Ok(())
    })
    .await;
    match wanted {
        Some(_) => Ok(last),
        None => resting.map(|()| last),
    }
}
