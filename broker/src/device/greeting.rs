//! The greeting of an agent: who is there, may it come in, are its host keys the pinned ones?
//!
//! The device's id is the hash of its first key; whoever claims an id proves that key, or the one that took
//! its place since. A device that the broker does not know must prove an install key (`enrolling`); what its
//! sshd then shows as host keys is pinned.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::BASE32_NOPAD;
use moorline_wire::link::greeting::{
    Challenge, HEARD, Hello, INSTALL_KEYS, Message, NEXT_KEYS, Refused, VERSIONS, Welcome,
};
use moorline_wire::{Code, DeviceId};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use russh::keys::ssh_key;
use tracing::{info, warn};

use super::{DeviceParts, enrolling};
use crate::clock;
use crate::metrics::Proof;
use crate::problem::Problem;
use crate::readable::harmless;
use crate::socket::{Incoming, Outgoing, SocketEnds};
use crate::store::{DeviceRow, DeviceSeen, Standing};
use crate::token::Hashed;

/// An sshd has a handful of host keys.
const HOST_KEYS_MAX: usize = 16;

/// What an agent says of itself for people to read has at most so many characters.
const TEXT_CHARS_MAX: usize = 128;

/// How the capability of keeping shells begins; the path of the agent's program follows.
const KEEPER: &str = "keeper:";

/// PATH_MAX of Linux: a longer path names nothing.
const PATH_BYTES_MAX: usize = 4096;

/// A device that has proved who it is and may come in.
#[derive(Debug)]
pub struct Greeted {
    /// Which device.
    pub device: DeviceId,
    /// The resume token that it showed.
    pub resume: Option<Hashed>,
    /// Our proof of the install key, when it enrolled itself.
    pub enrolled: Option<String>,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_ahead: i64,
    /// Where its agent's program is, if it keeps shells.
    pub keeper: Option<String>,
    /// Which handover of the CA it has heard; 0: none.
    pub heard: u64,
    /// It gets no sessions until somebody approves it.
    pub pending: bool,
    /// The next key that it showed counts from now on.
    pub next_key_taken: bool,
    /// It is asked for another key.
    pub key_asked: bool,
    /// When it was asked who it is.
    pub began: Instant,
}

/// Challenges the agent, reads its answer and decides. Who is refused is told why.
pub async fn greet(parts: &DeviceParts, ends: &mut SocketEnds, peer: SocketAddr) -> Result<Greeted, Problem> {
    let began = clock::now();
    let challenge = Challenge {
        versions: VERSIONS,
        broker: parts.config.name.clone(),
        nonce: nonce()?,
        knows: vec![INSTALL_KEYS.to_owned(), NEXT_KEYS.to_owned()],
    };
    let asked = Outgoing::Binary(Message::Challenge(challenge.clone()).encode());
    ends.outgoing.send(asked).await.map_err(|_| gone())?;
    let hello = match ends.incoming.recv().await {
        Some(Incoming::Binary(frame)) => match Message::decode(&frame) {
            Ok(Message::Hello(hello)) => hello,
            Ok(_) => return Err(out_of_place("a greeting that is not a hello")),
            Err(violation) => return Err(Problem::new(violation.code).because(violation)),
        },
        Some(Incoming::Text(_)) => return Err(out_of_place("a text message in the greeting")),
        None => return Err(gone()),
    };
    let key = verify(&hello, &challenge)?;
    // It is large, and over soon: not in every connection's future.
    Box::pin(admit(parts, hello, &challenge, key, peer, began)).await
}

/// The message that tells an agent why it is not let in.
pub fn refusal(problem: &Problem) -> Refused {
    // Who is too early is asked to come later; who is wrong will not be right in a moment.
    let retry_after_ms = match problem.code {
        Code::OVERLOADED | Code::GAVE_UP | Code::STORE_FAILED => Some(5_000),
        Code::NOT_ENROLLED | Code::BAD_SIGNATURE | Code::VERSION | Code::INSTALL_KEY_OVER => Some(30_000),
        _ => None,
    };
    Refused { code: problem.code, text: problem.text.clone(), retry_after_ms }
}

fn nonce() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Problem::new(Code::INTERNAL).because(anyhow::anyhow!("the system gave no random bytes"))
    })?;
    Ok(BASE64.encode(bytes))
}

fn gone() -> Problem {
    Problem::new(Code::CANCELLED).because(anyhow::anyhow!("the agent went away during its greeting"))
}

fn out_of_place(what: &'static str) -> Problem {
    Problem::new(Code::PROTOCOL).because(anyhow::anyhow!(what))
}

/// The id that belongs to a public key.
pub fn device_id(key: &[u8]) -> DeviceId {
    let hash = digest(&SHA256, key);
    let text = BASE32_NOPAD.encode(&hash.as_ref()[..10]).to_ascii_lowercase();
    format!("{}{text}", DeviceId::PREFIX).parse().expect("80 bits are 16 characters of base32")
}

/// The device's public key, if the hello is signed with it and says nothing impossible.
fn verify(hello: &Hello, challenge: &Challenge) -> Result<Vec<u8>, Problem> {
    if !(VERSIONS.1..=VERSIONS.0).contains(&hello.version) {
        return Err(Problem::new(Code::VERSION));
    }
    let unproved = |what| Problem::new(Code::BAD_SIGNATURE).because(anyhow::anyhow!("{what}"));
    let key = BASE64.decode(&hello.key).map_err(|_| unproved("the key is not base64"))?;
    let signature = BASE64.decode(&hello.signature).map_err(|_| unproved("the signature is not base64"))?;
    UnparsedPublicKey::new(&ED25519, &key)
        .verify(&hello.signed_bytes(challenge), &signature)
        .map_err(|_| unproved("the signature is not the key's"))?;
    Ok(key)
}

/// Decides about a device that has proved its key.
async fn admit(
    parts: &DeviceParts,
    hello: Hello,
    challenge: &Challenge,
    key: Vec<u8>,
    peer: SocketAddr,
    began: Instant,
) -> Result<Greeted, Problem> {
    let host_keys = host_keys(&hello.host_keys)?;
    let row = parts.store.device(&hello.device).await?;
    owns(row.as_ref(), &hello, &key)?;
    let proved = enrolling::proved(parts, &hello, challenge).await?;
    let (mut next_key_taken, mut key_asked) = (false, false);
    let standing = match row {
        Some(row) if row.standing == Standing::Revoked => return Err(Problem::new(Code::DEVICE_REVOKED)),
        Some(row) => {
            next_key_taken = keys_changed(parts, &hello, challenge, &row, &key, peer).await?;
            // A greeting with the next key is what was asked for.
            key_asked = row.key_asked && row.key == key && !next_key_taken;
            known(parts, &hello, &row, host_keys).await?;
            row.standing
        }
        None => enrolling::enroll(parts, &hello, key, host_keys, proved.as_ref(), peer).await?,
    };
    if hello.stood_still_ms > 0 {
        info!(device = %hello.device, for_ms = hello.stood_still_ms, "agent stood still");
        parts.metrics.agent_stood_still();
    }
    let heard = heard(&hello.capabilities);
    if heard > 0 {
        parts.store.heard_ca(&hello.device, heard).await?;
    }
    Ok(Greeted {
        heard,
        resume: hello.resume.as_deref().map(Hashed::of),
        enrolled: proved.map(|proved| {
            let proof = hmac::sign(&proved.broker, &Welcome::enroll_bytes(&hello, parts.ca.public_line()));
            BASE64.encode(proof)
        }),
        clock_ahead: hello.clock.saturating_sub(clock::wall().as_second()),
        keeper: keeper(&hello.capabilities),
        pending: standing == Standing::Pending,
        next_key_taken,
        key_asked,
        began,
        device: hello.device,
    })
}

/// Whether the id is the key's: a new device's follows from it, a known one's is in the store.
fn owns(row: Option<&DeviceRow>, hello: &Hello, key: &[u8]) -> Result<(), Problem> {
    let is_first = device_id(key) == hello.device;
    let counts = match row {
        Some(row) => row.key == key || row.next_key.as_deref() == Some(key),
        None => is_first,
    };
    if counts {
        return Ok(());
    }
    let code = if is_first { Code::KEY_REPLACED } else { Code::BAD_SIGNATURE };
    Err(Problem::new(code).because(anyhow::anyhow!("the id is not that of the key")))
}

/// Follows a device from one key to the next: the first greeting with the next one ends the one before.
/// Says whether a next key was taken.
async fn keys_changed(
    parts: &DeviceParts,
    hello: &Hello,
    challenge: &Challenge,
    row: &DeviceRow,
    key: &[u8],
    peer: SocketAddr,
) -> Result<bool, Problem> {
    if row.key != key {
        parts.store.device_key_changed(&row.id, key).await?;
        info!(device = %row.id, "the device uses its next key; the one before counts no more");
        enrolling::record(parts, row.id.as_str(), "device_key_change", &row.id, peer);
    }
    let Some(next) = &hello.next_key else { return Ok(false) };
    let unproved = || {
        Problem::new(Code::BAD_SIGNATURE).because(anyhow::anyhow!("the next key is not proved to be its own"))
    };
    let next_key = BASE64.decode(&next.key).map_err(|_| unproved())?;
    let signature = BASE64.decode(&next.signature).map_err(|_| unproved())?;
    UnparsedPublicKey::new(&ED25519, &next_key)
        .verify(&hello.next_key_bytes(challenge, &next.key), &signature)
        .map_err(|_| unproved())?;
    if next_key == key {
        return Err(unproved());
    }
    parts.store.next_device_key(&row.id, &next_key).await?;
    info!(device = %row.id, "the device has shown its next key");
    Ok(true)
}

async fn known(
    parts: &DeviceParts,
    hello: &Hello,
    row: &DeviceRow,
    shown: BTreeSet<String>,
) -> Result<(), Problem> {
    let pinned: BTreeSet<String> = row.host_keys.iter().filter_map(|line| normal(line)).collect();
    let offered = row.offered_host_keys.as_ref().map(|lines| lines.iter().cloned().collect::<BTreeSet<_>>());
    if shown == pinned {
        if offered.is_some() {
            info!(device = %hello.device, "device shows its pinned host keys again");
            parts.store.offered_host_keys(&hello.device, None).await?;
        }
    } else if offered.as_ref() != Some(&shown) {
        warn!(device = %hello.device, "device shows other host keys than the pinned ones");
        parts.metrics.host_key_changed();
        parts.store.offered_host_keys(&hello.device, Some(shown.into_iter().collect())).await?;
    }
    let seen = DeviceSeen {
        name: plain(&hello.name),
        login: plain(&hello.login),
        platform: plain(&hello.platform),
        software: plain(&hello.software),
        sshd: plain(&hello.sshd),
        at: clock::wall(),
    };
    parts.store.seen(&hello.device, seen);
    Ok(())
}

/// The host keys in a form that compares: algorithm and key, without a comment.
fn host_keys(lines: &[String]) -> Result<BTreeSet<String>, Problem> {
    if lines.len() > HOST_KEYS_MAX {
        return Err(out_of_place("more host keys than an sshd has"));
    }
    let keys: BTreeSet<String> = lines.iter().filter_map(|line| normal(line)).collect();
    if keys.is_empty() {
        return Err(out_of_place("no host key that could be pinned"));
    }
    Ok(keys)
}

/// A public key in OpenSSH form without its comment; `None` if it is not one that we can check.
pub fn normal(line: &str) -> Option<String> {
    let mut key = ssh_key::PublicKey::from_openssh(line).ok()?;
    key.set_comment("");
    Some(key.to_openssh().ok()?.trim_end().to_owned())
}

/// What an agent says of itself, short and without control characters: people read it in lists,
/// logs and terminals.
pub fn plain(text: &str) -> String {
    harmless(text, TEXT_CHARS_MAX)
}

/// Where the agent's program is, if the agent says that it keeps shells; a path that cannot be one
/// counts as none.
/// Which handover of the CA the agent has heard.
fn heard(capabilities: &[String]) -> u64 {
    let said = capabilities.iter().find_map(|capability| capability.strip_prefix(HEARD));
    said.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn keeper(capabilities: &[String]) -> Option<String> {
    let path = capabilities.iter().find_map(|capability| capability.strip_prefix(KEEPER))?;
    let usable = path.starts_with('/') && path.len() <= PATH_BYTES_MAX && !path.chars().any(char::is_control);
    usable.then(|| path.to_owned())
}

/// Says who is refused, to the agent and to the log.
pub async fn refuse(parts: &DeviceParts, ends: &SocketEnds, problem: &Problem, peer: std::net::SocketAddr) {
    if problem.code == Code::CANCELLED {
        return;
    }
    warn!(%peer, code = %problem.code, cause = problem.chain(), "device refused");
    parts.metrics.refused(problem.code);
    let unproved = [
        Code::BAD_SIGNATURE,
        Code::NOT_ENROLLED,
        Code::DEVICE_REVOKED,
        Code::INSTALL_KEY_OVER,
        Code::KEY_REPLACED,
    ];
    if unproved.contains(&problem.code) {
        parts.metrics.auth_failure(Proof::Device);
    }
    let refused = Message::Refused(refusal(problem)).encode();
    // Two messages into a channel that held one: there is room, or nobody reads.
    let _ = ends.outgoing.try_send(Outgoing::Binary(refused));
    let _ = ends.outgoing.try_send(Outgoing::Close(problem.code, problem.text.clone()));
}

/// What the welcome says besides who comes in and with which token.
pub fn welcome(
    parts: &DeviceParts,
    epoch: u64,
    resume: &str,
    resumed: bool,
    proved: &Greeted,
    spread: std::time::Duration,
) -> Welcome {
    let timing = &parts.config.timing;
    let ms = |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Welcome {
        epoch,
        resume: resume.to_owned(),
        resumed,
        ca: parts.ca.public_line().to_owned(),
        enrolled: proved.enrolled.clone(),
        ping_ms: ms(timing.link_ping),
        dead_ms: ms(timing.link_dead),
        resume_within_ms: ms(timing.link_resume_within),
        spread_ms: ms(spread),
        handover: parts.ca.handover(),
        pending: proved.pending,
        next_key_taken: proved.next_key_taken,
        key_asked: proved.key_asked,
    }
}
