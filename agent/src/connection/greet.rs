//! The agent's half of the greeting: proves who this device is, and checks whose broker it talks to.

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{SinkExt, StreamExt};
use moorline_wire::Code;
use moorline_wire::link::Violation;
use moorline_wire::link::greeting::{
    CAS_MAX, Challenge, HEARD, Handover, Hello, Message as Greeting, Refused, Welcome,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use russh::keys::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};
use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::identity::UserCas;

/// Why the greeting came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The broker does not want us.
    #[error("the broker refused this device: {}", .0.text)]
    Refused(Refused),
    /// We do not want the broker.
    #[error("the broker is not trusted: {0}")]
    Untrusted(&'static str),
    /// No common version.
    #[error("the broker speaks versions {lowest} to {highest} of the link protocol, none of them ours")]
    Version {
        /// Its lowest.
        lowest: u16,
        /// Its highest.
        highest: u16,
    },
    /// Something out of place.
    #[error("the greeting is out of place")]
    Violation(#[from] Violation),
    /// The WebSocket broke.
    #[error("the connection broke off during the greeting")]
    Broke(#[from] tungstenite::Error),
    /// The broker closed the WebSocket.
    #[error("the broker closed the connection during the greeting ({0})")]
    Closed(Code),
    /// Something on this device.
    #[error("this device cannot greet")]
    Own(#[from] crate::Problem),
}

impl From<Code> for GreetingError {
    fn from(code: Code) -> Self {
        GreetingError::Closed(code)
    }
}

/// Greets; the result is what the broker granted.
pub async fn greet<S>(
    socket: &mut WebSocketStream<S>,
    agent: &Agent,
    resume: Option<&str>,
) -> Result<Welcome, GreetingError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Greeting::Challenge(challenge) = receive(socket).await? else { return Err(out_of_place()) };
    let version = challenge
        .common_version()
        .ok_or(GreetingError::Version { lowest: challenge.versions.1, highest: challenge.versions.0 })?;
    let install_key = agent.install_key()?;
    let hello = hello(agent, version, &challenge, resume, install_key.as_ref()).await?;
    socket.send(Message::Binary(Greeting::Hello(hello.clone()).encode())).await?;
    match receive(socket).await? {
        Greeting::Welcome(welcome) => {
            check_broker(agent, &hello, &welcome, install_key.as_ref())?;
            Ok(welcome)
        }
        Greeting::Refused(refused) => Err(GreetingError::Refused(refused)),
        Greeting::Challenge(_) | Greeting::Hello(_) => Err(out_of_place()),
    }
}

async fn receive<S>(socket: &mut WebSocketStream<S>) -> Result<Greeting, GreetingError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match socket.next().await.ok_or(tungstenite::Error::ConnectionClosed)?? {
            Message::Binary(frame) => return Ok(Greeting::decode(&frame)?),
            Message::Close(frame) => return Err(super::closed_with(frame.as_ref()).into()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Text(_) | Message::Frame(_) => return Err(out_of_place()),
        }
    }
}

fn out_of_place() -> GreetingError {
    Violation { code: Code::PROTOCOL, what: "a message out of turn in the greeting" }.into()
}

async fn hello(
    agent: &Agent,
    version: u16,
    challenge: &Challenge,
    resume: Option<&str>,
    install_key: Option<&InstallKey>,
) -> Result<Hello, GreetingError> {
    let mut nonce = [0; 32];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| crate::Problem::new(Code::INTERNAL).saying("the system gives no random bytes"))?;
    let mut hello = Hello {
        version,
        device: agent.identity.device().clone(),
        key: BASE64_STANDARD.encode(agent.identity.public()),
        nonce: BASE64_STANDARD.encode(nonce),
        software: concat!("moorline-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: agent.config.name.clone(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        sshd: agent.config.sshd.mode.as_str().to_owned(),
        login: agent.config.login.clone(),
        host_keys: agent.host_keys().await?,
        clock: i64::try_from(crate::clock::unix_seconds()).unwrap_or(i64::MAX),
        capabilities: capabilities(agent)?,
        resume: resume.map(str::to_owned),
        enroll: None,
        signature: String::new(),
    };
    hello.enroll = install_key.map(|key| key.prove(&hello.enroll_bytes(challenge)));
    hello.signature = BASE64_STANDARD.encode(agent.identity.sign(&hello.signed_bytes(challenge)));
    Ok(hello)
}

/// What this agent can, and which handover of the CA it has heard.
fn capabilities(agent: &Agent) -> Result<Vec<String>, GreetingError> {
    let mut all = agent.capabilities.clone();
    let generation = agent.cas()?.generation;
    if generation > 0 {
        all.push(format!("{HEARD}{generation}"));
    }
    Ok(all)
}

/// The broker's CA is the pinned one, or the broker proves by the install key that it is to be.
fn check_broker(
    agent: &Agent,
    hello: &Hello,
    welcome: &Welcome,
    install_key: Option<&InstallKey>,
) -> Result<(), GreetingError> {
    let ca = PublicKey::from_openssh(welcome.ca.trim())
        .map_err(|_| GreetingError::Untrusted("its CA cannot be read"))?;
    if agent.user_ca.get().contains(ca.key_data()) {
        return hear(agent, welcome.handover.as_ref());
    }
    let proof = welcome.enrolled.as_deref().ok_or(GreetingError::Untrusted(
        "it shows another CA than the pinned one, and no proof that it knows the install key",
    ))?;
    let proven = install_key.is_some_and(|key| key.verify(&Welcome::enroll_bytes(hello, &welcome.ca), proof));
    if !proven {
        return Err(GreetingError::Untrusted("its proof that it knows the install key is wrong"));
    }
    agent.pin(&UserCas { generation: 0, keys: vec![ca] })?;
    hear(agent, welcome.handover.as_ref())
}

/// Trusts what the handover says, if a CA says it that is trusted already, and it is new.
fn hear(agent: &Agent, handover: Option<&Handover>) -> Result<(), GreetingError> {
    let Some(handover) = handover else { return Ok(()) };
    let pinned = agent.cas()?;
    if handover.generation <= pinned.generation {
        return Ok(());
    }
    let wrong = || GreetingError::Untrusted("it hands over to another CA in a way that proves nothing");
    let signature = BASE64_STANDARD.decode(&handover.signature).map_err(|_| wrong())?;
    let said = Handover::signed_bytes(handover.generation, &handover.cas);
    let is_by = |ca: &PublicKey| {
        let key = ca.key_data().ed25519().map(|key| UnparsedPublicKey::new(&ED25519, key.0));
        key.is_some_and(|key| key.verify(&said, &signature).is_ok())
    };
    if handover.cas.is_empty() || handover.cas.len() > CAS_MAX || !pinned.keys.iter().any(is_by) {
        return Err(wrong());
    }
    let keys = handover.cas.iter().map(|line| PublicKey::from_openssh(line.trim())).collect::<Result<_, _>>();
    agent.pin(&UserCas { generation: handover.generation, keys: keys.map_err(|_| wrong())? })?;
    Ok(())
}

/// The key that both the broker and a device that may enrol have.
pub struct InstallKey(hmac::Key);

impl std::fmt::Debug for InstallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstallKey(..)")
    }
}

impl InstallKey {
    /// The text of an install key file: one line of base64, at least 32 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.trim();
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(line).ok()?);
        (bytes.len() >= 32).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes())))
    }

    fn prove(&self, bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.0, bytes))
    }

    fn verify(&self, bytes: &[u8], proof: &str) -> bool {
        BASE64_STANDARD.decode(proof).is_ok_and(|proof| hmac::verify(&self.0, bytes, &proof).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_key_is_one_line_of_enough_base64() {
        let line = BASE64_STANDARD.encode([7; 32]);
        assert!(InstallKey::parse(&format!("{line}\n")).is_some());
        for text in ["", "short", &BASE64_STANDARD.encode([7; 31]), &format!("{line}\n{line}"), "!!!!"] {
            assert!(InstallKey::parse(text).is_none(), "{text:?} was taken");
        }
        let key = InstallKey::parse(&line).unwrap();
        assert!(key.verify(b"x", &key.prove(b"x")));
        assert!(!key.verify(b"x", &key.prove(b"y")) && !key.verify(b"x", "?"));
        assert!(!format!("{key:?}").contains(&line));
    }
}
