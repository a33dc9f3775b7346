//! How a device becomes known, waits, changes its key and is kept out: with the commands that people give.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use moorline_tests::broker::{binary, free_port};
use moorline_tests::process::Process;
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::{Agent, Broker, Kind, Sshd, Stage, Terminal, World, once};
use reqwest::Method;
use serde_json::{Value, json};

use crate::people::{accept, ask, init, secret};

once! {
    a_device_enrols_waits_and_is_used_by_whom_it_was_given_to,
    who_cannot_enrol_is_told_why_and_nothing_is_written,
    a_revoked_device_loses_its_link_and_its_sessions_at_once_and_never_comes_back,
    a_device_gets_another_key_under_a_running_shell,
    a_device_is_asked_for_another_key_now_or_when_it_comes,
    a_device_whose_clock_says_1970_gets_its_sessions,
    the_openssh_of_a_device_is_set_up_for_the_broker_and_set_back,
}

/// What `moorline-agent ARGUMENTS` did, given that on standard input: whether it went well, and what it printed.
fn agent(arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let mut command = Command::new(binary("moorline-agent"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // One that does not want to read has gone already.
    let _ = child.stdin.take().context("no input")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), format!("{out}{err}")))
}

/// A new install key, as it is shown once.
async fn install_key(broker: &Broker, more: Value) -> Result<Value> {
    let expires = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let mut key = json!({ "label": "lab", "mode": "automatic", "expires": expires });
    for (name, value) in more.as_object().context("no object")? {
        key[name] = value.clone();
    }
    Ok(ask(broker, Method::POST, "/api/v1/install-keys", key).await?.is(201)?.json.clone())
}

/// A device of its own folder, in words of the command line.
struct Enrolling {
    dir: PathBuf,
    name: &'static str,
    broker: String,
}

impl Enrolling {
    fn new(stage: &Stage, broker: &Broker, name: &'static str) -> Self {
        Self { dir: stage.path(format!("{name}-agent")), name, broker: format!("ws://{}", broker.address) }
    }

    /// `moorline-agent enroll`, with the key on standard input.
    fn enrols_with(&self, stage: &Stage, key: &str) -> Result<(bool, String)> {
        self.enrols_as(stage, key, &[])
    }

    /// The same with these arguments beside.
    fn enrols_as(&self, stage: &Stage, key: &str, more: &[&str]) -> Result<(bool, String)> {
        let keepers = format!("keeper.dir={}", Agent::keepers_of(stage, self.name).display());
        let (dir, name) = (self.dir.display().to_string(), format!("name={}", self.name));
        let arguments = [
            "enroll",
            "--broker",
            &self.broker,
            "--key-file",
            "-",
            "--dir",
            &dir,
            "--set",
            &name,
            "--set",
            "broker.proxy=none",
            "--set",
            "log.format=json",
            "--set",
            &keepers,
        ];
        agent(&[&arguments, more].concat(), &format!("{key}\n"))
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }

    /// The agent as the enrolment says to start it.
    fn starts(&self, stage: &Stage) -> Result<Process> {
        let mut command = Command::new(binary("moorline-agent"));
        command.arg("--config").arg(self.settings());
        Process::start(stage, self.name, command, true)
    }
}

async fn state(broker: &Broker, device: &str) -> Result<Value> {
    Ok(broker.device(device).await?["state"].clone())
}

async fn post(broker: &Broker, path: &str) -> Result<moorline_tests::broker::Answer> {
    ask(broker, Method::POST, path, json!({})).await
}

/// A broker outside demo mode, as its first administrator sees it.
async fn fresh_broker(stage: &Stage) -> Result<Broker> {
    stage.announce("nobody can log in yet");
    let (done, told) = init(stage, &[])?;
    ensure!(done, "{told}");
    let data = stage.path("made/data").display().to_string();
    let settings = [("demo", "false"), ("data_dir", data.as_str()), ("login.check", "2s")];
    let mut broker = Broker::start_with(stage, free_port(), &settings).await?;
    broker.cookie = Some(accept(&mut broker, &secret(&told)?, Some("anna")).await?);
    Ok(broker)
}

/// An operator; gives the cookie.
async fn operator(broker: &mut Broker, name: &str) -> Result<String> {
    let new = json!({ "name": name, "roles": ["operator"] });
    let invited = ask(broker, Method::POST, "/api/v1/people", new).await?.is(201)?.json.clone();
    accept(broker, invited["invitation"].as_str().context("no invitation")?, None).await
}

/// What somebody may do in the lab; gives the path of the grant.
async fn granted(broker: &Broker, name: &str, act: &str, login: &str) -> Result<String> {
    let grant = json!({ "who": format!("person:{name}"), "acts": [act], "devices": "lab", "logins": login });
    let grant = ask(broker, Method::POST, "/api/v1/grants", grant).await?.is(201)?.json.clone();
    Ok(format!("/api/v1/grants/{}", grant["id"].as_str().context("no id")?))
}

async fn a_device_enrols_waits_and_is_used_by_whom_it_was_given_to(stage: &Stage) -> Result<()> {
    let mut broker = fresh_broker(stage).await?;
    // An install key for two devices of the lab, which wait until somebody has looked at them.
    let made = install_key(&broker, json!({ "mode": "pending", "uses_max": 2, "tags": ["lab"] })).await?;
    let key = made["key"].as_str().context("no key")?.to_owned();
    ensure!(!broker.get("/api/v1/install-keys").await?.to_string().contains(&key), "it is shown again");
    let pump = Enrolling::new(stage, &broker, "pump");
    let device = enrolled_and_waiting(stage, &broker, &pump, &key).await?;
    let login = broker.device(&device).await?["login"].as_str().context("no login")?.to_owned();
    let wish = |login: &str| json!({ "device": device, "cols": 80, "rows": 24, "login": login });

    // It is connected, and gets no session; who has shells there may not approve it.
    let oskar = operator(&mut broker, "oskar").await?;
    let grant = granted(&broker, "oskar", "shell", &login).await?;
    let _agent = pump.starts(stage)?;
    eventually(SOON, "the device to be connected", async || {
        ensure!(broker.device(&device).await?["connected"] == true, "not yet");
        Ok(())
    })
    .await?;
    let approve = format!("/api/v1/devices/{device}/approve");
    let waiting = broker.as_whom(&oskar, async |broker| {
        ask(broker, Method::POST, "/api/v1/sessions", wish(&login)).await?.refuses(409, "device_pending")?;
        post(broker, &approve).await?.refuses(403, "policy").cloned()
    });
    waiting.await?;
    post(&broker, &approve).await?.is(200)?;
    ensure!(state(&broker, &device).await? == "online", "it is approved and not online");

    // A shell as that login, and as no other.
    let opened = broker.as_whom(&oskar, async |broker| {
        ask(broker, Method::POST, "/api/v1/sessions", wish("somebody")).await?.refuses(403, "policy")?;
        let terminal = Terminal::open_as(broker, wish(&login)).await?;
        terminal.ready().await?;
        ensure!(terminal.runs("echo he''re").await?.0.contains("here"), "no shell");
        Ok(terminal)
    });
    let shell = opened.await?;
    killed_by_whom_it_was_given_to(&mut broker, &oskar, wish(&login)).await?;

    // What allowed the shell is taken back, and with it the shell.
    ask(&broker, Method::DELETE, &grant, json!({})).await?.is(200)?;
    let ending = broker.ending(&shell.session).await?;
    ensure!(ending["by"] == "moorline" && ending["code"] == "killed", "{ending}");
    kept_in_the_audit(&broker, &["install_key_create", "device_enroll", "device_approve"]).await?;
    let secret = key.rsplit('_').next().context("no secret")?;
    ensure!(!stage.log("broker").contains(secret), "the install key is in the log");
    Ok(())
}

/// A device that enrols and waits; gives its id.
async fn enrolled_and_waiting(stage: &Stage, broker: &Broker, pump: &Enrolling, key: &str) -> Result<String> {
    let (done, told) = pump.enrols_with(stage, key)?;
    ensure!(done && told.contains("waits for approval"), "{told}");
    let text = std::fs::read_to_string(pump.settings())?;
    ensure!(text.contains("name = \"pump\"") && !text.contains(key), "{text}");
    let list = broker.get("/api/v1/devices").await?;
    let device = list["devices"][0]["id"].as_str().context("no device")?.to_owned();
    ensure!(list["devices"][0]["state"] == "pending", "{list}");
    let (done, told) = pump.enrols_with(stage, key)?;
    ensure!(!done && told.contains("enrolled already, as") && told.contains(&device), "{told}");
    Ok(device)
}

/// A kill of somebody else's session needs its permission.
async fn killed_by_whom_it_was_given_to(broker: &mut Broker, oskar: &str, wish: Value) -> Result<()> {
    let login = wish["login"].as_str().context("no login")?.to_owned();
    let annas = format!("/api/v1/sessions/{}", broker.open_as(wish).await?.0);
    let refused = broker.as_whom(oskar, async |broker| {
        ask(broker, Method::DELETE, &annas, json!({})).await?.refuses(404, "unknown").cloned()
    });
    refused.await?;
    granted(broker, "oskar", "watch", &login).await?;
    let refused = broker.as_whom(oskar, async |broker| {
        ask(broker, Method::DELETE, &annas, json!({})).await?.refuses(403, "policy").cloned()
    });
    refused.await?;
    granted(broker, "oskar", "kill", &login).await?;
    let killed = broker.as_whom(oskar, async |broker| {
        ask(broker, Method::DELETE, &annas, json!({})).await?.is(200).cloned()
    });
    killed.await.map(drop)
}

async fn kept_in_the_audit(broker: &Broker, wanted: &[&str]) -> Result<()> {
    let audit = broker.get("/api/v1/audit?limit=500").await?;
    let entries = audit["entries"].as_array().context("no entries")?;
    for kind in wanted {
        let found = entries.iter().any(|entry| entry["what"] == *kind && entry["outcome"] == "done");
        ensure!(found, "no {kind} in {audit}");
    }
    Ok(())
}

async fn who_cannot_enrol_is_told_why_and_nothing_is_written(stage: &Stage) -> Result<()> {
    stage.announce("device refused");
    let broker = fresh_broker(stage).await?;
    let made = install_key(&broker, json!({ "uses_max": 1 })).await?;
    let (key, id) = (made["key"].as_str().context("no key")?, made["id"].as_str().context("no id")?);
    let first = Enrolling::new(stage, &broker, "first");
    let second = Enrolling::new(stage, &broker, "second");
    let (done, told) = first.enrols_with(stage, "mli_this-is-not-one")?;
    ensure!(!done && told.contains("not an install key"), "{told}");
    let (done, told) = first.enrols_with(stage, key)?;
    ensure!(done && told.contains("is enrolled, as d-"), "{told}");
    let (done, told) = second.enrols_with(stage, key)?;
    ensure!(!done && told.contains("used up or has expired"), "{told}");
    ask(&broker, Method::DELETE, &format!("/api/v1/install-keys/{id}"), json!({})).await?.is(200)?;
    let (done, told) = second.enrols_with(stage, key)?;
    ensure!(!done && told.contains("is not this broker's"), "{told}");
    ensure!(!second.settings().exists(), "there are settings for a device that nobody knows");
    // The key of the file goes on working, with the same command.
    let shared = std::fs::read_to_string(stage.path("install.key"))?;
    let (done, told) = second.enrols_with(stage, shared.trim())?;
    ensure!(done && second.settings().exists(), "{told}");
    let nobody = Enrolling { broker: "ws://127.0.0.1:1".into(), ..Enrolling::new(stage, &broker, "third") };
    let (done, told) = nobody.enrols_with(stage, key)?;
    ensure!(!done && told.contains("was not reached"), "{told}");
    Ok(())
}

async fn a_revoked_device_loses_its_link_and_its_sessions_at_once_and_never_comes_back(
    stage: &Stage,
) -> Result<()> {
    stage.announce("device_revoked");
    stage.announce("device refused");
    let mut world = World::new(stage, Kind::Embedded).await?;
    let shell = world.shell().await?;
    let (broker, device) = (&world.broker, world.device.id.clone());
    let path = format!("/api/v1/devices/{device}");
    let revoked = post(broker, &format!("{path}/revoke")).await?.is(200)?.json.clone();
    ensure!(revoked["state"] == "revoked", "{revoked}");
    let ending = shell.ends().await?;
    ensure!(ending.code.name() == "killed" && ending.text.contains("revoked"), "{ending:?}");
    let wish = json!({ "device": device, "cols": 80, "rows": 24 });
    ask(broker, Method::POST, "/api/v1/sessions", wish).await?.refuses(403, "device_revoked")?;
    post(broker, &format!("{path}/approve")).await?.refuses(400, "bad_request")?;
    eventually(SOON, "the link to be gone", async || {
        ensure!(broker.device(&device).await?["connected"] == false, "it is there");
        Ok(())
    })
    .await?;
    // The agent itself has the install key yet: that does not help it, also when the broker has forgotten it.
    stage.logged("device", &["This device was revoked"]).await?;
    ask(broker, Method::DELETE, &path, json!({})).await?.is(200)?;
    world.device.agent.process.kill()?;
    world.device.agent.restart(stage)?;
    eventually(SOON, "the device to be refused", async || {
        let refused = world.broker.metric("moorline_refusals_total", &["code=\"device_revoked\""]).await?;
        ensure!(refused >= 2.0, "{refused}");
        Ok(())
    })
    .await?;
    let list = world.broker.get("/api/v1/devices").await?;
    ensure!(list["devices"] == json!([]), "{list}");
    kept_in_the_audit(&world.broker, &["device_revoke", "device_forget"]).await
}

async fn a_device_gets_another_key_under_a_running_shell(stage: &Stage) -> Result<()> {
    stage.announce("key_replaced");
    stage.announce("device refused");
    // With each ping the agent looks whether there is a key to show.
    let world = World::with(stage, Kind::Embedded, &[("timing.link_ping", "1s")]).await?;
    let shell = world.shell().await?;
    shell.runs("token=kept").await?;
    let state_dir = Agent::state_of(stage, "device");
    let old = stage.folder("old-state");
    for file in ["identity", "ssh_host_ed25519_key", "user_ca.pub"] {
        std::fs::copy(state_dir.join(file), old.join(file))?;
    }
    let setting = format!("state_dir={}", state_dir.display());
    let (done, told) = agent(&["rotate-key", "--set", &setting], "")?;
    ensure!(done && told.contains("The broker has taken the new key"), "{told}");
    ensure!(!state_dir.join("identity.next").exists(), "the new key is not in its place");
    let (before, after) = (std::fs::read(old.join("identity"))?, std::fs::read(state_dir.join("identity"))?);
    ensure!(before != after, "it is the same key");
    // The link went on, and with it the shell; no byte is lost.
    ensure!(shell.runs("echo \"<$token>\"").await?.0.contains("<kept>"), "another shell");
    ensure!(shell.losses() == (0, 0), "{:?}", shell.losses());
    let setting = old.display().to_string();
    let thief = Agent::start_with(stage, "thief", world.broker.address, &[("state_dir", &setting)])?;
    stage.logged("thief", &["key_replaced"]).await?;
    drop(thief);
    ensure!(shell.runs("echo \"<$token>\"").await?.0.contains("<kept>"), "the thief took the link");
    kept_in_the_audit(&world.broker, &["device_key_change"]).await
}

async fn a_device_is_asked_for_another_key_now_or_when_it_comes(stage: &Stage) -> Result<()> {
    let mut world = World::new(stage, Kind::Embedded).await?;
    let shell = world.shell().await?;
    shell.runs("token=kept").await?;
    let (file, path) =
        (Agent::state_of(stage, "device").join("identity"), format!("/api/v1/devices/{}", world.device.id));
    let first = std::fs::read(&file)?;
    post(&world.broker, &format!("{path}/rotate-key")).await?.is(200)?;
    let second = changed(&world.broker, &file, &path, &first).await?;
    ensure!(shell.runs("echo \"<$token>\"").await?.0.contains("<kept>"), "another shell");
    ensure!(shell.losses() == (0, 0), "{:?}", shell.losses());
    // Killed while the key that was asked for is made and not shown: the next one finds it there.
    world.device.agent.process.kill()?;
    post(&world.broker, &format!("{path}/rotate-key")).await?.is(200)?;
    ensure!(std::fs::read(&file)? == second, "who changed it?");
    world.device.agent.restart(stage)?;
    changed(&world.broker, &file, &path, &second).await?;
    shell.attached_again(0).await?;
    ensure!(shell.runs("echo \"<$token>\"").await?.0.contains("<kept>"), "another shell");
    kept_in_the_audit(&world.broker, &["device_key_ask", "device_key_change"]).await
}

/// Waits until a device uses another key than that; gives the file with it.
async fn changed(broker: &Broker, file: &std::path::Path, path: &str, before: &[u8]) -> Result<Vec<u8>> {
    eventually(SOON, "the device to use another key", async || {
        let (now, shown) = (std::fs::read(file)?, broker.get(path).await?);
        ensure!(now != before && shown["key_asked"] == false && shown["state"] == "online", "{shown}");
        Ok(now)
    })
    .await
}

async fn a_device_whose_clock_says_1970_gets_its_sessions(stage: &Stage) -> Result<()> {
    let broker = Broker::start(stage).await?;
    let library = faketime()?;
    // What it is asked for is the time of day; how long something takes stays true.
    let clock = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", "@1970-01-02 00:00:00"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut agent = Agent::start_in(stage, "device", broker.address, &[], &clock)?;
    let device = agent.online(&broker).await?;
    let shell = Terminal::open(&broker, &device).await?;
    shell.ready().await?;
    // What it logs is written at the time that its clock shows: it does live in 1970.
    ensure!(stage.log("device").contains("\"1970-01-02T"), "{}", stage.log("device"));
    ensure!(shell.runs("echo he''re").await?.0.contains("here"), "no shell");
    broker.end(&shell_session(&broker).await?, "the test is over").await?;
    shell.ends().await?;
    Ok(())
}

async fn shell_session(broker: &Broker) -> Result<String> {
    let live = broker.get("/api/v1/sessions?state=live").await?;
    Ok(live["sessions"][0]["id"].as_str().context("no session")?.to_owned())
}

/// The library that shifts the clock of one process: of the package `faketime`.
fn faketime() -> Result<String> {
    for folder in std::fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path()) {
        for place in [folder.join("faketime"), folder.clone()] {
            let library = place.join("libfaketimeMT.so.1");
            if library.exists() {
                return Ok(library.display().to_string());
            }
        }
    }
    bail!("libfaketimeMT.so.1 is not here: install the package faketime")
}

async fn the_openssh_of_a_device_is_set_up_for_the_broker_and_set_back(stage: &Stage) -> Result<()> {
    stage.announce("ssh failed");
    stage.announce("cannot reach the sshd");
    let broker = fresh_broker(stage).await?;
    let key = install_key(&broker, json!({})).await?["key"].as_str().context("no key")?.to_owned();
    let device = Enrolling::new(stage, &broker, "device");
    let sshd = Sshd::untrusting(stage, "device").await?;
    let config = sshd.config();
    let file = config.display().to_string();
    let drop_in = config.with_file_name("sshd_config.d/50-moorline.conf");
    let system = ["--system-sshd", "--sshd-config", &file];

    // What is broken already is left to who broke it.
    let good = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{good}Nonsense yes\n"))?;
    let (done, told) = device.enrols_as(stage, &key, &system)?;
    ensure!(!done && told.contains("as it is now") && told.contains("Nonsense"), "{told}");
    // One that does not read the drop-in, and one that trusts somebody else already.
    std::fs::write(&config, good.replace("Include", "#Include"))?;
    let (done, told) = device.enrols_as(stage, &key, &system)?;
    ensure!(!done && told.contains("Add this as its first line: Include"), "{told}");
    let set_up = |more: &[&str]| {
        let dir = device.dir.display().to_string();
        agent(&[&["enroll", "--dir", &dir][..], &system, more].concat(), "")
    };
    std::fs::write(&config, format!("TrustedUserCAKeys /somebody/else\n{good}"))?;
    let (done, told) = set_up(&[])?;
    ensure!(!done && told.contains("another CA already (/somebody/else)"), "{told}");
    ensure!(!drop_in.exists(), "what does not work was left there");

    // It is enrolled since the second try; now its sshd follows, and not before it is told to.
    std::fs::write(&config, &good)?;
    let _agent = device.starts(stage)?;
    let id = eventually(SOON, "the device to be online", async || {
        let list = broker.get("/api/v1/devices").await?;
        ensure!(list["devices"][0]["state"] == "online", "{list}");
        Ok(list["devices"][0]["id"].as_str().context("no id")?.to_owned())
    })
    .await?;
    let wish = json!({ "device": id, "cols": 80, "rows": 24 });
    let (done, told) = set_up(&[])?;
    ensure!(done && told.contains("Wrote") && told.contains("systemctl reload ssh"), "{told}");
    ensure!(refused(&broker, &wish).await? == "device_refused", "it was reloaded by surprise");
    let (done, told) = set_up(&["--reload"])?;
    ensure!(done && told.contains("says already") && told.contains("Told sshd"), "{told}");
    // For a moment it does not listen.
    stage.logged("device-sshd", &["Received SIGHUP"]).await?;
    sshd.listening().await?;
    let shell = Terminal::open_as(&broker, wish.clone()).await?;
    shell.ready().await?;
    ensure!(shell.runs("echo he''re").await?.0.contains("here"), "no shell");
    let (done, told) = set_up(&["--undo", "--reload"])?;
    ensure!(done && told.contains("Removed") && !drop_in.exists(), "{told}");
    ensure!(shell.runs("echo he''re").await?.0.contains("here"), "the session has ended with it");
    eventually(SOON, "sshd to trust nobody again", async || {
        ensure!(refused(&broker, &wish).await? == "device_refused", "it was let in");
        Ok(())
    })
    .await
}

/// With which code a session ends that is asked for now.
async fn refused(broker: &Broker, wish: &Value) -> Result<String> {
    let terminal = Terminal::open_as(broker, wish.clone()).await?;
    Ok(terminal.ends().await?.code.name().to_owned())
}
