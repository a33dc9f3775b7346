//! A program that a test started. Its guard kills and reaps it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::stage::{Inner, Stage};
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stage: Arc<Inner>,
}

impl Process {
    /// Starts it with its output at the end of `NAME.log`. `ours`: its warnings count.
    pub fn start(stage: &Stage, name: &str, mut command: Command, ours: bool) -> Result<Self> {
        let log = stage.inner().add_log(name, ours);
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // MOORLINE_... are settings: those of whoever runs the tests are not for this one.
        let given: HashSet<_> = command.get_envs().map(|(variable, _)| variable.to_owned()).collect();
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("MOORLINE_") && !given.contains(&variable) {
                command.env_remove(&variable);
            }
        }
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), stage: stage.inner() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid() as i32), signal)?)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let pid = Pid::from_raw(self.pid() as i32);
        let watch = tokio::task::spawn_blocking(move || {
            waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        });
        wait::within(limit, &format!("{} to end", self.name), watch).await???;
        Ok(self.child.wait()?)
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(wait::Hopeless(format!("{} has ended: {status}", self.name)).into()),
        }
    }
}

impl Process {
    /// The test is over: what is logged from now on does not count.
    pub fn curtain(&self) {
        self.stage.curtain();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.curtain();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
