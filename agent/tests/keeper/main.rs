//! Keepers as real processes, attached to over plain pipes and over real sshds.

mod device;
mod endings;
mod limits;
mod resume;
mod ssh;
mod takes;
