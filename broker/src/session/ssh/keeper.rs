//! The way to a keeper: a channel that runs `moorline-agent keep`, without a terminal.

use bytes::{Bytes, BytesMut};
use moorline_wire::Code;
use moorline_wire::keep::PREAMBLE;
use russh::{Channel, ChannelMsg, client};

use super::{FromShell, Tell};

/// What start-up files of the login may write before the keeper's first word, and what of its
/// complaints is written to the log.
const NOISE_BYTES_MAX: usize = 64 * 1024;
const COMPLAINT_BYTES_MAX: usize = 512;

/// Runs it and waits for its first word. The inner error: there is no keeper to be run, and why.
pub(super) async fn ask(
    channel: &mut Channel<client::Msg>,
    exec: String,
    tell: &Tell,
) -> Result<Result<(), String>, FromShell> {
    channel.exec(true, exec).await.map_err(|err| tell.broken(Code::SSH_FAILED, err))?;
    let (mut said, mut complaint) = (BytesMut::new(), BytesMut::new());
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                said.extend_from_slice(&data);
                if said.windows(PREAMBLE.len()).any(|window| window == PREAMBLE) {
                    tell.event(FromShell::Housed { kept: true });
                    tell.output(said.freeze());
                    return Ok(Ok(()));
                }
                if said.len() > NOISE_BYTES_MAX {
                    return Ok(Err("what runs there is no keeper".to_owned()));
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => complain(&mut complaint, &data),
            Some(ChannelMsg::Failure) => return Ok(Err("the sshd runs no commands".to_owned())),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                return Ok(Err(format!("it exited with status {exit_status}: {}", in_one_line(&complaint))));
            }
            Some(ChannelMsg::Close) => return Ok(Err("it ended without a word".to_owned())),
            Some(_) => {}
            None => {
                let cause = anyhow::anyhow!("the connection ended before the keeper was there");
                return Err(tell.broken(Code::SSH_FAILED, cause));
            }
        }
    }
}

pub(super) fn complain(complaint: &mut BytesMut, data: &Bytes) {
    let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
    complaint.extend_from_slice(&data[..data.len().min(room)]);
}

/// A device's words, fit for one line of the log.
pub(super) fn in_one_line(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
