//! Every measure, written once for everybody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::echo;
use crate::field::Field;
use crate::keys;
use crate::long;
use crate::options::Options;
use crate::pause::pause;
use crate::peer::Peer;
use crate::processes;
use crate::reader::Reader;
use crate::samples::Taken;
use crate::shell::{END, PROMPT, SOON, Shell};

/// About what a browser's terminal parses.
const SLOW_BYTES_PER_S: f64 = 5e6;
/// How long a flood runs until every buffer on its way is as full as it gets: for a slow and a fast reader.
const FILLING_SLOWLY: Duration = Duration::from_secs(2);
const FILLING: Duration = Duration::from_millis(500);
/// A flood that is less is none.
const FLOOD_BYTES: u64 = 2_000_000;
/// How long it may take until an interrupted flood has been read to its end.
const DRAINING: Duration = Duration::from_secs(90);
/// How long a bulk may take.
const CARRYING: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// From nothing to the first prompt.
    Setup,
    /// One key and its echo.
    Key,
    /// The same while another session of the same device is flooded.
    KeyFlood,
    /// Much output, and the processor time that it takes.
    Bulk,
    /// Ctrl-C during a flood, with a reader of 5 MB/s.
    CtrlC,
    /// The same with a fast reader.
    CtrlCFast,
    /// Memory for each session: not in turns, since it wants everything freshly started.
    Memory,
    /// What takes minutes, of Moorline alone.
    Long(long::Measure),
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Setup,
        Self::Key,
        Self::KeyFlood,
        Self::Bulk,
        Self::CtrlC,
        Self::CtrlCFast,
        Self::Memory,
        Self::Long(long::Measure::Memory),
        Self::Long(long::Measure::Sessions),
        Self::Long(long::Measure::StoppedReader),
        Self::Long(long::Measure::Vanished),
        Self::Long(long::Measure::SlowLine),
    ];
    /// Those that are measured in turns.
    pub const TIMED: [Self; 6] =
        [Self::Setup, Self::Key, Self::KeyFlood, Self::Bulk, Self::CtrlC, Self::CtrlCFast];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Key => "key",
            Self::KeyFlood => "key_flood",
            Self::Bulk => "bulk",
            Self::CtrlC => "ctrl_c",
            Self::CtrlCFast => "ctrl_c_fast",
            Self::Memory => "memory",
            Self::Long(measure) => measure.name(),
        }
    }

    /// All names, each on a line.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join("\n")
    }

    /// The measure of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }

    /// Measures it for that peer, in one turn.
    pub fn of(self, field: &Field, peer: Peer, options: &Options) -> Result<Taken> {
        if peer == Peer::EchoFloor {
            return self.of_the_floor(field, options);
        }
        match self {
            Self::Setup => setup(field, peer, options.setups),
            Self::Key => key(field, peer, options.keys),
            Self::KeyFlood => key_beside_a_flood(field, peer, options.keys),
            Self::Bulk => bulk(field, peer, options.bulk_bytes),
            Self::CtrlC => {
                interrupt(field, peer, "ctrl_c", FILLING_SLOWLY, || Reader::slow(SLOW_BYTES_PER_S))
            }
            Self::CtrlCFast => interrupt(field, peer, "ctrl_c_fast", FILLING, Reader::fast),
            Self::Memory | Self::Long(_) => Ok(Taken::new()),
        }
    }

    /// There is no shell; a key and a bulk show what this client can do at most.
    fn of_the_floor(self, field: &Field, options: &Options) -> Result<Taken> {
        let mut floor = field.open(Peer::EchoFloor)?;
        match self {
            Self::Key => keys::typed(&mut floor, options.keys, "key"),
            Self::Bulk => {
                let wanted = options.bulk_bytes;
                floor.line.send(&[echo::WANTED, &wanted.to_le_bytes()].concat())?;
                let (begun, mut came) = (Instant::now(), 0);
                while came < wanted {
                    came += floor.line.receive()?.len() as u64;
                    ensure!(begun.elapsed() < CARRYING, "of {wanted} bytes {came} came");
                }
                Ok(vec![("bulk_mb_s".to_owned(), mb_per_s(wanted, begun.elapsed()))])
            }
            _ => Ok(Taken::new()),
        }
    }
}

fn setup(field: &Field, peer: Peer, setups: usize) -> Result<Taken> {
    let mut taken = Taken::new();
    for _ in 0..setups {
        let begun = Instant::now();
        let mut shell = field.open(peer)?;
        let found = shell.prompt()?;
        taken.push(("setup_ms".to_owned(), millis(found.at - begun)));
        drop(shell);
        field.settle()?;
    }
    Ok(taken)
}

/// A shell whose program sends back each byte as it comes.
fn echoing(field: &Field, peer: Peer) -> Result<Shell> {
    let mut shell = field.ready(peer)?;
    shell.runs_raw("exec cat")?;
    Ok(shell)
}

fn key(field: &Field, peer: Peer, keys: usize) -> Result<Taken> {
    keys::typed(&mut echoing(field, peer)?, keys, "key")
}

fn key_beside_a_flood(field: &Field, peer: Peer, keys: usize) -> Result<Taken> {
    let mut shell = echoing(field, peer)?;
    let stop = AtomicBool::new(false);
    let (flows, flowing) = mpsc::channel();
    std::thread::scope(|scope| {
        // Owner: the scope.
        let flood = scope.spawn(|| flood(field, peer, &stop, flows));
        // Nothing comes when the flood has failed, and then it says why.
        let _ = flowing.recv_timeout(SOON);
        pause(FILLING);
        let typed = keys::typed(&mut shell, keys, "key_flood");
        stop.store(true, Ordering::Relaxed);
        let rate = flood.join().expect("it does not panic").context("the flood")?;
        let mut taken = typed?;
        // An echo is quick beside a flood that stands still.
        ensure!(rate > 0.1, "the flood stood still beside the keys");
        taken.push(("flood_mb_s".to_owned(), rate));
        Ok(taken)
    })
}

/// Another session of the same device, with endless output that is read as fast as it comes; gives its MB/s.
fn flood(field: &Field, peer: Peer, stop: &AtomicBool, flows: mpsc::Sender<()>) -> Result<f64> {
    let mut shell = field.ready(peer)?;
    shell.runs_raw(&format!("while :; do cat {}; done", field.data.display()))?;
    // Whoever types may have failed already.
    let _ = flows.send(());
    let (begun, mut bytes) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        bytes += shell.line.receive()?.len() as u64;
        shell.line.taken()?;
    }
    Ok(mb_per_s(bytes, begun.elapsed()))
}

fn bulk(field: &Field, peer: Peer, bytes: u64) -> Result<Taken> {
    let mut shell = field.ready(peer)?;
    let before = processes::seconds(field, peer, &shell.line.programs());
    let command = format!("cat {}; printf '<%s>' end", field.data.display());
    let begun = shell.runs_raw(&command)?;
    let ended = shell.find(END, CARRYING, Reader::fast())?;
    let came = ended.bytes - END.len() as u64;
    ensure!(came == bytes, "of {bytes} bytes {came} came");
    let after = processes::seconds(field, peer, &shell.line.programs());
    let mut taken = vec![("bulk_mb_s".to_owned(), mb_per_s(bytes, ended.at - begun.at))];
    let gigabytes = bytes as f64 / 1e9;
    let mut between = 0.0;
    for (part, seconds) in processes::difference(&before, &after) {
        between += if processes::is_between(part) { seconds } else { 0.0 };
        taken.push((format!("cpu_s_per_gb_by_process.{part}"), seconds / gigabytes));
    }
    taken.push(("cpu_s_per_gb".to_owned(), between / gigabytes));
    Ok(taken)
}

fn interrupt(
    field: &Field,
    peer: Peer,
    name: &str,
    filling: Duration,
    reader: impl Fn() -> Reader,
) -> Result<Taken> {
    let mut shell = field.ready(peer)?;
    shell.types("yes")?;
    shell.reads_on(filling, FLOOD_BYTES, reader())?;
    let sent = Instant::now();
    shell.line.send(b"\x03")?;
    let prompt = shell.find(PROMPT, DRAINING, reader())?;
    Ok(vec![
        (format!("{name}_ms"), millis(prompt.at - sent)),
        (format!("{name}_bytes_after"), prompt.bytes as f64),
    ])
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mb_per_s(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
