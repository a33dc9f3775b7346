//! Moorline's broker: devices dial in, people open shells on them.
//!
//! In reading order: [`app`] puts the parts together and takes them apart again; [`http`] lists
//! every route, over [`tls`] or without; [`user`] serves a browser's terminal, [`session`] an SSH session, [`device`] a
//! device's link; [`store`] and [`secret`] keep what outlives the process. [`identity`] knows who people are,
//! [`keys`] are those of devices that take no certificates, [`access`] decides what they may, [`warden`] sees to it, [`audit`] keeps what they did. Everybody may use
//! [`config`], [`metrics`], [`news`], [`trace`], [`clock`], [`actor`], [`supervise`], [`pipe`] and [`problem`].

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use moorline_wire::Code;

mod access;
mod actor;
mod app;
mod audit;
mod ca;
mod clock;
mod config;
mod device;
mod http;
mod id;
mod identity;
mod keys;
mod logging;
mod metrics;
mod news;
mod pipe;
mod problem;
mod readable;
mod running;
mod secret;
mod session;
mod socket;
mod store;
mod supervise;
#[cfg(test)]
mod testkit;
mod tls;
mod token;
mod trace;
mod user;
mod warden;

use config::{Layers, Loaded};
use problem::Problem;

/// Moorline's broker. Settings: defaults < file < environment (MOORLINE_TIMING__LINK_PING=2s) < --set.
#[derive(Debug, Parser)]
#[command(name = "moorline-broker", version)]
struct Args {
    /// A file with settings, as config/broker.toml explains them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, e.g. --set listen=127.0.0.1:8081. May be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print every setting with its value and where it comes from, and stop.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes a folder with settings and an install key, and prints a link with which the first
    /// administrator sets a password.
    Init(identity::first::Init),
    /// Replaces the SSH CA of a broker that does not run: rotate, then start it and wait until the devices have heard
    /// of the next CA, then finish.
    Ca(ca::command::Command),
}

fn main() -> ExitCode {
    // Thousands of small things that live long: a huge page for each few of them is mostly air. Where
    // the kernel does not know the call, nothing is lost but memory.
    let _ = nix::sys::prctl::set_thp_disable(true);
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("moorline-broker: {problem}");
            exit_code(problem.code)
        }
    }
}

fn run(args: Args) -> Result<(), Problem> {
    install_crypto()?;
    if let Some(Command::Init(init)) = &args.command {
        let told = actix_rt::System::new().block_on(identity::first::init(init))?;
        return print(&told);
    }
    let loaded = read_settings(&args)?;
    if let Some(Command::Ca(command)) = &args.command {
        let told = actix_rt::System::new().block_on(ca::command::run(command, &loaded.config))?;
        return print(&told);
    }
    if args.check {
        return print(&loaded.listing());
    }
    let config = Arc::new(loaded.config);
    // The log outlives everything that writes to it.
    let _log = logging::start(&config)?;
    actix_rt::System::new().block_on(app::run(config))
}

/// TLS and OTLP take their cryptography from here.
fn install_crypto() -> Result<(), Problem> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| {
        Problem::new(Code::INTERNAL)
            .saying("The cryptography could not be set up. This is a fault of Moorline: report it.")
    })
}

fn read_settings(args: &Args) -> Result<Loaded, Problem> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    config::load(&Layers { file: args.config.clone(), environment, set: args.set.clone() })
}

fn print(text: &str) -> Result<(), Problem> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| Problem::new(Code::INTERNAL).because(e))
}

/// 78 is `EX_CONFIG` of sysexits.h: a service manager need not try again.
fn exit_code(code: Code) -> ExitCode {
    if code == Code::BAD_CONFIG { ExitCode::from(78) } else { ExitCode::FAILURE }
}
