//! `moorline-agent rotate-key`: gives this device another key, without a moment in which none counts.
//!
//! The new key is put beside the present one. The running agent finds it there, shows it to the broker in a
//! greeting that both keys sign, and puts it into the place of the old one when the broker has taken it. The
//! broker takes either until the new one is used, which is at once; from then on the old one is refused.

use std::path::PathBuf;
use std::time::Duration;

use moorline_wire::Code;

use crate::config::Config;
use crate::identity::StateDir;
use crate::{Problem, clock};

/// What `rotate-key` was told.
#[derive(Debug, clap::Args)]
pub struct RotateKey {
    /// The file with the settings of the agent
    #[arg(long, value_name = "FILE", env = "MOORLINE_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, such as state_dir=/var/lib/moorline-agent
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How long to wait until the broker has taken the new key
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// How often it is looked whether the running agent has done its part.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl RotateKey {
    /// Makes the new key and waits for the running agent; gives what to tell.
    pub fn run(&self) -> Result<String, Problem> {
        let (config, _) = Config::load(self.config.as_deref(), &self.set)?;
        let state = StateDir::open(&config.state_dir)?;
        if state.user_cas()?.keys.is_empty() {
            return Err(Problem::new(Code::NOT_ENROLLED)
                .saying("This device is not enrolled yet, so no broker knows its key. Enrol it first."));
        }
        let device = state.identity()?.device().clone();
        state.make_next_identity(&device)?;
        let began = clock::now();
        while clock::now().saturating_duration_since(began) < Duration::from_secs(self.wait) {
            if state.next_identity()?.is_none() {
                return Ok(format!(
                    "The broker has taken the new key of {device}. The old one is refused from now on.\n"
                ));
            }
            clock::stand_still(LOOK_EVERY);
        }
        Ok(format!(
            "The new key of {device} is made, and the old one still counts: the agent does not run, or does not reach \
             its broker. It shows the new key at its next connection.\n"
        ))
    }
}
