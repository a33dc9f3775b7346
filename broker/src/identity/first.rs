//! `moorline-broker init`: a folder with settings, an install key, and the first invitation.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moorline_wire::Code;

use super::Identity;
use crate::config::{self, Config, Layers};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::secret;
use crate::store::{self, Store};

/// What `init` was told.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The folder for broker.toml, the install key and the data; made when it is missing.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The address and port that browsers and agents connect to.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The address that people type, if a proxy with a certificate stands in front: https://moorline.example.org
    #[arg(long, value_name = "URL")]
    pub origin: Option<String>,
    /// A file with a certificate (PEM): the broker itself speaks https, and no proxy is needed.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The file with its private key (PEM, mode 600).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Invites one more administrator where there is one already, e.g. when a password was lost.
    #[arg(long)]
    pub recover: bool,
}

/// Makes what is missing and gives what to tell. What is there is left as it is.
pub async fn init(init: &Init) -> Result<String, Problem> {
    let dir = std::path::absolute(&init.dir).map_err(|e| unusable(&init.dir, &e))?;
    std::fs::create_dir_all(&dir).map_err(|e| unusable(&dir, &e))?;
    let (file, key) = (dir.join("broker.toml"), dir.join("install.key"));
    let mut told = String::new();
    if write_new(&key, 0o600, &install_key()?)? {
        told += &format!("Wrote {}: devices are enrolled with it.\n", key.display());
    }
    if write_new(&file, 0o644, &settings(init, &dir)?)? {
        told += &format!("Wrote {}: the settings, each explained.\n", file.display());
    }
    let loaded = config::load(&Layers { file: Some(file.clone()), ..Layers::default() })?;
    let config = Arc::new(loaded.config);
    let link = invitation(&config, init.recover).await?;
    told += &format!(
        "Start the broker, if it does not run:\n\n    moorline-broker --config {}\n\nThen open this link and choose \
         name and password of an administrator. It works once, within {}:\n\n    {link}\n",
        file.display(),
        humantime::format_duration(config.login.invitation),
    );
    Ok(told)
}

/// Another first administrator than the one there is would be a way in for whoever finds this command in a script.
async fn invitation(config: &Arc<Config>, recover: bool) -> Result<String, Problem> {
    let path = config.data_dir.join(store::FILE);
    let metrics = Metrics::new();
    let store = Store::open(&path, &config.timing, metrics.clone()).await?;
    if store.has_administrator().await? && !recover {
        return Err(Problem::new(Code::BAD_CONFIG).saying(
            "This broker has an administrator already. Add --recover to invite one more, e.g. when a password was lost.",
        ));
    }
    let secret = Identity::new(config.clone(), store.clone(), metrics).invite(None).await?;
    store.close().await;
    Ok(link(&base(config), secret.reveal()))
}

/// The secret is in the fragment, which no browser sends and no server logs.
pub fn link(base: &str, secret: &str) -> String {
    format!("{}/welcome#{secret}", base.trim_end_matches('/'))
}

/// The address of the broker as a person on it would type it.
fn base(config: &Config) -> String {
    match config.http.origins.first() {
        Some(origin) => origin.clone(),
        None => {
            let scheme = if config.tls.certificate_file.is_some() { "https" } else { "http" };
            let here = config.listen.ip().is_unspecified();
            let host =
                if here { format!("127.0.0.1:{}", config.listen.port()) } else { config.listen.to_string() };
            format!("{scheme}://{host}")
        }
    }
}

fn install_key() -> Result<String, Problem> {
    let key = secret::random::<32>().map_err(|err| Problem::new(Code::INTERNAL).because(err))?;
    Ok(format!("{}\n", STANDARD.encode(*key)))
}

/// All settings with their explanations; those that are not set here stand there as comments, so that a
/// newer broker's defaults are taken.
fn settings(init: &Init, dir: &Path) -> Result<String, Problem> {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let file = |given: &Option<PathBuf>| -> Result<String, Problem> {
        let Some(given) = given else { return Ok(quoted(String::new())) };
        // The broker may be started in another folder.
        let absolute = std::path::absolute(given).map_err(|e| unusable(given, &e))?;
        Ok(quoted(absolute.display().to_string()))
    };
    let origins: Vec<String> = init.origin.iter().cloned().collect();
    let ours = [
        ("listen", quoted(init.listen.to_string())),
        ("data_dir", quoted(dir.join("data").display().to_string())),
        ("http.origins", toml::Value::from(origins).to_string()),
        ("tls.certificate_file", file(&init.certificate)?),
        ("tls.key_file", file(&init.key)?),
        ("enroll.install_key_file", quoted(dir.join("install.key").display().to_string())),
    ];
    let mut section = String::new();
    let lines = include_str!("../../../config/broker.toml").lines().skip(3).map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            return format!("{line}\n");
        };
        let key = format!("{section}{name}");
        match ours.iter().find(|(own, _)| *own == key) {
            Some((_, value)) => format!("{name} = {value}\n"),
            None => format!("#{line}\n"),
        }
    });
    Ok(format!(
        "# Settings of moorline-broker. What is commented out is at its default.\n{}",
        lines.collect::<String>()
    ))
}

/// `false`: there is such a file, and it was left as it is.
fn write_new(path: &Path, mode: u32, text: &str) -> Result<bool, Problem> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    match open.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(unusable(path, &e)),
    }
}

fn unusable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new(Code::BAD_CONFIG)
        .saying(format!("{} cannot be written: {e}. Choose another folder with --dir.", path.display()))
}
