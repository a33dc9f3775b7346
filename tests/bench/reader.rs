//! How fast a client takes what comes.

use std::time::{Duration, Instant};

use crate::pause::pause;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    pace: Option<Pace>,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes_per_s: f64,
    /// When everything that was taken so far ought to have been taken.
    due: Instant,
}

impl Reader {
    /// Takes everything as soon as it comes.
    pub fn fast() -> Self {
        Self { pace: None }
    }

    /// Takes so many bytes in a second, about what a browser's terminal parses when that is 5 MB.
    pub fn slow(bytes_per_s: f64) -> Self {
        Self { pace: Some(Pace { bytes_per_s, due: Instant::now() }) }
    }

    /// Takes as long as so many bytes take. Time in which nothing came is not made up for.
    pub fn takes(&mut self, bytes: usize) {
        let Some(pace) = &mut self.pace else { return };
        let now = Instant::now();
        pace.due = pace.due.max(now) + Duration::from_secs_f64(bytes as f64 / pace.bytes_per_s);
        pause(pace.due.saturating_duration_since(now));
    }
}
