//! An endless program whose output shows by itself whether anything of it is lost, doubled or out of order.

use anyhow::{Result, ensure};

/// Counts for longer than any measure lasts, in lines of one length.
pub const PROGRAM: &str = "seq 1000000000 9999999999";

const FIRST: u64 = 1_000_000_000;

/// Reads what [`PROGRAM`] writes.
#[derive(Debug)]
pub struct Numbers {
    due: u64,
    line: Vec<u8>,
    /// After a gap the next number may be any that is higher, and the first line may have lost its beginning.
    after_a_gap: bool,
}

impl Numbers {
    /// Before the first number.
    pub fn new() -> Self {
        Self { due: FIRST, line: Vec::new(), after_a_gap: false }
    }

    /// What is missing was told.
    pub fn gap(&mut self) {
        self.line.clear();
        self.after_a_gap = true;
    }

    /// How many came in order.
    pub fn count(&self) -> u64 {
        self.due - FIRST
    }

    /// Takes more of it; fails where it is not what the program wrote.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for byte in bytes {
            match byte {
                b'\n' => self.line_ends()?,
                _ => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn line_ends(&mut self) -> Result<()> {
        let number = self
            .line
            .strip_suffix(b"\r")
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<u64>().ok());
        let right = match (number, self.after_a_gap) {
            (Some(number), false) => number == self.due,
            (Some(number), true) => number >= self.due,
            (None, _) => false,
        };
        // Of a line that a gap has cut, no number can be had.
        let cut = self.after_a_gap && self.line.len() < 11;
        ensure!(right || cut, "{:?} where {} was due", String::from_utf8_lossy(&self.line), self.due);
        if let (Some(number), false) = (number, cut) {
            (self.due, self.after_a_gap) = (number + 1, false);
        }
        self.line.clear();
        Ok(())
    }
}
