//! Takes out of a dump the blanks at the ends of lines.
//!
//! avt writes every row from the first column to the last. On xterm.js these would be characters
//! that were printed: a selection would copy them, and in a narrower window each row would wrap.
//! On a screen that was just reset nothing needs to be written there.
//!
//! A dump is the primary screen row by row, what else there is to say about it, and, when it is
//! shown, the alternate screen in the same way. So each printed character is of a cell that is known.

use std::fmt::Write;

use avt::{Cell, Line, Terminal};

use crate::tokens::{Token, Tokens};

/// The terminal's dump without the blanks at the ends of lines that look like nothing at all.
pub(crate) fn left_out(terminal: &Terminal) -> String {
    let dump = terminal.dump();
    let mut tokens = Tokens::default();
    let mut writer = Writer {
        terminal,
        lines: terminal.primary_screen().visible_lines().collect(),
        row: 0,
        column: 0,
        within: Within::Rows,
        out: String::with_capacity(dump.len()),
    };
    tokens.feed(dump.as_bytes(), |token| match token {
        Token::Text(text) => text.chars().for_each(|character| writer.character(character)),
        Token::Sequence(sequence) => writer.sequence(sequence),
        Token::Command(command) => writer.out.push_str(command),
    });
    writer.out.push_str(&String::from_utf8_lossy(&tokens.unfinished()));
    writer.out
}

/// Where in the dump we are.
#[derive(PartialEq)]
enum Within {
    /// The rows of a screen.
    Rows,
    /// Between the switch to the alternate screen and its first row: the cursor goes home.
    Switch,
    /// What is said about a screen after its rows.
    Rest,
}

struct Writer<'a> {
    terminal: &'a Terminal,
    lines: Vec<&'a Line>,
    row: usize,
    column: usize,
    within: Within,
    out: String,
}

impl Writer<'_> {
    fn character(&mut self, character: char) {
        // To avt, DEL is a character like any other.
        let ends_a_row = matches!(character, '\r' | '\n');
        if ends_a_row || self.next_cell_is_wanted() {
            self.out.push(character);
        }
        if !ends_a_row {
            self.advance();
        }
    }

    fn sequence(&mut self, sequence: &str) {
        if let Some(count) = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('b')) {
            self.repeat(count.parse().unwrap_or(1));
            return;
        }
        self.out.push_str(sequence);
        if sequence.starts_with("\u{1b}[?") && sequence.ends_with("47h") {
            self.lines = self.terminal.screen().visible_lines().collect();
            (self.row, self.column, self.within) = (0, 0, Within::Switch);
        } else if !sequence.ends_with('m') {
            self.within = if self.within == Within::Switch { Within::Rows } else { Within::Rest };
        }
    }

    fn repeat(&mut self, count: usize) {
        let mut wanted = 0;
        for _ in 0..count {
            wanted += usize::from(self.next_cell_is_wanted());
            self.advance();
        }
        if wanted > 0 {
            let _ = write!(self.out, "\u{1b}[{wanted}b");
        }
    }

    fn next_cell_is_wanted(&self) -> bool {
        if self.within != Within::Rows {
            return true;
        }
        let Some(line) = self.lines.get(self.row) else { return true };
        // The first character of a row is what makes the row before it go on there.
        let goes_on = self.column == 0 && self.row > 0 && self.lines[self.row - 1].is_wrapped();
        goes_on || line.is_wrapped() || self.column < used(line)
    }

    fn advance(&mut self) {
        let Some(line) = self.lines.get(self.row).filter(|_| self.within == Within::Rows) else { return };
        self.column += line.cells().get(self.column).map_or(1, |cell| usize::from(cell.width().max(1)));
        if self.column >= line.cells().len() {
            (self.row, self.column) = (self.row + 1, 0);
        }
    }
}

/// How many cells of a line there is something to see in, or before.
fn used(line: &Line) -> usize {
    let cells = line.cells();
    cells.len() - cells.iter().rev().take_while(|cell| looks_like_nothing(cell)).count()
}

/// What a cell is that was never written; a blank with a colour of its own may be written on.
fn looks_like_nothing(cell: &Cell) -> bool {
    cell.char() == ' ' && cell.width() == 1 && cell.pen().is_default()
}

#[cfg(test)]
mod tests {
    use avt::Terminal;

    fn left_out(output: &str) -> String {
        let mut terminal = Terminal::new(20, 4).unwrap();
        terminal.feed(output);
        super::left_out(&terminal)
    }

    #[test]
    fn blanks_at_the_ends_of_lines_are_left_out_on_both_screens() {
        let drawn = left_out("one\r\n\u{1b}[1mtwo\u{1b}[m\r\n漢字 x\u{1b}[?1047h\u{1b}[Hvim\r\n~");
        assert!(drawn.starts_with("one\r\n\u{1b}[1mtwo"), "{drawn:?}");
        assert!(drawn.contains("漢字 x\r\n\u{1b}["), "{drawn:?}");
        assert!(drawn.contains("vim\r\n~\r\n\u{1b}["), "{drawn:?}");
        assert!(!drawn.contains(" \u{1b}["), "{drawn:?}");
    }

    #[test]
    fn blanks_that_something_follows_or_that_show_stay() {
        let drawn = left_out("a          b\r\n\u{1b}[44m\u{1b}[K\u{1b}[0m\r\n\u{1b}[7m          x\u{1b}[m");
        assert!(drawn.starts_with("a \u{1b}[9bb\r\n"), "{drawn:?}");
        assert!(drawn.contains(" \u{1b}[19b"), "{drawn:?}");
        assert!(drawn.contains(" \u{1b}[9bx"), "{drawn:?}");
    }
}
