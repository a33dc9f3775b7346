//! A service manager, as far as programs talk to it: the socket of sd_notify(3).

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::net::UnixDatagram;

use crate::stage::Stage;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    /// Listens in the stage's folder.
    pub fn new(stage: &Stage, name: &str) -> Result<Self> {
        let path = stage.path(format!("{name}.notify"));
        Ok(Self { socket: UnixDatagram::bind(&path)?, path, heard: Vec::new() })
    }

    /// What a program that it starts has in its environment.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let path = self.path.to_str().context("a path in UTF-8")?.to_owned();
        Ok(vec![("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "1000000".to_owned())])
    }

    /// Waits until it is told that.
    pub async fn hears(&mut self, wanted: &str) -> Result<()> {
        let hearing = async {
            let mut message = [0; 4096];
            loop {
                let length = self.socket.recv(&mut message).await?;
                for line in std::str::from_utf8(&message[..length])?.lines() {
                    self.heard.push(line.to_owned());
                    if line == wanted {
                        return Ok(());
                    }
                }
            }
        };
        let heard = wait::within(wait::SOON, &format!("{wanted} by sd_notify"), hearing).await;
        heard.with_context(|| format!("heard only {:?}", self.heard))?
    }
}
