//! The floor: a process that sends back what it gets. What a key takes here is what client and kernel take.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result};

/// What asks for this many bytes instead of an echo: the mark and eight bytes, the lowest first.
pub const WANTED: &[u8] = b"bytes:";

/// Serves on this port until it is killed.
pub fn serve(port: Option<&String>) -> Result<()> {
    let port: u16 = port.context("echo needs a port")?.parse()?;
    for stream in TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.incoming() {
        let stream = stream?;
        // Owner: the process; each ends with its connection.
        std::thread::spawn(move || echo(stream));
    }
    Ok(())
}

/// An error here is a connection that has ended.
fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![b'x'; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        match buffer[..length].strip_prefix(WANTED).and_then(|rest| rest.try_into().ok()) {
            _ if length == 0 => return Ok(()),
            Some(wanted) => send(&mut stream, u64::from_le_bytes(wanted))?,
            None => stream.write_all(&buffer[..length])?,
        }
    }
}

fn send(stream: &mut TcpStream, wanted: u64) -> std::io::Result<()> {
    let bytes = vec![b'x'; 64 * 1024];
    let mut rest = wanted;
    while rest > 0 {
        let piece = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        stream.write_all(&bytes[..piece])?;
        rest -= piece as u64;
    }
    Ok(())
}
