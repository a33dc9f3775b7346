//! Our end of a pipe or pseudo-terminal: reading and writing without a copy and without a thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};
use tokio::io::unix::AsyncFd;

use super::unchecked;

/// Who read less than this, and less than there was room for, has read all: what comes later is told by
/// the kernel, and is not asked for in vain. (A terminal gives 4 KiB at most though it has more.)
const LITTLE: usize = 1024;

/// What a terminal gives at most each time (Linux n_tty: a buffer of 4 KiB that is never quite full).
pub const FULL: usize = 4 * 1024 - 1;

/// So often it is asked for more of a flood, some 20 us where a system call takes half of one.
const ASKS: u32 = 40;

/// Our end of a pipe or pseudo-terminal.
#[derive(Debug)]
pub struct End {
    fd: AsyncFd<OwnedFd>,
}

impl End {
    /// Takes the descriptor over; must be called within the runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        Ok(Self { fd: unchecked::watch(fd)? })
    }

    /// Reads what is there into the spare room of `into`, waiting for at least one byte; 0 at the end.
    pub async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            let room = into.capacity() - into.len();
            match self.try_read(into) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => {
                    if is_all(read, room) {
                        ready.clear_ready();
                    }
                    return Ok(read);
                }
                Err(err) => return Err(err),
            }
        }
    }

    /// Reads without waiting; `WouldBlock` when nothing is there.
    pub fn try_read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        match rustix::io::read(self.fd.get_ref(), spare_capacity(into)) {
            // So Linux says that no program holds the other end of a terminal any more.
            Err(Errno::IO) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Whether a terminal whose last read was full has more, or has it as soon as others had the processor.
    ///
    /// To read would be a slow way to find out. Where nothing is there yet, Linux does not say so at once: it
    /// puts the reader to sleep until a worker of the kernel has moved on what the program wrote (`n_tty_read`,
    /// `tty_buffer_flush_work`). Who reads on without asking sleeps and is woken for each 4 KiB of a flood.
    pub fn refills(&self) -> bool {
        (0..ASKS).any(|_| {
            std::thread::yield_now();
            ioctl_fionread(&self.fd).is_ok_and(|there| there > 0)
        })
    }

    /// As `read`; whoever waits is woken. For one reader at a time.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            let room = into.capacity() - into.len();
            match rustix::io::read(self.fd.get_ref(), spare_capacity(into)) {
                Ok(read) => {
                    if is_all(read, room) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(err) => return Poll::Ready(Err(err.into())),
            }
        }
    }

    /// Writes what fits; whoever waits is woken. For one writer at a time.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_write_ready(cx))?;
            match rustix::io::write(self.fd.get_ref(), bytes) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(err) => return Poll::Ready(Err(err.into())),
            }
        }
    }

    /// Writes what fits, without waiting; `WouldBlock` when nothing does.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.fd.get_ref(), bytes)?)
    }

    /// Writes all of it, waiting while nobody reads.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Writes what fits, waiting while nothing does. Given up, it has written nothing.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.writable().await?;
            match rustix::io::write(self.fd.get_ref(), bytes) {
                Ok(written) => return Ok(written),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }
}

/// Whether nothing more is there now. (An end of file is told again and again.)
fn is_all(read: usize, room: usize) -> bool {
    0 < read && read < room.min(LITTLE)
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sshd::pty;

    #[tokio::test]
    async fn a_terminal_refills_while_its_program_writes_and_not_when_it_has_nothing_more_to_say() {
        let (ours, theirs) = pty::open().unwrap();
        assert!(!ours.refills());
        let all = vec![b'x'; 3 * FULL];
        let writer = std::thread::spawn({
            let all = all.clone();
            move || rustix::io::write(&theirs, &all).map(|written| (written, theirs))
        });
        let mut read = Vec::with_capacity(all.len() + FULL);
        while read.len() < all.len() {
            let first = ours.read(&mut read).await.unwrap();
            assert!(0 < first && first <= FULL, "{first}");
            while ours.refills() {
                ours.try_read(&mut read).unwrap();
            }
        }
        let (written, theirs) = writer.join().unwrap().unwrap();
        assert_eq!((written, read), (all.len(), all));
        assert!(!ours.refills());
        rustix::io::write(&theirs, b"more").unwrap();
        assert!((0..1000).any(|_| ours.refills()));
    }
}
