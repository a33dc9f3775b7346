//! The numbers of a link.

use std::time::Duration;

use super::frame::INITIAL_WINDOW;

/// The numbers of a link. Both ends may have different ones; credit makes them fit.
#[derive(Debug, Clone)]
pub struct Config {
    /// How much an interactive stream has under way in one direction: 256 KiB, twice the SSH
    /// window above it, and enough for 10 Mbit/s over 200 ms.
    pub window_interactive: u32,
    /// How much a bulk stream may come to have under way: 2 MiB, enough for 100 Mbit/s over
    /// 160 ms. Each begins with 256 KiB; all of a link together get four times this number.
    pub window_bulk_max: u32,
    /// How many streams may be open at once: 256, more shells than a device has people. The agent
    /// lets the broker have twice as many, for those that the broker has already forgotten.
    pub streams_max: usize,
    /// How often each end pings: 5 s, often enough to see within `dead_after` that three failed.
    pub ping_every: Duration,
    /// After how long without a byte people are told: 10 s, two pings unanswered.
    pub unstable_after: Duration,
    /// After how long without a byte the transport is closed: 15 s, three pings unanswered.
    pub dead_after: Duration,
    /// How long a link outlives its transport: 60 s, a router's restart or a change of network.
    pub resume_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_interactive: 256 * 1024,
            window_bulk_max: 2 * 1024 * 1024,
            streams_max: 256,
            ping_every: Duration::from_secs(5),
            unstable_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(15),
            resume_within: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// The same with every number brought to where the machine works: windows of at least
    /// [`INITIAL_WINDOW`], which the peer may use before it is told any, and at most 512 streams,
    /// so that all of them fit one RESUME.
    pub(super) fn within_bounds(mut self) -> Self {
        let lowest = INITIAL_WINDOW as u32;
        self.window_interactive = self.window_interactive.max(lowest);
        self.window_bulk_max = self.window_bulk_max.max(lowest);
        self.streams_max = self.streams_max.clamp(1, STREAMS_CEILING);
        self
    }
}

/// No link has more streams, whatever its configuration says.
pub(super) const STREAMS_CEILING: usize = 512;
