//! Many live sessions on real devices, each with a real keeper and a real shell, and a viewer: what an idle one
//! holds in the broker and on the device, and how a key does while a tenth of them print.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, broker::free_port};
use serde_json::json;

use crate::options::Options;
use crate::pause::pause;
use crate::person::Person;
use crate::report::Report;
use crate::usage::{Memory, cpu_seconds, spread, tenth};

/// So many sessions are on one device.
const SESSIONS_EACH: usize = 100;

/// So many are set up at the same time.
const AT_ONCE: usize = 8;

/// One in so many is busy.
const BUSY_ONE_IN: usize = 10;

/// What a busy one prints, and how often: a build that says what it does.
const PRINTED: (usize, Duration) = (2 * 1024, Duration::from_millis(100));

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, sessions: usize, report: &mut Report) -> Result<()> {
    let broker = Broker::start_with(stage, free_port(), &[("log.filter", "info,actix_server=warn")]).await?;
    let mut devices = Vec::new();
    for number in 0..sessions.div_ceil(SESSIONS_EACH) {
        let name = format!("device-{number}");
        devices.push(Device::start(stage, &broker, &name, Kind::Embedded, broker.address).await?);
    }
    let person = Terminal::open(&broker, &devices[0].id).await?;
    person.ready().await?;
    let mut person = Person::at(person).await?;
    person.types(false);
    // What the first session of a device takes is taken once.
    let first = open(&broker, &devices, devices.len()).await?;
    pause(options.settling()).await;
    let before = (Memory::of(broker.pid()), on_devices(&devices));
    let since = Instant::now();
    let many = open(&broker, &devices, sessions).await?;
    let took = since.elapsed().as_secs_f64();
    eprintln!("load: {sessions} sessions are live after {took:.1} s");
    pause(options.settling()).await;
    let (in_broker, on_device) = (Memory::of(broker.pid()), on_devices(&devices));
    let (in_broker, on_device) =
        (in_broker.each_since(before.0, sessions), on_device.each_since(before.1, sessions));
    eprintln!(
        "load: idle, each holds {:.1} KiB in the broker, {:.1} KiB on its device",
        in_broker.pss, on_device.pss
    );
    let idle_cpu = cpu_percent(broker.pid(), options.watching_sessions()).await;
    person.types(true);
    let idle_keys = person.so_many(options.keys()).await?;
    let busy: Vec<&Terminal> = many.iter().step_by(BUSY_ONE_IN).collect();
    let (busy_keys, busy_cpu) = while_busy(stage, &busy, &mut person, &broker, options).await?;
    let in_broker_busy = Memory::of(broker.pid()).each_since(before.0, sessions);
    for terminal in first.iter().chain(&many) {
        terminal.check_open()?;
        report.fails_if_any(terminal.errors());
    }
    person.check()?;
    report.put(
        "sessions",
        json!({
            "sessions": sessions, "devices": devices.len(), "busy": busy.len(),
            "set_up_s": tenth(took), "set_up_per_s": tenth(sessions as f64 / took),
            "idle_in_broker": in_broker.json(), "idle_on_device": on_device.json(),
            "idle_cpu_percent": tenth(idle_cpu), "idle_key_ms": spread(&idle_keys),
            "busy_key_ms": spread(&busy_keys), "busy_cpu_percent": tenth(busy_cpu),
            "afterwards_in_broker": in_broker_busy.json(),
        }),
    );
    devices.iter().for_each(|device| device.agent.process.curtain());
    Ok(())
}

/// Opens so many sessions, on the devices in turn, and waits until each shows its prompt.
async fn open(broker: &Broker, devices: &[Device], count: usize) -> Result<Vec<Terminal>> {
    let one = |number: usize| async move {
        let terminal = Terminal::open(broker, &devices[number % devices.len()].id).await?;
        terminal.ready().await.with_context(|| format!("session {number} of {count}"))?;
        anyhow::Ok(terminal)
    };
    stream::iter((0..count).map(one)).buffer_unordered(AT_ONCE).try_collect().await
}

/// The agents, their keepers, and what waits below an agent for a keeper; the shells are the persons' own.
fn on_devices(devices: &[Device]) -> Memory {
    let ours = |device: &Device| {
        let mut ours = vec![device.agent.process.pid()];
        ours.extend(device.below());
        ours.extend(device.kept().into_iter().filter(|pid| is_agent(*pid)));
        ours
    };
    let all: Vec<_> = devices.iter().flat_map(ours).collect();
    Memory::of_all(&all)
}

fn is_agent(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("moorline-agent"))
}

async fn cpu_percent(pid: u32, time: Duration) -> f64 {
    let (cpu, since) = (cpu_seconds(pid), Instant::now());
    pause(time).await;
    (cpu_seconds(pid) - cpu) / since.elapsed().as_secs_f64() * 100.0
}

/// How keys do while those sessions print, and what the broker takes for that.
async fn while_busy(
    stage: &Stage,
    busy: &[&Terminal],
    person: &mut Person,
    broker: &Broker,
    options: &Options,
) -> Result<(Vec<f64>, f64)> {
    let log = stage.path("build.log");
    std::fs::write(&log, "")?;
    for terminal in busy {
        terminal.types(&format!("clear; tail -n +1 -f {}\r", log.display()));
    }
    let printing = prints(&log);
    let measured = async {
        for terminal in busy {
            terminal.shows("line 20 ").await?;
        }
        let cpu = cpu_percent(broker.pid(), options.watching_sessions()).await;
        anyhow::Ok((person.so_many(options.keys()).await?, cpu))
    };
    tokio::select! {
        failed = printing => failed.map(|()| (Vec::new(), 0.0)),
        measured = measured => measured,
    }
}

/// Writes what all of them show, for ever.
async fn prints(log: &Path) -> Result<()> {
    let mut file = std::fs::File::options().append(true).open(log)?;
    let (bytes, every) = PRINTED;
    for number in 0.. {
        let mut text = format!("line {number} ");
        while text.len() < bytes {
            text.push_str("cc -O2 -c something.c -o something.o\n");
        }
        file.write_all(text.as_bytes())?;
        pause(every).await;
    }
    Ok(())
}
