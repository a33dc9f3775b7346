//! What people read in lists, logs and terminals: without what would act on a terminal, or make the text look
//! like another one.

/// A name or a label has at most so many characters.
const NAME_CHARS_MAX: usize = 64;

/// Whether a character shows as itself: no control character (an escape sequence begins with one), nothing that
/// turns the direction of what follows, nothing that is not there to see.
pub fn is_harmless(c: char) -> bool {
    let unseen = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !unseen
}

/// What is harmless of a text, and not more than `chars_max` of it.
pub fn harmless(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| is_harmless(*c)).take(chars_max).collect()
}

/// The text without blanks around it, if it can be a name or a label: 1 to 64 characters, all harmless.
pub fn printable(text: &str) -> Option<&str> {
    let text = text.trim();
    let good = (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(is_harmless);
    good.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_what_turns_or_hides_text_are_no_part_of_a_name() {
        for bad in [
            "",
            " ",
            "a\u{1b}[2J",
            "a\u{9b}2J",
            "a\nb",
            "a\u{7f}",
            "\u{202e}toor",
            "ro\u{200b}ot",
            &"x".repeat(65),
        ] {
            assert_eq!(printable(bad), None, "{bad:?}");
        }
        assert_eq!(printable(" Pumpe Süd №2 🛰 "), Some("Pumpe Süd №2 🛰"));
        assert_eq!(harmless("a\u{1b}[31mred\u{202e}\u{9d}0;t\u{7}", 8), "a[31mred");
    }
}
