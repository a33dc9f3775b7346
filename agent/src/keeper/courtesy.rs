//! Keys go first: a keeper whose program floods its terminal gives way, for a moment, while another keeper of the
//! same user waits for the echo of a key.
//!
//! A flood keeps every processor of a small machine busy, and a key on its way waits for one at each step, most of all
//! behind the flooding program and the keeper that reads it. So whoever has a key for its program says in a file, which all
//! keepers of the user have open, until when it waits; and whoever reads a flood looks there between two pieces of it. The
//! program is then held by its full terminal, and the rest of the way by having nothing to carry.
//!
//! Nothing depends on it. The file is in memory (tmpfs), so no disk is written to; where it cannot be had, or is not
//! ours alone, nobody gives way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::unistd::geteuid;
use rustix::fs::OFlags;

/// What a key and its echo take, from the keeper to the program and back to whoever typed, on a busy machine.
const ECHO: Duration = Duration::from_micros(500);
/// What somebody types at once: a key, or what a mouse says. A paste can wait.
const KEYS_MAX: usize = 256;
/// A flood gives way for one part in so many of the time at most, however much is typed;
const SHARE: u32 = 4;
/// and after so much time has been saved up, no more is.
const SAVED_MAX: Duration = Duration::from_millis(5);

/// What a keeper says to the others of its user, and hears from them. All times are those of the monotonic clock.
#[derive(Debug)]
pub struct Courtesy {
    page: Option<File>,
    /// What we said last ourselves.
    said: Option<Duration>,
    /// Until when we give way.
    until: Duration,
    /// For how long we still may.
    saved: Duration,
    counted: Duration,
}

impl Courtesy {
    /// With the others of our user on this machine.
    pub fn new(now: Duration) -> Self {
        let page = open(&Path::new("/dev/shm").join(format!("moorline-{}", geteuid())));
        Self::with(page.ok(), now)
    }

    fn with(page: Option<File>, now: Duration) -> Self {
        Self { page, said: None, until: Duration::ZERO, saved: SAVED_MAX, counted: now }
    }

    /// So many bytes of input go to the program now.
    pub fn types(&mut self, now: Duration, bytes: usize) {
        if bytes > KEYS_MAX {
            return;
        }
        let until = now + ECHO;
        self.said = Some(until);
        if let (Some(page), Ok(nanoseconds)) = (&self.page, u64::try_from(until.as_nanos())) {
            // Where it cannot be said, nobody hears it.
            let _ = page.write_at(&nanoseconds.to_ne_bytes(), 0);
        }
    }

    /// For how long not to read on, for a keeper that reads a flood.
    pub fn gives_way(&mut self, now: Duration) -> Option<Duration> {
        if now >= self.until {
            self.saved = SAVED_MAX.min(self.saved + now.saturating_sub(self.counted) / SHARE);
            self.counted = now;
            let wait = self.heard()?.checked_sub(now)?;
            // No key waits longer: what says so is broken, or of another clock.
            let wait = Some(wait).filter(|wait| *wait <= ECHO && *wait <= self.saved)?;
            self.saved -= wait;
            self.until = now + wait;
        }
        Some(self.until - now).filter(|wait| !wait.is_zero())
    }

    /// Until when another one waits for an echo.
    fn heard(&self) -> Option<Duration> {
        let mut nanoseconds = [0; 8];
        let read = self.page.as_ref()?.read_at(&mut nanoseconds, 0).ok()?;
        let until = Duration::from_nanos(u64::from_ne_bytes(nanoseconds));
        (read == nanoseconds.len() && self.said != Some(until)).then_some(until)
    }
}

/// The file, if it is ours alone. The folder is everybody's.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("the flags of open(2) are an int");
    let file =
        OpenOptions::new().read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o077 == 0;
    // By a second name, somebody else could have us write into another file of ours.
    if is_ours && metadata.nlink() == 1 { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const START: Duration = Duration::from_secs(1000);

    fn after(microseconds: u64) -> Duration {
        START + Duration::from_micros(microseconds)
    }

    /// Two keepers of one user.
    fn two() -> (Courtesy, Courtesy) {
        let folder = tempfile::tempdir().unwrap();
        let one = || Courtesy::with(Some(open(&folder.path().join("page")).unwrap()), START);
        (one(), one())
    }

    #[test]
    fn a_flood_gives_way_while_another_one_waits_for_an_echo_and_not_for_a_paste_or_for_itself() {
        let (mut typed, mut flooded) = two();
        assert_eq!(flooded.gives_way(after(0)), None);
        typed.types(after(10), 1);
        assert_eq!(flooded.gives_way(after(20)), Some(Duration::from_micros(490)));
        assert_eq!(flooded.gives_way(after(500)), Some(Duration::from_micros(10)));
        assert_eq!(flooded.gives_way(after(510)), None);
        typed.types(after(600), KEYS_MAX + 1);
        assert_eq!(flooded.gives_way(after(610)), None);
        flooded.types(after(700), 1);
        assert_eq!(flooded.gives_way(after(710)), None);
        assert!(typed.gives_way(after(710)).is_some());
    }

    #[test]
    fn a_flood_goes_on_for_three_quarters_of_the_time_however_much_is_typed() {
        let (mut typed, mut flooded) = two();
        let mut waited = 0;
        for microsecond in 0..200_000 {
            if microsecond % 50 == 0 {
                typed.types(after(microsecond), 1);
            }
            waited += u64::from(flooded.gives_way(after(microsecond)).is_some());
        }
        assert!((50_000..=55_500).contains(&waited), "{waited} us of 200,000");
    }

    #[test]
    fn what_cannot_be_true_is_not_heeded() {
        let (typed, mut flooded) = two();
        let page = typed.page.as_ref().unwrap();
        for said in [u64::MAX, 0, u64::try_from((after(0) + ECHO * 2).as_nanos()).unwrap()] {
            page.write_at(&said.to_ne_bytes(), 0).unwrap();
            assert_eq!(flooded.gives_way(after(0)), None, "{said}");
        }
        page.set_len(3).unwrap();
        assert_eq!(flooded.gives_way(after(1)), None);
        assert_eq!(Courtesy::with(None, START).gives_way(after(1)), None);
    }

    #[test]
    fn a_file_that_others_can_reach_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("page"), folder.path().join("link"));
        open(&file).unwrap();
        let second = folder.path().join("second");
        std::fs::hard_link(&file, &second).unwrap();
        assert!(open(&file).is_err());
        std::fs::remove_file(&second).unwrap();
        open(&file).unwrap();
        symlink(&file, &link).unwrap();
        assert!(open(&link).is_err());
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(open(&file).is_err());
        assert!(open(folder.path()).is_err());
    }
}
