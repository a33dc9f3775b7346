//! A TCP relay: the network between two programs, as bad as a test wants it.

use std::net::SocketAddr;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rand::Rng as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::wait;

mod line;

pub use line::Line;
use line::{SEGMENT, Sending};

/// What becomes of one connection. The default: nothing bad.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Cut it (RST) after that many bytes from the one who connected.
    pub cut_after_up: Option<u64>,
    /// Cut it (RST) after that many bytes towards the one who connected.
    pub cut_after_down: Option<u64>,
    /// Every byte arrives that much later.
    pub delay: Duration,
    /// No more bytes than this in one write, once the upgrade is over (slicing that finely is taken
    /// for an attack).
    pub piece: Option<usize>,
}

/// What happens to the writes of a slow network: this share of them waits for so long.
#[derive(Debug, Clone)]
pub struct Slow {
    /// From 0 to 1.
    pub share: f64,
    /// How long such a write waits; what comes after it waits behind it.
    pub delay: Range<Duration>,
}

/// A request or answer of an upgrade is about as long.
const UPGRADE: usize = 400;

type Planner = Box<dyn FnMut(u64) -> Plan + Send>;

struct Shared {
    target: Mutex<SocketAddr>,
    planner: Mutex<Planner>,
    stalled: watch::Sender<bool>,
    /// Connections up to this number pass nothing any more.
    forgotten: watch::Sender<u64>,
    slow: watch::Sender<Option<Slow>>,
    refusing: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    accepted: watch::Sender<u64>,
    /// What the network is, if it is one line.
    line: Option<Line>,
}

/// See the module.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Relay {
    /// Listens on a port of its own and passes everything on to the target.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        Self::listening(TcpListener::bind("127.0.0.1:0").await?, target, None)
    }

    /// The same over a line of its own for each connection.
    pub fn over(target: SocketAddr, line: Line) -> Result<Self> {
        Self::listening(line::listen()?, target, Some(line))
    }

    fn listening(listener: TcpListener, target: SocketAddr, line: Option<Line>) -> Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            planner: Mutex::new(Box::new(|_| Plan::default())),
            stalled: watch::Sender::new(false),
            forgotten: watch::Sender::new(0),
            slow: watch::Sender::new(None),
            refusing: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            accepted: watch::Sender::new(0),
            line,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// From now on each new connection (counted from 1) gets the plan that this gives.
    pub fn plan(&self, planner: impl FnMut(u64) -> Plan + Send + 'static) {
        *self.shared.planner.lock().expect("no panic holds it") = Box::new(planner);
    }

    /// A black hole: nothing passes, nothing breaks, until it is healed.
    pub fn stall(&self) {
        self.shared.stalled.send_replace(true);
    }

    /// A network that has forgotten the connections that there are: nothing of them passes any
    /// more, nothing breaks, and new ones are as good as ever.
    pub fn forget(&self) {
        self.shared.forgotten.send_replace(self.connections());
    }

    /// From now on writes are delayed like this, in the connections that there are and in new ones.
    pub fn slow(&self, slow: Option<Slow>) {
        self.shared.slow.send_replace(slow);
    }

    /// What was held back passes now.
    pub fn heal(&self) {
        self.shared.stalled.send_replace(false);
        self.shared.refusing.send_replace(false);
    }

    /// Breaks every connection that there is, at once (RST).
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Breaks every connection and lets no new one live, until it is healed.
    pub fn cut_and_refuse(&self) {
        self.shared.refusing.send_replace(true);
        self.cut();
    }

    /// How many connections came so far.
    pub fn connections(&self) -> u64 {
        *self.shared.accepted.borrow()
    }

    /// Waits until more than this many connections came.
    pub async fn connected_again(&self, than: u64) -> Result<()> {
        let mut accepted = self.shared.accepted.subscribe();
        wait::within(Duration::from_secs(30), "a new connection", accepted.wait_for(|count| *count > than))
            .await??;
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut carried = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let _ = client.set_nodelay(true);
        if *shared.refusing.borrow() {
            reset(client);
            continue;
        }
        // Before anyone can know of the connection: who cuts it then, cuts it.
        let cuts = shared.cuts.subscribe();
        let mut number = 0;
        shared.accepted.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        let plan = (shared.planner.lock().expect("no panic holds it"))(number);
        carried.spawn(carry(client, number, plan, Arc::clone(&shared), cuts));
        while carried.try_join_next().is_some() {}
    }
}

/// Carries one connection until it is cut or both sides have finished.
async fn carry(
    mut client: TcpStream,
    number: u64,
    plan: Plan,
    shared: Arc<Shared>,
    mut cuts: watch::Receiver<u64>,
) {
    let target = *shared.target.lock().expect("no panic holds it");
    let connected = match shared.line {
        Some(_) => line::connect(target).await,
        None => TcpStream::connect(target).await,
    };
    let Ok(mut server) = connected else {
        reset(client);
        return;
    };
    let _ = server.set_nodelay(true);
    let end = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let way = |budget| Way {
            number,
            budget,
            plan: plan.clone(),
            stalled: shared.stalled.subscribe(),
            forgotten: shared.forgotten.subscribe(),
            slow: shared.slow.subscribe(),
            line: shared.line,
        };
        let (up, down) = (way(plan.cut_after_up), way(plan.cut_after_down));
        tokio::select! {
            _ = cuts.changed() => End::Cut,
            end = both(up.pump(client_read, server_write), down.pump(server_read, client_write)) => end,
        }
    };
    if let End::Cut = end {
        reset(client);
        reset(server);
    }
}

#[derive(PartialEq)]
enum End {
    Finished,
    Cut,
}

/// Waits for both to finish, or for one to be cut.
async fn both(one: impl Future<Output = End>, other: impl Future<Output = End>) -> End {
    let (mut one, mut other) = (pin!(one), pin!(other));
    tokio::select! {
        end = &mut one => if end == End::Finished { other.await } else { End::Cut },
        end = &mut other => if end == End::Finished { one.await } else { End::Cut },
    }
}

struct Way {
    number: u64,
    budget: Option<u64>,
    plan: Plan,
    stalled: watch::Receiver<bool>,
    forgotten: watch::Receiver<u64>,
    slow: watch::Receiver<Option<Slow>>,
    line: Option<Line>,
}

/// How long a write of a slow network waits.
fn wait_of(slow: Option<&Slow>) -> Duration {
    let Some(slow) = slow else { return Duration::ZERO };
    let mut random = rand::rng();
    match random.random_bool(slow.share) {
        true => random.random_range(slow.delay.clone()),
        false => Duration::ZERO,
    }
}

impl Way {
    /// Waits until something may pass; false: nothing will any more.
    async fn open(&mut self) -> bool {
        let number = self.number;
        self.stalled.wait_for(|stalled| !stalled).await.is_ok()
            && self.forgotten.wait_for(|forgotten| *forgotten < number).await.is_ok()
    }

    async fn pump(self, mut from: ReadHalf<'_>, to: WriteHalf<'_>) -> End {
        let (queue, queued) = mpsc::channel::<(Instant, Bytes)>(self.line.map_or(16, |line| line.segments()));
        let delay = self.plan.delay;
        let slow = self.slow.clone();
        let mut line = self.line.map(Sending::new);
        let reader = async move {
            let mut buffer = vec![0; if line.is_some() { SEGMENT } else { 16 * 1024 }];
            loop {
                if let Some(line) = &line {
                    tokio::time::sleep_until(line.room_at()).await;
                }
                match from.read(&mut buffer).await {
                    Ok(0) => return End::Finished,
                    Err(_) => return End::Cut,
                    Ok(count) => {
                        let chunk = Bytes::copy_from_slice(&buffer[..count]);
                        let due = line.as_mut().map_or_else(Instant::now, |line| line.arrives_at(count));
                        let due = due + delay + wait_of(slow.borrow().as_ref());
                        if queue.send((due, chunk)).await.is_err() {
                            return End::Cut;
                        }
                    }
                }
            }
        };
        both(reader, self.write(queued, to)).await
    }

    async fn write(mut self, mut queued: mpsc::Receiver<(Instant, Bytes)>, mut to: WriteHalf<'_>) -> End {
        let mut passed = 0;
        while let Some((due, chunk)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            let piece = self.plan.piece.filter(|_| passed > UPGRADE).unwrap_or(chunk.len());
            passed += chunk.len();
            for piece in chunk.chunks(piece) {
                if !self.open().await {
                    return End::Cut;
                }
                let allowed = self.budget.map_or(piece.len(), |left| piece.len().min(left as usize));
                if to.write_all(&piece[..allowed]).await.is_err() {
                    return End::Cut;
                }
                if let Some(left) = &mut self.budget {
                    *left -= allowed as u64;
                    if *left == 0 {
                        return End::Cut;
                    }
                }
            }
        }
        if !self.open().await || to.shutdown().await.is_err() {
            return End::Cut;
        }
        End::Finished
    }
}

/// Closes it with RST: what is still on its way is lost.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
