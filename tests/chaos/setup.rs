//! The broker dies while a session is being set up: whoever asked must end in a live shell, and the
//! device must have exactly one for it.

use std::fs;

use anyhow::{Context, Result, ensure};
use futures_util::future::join;
use moorline_tests::Device;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::json;

use crate::client::Moment;
use crate::pause::{a_moment, pause};
use crate::report::Row;
use crate::scene::{RESTART_AFTER, Scene};
use crate::seen;
use crate::shell::Shell;

/// How long after the request the broker dies.
const KILLED_AFTER_MS: std::ops::Range<u64> = 0..150;

/// Tries it so often, on each device in turn.
pub async fn rounds(scene: &mut Scene<'_>, rounds: usize, random: &mut StdRng, row: &mut Row) -> Result<()> {
    for round in 0..rounds {
        scene.devices_are_online().await?;
        row.rounds += 1;
        let device = round % scene.devices.len();
        let before = scene.broker.figures().await?;
        match one(scene, device, random, row).await {
            Ok(shell) => {
                ensure_one_shell(&shell)?;
                row.account.add(shell.finish().await?);
            }
            Err(error) => {
                row.sessions_lost += 1;
                row.account.notes.push(format!("round {}: {error:#}", row.rounds));
            }
        }
        seen::look(row, "", &before, &scene.broker).await;
    }
    Ok(())
}

async fn one(scene: &mut Scene<'_>, device: usize, random: &mut StdRng, row: &mut Row) -> Result<Shell> {
    let (name, id) = (scene.devices[device].agent.name.clone(), scene.devices[device].id.clone());
    let request = scene
        .broker
        .request(Method::POST, "/api/v1/sessions")
        .json(&json!({ "device": id, "cols": 80, "rows": 24 }));
    let asking = tokio::spawn(request.send());
    // The page attaches as soon as it is told of the session, while the broker still sets it up.
    let early = async {
        let answer: serde_json::Value =
            asking.await.ok()?.ok()?.error_for_status().ok()?.json().await.ok()?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        let shell = Shell::attach(scene, &name, text("id")?, text("ticket")?);
        shell.ok()
    };
    let (shell, ()) = join(early, a_moment(random, KILLED_AFTER_MS)).await;
    let moment = Moment::now();
    scene.kill_broker()?;
    pause(RESTART_AFTER).await;
    scene.start_broker().await?;
    let mut shell = match shell {
        Some(shell) => shell,
        // Nobody told the person of a session: they ask again.
        None => {
            let device: &Device = &scene.devices[device];
            scene.devices_are_online().await?;
            let (session, ticket) = scene.broker.open(&device.id).await?;
            Shell::attach(scene, &name, session, ticket)?
        }
    };
    shell.begin().await.with_context(|| shell_name(&shell))?;
    row.live_again.push(shell.lives(moment, shell.types()).await?);
    Ok(shell)
}

fn shell_name(shell: &Shell) -> String {
    format!("{}: {}", shell.name(), shell.over().unwrap_or_else(|| "no shell came".to_owned()))
}

/// Counts the processes that lead a terminal of this session.
fn ensure_one_shell(shell: &Shell) -> Result<()> {
    let mark = format!("MOORLINE_SESSION={}\0", shell.session);
    let mut leaders = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        let ours = environment.windows(mark.len()).any(|part| part == mark.as_bytes());
        if ours && leads_a_terminal(pid) {
            leaders.push(pid);
        }
    }
    ensure!(leaders.len() <= 1, "{} has {} shells: {leaders:?}", shell.name(), leaders.len());
    Ok(())
}

/// Whether the process leads a session that has a terminal (proc(5): fields 6 and 7).
fn leads_a_terminal(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<_> = fields.split_whitespace().collect();
    fields.get(3) == Some(&&*pid.to_string()) && fields.get(4) != Some(&"0")
}
