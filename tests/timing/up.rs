//! `make up`, as a stranger runs it.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use moorline_tests::broker::{free_port, root};
use moorline_tests::process::Process;
use moorline_tests::wait::eventually;
use moorline_tests::{Stage, inspect, once};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

once! {
    make_up_comes_up_ends_with_everything_and_comes_up_again,
    make_up_ends_when_a_part_of_it_dies,
    make_up_on_a_taken_port_says_so,
    make_up_with_metrics_has_a_prometheus_that_ends_with_it,
}

/// `make up`, with everything below it: none of it may outlive a test that fails.
struct MakeUp(Process);

impl Drop for MakeUp {
    fn drop(&mut self) {
        // Whoever has ended already needs no signal.
        let _ = killpg(Pid::from_raw(self.0.pid() as i32), Signal::SIGKILL);
    }
}

/// `make up` with a folder of its own for its data.
fn make_up(stage: &Stage, name: &str, port: u16) -> Result<MakeUp> {
    make_up_with(stage, name, port, &[])
}

/// The same with these words behind it.
fn make_up_with(stage: &Stage, name: &str, port: u16, words: &[&str]) -> Result<MakeUp> {
    let mut command = Command::new("make");
    command
        .arg("up")
        .args(words)
        .current_dir(root())
        .env("PORT", port.to_string())
        .env("VAR", stage.path("var"));
    // What a `make` or a cargo above us has set is not for this one: ring's build looks at CARGO_MANIFEST_DIR, and would be built
    // again with all that depends on it.
    let is_of_above = |name: &str| {
        ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"].contains(&name)
            || name.starts_with("CARGO_PKG_")
    };
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_above)) {
        command.env_remove(variable);
    }
    // A group of its own, as a terminal gives to each command: Ctrl-C is for all of it.
    command.process_group(0);
    Ok(MakeUp(Process::start(stage, name, command, false)?))
}

async fn is_up(stage: &Stage, name: &str, port: u16) -> Result<()> {
    eventually(Duration::from_secs(400), "make up", async || {
        let log = stage.log(name);
        ensure!(log.contains(&format!("http://localhost:{port}")) && log.contains("Ctrl-C"), "{log}");
        Ok(())
    })
    .await
}

/// Fails unless every process with that mark goes.
async fn leaves_nothing(stage: &Stage) -> Result<()> {
    let mark = stage.path("var").display().to_string();
    eventually(Duration::from_secs(40), "every process to be gone", async || {
        let left = inspect::marked(&mark);
        ensure!(left.is_empty(), "{left:?} run on");
        Ok(())
    })
    .await
}

async fn devices(port: u16) -> Result<serde_json::Value> {
    Ok(reqwest::get(format!("http://127.0.0.1:{port}/api/v1/devices")).await?.json().await?)
}

/// Opens a shell, and waits until a keeper has it.
async fn opens_a_shell(port: u16, device: &serde_json::Value) -> Result<()> {
    let sessions = format!("http://127.0.0.1:{port}/api/v1/sessions");
    let wish = serde_json::json!({ "device": device, "cols": 80, "rows": 24 });
    let answer = reqwest::Client::new().post(&sessions).json(&wish).send().await?;
    ensure!(answer.status() == 201, "{}", answer.text().await?);
    eventually(Duration::from_secs(20), "the shell to be kept", async || {
        let list: serde_json::Value = reqwest::get(format!("{sessions}?state=live")).await?.json().await?;
        ensure!(
            list["sessions"].as_array().is_some_and(|all| all.iter().any(|one| one["kept"] == true)),
            "{list}"
        );
        Ok(())
    })
    .await
}

async fn make_up_comes_up_ends_with_everything_and_comes_up_again(stage: &Stage) -> Result<()> {
    let port = free_port();
    for (name, signal) in [("first", Signal::SIGINT), ("second", Signal::SIGTERM)] {
        let mut make = make_up(stage, name, port)?;
        is_up(stage, name, port).await?;
        let list = devices(port).await?;
        ensure!(list["devices"].as_array().map(Vec::len) == Some(1), "one device, enrolled once: {list}");
        ensure!(list["devices"][0]["state"] == "online", "{list}");
        opens_a_shell(port, &list["devices"][0]["id"]).await?;
        // As a terminal does it: the whole group hears Ctrl-C. SIGTERM is for make alone.
        match signal {
            Signal::SIGINT => killpg(Pid::from_raw(make.0.pid() as i32), signal)?,
            _ => make.0.signal(signal)?,
        }
        make.0.ended(Duration::from_secs(40)).await?;
        leaves_nothing(stage).await?;
    }
    Ok(())
}

async fn make_up_ends_when_a_part_of_it_dies(stage: &Stage) -> Result<()> {
    let port = free_port();
    for (name, part) in [("broker-dies", "moorline-broker"), ("agent-dies", "moorline-agent")] {
        let mut make = make_up(stage, name, port)?;
        is_up(stage, name, port).await?;
        let parts = inspect::descendants(make.0.pid());
        let is_it = |pid: &&u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| part.starts_with(comm.trim()))
        };
        let victim = parts.iter().find(is_it).copied();
        let victim = victim.ok_or_else(|| anyhow::anyhow!("no {part} among {parts:?}"))?;
        kill(Pid::from_raw(victim as i32), Signal::SIGKILL)?;
        let status = make.0.ended(Duration::from_secs(40)).await?;
        ensure!(!status.success(), "it ended as if all were well");
        leaves_nothing(stage).await?;
    }
    Ok(())
}

async fn make_up_on_a_taken_port_says_so(stage: &Stage) -> Result<()> {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let mut make = make_up(stage, "taken", port)?;
    let status = make.0.ended(Duration::from_secs(120)).await?;
    ensure!(!status.success(), "it ended as if all were well");
    let log = stage.log("taken");
    ensure!(log.contains("taken by another program"), "{log}");
    leaves_nothing(stage).await
}

async fn make_up_with_metrics_has_a_prometheus_that_ends_with_it(stage: &Stage) -> Result<()> {
    let (port, metrics) = (free_port(), free_port());
    let words = ["METRICS=1", &format!("METRICS_PORT={metrics}")];
    let mut make = make_up_with(stage, "metrics", port, &words)?;
    is_up(stage, "metrics", port).await?;
    let url = format!("http://127.0.0.1:{metrics}/api/v1");
    ensure!(stage.log("metrics").contains(&format!("localhost:{metrics}")), "nobody says where it is");
    eventually(Duration::from_secs(30), "a scrape of the broker", async || {
        let query = format!("{url}/query?query=up%7Bjob%3D%22moorline%22%7D");
        let up: serde_json::Value = reqwest::get(query).await?.json().await?;
        let one = &up["data"]["result"][0];
        ensure!(one["value"][1] == "1" && one["metric"]["instance"] == format!("127.0.0.1:{port}"), "{up}");
        Ok(())
    })
    .await?;
    let rules: serde_json::Value = reqwest::get(format!("{url}/rules")).await?.json().await?;
    ensure!(
        rules["data"]["groups"].as_array().is_some_and(|groups| !groups.is_empty()),
        "no alerts: {rules}"
    );
    killpg(Pid::from_raw(make.0.pid() as i32), Signal::SIGINT)?;
    make.0.ended(Duration::from_secs(40)).await?;
    leaves_nothing(stage).await
}
