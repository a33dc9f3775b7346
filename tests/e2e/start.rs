//! Starting, and what keeps the programs from it.

use std::process::Command;

use anyhow::{Result, ensure};
use moorline_tests::broker::{binary, free_port, root};
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Broker, Kind, Stage, World, once};
use reqwest::Method;
use serde_json::json;

once! {
    a_port_in_use_is_named_with_a_remedy,
    a_bad_setting_is_named_with_key_value_and_origin,
    demo_mode_is_for_this_machine_only,
    every_key_of_the_config_files_is_explained_and_at_its_default,
    check_prints_every_value_and_where_it_came_from,
    secrets_on_disk_are_for_their_owner_alone,
    a_second_broker_on_the_same_data_is_refused_or_harmless,
    a_full_disk_is_told_and_the_sessions_go_on,
    an_agent_names_a_bad_setting,
}

/// Runs a program to its end; gives its status and what it wrote.
fn outcome(program: &str, arguments: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(binary(program)).args(arguments).current_dir(root()).output()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), text))
}

async fn a_port_in_use_is_named_with_a_remedy(stage: &Stage) -> Result<()> {
    stage.announce("port_in_use");
    stage.announce("taken by another program");
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let mut broker = Broker::spawn(stage, port, &[("log.format", "pretty")])?;
    let status = broker.process.ended(SOON).await?;
    assert_eq!(status.code(), Some(1));
    let log = stage.log("broker");
    for part in [&format!("127.0.0.1:{port}"), "taken by another program", "--set listen="] {
        ensure!(log.contains(part), "no {part:?} in {log}");
    }
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

async fn a_bad_setting_is_named_with_key_value_and_origin(stage: &Stage) -> Result<()> {
    let demo = root().join("config/demo.toml").display().to_string();
    for (setting, parts) in [
        ("timing.tikcet=30s", &["timing.tikcet"][..]),
        ("timing.ticket=soon", &["timing.ticket", "soon"]),
        ("listen=nowhere", &["listen", "nowhere"]),
        ("timing.link_dead=1s", &["timing.link_dead"]),
        ("limits.ring=-1", &["limits.ring", "-1"]),
    ] {
        let (status, text) = outcome("moorline-broker", &["--config", &demo, "--set", setting])?;
        ensure!(status == 78 || status == 2, "{setting}: status {status}: {text}");
        for part in parts.iter().chain(&["--set"]) {
            ensure!(text.contains(part), "{setting}: no {part:?} in {text}");
        }
    }
    let file = stage.path("bad.toml");
    std::fs::write(&file, "[timing]\nticket = 7\n")?;
    let (status, text) = outcome("moorline-broker", &["--config", &file.display().to_string(), "--check"])?;
    ensure!(status != 0 && text.contains("timing.ticket") && text.contains("bad.toml"), "{status}: {text}");
    let (status, text) = outcome("moorline-broker", &["--config", "/nowhere/broker.toml"])?;
    ensure!(status != 0 && text.contains("/nowhere/broker.toml"), "{status}: {text}");
    Ok(())
}

async fn demo_mode_is_for_this_machine_only(_stage: &Stage) -> Result<()> {
    let demo = root().join("config/demo.toml").display().to_string();
    for listen in ["0.0.0.0:18080", "[::]:18080", "192.0.2.1:18080"] {
        let (status, text) =
            outcome("moorline-broker", &["--config", &demo, "--set", &format!("listen={listen}")])?;
        ensure!(
            status != 0 && text.contains("demo") && text.contains("loopback"),
            "{listen}: {status}: {text}"
        );
    }
    Ok(())
}

async fn every_key_of_the_config_files_is_explained_and_at_its_default(_stage: &Stage) -> Result<()> {
    for file in ["broker.toml", "agent.toml", "demo.toml"] {
        let text = std::fs::read_to_string(root().join("config").join(file))?;
        let mut explained = false;
        for line in text.lines().map(str::trim) {
            let key = line.trim_start_matches('#').trim();
            let is_setting = key
                .split_once('=')
                .is_some_and(|(key, _)| key.trim().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            match line {
                _ if is_setting => ensure!(
                    std::mem::take(&mut explained) || file == "demo.toml",
                    "{file}: {line} has no explanation"
                ),
                _ if line.starts_with('#') => explained = true,
                _ => {}
            }
        }
    }
    let path = root().join("config/broker.toml").display().to_string();
    let (status, text) = outcome("moorline-broker", &["--config", &path, "--check"])?;
    ensure!(status == 0, "config/broker.toml is refused: {text}");
    Ok(())
}

async fn check_prints_every_value_and_where_it_came_from(_stage: &Stage) -> Result<()> {
    let demo = root().join("config/demo.toml").display().to_string();
    let output = Command::new(binary("moorline-broker"))
        .args(["--config", &demo, "--set", "timing.ticket=31s", "--check"])
        .env("MOORLINE_TIMING__HELLO", "6s")
        .current_dir(root())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = |key: &str| {
        text.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap_or_default().to_owned()
    };
    for (key, value, origin) in [
        ("timing.ticket", "31s", "--set"),
        ("timing.hello", "6s", "MOORLINE_TIMING__HELLO"),
        ("demo", "true", "demo.toml"),
        ("timing.user_dead", "45s", "default"),
    ] {
        let line = line(key);
        ensure!(line.contains(value) && line.contains(origin), "{key}: {line:?}\n{text}");
    }
    Ok(())
}

async fn secrets_on_disk_are_for_their_owner_alone(stage: &Stage) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let _world = World::new(stage, Kind::Embedded).await?;
    let mode = |path: &str| anyhow::Ok(std::fs::metadata(stage.path(path))?.permissions().mode() & 0o777);
    assert_eq!((mode("broker")?, mode("device-state")?), (0o700, 0o700));
    assert_eq!(mode("broker/ca_key")?, 0o600);
    assert_eq!(mode("broker/resume.key")?, 0o600);
    for entry in std::fs::read_dir(stage.path("device-state"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".pub") {
            assert_eq!(mode(&format!("device-state/{name}"))?, 0o600, "{name}");
        }
    }
    Ok(())
}

async fn a_second_broker_on_the_same_data_is_refused_or_harmless(stage: &Stage) -> Result<()> {
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    let demo = root().join("config/demo.toml").display().to_string();
    let data = format!("data_dir={}", stage.path("broker").display());
    let listen = format!("listen={}", world.broker.address);
    let (status, text) = outcome("moorline-broker", &["--config", &demo, "--set", &data, "--set", &listen])?;
    ensure!(status == 1, "{status}: {text}");
    // It has not ended the sessions of the one that runs.
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    assert_eq!(world.broker.session(&terminal.session).await?["state"], "live");
    Ok(())
}

/// The broker's data folder on a disk of its own, as far as we may make one.
enum Disk {
    /// A small file system, unmounted at the end.
    Own(std::path::PathBuf),
    /// A limit on the size of the broker's files: not quite a full disk, but a store that cannot write.
    Limit,
}

impl Disk {
    fn below(stage: &Stage) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self::Limit);
        }
        let folder = stage.folder("broker");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(&folder)
            .status()?;
        Ok(if mounted.success() { Self::Own(folder) } else { Self::Limit })
    }

    fn fill(&self, broker: &Broker, stage: &Stage) -> Result<()> {
        match self {
            Self::Own(folder) => {
                let _full = std::io::copy(
                    &mut std::io::Read::take(std::io::repeat(0), 8 << 20),
                    &mut std::fs::File::create(folder.join("something-else"))?,
                );
            }
            Self::Limit => {
                let entries = std::fs::read_dir(stage.path("broker"))?.flatten();
                let largest =
                    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).max().unwrap_or(0);
                limit_files(broker, &largest.to_string())?;
            }
        }
        Ok(())
    }

    fn free(&self, broker: &Broker) -> Result<()> {
        match self {
            Self::Own(folder) => Ok(std::fs::remove_file(folder.join("something-else"))?),
            Self::Limit => limit_files(broker, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Own(folder) = self {
            let _ = Command::new("umount").arg("--lazy").arg(folder).status();
        }
    }
}

/// Sets the soft limit alone, which may be raised again.
fn limit_files(broker: &Broker, bytes: &str) -> Result<()> {
    let status = Command::new("prlimit")
        .args(["--pid", &broker.pid().to_string(), &format!("--fsize={bytes}:")])
        .status()?;
    ensure!(status.success(), "prlimit: {status}");
    Ok(())
}

async fn a_full_disk_is_told_and_the_sessions_go_on(stage: &Stage) -> Result<()> {
    for text in ["disk_full", "store_failed", "store failed"] {
        stage.announce(text);
    }
    let disk = Disk::below(stage)?;
    let world = World::new(stage, Kind::Embedded).await?;
    let terminal = world.shell().await?;
    disk.fill(&world.broker, stage)?;
    let body = json!({ "device": world.device.id, "cols": 80, "rows": 24 });
    let refused = eventually(SOON, "the store to have no more room", async || {
        let answer = world.broker.call(Method::POST, "/api/v1/sessions", Some(body.clone())).await?;
        if answer.status == 201 {
            world.broker.end(answer.json["id"].as_str().unwrap_or_default(), "next").await?;
        }
        ensure!(answer.status != 201, "it still has room");
        Ok(answer)
    })
    .await?;
    match disk {
        Disk::Own(_) => refused.refuses(507, "disk_full")?,
        Disk::Limit => refused.refuses(503, "store_failed")?,
    };
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    let ready = world.broker.call(Method::GET, "/readyz", None).await?;
    ensure!(
        ready.status == 503 && (ready.text.contains("disk") || ready.text.contains("store")),
        "{}",
        ready.text
    );
    disk.free(&world.broker)?;
    world.shell().await?;
    world.broker.call(Method::GET, "/readyz", None).await?.is(200)?;
    Ok(())
}

async fn an_agent_names_a_bad_setting(stage: &Stage) -> Result<()> {
    for (setting, parts) in [
        ("sshd.mood=embedded", &["sshd.mood"][..]),
        ("sshd.mode=none", &["sshd.mode", "none"]),
        ("broker.url=gopher://x", &["broker.url", "gopher"]),
    ] {
        let state = format!("state_dir={}", stage.path("state").display());
        let (status, text) = outcome("moorline-agent", &["--set", &state, "--set", setting])?;
        ensure!(status == 78 || status == 2, "{setting}: status {status}: {text}");
        for part in parts {
            ensure!(text.contains(part), "{setting}: no {part:?} in {text}");
        }
    }
    Ok(())
}
