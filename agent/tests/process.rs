//! The program itself: its arguments, its exit status, how it leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

#[path = "connection/broker.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod broker;
#[path = "connection/shell.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod shell;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use broker::{Broker, PATIENCE, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shell::Shell;
use tokio::process::{Child, Command};

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline-agent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MOORLINE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn outcome(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running agent of this broker.
fn of(broker: &Broker, dir: &Path, settings: &[&str]) -> Child {
    std::fs::write(dir.join("install.key"), &broker.install_key).unwrap();
    let own = [
        format!("broker.url=ws://127.0.0.1:{}", broker.port),
        format!("state_dir={}", dir.join("state").display()),
        format!("install_key_file={}", dir.join("install.key").display()),
    ];
    let mut command = agent(&[]);
    for setting in own.iter().map(String::as_str).chain(settings.iter().copied()) {
        command.args(["--set", setting]);
    }
    let log = std::fs::File::create(dir.join("log")).unwrap();
    command.stderr(log).spawn().unwrap()
}

fn tell(agent: &Child, signal: Signal) {
    kill(Pid::from_raw(agent.id().unwrap().cast_signed()), signal).unwrap();
}

#[tokio::test]
async fn check_shows_every_value_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "name = \"box\"\n").unwrap();
    let mut command = agent(&["--config", file.to_str().unwrap(), "--set", "sshd.mode=system", "--check"]);
    command.env("MOORLINE_BROKER__URL", "wss://broker.example");
    let (status, out, err) = outcome(command).await;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    for line in [
        &format!("name = \"box\"  # {}", file.display()),
        "broker.url = \"wss://broker.example\"  # environment MOORLINE_BROKER__URL",
        "sshd.mode = \"system\"  # --set",
        "timing.leave = \"5s\"  # default",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line} is not in {out}");
    }
}

#[tokio::test]
async fn a_bad_setting_or_a_broken_key_file_ends_it_with_78_and_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let state = format!("state_dir={}", dir.path().join("state").display());
    let with = |setting: &'static str| agent(&["--set", &state, "--set", setting]);
    for (setting, word) in [
        ("sshd.mood=embedded", "sshd.mood"),
        ("broker.url=ws://10.0.0.1", "broker.insecure"),
        ("install_key_file=/dev/null", "install_key_file"),
        ("broker.ca_file=/no/such/file", "broker.ca_file"),
    ] {
        let (status, _, err) = outcome(with(setting)).await;
        assert_eq!(status, Some(78), "{setting}: {err}");
        assert!(err.contains(word) && err.contains("bad_config"), "{err}");
    }
    std::fs::write(dir.path().join("state/identity"), "nonsense").unwrap();
    let started = Instant::now();
    let (status, _, err) = outcome(with("name=x")).await;
    assert_eq!(status, Some(78));
    assert!(err.contains("identity") && started.elapsed() < Duration::from_secs(2), "{err}");
}

#[tokio::test]
async fn it_leaves_in_time_with_and_without_a_broker() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut broker = Broker::start().await;
        let mut running = of(&broker, dir.path(), &[]);
        let (_, hello) = broker.hello().await;
        let word = format!("{}", 444_000_000 + std::process::id());
        let mut shell = Shell::open(&broker, &hello, &format!("trap '' HUP; echo up; sleep {word}")).await;
        shell.more().await;
        let asked = Instant::now();
        tell(&running, signal);
        let status = tokio::time::timeout(PATIENCE, running.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(shell::sleepers(&word), 0, "a session's program lives on");
    }
    let mut alone = agent(&["--set", "broker.url=ws://127.0.0.1:1", "--set"]);
    alone.arg(format!("state_dir={}", dir.path().join("state").display()));
    let mut alone = alone.stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    tell(&alone, Signal::SIGTERM);
    assert_eq!(tokio::time::timeout(PATIENCE, alone.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn killed_outright_it_takes_its_terminals_with_it_and_comes_back_as_the_same_device() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().await;
    let mut running = of(&broker, dir.path(), &[]);
    let (_, first) = broker.hello().await;
    let word = format!("{}", 333_000_000 + std::process::id());
    let mut shell = Shell::on_terminal(&broker, &first, &format!("echo up; sleep {word}")).await;
    shell.more().await;
    running.kill().await.unwrap();
    until("the program on the terminal is gone", || shell::sleepers(&word) == 0).await;
    let _running = of(&broker, dir.path(), &[]);
    let (_, second) = broker.hello().await;
    assert_eq!((first.device, first.host_keys), (second.device.clone(), second.host_keys.clone()));
    let mut shell = Shell::open(&broker, &second, "echo in").await;
    assert_eq!(shell.finish().await.0, "in\n");
}

/// FAULTS 12: a session that cannot be started for want of descriptors is refused, and that is all.
#[tokio::test]
async fn without_descriptors_a_session_is_refused_and_the_agent_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().await;
    let running = of(&broker, dir.path(), &[]);
    let (_, hello) = broker.hello().await;
    assert_eq!(Shell::open(&broker, &hello, "echo in").await.finish().await.0, "in\n");
    let pid = running.id().unwrap();
    let limit = |files: String| {
        let mut prlimit = std::process::Command::new("prlimit");
        assert!(
            prlimit
                .args(["--pid", &pid.to_string(), &format!("--nofile={files}")])
                .status()
                .unwrap()
                .success()
        );
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(format!("{}:", open + 2));
    let (said, status) = Shell::open(&broker, &hello, "echo in").await.finish().await;
    assert_eq!((said.as_str(), status), ("", None));
    limit("1024:".into());
    assert_eq!(Shell::open(&broker, &hello, "echo in").await.finish().await.0, "in\n");
}

/// FAULTS 35: whatever the filter says, no log has what was typed or seen, or a secret.
#[tokio::test]
async fn nothing_typed_or_seen_and_no_secret_is_logged_at_any_level() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().await;
    let running = of(&broker, dir.path(), &["log.filter=trace"]);
    let (_, hello) = broker.hello().await;
    let mut shell = Shell::on_terminal(&broker, &hello, "read x; echo canary-seen $x").await;
    shell.write(b"canary-typed\n").await;
    assert!(shell.finish().await.0.contains("canary-typed"));
    tell(&running, Signal::SIGTERM);
    until("it left", || std::fs::read_to_string(dir.path().join("log")).unwrap().contains("left")).await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("DEBUG moorline_agent"), "{log}");
    for secret in
        ["canary", "token 1", &broker.install_key, &hello.signature, hello.enroll.as_deref().unwrap()]
    {
        assert!(!log.contains(secret), "{secret:?} is in the log: {log}");
    }
}
