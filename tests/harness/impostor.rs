//! A device that is not what it says, or that sends what it should not: the link's greeting by hand.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moorline_wire::DeviceId;
use moorline_wire::link::SUBPROTOCOL;
use moorline_wire::link::greeting::{Challenge, Hello, Message, Refused, VERSIONS, Welcome};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ring::{digest, hmac};
use tokio_tungstenite::tungstenite;

use crate::broker::Broker;
use crate::raw::{Raw, Upgrade};
use crate::stage::Stage;

/// See the module.
pub struct Impostor {
    host_key: String,
    key: Ed25519KeyPair,
    install_key: String,
}

/// How the broker took a greeting.
#[derive(Debug)]
pub enum Taken {
    /// The device is in, with this socket.
    In(Box<Raw>, Welcome),
    /// It is refused.
    Refused(Refused),
}

impl Impostor {
    /// A device with a key of its own that knows the install key of the stage.
    pub fn new(stage: &Stage) -> Result<Self> {
        let seed: [u8; 32] = rand::random();
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok().context("32 bytes are a seed")?;
        let install_key = std::fs::read_to_string(stage.path("install.key"))?.trim().to_owned();
        let host_key = format!("ssh-ed25519 {}", STANDARD.encode(host_key_blob()));
        Ok(Self { host_key, key, install_key })
    }

    /// The id that belongs to its key.
    pub fn id(&self) -> Result<DeviceId> {
        let hash = digest::digest(&digest::SHA256, self.key.public_key().as_ref());
        let text = data_encoding::BASE32_NOPAD.encode(&hash.as_ref()[..10]).to_lowercase();
        Ok(format!("d-{text}").parse()?)
    }

    /// Connects and greets. `alter` changes the hello before it is signed and proved, `spoil` after.
    pub async fn greets(
        &self,
        broker: &Broker,
        alter: impl FnOnce(&mut Hello),
        spoil: impl FnOnce(&mut Hello),
    ) -> Result<Taken> {
        self.greets_at(broker.address, alter, spoil).await
    }

    /// The same at an address where a broker may be.
    pub async fn greets_at(
        &self,
        address: SocketAddr,
        alter: impl FnOnce(&mut Hello),
        spoil: impl FnOnce(&mut Hello),
    ) -> Result<Taken> {
        let mut socket = match Raw::link_at(address, SUBPROTOCOL).await? {
            Upgrade::Done(raw) => raw,
            Upgrade::Refused(status, body) => bail!("the upgrade was refused: {status} {body}"),
        };
        let Message::Challenge(challenge) = heard(&mut socket).await? else { bail!("no challenge") };
        let mut hello = self.hello()?;
        alter(&mut hello);
        self.prove(&mut hello, &challenge);
        spoil(&mut hello);
        socket.send(Message::Hello(hello).encode()).await?;
        match heard(&mut socket).await? {
            Message::Welcome(welcome) => Ok(Taken::In(socket, welcome)),
            Message::Refused(refused) => Ok(Taken::Refused(refused)),
            other => bail!("an answer out of place: {other:?}"),
        }
    }

    fn hello(&self) -> Result<Hello> {
        Ok(Hello {
            version: VERSIONS.0,
            device: self.id()?,
            key: STANDARD.encode(self.key.public_key().as_ref()),
            nonce: STANDARD.encode(rand::random::<[u8; 32]>()),
            software: "impostor 0.0.0".into(),
            name: "impostor".into(),
            platform: "linux x86_64".into(),
            sshd: "embedded".into(),
            login: "root".into(),
            host_keys: vec![self.host_key.clone()],
            clock: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64,
            capabilities: Vec::new(),
            resume: None,
            enroll: None,
            install_key: None,
            next_key: None,
            signature: String::new(),
            stood_still_ms: 0,
        })
    }

    fn prove(&self, hello: &mut Hello, challenge: &Challenge) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.install_key.as_bytes());
        hello.enroll = Some(STANDARD.encode(hmac::sign(&key, &hello.enroll_bytes(challenge)).as_ref()));
        hello.signature = STANDARD.encode(self.key.sign(&hello.signed_bytes(challenge)).as_ref());
    }
}

/// An Ed25519 public key as RFC 8709 section 4 writes it; nobody has its other half.
fn host_key_blob() -> Vec<u8> {
    let mut blob = vec![0, 0, 0, 11];
    blob.extend_from_slice(b"ssh-ed25519");
    blob.extend_from_slice(&[0, 0, 0, 32]);
    blob.extend_from_slice(&rand::random::<[u8; 32]>());
    blob
}

async fn heard(socket: &mut Raw) -> Result<Message> {
    match socket.next().await? {
        tungstenite::Message::Binary(bytes) => Ok(Message::decode(&bytes)?),
        other => bail!("no greeting: {other:?}"),
    }
}
