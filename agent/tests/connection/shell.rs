//! An SSH client over a stream of the link, and the other parts that a test needs around the broker.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use moorline_wire::link::greeting::Hello;
use russh::client::{self, Handler, Msg};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::broker::{Broker, PATIENCE, until};

/// A command that runs on the device.
pub struct Shell {
    channel: Channel<Msg>,
    said: String,
    status: Option<u32>,
    _session: client::Handle<Pinned>,
}

struct Pinned(PublicKey);

impl Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(key.public_key().key_data() == self.0.key_data())
    }
}

impl Shell {
    /// Runs a command on pipes.
    pub async fn open(broker: &Broker, hello: &Hello, command: &str) -> Self {
        let (session, channel) = log_in(broker, hello).await;
        channel.exec(true, command).await.unwrap();
        Self { channel, said: String::new(), status: None, _session: session }
    }

    /// Runs a command on a terminal.
    #[allow(dead_code, reason = "not every test needs a terminal")]
    pub async fn on_terminal(broker: &Broker, hello: &Hello, command: &str) -> Self {
        let (session, channel) = log_in(broker, hello).await;
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        channel.exec(true, command).await.unwrap();
        Self { channel, said: String::new(), status: None, _session: session }
    }

    /// Waits for more output; how much there is now, or none at the end.
    pub async fn more(&mut self) -> Option<usize> {
        loop {
            match tokio::time::timeout(PATIENCE, self.channel.wait()).await.expect("something comes")? {
                ChannelMsg::Data { data } => {
                    self.said.push_str(std::str::from_utf8(&data).unwrap());
                    return Some(self.said.len());
                }
                ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
                ChannelMsg::Failure => return None,
                _ => {}
            }
        }
    }

    pub async fn write(&self, bytes: &'static [u8]) {
        self.channel.data_bytes(bytes).await.unwrap();
    }

    pub async fn end_input(&self) {
        self.channel.eof().await.unwrap();
    }

    /// All that it said, and its exit status.
    pub async fn finish(&mut self) -> (String, Option<u32>) {
        while self.more().await.is_some() {}
        (std::mem::take(&mut self.said), self.status)
    }
}

/// Logs in as the broker does, with a certificate that it made just now.
async fn log_in(broker: &Broker, hello: &Hello) -> (client::Handle<Pinned>, Channel<Msg>) {
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[42; 32])), "").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut cert =
        Builder::new(vec![5; 16], key.public_key().key_data().clone(), now - 60, now + 240).unwrap();
    cert.cert_type(CertType::User).unwrap().key_id("s-test someone").unwrap();
    cert.valid_principal(&hello.login).unwrap().extension("permit-pty", "").unwrap();
    let cert = cert.sign(&broker.ca()).unwrap();
    let config = client::Config { window_size: 128 * 1024, nodelay: true, ..Default::default() };
    let host_key = Pinned(PublicKey::from_openssh(&hello.host_keys[0]).unwrap());
    let stream = broker.open().await;
    let connect = client::connect_stream(Arc::new(config), stream, host_key);
    let mut session = tokio::time::timeout(PATIENCE, connect).await.unwrap().unwrap();
    assert!(session.authenticate_openssh_cert(&hello.login, Arc::new(key), cert).await.unwrap().success());
    let channel = session.channel_open_session().await.unwrap();
    (session, channel)
}

/// How many processes `sleep` for this long.
pub fn sleepers(word: &str) -> usize {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = numbers.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| *line == format!("sleep\0{word}\0").into_bytes()).count()
}

/// A real sshd with one host key.
pub struct Sshd {
    pub port: u16,
    _process: Child,
}

pub async fn openssh_server(dir: &tempfile::TempDir) -> (Sshd, String) {
    let key = dir.path().join("host");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().await;
    assert!(made.unwrap().success());
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let _ = std::fs::create_dir_all("/run/sshd");
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string(), "-o", "ListenAddress=127.0.0.1"]);
    sshd.arg("-h").arg(&key).args(["-o", "PidFile=none"]).stderr(Stdio::null()).kill_on_drop(true);
    let process = sshd.spawn().unwrap();
    until("the sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    let line = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let mut key = PublicKey::from_openssh(&line).unwrap();
    key.set_comment("");
    (Sshd { port, _process: process }, key.to_openssh().unwrap())
}

/// TLS for `localhost` with a certificate of its own, which is left in `cert.pem`.
pub fn tls_acceptor(dir: &tempfile::TempDir) -> TlsAcceptor {
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert).stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
    let chain = CertificateDer::pem_file_iter(&cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// An HTTP proxy that tells what it was asked.
pub async fn proxy() -> (u16, mpsc::UnboundedReceiver<String>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = mpsc::unbounded_channel();
    let mut work = JoinSet::new();
    work.spawn(async move {
        let mut tunnels = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tunnels.spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let _ = asked.send(head);
                let mut far = TcpStream::connect(target).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
            });
        }
    });
    (port, questions, work)
}
