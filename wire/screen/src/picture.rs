//! A terminal as the sequences that draw it.

use std::fmt::Write;

use avt::{Color, Line, Pen, Terminal};

use crate::blanks;
use crate::tokens::{Token, Tokens};

/// Gives a whole sequence to avt. It does not know the old alternate screen (47), which differs
/// from 1047 only in what is left behind.
pub(crate) fn feed_sequence(terminal: &mut Terminal, sequence: &str) {
    let old_alternate = sequence
        .strip_prefix("\u{1b}[?")
        .is_some_and(|rest| rest.split(['h', 'l', ';']).any(|mode| mode == "47"));
    if old_alternate {
        let modes: Vec<&str> = sequence[3..sequence.len() - 1]
            .split(';')
            .map(|mode| if mode == "47" { "1047" } else { mode })
            .collect();
        terminal.feed(format!("\u{1b}[?{}{}", modes.join(";"), &sequence[sequence.len() - 1..]).as_str());
    } else {
        terminal.feed(sequence);
    }
}

/// The sequences that draw the terminal on one of its size, in at most `bytes_max`.
pub(crate) fn of(terminal: &Terminal, bytes_max: usize) -> String {
    let screen = portable(&blanks::left_out(terminal));
    if screen.len() > bytes_max {
        let plain = without_colours(&screen);
        return if plain.len() > bytes_max { String::new() } else { plain };
    }
    let mut picture = scrollback(terminal, bytes_max - screen.len());
    picture.push_str(&screen);
    picture
}

/// avt's own dump says some things in words that xterm.js has not: tab stops by CTC, and colours
/// with colons, of which it would take the red for a colour space.
fn portable(dump: &str) -> String {
    rewritten(dump, |sequence, out| match sequence {
        "\u{1b}[5W" => out.push_str("\u{1b}[3g"),
        "\u{1b}[0W" => out.push_str("\u{1b}H"),
        colours if colours.ends_with('m') => out.push_str(&colours.replace(':', ";")),
        other => out.push_str(other),
    })
}

fn without_colours(dump: &str) -> String {
    rewritten(dump, |sequence, out| {
        if !sequence.ends_with('m') {
            out.push_str(sequence);
        }
    })
}

fn rewritten(dump: &str, mut sequence_to: impl FnMut(&str, &mut String)) -> String {
    let (mut tokens, mut out) = (Tokens::default(), String::with_capacity(dump.len()));
    tokens.feed(dump.as_bytes(), |token| match token {
        Token::Text(text) => out.push_str(text),
        Token::Sequence(sequence) => sequence_to(sequence, &mut out),
        Token::Command(command) => out.push_str(command),
    });
    out.push_str(&String::from_utf8_lossy(&tokens.unfinished()));
    out
}

/// The lines that have left the primary screen, as many of the youngest as fit, pushed out of
/// the top again. The cursor ends in the upper left corner.
fn scrollback(terminal: &Terminal, bytes_max: usize) -> String {
    let (_, rows) = terminal.size();
    let primary = terminal.primary_screen();
    let above = primary.all_lines().count().saturating_sub(rows);
    let lines: Vec<String> = primary.all_lines().take(above).map(drawn).collect();
    // Each line costs one more byte to be pushed out, and the two moves some.
    let mut room = bytes_max.saturating_sub(32);
    let fitting = lines.iter().rev().take_while(|line| {
        let fits = line.len() < room;
        room = room.saturating_sub(line.len() + 1);
        fits
    });
    let fitting = fitting.count();
    if fitting == 0 {
        return String::new();
    }
    let mut picture: String = lines[above - fitting..].concat();
    // A last line that goes on in the first row of the screen has no end of its own.
    if !picture.ends_with('\n') {
        picture.push_str("\r\n");
    }
    let _ = write!(picture, "\u{1b}[{rows};1H");
    picture.extend(std::iter::repeat_n('\n', fitting.min(rows - 1)));
    picture.push_str("\u{1b}[H");
    picture
}

/// One line with its colours, and its end unless it goes on in the next.
fn drawn(line: &Line) -> String {
    let mut drawn = String::new();
    let mut pen = Pen::default();
    let cells = line.cells();
    let blank = |cell: &avt::Cell| cell.char() == ' ' && cell.width() == 1 && cell.pen().is_default();
    let used = match line.is_wrapped() {
        true => cells.len(),
        false => cells.len() - cells.iter().rev().take_while(|cell| blank(cell)).count(),
    };
    for cell in cells[..used].iter().filter(|cell| cell.width() > 0) {
        if *cell.pen() != pen {
            pen = *cell.pen();
            push_pen(&mut drawn, &pen);
        }
        drawn.push(cell.char());
    }
    if !pen.is_default() {
        drawn.push_str("\u{1b}[m");
    }
    if !line.is_wrapped() {
        drawn.push_str("\r\n");
    }
    drawn
}

fn push_pen(drawn: &mut String, pen: &Pen) {
    drawn.push_str("\u{1b}[0");
    let attributes = [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_blink(), 5),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ];
    for (_, number) in attributes.iter().filter(|(on, _)| *on) {
        let _ = write!(drawn, ";{number}");
    }
    for (base, color) in [(38u16, pen.foreground()), (48, pen.background())] {
        let _ = match color {
            // The sixteen named colours are not those of the palette: bold makes some of them bright.
            Some(Color::Indexed(index @ 0..8)) => write!(drawn, ";{}", base - 8 + u16::from(index)),
            Some(Color::Indexed(index @ 8..16)) => write!(drawn, ";{}", base + 44 + u16::from(index)),
            Some(Color::Indexed(index)) => write!(drawn, ";{base};5;{index}"),
            Some(Color::RGB(rgb)) => write!(drawn, ";{base};2;{};{};{}", rgb.r, rgb.g, rgb.b),
            None => Ok(()),
        };
    }
    drawn.push('m');
}
