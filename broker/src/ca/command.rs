//! `moorline-broker ca`: the CA of a broker that does not run is replaced.

use moorline_wire::Code;

use super::Ca;
use crate::app;
use crate::clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::store::{self, AuditRow, Store};
use crate::warden;

/// What `ca` was told.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(subcommand)]
    step: Step,
}

/// One step.
#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Makes the next CA. Devices are told of it as they connect, and trust both.
    Rotate,
    /// Tells which devices have not heard of it.
    Status,
    /// Makes the next CA the only one.
    Finish {
        /// Also when devices have not heard of it: they have to be enrolled anew.
        #[arg(long)]
        force: bool,
    },
}

/// Does the step; gives what to tell.
pub async fn run(command: &Command, config: &Config) -> Result<String, Problem> {
    // A broker that runs has the keys in its memory.
    let _folder = app::take_folder(&config.data_dir)?;
    let path = config.data_dir.join(store::FILE);
    let store = Store::open(&path, &config.timing, Metrics::new()).await?;
    let told = step(&command.step, config, &store).await;
    store.close().await;
    told
}

async fn step(step: &Step, config: &Config, store: &Store) -> Result<String, Problem> {
    match step {
        Step::Rotate => {
            Ca::rotate(&config.data_dir)?;
            store.add_audit(&[row("ca_rotate")]).await?;
            Ok("The next CA is made. Start the broker: devices hear of it as they connect. When `moorline-broker ca status` \
                names none any more, `ca finish` makes it the only one.\n"
                .to_owned())
        }
        Step::Status => {
            let ca = Ca::load_or_create(&config.data_dir)?;
            if !ca.is_rotating() {
                return Ok("The CA is not being replaced.\n".to_owned());
            }
            let missing = missing(&ca, store).await?;
            let count = missing.len();
            Ok(format!(
                "The CA is being replaced. Devices that have not heard of the next one: {count}\n{}",
                missing.concat()
            ))
        }
        Step::Finish { force } => {
            let missing = missing(&Ca::load_or_create(&config.data_dir)?, store).await?;
            if !missing.is_empty() && !force {
                return Err(Problem::new(Code::BAD_CONFIG).saying(format!(
                    "{} devices have not heard of the next CA and would have to be enrolled anew: {}. Let them connect, or \
                     add --force.",
                    missing.len(),
                    missing.iter().take(10).map(|line| line.trim()).collect::<Vec<_>>().join(", ")
                )));
            }
            Ca::finish(&config.data_dir)?;
            store.add_audit(&[row("ca_finish")]).await?;
            Ok("The next CA is the only one. Start the broker: devices forget the old one as they connect.\n"
                .to_owned())
        }
    }
}

/// A line for each device that has not heard of the next CA. Names are others' words: without control characters.
async fn missing(ca: &Ca, store: &Store) -> Result<Vec<String>, Problem> {
    let rows = store.have_not_heard(ca.generation()).await?;
    let line = |name: &str, id: &str| {
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        format!("  {name} ({id})\n")
    };
    Ok(rows.iter().map(|row| line(&row.name, &row.device)).collect())
}

fn row(what: &str) -> AuditRow {
    AuditRow {
        seq: 0,
        at: clock::wall(),
        who: warden::SELF.to_owned(),
        what: what.to_owned(),
        target: String::new(),
        address: String::new(),
        outcome: "done".to_owned(),
        request_id: String::new(),
    }
}
