//! What one fault is tried on: a broker and two devices of its own (one with the embedded sshd, one
//! with OpenSSH), with a bad network before the people and one before the devices. The suite is
//! their init system: what was killed is started again after a second.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::wait::eventually;
use moorline_tests::{Agent, Broker, Device, Kind, Relay, Stage};
use nix::sys::signal::Signal;

/// After how long an init system starts again what has died (`RestartSec=1s`).
pub const RESTART_AFTER: Duration = Duration::from_secs(1);
/// No part may take longer to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(45);
/// What is left of a session on its device has 5 s from SIGHUP to SIGKILL, and is given a few more.
const KILLED_WITHIN: Duration = Duration::from_secs(15);
/// The actor stays for 30 s where people may still come to read why the session is over, and a browser
/// behind a dead network is given up after 45 s.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);

/// See the module.
pub struct Scene<'s> {
    /// The two devices.
    pub devices: Vec<Device>,
    /// The broker.
    pub broker: Broker,
    /// The network before the people.
    pub people: Relay,
    /// The network before the devices.
    pub far: Relay,
    /// The folder of the fault.
    pub stage: &'s Stage,
}

impl<'s> Scene<'s> {
    /// Starts everything on that stage.
    pub async fn set(stage: &'s Stage) -> Result<Self> {
        let port = free_port();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let (people, far) = (Relay::to(address).await?, Relay::to(address).await?);
        let origin = format!("http://{}", people.address);
        let hosts = format!("{},{}", people.address, far.address);
        // An actor that panics in every round would be restarted later each time, and then given up.
        let settings = [("http.hosts", &*hosts), ("http.origins", &*origin), ("timing.restart_window", "1s")];
        let faults = [("MOORLINE_TEST_FAULTS", "1")];
        let broker = Broker::start_in(stage, port, &settings, &faults).await?;
        let mut devices = Vec::new();
        for (name, kind) in [("embedded", Kind::Embedded), ("openssh", Kind::OpenSsh)] {
            devices.push(Device::start(stage, &broker, name, kind, far.address).await?);
        }
        Ok(Self { devices, broker, people, far, stage })
    }

    /// Where the broker's store is.
    pub fn store(&self) -> PathBuf {
        self.stage.path("broker/moorline.db")
    }

    /// Ends the broker as a crash does.
    pub fn kill_broker(&mut self) -> Result<()> {
        self.broker.process.kill()
    }

    /// Ends it as an init system does, and waits until it has.
    pub async fn end_broker(&mut self) -> Result<()> {
        self.broker.process.signal(Signal::SIGTERM)?;
        self.broker.process.ended(PATIENCE).await.context("the broker was asked to end")?;
        Ok(())
    }

    /// Starts it again.
    pub async fn start_broker(&mut self) -> Result<()> {
        self.broker.restart(self.stage).await
    }

    /// Ends the agents as a crash does.
    pub fn kill_agents(&mut self) -> Result<()> {
        self.devices.iter_mut().try_for_each(|device| device.agent.process.kill())
    }

    /// Starts them again.
    pub fn start_agents(&mut self) -> Result<()> {
        self.devices.iter_mut().try_for_each(|device| device.agent.restart(self.stage))
    }

    /// Sends the agents a signal.
    pub fn signal_agents(&self, signal: Signal) -> Result<()> {
        self.devices.iter().try_for_each(|device| device.agent.process.signal(signal))
    }

    /// Waits until every device is online.
    pub async fn devices_are_online(&self) -> Result<()> {
        for device in &self.devices {
            eventually(PATIENCE, "the devices to be online", async || {
                let state = self.broker.device(&device.id).await?["state"].clone();
                ensure!(state == "online", "{} is {state}", device.agent.name);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Ends every session that is left, and waits until broker and devices have nothing of any.
    pub async fn end_sessions(&self) -> Result<()> {
        for device in &self.devices {
            let path = format!("/api/v1/sessions?device={}&reason=over", device.id);
            self.broker.call(reqwest::Method::DELETE, &path, None).await?.is(200)?;
        }
        eventually(KILLED_WITHIN, "the devices' shells and keepers to end", async || {
            let left = self.left_on_devices();
            ensure!(left.is_empty(), "{}", left.join("; "));
            Ok(())
        })
        .await?;
        eventually(FORGOTTEN_WITHIN, "the broker's gauges to be back at zero", async || {
            for (name, labels) in [
                ("sessions", &[][..]),
                ("viewers", &[]),
                ("actors", &["ssh_session"]),
                ("actors", &["user_connection"]),
            ] {
                let left = self.broker.metric(&format!("moorline_{name}"), labels).await?;
                ensure!(left == 0.0, "{name} {labels:?} is {left}");
            }
            Ok(())
        })
        .await
    }

    /// The devices' shells and keepers, and what the keepers have in their folder.
    fn left_on_devices(&self) -> Vec<String> {
        let pids = self.devices.iter().flat_map(Device::processes);
        let processes = pids.map(|pid| format!("{pid} {}", command_line(pid)));
        let folders = self.devices.iter().map(|device| Agent::keepers_of(self.stage, &device.agent.name));
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        processes.chain(files.map(|file| file.path().display().to_string())).collect()
    }

    /// What stands in the command line or environment of everything that belongs to this scene.
    fn mark(&self) -> String {
        self.stage.path("").display().to_string()
    }

    /// Ends agents and broker as an administrator does; both must leave by themselves.
    pub async fn take_down(mut self) -> Result<()> {
        for device in &mut self.devices {
            device.agent.process.signal(Signal::SIGTERM)?;
            device.agent.process.ended(PATIENCE).await.context("an agent was asked to end")?;
        }
        self.end_broker().await?;
        let mark = self.mark();
        drop(self);
        eventually(PATIENCE, "every process of the scene to end", async || {
            let left = moorline_tests::inspect::marked(&mark);
            let left: Vec<_> = left.iter().map(|pid| format!("{pid} {}", command_line(*pid))).collect();
            ensure!(left.is_empty(), "{}", left.join("; "));
            Ok(())
        })
        .await
    }
}

/// The ends of all logs in the folder, and every line of a panic.
pub fn tails(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
            // The suite's own questions are not what went wrong.
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("\"answered\"")).collect();
            text += &format!("---- {} (last 25 of {} lines)\n", path.display(), lines.len());
            for line in &lines[lines.len().saturating_sub(25)..] {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().to_owned()
}
