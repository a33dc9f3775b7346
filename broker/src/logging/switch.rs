//! The filter of the log, which an administrator can change while the broker runs. What is changed so is gone
//! with the process: the next one begins with its settings.
//!
//! A process has one log, so this is the one place of the broker that is the same for all its parts.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use moorline_wire::Code;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::problem::Problem;

/// A filter names some modules; a longer one is a mistake.
const FILTER_BYTES_MAX: usize = 1024;

static SWITCH: OnceLock<Switch> = OnceLock::new();

struct Switch {
    handle: reload::Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<String>,
}

impl Switch {
    fn now(&self) -> MutexGuard<'_, String> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Now.
    pub now: String,
    /// After the next start.
    pub configured: String,
}

/// The log runs, with this filter.
pub(super) fn install(handle: reload::Handle<EnvFilter, Registry>, filter: &str) {
    let (configured, now) = (filter.to_owned(), Mutex::new(filter.to_owned()));
    // A second log of the same process was refused before.
    let _ = SWITCH.set(Switch { handle, configured, now });
}

/// Reads a filter; the text says what is wrong with it.
pub(super) fn parsed(filter: &str) -> Result<EnvFilter, String> {
    if filter.len() > FILTER_BYTES_MAX {
        return Err(format!("it is longer than {FILTER_BYTES_MAX} bytes"));
    }
    EnvFilter::try_new(filter).map_err(|e| e.to_string())
}

/// What is logged now, and what after the next start.
pub fn filter() -> Result<Filter, Problem> {
    let switch = running()?;
    Ok(Filter { now: switch.now().clone(), configured: switch.configured.clone() })
}

/// Logs by this filter from now on, until the process ends.
pub fn set_filter(filter: &str) -> Result<Filter, Problem> {
    let new = parsed(filter).map_err(|why| {
        let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
        Problem::new(Code::BAD_REQUEST).saying(format!(
            "This is no filter of a log: {why}. Give one such as info,moorline_broker::device=debug."
        ))
    })?;
    let switch = running()?;
    switch.handle.reload(new).map_err(|e| Problem::new(Code::INTERNAL).because(e))?;
    filter.clone_into(&mut switch.now());
    self::filter()
}

fn running() -> Result<&'static Switch, Problem> {
    let missing = || Problem::new(Code::INTERNAL).because(anyhow::anyhow!("the log was not started"));
    SWITCH.get().ok_or_else(missing)
}
