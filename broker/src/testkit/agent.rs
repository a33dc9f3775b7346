//! An agent on a socket that is two channels, with the real link machine on its end.

use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use moorline_link_io::{Event, LinkHandle, LinkStream};
use moorline_wire::link::greeting::{Challenge, Hello, Message, NextKey, Refused, Welcome};
use moorline_wire::link::{Attach, Config as LinkConfig, Input, Role};
use moorline_wire::{Code, DeviceId, install_key};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use russh::keys::PrivateKey;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::sshd::{Manners, serve};
use super::{INSTALL_KEY, Kit};
use crate::clock::{now, until};
use crate::pipe::{self, pipe};
use crate::socket::{Gone, Incoming, Outgoing, Reflex, SocketEnds};

/// A device with its identity, its sshd and its end of the link.
pub struct Agent {
    device: DeviceId,
    key: Arc<Ed25519KeyPair>,
    /// The key that is to take the place of that one.
    pub next_key: Option<Arc<Ed25519KeyPair>>,
    /// What its sshd proves itself with.
    pub host_key: PrivateKey,
    /// How its sshd behaves.
    pub manners: Arc<Manners>,
    /// Its end of the link, if it has one.
    pub link: Option<LinkHandle>,
    /// The token for its next greeting.
    pub resume: Option<String>,
    /// The key that it enrols itself with.
    pub install_key: Option<String>,
    /// What its clock shows, in seconds since 1970.
    pub clock: i64,
    /// What it says that it can do, e.g. `keeper:/usr/bin/moorline-agent`.
    pub capabilities: Vec<String>,
}

/// A socket that was greeted and carries the link.
pub struct Connected {
    /// What the broker said.
    pub welcome: Welcome,
    _driver: AbortOnDropHandle<()>,
    /// With which code the broker closed the socket; closed: without one.
    pub closed: mpsc::Receiver<Code>,
}

/// A socket on which only the greeting was said.
pub struct Raw {
    /// To the broker.
    pub to: pipe::Sender<Incoming>,
    /// From the broker.
    pub from: pipe::Receiver<Outgoing>,
    /// What the broker does at once with what comes, wherever it is read.
    pub reflex: Reflex,
}

/// Two ends of a socket: the broker's and ours.
pub fn socket() -> (SocketEnds, Raw) {
    let (to, incoming) = pipe(8);
    let (outgoing, from) = pipe(8);
    let reflex = Reflex::default();
    (
        SocketEnds { incoming, outgoing, reflex: reflex.clone(), gone: Gone::default() },
        Raw { to, from, reflex },
    )
}

impl Agent {
    /// A device that nobody knows, with the right install key.
    pub fn new() -> Self {
        let key = fresh_key();
        Self {
            device: crate::device::id_of(key.public_key().as_ref()),
            key,
            next_key: None,
            host_key: super::sshd::host_key(),
            manners: Arc::default(),
            link: None,
            resume: None,
            install_key: Some(INSTALL_KEY.to_owned()),
            clock: crate::clock::wall().as_second(),
            capabilities: Vec::new(),
        }
    }

    /// Its id.
    pub fn id(&self) -> DeviceId {
        self.device.clone()
    }

    /// Another process with the same identity and its present key.
    pub fn twin(&self) -> Self {
        Self {
            device: self.device.clone(),
            key: self.key.clone(),
            host_key: self.host_key.clone(),
            ..Self::new()
        }
    }

    /// From now on it proves itself with its next key.
    pub fn use_next_key(&mut self) {
        self.key = self.next_key.take().unwrap();
    }

    /// What it answers to a challenge.
    pub fn hello(&self, challenge: &Challenge) -> Hello {
        let mut hello = Hello {
            version: 1,
            device: self.id(),
            key: BASE64.encode(self.key.public_key().as_ref()),
            nonce: BASE64.encode([7; 32]),
            software: "test 1".into(),
            name: "bench".into(),
            platform: "test".into(),
            sshd: "embedded".into(),
            login: "root".into(),
            host_keys: vec![self.host_key.public_key().to_openssh().unwrap()],
            clock: self.clock,
            capabilities: self.capabilities.clone(),
            resume: self.resume.clone(),
            enroll: None,
            install_key: None,
            next_key: None,
            signature: String::new(),
            stood_still_ms: 0,
        };
        if let Some((id, secret)) = self.install_key.as_deref().and_then(install_key::parts) {
            let seed = digest(&SHA256, format!("{}{secret}", install_key::OF_THE_DEVICE).as_bytes());
            let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
            hello.enroll = Some(BASE64.encode(key.sign(&hello.enroll_bytes(challenge))));
            hello.install_key = Some(id);
        } else if let Some(install_key) = &self.install_key {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, install_key.as_bytes());
            hello.enroll = Some(BASE64.encode(ring::hmac::sign(&key, &hello.enroll_bytes(challenge))));
        }
        if let Some(next) = &self.next_key {
            let key = BASE64.encode(next.public_key().as_ref());
            let signature = BASE64.encode(next.sign(&hello.next_key_bytes(challenge, &key)));
            hello.next_key = Some(NextKey { key, signature });
        }
        self.sign(hello, challenge)
    }

    /// For `connect_as`: the same device under another name, signed.
    pub fn named(&self, name: &str) -> impl FnOnce(&Challenge, Hello) -> Hello + use<> {
        let key = self.key.clone();
        let name = name.to_owned();
        move |challenge, mut hello| {
            hello.name = name;
            hello.signature = BASE64.encode(key.sign(&hello.signed_bytes(challenge)));
            hello
        }
    }

    /// For `connect_as`: the same device with these host keys, signed.
    pub fn with_host_keys(&self, host_keys: Vec<String>) -> impl FnOnce(&Challenge, Hello) -> Hello + use<> {
        let key = self.key.clone();
        move |challenge, mut hello| {
            hello.host_keys = host_keys;
            hello.signature = BASE64.encode(key.sign(&hello.signed_bytes(challenge)));
            hello
        }
    }

    /// Signs what it says.
    pub fn sign(&self, mut hello: Hello, challenge: &Challenge) -> Hello {
        hello.signature = BASE64.encode(self.key.sign(&hello.signed_bytes(challenge)));
        hello
    }

    /// Dials in and drives the link over the socket.
    pub async fn connect(&mut self, kit: &Kit) -> Result<Connected, Refused> {
        self.connect_as(kit, |_, hello| hello).await
    }

    /// The same, with a hello that was changed (and not signed again).
    pub async fn connect_as(
        &mut self,
        kit: &Kit,
        change: impl FnOnce(&Challenge, Hello) -> Hello,
    ) -> Result<Connected, Refused> {
        let (ends, mut raw) = socket();
        let devices = kit.devices.clone();
        let accepting = actix_rt::spawn(async move {
            devices.accept(ends, ([127, 0, 0, 1], 1).into()).await;
        });
        let challenge = challenge(&mut raw).await;
        let hello = change(&challenge, self.hello(&challenge));
        raw.to.send(Incoming::Binary(Message::Hello(hello).encode())).await.unwrap();
        let answer = said(&mut raw).await;
        accepting.await.unwrap();
        match answer {
            Message::Welcome(welcome) => Ok(self.begin(welcome, raw)),
            Message::Refused(refused) => Err(refused),
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, welcome: Welcome, raw: Raw) -> Connected {
        self.resume = Some(welcome.resume.clone());
        let attach = if welcome.resumed { Attach::Resumed } else { Attach::Fresh };
        if attach == Attach::Fresh {
            self.link = None;
        }
        let config = LinkConfig::default();
        let link = self.link.get_or_insert_with(|| LinkHandle::new(Role::Agent, config, now())).clone();
        link.handle(now(), Input::Connected(attach)).unwrap();
        let (tell, closed) = mpsc::channel(1);
        let (host_key, manners) = (self.host_key.clone(), self.manners.clone());
        let sshd = Rc::new(move |stream| serve(stream, host_key.clone(), manners.clone()));
        let driver = AbortOnDropHandle::new(actix_rt::spawn(drive(link, raw, tell, sshd)));
        Connected { welcome, _driver: driver, closed }
    }

    /// The socket is gone, and the agent has noticed.
    pub fn cut(&self, connected: Connected) {
        drop(connected);
        if let Some(link) = &self.link {
            link.handle(now(), Input::Disconnected).unwrap();
        }
    }
}

/// A device key that nobody has.
pub fn fresh_key() -> Arc<Ed25519KeyPair> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Arc::new(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
}

/// The challenge that a new socket begins with.
pub async fn challenge(raw: &mut Raw) -> Challenge {
    match said(raw).await {
        Message::Challenge(challenge) => challenge,
        other => panic!("{other:?}"),
    }
}

/// The next message of the greeting.
pub async fn said(raw: &mut Raw) -> Message {
    match raw.from.recv().await {
        Some(Outgoing::Binary(frame)) => Message::decode(&frame).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn drive(link: LinkHandle, mut raw: Raw, tell: mpsc::Sender<Code>, sshd: Rc<dyn Fn(LinkStream)>) {
    loop {
        while let Some(event) = link.poll_event() {
            if let Event::Opened { stream, .. } = event {
                sshd(stream);
            }
        }
        while let Some(frame) = link.poll_transmit(now()) {
            if raw.to.send(Incoming::Binary(frame)).await.is_err() {
                break;
            }
        }
        let deadline = link.poll_timeout();
        tokio::select! {
            message = raw.from.recv() => match message {
                Some(Outgoing::Binary(frame)) => link.handle(now(), Input::Frame(frame)).unwrap(),
                Some(Outgoing::Close(code, _)) => {
                    let _ = tell.send(code).await;
                    break;
                }
                Some(Outgoing::Text(_)) => panic!("text on a link"),
                None => break,
            },
            () = link.stirred() => {}
            () = async { until(deadline.unwrap()).await }, if deadline.is_some() => link.handle_timeout(now()),
        }
    }
    let _ = link.handle(now(), Input::Disconnected);
}
