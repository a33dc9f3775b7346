//! How the SSH client is set, and what it answers when it is asked.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::{self, Algorithm, EcdsaCurve, HashAlg};

use super::PACKET;

/// Below the stream's window of 256 KiB: russh stalls when its own is larger than what the stream
/// under it can buffer.
const WINDOW: u32 = 128 * 1024;

pub(super) fn config(pinned: &[ssh_key::PublicKey]) -> client::Config {
    client::Config {
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        nodelay: true,
        // Liveness is the link's: a quiet shell may stay quiet, and a closed gate is no silence.
        inactivity_timeout: None,
        keepalive_interval: None,
        preferred: russh::Preferred {
            key: Cow::Owned(algorithms(pinned)),
            cipher: Cow::Borrowed(ciphers()),
            compression: Cow::Borrowed(&[russh::compression::NONE]),
            ..russh::Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// Only the kinds of keys that are pinned: an sshd with several then shows one that we know.
fn algorithms(pinned: &[ssh_key::PublicKey]) -> Vec<Algorithm> {
    let of = |key: &ssh_key::PublicKey| match key.algorithm() {
        Algorithm::Rsa { .. } => vec![
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ],
        other => vec![other],
    };
    let pinned: Vec<Algorithm> = pinned.iter().flat_map(of).collect();
    let best_first = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    best_first.into_iter().filter(|algorithm| pinned.contains(algorithm)).collect()
}

/// With AES in hardware AES-GCM takes half the CPU of ChaCha20; without, it is the other way round.
fn ciphers() -> &'static [russh::cipher::Name] {
    use russh::cipher::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};
    #[cfg(target_arch = "x86_64")]
    let aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let aes = false;
    if aes {
        &[AES_256_GCM, AES_128_GCM, CHACHA20_POLY1305]
    } else {
        &[CHACHA20_POLY1305, AES_256_GCM, AES_128_GCM]
    }
}

/// What russh asks us. A device only answers: whatever it wants to open towards us is refused.
pub(super) struct Client {
    pub(super) pinned: Vec<ssh_key::PublicKey>,
    /// The key that was refused.
    pub(super) shown: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            // Never offered by us: host certificates would need a CA that we trust.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        let trusted = self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data());
        if !trusted {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = key.to_openssh().ok();
        }
        Ok(trusted)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        drop(reply);
        Ok(())
    }

    fn should_accept_unknown_server_channel(
        &mut self,
        _: russh::ChannelId,
        _: &str,
    ) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
}
