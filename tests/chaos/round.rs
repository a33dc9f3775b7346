//! The rounds of one fault: people work, the fault comes at a random moment, the init system does
//! its part, and everybody waits until they are live again.
//!
//! "Live again" is counted from the moment of the fault to the moment at which the person sees output
//! that was written after it and answers a key that was typed after it: both ways of the whole path
//! work then. A fault that lasts (a stopped agent) is counted from its beginning.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join, join_all};
use moorline_tests::Stage;
use moorline_tests::store::SmallDisk;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::client::Moment;
use crate::crowd::Crowd;
use crate::faults::{Damage, Fault, mend, strike};
use crate::options::Options;
use crate::pause::a_moment;
use crate::report::Row;
use crate::scene::{Scene, tails};
use crate::shell::{self, Shell};
use crate::{chromium, seen, setup};

/// How long people work before a fault.
const CALM_MS: std::ops::Range<u64> = 200..1_500;

/// Tries the fault so often, with everything of its own, and leaves nothing behind.
pub async fn play(fault: Fault, options: &Options) -> Row {
    let (rounds, seed) = (options.rounds, options.seed);
    let begun = Instant::now();
    let mut row = Row::new(fault);
    row.bar *= options.patience;
    // Each fault has random moments of its own, whichever others are tried.
    let mut random = StdRng::seed_from_u64(seed ^ (fault as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let stage = Stage::new();
    let result = on_a_scene(&stage, fault, rounds, &mut random, &mut row).await;
    if let Err(error) = result {
        row.trouble = Some(format!("{error:#}"));
    }
    if !row.over().is_empty() {
        let notes = row.account.notes.join("\n");
        eprintln!(
            "==== {} (seed {seed}): {}\n{notes}\n{}",
            fault.name(),
            row.over().join("; "),
            tails(&stage.path(""))
        );
    }
    row.took = begun.elapsed();
    if !row.over().is_empty() {
        // Its folder stays for whoever looks into it.
        std::mem::forget(stage);
    }
    row
}

async fn on_a_scene(
    stage: &Stage,
    fault: Fault,
    rounds: usize,
    random: &mut StdRng,
    row: &mut Row,
) -> Result<()> {
    let _disk = match fault {
        Fault::DiskFull => Some(SmallDisk::mount(stage.folder("broker"))?),
        _ => None,
    };
    let mut scene = Scene::set(stage).await.context("set the scene")?;
    let crowd = match fault {
        Fault::Crowd => Some(Crowd::gather(stage, &scene.broker).await?),
        _ => None,
    };
    match fault {
        Fault::BrokerKillSetup => setup::rounds(&mut scene, rounds, random, row).await?,
        _ => work(&mut scene, crowd.as_ref(), fault, rounds, random, row).await?,
    }
    if fault == Fault::TabReload {
        let before = scene.broker.figures().await?;
        chromium::reloads(&scene, rounds, random, row).await.context("in Chromium")?;
        seen::look(row, "in Chromium", &before, &scene.broker).await;
    }
    scene.devices_are_online().await?;
    drop(crowd);
    scene.end_sessions().await.context("after all sessions were ended")?;
    scene.take_down().await?;
    no_panics(stage, fault)
}

/// A panic that nobody ordered is a fault of its own.
fn no_panics(stage: &Stage, fault: Fault) -> Result<()> {
    let ordered = matches!(fault, Fault::SessionPanic | Fault::TwoAtOnce);
    for log in ["broker", "embedded", "openssh"] {
        let text = stage.log(log);
        let panic = text.lines().find(|line| line.contains("panicked at"));
        ensure!(ordered || panic.is_none(), "a panic in the log of {log}: {}", panic.unwrap_or_default());
    }
    Ok(())
}

async fn work(
    scene: &mut Scene<'_>,
    crowd: Option<&Crowd>,
    fault: Fault,
    rounds: usize,
    random: &mut StdRng,
    row: &mut Row,
) -> Result<()> {
    let mut shells = shell::on_each(scene).await.context("open the shells")?;
    for _ in 0..rounds {
        a_moment(random, CALM_MS).await;
        let before = scene.broker.figures().await?;
        let moment = Moment::now();
        let damage = strike(fault, scene, &shells, random).await?;
        let words = damage.words();
        let (mended, lives) = join(mended(damage, scene, crowd), alive(&shells, moment)).await;
        mended.context("what was broken is mended")?;
        row.rounds += 1;
        take(row, lives, &mut shells, &words);
        seen::look(row, &words, &before, &scene.broker).await;
        if shells.len() < scene.devices.len() {
            scene.devices_are_online().await?;
            drop(std::mem::replace(&mut shells, shell::on_each(scene).await.context("open new shells")?));
        }
    }
    for shell in shells {
        row.account.add(shell.finish().await?);
    }
    Ok(())
}

async fn mended(damage: Damage, scene: &mut Scene<'_>, crowd: Option<&Crowd>) -> Result<()> {
    mend(damage, scene).await?;
    match crowd {
        Some(crowd) => crowd.is_there(&scene.broker).await,
        None => Ok(()),
    }
}

/// Waits until each person is live again.
async fn alive(shells: &[Shell], moment: Moment) -> Vec<Result<Duration>> {
    join_all(shells.iter().map(async |shell| shell.lives(moment, shell.types()).await)).await
}

/// Notes how long it took, and who did not come back: their shells are gone.
fn take(row: &mut Row, lives: Vec<Result<Duration>>, shells: &mut Vec<Shell>, words: &str) {
    let mut lives = lives.into_iter();
    let round = row.rounds;
    shells.retain(|shell| match lives.next() {
        Some(Ok(time)) => {
            row.live_again.push(time);
            if time > row.bar {
                row.account.notes.push(format!("round {round} {words}: {} after {time:?}", shell.name()));
            }
            true
        }
        Some(Err(error)) => {
            row.sessions_lost += 1;
            row.account.notes.push(format!("round {round} {words}: {error:#}"));
            false
        }
        None => true,
    });
}
