//! The program on the device: dials out to a broker over one WebSocket and serves shells.
//!
//! In reading order:
//!
//! - [`config`]: every setting, where it came from, and what is refused
//! - [`identity`]: who this device is, and the broker it belongs to
//! - [`connection`]: the WebSocket under the link, and how it comes back when it breaks
//! - [`enroll`]: how a device becomes known to a broker
//! - [`rotate`]: how it gets another key
//! - [`tunnel`]: a stream of the link to the system's own sshd
//! - [`sshd`]: the SSH server inside the agent, for a device that has none
//! - [`keeper`]: the process that owns a session's terminal and outlives the agent
//! - [`metrics`]: what it counts of itself, and how it tells
//! - [`service`]: what a service manager is told
//! - [`clock`]: the only module that knows what time it is
//!
//! The agent listens on no port, unless it is to tell its figures on this device. It opens no stream of its own: the broker does, and says towards
//! what. It holds no password and asks PAM nothing: who may log in is decided by a certificate of
//! the broker that this device was enrolled with, or by the login's own `authorized_keys`.

pub mod agent;
pub mod clock;
pub mod config;
pub mod connection;
pub mod enroll;
mod host_keys;
pub mod identity;
pub mod keeper;
pub mod metrics;
pub mod problem;
pub mod rotate;
pub mod service;
pub mod sshd;
pub mod tunnel;

pub use problem::Problem;
