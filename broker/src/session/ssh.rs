//! The SSH client of one session, over one stream of the device's link.
//!
//! Two tasks run: russh's own loop, and a writer that waits for the SSH window; the session itself drains
//! the channel ([`Events`]). [`Shell`] owns them: dropped, it cuts the stream
//! under them, so that the device hangs up the shell's process group. No limits are here: the
//! session's machine knows when a step takes too long, and drops the shell.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use moorline_wire::term::Size;
use moorline_wire::term::frame::Step;
use moorline_wire::{Code, Exit};
use russh::client::{self, AuthResult, Handle};
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, ssh_key};
use russh::{Channel, ChannelMsg, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use self::answers::{Client, config};
use self::reading::{Reading, Told};
use super::gate::{Gate, Gated};
use crate::pipe;
use crate::problem::Problem;

mod answers;
mod keeper;
mod reading;

pub use reading::Events;

const PACKET: u32 = 32 * 1024;

/// How much typed input goes into one message.
const INPUT_AT_ONCE: usize = PACKET as usize;

/// Signals that wait for the device; more are not kept.
const SIGNALS_MAX: usize = 16;

/// What is to be logged in to.
pub struct Plan {
    /// The login on the device.
    pub login: String,
    /// Who we are, in the order in which it is told.
    pub proofs: Vec<Proof>,
    /// The device's pinned host keys, in OpenSSH form.
    pub pinned: Vec<String>,
    /// What is to run there.
    pub program: Program,
}

/// With what a device may let us in.
pub enum Proof {
    /// This session's own key, and the CA's word for it.
    Certificate(Arc<PrivateKey>, Box<Certificate>),
    /// A key that the device knows.
    Key(Arc<PrivateKey>),
}

/// What is to run on the device.
#[derive(Debug, Clone)]
pub enum Program {
    /// The way to a keeper.
    Keeper {
        /// The command that leads to it.
        exec: String,
        /// What to run where there is none; nothing, if there must be one.
        or: Option<Plain>,
    },
    /// A shell, or a command, that ends with its connection.
    Plain(Plain),
}

/// A plain shell.
#[derive(Debug, Clone)]
pub struct Plain {
    /// The first size of the terminal.
    pub size: Size,
    /// A command instead of a shell.
    pub command: Option<String>,
}

/// What the SSH client tells its session.
#[derive(Debug)]
pub enum FromShell {
    /// A step of the set-up ended.
    Step(Step),
    /// What runs is a keeper, and what is read and written are its messages; or it is the shell.
    Housed {
        /// Whether it is a keeper.
        kept: bool,
    },
    /// The program wrote.
    Output(Bytes),
    /// So much of a plain shell's input was accepted, in all.
    InputTaken(u64),
    /// The program ended; with a status, if the device told one.
    Exited(Option<Exit>),
    /// The set-up or the connection failed.
    Failed(Problem),
    /// The device showed another host key than the pinned ones, this one.
    HostKeyChanged(String),
}

/// A running SSH client. Dropped, it ends at once.
pub struct Shell {
    gate: Gate,
    inbox: Arc<Inbox>,
    _task: AbortOnDropHandle<()>,
}

impl Shell {
    /// Logs in over the stream and asks for the shell; what happens is told.
    pub fn start<S>(stream: S, plan: Plan) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gate, inbox) = (Gate::default(), Arc::<Inbox>::default());
        let (events, told) = pipe::pipe(usize::MAX);
        let run = run(stream, plan, gate.clone(), inbox.clone(), events);
        let shell = Self { gate, inbox, _task: AbortOnDropHandle::new(tokio::spawn(run.in_current_span())) };
        (shell, Events::new(told))
    }

    /// Gives input to the program. The host bounds how much waits here: `in_window` per viewer.
    pub fn input(&self, bytes: &Bytes) {
        self.inbox.lock().bytes.extend_from_slice(bytes);
        self.inbox.input.notify_one();
    }

    /// Sets the size of the terminal; the last one wins.
    pub fn resize(&self, size: Size) {
        self.inbox.lock().size = Some(size);
        self.inbox.control.notify_one();
    }

    /// Sends a signal, by its POSIX number.
    pub fn signal(&self, number: u8) {
        let mut orders = self.inbox.lock();
        if let Some(signal) = signal(number)
            && orders.signals.len() < SIGNALS_MAX
        {
            orders.signals.push_back(signal);
        }
        drop(orders);
        self.inbox.control.notify_one();
    }

    /// Stops, or goes on, reading from the device.
    pub fn gate(&self, open: bool) {
        self.gate.set_open(open);
    }

    /// The session has dealt with so many bytes of output.
    pub fn taken(&self, bytes: usize) {
        self.gate.taken(bytes);
    }

    /// How much input waits for the device.
    pub fn waiting(&self) -> usize {
        self.inbox.lock().bytes.len()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.gate.cut();
    }
}

/// What is to go to the device.
#[derive(Default)]
struct Inbox {
    orders: Mutex<Orders>,
    input: Notify,
    control: Notify,
}

#[derive(Default)]
struct Orders {
    bytes: BytesMut,
    size: Option<Size>,
    signals: VecDeque<Sig>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signal(number: u8) -> Option<Sig> {
    // The numbers of POSIX that are the same everywhere, and Linux's for the rest.
    Some(match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        9 => Sig::KILL,
        10 => Sig::USR1,
        12 => Sig::Custom("USR2".to_owned()),
        15 => Sig::TERM,
        _ => return None,
    })
}

async fn run<S>(stream: S, plan: Plan, gate: Gate, inbox: Arc<Inbox>, events: pipe::Sender<Told>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tell = Tell { events, gate };
    match set_up(stream, plan, &tell).await {
        Ok((_handle, Running { channel, kept })) => {
            let (reading, writing) = channel.split();
            tell.told(Told::Reading(Reading::new(reading, kept, tell.clone())));
            // A keeper says itself how far it came.
            let counted = (!kept).then_some(&tell);
            write(&writing, &inbox, counted).await;
            // The channel is gone, and whoever reads it tells why.
            std::future::pending().await
        }
        Err(told) => tell.event(told),
    }
}

/// The way to the session.
#[derive(Clone)]
struct Tell {
    events: pipe::Sender<Told>,
    gate: Gate,
}

impl Tell {
    fn told(&self, told: Told) {
        // A session that is gone has dropped this task already.
        let _ = self.events.try_send(told);
    }

    fn event(&self, event: FromShell) {
        self.told(Told::Event(event));
    }

    fn output(&self, data: Bytes) {
        self.gate.came(data.len());
        self.event(FromShell::Output(data));
    }

    /// Why the connection broke: what the link says, if it said something.
    fn broken(&self, code: Code, cause: impl Into<anyhow::Error>) -> FromShell {
        let code = match self.gate.reset_code() {
            // The agent's word: why there is no sshd, that it leaves, or that the device is lost.
            Some(
                reset @ (Code::SSHD_UNREACHABLE
                | Code::AGENT_STOPPED
                | Code::DEVICE_LOST
                | Code::LIMIT
                | Code::OVERLOADED),
            ) => reset,
            _ => code,
        };
        FromShell::Failed(Problem::new(code).because(cause))
    }
}

/// Key exchange, login, channel, terminal, shell.
async fn set_up<S>(stream: S, plan: Plan, tell: &Tell) -> Result<(Handle<Client>, Running), FromShell>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shown = Arc::new(Mutex::new(None));
    let pinned = plan.pinned.iter().filter_map(|line| ssh_key::PublicKey::from_openssh(line).ok()).collect();
    let client = Client { pinned, shown: shown.clone() };
    let first = {
        let tell = tell.clone();
        move || tell.event(FromShell::Step(Step::Device))
    };
    let gated = Gated::new(stream, tell.gate.clone(), first);
    let config = Arc::new(config(&client.pinned));
    // Boxed: a key exchange is a large future, and there is one per session at most.
    let connected = Box::pin(client::connect_stream(config, gated, client)).await;
    let mut handle =
        connected.map_err(|err| match shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(key) => FromShell::HostKeyChanged(key),
            None => tell.broken(Code::SSH_FAILED, err),
        })?;
    tell.event(FromShell::Step(Step::HostKey));

    if !let_in(&mut handle, &plan.login, plan.proofs)
        .await
        .map_err(|err| tell.broken(Code::SSH_FAILED, err))?
    {
        let text = format!("The device refused the login {}. {}", plan.login, Code::DEVICE_REFUSED.remedy());
        return Err(FromShell::Failed(Problem::new(Code::DEVICE_REFUSED).saying(text)));
    }
    tell.event(FromShell::Step(Step::Login));

    start(&mut handle, plan.program, tell).await.map(|running| (handle, running))
}

/// Tells the proofs, one after the other, until one of them is taken.
async fn let_in(handle: &mut Handle<Client>, login: &str, proofs: Vec<Proof>) -> Result<bool, russh::Error> {
    for proof in proofs {
        let outcome = match proof {
            Proof::Certificate(key, certificate) => {
                handle.authenticate_openssh_cert(login, key, *certificate).await?
            }
            Proof::Key(key) => {
                // An RSA key signs with SHA-2, of the kind that the device knows; the others have no choice.
                let rsa = key.algorithm().is_rsa();
                let hash = if rsa { handle.best_supported_rsa_hash().await? } else { None };
                let hash = hash.flatten().or(rsa.then_some(HashAlg::Sha256));
                handle.authenticate_publickey(login, PrivateKeyWithHashAlg::new(key, hash)).await?
            }
        };
        if matches!(outcome, AuthResult::Success) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What runs on the device.
struct Running {
    channel: Channel<client::Msg>,
    /// Whether its other end is a keeper.
    kept: bool,
}

/// Starts the keeper's side, or the shell.
async fn start(handle: &mut Handle<Client>, program: Program, tell: &Tell) -> Result<Running, FromShell> {
    let plain = match program {
        Program::Plain(plain) => plain,
        Program::Keeper { exec, or } => {
            let mut channel = open(handle, tell).await?;
            match keeper::ask(&mut channel, exec, tell).await? {
                Ok(()) => return Ok(Running { channel, kept: true }),
                Err(no_keeper) => {
                    // For the log only: what a device writes there is not for people.
                    tracing::info!(cause = no_keeper, "no keeper on the device");
                    let text = "The keeper on the device does not start.";
                    let lost = Problem::new(Code::SHELL_REFUSED).saying(text);
                    or.ok_or_else(|| FromShell::Failed(lost.because(anyhow::anyhow!(no_keeper))))?
                }
            }
        }
    };
    let mut channel = open(handle, tell).await?;
    tell.event(FromShell::Housed { kept: false });
    ask_for_shell(&mut channel, plain, tell).await?;
    tell.event(FromShell::Step(Step::Shell));
    Ok(Running { channel, kept: false })
}

async fn open(handle: &mut Handle<Client>, tell: &Tell) -> Result<Channel<client::Msg>, FromShell> {
    match handle.channel_open_session().await {
        Ok(channel) => Ok(channel),
        Err(err @ russh::Error::ChannelOpenFailure(_)) => Err(tell.broken(Code::SHELL_REFUSED, err)),
        Err(err) => Err(tell.broken(Code::SSH_FAILED, err)),
    }
}

async fn ask_for_shell(
    channel: &mut Channel<client::Msg>,
    Plain { size, command }: Plain,
    tell: &Tell,
) -> Result<(), FromShell> {
    let broken = |err: russh::Error| tell.broken(Code::SSH_FAILED, err);
    // Whether the sshd takes them is its own choice (AcceptEnv): no answer is asked for.
    for (name, value) in [("COLORTERM", "truecolor"), ("LANG", "C.UTF-8")] {
        channel.set_env(false, name, value).await.map_err(broken)?;
    }
    let (cols, rows) = (u32::from(size.cols), u32::from(size.rows));
    let (xpx, ypx) = (u32::from(size.xpx), u32::from(size.ypx));
    // No modes: the device's own defaults are the right ones.
    channel.request_pty(true, "xterm-256color", cols, rows, xpx, ypx, &[]).await.map_err(broken)?;
    granted(channel, "a terminal", tell).await?;
    match command {
        Some(command) => channel.exec(true, command).await.map_err(broken)?,
        None => channel.request_shell(true).await.map_err(broken)?,
    }
    granted(channel, "a shell", tell).await
}

/// Waits for the answer to the last request.
async fn granted(
    channel: &mut Channel<client::Msg>,
    what: &'static str,
    tell: &Tell,
) -> Result<(), FromShell> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => tell.output(data),
            Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                let problem =
                    Problem::new(Code::SHELL_REFUSED).because(anyhow::anyhow!("the sshd refused {what}"));
                return Err(FromShell::Failed(problem));
            }
            Some(_) => {}
            None => {
                let cause = anyhow::anyhow!("the connection ended before {what} was granted");
                return Err(tell.broken(Code::SSH_FAILED, cause));
            }
        }
    }
}

/// Sends input and control side by side: a program that reads no input does not hold back a
/// change of size or a signal.
async fn write(channel: &ChannelWriteHalf<client::Msg>, inbox: &Inbox, counted: Option<&Tell>) {
    // Whichever fails first: the channel is gone.
    tokio::select! {
        () = write_input(channel, inbox, counted) => {}
        () = write_control(channel, inbox) => {}
    }
}

async fn write_input(channel: &ChannelWriteHalf<client::Msg>, inbox: &Inbox, counted: Option<&Tell>) {
    let mut total = 0;
    loop {
        let bytes = {
            let mut orders = inbox.lock();
            let length = orders.bytes.len().min(INPUT_AT_ONCE);
            orders.bytes.split_to(length).freeze()
        };
        if bytes.is_empty() {
            inbox.input.notified().await;
            continue;
        }
        total += bytes.len() as u64;
        if channel.data_bytes(bytes).await.is_err() {
            return;
        }
        if let Some(tell) = counted {
            tell.event(FromShell::InputTaken(total));
        }
    }
}

async fn write_control(channel: &ChannelWriteHalf<client::Msg>, inbox: &Inbox) {
    loop {
        let (size, signal) = {
            let mut orders = inbox.lock();
            (orders.size.take(), orders.signals.pop_front())
        };
        if let Some(Size { cols, rows, xpx, ypx }) = size {
            let changed = channel.window_change(cols.into(), rows.into(), xpx.into(), ypx.into());
            if changed.await.is_err() {
                return;
            }
        } else if signal.is_none() {
            inbox.control.notified().await;
        }
        if let Some(signal) = signal
            && channel.signal(signal).await.is_err()
        {
            return;
        }
    }
}
