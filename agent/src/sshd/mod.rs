//! The SSH server inside the agent, for a device that has none. It listens on no port: it serves the
//! streams of the link, one SSH connection each.
//!
//! In reading order: `handler` (one connection), `certificate` and `authorized_keys` (who may come
//! in), `login` (as whom), `program` and `session` (what runs), `undertaker` (what is left), `pty`,
//! `modes`, `signals`, `end`, `unchecked` (how), and `transport`, which stands between the link and russh.
//!
//! It forwards nothing, knows no subsystem and takes no password.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Config as RusshConfig, run_stream};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Embedded, Keeper, Limits, Timing};
use crate::keeper::{DIR_VARIABLE, SHELL_VARIABLE};
use crate::metrics::Metrics;

mod authorized_keys;
mod certificate;
pub(crate) mod end;
mod handler;
pub(crate) mod login;
mod modes;
mod program;
pub(crate) mod pty;
mod session;
mod signals;
mod transport;
pub(crate) mod unchecked;
pub(crate) mod undertaker;

#[cfg(test)]
mod tests;

use handler::Connection;
use login::Login;
use transport::{Held, Transport};
use undertaker::Undertaker;

/// The SSH window of a channel. It must stay below what a stream of the link buffers (256 KiB), or two
/// russh that both send much wait for each other.
const WINDOW: u32 = 128 * 1024;
/// The SSH packet size.
const PACKET: u32 = 32 * 1024;
/// What a peer may send beside the data of its channels while we wait to write.
const MESSAGES: usize = 256 * 1024;
/// Every refused login takes this long, whatever the reason, so that the time tells nothing.
const REJECTION: Duration = Duration::from_millis(300);

/// What lets somebody in, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// For the log: whose certificate, or that it was an authorized key.
    by: String,
    /// Whether a terminal may be had.
    pty: bool,
    /// What runs instead of anything that is asked for.
    command: Option<String>,
}

/// How far an SSH connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Exchanging keys.
    Handshake,
    /// Proving who it is.
    Login,
    /// Let in.
    In,
}

/// The broker's CA, which may be pinned while we run; two of them while it is being replaced.
#[derive(Debug, Clone, Default)]
pub struct UserCa(Arc<Mutex<Vec<KeyData>>>);

impl UserCa {
    /// The pinned ones, if any.
    pub fn get(&self) -> Vec<KeyData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these and no others.
    pub fn set(&self, cas: &[PublicKey]) {
        let cas = cas.iter().map(|ca| ca.key_data().clone()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cas;
    }
}

/// What all connections share.
struct Shared {
    russh: Arc<RusshConfig>,
    ca: UserCa,
    embedded: Embedded,
    keeper: Keeper,
    channels_max: usize,
    /// Keys that may be shown in a row without a proof that they are the client's.
    offers_max: usize,
    input_max: usize,
    handshake: Duration,
    auth: Duration,
    undertaker: Undertaker,
    cut: CancellationToken,
    metrics: Metrics,
}

impl Shared {
    /// What a keeper that this login starts is to know of our settings.
    fn for_keepers(&self, login: &Login) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        if !self.keeper.dir.is_empty() {
            let dir = authorized_keys::path(&self.keeper.dir, login);
            variables.push((DIR_VARIABLE.to_owned(), dir.to_string_lossy().into_owned()));
        }
        if !self.embedded.shell.is_empty() {
            variables.push((SHELL_VARIABLE.to_owned(), self.embedded.shell.clone()));
        }
        variables
    }
}

/// The SSH server.
#[derive(Clone)]
pub struct EmbeddedSshd {
    shared: Arc<Shared>,
}

impl EmbeddedSshd {
    /// The server, and the work that ends what sessions leave behind: it is done when the server and
    /// all its connections are gone and nothing is left of them.
    pub fn new(
        host_key: PrivateKey,
        ca: UserCa,
        embedded: &Embedded,
        keeper: &Keeper,
        limits: &Limits,
        timing: &Timing,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let cut = CancellationToken::new();
        let (undertaker, burials) = Undertaker::new(timing.kill_grace, cut.clone());
        let shared = Shared {
            russh: Arc::new(russh_config(host_key, limits.auth_tries)),
            ca,
            embedded: embedded.clone(),
            keeper: keeper.clone(),
            channels_max: limits.channels,
            offers_max: limits.auth_tries,
            input_max: usize::try_from(limits.input.0).unwrap_or(usize::MAX),
            handshake: timing.ssh_handshake,
            auth: timing.ssh_auth,
            undertaker,
            cut,
            metrics,
        };
        (Self { shared: Arc::new(shared) }, burials)
    }

    /// Serves one SSH connection until its end. When this future is dropped, the connection is cut and
    /// its sessions are ended.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cut = self.shared.cut.child_token();
        let _cut_when_dropped = cut.clone().drop_guard();
        let held = Arc::new(Held::new(self.shared.input_max));
        let ahead = self.shared.channels_max.saturating_mul(WINDOW as usize).saturating_add(MESSAGES);
        let stream = Transport::new(stream, ahead, held.clone(), cut);
        let (stage, reached) = watch::channel(Stage::Handshake);
        let connection = Connection::new(self.shared.clone(), held, stage);
        let served = async {
            match run_stream(self.shared.russh.clone(), stream, connection).await {
                Ok(running) => running.await,
                Err(err) => Err(err),
            }
        };
        tokio::select! {
            ended = served => match ended {
                Ok(()) => tracing::debug!("an SSH connection has ended"),
                Err(err) => tracing::debug!(%err, "an SSH connection broke off"),
            },
            late = self.too_late(reached) => tracing::warn!(%late, "cut an SSH connection"),
        }
    }

    /// Cuts all connections; what their sessions leave behind is ended without much ado.
    pub fn close(&self) {
        self.shared.cut.cancel();
    }

    async fn too_late(&self, mut reached: watch::Receiver<Stage>) -> clock::TooLate {
        let handshake = clock::within(
            self.shared.handshake,
            "the SSH key exchange",
            reached.wait_for(|stage| *stage != Stage::Handshake),
        );
        if let Err(late) = handshake.await.map(drop) {
            return late;
        }
        let login =
            clock::within(self.shared.auth, "the SSH login", reached.wait_for(|stage| *stage == Stage::In));
        match login.await.map(drop) {
            Err(late) => late,
            Ok(()) => std::future::pending().await,
        }
    }
}

fn russh_config(host_key: PrivateKey, auth_tries: usize) -> RusshConfig {
    RusshConfig {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Moorline_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REJECTION,
        // The probe that every client begins with tells nothing.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        max_auth_attempts: auth_tries,
        // Whether the other side lives is the link's business.
        inactivity_timeout: None,
        nodelay: true,
        preferred: preferred(),
        ..RusshConfig::default()
    }
}

/// AES first where the processor has it: it costs half of what ChaCha20 does.
fn preferred() -> Preferred {
    const AES: &[cipher::Name] = &[
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_CTR,
        cipher::AES_128_CTR,
    ];
    const CHACHA: &[cipher::Name] = &[
        cipher::CHACHA20_POLY1305,
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::AES_256_CTR,
        cipher::AES_128_CTR,
    ];
    // Those that authenticate what was encrypted; the ciphers in front need none.
    const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
    // What is recorded today is to stay closed when there are quantum computers; clients before OpenSSH 9.9 know
    // only the second. The last one has every packet of the exchange counted (CVE-2023-48795).
    const KEX: &[kex::Name] = &[
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::EXTENSION_SUPPORT_AS_SERVER,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
    ];
    Preferred {
        kex: Cow::Borrowed(KEX),
        cipher: Cow::Borrowed(if has_aes() { AES } else { CHACHA }),
        mac: Cow::Borrowed(MACS),
        // Never anything else: a peer could answer with a bomb (CVE-2026-46702).
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::default()
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// Whether a text matches a pattern in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
}
