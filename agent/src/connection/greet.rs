//! The agent's half of the greeting: proves who this device is, and checks whose broker it talks to.

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{SinkExt, StreamExt};
use moorline_wire::Code;
use moorline_wire::link::Violation;
use moorline_wire::link::greeting::{
    CAS_MAX, Challenge, HEARD, Handover, Hello, Message as Greeting, NEXT_KEYS, NextKey, Refused, Welcome,
};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use russh::keys::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::InstallKey;
use crate::agent::Agent;
use crate::identity::{Identity, UserCas};

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
    stood_still_ms: u32,
) -> Result<Welcome, GreetingError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Greeting::Challenge(challenge) = receive(socket).await? else { return Err(out_of_place()) };
    let version = challenge
        .common_version()
        .ok_or(GreetingError::Version { lowest: challenge.versions.1, highest: challenge.versions.0 })?;
    let install_key = agent.install_key()?;
    let next = if challenge.knows(NEXT_KEYS) { agent.next_identity()? } else { None };
    let mut hello = hello(agent, version, &challenge, resume, install_key.as_deref(), next.as_ref()).await?;
    // Not signed, so it may come last.
    hello.stood_still_ms = stood_still_ms;
    socket.send(Message::Binary(Greeting::Hello(hello.clone()).encode())).await?;
    match receive(socket).await? {
        Greeting::Welcome(welcome) => {
            check_broker(agent, &hello, &welcome, install_key.as_deref())?;
            if let Some(next) = next.filter(|_| welcome.next_key_taken) {
                agent.take_next_identity(next)?;
            }
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
    next: Option<&Identity>,
) -> Result<Hello, GreetingError> {
    let identity = agent.identity();
    let mut nonce = [0; 32];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| crate::Problem::new(Code::INTERNAL).saying("the system gives no random bytes"))?;
    let mut hello = Hello {
        version,
        device: identity.device().clone(),
        key: BASE64_STANDARD.encode(identity.public()),
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
        install_key: None,
        next_key: None,
        signature: String::new(),
        stood_still_ms: 0,
    };
    if let Some(key) = install_key {
        key.prove(&mut hello, challenge);
    }
    if let Some(next) = next {
        let key = BASE64_STANDARD.encode(next.public());
        let signature = BASE64_STANDARD.encode(next.sign(&hello.next_key_bytes(challenge, &key)));
        hello.next_key = Some(NextKey { key, signature });
    }
    hello.signature = BASE64_STANDARD.encode(identity.sign(&hello.signed_bytes(challenge)));
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
