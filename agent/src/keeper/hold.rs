//! The keeper's process: performs what `state` decides, until there is nothing left to keep.
//!
//! One task on one thread: the terminal, the emulator, the connections and one deadline. Reading the
//! program never waits for anything but the gate: not for a broker, and not for a program that does
//! not read its input.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_screen::Screen;
use moorline_wire::keep::{Create, FromKeeper, KeeperControl, OrderControl, ToKeeper};
use moorline_wire::{Exit, SessionId};
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Event};
use super::courtesy::Courtesy;
use super::place::Place;
use super::program::{self, Program};
use super::state::{ConnectionId, Input, Keeper, Output};
use crate::clock::{self, Alarm};
use crate::sshd::end::FULL;

/// How long whoever connects may take to say what they want, also the first one.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long the last words may take to be sent.
const LAST_FLUSH: Duration = Duration::from_secs(2);
/// How long the terminal may be silent, after its shell is gone while others still hold it, until all
/// is taken to be said.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Others that still write then do not keep the session.
const LAST_WORDS_BYTES: usize = 256 * 1024;
/// What is read at once, in several goes.
const PIECE: usize = 16 * 1024;

/// Runs the keeper whose lock is our standard input and whose socket is our standard output.
pub fn run(session: SessionId, dir: Option<&Path>) -> io::Result<()> {
    let lock = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = UnixListener::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let place = Place::open(&session, dir).map_err(io::Error::other)?;
    // The folder that we were started in may be unmounted one day.
    std::env::set_current_dir(program::home())?;
    // It would write where nobody reads.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut connections = Connections::new(listener)?;
        let ended = keep(session, &mut connections).await;
        place.clear();
        // Whoever is told that nothing is left may look.
        let _ = clock::within(LAST_FLUSH, "the last words", flush(&mut connections)).await;
        ended
    });
    drop(lock);
    ended
}

async fn flush(connections: &mut Connections) {
    while !connections.is_flushed() {
        connections.event(clock::now()).await;
    }
}

async fn keep(session: SessionId, connections: &mut Connections) -> io::Result<()> {
    let first = clock::within(FIRST_WORD, "the first message", creation(connections)).await;
    let (from, take, create) = first?;
    let grace = Duration::from_millis(u64::from(create.grace_ms));
    let (program, leader) = match program::start(&session, create.command.as_deref(), create.size, grace) {
        Ok(started) => started,
        Err(err) => {
            let text = format!("cannot start the program: {err}");
            connections.send(from, &FromKeeper::Control(KeeperControl::Failed { text }));
            connections.close(from);
            return Err(err);
        }
    };
    let mut keeper = Keeper::new(session, &create, clock::now());
    let size = keeper.size();
    keeper.handle(clock::now(), Input::Order(from, take));
    let end = CancellationToken::new();
    let hold = Hold {
        keeper,
        screen: Screen::new(size.cols, size.rows),
        unseen: Vec::new(),
        program,
        alarm: Alarm::new()?,
        typed: VecDeque::new(),
        taken: 0,
        gate_open: true,
        silent: false,
        leaving: None,
        gone: false,
        end: end.clone(),
        courtesy: Courtesy::new(clock::monotonic()),
        floods: false,
        connections,
    };
    hold.run(Box::pin(leader.ended(end))).await
}

/// The take that says how to create the session. Whoever comes before it does not want one.
async fn creation(connections: &mut Connections) -> (ConnectionId, OrderControl, Create) {
    loop {
        let Event::Came(id) = connections.event(clock::now()).await else { continue };
        while let Some(message) = connections.next_message(id) {
            connections.has_taken(id);
            match message {
                ToKeeper::Order(OrderControl::Take { version, session, epoch, create: Some(create) }) => {
                    return (id, OrderControl::Take { version, session, epoch, create: None }, create);
                }
                ToKeeper::Order(OrderControl::Take { .. }) => {
                    connections.send(id, &FromKeeper::Control(KeeperControl::Absent));
                    connections.close(id);
                }
                _ => connections.close(id),
            }
        }
    }
}

/// The program's end, while what it wrote last is still read.
struct Leaving {
    exit: Exit,
    /// When all is taken to be said.
    until: Instant,
    bytes_left: usize,
}

struct Hold<'a> {
    keeper: Keeper,
    screen: Screen,
    /// Output that the screen is still to be fed with: it is sent first.
    unseen: Vec<u8>,
    program: Program,
    alarm: Alarm,
    /// Input that the terminal has not taken yet; the host bounds it.
    typed: VecDeque<u8>,
    taken: u64,
    gate_open: bool,
    /// Nobody holds the other end of the terminal any more.
    silent: bool,
    leaving: Option<Leaving>,
    gone: bool,
    end: CancellationToken,
    courtesy: Courtesy,
    /// What the program writes comes faster than it is read.
    floods: bool,
    connections: &'a mut Connections,
}

/// What woke the keeper.
enum Woken {
    Wrote(io::Result<usize>),
    Took(io::Result<usize>),
    Connection(Event),
    Exited(Exit),
    Due,
}

impl Hold<'_> {
    async fn run(mut self, mut exited: Pin<Box<impl Future<Output = Exit>>>) -> io::Result<()> {
        let mut piece = Vec::with_capacity(PIECE);
        let mut lives = true;
        loop {
            let more = self.drive();
            if self.gone {
                return Ok(());
            }
            self.show();
            // A shell that is told to end writes its last words, and waits until they are read.
            let ending = self.leaving.is_some() || self.end.is_cancelled();
            let way = self.gives_way();
            let reads = !self.silent && (self.gate_open || ending) && way.is_none();
            self.alarm.set([self.due(), way].into_iter().flatten().min());
            let woken = tokio::select! {
                event = self.connections.event(clock::now()) => Woken::Connection(event),
                got = self.program.terminal.read(&mut piece), if reads => Woken::Wrote(got),
                took = self.program.terminal.write(self.typed.as_slices().0), if !self.typed.is_empty() => {
                    Woken::Took(took)
                }
                exit = &mut exited, if lives => Woken::Exited(exit),
                () = self.alarm.rings() => Woken::Due,
                () = std::future::ready(()), if more => Woken::Due,
            };
            match woken {
                Woken::Connection(event) => self.connection(event),
                Woken::Wrote(got) => self.wrote(got, &mut piece),
                Woken::Took(took) => self.took(took),
                Woken::Exited(exit) => {
                    lives = false;
                    let until = clock::now() + LAST_WORDS;
                    self.leaving = Some(Leaving { exit, until, bytes_left: LAST_WORDS_BYTES });
                }
                Woken::Due => {}
            }
            self.look_at_the_clock();
        }
    }

    fn due(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let silent = self.connections.silent_since().map(|since| since + FIRST_WORD);
        [self.keeper.poll_timeout(), leaving, silent].into_iter().flatten().min()
    }

    /// Until when a flood waits, because somebody has typed in another session.
    fn gives_way(&mut self) -> Option<Instant> {
        let wait = self.floods.then(|| self.courtesy.gives_way(clock::monotonic()))?;
        wait.map(|wait| clock::now() + wait)
    }

    fn look_at_the_clock(&mut self) {
        let now = clock::now();
        self.keeper.handle_timeout(now);
        let said_all = |leaving: &mut Leaving| self.silent || leaving.until <= now || leaving.bytes_left == 0;
        if let Some(Leaving { exit, .. }) = self.leaving.take_if(said_all) {
            self.silent = true;
            self.typed.clear();
            self.keeper.handle(now, Input::Exited(exit));
        }
        if let Some(before) = now.checked_sub(FIRST_WORD) {
            self.connections.close_silent(before);
        }
    }

    fn connection(&mut self, event: Event) {
        let now = clock::now();
        match event {
            Event::Moved => {}
            Event::Lost(id) => self.keeper.handle(now, Input::Lost(id)),
            Event::Came(id) => {
                while let Some(message) = self.connections.next_message(id) {
                    let input = match message {
                        ToKeeper::Order(order) => Input::Order(id, order),
                        ToKeeper::Frame(viewer, frame) => Input::Frame(id, viewer, frame),
                    };
                    self.connections.has_taken(id);
                    self.keeper.handle(now, input);
                    // Each before the next: a connection may just have been closed.
                    self.perform();
                }
                self.type_now();
            }
        }
    }

    fn wrote(&mut self, got: io::Result<usize>, piece: &mut Vec<u8>) {
        let mut more = got.unwrap_or(0);
        if more == 0 {
            self.silent = true;
            return;
        }
        self.floods = more >= FULL;
        while more >= FULL && piece.capacity() - piece.len() >= FULL && self.program.terminal.refills() {
            more = self.program.terminal.try_read(piece).unwrap_or(0);
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.until = clock::now() + LAST_WORDS;
            leaving.bytes_left = leaving.bytes_left.saturating_sub(piece.len());
        }
        self.keeper.handle(clock::now(), Input::Output(Bytes::copy_from_slice(piece)));
        self.unseen.append(piece);
    }

    /// Gives the terminal what it takes at once; for the rest, `run` waits.
    fn type_now(&mut self) {
        if self.typed.is_empty() {
            return;
        }
        self.courtesy.types(clock::monotonic(), self.typed.len());
        if let Ok(length) = self.program.terminal.try_write(self.typed.as_slices().0) {
            self.took(Ok(length));
        }
    }

    fn took(&mut self, took: io::Result<usize>) {
        // Where nobody reads any more, it is gone as well.
        let length = took.unwrap_or(self.typed.len());
        self.typed.drain(..length);
        if self.typed.is_empty() {
            self.typed.shrink_to(PIECE);
        }
        self.taken += length as u64;
        self.keeper.handle(clock::now(), Input::Taken(self.taken));
    }

    /// Carries out everything that is pending, fills the broker's connection and sends. True: it has room
    /// for more already.
    fn drive(&mut self) -> bool {
        self.perform();
        let mut more = true;
        while let Some(broker) = self.keeper.broker().filter(|broker| self.connections.has_room(*broker)) {
            let Some(message) = self.keeper.poll_transmit(clock::now()) else {
                more = false;
                break;
            };
            self.connections.send(broker, &message);
            self.perform();
        }
        self.connections.send_now();
        more && self.keeper.broker().is_some_and(|broker| self.connections.has_room(broker))
    }

    fn perform(&mut self) {
        while let Some(output) = self.keeper.poll_output() {
            match output {
                Output::Say(id, control) => self.connections.send(id, &FromKeeper::Control(control)),
                Output::Close(id) => self.connections.close(id),
                Output::ToProgram(bytes) => self.typed.extend(bytes),
                Output::Resize(size) => {
                    self.on_screen(|screen| screen.resize(size.cols, size.rows));
                    self.program.resize(size);
                }
                Output::Signal(number) => self.program.signal(number),
                Output::Gate(open) => self.gate_open = open,
                Output::SnapshotWanted => self.snapshot(),
                Output::EndProgram => self.end.cancel(),
                Output::Go => self.gone = true,
            }
        }
    }

    fn snapshot(&mut self) {
        let mut bytes = Vec::new();
        self.on_screen(|screen| bytes = screen.snapshot());
        let (cols, rows) = self.screen.size();
        self.keeper.handle(clock::now(), Input::Snapshot { cols, rows, bytes: bytes.into() });
    }

    /// The emulator reads whatever a device writes. Should that ever make it panic, the session
    /// goes on with an empty screen: only a later snapshot is poorer.
    fn on_screen(&mut self, work: impl FnOnce(&mut Screen)) {
        self.show();
        self.guarded(work);
    }

    /// Feeds the screen with what was sent meanwhile.
    fn show(&mut self) {
        if self.unseen.is_empty() {
            return;
        }
        let mut unseen = std::mem::take(&mut self.unseen);
        self.guarded(|screen| screen.feed(&unseen));
        unseen.clear();
        self.unseen = unseen;
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Screen)) {
        let screen = &mut self.screen;
        if std::panic::catch_unwind(AssertUnwindSafe(|| work(screen))).is_err() {
            let size = self.keeper.size();
            self.screen = Screen::new(size.cols, size.rows);
        }
    }
}
