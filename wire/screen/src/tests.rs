//! A screen that keeps back what only scrolls is at every look the one that draws all of it.

use std::fmt::Write;

use avt::Line;
use proptest::prelude::*;

use super::Screen;

const COLS: u16 = 20;
const ROWS: u16 = 5;
const SCROLLBACK: usize = 8;

fn screen() -> Screen {
    Screen::with_scrollback(COLS, ROWS, SCROLLBACK)
}

/// Everything that a later look could show.
fn state(screen: &mut Screen) -> (Vec<Line>, String, Vec<u8>) {
    screen.catch_up();
    let lines = screen.terminal.primary_screen().all_lines().cloned().collect();
    (lines, screen.terminal.dump(), screen.snapshot())
}

fn assert_same(lazy: &mut Screen, eager: &mut Screen, when: &str) {
    let (lazy, eager) = (state(lazy), state(eager));
    assert!(lazy.0 == eager.0, "lines {when}");
    assert_eq!(lazy.1.replace('\u{1b}', "␛"), eager.1.replace('\u{1b}', "␛"), "dump {when}");
    assert!(lazy.2 == eager.2, "snapshot {when}");
}

fn lines(count: usize, of: &str) -> Vec<u8> {
    let mut lines = String::new();
    (0..count).for_each(|line| writeln!(lines, "{line} {of}\r").expect("a string takes everything"));
    lines.into_bytes()
}

#[test]
fn of_a_flood_only_the_last_lines_are_drawn() {
    let mut screen = screen();
    screen.feed(&lines(100_000, "\u{1b}[31mred\u{1b}[m"));
    assert!(!screen.flood.is_too_long() && screen.flood.lines() <= 2 * screen.lines_that_matter());
    assert_eq!(screen.text()[..2], ["99996 red", "99997 red"]);
}

#[test]
fn colours_that_were_set_in_skipped_lines_hold() {
    for colours in
        ["\u{1b}[44m", "\u{1b}[0;1m\u{1b}[32m", "\u{1b}[31m\u{1b}[m\u{1b}[7m", "\u{1b}[7m\u{1b}[0m"]
    {
        let (mut lazy, mut eager) = (screen(), screen());
        for part in [&lines(5, ""), &lines(1, colours), &lines(90, "")] {
            lazy.feed(part);
            eager.draw(part);
        }
        assert_same(&mut lazy, &mut eager, "after colours");
    }
}

#[test]
fn rows_outside_the_margins_stay_whatever_scrolls_between_them() {
    let margins =
        ["\u{1b}[2;4r", "\u{9b}2;4r", "\u{1b}[;4r", "\u{1b}[2r", "\u{1b}[2;5r\u{1b}[!p", "\u{1b}[1;5r"];
    let endless = format!("\u{1b}[{}2;4r", "0".repeat(300));
    for margins in margins.into_iter().chain([endless.as_str()]) {
        let (mut lazy, mut eager) = (screen(), screen());
        let head = format!("above{margins}\u{1b}[5;1Hbelow\r\n\r\nand more of it\r\n");
        for part in [head.as_bytes(), &lines(90, "x")] {
            lazy.feed(part);
            eager.draw(part);
        }
        assert_same(&mut lazy, &mut eager, margins.trim_start_matches('\u{1b}'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn keeping_back_changes_nothing(
        pieces in prop::collection::vec(piece(), 0..30),
        cuts in prop::collection::vec(1..400usize, 1..20),
        looks in prop::collection::vec(0..10u8, 1..20),
        sizes in prop::collection::vec((2..40u16, 1..12u16), 1..4),
    ) {
        let (mut lazy, mut eager) = (screen(), screen());
        let output = pieces.concat();
        let (mut rest, mut turn) = (output.as_slice(), 0);
        while !rest.is_empty() {
            let (part, later) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
            lazy.feed(part);
            eager.draw(part);
            match looks[turn % looks.len()] {
                0 => assert_same(&mut lazy, &mut eager, "at a look"),
                1 => {
                    let (cols, rows) = sizes[turn % sizes.len()];
                    lazy.resize(cols, rows);
                    eager.resize(cols, rows);
                }
                _ => {}
            }
            (rest, turn) = (later, turn + 1);
        }
        assert_same(&mut lazy, &mut eager, "at the end");
        for (cols, rows) in sizes {
            lazy.resize(cols, rows);
            eager.resize(cols, rows);
            assert_same(&mut lazy, &mut eager, "after a resize");
        }
    }
}

/// Floods, what may stand between them, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = "([a-z ]{0,30}|[äé漢字“—]{0,12}|\t|(\u{1b}\\[(0|1|7|0;31|44|38;5;9|)m)){0,4}";
    prop_oneof![
        6 => (0..70usize, text).prop_map(|(count, text)| lines(count, &text)),
        2 => "(\r\n){0,80}".prop_map(String::into_bytes),
        1 => "(x\n){0,40}".prop_map(String::into_bytes),
        1 => "[a-z]{0,300}".prop_map(String::into_bytes),
        2 => (0..9u16, 0..9u16, "[ABCDGHJKLMPXbdhlmr@]")
            .prop_map(|(a, b, end)| format!("\u{1b}[{a};{b}{end}").into_bytes()),
        2 => (prop::sample::select(vec![4u16, 20]), any::<bool>())
            .prop_map(|(mode, on)| format!("\u{1b}[{mode}{}", if on { 'h' } else { 'l' }).into_bytes()),
        2 => (prop::sample::select(vec![6u16, 7, 25, 47, 1047, 1049, 2004]), any::<bool>())
            .prop_map(|(mode, on)| format!("\u{1b}[?{mode}{}", if on { 'h' } else { 'l' }).into_bytes()),
        2 => prop::sample::select(vec!["\u{1b}7", "\u{1b}8", "\u{1b}M", "\u{1b}c", "\u{1b}[r", "\u{1b}[!p", "\u{e}", "\u{f}", "\u{1b}(0", "\u{1b}]0;t\u{7}", "\u{8}", "\u{b}", "\u{85}", "\u{9b}3;4r"])
            .prop_map(|sequence| sequence.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ]
}
