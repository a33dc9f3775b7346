//! What a session holds on broker and device: one that shows its prompt, and one that writes constantly and is
//! read. As the growth from a few sessions to many, so that nothing counts that the first one takes for all.

use std::time::Duration;

use anyhow::{Result, ensure};
use moorline_tests::{Kind, Stage, World};
use serde_json::json;

use super::held::{self, Part, Parts, kib, together};
use super::numbers::{Numbers, PROGRAM};
use super::pause::pause;
use super::readers::{Reader, clients, idle};
use super::{Check, Options, Outcome, world};

/// What an idle session may hold in the broker.
const BROKER_KIB_MAX: f64 = 160.0;
/// What it may hold on the device.
const DEVICE_KIB_MAX: f64 = 2048.0;

/// Sessions that are there before the counted ones.
const FIRST: usize = 5;

/// What is ours on the device. The shell is the person's, and so are the processes of the system's sshd.
const OURS: [Part; 3] = [Part::Agent, Part::Attach, Part::Keeper];

/// Busy sessions are looked at so often, a second apart.
const LOOKS: usize = 5;

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, kind: Kind) -> Result<Outcome> {
    let (idle_count, busy_count) = options.full_or((100, 20), (20, 5));
    let world = world(stage, kind, &[]).await?;
    let first = idle(&world, FIRST).await?;
    let before = held::settled(&world).await;
    let many = idle(&world, idle_count).await?;
    let after = held::settled(&world).await;
    first.iter().chain(&many).try_for_each(Reader::check)?;
    let of = |parts: &Parts, which: &[Part]| together(parts, which).share;
    let each = |which: &[Part]| kib((of(&after, which) - of(&before, which)) / idle_count as f64);
    let (broker, device) = (each(&[Part::Broker]), each(&OURS));
    let busy = busy(&world, busy_count).await?;
    let busy_each = |which: &[Part]| kib((of(&busy.1, which) - of(&busy.0, which)) / busy_count as f64);
    let (busy_broker, busy_device) = (busy_each(&[Part::Broker]), busy_each(&OURS));
    Ok(Outcome {
        line: format!(
            "idle session {broker} KiB in the broker (<= {BROKER_KIB_MAX}), {device} KiB on the device \
             (<= {DEVICE_KIB_MAX}); busy {busy_broker} KiB and {busy_device} KiB"
        ),
        figures: json!({
            "idle": { "sessions": idle_count, "broker_kib": broker, "device_kib": device,
                "parts": held::each_since(&after, &before, idle_count) },
            "busy": { "sessions": busy_count, "broker_kib": busy_broker, "device_kib": busy_device,
                "parts": held::each_since(&busy.1, &busy.0, busy_count), "mb_s": busy.2 },
        }),
        checks: vec![
            Check::most("idle session, broker KiB", broker, BROKER_KIB_MAX),
            Check::most("idle session, device KiB", device, DEVICE_KIB_MAX),
        ],
    })
}

/// Memory before and while so many write constantly beside those that are idle, the most of several looks,
/// and how much was read of it.
async fn busy(world: &World, count: usize) -> Result<(Parts, Parts, f64)> {
    let before = held::settled(world).await;
    let mut readers = Vec::new();
    for mut client in clients(world, world.broker.address, count).await? {
        let mut numbers = Numbers::new();
        numbers.take(&client.runs(PROGRAM).await?)?;
        readers.push(Reader::of(client, Some(numbers)));
    }
    // Until the rings are full: what is held then is what is held for ever.
    pause(Duration::from_secs(10)).await;
    let read = || readers.iter().map(Reader::bytes).sum::<u64>();
    let (since, read_before) = (std::time::Instant::now(), read());
    let mut most = Parts::new();
    for _ in 0..LOOKS {
        pause(Duration::from_secs(1)).await;
        for (part, memory) in held::parts(world) {
            let highest = most.entry(part).or_insert(memory);
            if memory.share > highest.share {
                *highest = memory;
            }
        }
    }
    let mb_s = (read() - read_before) as f64 / 1e6 / since.elapsed().as_secs_f64();
    ensure!(mb_s > 1.0, "nothing was written");
    for reader in readers {
        reader.ends().await?;
    }
    Ok((before, most, (mb_s * 10.0).round() / 10.0))
}
