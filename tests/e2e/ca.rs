//! The broker's CA is replaced while devices and their shells go on.

use anyhow::{Result, ensure};
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Agent, Kind, Stage, Terminal, World, on_both};

on_both! {
    the_ca_is_replaced_and_no_shell_and_no_device_is_lost,
}

/// The keys that the device trusts, as the file that OpenSSH reads has them.
fn trusted(stage: &Stage) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(Agent::state_of(stage, "device").join("user_ca.pub"))?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}

/// Kills the broker, does a step of the replacement, and starts it again.
async fn step(stage: &Stage, world: &mut World, words: &[&str]) -> Result<()> {
    world.broker.process.kill()?;
    if !words.is_empty() {
        let (done, said) = world.broker.tool(words)?;
        ensure!(done, "{said}");
    }
    world.broker.restart(stage).await?;
    world.broker.device_is(&world.device.id, "online").await
}

async fn goes_on(world: &World, old: &Terminal, attached: u64) -> Result<()> {
    old.attached_again(attached).await?;
    ensure!(old.runs("echo $((6*7))").await?.0 == "42\n", "the old shell is gone");
    let new = world.shell().await?;
    ensure!(new.runs("echo $((6*9))").await?.0 == "54\n", "no new shell");
    world.broker.end(&new.session, "over").await?;
    Ok(())
}

async fn the_ca_is_replaced_and_no_shell_and_no_device_is_lost(stage: &Stage, kind: Kind) -> Result<()> {
    for text in ["no connection to the broker", "the link", "the connection to the broker broke", "session"] {
        stage.announce(text);
    }
    let mut world = World::new(stage, kind).await?;
    let shell = world.shell().await?;
    let old = trusted(stage)?;
    ensure!(old.len() == 1, "{old:?}");
    let (done, said) = world.broker.tool(&["ca", "rotate"])?;
    ensure!(!done && said.contains("Another broker works"), "while it runs: {said}");

    // Both are trusted; the old one goes on to sign until the device has said that it knows the next one.
    let attached = shell.attached();
    step(stage, &mut world, &["ca", "rotate"]).await?;
    eventually(SOON, "both CAs to be trusted", async || {
        ensure!(trusted(stage)?.len() == 2, "{:?}", trusted(stage)?);
        Ok(())
    })
    .await?;
    ensure!(trusted(stage)?[0] == old[0], "the old one is not there any more");
    goes_on(&world, &shell, attached).await?;
    world.broker.process.kill()?;
    let (done, said) = world.broker.tool(&["ca", "status"])?;
    ensure!(done && said.contains("the next one: 1") && said.contains("device"), "{said}");
    let (done, said) = world.broker.tool(&["ca", "finish"])?;
    ensure!(!done && said.contains("1 devices have not heard"), "{said}");

    // It says so at its next greeting, and gets certificates of the next one.
    let attached = shell.attached();
    step(stage, &mut world, &[]).await?;
    goes_on(&world, &shell, attached).await?;
    let attached = shell.attached();
    step(stage, &mut world, &["ca", "finish"]).await?;
    eventually(SOON, "the old CA to be forgotten", async || {
        let now = trusted(stage)?;
        ensure!(now.len() == 1 && now[0] != old[0], "{now:?}");
        Ok(())
    })
    .await?;
    goes_on(&world, &shell, attached).await?;
    // And it stays so.
    let attached = shell.attached();
    step(stage, &mut world, &[]).await?;
    goes_on(&world, &shell, attached).await?;
    let audit = world.broker.get("/api/v1/audit").await?.to_string();
    ensure!(audit.contains("ca_rotate") && audit.contains("ca_finish"), "{audit}");
    Ok(())
}
