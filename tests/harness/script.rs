//! A script in a real Chromium (`tests/browser/*.mjs`).
//!
//! The script runs on node and drives the browser; the test owns the world. Where the script wants
//! something done to the world it prints `@ask {"do": ...}` and waits; the test does it and answers
//! with one line of JSON.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::broker::root;
use crate::stage::Stage;
use crate::wait;

/// Longer than any script may take.
const LIMIT: Duration = Duration::from_secs(200);

/// See the module.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
}

impl Script {
    /// Starts `tests/browser/NAME.mjs` with these values in its environment.
    pub fn start(stage: &Stage, name: &str, values: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new("node");
        command
            .arg(Self::folder().join(format!("{name}.mjs")))
            .env("MOORLINE_PROFILE", stage.folder(&format!("{name}-chromium")));
        command.env("MOORLINE_CHROMIUM", chromium()?).envs(values.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let child = command.spawn().context("start node")?;
        Ok(Self { name: name.to_owned(), child })
    }

    fn folder() -> PathBuf {
        root().join("tests/browser")
    }

    /// Runs it to its end; `perform` does what the script asks for.
    pub async fn run(mut self, mut perform: impl AsyncFnMut(Value) -> Result<Value>) -> Result<()> {
        let stdout = self.child.stdout.take().context("the script has an output")?;
        let mut stdin = self.child.stdin.take().context("the script has an input")?;
        let mut lines = BufReader::new(stdout).lines();
        let name = self.name.clone();
        let talk = async {
            while let Some(line) = lines.next_line().await? {
                let Some(ask) = line.strip_prefix("@ask ") else {
                    eprintln!("{name}: {line}");
                    continue;
                };
                let answer = match perform(serde_json::from_str(ask)?).await {
                    Ok(answer) => json!({ "ok": answer }),
                    Err(error) => json!({ "error": format!("{error:#}") }),
                };
                stdin.write_all(format!("{answer}\n").as_bytes()).await?;
            }
            anyhow::Ok(self.child.wait().await?)
        };
        let status = wait::within(LIMIT, &format!("the script {name}"), talk).await??;
        if !status.success() {
            bail!("the script {name} failed: {status}; its words stand above");
        }
        Ok(())
    }
}

fn chromium() -> Result<PathBuf> {
    let known = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
        "/usr/bin/google-chrome-stable",
    ];
    let found = known.iter().map(PathBuf::from).find(|path| path.exists());
    found.context("no Chromium is here: tests/scripts/install.sh installs it")
}
