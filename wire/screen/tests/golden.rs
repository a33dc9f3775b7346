//! The golden screens: what a program wrote, and the snapshot of it. `web/src/link/screen.test.ts`
//! draws both on xterm.js and compares, because that is where a snapshot is to be drawn.
//! `MOORLINE_WRITE_GOLDEN=1` writes the file anew.

use std::fmt::Write;

use moorline_screen::Screen;

const COLS: u16 = 40;
const ROWS: u16 = 10;

fn outputs() -> Vec<(&'static str, String)> {
    let lines = |count: usize| (0..count).fold(String::new(), |text, n| text + &format!("line {n}\r\n"));
    let coloured = (0..25).fold(String::new(), |text, n| {
        text + &format!(
            "\u{1b}[1;3{}mline {n}\u{1b}[0m \u{1b}[48;2;9;{n};200mwide 漢字\u{1b}[49m é\r\n",
            n % 8
        )
    });
    let editor = "$ \u{1b}[?1049h\u{1b}[?1h\u{1b}=\u{1b}[?2004h\u{1b}[?1004h\u{1b}[?1002h\u{1b}[?1006h\u{1b}[2J\u{1b}[H\
        \u{1b}[38;5;130m  1 \u{1b}[m# N\u{f6}tes\r\n\u{1b}[94m~\u{1b}[3;1H~\u{1b}[m\u{1b}[10;1H\u{1b}[7m-- INSERT --\u{1b}[m\
        \u{1b}[2;9r\u{1b}[2 q\u{1b}]2;notes\u{7}\u{1b}[1;5H";
    vec![
        ("a prompt", "$ ".to_owned()),
        ("lines that scrolled away", lines(30) + "$ "),
        ("a line fewer than the screen has", lines(9) + "$ "),
        ("colours in the scrollback", coloured.clone() + "$ "),
        ("an editor on the alternate screen", coloured + editor),
        (
            "an editor that has ended",
            format!("{editor}\u{1b}[?1049l\u{1b}[?1l\u{1b}>\u{1b}[?2004l\u{1b}[?1002l$ "),
        ),
        (
            "margins, origin and insert mode",
            "a\r\nb\r\nc\u{1b}[2;5r\u{1b}[?6h\u{1b}[2;3Hx\u{1b}[4h".to_owned(),
        ),
        (
            "no wrap, a hidden cursor and a saved one",
            "\u{1b}[4;4H\u{1b}7\u{1b}[?7l\u{1b}[?25l\u{1b}[2;2Hhi".to_owned(),
        ),
        (
            "tab stops and line drawing",
            "\u{1b}[3g\u{1b}[1;4H\u{1b}H\u{1b}[1;11H\u{1b}H\r\u{1b}(0qqx".to_owned(),
        ),
        ("a line that is full to the brim", "x".repeat(40)),
        ("a line that wraps", "word ".repeat(30)),
        ("the middle of a sequence", "ab\u{1b}[1;3".to_owned()),
        ("the middle of a title", "ab\u{1b}]0;half a ti".to_owned()),
        ("mouse and focus", "\u{1b}[?1003h\u{1b}[?1006h\u{1b}[?1004h\u{1b}[?1007l".to_owned()),
        ("truecolour on a run of blanks", "\u{1b}[48;2;1;2;3m\u{1b}[K\u{1b}[0mend".to_owned()),
    ]
}

#[test]
fn the_golden_screens_are_what_this_version_draws() {
    let mut golden = String::from(
        "# Written by wire/screen/tests/golden.rs; web/src/link/screen.test.ts draws both on xterm.js.\n\
         # == name, then columns and rows, then as JSON what the program wrote and its snapshot\n",
    );
    for (name, output) in outputs() {
        let mut screen = Screen::new(COLS, ROWS);
        screen.feed(output.as_bytes());
        let snapshot = String::from_utf8(screen.snapshot()).expect("these outputs end at whole characters");
        let quoted = |text: &str| {
            text.chars().fold(String::new(), |quoted, c| match c {
                '"' | '\\' => quoted + "\\" + &c.to_string(),
                c if c.is_control() => quoted + &format!("\\u{:04x}", u32::from(c)),
                c => quoted + &c.to_string(),
            })
        };
        let _ = write!(
            golden,
            "\n== {name}\nsize: {COLS} {ROWS}\noutput: \"{}\"\nsnapshot: \"{}\"\n",
            quoted(&output),
            quoted(&snapshot)
        );
    }
    let path = format!("{}/../golden/term/screens.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("MOORLINE_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &golden).expect("the folder is there");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == golden, "screens.txt is old: look at the change, then MOORLINE_WRITE_GOLDEN=1");
}
