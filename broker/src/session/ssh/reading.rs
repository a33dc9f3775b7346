//! What an SSH client tells its session: first how its set-up goes, then what the channel brings.
//!
//! The session reads the channel itself. With a task between the two, whatever comes would wait for one
//! more turn beside a flood in another session of the same device.

use bytes::{Bytes, BytesMut};
use moorline_wire::{Code, Exit};
use russh::{ChannelMsg, ChannelReadHalf, Sig};

use super::keeper::{complain, in_one_line};
use super::{FromShell, Tell};
use crate::pipe;

/// What comes from one SSH client, in order.
pub struct Events {
    told: pipe::Receiver<Told>,
    reading: Option<Reading>,
}

/// What the task of the set-up tells.
pub(super) enum Told {
    Event(FromShell),
    /// The rest comes from here.
    Reading(Reading),
}

impl Events {
    pub(super) fn new(told: pipe::Receiver<Told>) -> Self {
        Self { told, reading: None }
    }

    /// The next event; none after the end. It must be asked for all the time: what it is not asked for
    /// holds up the whole connection.
    pub async fn next(&mut self) -> Option<FromShell> {
        loop {
            let told = match &mut self.reading {
                None => self.told.recv().await?,
                Some(reading) => tokio::select! {
                    event = reading.next() => return event,
                    // Only of a plain shell it is told meanwhile how much of its input was taken.
                    Some(told) = self.told.recv(), if !reading.kept => told,
                },
            };
            match told {
                Told::Event(event) => return Some(event),
                Told::Reading(reading) => self.reading = Some(reading),
            }
        }
    }
}

/// The channel of a running program.
pub(super) struct Reading {
    channel: ChannelReadHalf,
    /// Its other end is a keeper. That the channel ends is then never the end of the program, of which the
    /// keeper tells itself: only the way to it is gone.
    kept: bool,
    tell: Tell,
    exit: Option<Exit>,
    complaint: BytesMut,
    over: bool,
}

impl Reading {
    pub(super) fn new(channel: ChannelReadHalf, kept: bool, tell: Tell) -> Self {
        Self { channel, kept, tell, exit: None, complaint: BytesMut::new(), over: false }
    }

    /// Given up before it is done, it has lost nothing.
    async fn next(&mut self) -> Option<FromShell> {
        if self.over {
            return None;
        }
        let mut closed = false;
        while let Some(message) = self.channel.wait().await {
            match message {
                ChannelMsg::Data { data } => return Some(self.output(data)),
                ChannelMsg::ExtendedData { data, .. } if self.kept => complain(&mut self.complaint, &data),
                ChannelMsg::ExtendedData { data, .. } => return Some(self.output(data)),
                ChannelMsg::ExitStatus { exit_status } => self.exit = Some(Exit::Status(exit_status)),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    self.exit = Some(Exit::Signal(name_of(&signal_name)));
                }
                ChannelMsg::Close => {
                    closed = true;
                    break;
                }
                _ => {}
            }
        }
        self.over = true;
        Some(self.end(closed))
    }

    fn output(&self, data: Bytes) -> FromShell {
        self.tell.gate.came(data.len());
        FromShell::Output(data)
    }

    fn end(&mut self, closed: bool) -> FromShell {
        let cause = match (self.kept, self.exit.take(), closed) {
            (true, ..) => {
                anyhow::anyhow!("the way to the keeper ended: {}", in_one_line(&self.complaint))
            }
            (false, None, false) => anyhow::anyhow!("the connection ended without an exit status"),
            (false, exit, _) => return FromShell::Exited(exit),
        };
        self.tell.broken(Code::SSH_FAILED, cause)
    }
}

fn name_of(signal: &Sig) -> String {
    match signal {
        // A peer's text: short, and letters only.
        Sig::Custom(name) => name.chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
        known => format!("{known:?}"),
    }
}
