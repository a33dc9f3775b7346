//! What a terminal shows, kept so that it can be shown again: `avt` for screen, scrollback and
//! most modes, and a small tracker for the modes that avt does not know.
//!
//! - `tokens`: splits the program's output into text and whole control sequences
//! - `modes`: paste, mouse, focus, cursor and keypad modes, and the title
//! - `blanks`: takes the padding of avt's rows out of its dump
//! - `picture`: the sequences that bring all of it back, for avt's reader as for xterm.js
//!
//! What a terminal was asked to do beyond that is not kept: hyperlinks, changed palettes, images.
//! Synchronized output is never on in a snapshot, or the screen would stand still.

mod blanks;
mod modes;
mod picture;
mod tokens;

use std::fmt;

use avt::Terminal;

use self::modes::Modes;
use self::tokens::{Token, Tokens};

/// How many lines that left the screen are kept: 0.9 MiB of memory at 80 columns.
pub const SCROLLBACK_LINES: usize = 400;

/// The longest snapshot. Scrollback is left out first, then colours, then the text.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// A terminal that nobody looks at, fed with everything the program writes.
pub struct Screen {
    terminal: Terminal,
    modes: Modes,
    tokens: Tokens,
}

impl Screen {
    /// A terminal that was just switched on.
    pub fn new(cols: u16, rows: u16) -> Self {
        Self::with_scrollback(cols, rows, SCROLLBACK_LINES)
    }

    /// The same, with another number of lines kept.
    pub fn with_scrollback(cols: u16, rows: u16, lines: usize) -> Self {
        let (cols, rows) = (usize::from(cols.max(2)), usize::from(rows.max(1)));
        let terminal =
            Terminal::with_scrollback(cols, rows, Some(lines)).expect("both sides are at least one");
        Self { terminal, modes: Modes::default(), tokens: Tokens::default() }
    }

    /// Takes what the program wrote, split anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { terminal, modes, tokens } = self;
        tokens.feed(bytes, |token| match token {
            Token::Text(text) => terminal.feed(text),
            Token::Sequence(sequence) => {
                modes.saw(sequence);
                picture::feed_sequence(terminal, sequence);
            }
            // avt does nothing with them.
            Token::Command(command) => modes.told(command),
        });
    }

    /// The driver has sized the terminal.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.terminal.resize(usize::from(cols.max(2)), usize::from(rows.max(1)));
    }

    /// Escape sequences that rebuild both buffers, cursor, title and all modes on a terminal of
    /// this size that was just reset, and the beginning of a sequence that is not yet complete.
    pub fn snapshot(&self) -> Vec<u8> {
        let modes = self.modes.restore();
        let unfinished = self.tokens.unfinished();
        let room = SNAPSHOT_BYTES_MAX.saturating_sub(modes.len() + unfinished.len());
        let mut snapshot = modes.into_bytes();
        snapshot.extend_from_slice(picture::of(&self.terminal, room).as_bytes());
        snapshot.extend_from_slice(&unfinished);
        snapshot
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        let (cols, rows) = self.terminal.size();
        (u16::try_from(cols).unwrap_or(u16::MAX), u16::try_from(rows).unwrap_or(u16::MAX))
    }

    /// What stands on the screen, a string for each row, without trailing blanks.
    pub fn text(&self) -> Vec<String> {
        self.terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    /// Where the cursor is, column and row from 0, and whether it shows.
    pub fn cursor(&self) -> (usize, usize, bool) {
        let cursor = self.terminal.cursor();
        (cursor.col, cursor.row, cursor.visible)
    }

    /// The title that the program has set.
    pub fn title(&self) -> &str {
        self.modes.title()
    }
}

impl fmt::Debug for Screen {
    /// Says nothing of what stands on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("size", &self.size()).finish_non_exhaustive()
    }
}
