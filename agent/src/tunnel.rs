//! A stream of the link to the system's own sshd.

use std::io;
use std::time::Duration;

use moorline_link_io::LinkStream;
use moorline_wire::Code;
use tokio::net::TcpStream;

use crate::clock;

/// As large as the pieces in which an SSH connection under load moves.
const BUFFER: usize = 64 * 1024;

/// Copies both ways until both sides are finished or one broke. An end of one direction is passed on
/// and the other goes on. When this future is dropped, both sides are closed.
pub async fn run(mut stream: LinkStream, address: &str, connect: Duration) {
    let id = stream.id();
    let mut sshd = match dial(address, connect).await {
        Ok(sshd) => sshd,
        Err(err) => {
            tracing::warn!(stream = %id, address, %err, "cannot reach the sshd");
            return stream.reset(Code::SSHD_UNREACHABLE);
        }
    };
    match tokio::io::copy_bidirectional_with_sizes(&mut stream, &mut sshd, BUFFER, BUFFER).await {
        Ok((to_sshd, from_sshd)) => tracing::debug!(stream = %id, to_sshd, from_sshd, "tunnel finished"),
        Err(err) => tracing::debug!(stream = %id, %err, "tunnel broke"),
    }
}

async fn dial(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let sshd = clock::within(limit, "connecting to the sshd", TcpStream::connect(address)).await??;
    sshd.set_nodelay(true)?;
    Ok(sshd)
}
