//! A real OpenSSH sshd on a port of its own, with a host key and a configuration of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;
use crate::broker::free_port;
use crate::process::Process;
use crate::stage::Stage;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens.
    pub address: SocketAddr,
    /// The program.
    pub process: Process,
    folder: PathBuf,
}

impl Sshd {
    /// Starts the sshd of the device of that name; it trusts the CA that the device's agent pinned.
    pub async fn start(stage: &Stage, device: &str) -> Result<Self> {
        let ca = Agent::state_of(stage, device).join("user_ca.pub");
        Self::start_as(stage, device, &format!("PidFile none\nTrustedUserCAKeys {}", ca.display())).await
    }

    /// Starts one that trusts no CA, and reads its drop-ins.
    pub async fn untrusting(stage: &Stage, device: &str) -> Result<Self> {
        let folder = stage.folder(&format!("{device}-sshd"));
        let (drop_ins, pid) = (folder.join("sshd_config.d/*.conf"), folder.join("pid"));
        let own = format!("PidFile {}\nInclude {}", pid.display(), drop_ins.display());
        Self::start_as(stage, device, &own).await
    }

    async fn start_as(stage: &Stage, device: &str, own: &str) -> Result<Self> {
        let folder = stage.folder(&format!("{device}-sshd"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        make_host_key(&folder.join("host_key"))?;
        let config = format!(
            "{own}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nLogLevel VERBOSE\nUseDNS no\n\
             AcceptEnv TERM COLORTERM LANG LC_*\nSetEnv MOORLINE_KEEP_DIR={keepers}\nPrintMotd no\nPrintLastLog no\nMaxStartups 200\nMaxSessions 200\n",
            port = address.port(),
            folder = folder.display(),
            keepers = Agent::keepers_of(stage, device).display(),
        );
        std::fs::write(folder.join("sshd_config"), config)?;
        if nix::unistd::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").context("make sshd's privilege separation folder")?;
        }
        let process = Self::run(stage, &folder)?;
        let sshd = Self { address, process, folder };
        sshd.listening().await?;
        Ok(sshd)
    }

    fn run(stage: &Stage, folder: &Path) -> Result<Process> {
        let mut command = Command::new("/usr/sbin/sshd");
        command.arg("-D").arg("-e").arg("-f").arg(folder.join("sshd_config"));
        let name = folder.file_name().context("the folder has a name")?.to_string_lossy().into_owned();
        Process::start(stage, &name, command, false)
    }

    /// Waits until it listens.
    pub async fn listening(&self) -> Result<()> {
        wait::eventually(wait::SOON, "sshd to listen", async || {
            Ok(tokio::net::TcpStream::connect(self.address).await?)
        })
        .await?;
        Ok(())
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("sshd_config")
    }

    /// The public half of its host key.
    pub fn public_host_key(&self) -> PathBuf {
        self.folder.join("host_key.pub")
    }

    /// Lets whoever has the other half of this key in, besides those with a certificate.
    pub fn authorizes(&self, public_key: &Path) -> Result<()> {
        std::fs::copy(public_key, self.folder.join("authorized_keys"))?;
        Ok(())
    }

    /// From now on it knows keys alone, and no CA.
    pub async fn trusts_no_ca(&mut self, stage: &Stage) -> Result<()> {
        let path = self.folder.join("sshd_config");
        let config = std::fs::read_to_string(&path)?;
        let lines = config.lines().filter(|line| !line.starts_with("TrustedUserCAKeys"));
        std::fs::write(&path, lines.map(|line| format!("{line}\n")).collect::<String>())?;
        self.process.kill()?;
        self.process = Self::run(stage, &self.folder)?;
        self.listening().await
    }

    /// Gives it another host key, as if somebody else answered on its port.
    pub async fn change_host_key(&mut self, stage: &Stage) -> Result<()> {
        self.process.kill()?;
        make_host_key(&self.folder.join("host_key"))?;
        self.process = Self::run(stage, &self.folder)?;
        self.listening().await
    }
}

fn make_host_key(path: &Path) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()?;
    ensure!(status.success(), "ssh-keygen: {status}");
    Ok(())
}
