//! The only module that knows what time it is and how to wait.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::sshd::unchecked;

/// Something took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} took longer than {limit:?}")]
pub struct TooLate {
    /// What was waited for.
    pub what: &'static str,
    /// How long.
    pub limit: Duration,
}

impl From<TooLate> for std::io::Error {
    fn from(late: TooLate) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, late)
    }
}

/// The monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, seconds since 1970; a board without a battery may be far off.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The monotonic time as all programs of this machine have it.
pub fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

/// The time since the machine was started, that in which it slept included.
pub fn since_boot() -> Duration {
    duration(clock_gettime(ClockId::Boottime))
}

fn duration(time: Timespec) -> Duration {
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Waits for this, but not longer than that.
pub async fn within<T>(
    limit: Duration,
    what: &'static str,
    io: impl Future<Output = T>,
) -> Result<T, TooLate> {
    tokio::time::timeout(limit, io).await.map_err(|_| TooLate { what, limit })
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Lets time pass where there is no runtime: the whole thread waits.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn stand_still(duration: Duration) {
    std::thread::sleep(duration);
}

/// A deadline that moves with every key and is seldom reached. tokio's timer wakes its own thread whenever
/// it is set to an earlier time, and goes to sleep and wakes once more; this one costs one call.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    set: Option<Instant>,
}

impl Alarm {
    /// One that is not set; must be called within the runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer: unchecked::watch(timer)?, set: None })
    }

    /// It is to ring then, or a little before: an alarm that is set to an earlier time stays.
    pub fn set(&mut self, at: Option<Instant>) {
        let now = now();
        let stays = match (self.set, at) {
            (Some(set), Some(at)) => now < set && set <= at,
            (None, None) => true,
            _ => false,
        };
        if stays {
            return;
        }
        self.set = at;
        // Zero would be never.
        let wait = at.map(|at| at.saturating_duration_since(now).max(Duration::from_nanos(1)));
        let wait = wait.unwrap_or(Duration::ZERO);
        let it_value = Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval, it_value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)
            .expect("a timer takes any time that is not negative");
    }

    /// Waits until it rings.
    pub async fn rings(&mut self) {
        // A timer that cannot be waited for is one that never rings: there is none such.
        if let Ok(mut ready) = self.timer.readable().await {
            ready.clear_ready();
            let mut times = [0; 8];
            let _ = rustix::io::read(self.timer.get_ref().as_fd(), &mut times);
            self.set = None;
        }
    }
}

/// Waits until then; for ever when there is no deadline.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
