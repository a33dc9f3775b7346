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
    /// Where lines begin: behind each CR LF, so that the cursor is in the first column. Counted from the first byte
    /// of all, of which so many are gone.
    lines: VecDeque<u64>,
    gone: u64,
    /// There are sequences among them, since they were none at all.
    coloured: bool,
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
        while let Some(length) = first_special(&self.bytes[self.known..]) {
            self.known += length;
            let rest = &self.bytes[self.known..];
            let harmless = match rest[0] {
                // Most lines end so.
                b'\r' if rest.get(1) == Some(&b'\n') => {
                    self.lines.push_back(self.gone + self.known as u64 + 2);
                    Some(2)
                }
                b'\n' => {
                    if self.known > 0 && self.bytes[self.known - 1] == b'\r' {
                        self.lines.push_back(self.gone + self.known as u64 + 1);
                    }
                    Some(1)
                }
                b'\r' | b'\t' => Some(1),
                ESC => match colours(rest) {
                    Colours::Whole(length) => {
                        self.coloured = true;
                        Some(length)
                    }
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
        let at = |line: usize| (self.lines[line] - self.gone) as usize;
        let (first, cut) = (at(0), at(surplus));
        let mut drawn = self.bytes[..first].to_vec();
        if self.coloured {
            colours_of(&self.bytes[first..cut], &mut drawn);
        }
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
        self.coloured &= !self.bytes.is_empty();
        self.gone += length as u64;
    }
}

/// A byte that does not simply print.
fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2)
}

/// So many bytes are looked at as one: the compiler makes vectors of them.
const AT_ONCE: usize = 32;

/// Where the first of those bytes is. All that a program writes goes through here.
fn first_special(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<AT_ONCE>();
    let whole = chunks.iter().enumerate().find_map(|(chunk, bytes)| Some(chunk * AT_ONCE + first_in(bytes)?));
    whole.or_else(|| {
        let mut chunk = [b' '; AT_ONCE];
        chunk[..rest.len()].copy_from_slice(rest);
        Some(chunks.len() * AT_ONCE + first_in(&chunk)?)
    })
}

fn first_in(bytes: &[u8; AT_ONCE]) -> Option<usize> {
    let mut flags = [0; AT_ONCE];
    flags.iter_mut().zip(bytes).for_each(|(flag, byte)| *flag = u8::from(is_special(*byte)));
    let words = flags.as_chunks::<8>().0.iter().map(|flags| u64::from_le_bytes(*flags));
    let (word, flags) = words.enumerate().find(|(_, flags)| *flags != 0)?;
    Some(word * 8 + flags.trailing_zeros() as usize / 8)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for length in 0..=3 * AT_ONCE {
            let mut bytes = vec![b'x'; length];
            assert_eq!(first_special(&bytes), None);
            for at in (0..length).rev() {
                for special in [b'\0', 0x1f, 0x7f, 0xc2] {
                    bytes[at] = special;
                    assert_eq!(first_special(&bytes), Some(at), "of {length}");
                }
            }
        }
        assert_eq!(first_special(&[0x20, 0x7e, 0x80, 0xc1, 0xc3, 0xff]), None);
    }
}
