//! `tests/bench/counts.toml`: the counts that hold, and with what they were made.
//!
//! The counts depend on the compiler, on the C library's allocator and its way to copy memory, and on
//! the processor that valgrind imitates. Where one of these is another, the numbers would say nothing
//! about the change.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::work::Work;

/// A count may grow by this many in a hundred.
pub const GROWTH_MAX: f64 = 5.0;

const HEAD: &str = "\
# How many instructions a keystroke and 1 MiB of output cost in wire, as callgrind counts them.
# `make counts` compares and `make test` fails above +5 %; `tests/scripts/counts.sh write` takes new ones.
";

/// With what the counts were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    rustc: String,
    libc: String,
    valgrind: String,
    processor: String,
}

/// How many instructions something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// In all. To copy a byte is one instruction where it is copied with many others, so this tells
    /// most of how often a byte is copied.
    pub instructions: u64,
    /// Without those that copy memory: what is done for a message, however long it is.
    pub beside_copying: u64,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    tools: Tools,
    counts: Vec<(Work, Count)>,
}

impl Tools {
    /// Those that are here.
    pub fn here() -> io::Result<Self> {
        Ok(Self {
            rustc: said_by("rustc", &["--version"])?,
            libc: said_by("getconf", &["GNU_LIBC_VERSION"])?,
            valgrind: said_by("valgrind", &["--version"])?,
            processor: processor(),
        })
    }

    fn each(&self) -> [(&'static str, &str); 4] {
        [
            ("rustc", &self.rustc),
            ("libc", &self.libc),
            ("valgrind", &self.valgrind),
            ("processor", &self.processor),
        ]
    }

    /// What is another here than there, in words; nothing: the counts can be compared.
    pub fn difference(&self, there: &Self) -> Option<String> {
        let both = self.each().into_iter().zip(there.each());
        let other = both.filter(|(here, there)| here != there);
        let words: Vec<_> =
            other.map(|((_, here), (_, there))| format!("{here} is here and was {there}")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Valgrind imitates one that has AVX2 if the real one has it, and the C library copies by it.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let avx2 = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = false;
    format!("{}{}", std::env::consts::ARCH, if avx2 { " with AVX2" } else { "" })
}

fn said_by(program: &str, words: &[&str]) -> io::Result<String> {
    let said = Command::new(program).args(words).output();
    let said = said.map_err(|err| io::Error::new(err.kind(), format!("cannot start {program}: {err}")))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

impl Count {
    /// Each number with its name.
    pub fn each(self) -> [(&'static str, u64); 2] {
        [("instructions", self.instructions), ("beside_copying", self.beside_copying)]
    }
}

impl Ledger {
    /// Of counts that were just made.
    pub fn new(tools: Tools, counts: Vec<(Work, Count)>) -> Self {
        Self { tools, counts }
    }

    /// Reads the file, of which each line is a comment, the head of a section or `key = value`.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|err| io::Error::new(err.kind(), format!("cannot read {}: {err}", path.display())))?;
        Self::of(&text).ok_or_else(|| io::Error::other(format!("{} is not understood", path.display())))
    }

    fn of(text: &str) -> Option<Self> {
        let string = |key: &str| Some(value(text, "made_with", key)?.trim_matches('"').to_owned());
        let tools = Tools {
            rustc: string("rustc")?,
            libc: string("libc")?,
            valgrind: string("valgrind")?,
            processor: string("processor")?,
        };
        let number = |work: Work, key: &str| value(text, work.name(), key)?.replace('_', "").parse().ok();
        let counts = Work::ALL.map(|work| {
            let instructions = number(work, "instructions")?;
            Some((work, Count { instructions, beside_copying: number(work, "beside_copying")? }))
        });
        Some(Self { tools, counts: counts.into_iter().collect::<Option<_>>()? })
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.text())
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n[made_with]\n");
        for (name, value) in self.tools.each() {
            let _ = writeln!(text, "{name} = \"{value}\"");
        }
        for (work, count) in &self.counts {
            let _ = writeln!(text, "\n# {}\n[{}]", work.words(), work.name());
            for (name, number) in count.each() {
                let _ = writeln!(text, "{name} = {}", grouped(number, '_'));
            }
        }
        text
    }

    /// With what it was made.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The count of that work.
    pub fn count(&self, work: Work) -> Option<Count> {
        self.counts.iter().find(|(of, _)| *of == work).map(|(_, count)| *count)
    }
}

/// What stands behind the key in that section.
fn value<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let pairs = lines.by_ref().take_while(|line| !line.starts_with('['));
    pairs.filter_map(|line| line.split_once(" = ")).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The number with something between its thousands.
pub fn grouped(number: u64, between: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(between);
        }
        text.push(digit);
    }
    text
}

/// What a count is against the one that holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// In a hundred.
    pub percent: f64,
}

impl Change {
    /// From the one to the other.
    pub fn of(before: u64, now: u64) -> Self {
        Self { percent: (now as f64 - before as f64) * 100.0 / before.max(1) as f64 }
    }

    /// It is more than may be.
    pub fn is_too_much(self) -> bool {
        self.percent > GROWTH_MAX
    }

    /// It is so much less that the file should say so, or half of it could be lost again unseen.
    pub fn is_worth_writing(self) -> bool {
        self.percent < -GROWTH_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Tools {
        let [rustc, libc, valgrind, processor] =
            ["rustc 1", "glibc 2", "valgrind-3", "x86_64"].map(String::from);
        Tools { rustc, libc, valgrind, processor }
    }

    fn counts() -> impl Iterator<Item = Count> {
        (12..).map(|beside_copying| Count { instructions: 1_234_567, beside_copying })
    }

    #[test]
    fn what_is_written_reads_back() {
        let ledger = Ledger::new(tools(), Work::ALL.into_iter().zip(counts()).collect());
        assert!(ledger.text().contains("instructions = 1_234_567\nbeside_copying = 12"));
        assert_eq!(Ledger::of(&ledger.text()), Some(ledger));
        assert_eq!(Ledger::of("[keystroke]\ninstructions = 5\n"), None);
    }

    #[test]
    fn six_percent_more_is_too_much_and_five_are_not() {
        let of = |now| Change::of(10_000, now);
        assert!(!of(10_500).is_too_much() && of(10_501).is_too_much());
        assert!(!of(9_500).is_worth_writing() && of(9_400).is_worth_writing());
    }

    #[test]
    fn another_compiler_is_named() {
        let other = Tools { rustc: "rustc 2".into(), ..tools() };
        assert_eq!(tools().difference(&tools()), None);
        assert_eq!(tools().difference(&other).as_deref(), Some("rustc 1 is here and was rustc 2"));
    }
}
