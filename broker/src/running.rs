//! Whether the process before this one, on the same data, ended by itself.
//!
//! A file stands in `data_dir` while a broker runs. Whoever finds it there at its start follows a
//! process that was killed, crashed, or lost its power.

use std::path::{Path, PathBuf};

use crate::store::private_file;

/// This process's file.
#[derive(Debug)]
pub struct Running {
    path: PathBuf,
    /// The process before this one did not end by itself.
    pub after_a_crash: bool,
}

impl Running {
    /// The broker begins to run. Its folder must be its own already.
    pub fn begin(folder: &Path) -> Self {
        let path = folder.join("running");
        let after_a_crash = path.exists();
        if let Err(e) = private_file(&path) {
            tracing::warn!(error = %e, "the next start will not know whether this process crashed");
        }
        Self { path, after_a_crash }
    }

    /// The broker has ended in good order.
    pub fn end(&self) {
        if let Err(e) = std::fs::remove_file(&self.path) {
            tracing::debug!(error = %e, "this end will be taken for a crash");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_ended_in_good_order_is_no_crash() {
        let folder = tempfile::tempdir().unwrap();
        let first = Running::begin(folder.path());
        assert!(!first.after_a_crash);
        first.end();
        // Killed: nobody calls `end`.
        assert!(!Running::begin(folder.path()).after_a_crash);
        let after = Running::begin(folder.path());
        assert!(after.after_a_crash);
        after.end();
        assert!(!Running::begin(folder.path()).after_a_crash);
    }
}
