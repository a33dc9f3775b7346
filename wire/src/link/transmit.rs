//! What goes out next: what keeps the link going, then whoever goes ahead, then whoever is paced.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{DATA_HEADER, Frame};
use super::machine::{Link, Phase};
use super::stream::Fin;
use super::{Class, Role};
use crate::StreamId;

/// Until a round trip was measured, windows grow as if one took this long.
const RTT_UNKNOWN: Duration = Duration::from_millis(50);

impl Link {
    /// The next frame for the transport; to be called only when the transport can take it at once,
    /// so that what is not yet sent stays in our hands.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        match self.phase {
            Phase::Resuming { said: false, heard } => Some(self.say_resume(heard).encode()),
            Phase::Steady => self
                .control(now)
                .map(|frame| frame.encode())
                .or_else(|| self.ahead_frame())
                .or_else(|| self.paced_frame())
                .or_else(|| self.probe(now)),
            _ => None,
        }
    }

    /// Whether `poll_transmit` may have something; cheap, so that whoever writes to a stream can
    /// ask whether its driver is to be woken.
    pub fn has_transmit(&self) -> bool {
        match self.phase {
            Phase::Resuming { said, .. } => !said,
            Phase::Steady => {
                let streams = !self.ahead.is_empty() || !self.paced.is_empty();
                let credits = !self.credits.is_empty() || !self.reset_oks.is_empty();
                let resets = self.resets.values().any(|reset| !reset.sent);
                streams || credits || resets || self.opened < self.next_stream_to_open()
            }
            _ => false,
        }
    }

    fn next_stream_to_open(&self) -> u32 {
        match self.role {
            Role::Broker => self.next_stream,
            Role::Agent => 0,
        }
    }

    fn control(&mut self, now: Instant) -> Option<Frame> {
        if let Some(come_back_after_ms) = self.going_away.take() {
            return Some(Frame::GoingAway { come_back_after_ms });
        }
        if let Some(nonce) = self.liveness.next_pong() {
            return Some(Frame::Pong { nonce });
        }
        if let Some(nonce) = self.liveness.next_ping(now) {
            return Some(Frame::Ping { nonce });
        }
        if let Some(stream) = self.reset_oks.pop_first() {
            return Some(Frame::ResetOk { stream });
        }
        self.next_reset().or_else(|| self.next_credit(now)).or_else(|| self.next_open())
    }

    fn next_reset(&mut self) -> Option<Frame> {
        let (id, reset) = self.resets.iter_mut().find(|(_, reset)| !reset.sent)?;
        reset.sent = true;
        Some(Frame::Reset { stream: *id, code: reset.code })
    }

    fn next_credit(&mut self, now: Instant) -> Option<Frame> {
        loop {
            let id = self.credits.next()?;
            self.learn_window(now, id);
            let Some(stream) = self.streams.get_mut(&id).filter(|s| s.inbound.owes_credit()) else {
                continue;
            };
            let told = stream.inbound.tell();
            self.forget_if_over(id);
            return Some(Frame::Credit {
                stream: id,
                received: told.received,
                limit: told.limit,
                finished: told.finished,
            });
        }
    }

    fn learn_window(&mut self, now: Instant, id: StreamId) {
        if self.streams.get(&id).is_none_or(|stream| stream.class != Class::Bulk) {
            return;
        }
        let (max, spare) = (self.window_max(Class::Bulk), self.spare_window());
        let rtt = self.rtt().unwrap_or(RTT_UNKNOWN);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.inbound.learn(now, rtt, max, spare);
        }
    }

    fn next_open(&mut self) -> Option<Frame> {
        if self.opened >= self.next_stream_to_open() {
            return None;
        }
        let next = self.streams.range(StreamId(self.opened)..).next();
        let Some((id, stream)) = next else {
            self.opened = self.next_stream; // the rest was reset before anyone heard of it
            return None;
        };
        self.opened = id.0 + 1;
        self.ever_opened = self.ever_opened.max(self.opened);
        Some(Frame::Open {
            stream: *id,
            target: stream.target,
            class: stream.class,
            limit: stream.inbound.limit_told,
        })
    }

    fn ahead_frame(&mut self) -> Option<Bytes> {
        loop {
            let id = self.ahead.next()?;
            if let Some(frame) = self.stream_frame(id, self.pace.frame_max_ahead()) {
                return Some(frame);
            }
        }
    }

    fn paced_frame(&mut self) -> Option<Bytes> {
        while !self.paced.is_empty() && self.pace.may_send() {
            let id = self.paced.next()?;
            if let Some(frame) = self.stream_frame(id, self.pace.frame_max()) {
                return Some(frame);
            }
        }
        None
    }

    /// A ping that sees how much is under way on the line, when the pace holds somebody back.
    fn probe(&mut self, now: Instant) -> Option<Bytes> {
        if !self.pace.wants_probe(now) {
            return None;
        }
        let nonce = self.liveness.ping_now(now)?;
        self.pace.probed(nonce);
        Some(Frame::Ping { nonce }.encode())
    }

    /// The next frame of a stream whose turn it is; it stands in line again if it has more.
    fn stream_frame(&mut self, id: StreamId, frame_max: usize) -> Option<Bytes> {
        let outbound = &mut self.streams.get_mut(&id)?.outbound;
        let frame = if outbound.has_sendable_bytes() {
            let frame = outbound.next_data(frame_max);
            self.pace.sent((frame.len() - DATA_HEADER) as u64);
            frame
        } else if outbound.fin_is_next() {
            outbound.fin = Fin::Sent;
            Frame::Fin { stream: id, offset: outbound.ring.end() }.encode()
        } else {
            return None;
        };
        self.take_turn(id);
        Some(frame)
    }
}
