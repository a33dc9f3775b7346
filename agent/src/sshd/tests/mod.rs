//! The embedded sshd with real clients: OpenSSH's, and russh over a stream of the link. The port that
//! it listens on here is the test's own.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::login::Login;
use super::{EmbeddedSshd, UserCa};
use crate::clock;
use crate::config::Settings;
use crate::identity::StateDir;

mod cleanup;
mod flow;
mod keepers;
mod logins;
mod sessions;

/// Long enough on a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// An sshd that serves every TCP connection to `port`, and what a client needs to log in.
struct Stage {
    dir: tempfile::TempDir,
    port: u16,
    login: String,
    sshd: EmbeddedSshd,
    _serving: JoinSet<()>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.timing.kill_grace = Duration::from_secs(1);
        change(&mut settings);
        let host_key = StateDir::open(&dir.path().join("state")).unwrap().host_key().unwrap();
        let host_line = host_key.public_key().to_openssh().unwrap();
        std::fs::write(dir.path().join("known_hosts"), format!("device {host_line}\n")).unwrap();
        let ca = UserCa::default();
        let (embedded, keeper) = (&settings.embedded, &settings.keeper);
        let (limits, timing) = (&settings.limits, &settings.timing);
        let metrics = crate::metrics::Metrics::default();
        let (sshd, burials) =
            EmbeddedSshd::new(host_key, ca.clone(), embedded, keeper, limits, timing, metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(burials);
        let serve = sshd.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let sshd = serve.clone();
                connections.spawn(async move { sshd.serve(stream).await });
            }
        });
        let stage = Self { dir, port, login: Login::own().unwrap().name, sshd, _serving: serving };
        for key in ["ca", "id"] {
            stage.keygen(&["-q", "-t", "ed25519", "-N", "", "-f", key]).await;
        }
        ca.set(&[stage.public("ca")]);
        stage.certify("id", &[]).await;
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn public(&self, key: &str) -> PublicKey {
        PublicKey::read_openssh_file(self.path(&format!("{key}.pub"))).unwrap()
    }

    fn private(&self, key: &str) -> Arc<PrivateKey> {
        Arc::new(PrivateKey::read_openssh_file(self.path(key)).unwrap())
    }

    async fn keygen(&self, arguments: &[&str]) {
        let out =
            Command::new("ssh-keygen").args(arguments).current_dir(self.dir.path()).output().await.unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// A certificate of `key` by the CA, for our login unless the options say otherwise.
    async fn certify(&self, key: &str, options: &[&str]) {
        let mut arguments = vec!["-q", "-s", "ca", "-I", "s-test someone", "-V", "-5m:+5m"];
        if !options.contains(&"-n") && !options.contains(&"none") {
            arguments.extend(["-n", &self.login]);
        }
        arguments.extend(options.iter().filter(|option| **option != "none"));
        let key = format!("{key}.pub");
        arguments.push(&key);
        self.keygen(&arguments).await;
    }

    /// OpenSSH's client with our certificate.
    fn ssh(&self, options: &[&str]) -> Command {
        self.ssh_as("id", options)
    }

    fn ssh_as(&self, key: &str, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        // The first value of an option counts.
        command.args(options).args(["-F", "none", "-p", &self.port.to_string(), "-l", &self.login]);
        command.args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "HostKeyAlias=device"]);
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", "-o", "IdentityAgent=none"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        command.arg("-i").arg(self.path(key)).arg("127.0.0.1");
        command.env_remove("SSH_AUTH_SOCK").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command on the device.
    async fn run(&self, options: &[&str], command: &str) -> Output {
        self.run_with_input(options, command, b"").await
    }

    async fn run_with_input(&self, options: &[&str], command: &str, input: &[u8]) -> Output {
        let mut ssh = self.ssh(options);
        if !command.is_empty() {
            ssh.arg(command);
        }
        feed(ssh, input).await
    }
}

/// Runs it with this input, within patience.
async fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async {
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let both = async { tokio::join!(child.wait_with_output(), write).0.unwrap() };
    clock::within(PATIENCE, "the ssh client", both).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something is so.
async fn until(what: &'static str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            clock::pass(Duration::from_millis(20)).await;
        }
    };
    clock::within(PATIENCE, what, wait).await.unwrap();
}
