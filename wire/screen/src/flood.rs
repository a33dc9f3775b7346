//! What of a flood nobody will ever see.
//!
//! A terminal that is given thousands of lines at once ends as if it had been given the last of them
//! only: the rest has left the screen and the scrollback. The emulator reads some 40 MB/s, a program
//! writes more than twice that, so those lines are not read. Left out is only what is sure to leave
//! nothing behind: text, line ends and tabs, and colours, which are read for what they leave.

/// What a byte means to the search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of a character that is printed, or a tab or a return.
    Text,
    LineEnd,
    Escape,
    /// The first byte of U+0080 to U+00BF, some of which are control characters.
    MayControl,
    Other,
}

const KINDS: [Kind; 256] = kinds();

const fn kinds() -> [Kind; 256] {
    let mut kinds = [Kind::Other; 256];
    let mut byte = 0x20;
    while byte < 256 {
        kinds[byte] = Kind::Text;
        byte += 1;
    }
    kinds[0x7f] = Kind::Other;
    kinds[0xc2] = Kind::MayControl;
    kinds[b'\t' as usize] = Kind::Text;
    kinds[b'\r' as usize] = Kind::Text;
    kinds[b'\n' as usize] = Kind::LineEnd;
    kinds[0x1b] = Kind::Escape;
    kinds
}

/// The plain beginning of some output, see [`Plain::of`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain<'a> {
    /// What leaves nothing behind but colours.
    pub(crate) unseen: &'a [u8],
    /// What is to be read as well, after it.
    pub(crate) seen: &'a [u8],
    /// What comes after, and may be anything.
    pub(crate) rest: &'a [u8],
}

impl<'a> Plain<'a> {
    /// Splits output that begins between two sequences. `lines`: how many are to be read.
    pub(crate) fn of(bytes: &'a [u8], lines: usize) -> Self {
        let (plain, rest) = bytes.split_at(plain_length(bytes));
        let (unseen, seen) = plain.split_at(beginning_of_last(plain, lines));
        Self { unseen, seen, rest }
    }
}

/// How much at the beginning is text, line ends and colours.
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match KINDS[usize::from(*byte)] {
            Kind::Text | Kind::LineEnd => at += 1,
            Kind::MayControl if bytes.get(at + 1).is_some_and(|next| *next >= 0xa0) => at += 1,
            Kind::Escape => match colour_length(&bytes[at..]) {
                Some(length) => at += length,
                None => break,
            },
            Kind::MayControl | Kind::Other => break,
        }
    }
    at
}

/// The length of a whole SGR sequence (ECMA-48 8.3.117) at the beginning.
fn colour_length(bytes: &[u8]) -> Option<usize> {
    const LENGTH_MAX: usize = 64;
    let parameters = bytes.strip_prefix(b"\x1b[")?;
    let is_parameter = |byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    let length = parameters.iter().take(LENGTH_MAX).take_while(|byte| is_parameter(byte)).count();
    (parameters.get(length) == Some(&b'm')).then_some(2 + length + 1)
}

/// Where the last so many lines begin: after a return and a line end, so that the column is known.
/// 0 if there are not more lines than that.
fn beginning_of_last(plain: &[u8], lines: usize) -> usize {
    let mut missing = lines;
    for at in (1..plain.len()).rev() {
        if plain[at] == b'\n' {
            if missing == 0 && plain[at - 1] == b'\r' {
                return at + 1;
            }
            missing = missing.saturating_sub(1);
        }
    }
    0
}

/// The colours in what nobody sees, one after the other.
pub(crate) fn colours(unseen: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = unseen;
    std::iter::from_fn(move || {
        let at = rest.iter().position(|byte| *byte == 0x1b)?;
        let length = colour_length(&rest[at..])?;
        let colour = &rest[at..at + length];
        rest = &rest[at + length..];
        Some(colour)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_seen_and_what_is_not_plain_ends_it() {
        let split = |bytes: &'static str| {
            let plain = Plain::of(bytes.as_bytes(), 2);
            [plain.unseen, plain.seen, plain.rest].map(|part| String::from_utf8_lossy(part).into_owned())
        };
        assert_eq!(split("a\r\nb\r\nc\r\nd"), ["a\r\n", "b\r\nc\r\nd", ""]);
        assert_eq!(split("a\r\nb\r\n"), ["", "a\r\nb\r\n", ""]);
        // Without a return the column is not known.
        assert_eq!(split("a\nb\r\nc\r\nd"), ["", "a\nb\r\nc\r\nd", ""]);
        assert_eq!(split("a\r\nb\r\nc\r\nd\x1b[Hx"), ["a\r\n", "b\r\nc\r\nd", "\x1b[Hx"]);
        assert_eq!(
            split("\x1b[1;38:5:1ma\r\né\r\nc\r\nd\u{85}"),
            ["\x1b[1;38:5:1ma\r\n", "é\r\nc\r\nd", "\u{85}"]
        );
        assert_eq!(split("\x1b[1"), ["", "", "\x1b[1"]);
    }

    #[test]
    fn colours_are_found_and_nothing_else() {
        let found: Vec<&[u8]> = colours(b"a\x1b[31mb\r\n\x1b[mc\r\n").collect();
        assert_eq!(found, [b"\x1b[31m".as_slice(), b"\x1b[m"]);
    }
}
