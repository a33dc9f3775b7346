//! A keeper inside the simulated device: the real host machine with a program that says back what
//! it hears. It lives as long as its device does, whatever becomes of the connections to it.

use std::collections::HashMap;

use bytes::Bytes;
use moorline_wire::keep::{Decoder, FromKeeper, KeeperControl, OrderControl, PREAMBLE, Taken, ToKeeper};
use moorline_wire::term::host::Attach;
use moorline_wire::term::{Host, HostConfig, HostInput, HostOutput, ViewerId};
use moorline_wire::{Ending, Exit};

use crate::clock::now;

/// The keepers of one device, by session.
#[derive(Debug, Default)]
pub struct Keepers {
    keepers: HashMap<String, Keeper>,
    /// How many programs were started.
    pub started: usize,
    connections: u64,
}

#[derive(Debug)]
struct Keeper {
    host: Host,
    epoch: u64,
    /// Which connection has it, and how that one's viewers are called here.
    owner: u64,
    viewers: HashMap<u64, ViewerId>,
    last_viewer: u64,
    taken: u64,
    exit: Option<Exit>,
    told: bool,
}

/// One channel to a keeper.
#[derive(Debug)]
pub struct Attached {
    number: u64,
    session: String,
    decoder: Decoder,
}

impl Keepers {
    /// A channel that runs `keep --session ID`, and its first word.
    pub fn attach(&mut self, command: &str) -> Option<(Attached, Bytes)> {
        let (_, session) = command.split_once(" keep --session ")?;
        self.connections += 1;
        let attached =
            Attached { number: self.connections, session: session.to_owned(), decoder: Decoder::plain() };
        Some((attached, Bytes::from_static(PREAMBLE)))
    }

    /// Sessions whose program has not ended.
    pub fn running(&self) -> usize {
        self.keepers.values().filter(|keeper| keeper.exit.is_none()).count()
    }

    /// Whether nothing of any session is left.
    pub fn is_empty(&self) -> bool {
        self.keepers.is_empty()
    }

    /// Everything is gone, as after a reboot.
    pub fn reboot(&mut self) {
        self.keepers.clear();
    }

    /// The program of that session writes by itself.
    pub fn write(&mut self, session: &str, text: &'static str) {
        let keeper = self.keepers.get_mut(session).expect("there is a keeper of that session");
        keeper.host.handle(now(), HostInput::Output(Bytes::from_static(text.as_bytes())));
    }

    /// Another broker takes that session.
    pub fn steal(&mut self, session: &str, epoch: u64) {
        let keeper = self.keepers.get_mut(session).expect("there is a keeper of that session");
        (keeper.epoch, keeper.owner) = (epoch, 0);
    }

    /// What the keeper says to that. Broken: it has let go of the channel.
    pub fn said(&mut self, from: &mut Attached, bytes: &[u8]) -> Vec<FromKeeper> {
        from.decoder.push(bytes);
        let mut answers = Vec::new();
        while let Some(raw) = from.decoder.next_message().expect("a broker keeps the protocol") {
            if let Some(message) = ToKeeper::decode(raw).expect("a broker keeps the protocol") {
                self.told(from, message, &mut answers);
            }
        }
        answers
    }

    fn told(&mut self, from: &Attached, message: ToKeeper, answers: &mut Vec<FromKeeper>) {
        if let ToKeeper::Order(OrderControl::Take { epoch, create, .. }) = &message {
            return answers.push(FromKeeper::Control(self.take(from, *epoch, create.is_some())));
        }
        let Some(keeper) = self.keepers.get_mut(&from.session) else { return };
        if keeper.owner != from.number {
            let epoch = keeper.epoch;
            return answers.push(FromKeeper::Control(KeeperControl::Superseded { epoch }));
        }
        let bye = message == ToKeeper::Order(OrderControl::Bye);
        keeper.handle(message);
        keeper.drive(answers);
        if bye {
            self.keepers.remove(&from.session);
            answers.push(FromKeeper::Control(KeeperControl::Gone));
        }
    }

    fn take(&mut self, from: &Attached, epoch: u64, create: bool) -> KeeperControl {
        let created = create && !self.keepers.contains_key(&from.session);
        if created {
            self.started += 1;
            self.keepers.insert(from.session.clone(), Keeper::new());
        }
        let Some(keeper) = self.keepers.get_mut(&from.session) else { return KeeperControl::Absent };
        if epoch <= keeper.epoch {
            return KeeperControl::Superseded { epoch: keeper.epoch };
        }
        (keeper.epoch, keeper.owner) = (epoch, from.number);
        for viewer in std::mem::take(&mut keeper.viewers).into_values() {
            keeper.host.handle(now(), HostInput::Left(viewer));
        }
        let (head, oldest, exit) = (keeper.host.head(), keeper.host.oldest(), keeper.exit.clone());
        KeeperControl::Taken(Taken { version: 1, created, head, oldest, idle_ms: 0, exit })
    }
}

impl Keeper {
    fn new() -> Self {
        let size = moorline_wire::term::Size { cols: 80, rows: 24, xpx: 0, ypx: 0 };
        let mut host = Host::new(HostConfig::default(), size, now());
        host.handle(now(), HostInput::Output(Bytes::from_static(b"$ ")));
        Self {
            host,
            epoch: 0,
            owner: 0,
            viewers: HashMap::new(),
            last_viewer: 0,
            taken: 0,
            exit: None,
            told: false,
        }
    }

    fn handle(&mut self, message: ToKeeper) {
        let input = match message {
            ToKeeper::Frame(viewer, frame) => {
                let Some(viewer) = self.viewers.get(&viewer) else { return };
                HostInput::Frame { viewer: *viewer, frame }
            }
            ToKeeper::Order(OrderControl::Join {
                viewer,
                key,
                who,
                have,
                in_next,
                size,
                role,
                attached,
                ..
            }) => {
                self.last_viewer += 1;
                let id = ViewerId(self.last_viewer);
                self.viewers.insert(viewer, id);
                let attached = *attached;
                HostInput::Attach(Box::new(Attach {
                    viewer: id,
                    key,
                    who,
                    have,
                    in_next,
                    size,
                    role,
                    attached,
                }))
            }
            ToKeeper::Order(OrderControl::Leave { viewer }) => {
                let Some(viewer) = self.viewers.remove(&viewer) else { return };
                HostInput::Left(viewer)
            }
            ToKeeper::Order(OrderControl::End) => return self.end(Exit::Signal("HUP".to_owned())),
            ToKeeper::Order(_) => return,
        };
        self.host.handle(now(), input);
    }

    fn end(&mut self, exit: Exit) {
        self.exit = Some(exit.clone());
        self.host.handle(now(), HostInput::Ended(Ending::exited(exit)));
    }

    fn drive(&mut self, answers: &mut Vec<FromKeeper>) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::ToShell(bytes) => {
                    self.taken += bytes.len() as u64;
                    self.host.handle(now(), HostInput::InputTaken { total: self.taken });
                    match bytes == b"exit".as_slice() {
                        true => self.end(Exit::Status(3)),
                        false => self.host.handle(now(), HostInput::Output(bytes)),
                    }
                }
                HostOutput::SnapshotWanted => {
                    let (offset, bytes) = (self.host.head(), Bytes::from_static(b"the screen"));
                    self.host.handle(now(), HostInput::Snapshot { offset, cols: 80, rows: 24, bytes });
                }
                HostOutput::Transmit(viewer) => self.transmit(viewer, answers),
                HostOutput::Close { viewer, code } => {
                    self.transmit(viewer, answers);
                    if let Some(theirs) = self.theirs(viewer) {
                        self.viewers.remove(&theirs);
                        self.host.handle(now(), HostInput::Left(viewer));
                        answers.push(FromKeeper::Control(KeeperControl::Close { viewer: theirs, code }));
                    }
                }
                _ => {}
            }
        }
        if let Some(exit) = self.exit.clone().filter(|_| !std::mem::replace(&mut self.told, true)) {
            answers.push(FromKeeper::Control(KeeperControl::Ended { exit }));
        }
    }

    fn transmit(&mut self, viewer: ViewerId, answers: &mut Vec<FromKeeper>) {
        let Some(theirs) = self.theirs(viewer) else { return };
        while let Some(frame) = self.host.poll_transmit(now(), viewer) {
            answers.push(FromKeeper::Frame(theirs, frame));
        }
    }

    fn theirs(&self, viewer: ViewerId) -> Option<u64> {
        self.viewers.iter().find_map(|(theirs, ours)| (*ours == viewer).then_some(*theirs))
    }
}
