//! Splits a program's output into text and whole control sequences, wherever it was cut.
//! The states are those of the VT500 parser (vt100.net), as far as they tell where a sequence ends.

/// A sequence longer than this is not waited for as a whole.
const SEQUENCE_MAX: usize = 256;
/// A command string longer than this has lost its end.
const COMMAND_MAX: usize = 4096;

const ESC: char = '\u{1b}';
const CAN: char = '\u{18}';
const SUB: char = '\u{1a}';
const BEL: char = '\u{7}';

/// One whole thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Characters to print, and control characters that stand alone.
    Text(&'a str),
    /// ESC and CSI sequences, from the first character to the last.
    Sequence(&'a str),
    /// OSC, DCS, SOS, PM and APC strings, without what ended them.
    Command(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    Osc,
    /// DCS, SOS, PM, APC: ends with ST only.
    String,
    /// A sequence that is longer than sense: what follows is passed on as it comes.
    Endless,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    state: State,
    pending: String,
    /// The command in `pending` has lost its end.
    cut_off: bool,
    /// The first bytes of a character whose rest has not come.
    tail: Vec<u8>,
}

impl Tokens {
    /// Splits the bytes; what is not complete waits for the next.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut token: impl FnMut(Token<'_>)) {
        let joined;
        let mut rest = bytes;
        if !self.tail.is_empty() {
            joined = [std::mem::take(&mut self.tail).as_slice(), bytes].concat();
            rest = &joined;
        }
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.feed_text(text, &mut token),
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.feed_text(std::str::from_utf8(good).unwrap_or_default(), &mut token);
                    let Some(length) = error.error_len() else {
                        self.tail = bad.to_vec();
                        return;
                    };
                    self.feed_text("\u{fffd}", &mut token);
                    rest = &bad[length..];
                }
            }
        }
    }

    /// Whether nothing has begun that is not complete.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Ground && self.tail.is_empty()
    }

    /// What brings another reader to where this one is: the sequence and the character that have
    /// begun and not ended. A command that is too long is given as one that means nothing, so
    /// that its rest does.
    pub(crate) fn unfinished(&self) -> Vec<u8> {
        let begun = match self.pending.chars().next() {
            Some('\u{9d}') if self.cut_off => "\u{1b}]99999;",
            Some(ESC) if self.cut_off && self.pending[1..].starts_with(']') => "\u{1b}]99999;",
            // "Start of string" means nothing to anybody.
            Some(_) if self.cut_off => "\u{1b}X",
            _ => &self.pending,
        };
        [begun.as_bytes(), &self.tail].concat()
    }

    fn feed_text(&mut self, text: &str, token: &mut impl FnMut(Token<'_>)) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.state == State::Ground {
                let length = rest.find(begins).unwrap_or(rest.len());
                if length > 0 {
                    token(Token::Text(&rest[..length]));
                    rest = &rest[length..];
                    continue;
                }
            }
            let Some(character) = rest.chars().next() else { return };
            rest = &rest[character.len_utf8()..];
            self.step(character, token);
        }
    }

    fn step(&mut self, character: char, token: &mut impl FnMut(Token<'_>)) {
        if begins(character) {
            return self.begin(character, token);
        }
        match (self.state, character) {
            (State::Osc, BEL) => self.end(token),
            (_, CAN | SUB) => {
                // avt has seen nothing of the sequence but an endless one.
                self.pending.clear();
                self.leave();
                token(Token::Text(character.encode_utf8(&mut [0; 4])));
            }
            (State::Osc | State::String, _) => self.collect(character),
            (State::Escape, '[') if self.pending.len() == 1 => self.shift(State::Csi, character),
            (State::Escape, ']') if self.pending.len() == 1 => self.shift(State::Osc, character),
            (State::Escape, 'P' | 'X' | '^' | '_') if self.pending.len() == 1 => {
                self.shift(State::String, character);
            }
            (State::Endless, _) => {
                token(Token::Text(character.encode_utf8(&mut [0; 4])));
                if ('\u{40}'..='\u{7e}').contains(&character) {
                    self.leave();
                }
            }
            _ => self.sequence_goes_on(character, token),
        }
    }

    fn sequence_goes_on(&mut self, character: char, token: &mut impl FnMut(Token<'_>)) {
        let first_final = if self.state == State::Csi { '\u{40}' } else { '\u{30}' };
        let is_final = character >= first_final && character != '\u{7f}';
        self.pending.push(character);
        if is_final {
            token(Token::Sequence(&self.pending));
            self.pending.clear();
            self.leave();
        } else if self.pending.len() > SEQUENCE_MAX {
            token(Token::Text(&self.pending));
            self.pending.clear();
            self.state = State::Endless;
        }
    }

    /// ESC and the C1 introducers begin anew from any state.
    fn begin(&mut self, character: char, token: &mut impl FnMut(Token<'_>)) {
        if matches!(self.state, State::Osc | State::String) {
            self.end(token);
        }
        if self.state == State::Endless {
            // avt is to forget it, too.
            token(Token::Text("\u{18}"));
        }
        self.pending.clear();
        self.leave();
        let state = match character {
            ESC => State::Escape,
            '\u{9b}' => State::Csi,
            '\u{9d}' => State::Osc,
            '\u{9c}' => return,
            _ => State::String,
        };
        self.shift(state, character);
    }

    fn shift(&mut self, state: State, character: char) {
        self.state = state;
        self.pending.push(character);
    }

    fn collect(&mut self, character: char) {
        if self.pending.len() < COMMAND_MAX {
            self.pending.push(character);
        } else {
            self.cut_off = true;
        }
    }

    fn end(&mut self, token: &mut impl FnMut(Token<'_>)) {
        if !self.cut_off {
            token(Token::Command(&self.pending));
        }
        self.pending.clear();
        self.leave();
    }

    fn leave(&mut self) {
        self.state = State::Ground;
        self.cut_off = false;
    }
}

/// ESC, and the C1 characters DCS, SOS, CSI, ST, OSC, PM, APC.
pub(crate) fn begins(character: char) -> bool {
    matches!(character, ESC | '\u{90}' | '\u{98}' | '\u{9b}'..='\u{9f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens_of(parts: &[&[u8]]) -> Vec<String> {
        let (mut tokens, mut seen) = (Tokens::default(), Vec::<String>::new());
        for part in parts {
            tokens.feed(part, |token| match token {
                // Text may come in pieces.
                Token::Text(text) => match seen.last_mut().filter(|last| last.starts_with('t')) {
                    Some(last) => last.push_str(text),
                    None => seen.push(format!("t{text}")),
                },
                Token::Sequence(text) => seen.push(format!("s{text}")),
                Token::Command(text) => seen.push(format!("c{text}")),
            });
        }
        seen
    }

    #[test]
    fn the_same_tokens_come_out_wherever_the_output_is_cut() {
        let output = "a\u{1b}[1;3Hé\u{1b}(0x\u{1b}]0;tïtle\u{7}b\u{1b}]2;x\u{1b}\\\u{1b}Pq\n\u{1b}\\c\u{1b}[3\n4mx\u{1b}[2\u{18}y\u{1b}7\r\n";
        let whole = tokens_of(&[output.as_bytes()]);
        assert_eq!(whole[..4], ["ta", "s\u{1b}[1;3H", "té", "s\u{1b}(0"]);
        for cut in 0..output.len() {
            let (front, back) = output.as_bytes().split_at(cut);
            assert_eq!(tokens_of(&[front, back]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn no_sequence_makes_it_keep_more_than_a_few_kilobytes() {
        for introducer in ["\u{1b}[", "\u{1b}]0;", "\u{1b}P", "\u{1b}_", "\u{1b} ", "\u{9d}"] {
            let mut tokens = Tokens::default();
            tokens.feed(introducer.as_bytes(), |_| {});
            for _ in 0..100 {
                tokens.feed(&[b'1'; 1000], |_| {});
                tokens.feed(&[b';'; 1000], |_| {});
            }
            assert!(tokens.unfinished().len() <= COMMAND_MAX + 8, "{introducer:?}");
        }
    }
}
