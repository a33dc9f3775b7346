//! The log and the traces.
