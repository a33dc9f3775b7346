//! A device behind a line of 20 Mbit/s and 20 ms each way: how long an echo takes when nothing else happens, and
//! beside half a minute of bulk from another session of the same device, in either direction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use moorline_tests::{Kind, Line, Stage, World};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::client::{Client, Got};
use super::numbers::{Numbers, PROGRAM};
use super::pause::pause;
use super::readers::{Reader, clients, end_all};
use super::{Check, Options, Outcome, world_behind};

/// The line. Its queue is what a modem of that rate has at the least: 26 ms.
const LINE: Line =
    Line { bits_per_second: 20_000_000, delay: Duration::from_millis(20), queue_bytes: 64 * 1024 };

/// How long the middle echo may take beside bulk.
const ECHO_MS_MAX: f64 = 130.0;
/// How long it takes alone: the line there and back, and what is between. More, and the line is not what it is said to be.
const ALONE_MS: std::ops::Range<f64> = 40.0..55.0;
/// Bulk must move, or the echo had nothing beside it: 1 MB/s of the 2.5 that the line carries.
const BULK_MB_S_MIN: f64 = 1.0;

/// People pause between keys, and never in step with anything.
const BETWEEN_KEYS_MS: std::ops::Range<u64> = 20..90;

/// Pasted text goes in such pieces.
const PIECE_BYTES: usize = 8 * 1024;

/// Echoes in ms, in order.
struct Echoes(Vec<f64>);

impl Echoes {
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len() - 1;
        (self.0[(last as f64 * share).round() as usize] * 10.0).round() / 10.0
    }

    fn figures(&self) -> Value {
        json!({ "keys": self.0.len(), "p50_ms": self.at(0.5), "p90_ms": self.at(0.9), "p99_ms": self.at(0.99) })
    }
}

/// Echoes beside bulk.
struct Beside {
    echoes: Echoes,
    mb_s: f64,
}

impl Beside {
    fn figures(&self) -> Value {
        let mut figures = self.echoes.figures();
        figures["bulk_mb_s"] = self.mb_s.into();
        figures
    }

    fn checks(&self, direction: &str) -> [Check; 2] {
        [
            Check::most(format!("slow line, echo beside {direction} ms"), self.echoes.at(0.5), ECHO_MS_MAX),
            Check::least(format!("slow line, {direction} MB/s"), self.mb_s, BULK_MB_S_MIN),
        ]
    }
}

/// See the module.
pub async fn measure(stage: &Stage, options: &Options, kind: Kind) -> Result<Outcome> {
    let (keys, time) = options.full_or((200, Duration::from_secs(30)), (40, Duration::from_secs(5)));
    let (world, _line) = world_behind(stage, kind, LINE).await?;
    let mut typist = typist(&world).await?;
    let alone = echoes(&mut typist, keys / 2).await?;
    let output = beside_output(&world, &mut typist, keys, time).await?;
    let between = echoes(&mut typist, keys / 2).await?;
    let input = beside_input(&world, &mut typist, keys, time).await?;
    for alone in [&alone, &between] {
        let middle = alone.at(0.5);
        ensure!(
            ALONE_MS.contains(&middle),
            "alone an echo takes {middle} ms: the line is not what it is said to be"
        );
    }
    let told =
        |beside: &Beside| format!("p50 {} ms, p99 {} ms", beside.echoes.at(0.5), beside.echoes.at(0.99));
    Ok(Outcome {
        line: format!(
            "an echo takes {} ms alone; beside output {} at {} MB/s, beside input {} at {} MB/s (<= {ECHO_MS_MAX} ms)",
            alone.at(0.5),
            told(&output),
            output.mb_s,
            told(&input),
            input.mb_s,
        ),
        figures: json!({
            "line": { "mbit_s": LINE.bits_per_second / 1_000_000, "delay_ms": LINE.delay.as_millis() as u64,
                "queue_bytes": LINE.queue_bytes },
            "alone": alone.figures(), "alone_between": between.figures(),
            "beside_output": output.figures(), "beside_input": input.figures(),
            "after_s_of_bulk": time.as_secs(),
        }),
        checks: [output.checks("output"), input.checks("input")].concat(),
    })
}

/// A terminal whose keys the device's own terminal echoes, one by one.
async fn typist(world: &World) -> Result<Client> {
    let mut client = Client::open(&world.broker, &world.device.id).await?;
    client.ready().await?;
    client.runs("stty -icanon min 1; cat > /dev/null").await?;
    // What the shell still had to say is not the echo of a key.
    pause(Duration::from_millis(500)).await;
    client.types("#").await?;
    client.shows("#").await?;
    Ok(client)
}

async fn echoes(typist: &mut Client, keys: usize) -> Result<Echoes> {
    let mut times = Vec::new();
    for number in 0..keys {
        let key = char::from(b'a' + (number % 26) as u8).to_string();
        let since = Instant::now();
        typist.types(key.clone()).await?;
        typist.shows(&key).await?;
        times.push(since.elapsed().as_secs_f64() * 1000.0);
        let moment = rand::rng().random_range(BETWEEN_KEYS_MS);
        pause(Duration::from_millis(moment)).await;
    }
    times.sort_by(f64::total_cmp);
    Ok(Echoes(times))
}

/// The echoes after so long of bulk, while it goes on; `moved` counts its bytes.
async fn after(typist: &mut Client, keys: usize, time: Duration, moved: impl Fn() -> u64) -> Result<Beside> {
    let (since, before) = (Instant::now(), moved());
    pause(time).await;
    let echoes = echoes(typist, keys).await?;
    let mb_s = (moved() - before) as f64 / 1e6 / since.elapsed().as_secs_f64();
    Ok(Beside { echoes, mb_s: (mb_s * 100.0).round() / 100.0 })
}

async fn beside_output(world: &World, typist: &mut Client, keys: usize, time: Duration) -> Result<Beside> {
    let mut client = one(world).await?;
    let mut numbers = Numbers::new();
    numbers.take(&client.runs(PROGRAM).await?)?;
    let reader = Reader::of(client, Some(numbers));
    let beside = after(typist, keys, time, || reader.bytes()).await?;
    reader.check()?;
    end(world, reader.session.clone()).await?;
    Ok(beside)
}

async fn beside_input(world: &World, typist: &mut Client, keys: usize, time: Duration) -> Result<Beside> {
    let mut client = one(world).await?;
    client.runs("stty raw -echo; cat > /dev/null").await?;
    pause(Duration::from_millis(500)).await;
    let session = client.session.clone();
    let pasting = Pasting::of(client);
    let beside = after(typist, keys, time, || pasting.taken()).await?;
    ensure!(!pasting.task.is_finished(), "the paste has ended");
    end(world, session).await?;
    Ok(beside)
}

async fn one(world: &World) -> Result<Client> {
    let mut one = clients(world, world.broker.address, 1).await?;
    one.pop().ok_or_else(|| anyhow::anyhow!("a client was asked for"))
}

/// Ends a session whose processes are the newest ones: those of the typist stay.
async fn end(world: &World, session: String) -> Result<()> {
    let all = world.device.processes().len();
    end_all(world, [session], all - 1).await
}

/// A paste without an end, as fast as the program's side takes it.
struct Pasting {
    taken: Arc<AtomicU64>,
    task: JoinHandle<Result<()>>,
}

impl Pasting {
    fn of(mut client: Client) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            let piece = Bytes::from(vec![b'p'; PIECE_BYTES]);
            loop {
                while client.may_type(PIECE_BYTES) {
                    client.types(piece.clone()).await?;
                }
                if let Got::Closed = client.next().await? {
                    bail!("the connection has ended");
                }
                counted.store(client.taken, Ordering::Relaxed);
            }
        });
        Self { taken, task }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Pasting {
    fn drop(&mut self) {
        self.task.abort();
    }
}
