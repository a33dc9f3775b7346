//! The modes that avt does not know, as xterm.js has them.

use std::fmt::Write;

use crate::tokens::begins;

/// The longest title that is kept.
const TITLE_CHARS_MAX: usize = 256;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// 9, 1000, 1002 or 1003: the last one set wins, and resetting any of them ends them all.
    mouse: Option<u16>,
    /// 1005, 1006, 1015 or 1016, alike.
    mouse_encoding: Option<u16>,
    focus_reports: bool,
    bracketed_paste: bool,
    alternate_scroll: Option<bool>,
    reverse_wrap: bool,
    cursor_blinks: Option<bool>,
    keypad_is_application: bool,
    cursor_style: Option<u16>,
    title: String,
    margins: Margins,
}

/// Which rows scroll.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Margins {
    #[default]
    None,
    /// From the one row to the other, counted from 1; avt forgets them when the rows change.
    Set(usize, usize),
    Unknown,
}

impl Modes {
    /// Whether all rows scroll, of so many.
    pub(crate) fn scrolls_as_a_whole(&self, rows: usize) -> bool {
        match self.margins {
            Margins::None => true,
            Margins::Set(top, bottom) => top <= 1 && bottom == rows,
            Margins::Unknown => false,
        }
    }

    /// A sequence that is too long to be waited for is passed on like text, and may set margins.
    pub(crate) fn passed_on(&mut self, text: &str) {
        if text.starts_with(begins) {
            self.margins = Margins::Unknown;
        }
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Takes a whole ESC or CSI sequence.
    pub(crate) fn saw(&mut self, sequence: &str) {
        if let Some(csi) = sequence.strip_prefix("\u{1b}[").or_else(|| sequence.strip_prefix('\u{9b}')) {
            return self.saw_csi(csi);
        }
        match sequence {
            "\u{1b}=" => self.keypad_is_application = true,
            "\u{1b}>" => self.keypad_is_application = false,
            // Reset to the initial state; the title is the window's and stays.
            "\u{1b}c" => *self = Self { title: std::mem::take(&mut self.title), ..Self::default() },
            _ => {}
        }
    }

    fn saw_csi(&mut self, csi: &str) {
        if let Some(parameters) = csi.strip_prefix('?') {
            let Some((set, parameters)) = parameters
                .strip_suffix('h')
                .map(|parameters| (true, parameters))
                .or_else(|| parameters.strip_suffix('l').map(|parameters| (false, parameters)))
            else {
                return;
            };
            for mode in parameters.split(';').filter_map(|mode| mode.parse().ok()) {
                self.switch(mode, set);
            }
        } else if let Some(style) = csi.strip_suffix(" q") {
            self.cursor_style = style.parse().ok().filter(|style| (1..=6).contains(style));
        } else if let Some(margins) = csi.strip_suffix('r') {
            self.margins = Margins::of(margins);
        } else if csi == "!p" {
            self.margins = Margins::None;
        }
    }

    fn switch(&mut self, mode: u16, set: bool) {
        match mode {
            9 | 1000 | 1002 | 1003 => self.mouse = set.then_some(mode),
            1005 | 1006 | 1015 | 1016 => self.mouse_encoding = set.then_some(mode),
            1004 => self.focus_reports = set,
            2004 => self.bracketed_paste = set,
            1007 => self.alternate_scroll = Some(set),
            45 => self.reverse_wrap = set,
            12 => self.cursor_blinks = Some(set),
            66 => self.keypad_is_application = set,
            _ => {}
        }
    }

    /// Takes a whole command string.
    pub(crate) fn told(&mut self, command: &str) {
        let Some(osc) = command.strip_prefix("\u{1b}]").or_else(|| command.strip_prefix('\u{9d}')) else {
            return;
        };
        if let Some(title) = osc.strip_prefix("0;").or_else(|| osc.strip_prefix("2;")) {
            self.title = title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
        }
    }

    /// The sequences that switch on what is on.
    pub(crate) fn restore(&self) -> String {
        let mut restore = String::new();
        let flags = [(45, self.reverse_wrap), (1004, self.focus_reports), (2004, self.bracketed_paste)];
        let on = flags.into_iter().filter_map(|(mode, on)| on.then_some(mode));
        for mode in on.chain(self.mouse).chain(self.mouse_encoding) {
            let _ = write!(restore, "\u{1b}[?{mode}h");
        }
        for (mode, state) in [(1007, self.alternate_scroll), (12, self.cursor_blinks)] {
            if let Some(on) = state {
                let _ = write!(restore, "\u{1b}[?{mode}{}", if on { 'h' } else { 'l' });
            }
        }
        if let Some(style) = self.cursor_style {
            let _ = write!(restore, "\u{1b}[{style} q");
        }
        if self.keypad_is_application {
            restore.push_str("\u{1b}=");
        }
        if !self.title.is_empty() {
            let _ = write!(restore, "\u{1b}]2;{}\u{7}", self.title);
        }
        restore
    }
}

impl Margins {
    fn of(parameters: &str) -> Self {
        let numbers = parameters.split_once(';').map(|(top, bottom)| (top.parse(), bottom.parse()));
        match numbers {
            _ if parameters.is_empty() => Self::None,
            Some((Ok(top), Ok(bottom))) => Self::Set(top, bottom),
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sequences: &[&str]) -> Modes {
        let mut modes = Modes::default();
        sequences.iter().for_each(|sequence| modes.saw(sequence));
        modes
    }

    #[test]
    fn the_last_mouse_mode_wins_and_resetting_any_ends_them() {
        assert_eq!(after(&["\u{1b}[?1000;1006h", "\u{1b}[?1003h"]).restore(), "\u{1b}[?1003h\u{1b}[?1006h");
        assert_eq!(after(&["\u{1b}[?1003h", "\u{1b}[?1000l"]).restore(), "");
    }

    #[test]
    fn synchronized_output_is_never_switched_on() {
        assert_eq!(after(&["\u{1b}[?2026h"]).restore(), "");
    }

    #[test]
    fn a_title_cannot_smuggle_a_sequence_into_the_snapshot() {
        let mut modes = Modes::default();
        modes.told("\u{1b}]0;a\u{85}b\nc");
        assert_eq!(modes.restore(), "\u{1b}]2;abc\u{7}");
        modes.told(&format!("\u{1b}]2;{}", "é".repeat(1000)));
        assert_eq!(modes.title().chars().count(), TITLE_CHARS_MAX);
    }
}
