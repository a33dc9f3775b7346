//! What sessions leave behind: nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use moorline_tests::inspect;
use moorline_tests::raw::Raw;
use moorline_tests::wait::eventually;
use moorline_tests::{Kind, Stage, Terminal, World, on_both, once};
use moorline_wire::term::ViewerControl;

on_both! {
    three_hundred_sessions_leave_nothing_behind,
}

once! {
    people_who_do_not_read_do_not_grow_the_broker,
    refused_sessions_leave_nothing_behind,
}

/// What a process and its actors hold.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    actors: f64,
    tasks: f64,
    viewers: f64,
    agent_descriptors: usize,
    device_processes: usize,
}

async fn held(world: &World) -> Result<Held> {
    let agent = world.device.agent.process.pid();
    Ok(Held {
        descriptors: inspect::descriptors(world.broker.pid())?,
        threads: inspect::threads(world.broker.pid())?,
        actors: world.broker.metric("moorline_actors", &[]).await?,
        tasks: world.broker.metric("moorline_tasks", &[]).await?,
        viewers: world.broker.metric("moorline_viewers", &[]).await?,
        agent_descriptors: inspect::descriptors(agent)?,
        device_processes: world.device.processes().len(),
    })
}

/// Waits until nothing more is held than before.
async fn is_held_again(world: &World, before: Held) -> Result<()> {
    eventually(Duration::from_secs(30), "everything to be given back", async || {
        let now = held(world).await?;
        // One descriptor more or less is a keep-alive connection of the test itself, or one of the store's.
        ensure!(now.descriptors <= before.descriptors + 2, "broker: {before:?} became {now:?}");
        ensure!(now.agent_descriptors <= before.agent_descriptors + 1, "agent: {before:?} became {now:?}");
        ensure!(now.threads <= before.threads + 1, "threads: {before:?} became {now:?}");
        ensure!(
            now.actors == before.actors && now.viewers == before.viewers,
            "actors: {before:?} became {now:?}"
        );
        ensure!(now.tasks <= before.tasks, "tasks: {before:?} became {now:?}");
        ensure!(now.device_processes == before.device_processes, "device: {before:?} became {now:?}");
        Ok(())
    })
    .await
}

/// Waits until no session is left, nor remembered.
async fn rests(world: &World, idle: f64) -> Result<()> {
    eventually(Duration::from_secs(60), "the sessions to be gone", async || {
        let now = held(world).await?;
        ensure!(now.device_processes == 0 && now.actors == idle, "{now:?}");
        Ok(())
    })
    .await
}

/// Opens a session, uses it, and ends it in one of four ways.
async fn one_session(world: &World, number: usize) -> Result<()> {
    let terminal = Terminal::open(&world.broker, &world.device.id).await?;
    terminal.live().await?;
    terminal.types("echo $((6*7))\r");
    terminal.shows("42\r\n").await?;
    match number % 4 {
        0 => terminal.types("exit\r"),
        1 => drop(world.broker.end(&terminal.session, "next").await?),
        2 => terminal.says(ViewerControl::Kill { reason: None }),
        _ => terminal.types("kill -KILL $$\r"),
    }
    terminal.ends().await?;
    Ok(())
}

async fn three_hundred_sessions_leave_nothing_behind(stage: &Stage, kind: Kind) -> Result<()> {
    // A session that is over is remembered for as long as a ticket for it is good.
    let world = World::with(stage, kind, &[("timing.ticket", "5s")]).await?;
    let idle = world.broker.metric("moorline_actors", &[]).await?;
    // The first ones fill caches and pools that stay.
    let first = (0..40).map(|number| one_session(&world, number));
    futures_util::stream::iter(first).buffer_unordered(4).try_collect::<Vec<()>>().await?;
    let pid = world.broker.pid();
    rests(&world, idle).await?;
    let before = held(&world).await?;
    let mut memory = vec![inspect::resident(pid)?];
    for round in 0..3 {
        // Four at a time: their lives overlap, and so do their ends.
        let hundred = (0..100).map(|number| one_session(&world, round * 100 + number));
        futures_util::stream::iter(hundred).buffer_unordered(4).try_collect::<Vec<()>>().await?;
        memory.push(inspect::resident(pid)?);
    }
    is_held_again(&world, before).await?;
    eprintln!("{kind:?}: resident memory after 0, 100, 200, 300: {memory:?}; {:?}", held(&world).await?);
    // A session costs some 100 KiB: 300 that stay would be 30 MiB. The allocator keeps some pages.
    ensure!(memory[3] < memory[0] + (12 << 20), "memory grows: {memory:?}");
    ensure!(memory[3] < memory[2] + (3 << 20), "memory goes on growing: {memory:?}");
    let agent = world.device.agent.process.pid();
    ensure!(
        inspect::descendants(agent).is_empty(),
        "the agent has children: {:?}",
        inspect::descendants(agent)
    );
    Ok(())
}

async fn refused_sessions_leave_nothing_behind(stage: &Stage) -> Result<()> {
    for text in ["login", "device_refused"] {
        stage.announce(text);
    }
    let world = World::with(stage, Kind::Embedded, &[("timing.ticket", "5s")]).await?;
    let idle = world.broker.metric("moorline_actors", &[]).await?;
    let body = serde_json::json!({ "device": world.device.id, "login": "nobody-of-that-name", "cols": 80, "rows": 24 });
    let refused = async || {
        let (session, _) = world.broker.open_as(body.clone()).await?;
        world.broker.ending(&session).await
    };
    for _ in 0..10 {
        refused().await?;
    }
    rests(&world, idle).await?;
    let before = held(&world).await?;
    for _ in 0..50 {
        refused().await?;
    }
    is_held_again(&world, before).await
}

async fn people_who_do_not_read_do_not_grow_the_broker(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    // The first ones fill caches and pools that stay.
    for number in 0..8 {
        one_session(&world, number).await?;
    }
    let before = inspect::resident(world.broker.pid())?;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let (session, ticket) = world.broker.open(&world.device.id).await?;
        let mut raw = Raw::terminal(&world.broker, &session).await?;
        raw.say(&Raw::hello(&ticket)).await?;
        raw.told("live").await?;
        // From now on nothing is read, and nothing acknowledged.
        raw.send([vec![0x81, 0, 0, 0, 0, 0, 0, 0, 0], b"yes\r".to_vec()].concat()).await?;
        stuck.push((session, raw));
    }
    let given = || world.broker.metric("moorline_session_bytes_total", &["out"]);
    eventually(Duration::from_secs(20), "the flood to begin", async || {
        ensure!(given().await? > 100_000.0, "nothing was given out");
        Ok(())
    })
    .await?;
    // The flood has come to rest when the broker has given out no more for a while.
    let mut last = -1.0;
    eventually(Duration::from_secs(60), "the flood to come to rest", async || {
        let now = given().await?;
        let rests = now == last;
        last = now;
        tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(500)).await;
        ensure!(rests, "{now} bytes so far");
        Ok(())
    })
    .await?;
    let after = inspect::resident(world.broker.pid())?;
    eprintln!("{before} bytes became {after}; {last} bytes were given out");
    // Ring, windows, scrollback and the buffers of SSH are bounded, each: some 5 MiB for one session.
    // What the four programs would have written meanwhile is some gigabytes.
    ensure!(after < before + (40 << 20), "{before} bytes became {after}");
    // The stuck ones hinder nobody, and can be ended.
    let other = world.shell().await?;
    assert_eq!(other.runs("echo $((6*7))").await?.0, "42\n");
    for (session, _raw) in &stuck {
        assert!(world.broker.end(session, "does not read").await?);
        assert_eq!(world.broker.ending(session).await?["code"], "killed");
    }
    Ok(())
}
