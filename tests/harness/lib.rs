//! What the end-to-end tests stand on: real processes in a folder of their own, and everything
//! that a test does to them.
//!
//! In reading order:
//!
//! - [`stage`]: the folder and the logs of one test; when it ends, the logs are read for what nobody announced
//! - [`process`]: a program that is killed and reaped when its guard goes
//! - [`broker`], [`agent`], [`sshd`]: the three programs, each on a port and in a folder of its own
//! - [`store`]: what may befall the broker's store: locks, full disks
//! - [`impostor`]: a device that is not what it says, or that sends what it should not
//! - [`relay`]: the network between them, which can be cut, stalled, slowed and sliced, and a slow line
//! - [`terminal`]: a person's terminal without a browser, and [`raw`], one that breaks the rules
//! - [`events`]: what changes, as a page is told it
//! - [`secure`]: certificates, and those who check them
//! - [`collector`], [`manager`]: who takes the traces, and who is told that a program is ready
//! - [`figures`]: what a broker counts; [`signs`]: which of it tells of which fault
//! - [`inspect`]: processes, file descriptors and memory, as `/proc` tells them
//! - [`init`]: the process above a suite, which ends whatever it leaves behind
//! - [`wait`]: waiting for an event, never for a time
//!
//! Random choices come from [`seed`], which is printed, and set by `TESTS_SEED`.

pub mod agent;
pub mod broker;
pub mod collector;
pub mod events;
pub mod figures;
pub mod impostor;
pub mod init;
pub mod inspect;
pub mod manager;
pub mod process;
pub mod provider;
pub mod raw;
pub mod relay;
pub mod secure;
pub mod signs;
pub mod sshd;
pub mod stage;
pub mod store;
pub mod terminal;
pub mod wait;
pub mod world;

pub use agent::Agent;
pub use broker::Broker;
pub use collector::Collector;
pub use manager::Manager;
pub use relay::{Line, Plan, Relay, Slow};
pub use secure::{Authority, Secure};
pub use sshd::Sshd;
pub use stage::{Stage, play};
pub use terminal::Terminal;
pub use world::{Device, Kind, World};

/// Makes a test of each of these functions for each kind of device: `async fn(&Stage, Kind)`.
#[macro_export]
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::play(async |stage| super::$name(stage, $crate::Kind::Embedded).await).await;
            })*
        }
        mod openssh {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::play(async |stage| super::$name(stage, $crate::Kind::OpenSsh).await).await;
            })*
        }
    };
}

/// Makes a test of each of these functions: `async fn(&Stage)`.
#[macro_export]
macro_rules! once {
    ($($name:ident,)*) => {
        mod once {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::play(async |stage| super::$name(stage).await).await;
            })*
        }
    };
}

/// The seed of this run's random choices, printed so that a failure can be had again.
pub fn seed() -> u64 {
    let seed = match std::env::var("TESTS_SEED") {
        Ok(text) => text.parse().expect("TESTS_SEED is a number"),
        Err(_) => rand::random(),
    };
    eprintln!("seed: TESTS_SEED={seed}");
    seed
}
