//! Ends the process when a thread of actors is stuck.
//!
//! A handler that blocks its thread stops every actor on it, their timers and kills included, and
//! nothing on that thread can notice. So another thread asks: each arbiter, each second. After
//! `timing.arbiter_stuck` without an answer the process aborts, to be started anew by its
//! service manager: what is kept outside of it survives that, as it survives any crash. The service
//! manager itself is told each second that all is well, as long as it is, so that it ends a process
//! whose watchdog is stuck, too (`WatchdogSec=`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use tracing::error;

use crate::clock;
use crate::metrics::Metrics;

/// How often each arbiter is asked.
const EVERY: Duration = Duration::from_secs(1);

/// The thread that asks. It ends when the last clone of this handle is dropped.
#[derive(Debug, Clone)]
pub struct Watchdog {
    watch: Sender<ArbiterHandle>,
    pulse: Pulse,
}

/// What the watchdog knows. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU32>);

impl Pulse {
    /// How many questions in a row the slowest arbiter has left unanswered: one is asked each second.
    pub fn unanswered(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Watchdog {
    /// Aborts the process when an arbiter has not answered for `limit`.
    pub fn start(limit: Duration, metrics: Metrics) -> std::io::Result<Self> {
        Self::start_with(limit, EVERY, metrics, || {
            error!("a thread of actors is stuck: aborting");
            std::process::abort();
        })
    }

    /// What it knows.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    fn start_with(
        limit: Duration,
        every: Duration,
        metrics: Metrics,
        stuck: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (watch, newcomers) = channel();
        let pulse = Pulse::default();
        let rounds = Rounds {
            limit,
            every,
            metrics,
            pulse: pulse.clone(),
            tell: sd_notify::watchdog_enabled().is_some(),
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            if rounds.ask_until_stuck(&newcomers) {
                stuck();
            }
        })?;
        Ok(Self { watch, pulse })
    }

    /// Watches the arbiter of the current thread from now on.
    pub fn watch_current(&self) {
        if let Some(arbiter) = Arbiter::try_current() {
            // The thread is gone only after it has called `stuck`.
            let _ = self.watch.send(arbiter);
        }
    }
}

struct Watched {
    arbiter: ArbiterHandle,
    /// Asked so often since it last answered.
    unanswered: Arc<AtomicU32>,
}

/// How the watchdog goes its rounds.
struct Rounds {
    limit: Duration,
    every: Duration,
    metrics: Metrics,
    pulse: Pulse,
    /// Whether a service manager wants to hear that all is well.
    tell: bool,
}

impl Rounds {
    /// `true`: an arbiter is stuck. `false`: nobody holds the watchdog any more.
    ///
    /// It counts questions, not time: a process that was stopped as a whole (SIGSTOP, a suspended
    /// machine) has asked nothing meanwhile, and is not stuck when it goes on.
    fn ask_until_stuck(&self, newcomers: &Receiver<ArbiterHandle>) -> bool {
        let unanswered_max = self.limit.as_millis().div_ceil(self.every.as_millis().max(1));
        let mut watched: Vec<Watched> = Vec::new();
        loop {
            match newcomers.recv_timeout(self.every) {
                Ok(arbiter) => watched.push(Watched { arbiter, unanswered: Arc::default() }),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => self.round(&mut watched),
            }
            if watched.iter().any(|one| u128::from(one.unanswered.load(Ordering::Relaxed)) > unanswered_max) {
                return true;
            }
        }
    }

    /// Looks who has answered the last question, and asks the next.
    fn round(&self, watched: &mut Vec<Watched>) {
        let unanswered = |one: &Watched| one.unanswered.load(Ordering::Relaxed);
        let most = watched.iter().map(unanswered).max().unwrap_or(0);
        self.pulse.0.store(most, Ordering::Relaxed);
        self.metrics.arbiters_silent(watched.iter().filter(|one| unanswered(one) > 0).count());
        // One that is late for a moment is none of the service manager's business.
        if self.tell
            && most <= 1
            && let Err(e) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog])
        {
            tracing::debug!(error = %e, "could not tell the service manager");
        }
        watched.retain(|one| ask(one, &self.metrics));
    }
}

/// `false`: the arbiter has ended, as arbiters do when the broker stops.
fn ask(one: &Watched, metrics: &Metrics) -> bool {
    let (unanswered, metrics, asked) = (one.unanswered.clone(), metrics.clone(), clock::now());
    unanswered.fetch_add(1, Ordering::Relaxed);
    one.arbiter.spawn_fn(move || {
        unanswered.store(0, Ordering::Relaxed);
        metrics.arbiter_answered(clock::now().saturating_duration_since(asked));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_blocks_is_found_and_one_that_ended_is_not() {
        let (tell, told) = channel();
        let system = actix::System::new();
        let metrics = Metrics::new();
        let counted = metrics.clone();
        let blocked = system.block_on(async {
            let watchdog = Watchdog::start_with(
                Duration::from_millis(80),
                Duration::from_millis(10),
                counted.clone(),
                move || {
                    let _ = tell.send(());
                },
            )
            .unwrap();
            let ended = Arbiter::new();
            let guard = watchdog.clone();
            ended.spawn_fn(move || guard.watch_current());
            ended.stop();
            ended.join().unwrap();
            let blocked = Arbiter::new();
            let (free, freed) = channel::<()>();
            let guard = watchdog.clone();
            blocked.spawn_fn(move || {
                guard.watch_current();
                let _ = freed.recv();
            });
            told.recv_timeout(Duration::from_secs(20)).expect("the blocked arbiter was found");
            drop(free);
            let (tell, told) = channel();
            blocked.spawn_fn(move || tell.send(()).unwrap());
            told.recv_timeout(Duration::from_secs(20)).expect("it answers again");
            blocked
        });
        blocked.stop();
        blocked.join().unwrap();
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("\nmoorline_arbiters_silent 1\n"), "{text}");
        assert!(!text.contains("\nmoorline_arbiter_delay_seconds_count 0\n"), "{text}");
    }
}
