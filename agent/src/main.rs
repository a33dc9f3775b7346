//! `moorline-agent`: reads its settings, runs until SIGTERM or SIGINT, leaves within five seconds.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use moorline_agent::config::{self, Config, Format, Log};
use moorline_agent::enroll::Enroll;
use moorline_agent::keeper::Keep;
use moorline_agent::rotate::RotateKey;
use moorline_agent::{Problem, agent};
use moorline_wire::Code;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// sysexits.h: something in the configuration cannot be used.
const EX_CONFIG: u8 = 78;

/// Connects this device to a Moorline broker, which can then open shells on it.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Every setting can also be given as MOORLINE_BROKER__URL=... in the environment."
)]
struct Arguments {
    /// A file with settings (TOML)
    #[arg(long, value_name = "FILE", env = "MOORLINE_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, such as broker.url=wss://broker.example
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print every effective setting with its origin, and stop
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach to the keeper of a session: what a broker runs on the device over SSH, for its own use
    Keep(Keep),
    /// Make this device known to a broker, and write its settings
    Enroll(Box<Enroll>),
    /// Give this device another key; the running agent shows it to the broker
    RotateKey(RotateKey),
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    match arguments.command.take() {
        Some(Command::Keep(keep)) => return keep.run(),
        Some(Command::Enroll(enroll)) => return told(enroll.run()),
        Some(Command::RotateKey(rotate)) => return told(rotate.run()),
        None => {}
    }
    // For little memory, not for speed. What sessions run gets them back.
    let _ = nix::sys::prctl::set_thp_disable(true);
    told(start(&arguments).map(|()| String::new()))
}

/// Prints what there is to tell, or the problem.
fn told(outcome: Result<String, Problem>) -> ExitCode {
    match outcome {
        Ok(text) => {
            // Who reads it may stop reading.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "moorline-agent: {} ({})", problem, problem.code);
            ExitCode::from(if problem.code == Code::BAD_CONFIG { EX_CONFIG } else { 1 })
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Problem> {
    let (config, layers) = Config::load(arguments.config.as_deref(), &arguments.set)?;
    if arguments.check {
        // Who reads it may stop reading.
        let _ = config::show(&layers, &mut std::io::stdout().lock());
        return Ok(());
    }
    start_logging(&config.log);
    // One thread: between a keystroke's arrival and its keeper nothing has to wake another one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Whether something has come is looked at after so many turns of tasks, however busy they are: of a
        // flood's, ten take a millisecond.
        .event_interval(10)
        .thread_name("agent")
        .build()
        .map_err(|err| Problem::new(Code::INTERNAL).saying("cannot start the runtime").because(err))?;
    let ended = runtime.block_on(async {
        let leave = leave_on_signals()?;
        // A task like any other: what wakes the future of `block_on` is a look at the kernel each time.
        // Owner: this, which waits for it.
        match tokio::spawn(agent::run(config, leave)).await {
            Ok(ended) => ended,
            Err(fault) => std::panic::resume_unwind(fault.into_panic()),
        }
    });
    // Whatever still runs is past its limit.
    runtime.shutdown_background();
    ended
}

fn start_logging(log: &Log) {
    // `Config` has parsed the filter before.
    let filter = EnvFilter::new(&log.filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match log.format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().boxed(),
    };
    // Below INFO, libraries write down what they carry: keys, tokens, frames. Whatever the filter says,
    // that stays out.
    let harmless = filter_fn(|of| *of.level() <= Level::INFO || of.target().starts_with("moorline"));
    tracing_subscriber::registry().with(harmless).with(filter).with(lines).init();
}

/// Cancelled at the first SIGTERM or SIGINT. A second one finds the default: it ends the process.
fn leave_on_signals() -> Result<CancellationToken, Problem> {
    let trouble = |err| Problem::new(Code::INTERNAL).saying("cannot listen for signals").because(err);
    let mut terminate = signal(SignalKind::terminate()).map_err(trouble)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(trouble)?;
    let leave = CancellationToken::new();
    let told = leave.clone();
    // Owner: the runtime; it listens as long as the process lives.
    // Owner: the runtime, which `start` shuts down.
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(1);
            }
            tracing::info!("leaving");
            told.cancel();
        }
    });
    Ok(leave)
}
