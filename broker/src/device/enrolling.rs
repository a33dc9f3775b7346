//! Install keys: what proves one, and how a device becomes known with it.
//!
//! There is the one of `enroll.install_key_file`, a secret that both sides have, and those of the list in the
//! store, of whose secrets the broker keeps only what they prove with (see `moorline_wire::install_key`).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use moorline_wire::Code;
use moorline_wire::install_key::{OF_THE_BROKER, OF_THE_DEVICE, text};
use moorline_wire::link::greeting::{Challenge, Hello};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::DeviceParts;
use super::greeting::{device_id, plain};
use crate::clock;
use crate::config::EnrollMode;
use crate::id::InstallKeyId;
use crate::problem::Problem;
use crate::store::{AuditRow, DeviceRow, Enrolling, InstallKeyRow, KeyMode, KeyProofs, Standing};
use crate::token::Token;

/// What the audit calls the install key of the file.
const OF_THE_FILE: &str = "install_key_file";

/// An install key that a device has proved.
pub struct Proved {
    /// With which the broker proves itself to the device.
    pub broker: hmac::Key,
    /// Which one of the list; `None`: the one of the file.
    listed: Option<InstallKeyRow>,
}

/// A fresh secret for the install key of that id: the key as it is shown once, and what is kept of it.
pub fn fresh_install_key(id: &InstallKeyId) -> Result<(Zeroizing<String>, KeyProofs), Problem> {
    let secret = Token::fresh()?;
    let unusable = |_| Problem::new(Code::INTERNAL).because(anyhow::anyhow!("no key came of a secret"));
    let seed = made_from(OF_THE_DEVICE, secret.reveal());
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(unusable)?;
    let broker = made_from(OF_THE_BROKER, secret.reveal()).to_vec();
    let proofs = KeyProofs { public: pair.public_key().as_ref().to_vec(), broker };
    Ok((Zeroizing::new(text(id.as_str(), secret.reveal())), proofs))
}

fn made_from(domain: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    let whole = Zeroizing::new(format!("{domain}{secret}"));
    Zeroizing::new(digest(&SHA256, whole.as_bytes()).as_ref().to_vec())
}

/// The install key, if enrolling is on and the agent has proved that it has it.
pub async fn proved(
    parts: &DeviceParts,
    hello: &Hello,
    challenge: &Challenge,
) -> Result<Option<Proved>, Problem> {
    let (Some(proof), EnrollMode::Automatic) = (&hello.enroll, parts.config.enroll.mode) else {
        return Ok(None);
    };
    let Ok(proof) = BASE64.decode(proof) else { return Ok(None) };
    let signed = hello.enroll_bytes(challenge);
    let Some(id) = &hello.install_key else {
        let key = of_the_file(parts).await;
        let proved = key.filter(|key| hmac::verify(key, &signed, &proof).is_ok());
        return Ok(proved.map(|broker| Proved { broker, listed: None }));
    };
    let Ok(id) = id.parse::<InstallKeyId>() else { return Ok(None) };
    let Some((row, proofs)) = parts.store.install_key(&id).await? else { return Ok(None) };
    let verified = UnparsedPublicKey::new(&ED25519, &proofs.public).verify(&signed, &proof);
    let broker = hmac::Key::new(hmac::HMAC_SHA256, &proofs.broker);
    Ok(verified.ok().map(|()| Proved { broker, listed: Some(row) }))
}

/// It is read each time: enrolling is rare, and a new key works without a restart.
async fn of_the_file(parts: &DeviceParts) -> Option<hmac::Key> {
    let path = parts.config.enroll.install_key_file.as_ref()?;
    let text = match tokio::fs::read_to_string(path).await {
        Ok(text) => Zeroizing::new(text),
        Err(err) => {
            warn!(path = %path.display(), %err, "install key cannot be read");
            return None;
        }
    };
    // An empty file would make a key that everybody has.
    if text.trim().len() < 32 {
        warn!(path = %path.display(), "install key is too short to be one");
        return None;
    }
    Some(hmac::Key::new(hmac::HMAC_SHA256, text.trim().as_bytes()))
}

/// Makes a device known that has proved its key and an install key; says whether it may have sessions.
pub async fn enroll(
    parts: &DeviceParts,
    hello: &Hello,
    key: Vec<u8>,
    host_keys: BTreeSet<String>,
    proved: Option<&Proved>,
    peer: SocketAddr,
) -> Result<Standing, Problem> {
    if parts.store.is_revoked(&hello.device, &device_id(&key)).await? {
        return Err(Problem::new(Code::DEVICE_REVOKED));
    }
    let proved = proved.ok_or_else(|| unknown(hello))?;
    if parts.store.device_count().await? >= parts.config.limits.devices {
        return Err(Problem::new(Code::LIMIT)
            .saying("The broker knows as many devices as it may. Forget some, or raise limits.devices."));
    }
    let row = new_row(hello, key, host_keys, proved.listed.as_ref());
    let enrolled = match &row.install_key {
        None => parts.store.enroll(&row).await.map(|()| Enrolling::Done)?,
        Some(id) => {
            let pending_max = parts.config.limits.devices_pending;
            parts.store.enroll_with(id, &row, pending_max, clock::wall()).await?
        }
    };
    match enrolled {
        Enrolling::Done => {}
        Enrolling::KeyOver => return Err(Problem::new(Code::INSTALL_KEY_OVER)),
        Enrolling::TooManyPending => {
            return Err(Problem::new(Code::LIMIT).saying(
                "As many devices wait for approval as may. Approve or forget some, or raise limits.devices_pending.",
            ));
        }
    }
    let with = row.install_key.as_ref().map_or(OF_THE_FILE, InstallKeyId::as_str);
    info!(device = %hello.device, with, standing = row.standing.word(), "device enrolled, host keys pinned");
    record(parts, with, "device_enroll", &row.id, peer);
    Ok(row.standing)
}

fn unknown(hello: &Hello) -> Problem {
    let text = match hello.enroll {
        Some(_) => {
            "The install key of this agent is not this broker's. Give it the broker's (enroll.install_key_file)."
        }
        None => {
            "The broker does not know this device. Give the agent an install key of this broker (enroll.install_key_file)."
        }
    };
    Problem::new(Code::NOT_ENROLLED).saying(text)
}

fn new_row(
    hello: &Hello,
    key: Vec<u8>,
    host_keys: BTreeSet<String>,
    listed: Option<&InstallKeyRow>,
) -> DeviceRow {
    let now = clock::wall();
    let waits = listed.is_some_and(|listed| listed.mode == KeyMode::Pending);
    DeviceRow {
        id: hello.device.clone(),
        name: plain(&hello.name),
        key,
        next_key: None,
        key_asked: false,
        standing: if waits { Standing::Pending } else { Standing::Approved },
        install_key: listed.map(|listed| listed.id.clone()),
        login: plain(&hello.login),
        platform: plain(&hello.platform),
        sshd: plain(&hello.sshd),
        software: plain(&hello.software),
        host_keys: host_keys.into_iter().collect(),
        offered_host_keys: None,
        enrolled: now,
        last_seen: Some(now),
        tags: listed.map(|listed| listed.tags.clone()).unwrap_or_default(),
    }
}

/// Keeps in the audit what a device did by itself.
pub fn record(
    parts: &DeviceParts,
    who: &str,
    what: &str,
    device: &moorline_wire::DeviceId,
    peer: SocketAddr,
) {
    parts.audit.record(AuditRow {
        seq: 0,
        at: clock::wall(),
        who: who.to_owned(),
        what: what.to_owned(),
        target: device.to_string(),
        address: peer.ip().to_canonical().to_string(),
        outcome: "done".to_owned(),
        request_id: String::new(),
    });
}
