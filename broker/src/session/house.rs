//! Who has the terminal of a session: a keeper on the device, or this broker itself. Pure, without
//! actors, sockets and clock.
//!
//! - [`kept`]: the keeper has it. The broker carries the messages of each viewer to it and back,
//!   and has no byte of the terminal itself: nothing of the session is lost with the broker.
//! - `Ours`: a plain shell. The broker is the host, and the shell ends with it.
//!
//! Both take the same inputs and give the same outputs, so that the session's actor is one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use moorline_wire::keep::{Create, Taken};
use moorline_wire::link::Violation;
use moorline_wire::term::frame::HostControl;
use moorline_wire::term::host::Attach;
use moorline_wire::term::{Host, HostConfig, HostFrame, HostInput, HostOutput, Size, ViewerFrame, ViewerId};
use moorline_wire::{Code, Ending, Exit, SessionId};

pub mod kept;
#[cfg(test)]
mod tests;

use kept::Kept;

/// What a keeper says of the session as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The session is ours; how it is.
    Taken(Taken),
    /// There is no keeper of this session.
    Absent,
    /// A broker with this epoch has it.
    Superseded(u64),
    /// The shell cannot be started; why, for the log.
    Failed(String),
    /// The program has ended.
    Ended(Exit),
    /// Nothing of the session is left on the device.
    Gone,
    /// The keeper breaks the protocol.
    Violated(Violation),
}

/// The terminal of one session.
#[derive(Debug)]
pub enum House {
    /// A keeper has it, or will have it.
    Keeper(Box<Kept>),
    /// We have it.
    Ours(Box<Host>),
}

impl House {
    /// Of a shell that a keeper holds, or will hold once there is one.
    pub fn of_keeper(viewers_max: usize, window: u32) -> Self {
        Self::Keeper(Box::new(Kept::new(viewers_max, window)))
    }

    /// Of a plain shell.
    pub fn ours(config: HostConfig, size: Size, now: Instant) -> Self {
        Self::Ours(Box::new(Host::new(config, size, now)))
    }

    /// There is no keeper after all: the plain shell's terminal is ours. Who waits is let in.
    pub fn become_ours(&mut self, config: HostConfig, size: Size, now: Instant) {
        let Self::Keeper(kept) = self else { return };
        let mut host = Host::new(config, size, now);
        let (told, waiting) = kept.give_up();
        for control in told {
            host.handle(now, HostInput::Tell(control));
        }
        for attach in waiting {
            host.handle(now, HostInput::Attach(Box::new(attach)));
        }
        *self = Self::Ours(Box::new(host));
    }

    /// Whether a keeper has it.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Keeper(_))
    }

    /// A channel to the keeper stands: the session is claimed. What is to be sent comes as `ToShell`.
    pub fn take(&mut self, session: &SessionId, epoch: u64, create: Option<Create>) {
        if let Self::Keeper(kept) = self {
            kept.take(session, epoch, create);
        }
    }

    /// The channel to the keeper is gone: whoever was let in has to come again.
    pub fn lost(&mut self) {
        if let Self::Keeper(kept) = self {
            kept.lost();
        }
    }

    /// How the program ended is written down: the keeper may go.
    pub fn bye(&mut self) {
        if let Self::Keeper(kept) = self {
            kept.bye();
        }
    }

    /// What a keeper said.
    pub fn poll_news(&mut self) -> Option<News> {
        match self {
            Self::Keeper(kept) => kept.poll_news(),
            Self::Ours(_) => None,
        }
    }

    /// What the channel brought: messages of a keeper, or output of a plain shell.
    pub fn shell_said(&mut self, now: Instant, bytes: Bytes) {
        match self {
            Self::Keeper(kept) => kept.came(&bytes),
            Self::Ours(host) => host.handle(now, HostInput::Output(bytes)),
        }
    }

    /// The channel took so much input, in all.
    pub fn input_taken(&mut self, now: Instant, total: u64) {
        // A keeper says itself what the program took.
        if let Self::Ours(host) = self {
            host.handle(now, HostInput::InputTaken { total });
        }
    }

    /// Somebody's hello was accepted.
    pub fn attach(&mut self, now: Instant, attach: Attach) {
        match self {
            Self::Keeper(kept) => kept.attach(attach),
            Self::Ours(host) => host.handle(now, HostInput::Attach(Box::new(attach))),
        }
    }

    /// A viewer sent a frame.
    pub fn frame(&mut self, now: Instant, viewer: ViewerId, frame: ViewerFrame) {
        match self {
            Self::Keeper(kept) => kept.frame(viewer, frame),
            Self::Ours(host) => host.handle(now, HostInput::Frame { viewer, frame }),
        }
    }

    /// A viewer's connection is gone.
    pub fn left(&mut self, now: Instant, viewer: ViewerId) {
        match self {
            Self::Keeper(kept) => kept.left(viewer),
            Self::Ours(host) => host.handle(now, HostInput::Left(viewer)),
        }
    }

    /// That viewer is to go, for this reason.
    pub fn close(&mut self, viewer: ViewerId, code: Code) {
        // A plain shell's host bounds input itself.
        if let Self::Keeper(kept) = self {
            kept.close(viewer, code);
        }
    }

    /// Everybody is to go, for this reason, and may come again.
    pub fn close_all(&mut self, code: Code) {
        if let Self::Keeper(kept) = self {
            kept.close_all(code);
        }
    }

    /// Tells every viewer.
    pub fn tell(&mut self, now: Instant, control: HostControl) {
        match self {
            Self::Keeper(kept) => kept.tell(control),
            Self::Ours(host) => host.handle(now, HostInput::Tell(control)),
        }
    }

    /// The session is over.
    pub fn ended(&mut self, now: Instant, ending: Ending) {
        match self {
            Self::Keeper(kept) => kept.ended(ending),
            Self::Ours(host) => host.handle(now, HostInput::Ended(ending)),
        }
    }

    /// The screen of a plain shell, as it is now.
    pub fn snapshot(&mut self, now: Instant, cols: u16, rows: u16, bytes: Bytes) {
        if let Self::Ours(host) = self {
            let offset = host.head();
            host.handle(now, HostInput::Snapshot { offset, cols, rows, bytes });
        }
    }

    /// To be called at `poll_timeout`; harmless at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Self::Ours(host) = self {
            host.handle_timeout(now);
        }
    }

    /// What is to be done. For a keeper, `ToShell` has messages for it.
    pub fn poll_output(&mut self) -> Option<HostOutput> {
        match self {
            Self::Keeper(kept) => kept.poll_output(),
            Self::Ours(host) => host.poll_output(),
        }
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Keeper(_) => None,
            Self::Ours(host) => host.poll_timeout(),
        }
    }

    /// The next frame for that viewer. To be called only when its connection has room.
    pub fn poll_transmit(&mut self, now: Instant, viewer: ViewerId) -> Option<HostFrame> {
        match self {
            Self::Keeper(kept) => kept.poll_transmit(viewer),
            Self::Ours(host) => host.poll_transmit(now, viewer),
        }
    }

    /// For PONG.
    pub fn set_device_rtt(&mut self, rtt: Duration) {
        match self {
            Self::Keeper(kept) => kept.set_device_rtt(rtt),
            Self::Ours(host) => host.set_device_rtt(rtt),
        }
    }
}
