//! Bytes as they are: the `ssh` program without a terminal on this side, and the echo.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Line, PATIENCE, http, nothing_came};

/// What a pipe holds: the program gets no more room for its output than it would have in one.
const ROOM_BYTES: usize = 64 * 1024;

/// See the module.
pub struct Plain<S> {
    stream: S,
    buffer: Box<[u8]>,
    program: Option<Program>,
}

impl Plain<UnixStream> {
    /// Starts the program with a pair of sockets for a terminal; what it complains about goes to `log`.
    pub fn program(mut command: Command, log: std::fs::File) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        socket2::SockRef::from(&theirs).set_send_buffer_size(ROOM_BYTES)?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let theirs = OwnedFd::from(theirs);
        command.stdin(theirs.try_clone()?).stdout(theirs).stderr(Stdio::from(log));
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self::of(ours, Some(Program(child))))
    }
}

impl Plain<TcpStream> {
    /// Connects to the echo.
    pub fn echo(address: SocketAddr) -> Result<Self> {
        let stream = http::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::of(stream, None))
    }
}

impl<S> Plain<S> {
    fn of(stream: S, program: Option<Program>) -> Self {
        Self { stream, buffer: vec![0; 128 * 1024].into(), program }
    }
}

impl<S: Read + Write + Send> Line for Plain<S> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    fn receive(&mut self) -> Result<&[u8]> {
        match self.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the connection has ended"),
            Ok(length) => Ok(&self.buffer[..length]),
            Err(error) if nothing_came(&error) => Ok(&[]),
            Err(error) => Err(error.into()),
        }
    }

    fn programs(&self) -> Vec<u32> {
        self.program.iter().map(|program| program.0.id()).collect()
    }
}

/// A program that ends with its line.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
