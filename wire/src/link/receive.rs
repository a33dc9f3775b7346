//! What a frame of the peer does to the link.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{Frame, INITIAL_WINDOW};
use super::machine::{Link, LocalReset, Phase, RESETS_MAX};
use super::stream::{Inbound, Outbound, Stream};
use super::{Class, Output, Role, Target, Violation};
use crate::{Code, StreamId};

/// What a PING or PONG leads to, see [`Link::answer`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What is to be sent at once: the PONG, and our own PING when that is due.
    pub frames: [Option<Bytes>; 2],
    /// The round trip that was measured; it is told here alone.
    pub rtt: Option<Duration>,
}

impl Link {
    pub(super) fn receive(&mut self, now: Instant, frame: Bytes) -> Result<(), Violation> {
        if !self.has_transport() {
            return Ok(()); // a late one of a transport that we gave up
        }
        let frame = Frame::decode(frame)?;
        if self.liveness.heard(now) {
            self.outputs.push_back(Output::Steady);
        }
        match (self.phase, frame) {
            (Phase::Resuming { said, heard: false }, Frame::Resume { next_stream, streams }) => {
                self.peer_resumes(said, next_stream, &streams)
            }
            (Phase::Resuming { heard: false, .. }, _) => Err(Violation::of("a frame before RESUME")),
            (Phase::Resuming { .. }, _) => Err(Violation::of("a frame before it had our RESUME")),
            (_, Frame::Resume { .. }) => Err(Violation::of("RESUME where nothing is resumed")),
            (_, frame) => self.steady_frame(now, frame),
        }
    }

    /// Takes a PING or a PONG without all that another frame may set off. None: it is neither, or it cannot be taken so
    /// just now; it is to be given to `handle`.
    ///
    /// There may be outputs afterwards, and something to transmit.
    pub fn answer(&mut self, now: Instant, frame: &[u8]) -> Option<Answer> {
        let beat = Frame::beat(frame).filter(|_| self.phase == Phase::Steady)?;
        let answer = match beat {
            Frame::Ping { nonce } => self.pong_to(now, nonce),
            Frame::Pong { nonce } => Answer { rtt: self.measured(now, nonce).ok()?, ..Answer::default() },
            _ => return None,
        };
        if self.liveness.heard(now) {
            self.outputs.push_back(Output::Steady);
        }
        Some(answer)
    }

    fn pong_to(&mut self, now: Instant, nonce: u64) -> Answer {
        self.ping(now, nonce);
        let pong = self.liveness.next_pong().map(|nonce| Frame::Pong { nonce });
        let ping = self.liveness.next_ping(now).map(|nonce| Frame::Ping { nonce });
        Answer { frames: [pong, ping].map(|frame| frame.map(|frame| frame.encode())), rtt: None }
    }

    fn steady_frame(&mut self, now: Instant, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Open { stream, target, class, limit } => self.peer_opens(stream, target, class, limit),
            Frame::Data { stream, offset, bytes } => self.data(stream, offset, bytes),
            Frame::Credit { stream, received, limit, finished } => {
                self.credit(stream, received, limit, finished)
            }
            Frame::Fin { stream, offset } => self.fin(stream, offset),
            Frame::Reset { stream, code } => self.peer_resets(stream, code),
            Frame::ResetOk { stream } => self.reset_ok(stream),
            Frame::Ping { nonce } => {
                self.ping(now, nonce);
                Ok(())
            }
            Frame::Pong { nonce } => self.pong(now, nonce),
            Frame::GoingAway { come_back_after_ms } => self.peer_goes_away(come_back_after_ms),
            Frame::Resume { .. } => Err(Violation::of("RESUME where nothing is resumed")),
        }
    }

    fn peer_opens(
        &mut self,
        id: StreamId,
        target: Target,
        class: Class,
        limit: u64,
    ) -> Result<(), Violation> {
        if self.role == Role::Broker {
            return Err(Violation::of("OPEN by an agent"));
        }
        if id.0 < self.next_stream {
            return Err(Violation::of("OPEN of a number that was used before"));
        }
        self.next_stream = id.0.checked_add(1).ok_or(Violation::of("OPEN of the very last number"))?;
        // The broker may have forgotten streams that still have something to be read here.
        if self.streams.len() >= 2 * self.config.streams_max {
            return self.refuse(id);
        }
        let inbound = Inbound::new(self.window_at_first(class), INITIAL_WINDOW);
        let owes_credit = inbound.owes_credit();
        let outbound = Outbound::new(id, limit, self.window_max(class));
        self.streams.insert(id, Stream { target, class, outbound, inbound });
        if owes_credit {
            self.credits.add(id);
        }
        self.outputs.push_back(Output::Opened { stream: id, target, class });
        Ok(())
    }

    fn refuse(&mut self, id: StreamId) -> Result<(), Violation> {
        if self.resets.len() >= RESETS_MAX {
            return Err(Violation { code: Code::LIMIT, what: "OPEN after OPEN, all refused and unanswered" });
        }
        self.resets.insert(id, LocalReset { code: Code::LIMIT, sent: false });
        Ok(())
    }

    fn data(&mut self, id: StreamId, offset: u64, bytes: Bytes) -> Result<(), Violation> {
        self.check_stream_of_frame(id)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        stream.inbound.data(offset, bytes)?;
        if stream.inbound.takes_readable() {
            self.outputs.push_back(Output::Readable(id));
        }
        if stream.inbound.owes_credit() {
            self.credits.add(id);
        }
        Ok(())
    }

    fn fin(&mut self, id: StreamId, offset: u64) -> Result<(), Violation> {
        self.check_stream_of_frame(id)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        stream.inbound.fin(offset)?;
        if stream.inbound.takes_readable() {
            self.outputs.push_back(Output::Readable(id));
        }
        self.credits.add(id);
        Ok(())
    }

    fn credit(&mut self, id: StreamId, received: u64, limit: u64, finished: bool) -> Result<(), Violation> {
        self.check_stream_of_frame(id)?;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let newly = stream.outbound.credit(received, limit, finished)?;
        self.pace.acknowledged(newly);
        if stream.outbound.takes_writable() {
            self.outputs.push_back(Output::Writable(id));
        }
        self.take_turn(id);
        self.forget_if_over(id);
        Ok(())
    }

    /// DATA, CREDIT and FIN are of a stream that there is, or of one that we have reset and that
    /// the peer may not know to be: RESET_OK comes after all that it had sent.
    fn check_stream_of_frame(&self, id: StreamId) -> Result<(), Violation> {
        if !self.peer_was_told_of(id) {
            return Err(Violation::of("a frame of a stream that was not opened"));
        }
        if !self.streams.contains_key(&id) && !self.resets.contains_key(&id) {
            return Err(Violation::of("a frame of a stream that is over"));
        }
        Ok(())
    }

    fn peer_resets(&mut self, id: StreamId, code: Code) -> Result<(), Violation> {
        if !self.peer_was_told_of(id) {
            return Err(Violation::of("RESET of a stream that was not opened"));
        }
        if self.reset_oks.len() >= RESETS_MAX {
            return Err(Violation { code: Code::LIMIT, what: "RESET after RESET, none of them awaited" });
        }
        // A stream that is finished here may be unfinished there: that is no fault.
        self.reset_oks.insert(id);
        if self.forget(id) {
            self.outputs.push_back(Output::Reset { stream: id, code });
        }
        Ok(())
    }

    fn reset_ok(&mut self, id: StreamId) -> Result<(), Violation> {
        if self.streams.contains_key(&id) || !self.peer_was_told_of(id) {
            return Err(Violation::of("RESET_OK of a stream that was not reset"));
        }
        // No longer awaited when RESUME had told already that the peer has forgotten the stream.
        self.resets.remove(&id);
        Ok(())
    }

    /// Whether the peer knows on this transport that the stream was opened.
    fn peer_was_told_of(&self, id: StreamId) -> bool {
        match self.role {
            Role::Broker => id.0 < self.opened,
            Role::Agent => id.0 < self.next_stream,
        }
    }

    fn ping(&mut self, now: Instant, nonce: u64) {
        self.liveness.ping(nonce);
        if self.role == Role::Broker {
            self.liveness.beat(now, self.config.ping_every, !self.streams.is_empty());
        }
        for (id, stream) in &mut self.streams {
            if stream.inbound.is_asked() {
                self.credits.add(*id);
            }
        }
    }

    fn pong(&mut self, now: Instant, nonce: u64) -> Result<(), Violation> {
        let rtt = self.measured(now, nonce)?;
        self.outputs.extend(rtt.map(Output::Rtt));
        Ok(())
    }

    /// The round trip that this PONG tells, if it answers a regular ping.
    fn measured(&mut self, now: Instant, nonce: u64) -> Result<Option<Duration>, Violation> {
        let Some(answered) = self.liveness.pong(now, nonce)? else { return Ok(None) };
        self.pace.round_trip(now, nonce, answered.rtt);
        Ok(answered.is_regular.then_some(answered.rtt))
    }

    fn peer_goes_away(&mut self, come_back_after_ms: u32) -> Result<(), Violation> {
        if self.role == Role::Broker {
            return Err(Violation::of("GOING_AWAY by an agent"));
        }
        let come_back_after = Duration::from_millis(come_back_after_ms.into());
        self.outputs.push_back(Output::GoingAway { come_back_after });
        Ok(())
    }
}
