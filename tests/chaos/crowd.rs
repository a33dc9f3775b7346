//! Devices that serve nothing: each greets with a key of its own, keeps its link alive as an agent
//! does, and comes back as an agent does. Five hundred of them weigh less than one more process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::pause::pause;
use anyhow::{Result, bail};
use futures_util::{SinkExt, StreamExt};
use moorline_tests::impostor::{Impostor, Taken};
use moorline_tests::raw::Raw;
use moorline_tests::{Broker, Stage, wait};
use moorline_wire::Code;
use moorline_wire::link::greeting::Welcome;
use moorline_wire::link::{Attach, Config, Input, Link, Output, Role};
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// How many.
pub const COUNT: usize = 500;
/// An agent's waits before it dials again: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How long dialling and greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// All of them must be there within this time.
const ALL_WITHIN: Duration = Duration::from_secs(60);

/// See the module. Dropped, all of them are gone.
pub struct Crowd {
    _devices: JoinSet<()>,
}

impl Crowd {
    /// Brings all of them to the broker.
    pub async fn gather(stage: &Stage, broker: &Broker) -> Result<Self> {
        let mut devices = JoinSet::new();
        for _ in 0..COUNT {
            devices.spawn(live(Impostor::new(stage)?, broker.address));
        }
        let crowd = Self { _devices: devices };
        crowd.is_there(broker).await?;
        Ok(crowd)
    }

    /// Waits until the broker sees all of them (and the scene's own devices).
    pub async fn is_there(&self, broker: &Broker) -> Result<()> {
        wait::eventually(ALL_WITHIN, "all simulated devices to be online", async || {
            // Ten looks a second are enough: the broker has something to do.
            pause(Duration::from_millis(80)).await;
            let online = broker.metric("moorline_devices", &["online"]).await?;
            anyhow::ensure!(online >= COUNT as f64, "{online} are");
            Ok(())
        })
        .await
    }
}

/// Lives as an agent does, for ever.
async fn live(device: Impostor, broker: SocketAddr) {
    let (mut failures, mut resume) = (0_u32, None);
    loop {
        let told = match wait::within(GREETING, "the greeting", greet(&device, broker, resume.clone())).await
        {
            Ok(Ok((socket, welcome))) => {
                (failures, resume) = (0, Some(welcome.resume.clone()));
                stay(socket, &welcome).await
            }
            _ => None,
        };
        let longest = BACKOFF.0.saturating_mul(1 << failures.min(20)).min(BACKOFF.1);
        failures += 1;
        let wait = told.unwrap_or_else(|| longest.mul_f64(rand::rng().random_range(0.0..1.0)));
        pause(wait).await;
    }
}

async fn greet(device: &Impostor, broker: SocketAddr, resume: Option<String>) -> Result<(Box<Raw>, Welcome)> {
    match device.greets_at(broker, |hello| hello.resume = resume, |_| {}).await? {
        Taken::In(socket, welcome) => Ok((socket, welcome)),
        Taken::Refused(refused) => bail!("refused: {}", refused.code),
    }
}

/// Keeps the link alive until it breaks; gives when to come back, if the broker has said so.
async fn stay(mut raw: Box<Raw>, welcome: &Welcome) -> Option<Duration> {
    let mut link = Link::new(Role::Agent, config(welcome), Instant::now());
    link.handle(Instant::now(), Input::Connected(Attach::Fresh)).ok()?;
    let mut back = None;
    loop {
        while let Some(output) = link.poll_output() {
            match output {
                Output::GoingAway { come_back_after } => back = Some(come_back_after),
                Output::Opened { stream, .. } => link.reset(stream, Code::CANCELLED),
                Output::Close(_) | Output::Lost => return back,
                _ => {}
            }
        }
        while let Some(frame) = link.poll_transmit(Instant::now()) {
            if raw.socket.send(Message::binary(frame)).await.is_err() {
                return back;
            }
        }
        let timeout = link.poll_timeout().map(tokio::time::Instant::from_std);
        tokio::select! {
            message = raw.socket.next() => match message {
                Some(Ok(Message::Binary(frame))) => {
                    if link.handle(Instant::now(), Input::Frame(frame)).is_err() {
                        return back;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return back,
            },
            () = async {
                match timeout {
                    Some(timeout) => tokio::time::sleep_until(timeout).await,
                    None => std::future::pending().await,
                }
            } => link.handle_timeout(Instant::now()),
        }
    }
}

fn config(welcome: &Welcome) -> Config {
    let ms = |ms: u32| Duration::from_millis(ms.into());
    Config {
        window_interactive: 64 * 1024,
        window_bulk_max: 64 * 1024,
        streams_max: 16,
        ping_every: ms(welcome.ping_ms),
        unstable_after: ms(welcome.dead_ms) * 2 / 3,
        dead_after: ms(welcome.dead_ms),
        resume_within: ms(welcome.resume_within_ms),
    }
}
