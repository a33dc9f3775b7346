//! Who sends next, and how much may be under way.
//!
//! Whatever has been handed to the transport stands before the next keystroke, wherever on the
//! way it queues. So an interactive stream goes ahead, until [`AHEAD_MAX`] bytes of it are
//! unacknowledged: then it prints more than anybody reads, and is treated like bulk. Bulk goes in
//! small frames, only while nobody who goes ahead has anything to send, and only until
//! `Pace::cap` bytes of all streams together are unacknowledged.
//!
//! The cap follows the round trip of pings that are sent while it holds somebody back: they stand
//! in the same queues. Such a cap moves about `cap / took` bytes per second, so `cap * aim / took`
//! is the cap with which the same line would take the time that we aim at: a little over the
//! lowest round trip seen, so that the line is used and no queue is felt. (A ping is answered with
//! every acknowledgement that is due, so what is unacknowledged is under way and does not linger.)

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::StreamId;

/// The longest DATA frame of a stream that goes ahead while the line is slow or unknown: 16 KiB is 1.3 ms at
/// 100 Mbit/s.
pub(super) const FRAME_DATA_MAX: usize = 16 * 1024;

/// How much of an interactive stream goes ahead: a screen full of colours, and what may have
/// arrived without being acknowledged.
pub(super) const AHEAD_MAX: u64 = 48 * 1024;

/// The longest DATA frame of bulk while the line is slow or unknown: 1.6 ms at 20 Mbit/s.
const FRAME_BULK_MIN: usize = 4 * 1024;

/// The longest DATA frame, on a line that carries it in less than [`FRAME_BULK_TIME`]: an SSH packet with 32 KiB of
/// data. Each frame wakes everybody on its way once.
const FRAME_BULK_MAX: usize = 33 * 1024;

/// No bulk frame takes longer than this at the rate seen.
const FRAME_BULK_TIME: Duration = Duration::from_millis(2);

/// What bulk may have under way at first, and at the least: four acknowledgements' worth.
const CAP_START: u64 = 64 * 1024;

/// We aim at 1.25 times the lowest round trip and this: a queue of 5 ms is not felt.
const QUEUE_NOT_FELT: Duration = Duration::from_millis(5);

/// The line is measured at most this often while somebody is held back.
const PROBE_EVERY: Duration = Duration::from_millis(20);

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

    pub(super) fn give_back(&mut self) {
        self.queue.shrink_to_fit();
    }
}

/// How much may be under way on a link before bulk has to wait.
#[derive(Debug)]
pub(super) struct Pace {
    cap: u64,
    cap_max: u64,
    in_flight: u64,
    /// The cap held somebody back since it was last judged.
    held_back: bool,
    lowest: Lowest,
    probe: Option<Probe>,
    /// Not to be probed again before.
    probe_at: Option<Instant>,
    /// How many bytes were ever acknowledged.
    acknowledged: u64,
    frame_max: usize,
}

/// A ping that was sent to see what the cap does.
#[derive(Debug)]
struct Probe {
    nonce: u64,
    /// The cap and how much was acknowledged when it was sent.
    cap: u64,
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
            probe_at: None,
            acknowledged: 0,
            frame_max: FRAME_BULK_MIN,
        }
    }

    /// Whether a frame of bulk may go out now.
    pub(super) fn may_send(&mut self) -> bool {
        let may = self.in_flight < self.cap;
        self.held_back |= !may;
        may
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// The same for a stream that goes ahead.
    pub(super) fn frame_max_ahead(&self) -> usize {
        self.frame_max.max(FRAME_DATA_MAX)
    }

    /// So many bytes went out.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.in_flight += bytes;
    }

    /// So many bytes were acknowledged.
    pub(super) fn acknowledged(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.acknowledged += bytes;
    }

    /// A stream is forgotten with so much of it under way.
    pub(super) fn forget(&mut self, in_flight: u64) {
        self.in_flight = self.in_flight.saturating_sub(in_flight);
    }

    /// A new transport: nothing is under way, and nothing is known of the line.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.cap_max);
    }

    /// Whether a ping is to be sent to see what the cap does.
    pub(super) fn wants_probe(&self, now: Instant) -> bool {
        self.held_back && self.probe.is_none() && self.probe_at.is_none_or(|at| at <= now)
    }

    /// When it is time, makes the next probe due; it goes out when the transport has room for it.
    pub(super) fn tick(&mut self, now: Instant) {
        self.probe_at.take_if(|at| *at <= now);
    }

    /// When a probe is to be sent that may not be sent yet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.probe_at.filter(|_| self.held_back && self.probe.is_none())
    }

    /// That ping was sent.
    pub(super) fn probed(&mut self, nonce: u64) {
        self.probe = Some(Probe { nonce, cap: self.cap, acknowledged: self.acknowledged });
    }

    /// A ping took this long.
    pub(super) fn round_trip(&mut self, now: Instant, nonce: u64, took: Duration) {
        let took = took.max(Duration::from_micros(1));
        let new_span = self.lowest.add(now, took);
        if let Some(probe) = self.probe.take_if(|probe| probe.nonce <= nonce) {
            self.judge(&probe, took);
            // What it changed is to be seen before the next.
            self.probe_at = Some(now + took.max(PROBE_EVERY));
        }
        if new_span {
            self.cap = CAP_START.min(self.cap_max);
        }
    }

    fn judge(&mut self, probe: &Probe, took: Duration) {
        if std::mem::take(&mut self.held_back) {
            let aim = self.lowest.get().unwrap_or(took) * 5 / 4 + QUEUE_NOT_FELT;
            let fits = probe.cap as f64 * aim.as_secs_f64() / took.as_secs_f64();
            // No measurement is trusted so far as to more than halve or double anything.
            let fits = (fits as u64).clamp(self.cap / 2, self.cap * 2);
            self.cap = fits.max(CAP_START).min(self.cap_max);
        }
        let rate = (self.acknowledged - probe.acknowledged) as f64 / took.as_secs_f64();
        let in_time = (rate * FRAME_BULK_TIME.as_secs_f64()) as usize;
        self.frame_max = in_time.clamp(FRAME_BULK_MIN, FRAME_BULK_MAX);
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
