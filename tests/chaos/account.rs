//! What was written against what was shown, and what was typed against what was taken: lost and
//! doubled bytes, exactly.

use std::collections::HashMap;

use moorline_screen::Screen;
use ring::digest;

use crate::client::{SIZE, Shown};
use crate::counted::hex;

/// What one session lost and doubled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Output that was written and never shown.
    pub bytes_lost: u64,
    /// Output that was shown twice.
    pub bytes_doubled: u64,
    /// Typed and never taken.
    pub keys_lost: u64,
    /// Taken twice.
    pub keys_doubled: u64,
    /// In words, with offsets.
    pub notes: Vec<String>,
}

impl Account {
    /// Adds what another session lost and doubled.
    pub fn add(&mut self, other: Self) {
        self.bytes_lost += other.bytes_lost;
        self.bytes_doubled += other.bytes_doubled;
        self.keys_lost += other.keys_lost;
        self.keys_doubled += other.keys_doubled;
        self.notes.extend(other.notes);
    }

    /// Compares what was shown with what the program wrote. `start`: where in `shown.bytes` the
    /// program's output begins.
    pub fn of_output(&mut self, written: &[u8], shown: &Shown, start: usize) {
        let Some(first) = shown.stretches.first() else {
            self.bytes_lost += written.len() as u64;
            return self.notes.push("nothing was shown".to_owned());
        };
        // The offset of the program's first byte; nothing was reloaded or cut before it.
        let zero = first.from + (start - first.at) as u64;
        let mut next = 0_u64;
        for (index, stretch) in shown.stretches.iter().enumerate() {
            let end = shown.stretches.get(index + 1).map_or(shown.bytes.len(), |after| after.at);
            let mut bytes = &shown.bytes[stretch.at..end];
            let before = zero.saturating_sub(stretch.from).min(bytes.len() as u64);
            bytes = &bytes[before as usize..];
            let from = (stretch.from + before).saturating_sub(zero).min(written.len() as u64);
            if !stretch.reloaded {
                self.jump(next, from, "output");
            }
            let to = (from + bytes.len() as u64).min(written.len() as u64);
            let (shown, wanted) = (&bytes[..(to - from) as usize], &written[from as usize..to as usize]);
            if shown != wanted {
                let at = shown.iter().zip(wanted).position(|(shown, wanted)| shown != wanted).unwrap_or(0);
                let (lost, doubled) = by_lines(wanted, shown);
                self.bytes_lost += lost;
                self.bytes_doubled += doubled;
                self.notes.push(format!("the output differs from offset {} on", zero + from + at as u64));
            }
            next = next.max(to);
        }
        let missing = written.len() as u64 - next;
        if missing > 0 {
            self.bytes_lost += missing;
            self.notes.push(format!("the last {missing} of {} bytes were not shown", written.len()));
        }
    }

    fn jump(&mut self, next: u64, from: u64, what: &str) {
        if from > next {
            self.bytes_lost += from - next;
            self.notes.push(format!("{} bytes of {what} skipped at {next}", from - next));
        } else if from < next {
            self.bytes_doubled += next - from;
            self.notes.push(format!("{} bytes of {what} shown again at {from}", next - from));
        }
    }

    /// Compares every screen that was sent after a reload with what the output up to there shows.
    pub fn of_screens(&mut self, written: &[u8], shown: &Shown, start: usize) {
        let Some(first) = shown.stretches.first() else { return };
        let zero = first.from + (start - first.at) as u64;
        let mut snapshots: Vec<_> = shown.snapshots.iter().filter(|one| one.offset >= zero).collect();
        snapshots.sort_by_key(|one| one.offset);
        let mut whole = Screen::new(SIZE.cols, SIZE.rows);
        whole.feed(&shown.bytes[..start]);
        let mut fed = 0;
        for snapshot in snapshots {
            let to = ((snapshot.offset - zero) as usize).min(written.len()).max(fed);
            whole.feed(&written[fed..to]);
            fed = to;
            let mut rebuilt = Screen::new(snapshot.size.0, snapshot.size.1);
            rebuilt.feed(&snapshot.bytes);
            let after_the_end = snapshot.offset - zero > written.len() as u64;
            if !after_the_end && last_lines(&mut rebuilt) != last_lines(&mut whole) {
                self.bytes_lost += 1;
                self.notes.push(format!(
                    "the screen of offset {} is another one: {:?} instead of {:?}",
                    snapshot.offset,
                    last_lines(&mut rebuilt).last(),
                    last_lines(&mut whole).last()
                ));
            }
        }
    }

    /// Compares the counts and hashes that the program has told (the text after its mark) with its files.
    pub fn of_hashes(&mut self, written: &[u8], taken: &[u8], told: &[u8]) {
        let hash = |bytes| hex(digest::digest(&digest::SHA256, bytes).as_ref());
        let wanted = format!("{} {} {} {}", written.len(), hash(written), taken.len(), hash(taken));
        if !told.starts_with(wanted.as_bytes()) {
            let told = String::from_utf8_lossy(&told[..told.len().min(200)]).into_owned();
            self.bytes_lost += 1;
            self.notes.push(format!("the program told {told:?}, its files have {wanted}"));
        }
    }

    /// Compares what the program read with what was typed.
    pub fn of_input(&mut self, typed: &[u8], taken: &[u8]) {
        if typed == taken {
            return;
        }
        let at = typed.iter().zip(taken).position(|(typed, taken)| typed != taken);
        let at = at.unwrap_or(typed.len().min(taken.len()));
        let (lost, doubled) = by_lines(typed, taken);
        self.keys_lost += lost;
        self.keys_doubled += doubled;
        let around = |bytes: &[u8]| {
            let part = &bytes[at.saturating_sub(20).min(bytes.len())..(at + 40).min(bytes.len())];
            String::from_utf8_lossy(part).into_owned()
        };
        self.notes.push(format!(
            "typed {} bytes, taken {}; they differ at {at}: typed {:?}, taken {:?}",
            typed.len(),
            taken.len(),
            around(typed),
            around(taken)
        ));
    }
}

fn last_lines(screen: &mut Screen) -> Vec<String> {
    let text = screen.text();
    let text: Vec<_> = text.iter().map(|line| line.trim_end().to_owned()).collect();
    let end = text.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    text[end.saturating_sub(usize::from(SIZE.rows) - 1)..end].to_vec()
}

/// How many bytes of lines are missing in `got`, and how many are there more often than in `wanted`
/// (each line carries its number, so none stands twice in `wanted`). Never (0, 0): same lines in
/// another order count as one lost byte.
fn by_lines(wanted: &[u8], got: &[u8]) -> (u64, u64) {
    let mut lines: HashMap<&[u8], i64> = HashMap::new();
    for line in wanted.split_inclusive(|byte| *byte == b'\n') {
        *lines.entry(line).or_default() += 1;
    }
    for line in got.split_inclusive(|byte| *byte == b'\n') {
        *lines.entry(line).or_default() -= 1;
    }
    let sum = |sign: i64| {
        let of_sign = lines.iter().map(|(line, count)| line.len() as u64 * (count * sign).max(0) as u64);
        of_sign.sum::<u64>()
    };
    match (sum(1), sum(-1)) {
        (0, 0) => (1, 0),
        both => both,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Stretch;

    const WRITTEN: &[u8] = b"L 1\r\nL 2\r\nL 3\r\n";

    fn account(stretches: &[(u64, &[u8], bool)]) -> Account {
        let mut shown = Shown { bytes: b"$ START".to_vec(), ..Shown::default() };
        shown.stretches.push(Stretch { from: 0, at: 0, reloaded: false });
        for (from, bytes, reloaded) in stretches {
            shown.stretches.push(Stretch { from: 7 + from, at: shown.bytes.len(), reloaded: *reloaded });
            shown.bytes.extend_from_slice(bytes);
        }
        let mut account = Account::default();
        account.of_output(WRITTEN, &shown, 7);
        account
    }

    fn output(account: &Account) -> (u64, u64) {
        (account.bytes_lost, account.bytes_doubled)
    }

    #[test]
    fn what_was_shown_once_and_whole_is_neither_lost_nor_doubled() {
        assert_eq!(account(&[(0, WRITTEN, false)]), Account::default());
        assert_eq!(account(&[(0, &WRITTEN[..6], false), (6, &WRITTEN[6..], false)]), Account::default());
    }

    #[test]
    fn a_hole_and_an_end_that_never_came_are_lost() {
        assert_eq!(output(&account(&[(0, &WRITTEN[..5], false), (8, &WRITTEN[8..], false)])), (3, 0));
        assert_eq!(output(&account(&[(0, &WRITTEN[..5], false)])), (10, 0));
    }

    #[test]
    fn what_comes_twice_is_doubled_but_not_after_a_reload() {
        let twice = [(0, &WRITTEN[..9], false), (5, &WRITTEN[5..], false)];
        assert_eq!(output(&account(&twice)), (0, 4));
        let reloaded = [(0, &WRITTEN[..9], false), (5, &WRITTEN[5..], true)];
        assert_eq!(output(&account(&reloaded)), (0, 0));
    }

    #[test]
    fn what_a_snapshot_stands_for_after_a_reload_is_not_lost() {
        assert_eq!(output(&account(&[(0, &WRITTEN[..5], false), (10, &WRITTEN[10..], true)])), (0, 0));
    }

    #[test]
    fn bytes_under_the_wrong_offset_are_found() {
        let account = account(&[(0, b"L 1\r\nL 1\r\nL 3\r\n", false)]);
        assert_eq!(output(&account), (5, 5));
        assert!(account.notes[0].contains("offset 14"), "{:?}", account.notes);
    }

    #[test]
    fn keys_are_counted_alike() {
        let mut account = Account::default();
        account.of_input(b"k 1\nk 2\nk 3\n", b"k 1\nk 3\nk 3\n");
        assert_eq!((account.keys_lost, account.keys_doubled), (4, 4));
        let mut account = Account::default();
        account.of_input(b"k 1\nk 2\n", b"k 2\nk 1\n");
        assert_eq!((account.keys_lost, account.keys_doubled), (1, 0));
    }
}
