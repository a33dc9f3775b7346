//! A broker as small as it can be: greets agents, keeps their links, and does to them what a test wants.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{SinkExt, StreamExt};
use moorline_agent::config::{Config, Layers};
use moorline_link_io::{Event, LinkHandle, LinkStream};
use moorline_wire::Code;
use moorline_wire::link::greeting::{
    Challenge, Handover, Hello, Message as Greeting, Refused, VERSIONS, Welcome,
};
use moorline_wire::link::{Attach, Class, Config as LinkConfig, Input, Output, Role, SUBPROTOCOL, Target};
use ring::{hmac, signature};
use russh::keys::PrivateKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;

/// Long enough on a busy machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the broker does with the next greeting.
#[derive(Clone)]
pub enum Manner {
    /// Lets everybody in who proves who it is.
    Welcome,
    /// Refuses.
    Refuse(Refused),
    /// Shows another CA, with or without a proof that it knows the install key.
    OtherCa { proof: bool },
    /// Shows the CA of that number (0: its own), and hands over.
    Hands { ca: u8, over: Handover },
}

/// The broker; dropped, everything of it is gone.
pub struct Broker {
    pub port: u16,
    pub install_key: String,
    /// Every hello, as it came.
    pub hellos: mpsc::UnboundedReceiver<(Instant, Hello)>,
    shared: Arc<Shared>,
    _work: JoinSet<()>,
}

struct Shared {
    manner: Mutex<Manner>,
    link: Mutex<Option<(String, LinkHandle)>>,
    cut: Notify,
    stalled: Notify,
    going: Notify,
    seed: u8,
    install_key: String,
    hellos: mpsc::UnboundedSender<(Instant, Hello)>,
    greetings: Mutex<u64>,
}

impl Broker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, |stream| Box::pin(async move { Some(stream) }))
    }

    /// Whatever `prepare` makes of a TCP connection (TLS, say) is what the broker talks over.
    pub fn on<S, F>(listener: TcpListener, prepare: F) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Fn(tokio::net::TcpStream) -> std::pin::Pin<Box<dyn Future<Output = Option<S>> + Send>>
            + Send
            + 'static,
    {
        let port = listener.local_addr().unwrap().port();
        let install_key = BASE64_STANDARD.encode([9; 32]);
        let (sender, hellos) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::Welcome),
            link: Mutex::new(None),
            cut: Notify::new(),
            stalled: Notify::new(),
            going: Notify::new(),
            seed: 1,
            install_key: install_key.clone(),
            hellos: sender,
            greetings: Mutex::new(0),
        });
        let serving = shared.clone();
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(stream) = prepare(stream).await {
                    connections.spawn(serving.clone().serve(stream));
                }
            }
        });
        Self { port, install_key, hellos, shared, _work: work }
    }

    /// A handover to these CAs, signed by that one (0: its own).
    pub fn handover(&self, by: u8, generation: u64, cas: &[u8]) -> Handover {
        let line = |number: &u8| key(self.shared.seed + number).public_key().to_openssh().unwrap();
        let cas: Vec<String> = cas.iter().map(line).collect();
        let signature =
            key(self.shared.seed + by).try_sign(&Handover::signed_bytes(generation, &cas)).unwrap();
        Handover { generation, cas, signature: BASE64_STANDARD.encode(signature.as_bytes()) }
    }

    pub fn set_manner(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Drops the TCP connection without a word.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Leaves the connection open and says and hears nothing more on it.
    pub fn stall(&self) {
        self.shared.stalled.notify_waiters();
    }

    /// Says that it goes away, and goes.
    pub fn go_away(&self) {
        self.shared.going.notify_waiters();
    }

    /// Forgets all links, as a broker that was restarted.
    pub fn forget(&self) {
        *self.shared.link.lock().unwrap() = None;
    }

    pub fn ca(&self) -> PrivateKey {
        key(self.shared.seed)
    }

    pub async fn hello(&mut self) -> (Instant, Hello) {
        tokio::time::timeout(PATIENCE, self.hellos.recv()).await.expect("a hello comes").unwrap()
    }

    /// Opens a stream towards the sshd, as soon as there is a link.
    pub async fn open(&self) -> LinkStream {
        until("a link", || self.shared.link.lock().unwrap().is_some()).await;
        let link = self.shared.link.lock().unwrap().as_ref().unwrap().1.clone();
        link.open(Target::Sshd, Class::Interactive).unwrap()
    }
}

impl Shared {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, stream: S) {
        #[allow(clippy::result_large_err, reason = "the library's type")]
        let protocol = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/agent/v1/link");
            assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        let Ok(mut socket) = accept_hdr_async(stream, protocol).await else { return };
        let Some(link) = self.greet(&mut socket).await else {
            let _ = socket.close(None).await;
            return;
        };
        tokio::select! {
            () = self.cut.notified() => {}
            () = self.stalled.notified() => {
                let _ = link.handle(Instant::now(), Input::Disconnected);
                std::future::pending().await
            }
            () = carry(&mut socket, &link) => {}
            () = self.going.notified() => {
                let come_back_after = Duration::from_millis(700);
                link.handle(Instant::now(), Input::GoAway { come_back_after }).unwrap();
                while let Some(frame) = link.poll_transmit(Instant::now()) {
                    socket.send(Message::Binary(frame)).await.unwrap();
                }
                let _ = socket.close(None).await;
            }
        }
        let _ = link.handle(Instant::now(), Input::Disconnected);
    }

    async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<S>,
    ) -> Option<LinkHandle> {
        let nonce = BASE64_STANDARD.encode([3; 32]);
        let challenge = Challenge { versions: VERSIONS, broker: "test".into(), nonce, knows: Vec::new() };
        socket.send(Message::Binary(Greeting::Challenge(challenge.clone()).encode())).await.ok()?;
        let Message::Binary(frame) = socket.next().await?.ok()? else { panic!("no hello") };
        let Greeting::Hello(hello) = Greeting::decode(&frame).unwrap() else { panic!("no hello") };
        verify(&hello, &challenge);
        let answer = self.answer(&hello, &challenge);
        let _ = self.hellos.send((Instant::now(), hello));
        let (answer, link) = answer;
        socket.send(Message::Binary(answer.encode())).await.ok()?;
        link
    }

    fn answer(&self, hello: &Hello, challenge: &Challenge) -> (Greeting, Option<LinkHandle>) {
        let manner = self.manner.lock().unwrap().clone();
        let mut handover = None;
        let (seed, proof) = match manner {
            Manner::Refuse(refused) => return (Greeting::Refused(refused), None),
            Manner::Hands { ca, over } => {
                handover = Some(over);
                (self.seed + ca, false)
            }
            Manner::Welcome => (self.seed, true),
            Manner::OtherCa { proof } => (self.seed + 1, proof),
        };
        let ca = key(seed).public_key().to_openssh().unwrap();
        let install = hmac::Key::new(hmac::HMAC_SHA256, self.install_key.as_bytes());
        let enrolled = hello.enroll.as_deref().filter(|_| proof).map(|enroll| {
            let enroll = BASE64_STANDARD.decode(enroll).unwrap();
            hmac::verify(&install, &hello.enroll_bytes(challenge), &enroll)
                .expect("the agent's proof is right");
            BASE64_STANDARD.encode(hmac::sign(&install, &Welcome::enroll_bytes(hello, &ca)))
        });
        let mut greetings = self.greetings.lock().unwrap();
        *greetings += 1;
        let token = format!("token {greetings}");
        let mut kept = self.link.lock().unwrap();
        let resumed = kept.as_ref().is_some_and(|(token, _)| Some(token) == hello.resume.as_ref());
        let link = match kept.take() {
            Some((_, link)) if resumed => link,
            _ => LinkHandle::new(Role::Broker, link_config(), Instant::now()),
        };
        let attach = if resumed { Attach::Resumed } else { Attach::Fresh };
        link.handle(Instant::now(), Input::Connected(attach)).unwrap();
        *kept = Some((token.clone(), link.clone()));
        let (ping_ms, dead_ms, resume_within_ms) = (200, 1500, 60_000);
        let welcome = Welcome {
            handover,
            epoch: *greetings,
            resume: token,
            resumed,
            ca,
            enrolled,
            ping_ms,
            dead_ms,
            resume_within_ms,
            spread_ms: 0,
            pending: false,
            next_key_taken: false,
            key_asked: false,
        };
        (Greeting::Welcome(welcome), Some(link))
    }
}

fn link_config() -> LinkConfig {
    LinkConfig {
        window_interactive: 256 * 1024,
        window_bulk_max: 2 << 20,
        streams_max: 256,
        ping_every: Duration::from_millis(200),
        unstable_after: Duration::from_millis(1000),
        dead_after: Duration::from_millis(1500),
        resume_within: Duration::from_secs(60),
    }
}

fn verify(hello: &Hello, challenge: &Challenge) {
    let key = BASE64_STANDARD.decode(&hello.key).unwrap();
    assert_eq!(hello.device, moorline_agent::identity::device_id(&key));
    let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
    let signed = BASE64_STANDARD.decode(&hello.signature).unwrap();
    key.verify(&hello.signed_bytes(challenge), &signed).expect("the agent's signature is right");
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "ca").unwrap()
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, link: &LinkHandle) {
    loop {
        while let Some(event) = link.poll_event() {
            if let Event::Link(Output::Close(_)) = event {
                return;
            }
        }
        while let Some(frame) = link.poll_transmit(Instant::now()) {
            if socket.send(Message::Binary(frame)).await.is_err() {
                return;
            }
        }
        let deadline = link.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(frame))) => link.handle(Instant::now(), Input::Frame(frame)).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return,
            },
            () = link.stirred() => {}
            () = tokio::time::sleep_until(deadline.into()) => link.handle_timeout(Instant::now()),
        }
    }
}

/// A running agent in this process; dropped, it is told to leave.
pub struct Device {
    pub dir: tempfile::TempDir,
    pub leave: CancellationToken,
    pub running: JoinHandle<Result<(), moorline_agent::Problem>>,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.leave.cancel();
    }
}

impl Device {
    /// An agent of this broker, with these settings beside.
    pub fn start(broker: &Broker, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("install.key"), &broker.install_key).unwrap();
        Self::in_folder(dir, broker, settings)
    }

    /// The same in the folder of a former one.
    pub fn in_folder(dir: tempfile::TempDir, broker: &Broker, settings: &[&str]) -> Self {
        let mut layers = Layers::default();
        let own = [
            format!("broker.url=ws://127.0.0.1:{}", broker.port),
            format!("state_dir={}", dir.path().join("state").display()),
            format!("install_key_file={}", dir.path().join("install.key").display()),
            "broker.proxy=none".into(),
            "timing.kill_grace=1s".into(),
        ];
        own.iter().map(String::as_str).chain(settings.iter().copied()).for_each(|setting| {
            layers.argument(setting).unwrap();
        });
        let config = Config::check(&layers).unwrap();
        let leave = CancellationToken::new();
        let running = tokio::spawn(moorline_agent::agent::run(config, leave.clone()));
        Self { dir, leave, running }
    }

    pub fn pinned(&self) -> PathBuf {
        self.dir.path().join("state/user_ca.pub")
    }

    /// Tells it to leave, and waits until it has.
    pub async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.leave.cancel();
        (&mut self.running).await.unwrap().unwrap();
        asked.elapsed()
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn refused(code: Code, retry_after_ms: Option<u32>) -> Manner {
    Manner::Refuse(Refused { code, text: code.sentence().into(), retry_after_ms })
}
