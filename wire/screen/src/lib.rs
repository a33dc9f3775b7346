//! What a terminal shows, kept so that it can be shown again: `avt` for screen, scrollback and
//! most modes, and a small tracker for the modes that avt does not know.
//!
//! - `flood`: keeps back what only scrolls, for what it pushes out need not be drawn
//! - `tokens`: splits the program's output into text and whole control sequences
//! - `modes`: paste, mouse, focus, cursor and keypad modes, and the title
//! - `blanks`: takes the padding of avt's rows out of its dump
//! - `picture`: the sequences that bring all of it back, for avt's reader as for xterm.js
//!
//! What a terminal was asked to do beyond that is not kept: hyperlinks, changed palettes, images.
//! Synchronized output is never on in a snapshot, or the screen would stand still.

mod blanks;
mod flood;
mod modes;
mod picture;
mod tokens;

use std::fmt;

use avt::Terminal;

use self::flood::{Flood, Look};
use self::modes::Modes;
use self::tokens::{Token, Tokens};

/// How many lines that left the screen are kept: 0.9 MiB of memory at 80 columns.
pub const SCROLLBACK_LINES: usize = 400;

/// The longest snapshot. Scrollback is left out first, then colours, then the text.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// A terminal that nobody looks at, fed with everything the program writes.
///
/// It draws what it is fed when somebody looks, or when that can wait no longer.
pub struct Screen {
    terminal: Terminal,
    modes: Modes,
    tokens: Tokens,
    flood: Flood,
    /// How many lines that left the screen are kept.
    scrollback: usize,
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
        let (modes, tokens, flood) = (Modes::default(), Tokens::default(), Flood::default());
        Self { terminal, modes, tokens, flood, scrollback: lines }
    }

    /// Takes what the program wrote, split anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.flood.push(bytes);
        while !self.flood.is_empty() {
            if !self.scrolls_as_a_whole() {
                return self.catch_up();
            }
            if !self.tokens.is_between() {
                let line = self.flood.take_line();
                self.draw(&line);
                continue;
            }
            let look = self.flood.look();
            if look == Look::Waits {
                return self.wait_or_draw();
            }
            self.skip();
            let known = self.flood.take_known();
            self.draw(&known);
            let line = self.flood.take_line();
            self.draw(&line);
        }
    }

    /// Whether each line feed at the bottom moves every row: no part of the screen is left out.
    fn scrolls_as_a_whole(&self) -> bool {
        self.modes.scrolls_as_a_whole(self.terminal.size().1)
    }

    /// After so many lines nothing is left of what was before, on the screen or above it: they have gone
    /// down to the last row, and then all rows and the scrollback were filled again.
    fn lines_that_matter(&self) -> usize {
        self.scrollback + 2 * self.terminal.size().1 + 2
    }

    fn wait_or_draw(&mut self) {
        if self.flood.is_too_long() || self.flood.lines() > 2 * self.lines_that_matter() {
            self.skip();
        }
        if self.flood.is_too_long() {
            self.catch_up();
        }
    }

    /// Forgets lines that are pushed out by those behind them.
    fn skip(&mut self) {
        if let Some(before) = self.flood.skip(self.lines_that_matter()) {
            self.draw(&before);
        }
    }

    /// Draws all that waits.
    fn catch_up(&mut self) {
        if self.tokens.is_between() && self.scrolls_as_a_whole() {
            self.flood.look();
            self.skip();
        }
        let all = self.flood.take();
        self.draw(&all);
    }

    fn draw(&mut self, bytes: &[u8]) {
        let Self { terminal, modes, tokens, .. } = self;
        tokens.feed(bytes, |token| match token {
            Token::Text(text) => {
                modes.passed_on(text);
                terminal.feed(text);
            }
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
        self.catch_up();
        self.terminal.resize(usize::from(cols.max(2)), usize::from(rows.max(1)));
    }

    /// Escape sequences that rebuild both buffers, cursor, title and all modes on a terminal of
    /// this size that was just reset, and the beginning of a sequence that is not yet complete.
    pub fn snapshot(&mut self) -> Vec<u8> {
        self.catch_up();
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
    pub fn text(&mut self) -> Vec<String> {
        self.catch_up();
        self.terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    /// Where the cursor is, column and row from 0, and whether it shows.
    pub fn cursor(&mut self) -> (usize, usize, bool) {
        self.catch_up();
        let cursor = self.terminal.cursor();
        (cursor.col, cursor.row, cursor.visible)
    }

    /// The title that the program has set.
    pub fn title(&mut self) -> &str {
        self.catch_up();
        self.modes.title()
    }
}

impl fmt::Debug for Screen {
    /// Says nothing of what stands on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("size", &self.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
