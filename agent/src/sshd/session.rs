//! A running session: one channel of an SSH connection and its program.
//!
//! Output, input, size and signals go on independently: a program that does not read its input does
//! not hold up its output, and neither holds up the loop of the connection. Output is read no faster
//! than the peer's SSH window lets it out; input waits in a queue whose size [`Held`] counts.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use tokio::sync::{mpsc, watch};

use super::end::{End, FULL};
use super::program::{Ends, Program};
use super::pty;
use super::signals;
use super::transport::Held;
use crate::clock;

/// As large as an SSH packet is.
const PIECE: usize = 32 * 1024;
/// Smaller output is copied into a buffer of its own size, so that a keystroke's echo does not hold
/// a whole piece in memory until it is sent.
const SMALL: usize = 2 * 1024;
/// How long a terminal may be silent, after its shell is gone while others still hold it, until all
/// is taken to be said.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// The data type of standard error (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// How a session is told what its client does. Dropped, its input is at an end.
#[derive(Debug)]
pub struct Wires {
    /// Typed or piped input; none after the client's end of it.
    pub input: Option<Inlet>,
    /// The size of the terminal.
    pub size: watch::Sender<Option<pty::Size>>,
    /// Signals that the client sends.
    pub signals: mpsc::Sender<Signal>,
}

/// Where a client's input goes.
#[derive(Debug)]
pub struct Inlet {
    queue: mpsc::UnboundedSender<Bytes>,
    /// Lives as long as the session.
    end: Weak<End>,
    held: Arc<Held>,
    /// How much of it the queue holds.
    waiting: Arc<AtomicUsize>,
}

impl Inlet {
    /// Gives the program what it takes at once, so that a key does not wait for a turn of the session's
    /// task. The rest waits, and is counted.
    pub fn give(&self, data: &[u8]) {
        let none_waits = self.waiting.load(Ordering::Acquire) == 0;
        let end = self.end.upgrade().filter(|_| none_waits);
        // What goes wrong here goes wrong there, too.
        let taken = end.and_then(|end| end.try_write(data).ok()).unwrap_or(0);
        let rest = &data[taken..];
        if rest.is_empty() {
            return;
        }
        self.held.add(rest.len());
        self.waiting.fetch_add(rest.len(), Ordering::AcqRel);
        if self.queue.send(Bytes::copy_from_slice(rest)).is_err() {
            self.held.release(rest.len());
        }
    }
}

/// The other ends of [`Wires`].
#[derive(Debug)]
pub struct Wired {
    input: Input,
    size: watch::Receiver<Option<pty::Size>>,
    signals: mpsc::Receiver<Signal>,
}

/// Input that waits for the program; counted as long as it is here.
#[derive(Debug)]
struct Input {
    queue: mpsc::UnboundedReceiver<Bytes>,
    held: Arc<Held>,
    waiting: Arc<AtomicUsize>,
}

impl Input {
    /// That much of it is with the program, or nowhere.
    fn is_given(&self, bytes: usize) {
        self.held.release(bytes);
        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(bytes) = self.queue.try_recv() {
            self.held.release(bytes.len());
        }
    }
}

/// Both ends. The input queue is bounded by `held`.
pub fn wires(held: Arc<Held>, ends: &Ends) -> (Wires, Wired) {
    let (feed, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let end = Arc::downgrade(ends.input());
    let input = Inlet { queue: feed, end, held: held.clone(), waiting: waiting.clone() };
    let (size, sizes) = watch::channel(None);
    let (signals, received) = mpsc::channel(16);
    (
        Wires { input: Some(input), size, signals },
        Wired { input: Input { queue, held, waiting }, size: sizes, signals: received },
    )
}

/// Runs until the program has ended and all it said is on its way. When this future is dropped, the
/// program is ended.
pub async fn run(
    mut program: Program,
    ends: Ends,
    wired: Wired,
    out: ChannelWriteHalf<Msg>,
    connection: Handle,
) {
    let Wired { mut input, size, mut signals } = wired;
    let sid = program.sid();
    let ended = match ends {
        Ends::Terminal(end) => tokio::select! {
            ended = speak_on_terminal(&mut program, &end, &out) => ended,
            () = listen(&mut input, &end) => unreachable!("a terminal stays open"),
            () = obey(size, &mut signals, sid, Some(&end)) => unreachable!("the wires may end, obeying does not"),
        },
        Ends::Pipes { stdin, stdout, stderr } => tokio::select! {
            ended = speak_on_pipes(&mut program, stdout, stderr, &out) => ended,
            () = listen_and_close(&mut input, stdin) => unreachable!("closing is not an end"),
            () = obey(size, &mut signals, sid, None) => unreachable!("the wires may end, obeying does not"),
        },
    };
    match ended {
        Ok(status) => report(status, &out, &connection).await,
        Err(err) => tracing::debug!(sid, %err, "the session's channel is gone before its program"),
    }
    let _ = out.close().await;
}

/// Says what the program writes on its terminal, until its first process is gone and the rest is read.
async fn speak_on_terminal(
    program: &mut Program,
    end: &End,
    out: &ChannelWriteHalf<Msg>,
) -> io::Result<ExitStatus> {
    let mut speaker = Speaker::new(out, None);
    let status = loop {
        // Only the reading may be given up for the other: sending, half done, would lose bytes.
        let got = tokio::select! {
            biased;
            status = program.wait() => break status?,
            got = speaker.read(end) => got?,
        };
        match got {
            0 => break program.wait().await?,
            _ => speaker.send().await?,
        }
    };
    // What is left in the terminal belongs to the session, but a program in the background that holds
    // the terminal open does not keep the session.
    while let Ok(more) = clock::within(LAST_WORDS, "the last words", speaker.read(end)).await {
        match more? {
            0 => break,
            _ => speaker.send().await?,
        }
    }
    let _ = out.eof().await;
    Ok(status)
}

async fn speak_on_pipes(
    program: &mut Program,
    stdout: End,
    stderr: End,
    out: &ChannelWriteHalf<Msg>,
) -> io::Result<ExitStatus> {
    let speak = async {
        let (mut normal, mut error) = (Speaker::new(out, None), Speaker::new(out, Some(STDERR)));
        let both = async { tokio::try_join!(normal.speak(&stdout), error.speak(&stderr)) };
        both.await?;
        let _ = out.eof().await;
        Ok::<_, io::Error>(())
    };
    // As with OpenSSH, the session lasts as long as anything holds its output open.
    let (status, spoken) = tokio::join!(program.wait(), speak);
    spoken?;
    status
}

/// Carries output from one end to the channel.
struct Speaker<'a> {
    out: &'a ChannelWriteHalf<Msg>,
    kind: Option<u32>,
    buffer: Vec<u8>,
}

impl<'a> Speaker<'a> {
    fn new(out: &'a ChannelWriteHalf<Msg>, kind: Option<u32>) -> Self {
        Self { out, kind, buffer: Vec::new() }
    }

    /// Until the program closed its end, or the channel is gone.
    async fn speak(&mut self, end: &End) -> io::Result<()> {
        while self.read(end).await? > 0 {
            self.send().await?;
        }
        Ok(())
    }

    /// Waits for output; a terminal gives it in pieces of 4 KiB at most, so takes what else is there.
    async fn read(&mut self, end: &End) -> io::Result<usize> {
        self.buffer.reserve(PIECE);
        let mut more = end.read(&mut self.buffer).await?;
        let mut got = more;
        while more >= FULL && self.buffer.len() < PIECE && end.refills() {
            more = end.try_read(&mut self.buffer).unwrap_or(0);
            got += more;
        }
        Ok(got)
    }

    /// Waits for the peer's window.
    async fn send(&mut self) -> io::Result<()> {
        let bytes = if self.buffer.len() > SMALL {
            Bytes::from(std::mem::take(&mut self.buffer))
        } else {
            let bytes = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            bytes
        };
        let sent = match self.kind {
            None => self.out.data_bytes(bytes).await,
            Some(kind) => self.out.extended_data_bytes(kind, bytes).await,
        };
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Gives the program its input. An end of the client's input means nothing on a terminal.
async fn listen(input: &mut Input, end: &End) {
    while let Some(bytes) = input.queue.recv().await {
        let written = end.write_all(&bytes).await;
        input.is_given(bytes.len());
        if written.is_err() {
            break;
        }
    }
    // Nobody reads any more: what still comes is dropped, so that it does not hold up the connection.
    while let Some(bytes) = input.queue.recv().await {
        input.is_given(bytes.len());
    }
    std::future::pending().await
}

/// The same for a pipe, whose end is the end of the program's input.
async fn listen_and_close(input: &mut Input, end: Arc<End>) {
    while let Some(bytes) = input.queue.recv().await {
        let written = end.write_all(&bytes).await;
        input.is_given(bytes.len());
        if written.is_err() {
            break;
        }
    }
    drop(end);
    while let Some(bytes) = input.queue.recv().await {
        input.is_given(bytes.len());
    }
    std::future::pending().await
}

/// Sizes and signals.
async fn obey(
    mut size: watch::Receiver<Option<pty::Size>>,
    signals: &mut mpsc::Receiver<Signal>,
    sid: i32,
    terminal: Option<&End>,
) {
    loop {
        tokio::select! {
            Ok(()) = size.changed() => {
                let wanted = *size.borrow_and_update();
                if let (Some(end), Some(wanted)) = (terminal, wanted)
                    && let Err(err) = pty::resize(end, wanted)
                {
                    tracing::debug!(sid, %err, "cannot resize a terminal");
                }
            }
            Some(signal) = signals.recv() => {
                let group = terminal.and_then(pty::foreground).unwrap_or(sid);
                if let Err(err) = kill(Pid::from_raw(-group), signal) {
                    tracing::debug!(sid, %signal, %err, "cannot send a signal");
                }
            }
            else => std::future::pending().await,
        }
    }
}

/// Tells the client how the program ended (RFC 4254 section 6.10).
async fn report(status: ExitStatus, out: &ChannelWriteHalf<Msg>, connection: &Handle) {
    if let Some(signal) = status.signal() {
        let name: Sig = signals::to_ssh(signal);
        let text = format!("ended by signal {signal}");
        let _ =
            connection.exit_signal_request(out.id(), name, status.core_dumped(), text, String::new()).await;
        return;
    }
    let code = status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(255);
    let _ = out.exit_status(code).await;
}
