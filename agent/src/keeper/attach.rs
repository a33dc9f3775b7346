//! What runs at the end of an SSH channel: finds the session's keeper, or starts it, and carries bytes.
//!
//! A keeper takes over what sshd gave us, see [`super::line`], and we only wait until it lets go of it.
//! Where it cannot, two threads copy, one each way, and whichever comes to an end ends the process. So
//! it never outlives its SSH connection, which closes its input, and it has nothing to do while nobody
//! speaks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use moorline_wire::SessionId;
use moorline_wire::keep::frame::CONTROL_BYTES_MAX;
use moorline_wire::keep::{Decoder, FromKeeper, KeeperControl, OrderControl, PREAMBLE, ToKeeper};

use super::line::{self, Answer};
use super::place::{Locked, Place, PlaceError};
use crate::clock;
use crate::sshd::unchecked;

/// How long the keeper may take to be there and to answer the first message.
const ANSWER: Duration = Duration::from_secs(10);
/// When to look again for a keeper that is just being started, or is just leaving.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// As large as an SSH packet is.
const PIECE: usize = 32 * 1024;

/// Why there is no keeper to speak to.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot start the keeper: {0}")]
    Start(#[source] io::Error),
    #[error("the keeper does not answer")]
    Silent,
}

/// The first message, as it came.
struct Take {
    bytes: Vec<u8>,
    creates: bool,
}

/// Runs until either side ends.
pub fn run(session: &SessionId, dir: Option<&Path>) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    out.write_all(PREAMBLE)?;
    let Some(take) = read_take(&mut input, session)? else {
        let text = "the first message takes no session, or another one".to_owned();
        return say(&mut out, KeeperControl::Failed { text });
    };
    match find(session, dir, &take) {
        Ok(Some((keeper, Answer::TakenOver))) => wait(session, keeper),
        Ok(Some((keeper, Answer::Says(answer)))) => {
            out.write_all(&answer)?;
            carry(input, out, keeper)
        }
        Ok(None) => say(&mut out, KeeperControl::Absent),
        Err(err) => say(&mut out, KeeperControl::Failed { text: err.to_string() }),
    }
}

fn say(out: &mut impl Write, control: KeeperControl) -> io::Result<()> {
    out.write_all(&FromKeeper::Control(control).encode())
}

/// Reads one message and not a byte more. `None`: it is not what it must be.
fn read_take(input: &mut impl Read, session: &SessionId) -> io::Result<Option<Take>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut bytes = length.to_vec();
    let length = u32::from_be_bytes(length) as usize;
    if length > 1 + CONTROL_BYTES_MAX {
        return Ok(None);
    }
    bytes.resize(4 + length, 0);
    input.read_exact(&mut bytes[4..])?;
    let mut decoder = Decoder::plain();
    decoder.push(&bytes);
    let Ok(Some(raw)) = decoder.next_message() else { return Ok(None) };
    Ok(match ToKeeper::decode(raw) {
        Ok(Some(ToKeeper::Order(OrderControl::Take { session: taken, create, .. }))) if taken == *session => {
            Some(Take { bytes, creates: create.is_some() })
        }
        _ => None,
    })
}

/// A keeper that has answered the first message, and its answer so far. `None`: there is none.
fn find(
    session: &SessionId,
    dir: Option<&Path>,
    take: &Take,
) -> Result<Option<(UnixStream, Answer)>, AttachError> {
    let place = Place::open(session, dir)?;
    let deadline = clock::now() + ANSWER;
    let mut started = false;
    loop {
        let locked = if take.creates { place.lock()? } else { place.lock_if_there()? };
        match locked {
            Locked::Absent => return Ok(None),
            Locked::ByUs(_lock) if !take.creates => {
                // A keeper that was killed, or the device restarted.
                place.clear();
                return Ok(None);
            }
            // It went without a word.
            Locked::ByUs(_lock) if started => {
                place.clear();
                return Err(AttachError::Silent);
            }
            Locked::ByUs(lock) => {
                started = true;
                let listener = place.listen(&lock)?;
                start(session, &place, lock.into(), listener.into()).map_err(AttachError::Start)?;
            }
            Locked::ByAnother => {}
        }
        if let Some(found) = place.connect().ok().and_then(|keeper| answer(keeper, take)) {
            return Ok(Some(found));
        }
        // It is just coming, or has just gone.
        if clock::now() > deadline {
            return Err(AttachError::Silent);
        }
        clock::stand_still(LOOK_AGAIN);
    }
}

fn answer(mut keeper: UnixStream, take: &Take) -> Option<(UnixStream, Answer)> {
    keeper.set_read_timeout(Some(ANSWER)).ok()?;
    line::say_first(&mut keeper, &take.bytes, [io::stdin().as_fd(), io::stdout().as_fd()]).ok()?;
    let answer = line::hear_first(&mut keeper).ok()??;
    keeper.set_read_timeout(None).ok()?;
    Some((keeper, answer))
}

/// Until the keeper lets go of what it has taken over. There is one such process for each session, and
/// a small shell waits in a twentieth of our memory.
fn wait(session: &SessionId, mut keeper: UnixStream) -> io::Result<()> {
    let mut shell = Command::new("/bin/sh");
    // The last word is only for who lists processes.
    shell.args(["-c", "read _; exit 0", &format!("moorline-agent keep --session {session}")]);
    shell.stdin(OwnedFd::from(keeper.try_clone()?)).stdout(Stdio::null()).stderr(Stdio::null());
    // It comes back only where there is no shell.
    let _ = shell.exec();
    io::copy(&mut keeper, &mut io::sink()).map(drop)
}

/// The keeper: the same program, in a session of its own and nobody's child. It gets the lock and the
/// socket as its standard input and output.
fn start(session: &SessionId, place: &Place, lock: OwnedFd, listener: OwnedFd) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["keep", "--hold", "--session", session.as_str(), "--dir"]).arg(place.path());
    command.stdin(Stdio::from(lock)).stdout(Stdio::from(listener)).stderr(Stdio::null());
    unchecked::detach(command)
}

fn carry(mut input: File, mut out: File, keeper: UnixStream) -> io::Result<()> {
    let mut towards = keeper.try_clone()?;
    // Owner: the process, which ends when either of the two does.
    std::thread::spawn(move || {
        let _ = copy(&mut input, &mut towards);
        // At once, whatever is still on its way out: the other side of it is gone.
        std::process::exit(0);
    });
    let _ = copy(&mut &keeper, &mut out);
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&piece[..length])?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}
