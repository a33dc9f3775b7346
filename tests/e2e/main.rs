//! End to end: a real broker, real agents, a real OpenSSH, one scenario per function. What can be
//! asked of both kinds of device is asked of both.

mod breaks;
mod devices;
mod endings;
mod link;
mod observe;
mod operate;
mod people;
mod provider;
mod refusals;
mod requests;
mod shell;
mod start;
mod viewers;
