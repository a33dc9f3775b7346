//! The greeting: who is there, before the link machine sees its first frame. Pure: what is said
//! and what is signed; the drivers sign and verify (ring).
//!
//! ```text
//! broker -> agent  CHALLENGE {versions, broker, nonce}
//! agent -> broker  HELLO     {version, device, key, nonce, ..., resume?, enroll?, signature}
//! broker -> agent  WELCOME   {epoch, resume, resumed, ...} | REFUSED {code, text}
//! ```
//! An install key of the broker's list (see [`crate::install_key`]) is named by its id, and proves with a key
//! made from its secret, which neither side ever says. A device that changes its key shows the next one
//! in a hello that the present one signs, until a welcome says that it was taken.
//!
//! Each is one binary WebSocket message: a type byte and JSON, 16 KiB at most.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Violation;
use crate::{Code, DeviceId};

/// The highest version of the link protocol that we speak, and the lowest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// No greeting is longer. A hello with a handful of host keys has 2 KiB; an RSA key of 16384 bits
/// has 2.8 KiB.
pub const GREETING_BYTES_MAX: usize = 16 * 1024;

// The type bytes. Those of the link's frames begin at 0x10, so that neither is taken for the other.
const CHALLENGE: u8 = 0x01;
const HELLO: u8 = 0x02;
const WELCOME: u8 = 0x03;
const REFUSED: u8 = 0x04;

// What is signed or proved begins with one of these, so that no proof can stand for another.
const SIGNED: &str = "moorline.link.v1 hello";
const ENROLLING: &str = "moorline.link.v1 enroll device";
const ENROLLED: &str = "moorline.link.v1 enroll broker";
const HANDOVER: &str = "moorline.link.v1 handover of the CA";

/// How an agent says in its greeting which handover it has heard last: this and its generation.
pub const HEARD: &str = "ca:";

/// No handover names more CAs.
pub const CAS_MAX: usize = 4;
const NEXT_KEY: &str = "moorline.link.v1 next key";

/// What the broker asks. All binary fields of the greeting are base64 (RFC 4648 section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Highest and lowest version that the broker speaks.
    pub versions: (u16, u16),
    /// The broker's name, part of what is signed.
    pub broker: String,
    /// 32 random bytes.
    pub nonce: String,
    /// Which of the later fields of a hello the broker knows: [`INSTALL_KEYS`], [`NEXT_KEYS`]. Others are left out,
    /// since it would not count them among what is signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knows: Vec<String>,
}

/// The broker knows `Hello::install_key`.
pub const INSTALL_KEYS: &str = "install_keys";

/// The broker knows `Hello::next_key`.
pub const NEXT_KEYS: &str = "next_keys";

/// Who the device is, and how it proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version that the agent chose, of those in the challenge.
    pub version: u16,
    /// The device's id, made from its first key.
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
    /// What the agent can do beyond its version; unknown ones are ignored.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The resume token of the last welcome, when the agent still has that link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// The proof of the install key over `Hello::enroll_bytes`, when the agent has one: HMAC-SHA-256 with
    /// the key of `enroll.install_key_file`, Ed25519 with one of the broker's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll: Option<String>,
    /// The id of that install key, if it is of the broker's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_key: Option<String>,
    /// The key that is to take the place of `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<NextKey>,
    /// Ed25519 over `Hello::signed_bytes`.
    pub signature: String,
    /// For how long the agent stood still since its last welcome, in milliseconds: stopped, starved or asleep. It
    /// is for figures only, and not signed: older brokers do not know it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stood_still_ms: u32,
}

/// The key that is to take the place of a device's present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    /// Ed25519 public key, 32 bytes.
    pub key: String,
    /// Ed25519 by that key over `Hello::next_key_bytes`.
    pub signature: String,
}

/// The device is in.
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
    /// How often both ends ping, in milliseconds.
    pub ping_ms: u32,
    /// After how long without a byte both ends close the transport, in milliseconds.
    pub dead_ms: u32,
    /// How long both ends keep a link whose transport is gone, in milliseconds.
    pub resume_within_ms: u32,
    /// Over how long all devices are to spread when they come back together, in milliseconds; each takes a random
    /// part of it, unless somebody waits for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spread_ms: u32,
    /// While the broker's CA is being replaced, and afterwards: what to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
    /// The device is known and gets no sessions until somebody approves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// The next key of the hello counts from now on, and the one before until the next one is used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub next_key_taken: bool,
    /// The device is asked for another key: it makes one and shows it in its next hello.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_asked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Which CAs a device is to trust from now on, said by one that it trusts already: so a broker's CA is replaced
/// without enrolling anybody again. First both are trusted, then the new one alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Later ones are larger; what a device has heard before is not heard again.
    pub generation: u64,
    /// Every CA that is trusted from now on, in OpenSSH form.
    pub cas: Vec<String>,
    /// Ed25519 by a CA that was trusted before, over [`Handover::signed_bytes`], in base64.
    pub signature: String,
}

/// The device is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub code: Code,
    /// Why, in a sentence for the agent's log.
    pub text: String,
    /// When to try again, if the broker has a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
}

/// One message of the greeting.
#[allow(clippy::large_enum_variant, reason = "one at a time, four in the life of a connection")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The broker asks.
    Challenge(Challenge),
    /// The agent answers.
    Hello(Hello),
    /// The broker lets it in.
    Welcome(Welcome),
    /// The broker does not let it in.
    Refused(Refused),
}

impl Message {
    /// The message as it goes over the wire.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Challenge(challenge) => encode(CHALLENGE, challenge),
            Self::Hello(hello) => encode(HELLO, hello),
            Self::Welcome(welcome) => encode(WELCOME, welcome),
            Self::Refused(refused) => encode(REFUSED, refused),
        }
    }

    /// Reads a message. Fields that we do not know are a newer peer's and are passed over.
    pub fn decode(frame: &[u8]) -> Result<Self, Violation> {
        if frame.len() > GREETING_BYTES_MAX {
            return Err(Violation { code: Code::TOO_LARGE, what: "a greeting of more than 16 KiB" });
        }
        let Some((&kind, json)) = frame.split_first() else {
            return Err(Violation { code: Code::PROTOCOL, what: "an empty greeting" });
        };
        match kind {
            CHALLENGE => decode(json).map(Self::Challenge),
            HELLO => decode(json).map(Self::Hello),
            WELCOME => decode(json).map(Self::Welcome),
            REFUSED => decode(json).map(Self::Refused),
            _ => Err(Violation { code: Code::PROTOCOL, what: "a greeting of an unknown type" }),
        }
    }
}

fn encode(kind: u8, message: &impl Serialize) -> Bytes {
    let mut frame = BytesMut::new().writer();
    frame.get_mut().put_u8(kind);
    serde_json::to_writer(&mut frame, message).expect("plain structs with string keys always become JSON");
    frame.into_inner().freeze()
}

fn decode<'a, M: Deserialize<'a>>(json: &'a [u8]) -> Result<M, Violation> {
    let malformed = Violation { code: Code::PROTOCOL, what: "a greeting that is not of its type's form" };
    serde_json::from_slice(json).map_err(|_| malformed)
}

impl Challenge {
    /// Whether the broker knows that later field of a hello.
    pub fn knows(&self, field: &str) -> bool {
        self.knows.iter().any(|known| known == field)
    }

    /// The highest version that both ends speak.
    pub fn common_version(&self) -> Option<u16> {
        let (highest, lowest) = self.versions;
        let common = highest.min(VERSIONS.0);
        (common >= lowest.max(VERSIONS.1)).then_some(common)
    }
}

impl Hello {
    /// What the signature covers: a domain string, the broker's nonce and name, and every field
    /// of this message before the signature, each with its length before it.
    pub fn signed_bytes(&self, challenge: &Challenge) -> Vec<u8> {
        let mut proof = Proof::of(SIGNED);
        proof.text(&challenge.nonce).text(&challenge.broker);
        proof.number(self.version.into()).text(self.device.as_str()).text(&self.key).text(&self.nonce);
        proof.text(&self.software).text(&self.name).text(&self.platform).text(&self.sshd).text(&self.login);
        proof.list(&self.host_keys).number(self.clock).list(&self.capabilities);
        proof.option(self.resume.as_deref()).option(self.enroll.as_deref());
        // Of later agents; a hello that has neither is signed as it ever was.
        if let Some(id) = &self.install_key {
            proof.text("install_key").text(id);
        }
        if let Some(next) = &self.next_key {
            proof.text("next_key").text(&next.key).text(&next.signature);
        }
        proof.bytes
    }

    /// What the next key signs: a domain string, the broker's nonce and name, device id, both keys.
    pub fn next_key_bytes(&self, challenge: &Challenge, next: &str) -> Vec<u8> {
        let mut proof = Proof::of(NEXT_KEY);
        proof.text(&challenge.nonce).text(&challenge.broker).text(self.device.as_str());
        proof.text(&self.key).text(next);
        proof.bytes
    }

    /// What the install key's proof covers: a domain string, the broker's nonce, device id, key.
    pub fn enroll_bytes(&self, challenge: &Challenge) -> Vec<u8> {
        let mut proof = Proof::of(ENROLLING);
        proof.text(&challenge.nonce).text(self.device.as_str()).text(&self.key);
        proof.bytes
    }
}

impl Welcome {
    /// What the broker's proof covers: another domain string, the agent's nonce, the CA.
    pub fn enroll_bytes(hello: &Hello, ca: &str) -> Vec<u8> {
        let mut proof = Proof::of(ENROLLED);
        proof.text(&hello.nonce).text(ca);
        proof.bytes
    }
}

impl Handover {
    /// What the signature covers: a domain string, the generation, every CA.
    pub fn signed_bytes(generation: u64, cas: &[String]) -> Vec<u8> {
        let mut proof = Proof::of(HANDOVER);
        proof.bytes.put_u64(generation);
        proof.list(cas);
        proof.bytes
    }
}

/// Bytes to be signed: every part has its length before it, so that no two messages share them.
struct Proof {
    bytes: Vec<u8>,
}

impl Proof {
    fn of(domain: &str) -> Self {
        let mut proof = Self { bytes: Vec::with_capacity(1024) };
        proof.text(domain);
        proof
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.put_u64(text.len() as u64);
        self.bytes.put_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.bytes.put_i64(number);
        self
    }

    fn list(&mut self, texts: &[String]) -> &mut Self {
        self.bytes.put_u64(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
        self
    }

    fn option(&mut self, text: Option<&str>) -> &mut Self {
        self.bytes.put_u8(text.is_some().into());
        self.text(text.unwrap_or_default())
    }
}
