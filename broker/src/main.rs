//! Moorline's broker: devices dial in, people open shells on them.
//!
//! In reading order: [`app`] puts the parts together and takes them apart again; [`http`] lists
//! every route; [`user`] serves a browser's terminal, [`session`] an SSH session, [`device`] a
//! device's link; [`store`] keeps what outlives the process. Everybody may use [`config`],
//! [`metrics`], [`clock`], [`actor`], [`supervise`] and [`problem`].

mod actor;
mod ca;
mod clock;
mod config;
mod device;
mod metrics;
mod problem;
mod session;
mod socket;
mod store;
mod supervise;
mod user;

fn main() {}
