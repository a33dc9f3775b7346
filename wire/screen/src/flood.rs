//! Output that waits to be drawn. Of a flood of lines nobody sees more than the last ones: what only
//! prints, scrolls and colours is kept back until it is enough to push everything out that was there
//! before, and what is pushed out by it is never drawn.

use std::collections::VecDeque;

/// More never waits, whatever it is: to draw it takes some milliseconds.
const WAITING_MAX: usize = 128 * 1024;
/// A longer sequence sets more than colours.
const COLOURS_MAX: usize = 64;

const ESC: u8 = 0x1b;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    bytes: Vec<u8>,
    /// So many of the bytes are known to do no more than print, scroll and colour.
    known: usize,
    /// Where lines begin in them: behind each CR LF, so that the cursor is in the first column.
    lines: VecDeque<usize>,
}

/// What the bytes are that wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All that is complete may wait longer.
    Waits,
    /// Behind what is known stands something else.
    Stops,
}

impl Flood {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.bytes.len() > WAITING_MAX
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Goes on through the bytes as far as they only print, scroll and colour.
    pub(crate) fn look(&mut self) -> Look {
        while let Some(length) = self.bytes[self.known..].iter().position(|byte| is_special(*byte)) {
            self.known += length;
            let rest = &self.bytes[self.known..];
            let harmless = match rest[0] {
                b'\n' => {
                    if self.known > 0 && self.bytes[self.known - 1] == b'\r' {
                        self.lines.push_back(self.known + 1);
                    }
                    Some(1)
                }
                b'\r' | b'\t' => Some(1),
                ESC => match colours(rest) {
                    Colours::Whole(length) => Some(length),
                    Colours::Begun => return Look::Waits,
                    Colours::None => None,
                },
                // The first byte of a C1 control character, or of one that is printed.
                0xc2 => match rest.get(1) {
                    Some(0x80..=0x9f) => None,
                    Some(_) => Some(1),
                    None => return Look::Waits,
                },
                _ => None,
            };
            let Some(length) = harmless else { return Look::Stops };
            self.known += length;
        }
        self.known = self.bytes.len();
        Look::Waits
    }

    /// The first line, which begins where the cursor is, and what of the colours of the following lines is
    /// still to be known, when only the last `lines` of them are to be drawn. The rest of these is gone.
    pub(crate) fn skip(&mut self, lines: usize) -> Option<Vec<u8>> {
        let surplus = self.lines.len().checked_sub(lines).filter(|surplus| *surplus > 0)?;
        let (first, cut) = (self.lines[0], self.lines[surplus]);
        let mut drawn = self.bytes[..first].to_vec();
        colours_of(&self.bytes[first..cut], &mut drawn);
        self.lines.drain(..surplus);
        self.forget(cut);
        Some(drawn)
    }

    /// What is known to be harmless, to be drawn now.
    pub(crate) fn take_known(&mut self) -> Vec<u8> {
        self.lines.clear();
        let known: Vec<u8> = self.bytes[..self.known].to_vec();
        self.forget(known.len());
        known
    }

    /// Everything up to the end of a line, to be drawn now.
    pub(crate) fn take_line(&mut self) -> Vec<u8> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        let line: Vec<u8> = self.bytes[..end.map_or(self.bytes.len(), |end| end + 1)].to_vec();
        self.lines.clear();
        self.forget(line.len());
        line
    }

    /// All of it, to be drawn now.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }

    fn forget(&mut self, length: usize) {
        self.bytes.drain(..length);
        self.known = self.known.saturating_sub(length);
        self.lines.iter_mut().for_each(|line| *line -= length);
    }
}

/// A byte that does not simply print.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f || byte == 0xc2
}

enum Colours {
    /// A whole sequence of this length.
    Whole(usize),
    /// One that may still become one.
    Begun,
    None,
}

/// Whether the bytes begin with a sequence that sets colours: ESC [ numbers m.
fn colours(bytes: &[u8]) -> Colours {
    for (index, byte) in bytes.iter().enumerate().take(COLOURS_MAX) {
        match (index, byte) {
            (0, _) | (1, b'[') => {}
            (2.., b'0'..=b'9' | b';' | b':') => {}
            (2.., b'm') => return Colours::Whole(index + 1),
            _ => return Colours::None,
        }
    }
    if bytes.len() < COLOURS_MAX { Colours::Begun } else { Colours::None }
}

/// The sequences in these harmless bytes, from the last one on that begins with a return to no colours.
fn colours_of(bytes: &[u8], out: &mut Vec<u8>) {
    let mut from = bytes.len();
    while let Some(at) = bytes[..from].iter().rposition(|byte| *byte == ESC) {
        from = at;
        if matches!(bytes[at..], [_, _, b'm', ..] | [_, _, b'0', b'm' | b';', ..]) {
            break;
        }
    }
    while let Some(next) = bytes[from..].iter().position(|byte| *byte == ESC) {
        let Colours::Whole(length) = colours(&bytes[from + next..]) else { return };
        out.extend_from_slice(&bytes[from + next..][..length]);
        from += next + length;
    }
}
