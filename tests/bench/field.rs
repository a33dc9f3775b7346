//! Everybody who is measured, started and ready: one OpenSSH server, and in front of it whoever leads there.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::free_port;
use moorline_tests::process::Process;
use moorline_tests::{Broker, Device, Kind, Sshd, Stage, inspect};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::line::Line;
use crate::line::plain::Plain;
use crate::line::terminal::Terminal;
use crate::line::webssh::Webssh;
use crate::line::wetty::Wetty;
use crate::login::Login;
use crate::options::Options;
use crate::pause::pause;
use crate::peer::Peer;
use crate::shell::Shell;

/// Programs are started without what they have to say about their work.
const QUIET: (&str, &str) = ("log.filter", "info");
/// How long what was left behind by a session may take to go.
const SETTLING: Duration = Duration::from_secs(15);
/// How long a server may take to listen.
const STARTING: Duration = Duration::from_secs(20);

/// See the module.
pub struct Field {
    /// The broker of both devices.
    pub broker: Broker,
    /// The device whose agent has the server.
    pub embedded: Device,
    /// The device whose server everybody else is in front of, too.
    pub openssh: Device,
    /// The server on the way of `ssh -J`.
    pub jump: Sshd,
    /// The servers of other people.
    others: Vec<(Peer, Server)>,
    peers: Vec<Peer>,
    missing: Vec<Peer>,
    login: String,
    /// What goes through the terminals.
    pub data: PathBuf,
    /// Last: its folder goes when all others have ended.
    stage: Stage,
}

/// A server that is not ours.
struct Server {
    address: SocketAddr,
    process: Process,
}

impl Field {
    /// Starts what these peers need.
    pub fn start(options: &Options, peers: &[Peer], login: &Login) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stage = Stage::new();
        let (broker, embedded, openssh, jump) = runtime.block_on(async {
            let broker = Broker::start_with(&stage, free_port(), &[QUIET]).await?;
            let dial = broker.address;
            let embedded =
                Device::start_with(&stage, &broker, "embedded", Kind::Embedded, dial, &[QUIET]).await?;
            let openssh =
                Device::start_with(&stage, &broker, "openssh", Kind::OpenSsh, dial, &[QUIET]).await?;
            let jump = Sshd::start(&stage, "jump").await?;
            anyhow::Ok((broker, embedded, openssh, jump))
        })?;
        let data = stage.path("data");
        write_data(&data, options.bulk_bytes)?;
        let login = login.name.clone();
        let (others, peers, missing) = (Vec::new(), peers.to_vec(), Vec::new());
        let mut field = Self { broker, embedded, openssh, jump, others, peers, missing, login, data, stage };
        field.write_ssh_config()?;
        field.start_others(&options.others)?;
        Ok(field)
    }

    /// Who ought to be measured and is not installed.
    pub fn missing(&self) -> Vec<Peer> {
        self.missing.clone()
    }

    /// Everybody who is measured, another one first in each round: who follows whom shall not matter.
    pub fn peers_from(&self, round: usize) -> Vec<Peer> {
        let mut peers = self.peers.clone();
        if !peers.is_empty() {
            let first = round % peers.len();
            peers.rotate_left(first);
        }
        peers
    }

    /// The server that everybody is in front of.
    pub fn sshd(&self) -> &Sshd {
        self.openssh.sshd.as_ref().expect("a device of this kind has one")
    }

    /// Connects; the first prompt is still to come.
    pub fn open(&self, peer: Peer) -> Result<Shell> {
        let server = |peer| self.server(peer).map(|server| server.address).context("its server does not run");
        let line: Box<dyn Line> = match peer {
            Peer::EchoFloor => Box::new(Plain::echo(server(peer)?)?),
            Peer::DirectSsh => self.ssh(&[])?,
            Peer::DirectSshCurve25519 => self.ssh(&["-o", "KexAlgorithms=curve25519-sha256"])?,
            Peer::SshJump => self.ssh(&["-J", &format!("127.0.0.1:{}", self.jump.address.port())])?,
            Peer::Wetty => Box::new(Wetty::open(server(peer)?)?),
            Peer::Webssh => {
                let (sshd, key) = (self.sshd().address, self.stage.path("key"));
                Box::new(Webssh::open(server(peer)?, sshd, &self.login, &key)?)
            }
            Peer::MoorlineEmbedded => Box::new(Terminal::open(self.broker.address, &self.embedded.id)?),
            Peer::MoorlineOpenssh => Box::new(Terminal::open(self.broker.address, &self.openssh.id)?),
        };
        Ok(Shell::on(line))
    }

    /// A shell with a prompt that is known.
    pub fn ready(&self, peer: Peer) -> Result<Shell> {
        let mut shell = self.open(peer)?;
        shell.prompt()?;
        shell.prepare()?;
        Ok(shell)
    }

    fn ssh(&self, options: &[&str]) -> Result<Box<dyn Line>> {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.stage.path("ssh_config")).args(options);
        command.args(["-tt", "-p", &self.sshd().address.port().to_string(), "127.0.0.1"]);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.stage.path("ssh.log"))?;
        Ok(Box::new(Plain::program(command, log)?))
    }

    /// Waits until nothing of any session is left: it would take part in what is measured next.
    pub fn settle(&self) -> Result<()> {
        let give_up = Instant::now() + SETTLING;
        loop {
            let mut left = self.embedded.processes();
            left.extend(self.openssh.processes());
            left.extend(inspect::descendants(self.jump.process.pid()));
            left.extend(
                self.others.iter().flat_map(|(_, server)| inspect::descendants(server.process.pid())),
            );
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "processes {left:?} of sessions that have ended stay");
            pause(Duration::from_millis(10));
        }
    }

    /// The process of that peer's server.
    pub fn server_pid(&self, peer: Peer) -> Option<u32> {
        self.server(peer).map(|server| server.process.pid())
    }

    fn server(&self, peer: Peer) -> Option<&Server> {
        self.others.iter().find(|(whose, _)| *whose == peer).map(|(_, server)| server)
    }

    /// A key that both servers know, and a configuration in which they are known.
    fn write_ssh_config(&self) -> Result<()> {
        let (key, known) = (self.stage.path("key"), self.stage.path("known_hosts"));
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status()?;
        ensure!(made.success(), "ssh-keygen: {made}");
        let mut hosts = String::new();
        for sshd in [self.sshd(), &self.jump] {
            sshd.authorizes(&key.with_extension("pub"))?;
            let host_key = fs::read_to_string(sshd.public_host_key())?;
            hosts += &format!("[127.0.0.1]:{} {host_key}", sshd.address.port());
        }
        fs::write(&known, hosts)?;
        let config = format!(
            "Host *\nUser {}\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile \
             /dev/null\nStrictHostKeyChecking yes\nBatchMode yes\nLogLevel ERROR\nControlPath none\n",
            self.login,
            key.display(),
            known.display()
        );
        Ok(fs::write(self.stage.path("ssh_config"), config)?)
    }

    /// Starts those of other people that are wanted and installed.
    fn start_others(&mut self, installed: &Path) -> Result<()> {
        let wetty = installed.join("wetty/node_modules/.bin/wetty");
        let webssh = installed.join("webssh/bin/wssh");
        for peer in self.peers.clone() {
            let port = free_port();
            let command = match peer {
                Peer::EchoFloor => echo(port)?,
                Peer::Wetty if wetty.exists() => self.wetty(&fs::canonicalize(&wetty)?, port),
                Peer::Webssh if webssh.exists() => self.webssh(&std::path::absolute(&webssh)?, port),
                Peer::Wetty | Peer::Webssh => {
                    self.missing.push(peer);
                    continue;
                }
                _ => continue,
            };
            let process = Process::start(&self.stage, peer.name(), command, false)?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut server = Server { address, process };
            server.listens()?;
            self.others.push((peer, server));
        }
        self.peers.retain(|peer| !self.missing.contains(peer));
        Ok(())
    }

    fn wetty(&self, program: &Path, port: u16) -> Command {
        let mut command = Command::new("node");
        command.arg(program).args(["--host", "127.0.0.1", "--port", &port.to_string(), "--base", "/wetty"]);
        command.args(["--ssh-host", "127.0.0.1", "--ssh-port", &self.sshd().address.port().to_string()]);
        command.args(["--ssh-user", &self.login, "--ssh-auth", "publickey", "--force-ssh"]);
        command.arg("--ssh-key").arg(self.stage.path("key"));
        command.arg("--known-hosts").arg(self.stage.path("known_hosts"));
        command.arg("--ssh-config").arg(self.stage.path("ssh_config"));
        command.args(["--log-level", "error"]).env("NODE_ENV", "production");
        command
    }

    fn webssh(&self, program: &Path, port: u16) -> Command {
        let mut command = Command::new(program);
        command.args(["--address=127.0.0.1", &format!("--port={port}"), "--policy=reject", "--xsrf=false"]);
        command.args(["--maxconn=200", "--encoding=utf-8", "--logging=error"]);
        command.arg(format!("--hostfile={}", self.stage.path("known_hosts").display()));
        command
    }
}

impl Server {
    fn listens(&mut self) -> Result<()> {
        let give_up = Instant::now() + STARTING;
        while let Err(error) = TcpStream::connect(self.address) {
            self.process.check_alive()?;
            ensure!(Instant::now() < give_up, "{} does not listen: {error}", self.process.name());
            pause(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// This program again.
fn echo(port: u16) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["echo", &port.to_string()]);
    Ok(command)
}

/// Lines of random letters, as long as those of a log: the same in every run.
fn write_data(path: &Path, bytes: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(1);
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        let length = random.random_range(20..120);
        block.extend((0..length).map(|_| random.random_range(b'a'..=b'z')));
        block.extend_from_slice(b"\r\n");
    }
    let mut file = fs::File::create(path)?;
    let mut rest = bytes;
    while rest > 0 {
        let piece = block.len().min(usize::try_from(rest)?);
        file.write_all(&block[..piece])?;
        rest -= piece as u64;
    }
    Ok(())
}
