//! Coming back, taking over, and looking on.

use anyhow::{Result, bail, ensure};
use moorline_tests::raw::Raw;
use moorline_tests::{Kind, Stage, Terminal, World, on_both, once};
use moorline_wire::Code;
use moorline_wire::term::frame::HostControl;
use moorline_wire::term::{Size, ViewerControl};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

on_both! {
    who_comes_back_with_a_token_gets_exactly_the_rest,
    who_comes_back_with_nothing_gets_the_screen,
}

once! {
    the_newest_terminal_takes_over_and_the_older_may_take_back,
    a_token_is_good_until_the_next_one_is_used,
    a_terminal_that_fell_far_behind_is_told_of_the_gap,
    typed_input_that_is_sent_twice_is_taken_once,
}

const SIZE: Size = Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };

/// Reads until the text was shown; gives everything that was shown and the offset after it.
async fn shown(raw: &mut Raw, mut next: u64, until: &str) -> Result<(String, u64)> {
    let mut all = Vec::new();
    loop {
        match raw.next().await? {
            Message::Binary(bytes) if bytes[0] == 1 => {
                let offset = u64::from_be_bytes(bytes[1..9].try_into()?);
                ensure!(offset == next, "output from {offset}, wanted {next}");
                next += bytes.len() as u64 - 9;
                all.extend_from_slice(&bytes[9..]);
                // Everything shown is acknowledged at once.
                raw.send([&[0x82][..], &next.to_be_bytes()].concat()).await?;
            }
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
        let text = String::from_utf8_lossy(&all);
        if text.contains(until) {
            return Ok((text.into_owned(), next));
        }
    }
}

/// Reads until the broker says that the input below this offset was taken.
async fn taken(raw: &mut Raw, offset: u64) -> Result<()> {
    loop {
        match raw.next().await? {
            Message::Binary(bytes)
                if bytes[0] == 2 && u64::from_be_bytes(bytes[1..9].try_into()?) >= offset =>
            {
                return Ok(());
            }
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
    }
}

fn typed(offset: u64, text: &str) -> Vec<u8> {
    [&[0x81][..], &offset.to_be_bytes(), text.as_bytes()].concat()
}

/// A terminal by hand with a shell; gives it, its viewer key, the answer to its hello and the offset.
async fn by_hand(world: &World, session: &str, hello: &Value) -> Result<(Raw, Value)> {
    let mut raw = Raw::terminal(&world.broker, session).await?;
    raw.say(hello).await?;
    let attached = raw.told("attached").await?;
    Ok((raw, attached))
}

async fn who_comes_back_with_a_token_gets_exactly_the_rest(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut hello = Raw::hello(&ticket);
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    let line = "PS1='> '; echo $((6*7)); read; seq 1 5000; echo DO\"NE\"\r";
    raw.send(typed(0, line)).await?;
    let (_, have) = shown(&mut raw, 0, "42\r\n").await?;
    drop(raw);
    hello["ticket"] = Value::Null;
    hello["resume"] = attached["resume"].clone();
    hello["have"] = json!(have);
    hello["in_next"] = json!(line.len());
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    assert_eq!(
        (&attached["from"], &attached["snapshot"], &attached["gap"]),
        (&json!(have), &json!(false), &Value::Null)
    );
    raw.send(typed(line.len() as u64, "\r")).await?;
    let (rest, _) = shown(&mut raw, have, "DONE\r\n").await?;
    let numbers: String = (1..=5000).map(|number| format!("{number}\r\n")).collect();
    ensure!(rest.contains(&numbers), "the rest is not the rest: {} bytes", rest.len());
    Ok(())
}

async fn who_comes_back_with_nothing_gets_the_screen(stage: &Stage, kind: Kind) -> Result<()> {
    let world = World::new(stage, kind).await?;
    let first = world.shell().await?;
    first.runs("printf '\\e[?2004h\\e]0;a title\\a\\e[31mre%s\\e[0m' d").await?;
    let session = first.session.clone();
    drop(first);
    let mut hello = Raw::hello(&world.broker.ticket(&session).await?);
    hello["have"] = Value::Null;
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    assert_eq!(attached["snapshot"], true, "{attached}");
    let snapshot = loop {
        match raw.next().await? {
            Message::Binary(bytes) if bytes[0] == 4 => {
                break String::from_utf8_lossy(&bytes[13..]).into_owned();
            }
            Message::Binary(_) => bail!("output before the screen"),
            _ => {}
        }
    };
    for part in ["red", "READY", "\u{1b}[?2004h"] {
        ensure!(snapshot.contains(part), "no {part:?} in {snapshot:?}");
    }
    Ok(())
}

async fn the_newest_terminal_takes_over_and_the_older_may_take_back(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let older = world.shell().await?;
    older.runs("X=same").await?;
    let ticket = world.broker.ticket(&older.session).await?;
    let newer = Terminal::attach(&world.broker, world.broker.address, &older.session, ticket, SIZE);
    let by = older.told("that it was taken over", |control| match control {
        HostControl::TakenOver { by } => Some(by.clone()),
        _ => None,
    });
    ensure!(!by.await?.is_empty(), "by whom?");
    assert_eq!(older.closes().await?, Code::TAKEN_OVER.number());
    newer.live().await?;
    assert_eq!(newer.runs("echo $X").await?.0, "same\n");
    let ticket = world.broker.ticket(&older.session).await?;
    let back = Terminal::attach(&world.broker, world.broker.address, &older.session, ticket, SIZE);
    assert_eq!(newer.closes().await?, Code::TAKEN_OVER.number());
    assert_eq!(back.runs("echo $X").await?.0, "same\n");
    back.says(ViewerControl::Detach);
    Ok(())
}

async fn a_token_is_good_until_the_next_one_is_used(stage: &Stage) -> Result<()> {
    stage.announce("ticket_expired");
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut hello = Raw::hello(&ticket);
    let (raw, first) = by_hand(&world, &session, &hello).await?;
    drop(raw);
    hello["ticket"] = Value::Null;
    hello["resume"] = first["resume"].clone();
    let (raw, second) = by_hand(&world, &session, &hello).await?;
    ensure!(second["resume"] != first["resume"], "the token is the same again");
    drop(raw);
    hello["resume"] = second["resume"].clone();
    let (raw, _) = by_hand(&world, &session, &hello).await?;
    drop(raw);
    for stale in [&first["resume"], &json!("AAAA")] {
        hello["resume"] = stale.clone();
        let mut raw = Raw::terminal(&world.broker, &session).await?;
        raw.say(&hello).await?;
        raw.refused(Code::TICKET_EXPIRED).await?;
    }
    Ok(())
}

async fn a_terminal_that_fell_far_behind_is_told_of_the_gap(stage: &Stage) -> Result<()> {
    // A break is not a leave: for a while the program would wait.
    let world = World::with(stage, Kind::Embedded, &[("timing.driver_back_within", "500ms")]).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut hello = Raw::hello(&ticket);
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    let done = stage.path("done");
    let line = format!("echo $((6*7)); read; seq 1 1000000; echo > {}\r", done.display());
    raw.send(typed(0, &line)).await?;
    let (_, have) = shown(&mut raw, 0, "42\r\n").await?;
    raw.send(typed(line.len() as u64, "\r")).await?;
    taken(&mut raw, line.len() as u64 + 1).await?;
    drop(raw);
    // 7 MB come while nobody looks: more than the ring holds. A build does not hang.
    moorline_tests::wait::eventually(moorline_tests::wait::SOON, "the program to go on", async || {
        ensure!(done.exists(), "it waits");
        Ok(())
    })
    .await?;
    hello["ticket"] = Value::Null;
    hello["resume"] = attached["resume"].clone();
    hello["have"] = json!(have);
    hello["in_next"] = json!(line.len() + 1);
    let (_raw, attached) = by_hand(&world, &session, &hello).await?;
    ensure!(attached["gap"]["from"] == have && attached["snapshot"] == true, "{attached}");
    ensure!(attached["gap"]["to"].as_u64() > Some(have), "{attached}");
    Ok(())
}

async fn typed_input_that_is_sent_twice_is_taken_once(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let (session, ticket) = world.broker.open(&world.device.id).await?;
    let mut hello = Raw::hello(&ticket);
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    raw.send(typed(0, "stty -echo; N=0\r")).await?;
    raw.send(typed(16, "N=$((N+1))\r")).await?;
    drop(raw);
    hello["ticket"] = Value::Null;
    hello["resume"] = attached["resume"].clone();
    hello["have"] = Value::Null;
    hello["in_next"] = json!(27);
    let (mut raw, attached) = by_hand(&world, &session, &hello).await?;
    let taken = attached["in_ack"].as_u64().unwrap_or(u64::MAX);
    ensure!(taken <= 27, "it says that it took {taken} of 27");
    // As a browser does: from where the host is, all of it again; and once more, out of carelessness.
    let all = "stty -echo; N=0\rN=$((N+1))\r";
    if taken < 27 {
        raw.send(typed(taken, &all[taken as usize..])).await?;
    }
    raw.send(typed(0, all)).await?;
    raw.send(typed(27, "echo N-is-$N.\r")).await?;
    loop {
        match raw.next().await? {
            Message::Binary(bytes) if String::from_utf8_lossy(&bytes).contains("N-is-1.") => return Ok(()),
            Message::Binary(bytes) if String::from_utf8_lossy(&bytes).contains("N-is-2.") => {
                bail!("it was taken twice")
            }
            Message::Close(frame) => bail!("closed: {frame:?}"),
            _ => {}
        }
    }
}
