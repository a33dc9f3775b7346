//! A pseudo-terminal: its two ends, its size, and who is in its foreground.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::end::End;

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
    /// Pixels in a line, if known.
    pub pixel_width: u16,
    /// Lines of pixels, if known.
    pub pixel_height: u16,
}

impl Size {
    /// From the numbers of an SSH message; what is too large for a terminal is cut to the largest.
    pub fn from_ssh(cols: u32, rows: u32, pixel_width: u32, pixel_height: u32) -> Self {
        let fit = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            cols: fit(cols),
            rows: fit(rows),
            pixel_width: fit(pixel_width),
            pixel_height: fit(pixel_height),
        }
    }
}

/// A new pseudo-terminal: our end, and the program's. Neither outlives an exec by accident, so that
/// no session's program keeps the terminal of another open.
pub fn open() -> io::Result<(End, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    Ok((End::new(ours)?, theirs))
}

/// Tells the program the new size.
pub fn resize(end: &End, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: size.pixel_width,
        ws_ypixel: size.pixel_height,
    };
    Ok(tcsetwinsize(end, size)?)
}

/// The process group in the foreground, which a typed Ctrl-C would reach.
pub fn foreground(end: &End) -> Option<i32> {
    tcgetpgrp(end).ok().map(|group| group.as_raw_nonzero().get())
}
