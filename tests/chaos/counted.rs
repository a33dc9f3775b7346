//! The program that runs in each session's shell: it writes numbered lines and bursts of `seq`,
//! keeps a copy of all of it in a file, and writes every byte that is typed to another.
//!
//! `chaos counted FOLDER`, on a terminal that it sets to raw, so that not a byte is changed on the
//! way. Every 50 ms, and at once when something was typed, it writes a line
//!
//! ```text
//! L 0000123 1763845678123456 4711 λ→…✓
//! ```
//!
//! with its number, the device's clock in µs, and how many bytes were typed so far: whoever sees a
//! line that was written after a fault, and counts keys that were typed after it, is live again in
//! both directions. Now and then `seq` writes some thousand lines between two of those, whose
//! numbers go on where those of the last burst ended.
//!
//! ```text
//! FOLDER/shown   every byte that was written        FOLDER/stop   made by the suite: come to an end
//! FOLDER/typed   every byte that was read
//! ```
//! It begins with [`START`] and ends with [`STOP`], the count and SHA-256 of what was written between
//! them and of what was read, and a line end. Neither mark is part of what it counts.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use ring::digest;

use crate::pause::pause_thread;

/// After this the counted output begins.
pub const START: &[u8] = b"\x1eSTART\x1e\r\n";
/// After this the counts stand.
pub const STOP: &[u8] = b"\x1eSTOP ";

/// How often it writes a line.
const EVERY: Duration = Duration::from_millis(50);
/// No two lines are closer than this, however fast somebody types.
const PAUSE: Duration = Duration::from_millis(5);
/// A burst comes after so many lines,
const BURST_EVERY: u64 = 30;
/// and has so many: 30 KB, more than any piece that is sent at once.
const BURST_LINES: u64 = 3_000;

/// After so many reads the program is busy with other things for so long, and input waits.
const BUSY_EVERY: u64 = 3;
const BUSY_FOR: Duration = Duration::from_millis(150);

/// Where the program keeps its copies.
pub fn shown_in(folder: &Path) -> PathBuf {
    folder.join("shown")
}

/// See above.
pub fn typed_in(folder: &Path) -> PathBuf {
    folder.join("typed")
}

/// See above.
pub fn stop_in(folder: &Path) -> PathBuf {
    folder.join("stop")
}

/// What was read so far, and a bell for whoever waits for more.
#[derive(Default)]
struct Taken {
    count: Mutex<u64>,
    more: Condvar,
}

/// Runs the program until it is told to stop.
pub fn run(folder: &Path) -> Result<()> {
    let terminal = std::io::stdin();
    let before = tcgetattr(&terminal).context("this runs on a terminal")?;
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
    let read = Arc::new(Taken::default());
    let typed = File::create(typed_in(folder))?;
    let reader = Arc::clone(&read);
    // Owner: the process, which ends with `run`.
    std::thread::spawn(move || keep(typed, &reader));
    let mut out = std::io::stdout();
    out.write_all(START)?;
    out.flush()?;
    let (shown, shown_hash) = write_lines(folder, &read)?;
    let typed = std::fs::read(typed_in(folder))?;
    let typed_hash = hex(digest::digest(&digest::SHA256, &typed).as_ref());
    out.write_all(STOP)?;
    write!(out, "{shown} {shown_hash} {} {typed_hash}\x1e\r\n", typed.len())?;
    out.flush()?;
    tcsetattr(&terminal, SetArg::TCSADRAIN, &before)?;
    Ok(())
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Writes every byte that is typed to the file, as soon as it is read.
fn keep(mut file: File, read: &Taken) {
    let mut buffer = [0; 4096];
    let mut terminal = std::io::stdin();
    for turn in 1_u64.. {
        if turn % BUSY_EVERY == 0 {
            pause_thread(BUSY_FOR);
        }
        let Ok(count @ 1..) = terminal.read(&mut buffer) else { return };
        if file.write_all(&buffer[..count]).is_err() {
            return;
        }
        *read.count.lock().expect("no panic holds it") += count as u64;
        read.more.notify_all();
    }
}

/// Writes lines until the stop file is there; gives count and hash of what was written.
fn write_lines(folder: &Path, read: &Taken) -> Result<(u64, String)> {
    let mut twice = Twice {
        file: File::create(shown_in(folder))?,
        terminal: std::io::stdout(),
        count: 0,
        digest: digest::Context::new(&digest::SHA256),
    };
    let (stop, mut number, mut taken) = (stop_in(folder), 0, 0);
    while !stop.exists() {
        number += 1;
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        twice.write(format!("L {number:07} {stamp} {taken} λ→…✓\r\n").as_bytes())?;
        if number % BURST_EVERY == 0 {
            let first = number / BURST_EVERY * BURST_LINES;
            burst(&mut twice, first)?;
        }
        pause_thread(PAUSE);
        let count = read.count.lock().expect("no panic holds it");
        let waited = read.more.wait_timeout_while(count, EVERY, |count| *count == taken);
        taken = *waited.expect("no panic holds it").0;
    }
    Ok((twice.count, hex(twice.digest.finish().as_ref())))
}

fn burst(twice: &mut Twice, first: u64) -> Result<()> {
    let mut command = Command::new("seq");
    command.arg("-f").arg("%010.0f\r").arg(first.to_string()).arg((first + BURST_LINES - 1).to_string());
    let mut seq = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start seq")?;
    let mut pipe = seq.stdout.take().context("its output is piped")?;
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = pipe.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        twice.write(&buffer[..count])?;
    }
    ensure!(seq.wait()?.success(), "seq failed");
    Ok(())
}

/// What goes to the terminal and to the file.
struct Twice {
    file: File,
    terminal: std::io::Stdout,
    count: u64,
    digest: digest::Context,
}

impl Twice {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)?;
        self.count += bytes.len() as u64;
        self.digest.update(bytes);
        self.terminal.write_all(bytes)?;
        self.terminal.flush()?;
        Ok(())
    }
}
