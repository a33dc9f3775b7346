//! Who sends next: turns among streams of a class, and how much bulk may be under way.
//!
//! Whatever has been handed to the transport stands before the next keystroke, wherever on the
//! way it queues. So bulk goes in small frames, only while no interactive stream has anything to
//! send, and only until `Pace::cap` bytes of it are unacknowledged. The cap follows the time that
//! bulk takes to be acknowledged: near the lowest round trip seen, nothing queues on the way and
//! the cap may grow; well above it, our own bytes are the queue and the cap must shrink.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::StreamId;

/// The longest DATA frame: 16 KiB is 1.3 ms at 100 Mbit/s.
pub(super) const FRAME_DATA_MAX: usize = 16 * 1024;

/// The longest DATA frame of bulk while the line is slow or unknown: 1.6 ms at 20 Mbit/s.
const FRAME_BULK_MIN: usize = 4 * 1024;

/// No bulk frame takes longer than this at the rate seen.
const FRAME_BULK_TIME: Duration = Duration::from_millis(2);

/// What bulk may have under way at first, and at the least: four acknowledgements' worth.
const CAP_START: u64 = 64 * 1024;

/// Grow while bulk is acknowledged within 1.25 times the lowest round trip and this: a queue of
/// 5 ms is not felt.
const QUEUE_NOT_FELT: Duration = Duration::from_millis(5);

/// Shrink when it takes more than 1.5 times the lowest round trip and this.
const QUEUE_FELT: Duration = Duration::from_millis(10);

/// The lowest round trip is that of this long and of as long before: routes change. At each turn
/// bulk starts small again, so that the new lowest is not one of our own queue.
const LOWEST_FOR: Duration = Duration::from_secs(60);

/// Streams in turn. Each stands in it at most once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: VecDeque<StreamId>,
}

impl Turns {
    pub(super) fn add(&mut self, stream: StreamId) {
        if !self.queue.contains(&stream) {
            self.queue.push_back(stream);
        }
    }

    pub(super) fn next(&mut self) -> Option<StreamId> {
        self.queue.pop_front()
    }

    pub(super) fn remove(&mut self, stream: StreamId) {
        self.queue.retain(|other| *other != stream);
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// How much bulk may be under way on a link.
#[derive(Debug)]
pub(super) struct Pace {
    cap: u64,
    cap_max: u64,
    in_flight: u64,
    /// The cap held bulk back since it was last judged.
    held_back: bool,
    lowest: Lowest,
    probe: Option<Probe>,
    /// How many bytes of bulk were ever acknowledged.
    acknowledged: u64,
    frame_max: usize,
}

/// One frame whose acknowledgement is timed.
#[derive(Debug)]
struct Probe {
    stream: StreamId,
    end: u64,
    at: Instant,
    acknowledged: u64,
}

/// The lowest round trip of late.
#[derive(Debug, Default)]
struct Lowest {
    since: Option<Instant>,
    now: Option<Duration>,
    before: Option<Duration>,
}

impl Pace {
    pub(super) fn new(cap_max: u64) -> Self {
        Self {
            cap: CAP_START.min(cap_max),
            cap_max,
            in_flight: 0,
            held_back: false,
            lowest: Lowest::default(),
            probe: None,
            acknowledged: 0,
            frame_max: FRAME_BULK_MIN,
        }
    }

    /// Whether a bulk frame may go out now.
    pub(super) fn may_send(&mut self) -> bool {
        let may = self.in_flight < self.cap;
        self.held_back |= !may;
        may
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// `bytes` more of a stream went out, up to its offset `end`.
    pub(super) fn sent(&mut self, now: Instant, stream: StreamId, end: u64, bytes: u64) {
        self.in_flight += bytes;
        if self.probe.is_none() {
            self.probe = Some(Probe { stream, end, at: now, acknowledged: self.acknowledged });
        }
    }

    /// `bytes` more of a stream were acknowledged, up to its offset `received`.
    pub(super) fn acknowledged(&mut self, now: Instant, stream: StreamId, received: u64, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.acknowledged += bytes;
        if let Some(probe) = self.probe.take_if(|p| p.stream == stream && p.end <= received) {
            let took = now.saturating_duration_since(probe.at);
            self.judge(now, took, self.acknowledged - probe.acknowledged);
        }
    }

    /// A stream is forgotten with so much of it under way.
    pub(super) fn forget(&mut self, stream: StreamId, in_flight: u64) {
        self.in_flight = self.in_flight.saturating_sub(in_flight);
        self.probe.take_if(|probe| probe.stream == stream);
    }

    /// A new transport: nothing is under way, and nothing is known of the line.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.cap_max);
    }

    /// A ping took this long.
    pub(super) fn round_trip(&mut self, now: Instant, took: Duration) {
        if self.lowest.add(now, took) {
            self.cap = CAP_START.min(self.cap_max);
        }
    }

    /// Bulk took this long to be acknowledged, in which time so much of it was.
    fn judge(&mut self, now: Instant, took: Duration, acknowledged: u64) {
        let lowest = self.lowest.get().unwrap_or(took);
        let held_back = std::mem::take(&mut self.held_back);
        // What was not held back may have waited for more bytes before it was acknowledged.
        if held_back && took > lowest * 3 / 2 + QUEUE_FELT {
            self.cap = (self.cap * 4 / 5).max(CAP_START);
        } else if held_back && took <= lowest * 5 / 4 + QUEUE_NOT_FELT {
            self.cap = self.cap * 3 / 2;
        }
        self.cap = self.cap.min(self.cap_max);
        let in_time = acknowledged as u128 * FRAME_BULK_TIME.as_micros() / took.as_micros().max(1);
        self.frame_max = (in_time.min(FRAME_DATA_MAX as u128) as usize).max(FRAME_BULK_MIN);
        self.round_trip(now, took);
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    #[cfg(test)]
    pub(super) fn cap(&self) -> u64 {
        self.cap
    }
}

impl Lowest {
    fn get(&self) -> Option<Duration> {
        [self.now, self.before].into_iter().flatten().min()
    }

    /// Takes a new measurement; says whether a new span of time began with it.
    fn add(&mut self, now: Instant, took: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        let turn = now.saturating_duration_since(since) >= LOWEST_FOR;
        if turn {
            self.since = Some(now);
            self.before = self.now.take();
        }
        self.now = Some(self.now.map_or(took, |lowest| lowest.min(took)));
        turn
    }
}
