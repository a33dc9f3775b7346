//! The broker's end of a keeper: carries each viewer's messages to it and back.
//!
//! A viewer waits until the keeper is there (it is told meanwhile how that goes), then joins it. The
//! host of the terminal protocol is the keeper: it counts offsets and gives credit, so what waits
//! here for a viewer is bounded by what the viewer's window allows; a keeper that sends more breaks
//! the protocol. When the channel to the keeper breaks, whoever joined is closed with INTERRUPTED
//! and comes again with the offset it has reached: the page is the only one who knows it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use moorline_wire::keep::{Create, Decoder, FromKeeper, KeeperControl, OrderControl, ToKeeper, VERSION};
use moorline_wire::link::Violation;
use moorline_wire::term::frame::{HostControl, SNAP_BYTES_MAX, Step, ViewerControl, ViewerRole};
use moorline_wire::term::host::Attach;
use moorline_wire::term::{HostFrame, HostOutput, ViewerFrame, ViewerId};
use moorline_wire::{Code, Ending, SessionId};

use super::News;

/// Control messages that wait for one viewer beside its output.
const CONTROLS_MAX: usize = 1024;

/// The keeper as the broker sees it.
#[derive(Debug)]
pub struct Kept {
    viewers_max: usize,
    /// More never waits for one viewer: a window, a snapshot, and as much again for what is on its way.
    bytes_max: usize,
    decoder: Decoder,
    taken: bool,
    seats: BTreeMap<ViewerId, Seat>,
    told: Told,
    /// Why the session is over, if it is.
    ending: Option<Ending>,
    device_rtt_us: u32,
    outputs: VecDeque<HostOutput>,
    news: VecDeque<News>,
}

/// What is told again to whoever comes later.
#[derive(Debug, Default)]
struct Told {
    steps: Vec<HostControl>,
    device: Option<HostControl>,
}

#[derive(Debug)]
struct Seat {
    key: String,
    /// The answer to the hello, for what is the broker's to say in it.
    attached: HostControl,
    stage: Stage,
    queue: VecDeque<HostFrame>,
    queued: usize,
    announced: bool,
}

#[derive(Debug)]
enum Stage {
    /// Not yet with the keeper.
    Waiting(Box<Attach>),
    /// With the keeper.
    Joined,
    /// Told to go.
    Closing,
}

impl Kept {
    /// No keeper is there yet.
    pub fn new(viewers_max: usize, window: u32) -> Self {
        Self {
            viewers_max,
            bytes_max: 2 * (window as usize + SNAP_BYTES_MAX),
            decoder: Decoder::after_preamble(),
            taken: false,
            seats: BTreeMap::new(),
            told: Told::default(),
            ending: None,
            device_rtt_us: 0,
            outputs: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, session: &SessionId, epoch: u64, create: Option<Create>) {
        self.decoder = Decoder::after_preamble();
        self.taken = false;
        self.order(OrderControl::Take { version: VERSION, session: session.clone(), epoch, create });
    }

    pub(super) fn lost(&mut self) {
        self.taken = false;
        let joined = |(id, seat): (&ViewerId, &Seat)| matches!(seat.stage, Stage::Joined).then_some(*id);
        let joined: Vec<ViewerId> = self.seats.iter().filter_map(joined).collect();
        for viewer in joined {
            match self.ending.clone() {
                Some(ending) => self.tell_ending(viewer, ending),
                None => self.close(viewer, Code::INTERRUPTED),
            }
        }
    }

    pub(super) fn bye(&mut self) {
        if self.taken {
            self.order(OrderControl::Bye);
        }
    }

    /// What was told, and who waits: for the host that takes over.
    pub(super) fn give_up(&mut self) -> (Vec<HostControl>, Vec<Attach>) {
        let told = std::mem::take(&mut self.told);
        let told = told.steps.into_iter().chain(told.device).collect();
        let waiting = std::mem::take(&mut self.seats).into_values();
        let waiting = waiting.filter_map(|seat| match seat.stage {
            Stage::Waiting(attach) => Some(*attach),
            Stage::Joined | Stage::Closing => None,
        });
        (told, waiting.collect())
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(super) fn poll_output(&mut self) -> Option<HostOutput> {
        self.outputs.pop_front()
    }

    pub(super) fn set_device_rtt(&mut self, rtt: Duration) {
        self.device_rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
    }

    pub(super) fn came(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        loop {
            let next = self.decoder.next_message();
            let message = next.and_then(|raw| raw.map(FromKeeper::decode).transpose());
            match message {
                Ok(Some(Some(message))) => self.said(message),
                Ok(Some(None)) => {}
                Ok(None) => return,
                Err(violation) => return self.news.push_back(News::Violated(violation)),
            }
        }
    }

    fn said(&mut self, message: FromKeeper) {
        let news = match message {
            FromKeeper::Frame(viewer, frame) => return self.for_viewer(ViewerId(viewer), frame),
            FromKeeper::Control(KeeperControl::Close { viewer, code }) => {
                return self.let_go(ViewerId(viewer), code);
            }
            FromKeeper::Control(KeeperControl::Viewers { drivers, watchers }) => {
                let (drivers, watchers) = (drivers.into(), watchers.into());
                return self.outputs.push_back(HostOutput::Viewers { drivers, watchers });
            }
            FromKeeper::Control(KeeperControl::Taken(taken)) => {
                self.join_all();
                News::Taken(taken)
            }
            FromKeeper::Control(KeeperControl::Absent) => News::Absent,
            FromKeeper::Control(KeeperControl::Superseded { epoch }) => News::Superseded(epoch),
            FromKeeper::Control(KeeperControl::Failed { text }) => News::Failed(text),
            FromKeeper::Control(KeeperControl::Ended { exit }) => News::Ended(exit),
            FromKeeper::Control(KeeperControl::Gone) => {
                self.lost();
                News::Gone
            }
            FromKeeper::Control(KeeperControl::Unknown) => return,
        };
        self.news.push_back(news);
    }

    fn join_all(&mut self) {
        self.taken = true;
        let waiting: Vec<ViewerId> = self.seats.keys().copied().collect();
        waiting.into_iter().for_each(|viewer| self.join(viewer));
    }

    fn join(&mut self, viewer: ViewerId) {
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        let Stage::Waiting(attach) = &mut seat.stage else { return };
        let order = OrderControl::Join {
            viewer: viewer.0,
            key: attach.key.clone(),
            who: attach.who.clone(),
            have: attach.have,
            in_next: attach.in_next,
            size: attach.size,
            role: attach.role,
            attached: Box::new(without_token(attach.attached.clone())),
        };
        seat.stage = Stage::Joined;
        self.order(order);
    }

    pub(super) fn attach(&mut self, attach: Attach) {
        let viewer = attach.viewer;
        let same = |(id, seat): (&ViewerId, &Seat)| {
            (seat.key == attach.key && matches!(seat.stage, Stage::Waiting(_))).then_some(*id)
        };
        // The same tab came back before its old connection was found dead. Who has joined is
        // replaced by the keeper.
        if let Some(old) = self.seats.iter().find_map(same) {
            self.seats.remove(&old);
            self.outputs.push_back(HostOutput::Close { viewer: old, code: Code::CANCELLED });
        }
        let attached = self.seats.values().filter(|seat| !matches!(seat.stage, Stage::Closing)).count();
        let seat = Seat {
            key: attach.key.clone(),
            attached: attach.attached.clone(),
            stage: Stage::Waiting(Box::new(attach)),
            queue: VecDeque::new(),
            queued: 0,
            announced: false,
        };
        self.seats.insert(viewer, seat);
        if attached >= self.viewers_max {
            return self.close(viewer, Code::LIMIT);
        }
        if let Some(ending) = self.ending.clone().filter(|_| !self.taken) {
            return self.tell_ending(viewer, ending);
        }
        let told: Vec<HostControl> = self.told.steps.iter().chain(&self.told.device).cloned().collect();
        told.into_iter().for_each(|control| self.queue(viewer, HostFrame::Control(control)));
        if self.taken {
            self.join(viewer);
        }
    }

    pub(super) fn left(&mut self, viewer: ViewerId) {
        if let Some(seat) = self.seats.remove(&viewer)
            && matches!(seat.stage, Stage::Joined)
        {
            self.order(OrderControl::Leave { viewer: viewer.0 });
        }
    }

    pub(super) fn frame(&mut self, viewer: ViewerId, frame: ViewerFrame) {
        let Some(seat) = self.seats.get(&viewer) else { return };
        match (&seat.stage, frame) {
            (Stage::Closing, _) => {}
            (_, ViewerFrame::Control(ViewerControl::Kill { reason })) => {
                self.outputs.push_back(HostOutput::KillWanted { viewer, reason });
            }
            (Stage::Joined, frame) => {
                let message = ToKeeper::Frame(viewer.0, frame).encode();
                self.outputs.push_back(HostOutput::ToShell(message));
            }
            (Stage::Waiting(_), ViewerFrame::Control(ViewerControl::Detach)) => {
                self.seats.remove(&viewer);
                self.outputs.push_back(HostOutput::Close { viewer, code: Code::CANCELLED });
            }
            (Stage::Waiting(_), ViewerFrame::Control(_)) => {}
            // Nothing may be typed before the hello is answered.
            (Stage::Waiting(_), _) => self.close(viewer, Code::PROTOCOL),
        }
    }

    pub(super) fn tell(&mut self, control: HostControl) {
        self.told.remember(&control);
        let viewers: Vec<ViewerId> = self.seats.keys().copied().collect();
        for viewer in viewers {
            self.queue(viewer, HostFrame::Control(control.clone()));
        }
    }

    /// Of a program that exited, the keeper gives everybody the rest and the ending. Any other
    /// ending is an order: it overtakes what waits.
    pub(super) fn ended(&mut self, ending: Ending) {
        let by_itself = ending.code == Code::EXITED && self.taken;
        let told = |seat: &Seat| match seat.stage {
            Stage::Closing => true,
            Stage::Joined => by_itself,
            Stage::Waiting(_) => false,
        };
        let untold: Vec<ViewerId> =
            self.seats.iter().filter(|(_, seat)| !told(seat)).map(|(id, _)| *id).collect();
        for viewer in untold {
            self.tell_ending(viewer, ending.clone());
        }
        self.taken &= by_itself;
        self.ending = Some(ending);
    }

    fn tell_ending(&mut self, viewer: ViewerId, ending: Ending) {
        self.close_saying(viewer, ending.code, HostControl::Ended { ending });
    }

    pub(super) fn poll_transmit(&mut self, viewer: ViewerId) -> Option<HostFrame> {
        let seat = self.seats.get_mut(&viewer)?;
        let frame = seat.queue.pop_front();
        match &frame {
            Some(frame) => seat.queued -= weight(frame),
            None => seat.announced = false,
        }
        frame
    }

    /// Checks what a device may say to a person, and puts in what only the broker knows.
    fn for_viewer(&mut self, viewer: ViewerId, frame: HostFrame) {
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        if !matches!(seat.stage, Stage::Joined) {
            return;
        }
        let live = matches!(frame, HostFrame::Control(HostControl::Attached { .. }));
        let frame = match frame {
            HostFrame::Pong { nonce, head, .. } => {
                HostFrame::Pong { nonce, device_rtt_us: self.device_rtt_us, head }
            }
            HostFrame::Control(HostControl::Attached {
                from,
                head,
                in_ack,
                gap,
                snapshot,
                size,
                role,
                ..
            }) => {
                let news = Fresh { from, head, in_ack, gap, snapshot, size, role };
                HostFrame::Control(news.into_answer(seat.attached.clone()))
            }
            HostFrame::Control(HostControl::Ended { ending }) if ending.code != Code::EXITED => return,
            // These are the broker's to say.
            HostFrame::Control(HostControl::Step { .. } | HostControl::Live | HostControl::Device { .. }) => {
                return;
            }
            frame => frame,
        };
        self.queue(viewer, frame);
        if live {
            self.queue(viewer, HostFrame::Control(HostControl::Live));
        }
    }

    fn queue(&mut self, viewer: ViewerId, frame: HostFrame) {
        let bytes_max = self.bytes_max;
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        if matches!(seat.stage, Stage::Closing) {
            return;
        }
        seat.queued += weight(&frame);
        seat.queue.push_back(frame);
        if seat.queued > bytes_max || seat.queue.len() > CONTROLS_MAX + bytes_max / 64 {
            let what = "more was sent to a viewer than its window allows";
            self.news.push_back(News::Violated(Violation { code: Code::PROTOCOL, what }));
            return self.close(viewer, Code::INTERRUPTED);
        }
        self.announce(viewer);
    }

    fn announce(&mut self, viewer: ViewerId) {
        if let Some(seat) = self.seats.get_mut(&viewer)
            && !std::mem::replace(&mut seat.announced, true)
        {
            self.outputs.push_back(HostOutput::Transmit(viewer));
        }
    }

    fn order(&mut self, order: OrderControl) {
        self.outputs.push_back(HostOutput::ToShell(ToKeeper::Order(order).encode()));
    }

    /// The keeper has let that viewer go: what it said before is sent first.
    fn let_go(&mut self, viewer: ViewerId, code: Code) {
        if let Some(seat) = self.seats.get_mut(&viewer)
            && matches!(seat.stage, Stage::Joined)
        {
            seat.stage = Stage::Closing;
            self.outputs.push_back(HostOutput::Close { viewer, code });
        }
    }

    pub(super) fn close_all(&mut self, code: Code) {
        let open = |(id, seat): (&ViewerId, &Seat)| (!matches!(seat.stage, Stage::Closing)).then_some(*id);
        let open: Vec<ViewerId> = self.seats.iter().filter_map(open).collect();
        open.into_iter().for_each(|viewer| self.close(viewer, code));
    }

    pub(super) fn close(&mut self, viewer: ViewerId, code: Code) {
        let (text, remedy) = (code.sentence().to_owned(), code.remedy().to_owned());
        self.close_saying(viewer, code, HostControl::Error { code, text, remedy, request_id: None });
    }

    /// Overtakes what waits.
    fn close_saying(&mut self, viewer: ViewerId, code: Code, last: HostControl) {
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        if let Stage::Joined = std::mem::replace(&mut seat.stage, Stage::Closing)
            && self.taken
        {
            self.order(OrderControl::Leave { viewer: viewer.0 });
        }
        let Some(seat) = self.seats.get_mut(&viewer) else { return };
        let last = HostFrame::Control(last);
        seat.queued = weight(&last);
        seat.queue = VecDeque::from([last]);
        self.outputs.push_back(HostOutput::Close { viewer, code });
    }
}

/// What of the answer to a hello only the keeper knows.
struct Fresh {
    from: u64,
    head: u64,
    in_ack: u64,
    gap: Option<moorline_wire::term::frame::Gap>,
    snapshot: bool,
    size: moorline_wire::term::Size,
    role: ViewerRole,
}

impl Fresh {
    fn into_answer(self, mut answer: HostControl) -> HostControl {
        if let HostControl::Attached { from, head, in_ack, gap, snapshot, size, role, keeper, .. } =
            &mut answer
        {
            (*from, *head, *in_ack, *gap) = (self.from, self.head, self.in_ack, self.gap);
            (*snapshot, *size, *role, *keeper) = (self.snapshot, self.size, self.role, true);
        }
        answer
    }
}

/// A device has no use for a token that lets a page come back.
fn without_token(mut attached: HostControl) -> HostControl {
    if let HostControl::Attached { resume, .. } = &mut attached {
        resume.clear();
    }
    attached
}

/// How many bytes a frame keeps in memory, more or less.
fn weight(frame: &HostFrame) -> usize {
    match frame {
        HostFrame::Out { bytes, .. } | HostFrame::Snap { bytes, .. } => bytes.len(),
        HostFrame::InAck { .. } | HostFrame::Pong { .. } => 16,
        HostFrame::Control(_) => 64,
    }
}

impl Told {
    fn remember(&mut self, control: &HostControl) {
        match control {
            HostControl::Step { step, .. } => {
                let same =
                    |told: &HostControl| matches!(told, HostControl::Step { step: told, .. } if told == step);
                // A set-up that begins anew tells its steps anew.
                if *step == Step::Broker || *step == Step::Device {
                    self.steps.retain(|told| matches!(told, HostControl::Step { step: Step::Broker, .. }));
                }
                self.steps.retain(|told| !same(told));
                self.steps.push(control.clone());
            }
            HostControl::Device { .. } => self.device = Some(control.clone()),
            _ => {}
        }
    }
}
