//! What is measured in time, memory or processes: these tests run one at a time, with the machine
//! to themselves.

mod leaks;
mod line;
mod quick;
mod up;
