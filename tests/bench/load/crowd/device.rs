//! One simulated device: it has a key of its own, dials, enrols, greets, and drives a real link until that
//! breaks; then it comes back as an agent does. It serves no stream.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use moorline_agent::connection::{Backoff, Outcome};
use moorline_tests::raw::upgrade_request;
use moorline_wire::link::greeting::{Challenge, Hello, Message, Refused, VERSIONS, Welcome};
use moorline_wire::link::{Attach, Config, Input, Link, Output, Role, SUBPROTOCOL};
use moorline_wire::{Code, DeviceId};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ring::{digest, hmac};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

use super::Crowd;
use crate::pause::pause;

type Socket = WebSocketStream<TcpStream>;

/// What a simulated device reads at once: a ping has a few bytes.
const READ_BUFFER: usize = 2 * 1024;

/// See the module.
pub struct Device {
    crowd: Rc<Crowd>,
    number: u32,
    key: Ed25519KeyPair,
    host_key: String,
    backoff: Backoff,
    /// The link, once there was one, and the token that shows it.
    link: Option<(Link, String)>,
}

/// Why there is no connection.
enum Failure {
    /// The broker does not want it.
    Refused(Refused),
    /// It could not be reached, or something broke.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// How a connection ended.
enum Over {
    Broke(Code),
    GoingAway(Duration),
}

impl Device {
    /// The device of that number, which no other has.
    pub fn new(crowd: Rc<Crowd>, number: u32) -> Result<Self> {
        let seed = digest::digest(&digest::SHA256, format!("{} {number}", crowd.seed).as_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| anyhow!("no seed"))?;
        let host_key = host_key(seed.as_ref());
        let backoff = Backoff::new(&crowd.timing);
        Ok(Self { crowd, number, key, host_key, backoff, link: None })
    }

    /// Connects, and comes back whenever the connection breaks, for ever.
    pub async fn live(mut self) {
        let crowd = Rc::clone(&self.crowd);
        // Only the first time: whoever comes back comes when it likes.
        let mut turn = crowd.first_time.acquire().await.ok();
        loop {
            let outcome = match self.connect().await {
                Ok(socket) => {
                    drop(turn.take());
                    let since = Instant::now();
                    self.crowd.count(|tally| tally.up += 1);
                    let over = self.drive(socket).await;
                    self.crowd.count(|tally| {
                        tally.up -= 1;
                        tally.broke += 1;
                    });
                    self.over(over, since)
                }
                Err(failure) => self.failed(failure),
            };
            let wait = self.backoff.after(Instant::now(), outcome, rand::random());
            pause(wait).await;
            if let Some((link, _)) = &mut self.link {
                // A link that was away for too long is lost.
                link.handle_timeout(Instant::now());
            }
        }
    }

    fn over(&mut self, over: Result<Over>, since: Instant) -> Outcome {
        let Some((link, _)) = &mut self.link else { return Outcome::Failed };
        // A link that broke a rule does not take this, either; it is given up below.
        let _ = link.handle(Instant::now(), Input::Disconnected);
        let resumable = link.is_resumable();
        match over {
            Ok(Over::GoingAway(wait)) => Outcome::Told(wait),
            Ok(Over::Broke(code)) => {
                // The connection ended without a word: the broker was killed.
                let unexpected = code != Code::LINK_DEAD && code != Code::GOING_AWAY;
                if unexpected {
                    self.crowd.complain(&format!("closed with {code}"));
                }
                Outcome::Broke { since, resumable }
            }
            Err(error) => {
                self.crowd.complain(&format!("{error:#}"));
                self.link = None;
                Outcome::Broke { since, resumable: false }
            }
        }
    }

    fn failed(&self, failure: Failure) -> Outcome {
        match failure {
            Failure::Refused(refused) => {
                self.crowd.count(|tally| tally.refused += 1);
                self.crowd.complain(&format!("refused: {} {}", refused.code, refused.text));
                let wait = refused.retry_after_ms.map(|ms| Duration::from_millis(ms.into()));
                wait.map_or(Outcome::Failed, Outcome::Told)
            }
            Failure::Failed(error) => {
                self.crowd.count(|tally| tally.failed += 1);
                self.crowd.failed_last(&error);
                Outcome::Failed
            }
        }
    }

    async fn connect(&mut self) -> Result<Socket, Failure> {
        let timing = &self.crowd.timing;
        let mut socket = tokio::time::timeout(timing.connect, self.dial()).await.context("dialling")??;
        let greeting = tokio::time::timeout(timing.greeting, self.greet(&mut socket));
        let welcome = greeting.await.context("the greeting")??;
        self.welcomed(&welcome)?;
        Ok(socket)
    }

    async fn dial(&self) -> Result<Socket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.address(), 0)))?;
        let stream = socket.connect(self.crowd.broker).await?;
        stream.set_nodelay(true)?;
        let request = upgrade_request(&self.crowd.broker.to_string(), "/agent/v1/link", None, SUBPROTOCOL)?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(socket)
    }

    /// One of 127.1.0.1 and so on, two hundred devices on each.
    fn address(&self) -> Ipv4Addr {
        let [_, high, middle, low] = (self.number / 200).to_be_bytes();
        Ipv4Addr::new(127, high.saturating_add(1), middle, low.saturating_add(1))
    }

    async fn greet(&self, socket: &mut Socket) -> Result<Welcome, Failure> {
        let Message::Challenge(challenge) = heard(socket).await? else {
            return Err(anyhow!("no challenge").into());
        };
        let hello = self.hello(&challenge)?;
        socket.send(tungstenite::Message::Binary(Message::Hello(hello.clone()).encode())).await?;
        match heard(socket).await? {
            Message::Welcome(welcome) => {
                self.check(&hello, &welcome)?;
                Ok(welcome)
            }
            Message::Refused(refused) => Err(Failure::Refused(refused)),
            other => Err(anyhow!("an answer out of place: {other:?}").into()),
        }
    }

    fn hello(&self, challenge: &Challenge) -> Result<Hello> {
        let public = self.key.public_key().as_ref();
        let id = digest::digest(&digest::SHA256, public);
        let id = data_encoding::BASE32_NOPAD.encode(&id.as_ref()[..10]).to_lowercase();
        let resume = self.link.as_ref().filter(|(link, _)| link.is_resumable());
        let mut hello = Hello {
            version: challenge.common_version().unwrap_or(VERSIONS.0),
            device: format!("d-{id}").parse::<DeviceId>()?,
            key: STANDARD.encode(public),
            nonce: STANDARD.encode(rand::random::<[u8; 32]>()),
            software: concat!("moorline-agent ", env!("CARGO_PKG_VERSION")).into(),
            name: format!("simulated-{:05}", self.number),
            platform: "linux x86_64".into(),
            sshd: "embedded".into(),
            login: "root".into(),
            host_keys: vec![self.host_key.clone()],
            clock: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64,
            capabilities: vec!["keeper:/usr/local/bin/moorline-agent".into()],
            resume: resume.map(|(_, token)| token.clone()),
            enroll: None,
            install_key: None,
            next_key: None,
            signature: String::new(),
            stood_still_ms: 0,
        };
        let proof = hmac::sign(&self.crowd.install_key, &hello.enroll_bytes(challenge));
        hello.enroll = Some(STANDARD.encode(proof.as_ref()));
        hello.signature = STANDARD.encode(self.key.sign(&hello.signed_bytes(challenge)).as_ref());
        Ok(hello)
    }

    /// The broker knows the install key as well.
    fn check(&self, hello: &Hello, welcome: &Welcome) -> Result<()> {
        let proof = welcome.enrolled.as_deref().context("the broker proves nothing")?;
        let proven = Welcome::enroll_bytes(hello, &welcome.ca);
        let verified = hmac::verify(&self.crowd.install_key, &proven, &STANDARD.decode(proof)?);
        verified.map_err(|_| anyhow!("the broker's proof is wrong"))
    }

    /// The link goes on, or a new one begins.
    fn welcomed(&mut self, welcome: &Welcome) -> Result<()> {
        let now = Instant::now();
        let attach = if welcome.resumed { Attach::Resumed } else { Attach::Fresh };
        if attach == Attach::Fresh {
            self.link = Some((Link::new(Role::Agent, config(welcome), now), String::new()));
        }
        let (link, token) = self.link.as_mut().context("the broker resumes a link that is over here")?;
        welcome.resume.clone_into(token);
        self.backoff.may_take(Duration::from_millis(welcome.spread_ms.into()));
        self.crowd.count(|tally| *if welcome.resumed { &mut tally.resumed } else { &mut tally.fresh } += 1);
        Ok(link.handle(now, Input::Connected(attach))?)
    }

    /// Drives the link until the connection breaks. An error: something that may not happen.
    async fn drive(&mut self, mut socket: Socket) -> Result<Over> {
        let (link, _) = self.link.as_mut().context("a greeted device has a link")?;
        let mut going_away = None;
        loop {
            while let Some(output) = link.poll_output() {
                match output {
                    Output::Close(code) => return Ok(Over::Broke(code)),
                    Output::GoingAway { come_back_after } => going_away = Some(come_back_after),
                    Output::Opened { .. } => bail!("a stream was opened to a simulated device"),
                    Output::Lost => bail!("the link was lost while it was driven"),
                    Output::Unstable => self.crowd.count(|tally| tally.unstable += 1),
                    _ => {}
                }
            }
            let over = match next(&mut socket, link).await {
                Ok(Some(frame)) => {
                    link.handle(Instant::now(), Input::Frame(frame)).context("a broken rule")?;
                    continue;
                }
                Ok(None) => continue,
                Err(code) => code,
            };
            return Ok(going_away.map_or(Over::Broke(over), Over::GoingAway));
        }
    }
}

/// Sends what the link has, and waits for a frame or for its time; an error is the end of the connection.
async fn next(socket: &mut Socket, link: &mut Link) -> Result<Option<Bytes>, Code> {
    let broken = |_| Code::LINK_DEAD;
    while let Some(frame) = link.poll_transmit(Instant::now()) {
        socket.send(tungstenite::Message::Binary(frame)).await.map_err(broken)?;
    }
    let due = link.poll_timeout().ok_or(Code::LINK_DEAD)?;
    match tokio::time::timeout_at(due.into(), socket.next()).await {
        Err(_) => {
            link.handle_timeout(Instant::now());
            Ok(None)
        }
        Ok(Some(Ok(tungstenite::Message::Binary(frame)))) => Ok(Some(frame)),
        Ok(Some(Ok(tungstenite::Message::Close(frame)))) => {
            let number = frame.map_or(0, |frame| u16::from(frame.code));
            Err(Code::ALL.iter().copied().find(|code| code.number() == number).unwrap_or(Code::LINK_DEAD))
        }
        Ok(Some(Ok(_))) => Ok(None),
        Ok(Some(Err(_)) | None) => Err(Code::LINK_DEAD),
    }
}

async fn heard(socket: &mut Socket) -> Result<Message> {
    loop {
        match socket.next().await.context("the connection ended during the greeting")?? {
            tungstenite::Message::Binary(frame) => return Ok(Message::decode(&frame)?),
            tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
            other => bail!("no greeting: {other:?}"),
        }
    }
}

/// As an agent takes it from the welcome.
fn config(welcome: &Welcome) -> Config {
    let dead_after = Duration::from_millis(welcome.dead_ms.into());
    Config {
        ping_every: Duration::from_millis(welcome.ping_ms.into()),
        unstable_after: dead_after.mul_f64(2.0 / 3.0),
        dead_after,
        resume_within: Duration::from_millis(welcome.resume_within_ms.into()),
        ..Config::default()
    }
}

/// An Ed25519 public key as RFC 8709 section 4 writes it; nobody has its other half.
fn host_key(seed: &[u8]) -> String {
    let key = digest::digest(&digest::SHA256, seed);
    let mut blob = vec![0, 0, 0, 11];
    blob.extend_from_slice(b"ssh-ed25519");
    blob.extend_from_slice(&[0, 0, 0, 32]);
    blob.extend_from_slice(key.as_ref());
    format!("ssh-ed25519 {}", STANDARD.encode(blob))
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn two_hundred_devices_share_an_address_and_no_more() {
        let crowd = Rc::new(Crowd::for_tests());
        let address = |number| Device::new(Rc::clone(&crowd), number).map(|device| device.address()).ok();
        assert_eq!(address(0), Some(Ipv4Addr::new(127, 1, 0, 1)));
        assert_eq!(address(199), address(0));
        assert_eq!(address(200), Some(Ipv4Addr::new(127, 1, 0, 2)));
        assert_eq!(address(19_999), Some(Ipv4Addr::new(127, 1, 0, 100)));
    }

    #[test]
    fn a_hello_is_signed_by_the_key_that_its_id_is_made_of() -> Result<()> {
        let device = Device::new(Rc::new(Crowd::for_tests()), 7)?;
        let challenge =
            Challenge { versions: VERSIONS, broker: "b".into(), nonce: "n".into(), knows: Vec::new() };
        let hello = device.hello(&challenge)?;
        let key = STANDARD.decode(&hello.key)?;
        let verifier = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &key);
        let signature = STANDARD.decode(&hello.signature)?;
        ensure!(verifier.verify(&hello.signed_bytes(&challenge), &signature).is_ok());
        Ok(())
    }
}
