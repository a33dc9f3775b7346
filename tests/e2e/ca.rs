//! The broker's CA is replaced while devices and their shells go on.

use std::process::Command;

use anyhow::{Context, Result, ensure};
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

/// The fingerprint of a key, as sshd logs it.
fn fingerprint(stage: &Stage, key: &str) -> Result<String> {
    let file = stage.path("fingerprint.pub");
    std::fs::write(&file, key)?;
    let output = Command::new("ssh-keygen").arg("-lf").arg(file).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split(' ').find(|word| word.starts_with("SHA256:"));
    Ok(word.with_context(|| format!("no fingerprint in {text:?}"))?.to_owned())
}

/// The shell that was there is, and there can be others: with a certificate of this CA, as the device's sshd says.
async fn goes_on(stage: &Stage, world: &World, old: &Terminal, attached: u64, ca: &str) -> Result<()> {
    old.attached_again(attached).await?;
    ensure!(old.runs("echo $((6*7))").await?.0 == "42\n", "the old shell is gone");
    let new = world.shell().await?;
    ensure!(new.runs("echo $((6*9))").await?.0 == "54\n", "no new shell");
    let (log, let_in) = match &world.device.sshd {
        Some(_) => ("device-sshd", "Accepted certificate ID"),
        None => ("device", "let in"),
    };
    let line = stage.logged(log, &[let_in, &new.session]).await?;
    ensure!(line.contains(&fingerprint(stage, ca)?), "not by the CA {ca}: {line}");
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
    let both = trusted(stage)?;
    ensure!(both[0] == old[0], "the old one is not there any more");
    goes_on(stage, &world, &shell, attached, &both[0]).await?;
    world.broker.process.kill()?;
    let (done, said) = world.broker.tool(&["ca", "status"])?;
    ensure!(done && said.contains("the next one: 1") && said.contains("device"), "{said}");
    let (done, said) = world.broker.tool(&["ca", "finish"])?;
    ensure!(!done && said.contains("1 devices have not heard"), "{said}");

    // It says so at its next greeting, and gets certificates of the next one.
    let attached = shell.attached();
    step(stage, &mut world, &[]).await?;
    ensure!(trusted(stage)? == both, "one of them is gone");
    goes_on(stage, &world, &shell, attached, &both[1]).await?;
    let attached = shell.attached();
    step(stage, &mut world, &["ca", "finish"]).await?;
    eventually(SOON, "the old CA to be forgotten", async || {
        let now = trusted(stage)?;
        ensure!(now == both[1..], "{now:?}");
        Ok(())
    })
    .await?;
    goes_on(stage, &world, &shell, attached, &both[1]).await?;
    // And it stays so.
    let attached = shell.attached();
    step(stage, &mut world, &[]).await?;
    goes_on(stage, &world, &shell, attached, &both[1]).await?;
    let audit = world.broker.get("/api/v1/audit").await?.to_string();
    ensure!(audit.contains("ca_rotate") && audit.contains("ca_finish"), "{audit}");
    Ok(())
}
