//! A real agent in a folder of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::broker::{Broker, binary};
use crate::process::Process;
use crate::sshd::Sshd;
use crate::stage::Stage;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Agent {
    /// The name under which people see the device.
    pub name: String,
    /// The program.
    pub process: Process,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Agent {
    /// An agent in front of that sshd, with these settings besides.
    pub fn start_before(
        stage: &Stage,
        name: &str,
        broker: SocketAddr,
        sshd: &Sshd,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let (address, host_key) = (sshd.address.to_string(), sshd.public_host_key().display().to_string());
        let system =
            [("sshd.mode", "system"), ("sshd.address", &*address), ("sshd.host_key_files", &*host_key)];
        let all: Vec<_> = system.iter().chain(settings).copied().collect();
        Self::start_with(stage, name, broker, &all)
    }

    /// An agent that dials this address, with these settings besides its own; its sshd is the embedded one.
    pub fn start_with(
        stage: &Stage,
        name: &str,
        broker: SocketAddr,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_in(stage, name, broker, settings, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_in(
        stage: &Stage,
        name: &str,
        broker: SocketAddr,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let state = Self::state_of(stage, name).display().to_string();
        let key = stage.path("install.key").display().to_string();
        let url = format!("ws://{broker}");
        let filter = std::env::var("TESTS_LOG").unwrap_or_else(|_| "info,moorline_agent=debug".to_owned());
        let keepers = Self::keepers_of(stage, name).display().to_string();
        let own = [
            ("keeper.dir", &*keepers),
            ("broker.url", &*url),
            ("broker.proxy", "none"),
            ("name", name),
            ("state_dir", &*state),
            ("install_key_file", &*key),
            ("log.format", "json"),
            ("log.filter", &*filter),
        ];
        let mut arguments = Vec::new();
        for (key, value) in own.iter().chain(settings) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = Self::run(stage, name, &arguments, &environment)?;
        Ok(Self { name: name.to_owned(), process, arguments, environment })
    }

    fn run(
        stage: &Stage,
        name: &str,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<Process> {
        let mut command = Command::new(binary("moorline-agent"));
        command.args(arguments).current_dir(stage.folder("."));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Process::start(stage, name, command, true)
    }

    /// Starts the program again with the same settings, after it ended.
    pub fn restart(&mut self, stage: &Stage) -> Result<()> {
        self.process = Self::run(stage, &self.name, &self.arguments, &self.environment)?;
        Ok(())
    }

    /// Where the keepers of a device of that name have their sockets. Each has this in its environment.
    pub fn keepers_of(stage: &Stage, name: &str) -> PathBuf {
        stage.path(format!("{name}-keepers"))
    }

    /// Where an agent of that name keeps its state.
    pub fn state_of(stage: &Stage, name: &str) -> PathBuf {
        stage.path(format!("{name}-state"))
    }

    /// Waits until the broker sees the device online, and gives its id.
    pub async fn online(&mut self, broker: &Broker) -> Result<String> {
        let (name, process) = (&self.name, &mut self.process);
        wait::eventually(wait::SOON, &format!("{name} to be online"), async || {
            process.check_alive()?;
            let list = broker.get("/api/v1/devices").await?;
            let devices = list["devices"].as_array().context("no devices")?;
            let mine = devices.iter().find(|device| device["name"] == **name && device["state"] == "online");
            let id = mine.and_then(|device| device["id"].as_str());
            id.map(str::to_owned).with_context(|| format!("not among {list}"))
        })
        .await
    }
}
