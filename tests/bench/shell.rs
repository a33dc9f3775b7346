//! A shell at the other end of a line: its prompt, its commands, and the marks that they print.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::line::Line;
use crate::reader::Reader;

/// Within which time a shell does what it is told.
pub const SOON: Duration = Duration::from_secs(30);
/// How much of what came is told when something did not.
const TOLD_BYTES: usize = 400;

/// Printed by programs, and in no command line: the shell puts the marks together from two parts.
pub const GO: &[u8] = b"<go>";
/// Follows the last byte of a bulk.
pub const END: &[u8] = b"<end>";
/// The prompt, once the shell is prepared.
pub const PROMPT: &[u8] = b"<prompt>";

/// See the module.
pub struct Shell {
    /// How it is reached.
    pub line: Box<dyn Line>,
    /// What came behind the last thing that was looked for.
    rest: Vec<u8>,
    last: Vec<u8>,
}

/// Where a mark was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// How many bytes came up to its end since the last thing that was looked for.
    pub bytes: u64,
    /// When it was there.
    pub at: Instant,
}

impl Shell {
    /// What is behind this line.
    pub fn on(line: Box<dyn Line>) -> Self {
        Self { line, rest: Vec::new(), last: Vec::new() }
    }

    /// Waits for the first prompt, as the login has it.
    pub fn prompt(&mut self) -> Result<Found> {
        let mut text = Vec::new();
        self.until(SOON, Reader::fast(), "a prompt", |piece| {
            text.extend_from_slice(piece);
            ends_with_prompt(&text).then_some(piece.len())
        })
    }

    /// Gives it a prompt that is known.
    pub fn prepare(&mut self) -> Result<()> {
        self.types("unset HISTFILE PROMPT_COMMAND; bind 'set enable-bracketed-paste off'; PS1=\"$(printf '<%s>' prompt)\"")?;
        self.find(PROMPT, SOON, Reader::fast())?;
        Ok(())
    }

    /// Runs a command that writes its output as it is and reads each byte as it comes; its first output is
    /// behind this.
    pub fn runs_raw(&mut self, command: &str) -> Result<Found> {
        self.types(&format!("stty raw -echo; printf '<%s>' go; {command}"))?;
        self.find(GO, SOON, Reader::fast())
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) -> Result<()> {
        self.line.send(line.as_bytes())?;
        self.line.send(b"\r")
    }

    /// Waits until these bytes came.
    pub fn find(&mut self, mark: &[u8], limit: Duration, reader: Reader) -> Result<Found> {
        let mut search = Search::of(mark);
        self.until(limit, reader, &String::from_utf8_lossy(mark), |piece| search.end_in(piece))
    }

    /// Takes what comes for so long, and until so many bytes came: a busy machine is slow to begin.
    pub fn reads_on(&mut self, time: Duration, least: u64, mut reader: Reader) -> Result<()> {
        let begun = Instant::now();
        let mut bytes = std::mem::take(&mut self.rest).len() as u64;
        while begun.elapsed() < time || bytes < least {
            ensure!(begun.elapsed() < time + SOON, "only {bytes} bytes of a flood came");
            let length = self.line.receive()?.len();
            bytes += length as u64;
            reader.takes(length);
            self.line.taken()?;
        }
        Ok(())
    }

    /// Takes what comes, piece by piece, until `look` says where in a piece the end is.
    fn until(
        &mut self,
        limit: Duration,
        mut reader: Reader,
        what: &str,
        mut look: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Found> {
        let give_up = Instant::now() + limit;
        let mut bytes = 0;
        let mut kept = std::mem::take(&mut self.rest);
        loop {
            let received = kept.is_empty();
            let piece = if received { self.line.receive()? } else { &kept };
            let (length, at) = (piece.len(), Instant::now());
            remember(&mut self.last, piece);
            let found = if length > 0 { look(piece) } else { None };
            if let Some(end) = found {
                self.rest = piece[end..].to_vec();
            }
            kept.clear();
            if received {
                reader.takes(length);
                self.line.taken()?;
            }
            if let Some(end) = found {
                return Ok(Found { bytes: bytes + end as u64, at });
            }
            bytes += length as u64;
            ensure!(
                at < give_up,
                "waited {limit:?} for {what}; last came {:?}",
                String::from_utf8_lossy(&self.last)
            );
        }
    }

    /// Types one byte to a program that sends it back, and says how long that took.
    pub fn echo(&mut self, byte: u8) -> Result<Duration> {
        let sent = Instant::now();
        self.line.send(&[byte])?;
        let give_up = sent + SOON;
        loop {
            let came = self.line.receive()?;
            let took = sent.elapsed();
            if !came.is_empty() {
                ensure!(came == [byte], "typed {:?}, and {:?} came back", char::from(byte), came);
                self.line.taken().context("say that a key was shown")?;
                return Ok(took);
            }
            ensure!(Instant::now() < give_up, "a key did not come back");
        }
    }
}

/// Whether a screen with this text ends with a prompt. A restored screen has its cursor moved behind it.
fn ends_with_prompt(text: &[u8]) -> bool {
    let mut shown = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            // ECMA-48: a control sequence ends with a byte of 0x40 to 0x7E.
            0x1b => drop(bytes.by_ref().skip(1).find(|byte| (0x40..=0x7e).contains(byte))),
            b' ' | b'\r' | b'\n' => {}
            byte => shown.push(byte),
        }
    }
    matches!(shown.last(), Some(b'$' | b'#' | b'%' | b'>'))
}

fn remember(last: &mut Vec<u8>, piece: &[u8]) {
    last.extend_from_slice(&piece[piece.len().saturating_sub(TOLD_BYTES)..]);
    let excess = last.len().saturating_sub(TOLD_BYTES);
    last.drain(..excess);
}

/// Looks for a mark that may lie across pieces. The mark's first byte stands nowhere else in it.
struct Search<'a> {
    mark: &'a [u8],
    matched: usize,
}

impl<'a> Search<'a> {
    fn of(mark: &'a [u8]) -> Self {
        Self { mark, matched: 0 }
    }

    /// Where in this piece the mark ends.
    fn end_in(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.matched == 0 {
                // This looks at many bytes at once.
                if !piece[at..].contains(&self.mark[0]) {
                    return None;
                }
                at += piece[at..].iter().position(|byte| *byte == self.mark[0])?;
            }
            let byte = *piece.get(at)?;
            if byte == self.mark[self.matched] {
                self.matched += 1;
                at += 1;
            } else {
                self.matched = 0;
            }
            if self.matched == self.mark.len() {
                self.matched = 0;
                return Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_seen_through_what_moves_the_cursor() {
        assert!(ends_with_prompt(b"\x1b[?2004hroot@vm:~# "));
        assert!(ends_with_prompt(b"\x1b[?2004hroot@vm:~#\r\n\x1b[0m\x1b[1;12H\x1b[0m"));
        assert!(!ends_with_prompt(b"\x1b[?2004h"));
    }

    #[test]
    fn a_mark_is_found_across_pieces_and_behind_its_own_beginning() {
        let mut search = Search::of(b"<go>");
        assert_eq!(search.end_in(b"y\r\n<g<"), None);
        assert_eq!(search.end_in(b"g"), None);
        assert_eq!(search.end_in(b"o>rest"), Some(2));
        assert_eq!(Search::of(b"<go>").end_in(b"no mark"), None);
    }
}
