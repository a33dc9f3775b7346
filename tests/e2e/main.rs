//! End to end: a real broker, real agents, a real OpenSSH, one scenario per function. What can be
//! asked of both kinds of device is asked of both.

mod breaks;
mod ca;
mod devices;
mod endings;
mod keys;
mod link;
mod observe;
mod operate;
mod people;
mod provider;
mod refusals;
mod requests;
mod secure;
mod shell;
mod start;
mod viewers;
