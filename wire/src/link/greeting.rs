//! The greeting: who is there, before the link machine sees its first frame. Pure: what is said
//! and what is signed; the drivers sign and verify (ring).
//!
//! ```text
//! broker -> agent  CHALLENGE {versions, broker, nonce}
//! agent -> broker  HELLO     {version, device, key, nonce, ..., resume?, enroll?, signature}
//! broker -> agent  WELCOME   {epoch, resume, resumed, ...} | REFUSED {code, text}
//! ```
//! Each is one binary WebSocket message: a type byte and JSON, 16 KiB at most.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Violation;
use crate::{Code, DeviceId};

/// The highest version of the link protocol that we speak, and the lowest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// All binary fields are base64 (RFC 4648 section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Highest and lowest version that the broker speaks.
    pub versions: (u16, u16),
    /// The broker's name, part of what is signed.
    pub broker: String,
    /// 32 random bytes.
    pub nonce: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u16,
    pub device: DeviceId,
    /// Ed25519 public key, 32 bytes.
    pub key: String,
    /// 32 random bytes, for the broker's proof.
    pub nonce: String,
    /// The agent's software and version, e.g. `moorline-agent 0.1.0`.
    pub software: String,
    /// A name for people; the host name by default.
    pub name: String,
    /// e.g. `linux x86_64`.
    pub platform: String,
    /// `embedded` or `system`: which sshd answers.
    pub sshd: String,
    /// The login that a session gets when none is asked for.
    pub login: String,
    /// The sshd's public host keys in OpenSSH form.
    pub host_keys: Vec<String>,
    /// The device's clock, seconds since 1970 (it may be far off).
    pub clock: i64,
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The resume token of the last welcome, when the agent still has that link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// HMAC-SHA-256 with the install key over `Hello::enroll_bytes`, when the agent has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll: Option<String>,
    /// Ed25519 over `Hello::signed_bytes`.
    pub signature: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Fences older connections of the same device.
    pub epoch: u64,
    /// For the next greeting.
    pub resume: String,
    /// Whether the link of the resume token goes on.
    pub resumed: bool,
    /// The broker's SSH CA for user certificates, in OpenSSH form; pinned at enrolment.
    pub ca: String,
    /// When this greeting enrolled the device: HMAC-SHA-256 with the install key over
    /// `Welcome::enroll_bytes`, which proves the broker (and its CA) to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled: Option<String>,
    /// Pings and limits that the broker wants, in milliseconds.
    pub ping_ms: u32,
    pub dead_ms: u32,
    pub resume_within_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub code: Code,
    pub text: String,
    /// When to try again, if the broker has a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Challenge(Challenge),
    Hello(Hello),
    Welcome(Welcome),
    Refused(Refused),
}

impl Message {
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
    pub fn decode(_frame: &[u8]) -> Result<Self, Violation> {
        unimplemented!()
    }
}

impl Hello {
    /// What the signature covers: a domain string, the broker's nonce and name, and every field
    /// of this message but the signature, each with its length before it.
    pub fn signed_bytes(&self, _challenge: &Challenge) -> Vec<u8> {
        unimplemented!()
    }
    /// What the install key's proof covers: a domain string, the broker's nonce, device id, key.
    pub fn enroll_bytes(&self, _challenge: &Challenge) -> Vec<u8> {
        unimplemented!()
    }
}

impl Welcome {
    /// What the broker's proof covers: another domain string, the agent's nonce, the CA.
    pub fn enroll_bytes(_hello: &Hello, _ca: &str) -> Vec<u8> {
        unimplemented!()
    }
}
