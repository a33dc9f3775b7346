//! Through real sshds: OpenSSH's own, and the one inside the agent. Each is killed, and the keeper is not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use moorline_agent::clock;
use moorline_agent::config::Settings;
use moorline_agent::identity::StateDir;
use moorline_agent::sshd::{EmbeddedSshd, UserCa};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use nix::sys::signal::Signal;

use crate::device::{Attached, Device, PATIENCE, create, has, signal, until};

async fn keygen(path: &Path) {
    let keygen = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(keygen.await.unwrap().success());
}

fn login() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
}

/// OpenSSH's client, which runs the attach as a broker would.
fn ssh(device: &Device, port: u16) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-p", &port.to_string(), "-l", &login(), "-o", "BatchMode=yes", "-o"]);
    ssh.args(["IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o"]);
    ssh.args(["UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none", "-i"]);
    ssh.arg(device.path("id")).arg("127.0.0.1");
    let line =
        device.keep().as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    ssh.arg(format!("'{}' {}", crate::device::AGENT, line.join(" ")));
    ssh.env_remove("SSH_AUTH_SOCK");
    ssh
}

/// A session is begun through the first sshd, which is then killed, and goes on through the second.
async fn goes_on_elsewhere(
    device: &Device,
    first: u16,
    kill_it: impl AsyncFnOnce(),
    second: impl AsyncFnOnce() -> u16,
) {
    let mut broker = Attached::by(ssh(device, first));
    let command = "stty raw -echo; echo $TERM $MOORLINE_SESSION; exec cat";
    let taken = broker.takes(device.take(1, Some(create(command)))).await;
    assert!(taken.created);
    broker.say(&device.join(1, "tab", Some(0), 0)).await;
    let greeting = format!("xterm-256color {}\n", device.session);
    let output = broker.read_output(1, 0, |output| has(output, "\n")).await;
    assert_eq!(String::from_utf8_lossy(&output), greeting);
    // The keeper speaks with sshd itself: the attach need not even run.
    let attaches = || {
        let of_ours = |line: &str| line.contains(device.session.as_str());
        let not_held = |line: &str| !line.contains("\0--hold\0") && !line.starts_with("ssh\0");
        crate::device::processes(|line| of_ours(line) && not_held(line))
    };
    let stopped = attaches();
    assert!(!stopped.is_empty());
    stopped.iter().for_each(|attach| signal(*attach, Signal::SIGSTOP));
    broker.types(1, 0, "x").await;
    broker.read_output(1, taken.head + greeting.len() as u64, |output| output == b"x").await;
    stopped.iter().for_each(|attach| signal(*attach, Signal::SIGCONT));
    kill_it().await;
    while broker.hear().await.is_some() {}
    until("the attach is gone", || attaches().is_empty()).await;
    assert_eq!(device.keepers().len(), 1);
    let mut broker = Attached::by(ssh(device, second().await));
    let taken = broker.takes(device.take(2, None)).await;
    assert_eq!(taken.head, greeting.len() as u64 + 1);
    broker.say(&device.join(1, "tab", Some(taken.head), 1)).await;
    broker.types(1, 1, "still here").await;
    broker.read_output(1, taken.head, |output| output == b"still here").await;
}

/// An sshd of OpenSSH, in a process group of its own.
async fn openssh(device: &Device) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {id}.pub\nPermitRootLogin prohibit-password\nUseDNS no\n",
        host = device.path("host").display(),
        id = device.path("id").display(),
    );
    let file: PathBuf = device.path(&format!("sshd-{port}"));
    std::fs::write(&file, config).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"]).arg(file).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let sshd = sshd.spawn().unwrap();
    let listens = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            clock::pass(Duration::from_millis(20)).await;
        }
    };
    clock::within(PATIENCE, "sshd", listens).await.unwrap();
    (sshd, port)
}

#[tokio::test]
async fn a_keeper_survives_the_death_of_an_openssh_sshd_and_all_its_processes() {
    let device = Device::new();
    keygen(&device.path("host")).await;
    keygen(&device.path("id")).await;
    let (sshd, port) = openssh(&device).await;
    let second = std::cell::OnceCell::new();
    let kill_it = async || {
        // The listener, and those that serve the connection.
        let own = i32::try_from(sshd.id().unwrap()).unwrap();
        for pid in descendants(own) {
            crate::device::kill(pid);
        }
    };
    let again = async || {
        let (sshd, port) = openssh(&device).await;
        let _ = second.set(sshd);
        port
    };
    goes_on_elsewhere(&device, port, kill_it, again).await;
}

/// A process and all that it has started, as far as they still belong to it.
fn descendants(of: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(of).chain(children.flat_map(descendants)).collect()
}

/// The agent's own, with a CA that has certified the login's key.
async fn embedded(device: &Device) -> (JoinSet<()>, u16) {
    let mut settings = Settings::default();
    settings.timing.kill_grace = Duration::from_millis(200);
    let host_key = StateDir::open(&device.path("state")).unwrap().host_key().unwrap();
    let ca = UserCa::default();
    ca.set(&[russh::keys::PublicKey::read_openssh_file(device.path("ca.pub")).unwrap()]);
    let (sshd, burials) = EmbeddedSshd::new(
        host_key,
        ca,
        &settings.embedded,
        &settings.keeper,
        &settings.limits,
        &settings.timing,
        moorline_agent::metrics::Metrics::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    // Drops every connection when it is aborted; what they leave is still buried.
    tokio::spawn(burials);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let sshd = sshd.clone();
            connections.spawn(async move { sshd.serve(stream).await });
        }
    });
    (serving, port)
}

#[tokio::test]
async fn a_keeper_survives_the_end_of_the_embedded_sshd_which_buries_what_it_started() {
    let device = Device::new();
    keygen(&device.path("id")).await;
    keygen(&device.path("ca")).await;
    let mut certify = Command::new("ssh-keygen");
    certify.args(["-q", "-I", "s-test someone", "-V", "-5m:+5m", "-n", &login(), "-s"]);
    certify.arg(device.path("ca")).arg(device.path("id.pub"));
    assert!(certify.status().await.unwrap().success());
    let (serving, port) = embedded(&device).await;
    let second = std::cell::OnceCell::new();
    let kill_it = async || drop(serving);
    let again = async || {
        let (serving, port) = embedded(&device).await;
        let _ = second.set(serving);
        port
    };
    goes_on_elsewhere(&device, port, kill_it, again).await;
}
