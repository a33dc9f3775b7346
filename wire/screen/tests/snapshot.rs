//! A snapshot drawn on a fresh screen is the screen it was taken of, and goes on as it would have.

use std::fmt::Write;

use moorline_screen::{SNAPSHOT_BYTES_MAX, Screen};
use proptest::prelude::*;

const COLS: u16 = 40;
const ROWS: u16 = 10;

/// As an editor begins, draws, and ends.
const EDITOR: &str = "$ vim notes\r\n\u{1b}7\u{1b}[?47h\u{1b}[?1049h\u{1b}[22;0;0t\u{1b}[>4;2m\u{1b}[?1h\u{1b}=\
\u{1b}[?2004h\u{1b}[?1004h\u{1b}[1;10r\u{1b}[?12h\u{1b}[?12l\u{1b}[27m\u{1b}[23m\u{1b}[29m\u{1b}[m\u{1b}[H\u{1b}[2J\
\u{1b}[?25l\u{1b}]2;notes (~) - VIM\u{7}\u{1b}[1;1H\u{1b}[38;5;130m  1 \u{1b}[m# Nötes “quoted” — 漢字\r\n\
\u{1b}[38;5;130m  2 \u{1b}[m\u{1b}[1m\u{1b}[38;2;10;200;30mbold green\u{1b}[m\u{1b}[48;5;17m on blue \u{1b}[m\r\n\
\u{1b}[94m~\u{1b}[3;1H~\u{1b}[4;1H~\u{1b}[m\u{1b}[10;1H\u{1b}[7m-- INSERT --\u{1b}[m\u{1b}[10;22H1,1\u{1b}[11Call\
\u{1b}[2 q\u{1b}[?1000h\u{1b}[?1006h\u{1b}[?25h\u{1b}[1;5H";
const EDITOR_ENDS: &str = "\u{1b}[?1006l\u{1b}[?1000l\u{1b}[10;1H\u{1b}[?2004l\u{1b}[>4;m\u{1b}[23;0;0t\u{1b}[?1004l\
\u{1b}[?1l\u{1b}>\u{1b}[?1049l\u{1b}8\u{1b}[0 q\u{1b}]2;\u{1b}\\$ ";
/// As a multiplexer draws two panes and scrolls one of them.
const PANES: &str = "\u{1b}[?1049h\u{1b}[22;0;0t\u{1b}[?1h\u{1b}=\u{1b}[H\u{1b}[2J\u{1b}[?12l\u{1b}[?25h\u{1b}[?1000l\
\u{1b}[?1002h\u{1b}[?1003l\u{1b}[?1006h\u{1b}[?1005l\u{1b}(B\u{1b}[m\u{1b}[?2026h\u{1b}[1;9r\u{1b}[H$ top\u{1b}[K\r\n\
load 0.1\u{1b}[K\u{1b}[1;21H\u{1b}(0x\u{1b}(B\u{1b}[2;21H\u{1b}(0x\u{1b}(B\u{1b}[1;9r\u{1b}[9;1H\n\u{1b}[9;1Hline\
\u{1b}[1;10r\u{1b}[10;1H\u{1b}[30m\u{1b}[42m[0] 0:bash*      \"router-7\" 12:03\u{1b}[m\u{1b}[?2026l\
\u{1b}[?7l\u{1b}[3;1H\u{1b}[4h\u{1b}[4l\u{1b}[?7h\u{1b}[?6h\u{1b}[2;4r\u{1b}[2;2Hx\u{1b}[?6l\u{1b}[r\u{1b}[5;7H";

/// As a shell scrolls, wraps, and uses what is rarely used.
fn shell() -> String {
    let mut output = String::from(
        "\u{1b}[?2004h\u{1b}]0;anna@router-7: ~\u{7}\u{1b}[3g\u{1b}[1;5H\u{1b}H\u{1b}[1;9H\u{1b}H\r",
    );
    for line in 0..30 {
        let _ =
            write!(output, "\u{1b}[3{}mline {line}\u{1b}[0m {}\r\n", line % 8, "wide 漢字 ".repeat(line % 9));
    }
    output.push_str(
        "a\tb\u{1b}7\u{1b}[3;3H\u{1b})0\u{e}qq\u{f}\u{1b}8\u{1b}[5 q\u{1b}[?1007l\u{1b}[?45h$ \u{1b}[31",
    );
    output
}

fn screen_after(bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(COLS, ROWS);
    screen.feed(bytes);
    screen
}

/// Without scrollback: whether a line goes on from the scrollback into the first row is the one
/// thing that a snapshot does not say, and a later one would show it.
fn bare_screen_after(bytes: &[u8]) -> Screen {
    let mut screen = Screen::with_scrollback(COLS, ROWS, 0);
    screen.feed(bytes);
    screen
}

fn redrawn(screen: &mut Screen) -> Screen {
    let (cols, rows) = screen.size();
    redrawn_on(screen, Screen::new(cols, rows))
}

fn redrawn_on(screen: &mut Screen, mut copy: Screen) -> Screen {
    copy.feed(&screen.snapshot());
    copy
}

fn assert_same(screen: &mut Screen, copy: &mut Screen, when: &str) {
    assert_eq!(copy.text(), screen.text(), "text {when}");
    assert_eq!(copy.cursor(), screen.cursor(), "cursor {when}");
    assert_eq!(copy.title(), screen.title(), "title {when}");
    // The snapshot of a copy says the same as that of its original: colours, modes, scrollback.
    let show = |screen: &mut Screen| String::from_utf8_lossy(&screen.snapshot()).replace('\u{1b}', "␛");
    assert_eq!(show(copy), show(screen), "modes or colours {when}");
}

#[test]
fn a_snapshot_taken_at_any_byte_is_the_screen_and_goes_on_as_it_would_have() {
    for output in [EDITOR.to_owned(), format!("{EDITOR}{EDITOR_ENDS}"), PANES.to_owned(), shell()] {
        let mut whole = bare_screen_after(output.as_bytes());
        for cut in 0..=output.len() {
            let (front, back) = output.as_bytes().split_at(cut);
            let mut screen = bare_screen_after(front);
            let mut copy = redrawn_on(&mut screen, bare_screen_after(b""));
            assert_eq!(copy.text(), screen.text(), "text at {cut}");
            assert_eq!(copy.cursor(), screen.cursor(), "cursor at {cut}");
            copy.feed(back);
            assert_eq!(copy.text(), whole.text(), "text at the end, cut at {cut}");
            assert_same(&mut whole, &mut copy, &format!("at the end, cut at {cut}"));
        }
    }
}

#[test]
fn scrollback_comes_back_and_the_screen_is_where_it_was() {
    let mut screen = screen_after(shell().as_bytes());
    let snapshot = String::from_utf8(screen.snapshot()).unwrap();
    assert!(snapshot.contains("line 0"), "the first line has left the screen");
    let mut copy = redrawn(&mut screen);
    assert_same(&mut screen, &mut copy, "with scrollback");
    for lines in [1, 5, 9, 10, 11, 12, 25] {
        let mut screen = Screen::new(COLS, ROWS);
        (0..lines).for_each(|line| screen.feed(format!("{line}\r\n").as_bytes()));
        let mut copy = redrawn(&mut screen);
        assert_same(&mut screen, &mut copy, &format!("after {lines} lines"));
    }
}

#[test]
fn a_resized_screen_is_redrawn_at_its_size() {
    let mut screen = screen_after(shell().as_bytes());
    screen.resize(20, 5);
    screen.feed(b"m more\x1b[2;3H");
    assert_eq!(screen.size(), (20, 5));
    let mut copy = redrawn(&mut screen);
    assert_same(&mut screen, &mut copy, "after a resize");
}

#[test]
fn a_character_split_anywhere_comes_out_whole() {
    let text = "é漢“—…、。👩\u{200d}🚀ü";
    for cut in 0..text.len() {
        let mut screen = Screen::new(COLS, ROWS);
        screen.feed(&text.as_bytes()[..cut]);
        let mut copy = redrawn(&mut screen);
        copy.feed(&text.as_bytes()[cut..]);
        assert_eq!(copy.text()[0], screen_after(text.as_bytes()).text()[0], "cut at {cut}");
    }
}

#[test]
fn no_screen_makes_a_snapshot_longer_than_allowed() {
    let mut screen = Screen::new(500, 300);
    for cell in 0..150_000u32 {
        let (r, g, b) = (cell % 251, cell % 241, cell % 239);
        screen.feed(
            format!("\x1b[38;2;{r};{g};{b};48;2;{b};{r};{g}m{}", char::from(b'a' + (cell % 26) as u8))
                .as_bytes(),
        );
    }
    let snapshot = screen.snapshot();
    assert!(snapshot.len() <= SNAPSHOT_BYTES_MAX, "{}", snapshot.len());
    assert_eq!(redrawn(&mut screen).text()[100], screen.text()[100]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_output_breaks_nothing_and_comes_back(
        pieces in prop::collection::vec(piece(), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let output = pieces.concat();
        let cut = cut.index(output.len() + 1);
        let mut screen = screen_after(&output[..cut]);
        let mut copy = redrawn(&mut screen);
        prop_assert_eq!(copy.text(), screen.text());
        screen.feed(&output[cut..]);
        copy.feed(&output[cut..]);
        prop_assert_eq!(copy.text(), screen.text());
        prop_assert_eq!(copy.title(), screen.title());
    }

    #[test]
    fn random_sizes_break_nothing(
        pieces in prop::collection::vec((piece(), 1..70u16, 1..20u16), 0..40),
    ) {
        let mut screen = screen_after(b"");
        for (output, cols, rows) in pieces {
            screen.feed(&output);
            screen.resize(cols, rows);
            let mut copy = redrawn(&mut screen);
            prop_assert_eq!(copy.text(), screen.text());
        }
    }
}

/// Text, sequences that programs send, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let number = 0..45u16;
    prop_oneof![
        4 => "[a-z ]{1,12}".prop_map(String::into_bytes),
        1 => "[äé漢字“—]{1,4}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        3 => (number.clone(), number.clone(), "[ABCDGHJKLMPXdm@]")
            .prop_map(|(a, b, end)| format!("\x1b[{a};{b}{end}").into_bytes()),
        2 => (prop::sample::select(vec![1u16, 6, 7, 9, 12, 25, 47, 1000, 1003, 1006, 1047, 1049, 2004, 2026]), any::<bool>())
            .prop_map(|(mode, on)| format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).into_bytes()),
        1 => "[^\u{7}\u{1b}\u{80}-\u{9f}]{0,9}".prop_map(|t| format!("\x1b]0;{t}\x07").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ]
}
