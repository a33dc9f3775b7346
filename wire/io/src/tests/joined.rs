//! A broker's and an agent's handle, each with a driver task, and transports between them that
//! can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use moorline_wire::link::{Attach, Class, Config, Input, Output, Role, Target};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::{Event, LinkHandle, LinkStream, Outlet};

/// Both ends of a link, without a transport at first.
pub(super) struct Joined {
    pub(super) broker: LinkHandle,
    pub(super) agent: LinkHandle,
    pub(super) opened: mpsc::UnboundedReceiver<LinkStream>,
    opened_to: mpsc::UnboundedSender<LinkStream>,
}

/// One transport.
pub(super) struct Transport {
    cut: watch::Sender<bool>,
    drivers: JoinSet<()>,
}

impl Transport {
    /// Resolves when it broke by itself.
    pub(super) async fn broken(&mut self) {
        while let Some(driver) = self.drivers.join_next().await {
            driver.unwrap();
        }
    }

    /// Loses everything that is under way, as a cut cable does.
    pub(super) async fn cut(mut self) {
        self.cut.send_replace(true);
        self.broken().await;
    }
}

/// One end of a transport.
struct End {
    attach: Attach,
    to: mpsc::Sender<Bytes>,
    from: mpsc::Receiver<Bytes>,
    is_cut: watch::Receiver<bool>,
    frames: Arc<AtomicUsize>,
}

impl Joined {
    pub(super) fn new(config: Config) -> Self {
        let (opened_to, opened) = mpsc::unbounded_channel();
        Self {
            broker: LinkHandle::new(Role::Broker, config.clone(), Instant::now()),
            agent: LinkHandle::new(Role::Agent, config, Instant::now()),
            opened,
            opened_to,
        }
    }

    pub(super) fn connect(&self, attach: Attach) -> Transport {
        self.connect_for(attach, usize::MAX)
    }

    /// A transport that breaks when so many frames have arrived over it.
    pub(super) fn connect_for(&self, attach: Attach, frames: usize) -> Transport {
        // As small as the channels of a real socket: most of the time it is full.
        let (to_agent, from_broker) = mpsc::channel(8);
        let (to_broker, from_agent) = mpsc::channel(8);
        let (cut, is_cut) = watch::channel(false);
        let frames = Arc::new(AtomicUsize::new(frames));
        let ends = |to, from| End { attach, to, from, is_cut: is_cut.clone(), frames: frames.clone() };
        let broker = self.driver(self.broker.clone(), ends(to_agent, from_agent), true);
        let agent = self.driver(self.agent.clone(), ends(to_broker, from_broker), false);
        let mut drivers = JoinSet::new();
        drivers.spawn(broker);
        drivers.spawn(agent);
        Transport { cut, drivers }
    }

    /// `shared`: streams send by themselves, and are woken by whoever reads the transport, as in the broker; else everything goes through the
    /// driver, as in the agent.
    fn driver(&self, handle: LinkHandle, end: End, shared: bool) -> impl Future<Output = ()> + use<> {
        let opened = self.opened_to.clone();
        let End { attach, to, mut from, mut is_cut, frames } = end;
        async move {
            handle.handle(Instant::now(), Input::Connected(attach)).unwrap();
            handle.set_outlet(shared.then(|| outlet(to.clone())));
            loop {
                while let Some(event) = handle.poll_event() {
                    match event {
                        Event::Opened { stream, .. } => opened.send(stream).unwrap(),
                        Event::Link(Output::Close(_)) => break,
                        Event::Link(_) => {}
                        Event::Violated(violation) => panic!("{violation}"),
                    }
                }
                let full = match shared {
                    true => !handle.transmit(),
                    false => !outlet(to.clone()).pull(&mut |now| handle.poll_transmit(now)),
                };
                let deadline = handle.poll_timeout();
                tokio::select! {
                    _ = is_cut.changed() => break,
                    frame = from.recv() => match frame {
                        Some(frame) => {
                            if frames.fetch_sub(1, Ordering::Relaxed) <= 1 {
                                break;
                            }
                            match shared {
                                true => handle.take(Instant::now(), frame),
                                false => handle.handle(Instant::now(), Input::Frame(frame)).unwrap(),
                            }
                        }
                        None => break,
                    },
                    _ = to.reserve(), if full => {}
                    () = handle.stirred() => {}
                    () = at(deadline) => handle.handle_timeout(Instant::now()),
                }
            }
            handle.set_outlet(None);
            handle.handle(Instant::now(), Input::Disconnected).unwrap();
        }
    }

    /// A new stream, at both of its ends.
    pub(super) async fn open(&mut self, class: Class) -> (LinkStream, LinkStream) {
        let ours = self.broker.open(Target::Sshd, class).unwrap();
        let theirs = self.opened.recv().await.unwrap();
        assert_eq!(ours.id(), theirs.id());
        (ours, theirs)
    }
}

/// Into a transport, as long as there is room.
fn outlet(to: mpsc::Sender<Bytes>) -> Outlet {
    Outlet::new(move |next| {
        loop {
            let Ok(permit) = to.try_reserve() else { return false };
            match next(Instant::now()) {
                Some(frame) => permit.send(frame),
                None => return true,
            }
        }
    })
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the task has ended; a test that hangs says where.
pub(super) async fn within_seconds<T>(seconds: u64, what: &str, task: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(seconds);
    tokio::time::timeout(limit, task).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
