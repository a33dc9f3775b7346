//! The viewer side: what it has received, what its terminal has parsed, what input is not yet
//! taken. Its TypeScript twin is `web/src/link/viewer.ts`; both pass the same golden frames and the
//! same scripts (`wire/golden/term`).
//!
//! One `Viewer` lives as long as its page, over many connections. For each: `connected`, send
//! `hello`, then `receive` what comes, send what `poll_transmit` gives, do what `poll_output`
//! says, come back at `poll_timeout`; `disconnected` when it is gone or was `Dead`.
//!
//! - Output is acknowledged every 64 KiB that the terminal has parsed, and when it has parsed all; a
//!   little, such as a key's echo, is acknowledged with the next key, or 100 ms later.
//! - Input has an offset from the moment it is sent, and is kept until the program has it.
//! - What is pasted goes in pieces of 8 KiB and leaves 8 KiB of the window to the keyboard; an
//!   interrupt typed by hand drops what is left of it.
//! - It pings every 5 s while the page is visible or input waits; 3 s without an answer are
//!   `Unstable`, 10 s `Dead`, so that a dead connection is seen within 15 s of its last sign of life.

mod outgoing;
mod pulse;

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::outgoing::Outgoing;
use self::pulse::{Pulse, Verdict};
use super::frame::{Gap, HostControl, HostFrame, Size, ViewerControl, ViewerFrame, ViewerRole, out_of_place};
use super::quiet::Quiet;
use crate::link::Violation;

/// After how much parsed output an acknowledgement goes out: a quarter of the window.
const ACK_EVERY: u64 = 64 * 1024;
/// Less than this is no hurry when it is all there was: its acknowledgement would wake everything on the
/// way for nothing, and just when the next key is to come through.
const ACK_LITTLE: u64 = 4 * 1024;
/// How long the acknowledgement of a little waits for input to go with.
const ACK_WAITS: Duration = Duration::from_millis(100);

/// One page's side of a terminal.
#[derive(Debug)]
pub struct Viewer {
    key: String,
    size: Size,
    wanted: Option<ViewerRole>,
    role: Option<ViewerRole>,
    stage: Stage,
    output: Incoming,
    input: Outgoing,
    resize_seq: u32,
    resize_due: bool,
    pulse: Pulse,
    head: u64,
    device_rtt: Option<Duration>,
    controls: VecDeque<ViewerControl>,
    signals: VecDeque<u8>,
    outputs: VecDeque<ViewerOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Down,
    /// The hello is sent, and not yet answered.
    Greeting,
    Attached,
    /// Attached, and the next thing must be a snapshot.
    Rebuilding,
}

/// The output as far as it came.
#[derive(Debug, Default)]
struct Incoming {
    /// The next offset; none: nothing is there, the screen is wanted.
    received: Option<u64>,
    parsed: u64,
    /// What the host knows to be parsed.
    told: u64,
    window: u64,
    /// A snapshot up to here is not yet parsed; the host waits to hear of it.
    snapshot: Option<u64>,
    ack_due: bool,
    /// When what was parsed is to be acknowledged, if no input goes before.
    ack_later: Option<Instant>,
}

/// What a viewer's driver is to do.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the line above each variant says what its fields are")]
pub enum ViewerOutput {
    /// For the terminal; call `parsed` when it was parsed.
    Write(Bytes),
    /// Reset, resize to this, write these bytes (replay: what the terminal answers is dropped);
    /// call `parsed` when they were parsed.
    Rebuild { cols: u16, rows: u16, bytes: Bytes },
    /// Output is gone for good; a `Rebuild` follows.
    Gap { from: u64, to: u64 },
    /// A text message of the host.
    Control(HostControl),
    /// Unsent paste was dropped by an interrupt, after so much of it had gone out.
    PasteCancelled { sent: usize, dropped: usize },
    /// An answer is late.
    Unstable,
    /// It came after all.
    Steady,
    /// close and reconnect
    Dead,
}

impl Viewer {
    /// A viewer that has seen nothing. The key is 1 to 64 characters of A-Z, a-z, 0-9, - and _,
    /// chosen at random.
    pub fn new(key: String, size: Size) -> Self {
        Self {
            key,
            size,
            wanted: None,
            role: None,
            stage: Stage::Down,
            output: Incoming::default(),
            input: Outgoing::default(),
            resize_seq: 0,
            resize_due: false,
            pulse: Pulse::new(),
            head: 0,
            device_rtt: None,
            controls: VecDeque::new(),
            signals: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The role to ask for at the next hello; the driver's unless said otherwise.
    pub fn want(&mut self, role: ViewerRole) {
        self.wanted = Some(role);
    }

    /// The first message of a connection.
    pub fn hello(&self, ticket: Option<String>, resume: Option<String>) -> ViewerFrame {
        ViewerFrame::Control(ViewerControl::Hello {
            ticket,
            resume,
            have: self.output.received,
            viewer: self.key.clone(),
            in_next: self.input.next(),
            size: self.size,
            role: self.wanted,
            caps: Vec::new(),
        })
    }

    /// A connection stands; the hello is to be sent now.
    pub fn connected(&mut self, now: Instant) {
        self.stage = Stage::Greeting;
        // The hello says the size; what changes after it is to be sent.
        self.resize_due = false;
        self.pulse.connected(now);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, _now: Instant) {
        self.stage = Stage::Down;
        self.pulse.disconnected();
        self.controls.clear();
        self.signals.clear();
    }

    /// The terminal has lost what it was given: the next hello asks for the screen.
    pub fn forget_output(&mut self) {
        self.output = Incoming::default();
    }

    /// Goes on under another key, because another page has this one too. What was sent and not
    /// taken is given up.
    pub fn renew(&mut self, key: String) {
        self.key = key;
        self.input.start_over();
    }

    /// Takes one frame of the host.
    pub fn receive(&mut self, now: Instant, frame: HostFrame) -> Result<(), Violation> {
        if self.stage == Stage::Down {
            return Ok(());
        }
        if self.pulse.heard(now) {
            self.outputs.push_back(ViewerOutput::Steady);
        }
        match frame {
            HostFrame::Control(control) => return self.control(now, control),
            _ if self.stage == Stage::Greeting => {
                return Err(out_of_place("a frame came before the hello was answered"));
            }
            HostFrame::Out { offset, bytes } => self.out(offset, bytes)?,
            HostFrame::Snap { offset, cols, rows, bytes } => self.snap(offset, cols, rows, bytes)?,
            HostFrame::InAck { offset } => self.input.acknowledged(now, offset)?,
            HostFrame::Pong { nonce, device_rtt_us, head } => {
                self.pulse.answered(now, nonce);
                self.device_rtt = (device_rtt_us > 0).then(|| Duration::from_micros(device_rtt_us.into()));
                self.head = self.head.max(head);
            }
        }
        Ok(())
    }

    fn control(&mut self, now: Instant, control: HostControl) -> Result<(), Violation> {
        match &control {
            HostControl::Attached { .. } => self.attached(now, &control)?,
            HostControl::Gap(gap) => self.gap(*gap)?,
            HostControl::Role { role } => {
                self.role = Some(*role);
                // A watcher's size was ignored; the driver's is the program's.
                self.resize_due |= *role == ViewerRole::Driver;
            }
            _ => {}
        }
        self.outputs.push_back(ViewerOutput::Control(control));
        Ok(())
    }

    fn attached(&mut self, now: Instant, attached: &HostControl) -> Result<(), Violation> {
        let HostControl::Attached { role, from, head, in_ack, window, in_window, gap, snapshot, .. } =
            attached
        else {
            return Ok(());
        };
        let HostControl::Attached { ping_ms, dead_ms, .. } = attached else { return Ok(()) };
        if self.stage != Stage::Greeting {
            return Err(out_of_place("the host answered the hello twice"));
        }
        if !snapshot && *from != self.output.received.unwrap_or(0) {
            return Err(out_of_place("output goes on at another offset than it was wanted from"));
        }
        self.input.attached(now, *in_ack, *in_window as usize)?;
        self.stage = if *snapshot { Stage::Rebuilding } else { Stage::Attached };
        self.role = Some(*role);
        self.head = *head;
        self.output.attached(*from, *window, *snapshot);
        let millis = |ms: u32| Duration::from_millis(u64::from(ms.max(100)));
        self.pulse.attached(millis(*ping_ms), millis(*dead_ms));
        if let Some(gap) = gap {
            self.outputs.push_back(ViewerOutput::Gap { from: gap.from, to: gap.to });
        }
        Ok(())
    }

    fn gap(&mut self, gap: Gap) -> Result<(), Violation> {
        if self.stage != Stage::Attached || Some(gap.from) != self.output.received || gap.to < gap.from {
            return Err(out_of_place("a gap does not begin where the output ended"));
        }
        self.stage = Stage::Rebuilding;
        self.outputs.push_back(ViewerOutput::Gap { from: gap.from, to: gap.to });
        Ok(())
    }

    fn out(&mut self, offset: u64, bytes: Bytes) -> Result<(), Violation> {
        if self.stage != Stage::Attached || self.output.received != Some(offset) {
            return Err(out_of_place("output came at another offset than the next"));
        }
        let end = offset + bytes.len() as u64;
        if end - self.output.told > self.output.window {
            return Err(out_of_place("more output came than the window allows"));
        }
        self.output.received = Some(end);
        self.head = self.head.max(end);
        self.outputs.push_back(ViewerOutput::Write(bytes));
        Ok(())
    }

    fn snap(&mut self, offset: u64, cols: u16, rows: u16, bytes: Bytes) -> Result<(), Violation> {
        if self.stage != Stage::Rebuilding || offset < self.output.received.unwrap_or(0) {
            return Err(out_of_place("a snapshot came that was not announced"));
        }
        self.stage = Stage::Attached;
        self.output.rebuilt(offset);
        self.head = self.head.max(offset);
        self.outputs.push_back(ViewerOutput::Rebuild { cols, rows, bytes });
        Ok(())
    }

    /// Typed by hand: Ctrl-C, Ctrl-Z, Ctrl-\ overtake unsent paste and cancel it.
    /// False: more waits already than is kept.
    pub fn typed(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let (taken, cancelled) = self.input.typed(now, Bytes::copy_from_slice(bytes));
        if let Some(cancelled) = cancelled {
            let (sent, dropped) = (cancelled.sent, cancelled.dropped);
            self.outputs.push_back(ViewerOutput::PasteCancelled { sent, dropped });
        }
        taken
    }

    /// Pasted, with its brackets if the program wants them. False: more waits already than is kept.
    pub fn pasted(&mut self, now: Instant, bytes: Bytes) -> bool {
        self.input.pasted(now, bytes)
    }

    /// The terminal has this size now. The last one is always sent.
    pub fn resize(&mut self, _now: Instant, size: Size) {
        self.resize_due |= size != self.size;
        self.size = size;
    }

    /// A signal for the program. Of no use while the connection is down.
    pub fn signal(&mut self, number: u8) {
        if self.stage != Stage::Down {
            self.signals.push_back(number);
        }
    }

    /// A text message for the host. Of no use while the connection is down.
    pub fn send(&mut self, control: ViewerControl) {
        if self.stage != Stage::Down {
            self.controls.push_back(control);
        }
    }

    /// The page is hidden (no pings) or shown again (a ping at once).
    pub fn set_hidden(&mut self, now: Instant, hidden: bool) {
        self.pulse.set_hidden(hidden);
        if !hidden {
            self.probe(now);
        }
    }

    /// Something says that the connection may be dead, or alive again: find out within 2 s.
    pub fn probe(&mut self, now: Instant) {
        if self.stage != Stage::Down {
            self.pulse.probe(now);
        }
    }

    /// The terminal has parsed everything up to this offset.
    pub fn parsed(&mut self, now: Instant, offset: u64) {
        self.output.parsed(now, offset);
    }

    /// The next frame for the host. To be called only when the connection has room.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<ViewerFrame> {
        if matches!(self.stage, Stage::Down | Stage::Greeting) {
            return None;
        }
        if let Some(control) = self.controls.pop_front() {
            return Some(ViewerFrame::Control(control));
        }
        if let Some(number) = self.signals.pop_front() {
            return Some(ViewerFrame::Signal { number });
        }
        if std::mem::take(&mut self.resize_due) {
            self.resize_seq = self.resize_seq.wrapping_add(1);
            return Some(ViewerFrame::Resize { seq: self.resize_seq, size: self.size });
        }
        if self.output.ack_is_due(now) {
            return Some(ViewerFrame::Ack { offset: self.output.tell() });
        }
        if let Some(nonce) = self.pulse.next_ping(now) {
            return Some(ViewerFrame::Ping { nonce, acked: self.output.tell() });
        }
        if self.output.ack_later.is_some() && self.input.has_next() {
            return Some(ViewerFrame::Ack { offset: self.output.tell() });
        }
        self.input.next_frame()
    }

    /// What is to be done, until there is nothing.
    pub fn poll_output(&mut self) -> Option<ViewerOutput> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stage == Stage::Down {
            return None;
        }
        let pulse = self.pulse.deadline(self.input.waiting().0 > 0);
        let ack = self.output.ack_later.filter(|_| self.is_attached());
        pulse.into_iter().chain(ack).min()
    }

    /// To be called at `poll_timeout`, and harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage == Stage::Down {
            return;
        }
        self.output.handle_timeout(now);
        match self.pulse.handle_timeout(now, self.input.waiting().0 > 0) {
            Some(Verdict::Unstable) => self.outputs.push_back(ViewerOutput::Unstable),
            Some(Verdict::Dead) => self.outputs.push_back(ViewerOutput::Dead),
            None => {}
        }
    }

    /// The key under which the host knows this viewer's input.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the hello was answered on this connection.
    pub fn is_attached(&self) -> bool {
        matches!(self.stage, Stage::Attached | Stage::Rebuilding)
    }

    /// What the host lets this viewer do.
    pub fn role(&self) -> Option<ViewerRole> {
        self.role
    }

    /// The offset up to which output came: what to call `parsed` with after the last `Write`.
    pub fn received(&self) -> u64 {
        self.output.received.unwrap_or(0)
    }

    /// How many bytes of output the host had, when last heard of, that are not parsed here.
    pub fn behind(&self) -> u64 {
        self.head.saturating_sub(self.output.parsed)
    }

    /// How many bytes of input the program has not taken, and since when that did not get better.
    pub fn input_waiting(&self) -> (usize, Option<Instant>) {
        self.input.waiting()
    }

    /// The last round trip to the host.
    pub fn rtt(&self) -> Option<Duration> {
        self.pulse.rtt()
    }

    /// The last round trip between host and device, as the host told it.
    pub fn device_rtt(&self) -> Option<Duration> {
        self.device_rtt
    }
}

impl Incoming {
    fn attached(&mut self, from: u64, window: u32, snapshot: bool) {
        self.window = u64::from(window);
        self.snapshot = None;
        (self.ack_due, self.ack_later) = (false, None);
        if !snapshot {
            self.received = Some(from);
            self.told = from;
        }
    }

    fn rebuilt(&mut self, offset: u64) {
        self.received = Some(offset);
        self.told = offset;
        self.snapshot = Some(offset);
    }

    fn parsed(&mut self, now: Instant, offset: u64) {
        let received = self.received.unwrap_or(0);
        self.parsed = self.parsed.max(offset.min(received));
        let rebuilt = self.snapshot.is_some_and(|snapshot| self.parsed >= snapshot);
        if rebuilt {
            self.snapshot = None;
        }
        let (news, all) = (self.parsed.saturating_sub(self.told), self.parsed == received);
        let little = news < ACK_LITTLE.min(self.window / 4);
        self.ack_due |= rebuilt || news >= ACK_EVERY || (all && news > 0 && !little);
        if news > 0 && all {
            self.ack_later.get_or_insert(now + ACK_WAITS);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.ack_due |= self.ack_later.take_if(|at| *at <= now).is_some();
    }

    fn ack_is_due(&self, now: Instant) -> bool {
        self.ack_due || self.ack_later.is_some_and(|at| at <= now)
    }

    /// How far the terminal has parsed; it is told to the host now.
    fn tell(&mut self) -> u64 {
        (self.ack_due, self.ack_later) = (false, None);
        self.told = self.told.max(self.parsed);
        self.told
    }
}

impl Debug for ViewerOutput {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(bytes) => write!(f, "Write({:?})", Quiet(bytes.len())),
            Self::Rebuild { cols, rows, bytes } => {
                write!(f, "Rebuild({cols}x{rows}, {:?})", Quiet(bytes.len()))
            }
            Self::Gap { from, to } => write!(f, "Gap({from}..{to})"),
            Self::Control(control) => control.fmt(f),
            Self::PasteCancelled { sent, dropped } => write!(f, "PasteCancelled({sent}, {dropped})"),
            Self::Unstable => f.write_str("Unstable"),
            Self::Steady => f.write_str("Steady"),
            Self::Dead => f.write_str("Dead"),
        }
    }
}
