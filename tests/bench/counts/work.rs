//! What is counted: each after a warm-up, so that buffers have grown and rings are full.

use bytes::Bytes;
use moorline_screen::Screen;

use crate::device::RING_BYTES;
use crate::page::SIZE;
use crate::path::Path;
use crate::text;

const KEYS: u64 = 1000;
/// What the keeper reads from the program's terminal at once.
const PIECE: usize = 16 * 1024;
/// So many pieces are written while a byte takes one step of its way: 32 MB/s.
const PIECES_AT_ONCE: usize = 2;
const MEBIBYTE: usize = 1024 * 1024;

/// The function in which callgrind counts, as a pattern for its name.
pub const COUNTED: &str = "*::counted_here*";

/// One of the things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// From `Viewer::typed` to the acknowledgement of the echo, through everything in between.
    Key,
    /// From the program to the page's terminal, with every acknowledgement and credit.
    Output,
    /// The same on the screen that the keeper keeps beside it.
    Screen,
    /// There, what a program writes that draws all over the screen.
    Drawing,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Key, Self::Output, Self::Screen, Self::Drawing];

    /// Its name on the command line and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "keystroke",
            Self::Output => "output_mebibyte",
            Self::Screen => "screen_mebibyte",
            Self::Drawing => "drawing_mebibyte",
        }
    }

    /// What it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Key => "one keystroke to the program, its echo and every acknowledgement",
            Self::Output => "1 MiB of output to the page in pieces of 16 KiB, with every acknowledgement",
            Self::Screen => "1 MiB of lines on the keeper's own screen",
            Self::Drawing => "1 MiB of a program that draws all over the keeper's own screen",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    /// How often what `words` says is done while callgrind counts.
    pub fn times(self) -> u64 {
        match self {
            Self::Key => KEYS,
            Self::Output | Self::Screen | Self::Drawing => 1,
        }
    }

    /// Does it.
    pub fn run(self) {
        match self {
            Self::Key => keys(),
            Self::Output => output(),
            Self::Screen => screen(&text::of(MEBIBYTE)),
            Self::Drawing => screen(&text::drawn(MEBIBYTE)),
        }
    }
}

/// Callgrind counts from its beginning to its end. It must stay a function of its own.
#[inline(never)]
fn counted_here(work: &mut dyn FnMut()) {
    work();
}

fn keys() {
    let mut path = Path::new();
    type_keys(&mut path);
    counted_here(&mut || type_keys(&mut path));
    assert_eq!((path.device.taken, path.page.seen), (2 * KEYS, 2 * KEYS), "each key is echoed once");
}

fn type_keys(path: &mut Path) {
    for _ in 0..KEYS {
        path.press(b'x');
        path.settle();
    }
}

fn output() {
    let mut path = Path::new();
    let pieces = pieces(&text::of(MEBIBYTE));
    let rounds_before = RING_BYTES / MEBIBYTE + 1;
    for _ in 0..rounds_before {
        write(&mut path, &pieces);
    }
    counted_here(&mut || write(&mut path, &pieces));
    let all = (rounds_before + 1) * MEBIBYTE;
    assert_eq!(path.page.seen, all as u64, "everything was seen once");
}

fn pieces(text: &[u8]) -> Vec<Bytes> {
    text.chunks(PIECE).map(Bytes::copy_from_slice).collect()
}

fn write(path: &mut Path, pieces: &[Bytes]) {
    for some in pieces.chunks(PIECES_AT_ONCE) {
        some.iter().for_each(|piece| path.device.program_writes(piece.clone()));
        path.tick();
    }
    path.settle();
}

fn screen(text: &[u8]) {
    let mut screen = Screen::new(SIZE.cols, SIZE.rows);
    feed(&mut screen, text);
    counted_here(&mut || feed(&mut screen, text));
    assert!(!screen.text().concat().is_empty(), "something stands on the screen");
}

fn feed(screen: &mut Screen, text: &[u8]) {
    text.chunks(PIECE).for_each(|piece| screen.feed(piece));
}
