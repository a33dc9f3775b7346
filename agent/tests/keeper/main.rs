//! Keepers as real processes, attached to over plain pipes and over real sshds.

#![allow(clippy::unwrap_used, reason = "a failed test is meant to panic")]

mod courtesy;
mod device;
mod endings;
mod limits;
mod resume;
mod ssh;
mod takes;
