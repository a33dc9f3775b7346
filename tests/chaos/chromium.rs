//! Tabs of a real browser that are reloaded: `chromium.mjs` drives them, and what it leaves is
//! compared here with what the counted program wrote and read.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use moorline_tests::{broker, wait};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::account::Account;
use crate::counted;
use crate::report::Row;
use crate::scene::Scene;

/// How long people type before they reload.
const CALM_MS: std::ops::Range<u64> = 200..1_500;

/// Reloads a tab on each device so often.
pub async fn reloads(scene: &Scene<'_>, rounds: usize, random: &mut StdRng, row: &mut Row) -> Result<()> {
    let me = std::env::current_exe()?.display().to_string();
    let mut folders = Vec::new();
    let mut pages = Vec::new();
    for device in &scene.devices {
        let folder = scene.stage.folder(&format!("chromium-{}", device.agent.name));
        let command = format!("'{me}' counted '{}'", folder.display());
        pages.push(json!({ "path": format!("/d/{}", device.id), "folder": folder, "command": command }));
        folders.push(folder);
    }
    let pauses: Vec<u64> = (0..rounds).map(|_| random.random_range(CALM_MS)).collect();
    let order = json!({ "url": scene.broker.url(""), "pages": pages, "pauses": pauses });
    let told = drive(scene, &order, rounds).await?;
    let live = told["live"].as_array().context("the times in which the tabs were live again")?;
    row.live_again.extend(live.iter().filter_map(Value::as_u64).map(Duration::from_millis));
    for folder in folders {
        row.account.add(account_of(&folder, rounds)?);
    }
    Ok(())
}

async fn drive(scene: &Scene<'_>, order: &Value, rounds: usize) -> Result<Value> {
    let child = tokio::process::Command::new("node")
        .arg(broker::root().join("tests/chaos/chromium.mjs"))
        .arg(order.to_string())
        .current_dir(scene.stage.folder("."))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let limit = Duration::from_secs(120 + 10 * rounds as u64);
    let output = wait::within(limit, "Chromium", child).await?.context("start node")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {words}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("no result, but {words}"))
}

/// What one tab was given over all its lives.
fn account_of(folder: &Path, rounds: usize) -> Result<Account> {
    let written = std::fs::read(counted::shown_in(folder))?;
    let mut account = Account::default();
    account.of_input(&std::fs::read(folder.join("typed-in"))?, &std::fs::read(counted::typed_in(folder))?);
    for part in 0..=rounds {
        let bytes = std::fs::read(folder.join(format!("part-{part}")))?;
        let lines = std::fs::read_to_string(folder.join(format!("lines-{part}")))?;
        let last = part == rounds;
        if let Err(error) = whole(&written, &bytes, last).and_then(|()| on_end(&written, &lines)) {
            account.bytes_lost += 1;
            account.notes.push(format!("{}, load {part}: {error:#}", folder.display()));
        }
    }
    Ok(account)
}

/// What the terminal was given since a load is one piece of what was written, without a hole.
fn whole(written: &[u8], shown: &[u8], last: bool) -> Result<()> {
    let after_the_start = find(shown, counted::START).map_or(0, |at| at + counted::START.len());
    let before_the_stop = if last { find(shown, counted::STOP) } else { None };
    let shown = &shown[after_the_start..before_the_stop.unwrap_or(shown.len()).max(after_the_start)];
    // A line with its number stands only once: it says where the piece belongs.
    let from = find(shown, b"\nL ").context("it has no whole line")?;
    let mark = &shown[from..(from + 60).min(shown.len())];
    let at = find(written, mark).context("its first line was never written")?;
    ensure!(at >= from, "it begins with something that was not written");
    let wanted = &written[at - from..(at - from + shown.len()).min(written.len())];
    let differs = shown.iter().zip(wanted).position(|(shown, wanted)| shown != wanted);
    ensure!(differs.is_none() && shown.len() == wanted.len(), "it differs at {differs:?} of {}", shown.len());
    ensure!(!last || at - from + shown.len() == written.len(), "its end is missing");
    Ok(())
}

/// The counted lines in the terminal, those of the snapshot and those after it, follow one another.
fn on_end(written: &[u8], lines: &str) -> Result<()> {
    let written = String::from_utf8_lossy(written).replace('\r', "");
    let lines: Vec<_> = lines.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let counted = |line: &&str| line.starts_with("L ") && line.ends_with('✓');
    let first = lines.iter().position(counted).context("no counted line is on the screen")?;
    let end = lines.iter().rposition(counted).context("no counted line is on the screen")?;
    let text = lines[first..=end].join("\n");
    ensure!(written.contains(&text), "the lines on the screen do not follow one another");
    Ok(())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
