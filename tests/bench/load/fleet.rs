//! Many simulated devices on one broker: how fast they come, what each holds there, what all of them take at
//! rest, and how they come back after the broker was killed; and how it is meanwhile for a person who types and
//! for those who look at the pages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use moorline_tests::{Broker, Device, Kind, Stage, Terminal, broker::free_port, wait};
use serde_json::{Value, json};

use crate::crowds::Crowds;
use crate::options::Options;
use crate::pages::Page;
use crate::pause::pause;
use crate::person::Person;
use crate::report::Report;
use crate::usage::{Memory, cpu_seconds, quantile, spread, tenth};

/// Longer than any of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is logged: what a broker logs that nobody has set up.
const LOG: (&str, &str) = ("log.filter", "info,actix_server=warn");

struct Scene<'a> {
    stage: &'a Stage,
    options: &'a Options,
    broker: Broker,
    person: Person,
    /// The person's, a real one.
    device: Device,
}

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, devices: usize, report: &mut Report) -> Result<()> {
    // A disk that others keep busy is no fault of the broker.
    stage.announce("slow statement");
    let broker = Broker::start_with(stage, free_port(), &[LOG]).await?;
    let device = Device::start(stage, &broker, "real", Kind::Embedded, broker.address).await?;
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    let person = Person::at(terminal).await?;
    let mut scene = Scene { stage, options, broker, person, device };
    let alone = scene.person.so_many(options.keys()).await?;
    pause(options.settling()).await;
    let before = Memory::of(scene.broker.pid());

    let (crowds, connecting) = scene.connect(devices).await?;
    let rest = scene.rest(before, &crowds).await?;
    let returning = scene.returns(&crowds, report).await?;
    let tally = crowds.tally();
    for (complaint, times) in &tally.complaints {
        report.fails(format!("{times} times a simulated device saw: {complaint}"));
    }
    if tally.refused > 0 {
        report.fails(format!("{} greetings were refused", tally.refused));
    }
    report.put(
        "devices",
        json!({
            "devices": devices, "key_alone_ms": spread(&alone), "connecting": connecting, "rest": rest,
            "return": returning, "crowd": tally,
        }),
    );
    scene.device.agent.process.curtain();
    Ok(())
}

impl Scene<'_> {
    /// All of them come for the first time, and are enrolled.
    async fn connect(&mut self, devices: usize) -> Result<(Crowds, Value)> {
        self.person.keys();
        let cpu = cpu_seconds(self.broker.pid());
        let since = Instant::now();
        let crowds = Crowds::start(self.stage, &self.broker, devices).await?;
        crowds.are(PATIENCE, "all devices to connect", |tally| tally.up == crowds.devices).await?;
        let took = since.elapsed().as_secs_f64();
        self.all_online(&crowds).await?;
        let cpu = cpu_seconds(self.broker.pid()) - cpu;
        eprintln!("load: {devices} devices have connected in {took:.1} s");
        let connecting = json!({
            "s": tenth(took),
            "per_s": (devices as f64 / took).round(),
            "broker_cpu_us_each": (cpu * 1e6 / devices as f64).round(),
            "key_ms": spread(&self.person.keys()),
        });
        Ok((crowds, connecting))
    }

    /// Nothing happens but pings, and a person types.
    async fn rest(&mut self, before: Memory, crowds: &Crowds) -> Result<Value> {
        self.person.types(false);
        pause(self.options.settling()).await;
        let broker = self.broker.pid();
        let memory = Memory::of(broker).each_since(before, crowds.devices as usize);
        let (cpu, since) = (cpu_seconds(broker), Instant::now());
        pause(self.options.watching()).await;
        let cpu = (cpu_seconds(broker) - cpu) / since.elapsed().as_secs_f64() * 100.0;
        self.person.types(true);
        let keys = self.person.so_many(self.options.keys()).await?;
        let metrics = Page::metrics().asks(&self.broker, self.options.asks()).await?;
        let list = Page::devices().asks(&self.broker, self.options.asks()).await?;
        let tally = crowds.tally();
        ensure!(tally.broke == 0, "{} connections broke while nothing happened", tally.broke);
        self.all_online(crowds).await?;
        eprintln!("load: at rest a device holds {:.1} KiB, all take {cpu:.1} % of a core", memory.pss);
        Ok(json!({
            "memory_each": memory.json(), "cpu_percent": tenth(cpu), "key_ms": spread(&keys),
            "metrics": metrics.json(), "device_list": list.json(),
        }))
    }

    /// The broker is killed and started again at once.
    async fn returns(&mut self, crowds: &Crowds, report: &mut Report) -> Result<Value> {
        self.refused_none(report).await?;
        let before = crowds.tally();
        self.person.keys();
        // The real device says so, once or twice.
        self.stage.announce("no connection to the broker");
        self.broker.process.kill()?;
        let since = Instant::now();
        self.broker.restart(self.stage).await?;
        let answers = since.elapsed();
        let greetings = before.fresh + before.resumed + crowds.devices;
        let back = async {
            let all_back = crowds.are(PATIENCE, "all devices to be back", |tally| {
                tally.up == crowds.devices && tally.fresh + tally.resumed >= greetings
            });
            all_back.await?;
            self.all_online(crowds).await.map(|()| since.elapsed())
        };
        let (metrics, (list, back)) = Page::metrics()
            .while_not(&self.broker, Page::devices().while_not(&self.broker, back))
            .await
            .and_then(|(metrics, inner)| Ok((metrics, inner?)))?;
        let back = back?;
        eprintln!("load: all devices are back {:.1} s after the broker was killed", back.as_secs_f64());
        let cut_keys = self.person.keys();
        let keys = self.person.so_many(self.options.keys()).await?;
        self.person.check()?;
        self.refused_none(report).await?;
        pause(self.options.settling()).await;
        let (tally, memory) = (crowds.tally(), Memory::of(self.broker.pid()));
        Ok(json!({
            "broker_answers_s": tenth(answers.as_secs_f64()),
            "all_back_s": tenth(back.as_secs_f64()),
            "person_waited_ms": quantile(&cut_keys, 1.0),
            "key_ms": spread(&cut_keys),
            "key_afterwards_ms": spread(&keys),
            "metrics": metrics.json(),
            "device_list": list.json(),
            "failed_attempts": tally.failed - before.failed,
            "failed_last": tally.failed_last,
            "greetings_more_than_needed": tally.fresh + tally.resumed - greetings,
            "broker_memory": memory.json(),
        }))
    }

    /// The broker sees them all, and the person's.
    async fn all_online(&self, crowds: &Crowds) -> Result<()> {
        let wanted = crowds.devices as f64 + 1.0;
        wait::eventually(PATIENCE, "the broker to see all devices", async || {
            let online = self.broker.metric("moorline_devices", &["online"]).await?;
            ensure!(online == wanted, "it sees {online} of {wanted}");
            Ok(())
        })
        .await
    }

    /// What the broker has refused since it was started.
    async fn refused_none(&self, report: &mut Report) -> Result<()> {
        let refused = self.broker.metric("moorline_refusals_total", &[]).await.context("ask for refusals")?;
        if refused > 0.0 {
            report.fails(format!("the broker has refused {refused} greetings or requests"));
        }
        Ok(())
    }
}
