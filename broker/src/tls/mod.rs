//! TLS in the broker itself: what is shown to whoever connects, and how it is renewed while connections stand.
//!
//! - `files`: certificate and key, read and checked
//! - `renewal`: what is done about files that have changed
//! - [`Tls`]: what new connections get
//!
//! There is no TLS 1.1, no renegotiation, no compression and no key exchange without forward secrecy: rustls has none of
//! them. A connection keeps the certificate that it began with; the next one gets the newest.

use std::sync::{Arc, PoisonError, RwLock};

use moorline_wire::Code;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::audit::Auditor;
use crate::clock;
use crate::config::{self, TlsVersion};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::store::AuditRow;
use crate::warden;

mod files;
mod renewal;
#[cfg(test)]
mod tests;

use files::{Files, Shown, Unusable};
use renewal::{Renewal, Verdict};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    settings: config::Tls,
    newest: Arc<Newest>,
    metrics: Metrics,
}

impl Tls {
    /// Reads the files; `None` where there are to be none.
    pub fn load(settings: &config::Tls, metrics: &Metrics) -> Result<Option<Self>, Problem> {
        if settings.certificate_file.is_none() {
            return Ok(None);
        }
        let refused = |e: Unusable| {
            Problem::new(Code::BAD_CONFIG).saying(format!("TLS cannot be used: {e}.")).because(e)
        };
        let files = Files::read(settings).map_err(refused)?;
        let shown = files.parse().map_err(refused)?;
        let tls = Self {
            settings: settings.clone(),
            newest: Arc::new(Newest {
                key: RwLock::new(shown.key.clone()),
                names: Names::of(&shown),
                renewal: Renewal::of(files.digest()).into(),
            }),
            metrics: metrics.clone(),
        };
        tls.tell(&files, &shown);
        Ok(Some(tls))
    }

    /// The host names that the newest certificate is for: what is given here knows them after a renewal, too.
    pub fn names(&self) -> Names {
        self.newest.names.clone()
    }

    /// What the server is to speak.
    pub fn server_config(&self) -> Result<ServerConfig, Problem> {
        let versions: &[_] = match self.settings.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(versions)
                .map_err(|e| Problem::new(Code::INTERNAL).because(e))?
                .with_no_client_auth()
                .with_cert_resolver(self.newest.clone());
        // Ours has AES-256 first; an old client would put first what it is used to.
        config.ignore_client_order = true;
        Ok(config)
    }

    /// Looks after the files for as long as it is polled.
    pub async fn keep_fresh(self, audit: Auditor) {
        loop {
            clock::pause_for(self.settings.check).await;
            let looking = self.clone();
            // Two small files, but their disk may be a slow one.
            let looked = actix_rt::task::spawn_blocking(move || looking.look()).await;
            if let Ok(Verdict::Take) = looked {
                audit.record(renewed(&self.settings));
            }
        }
    }

    /// Looks once whether the files have changed, and takes what is good.
    fn look(&self) -> Verdict {
        let read = Files::read(&self.settings);
        let found = read.as_ref().map_or_else(Unusable::digest, Files::digest);
        let mut renewal = self.newest.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if renewal.is_shown(found) {
            return renewal.looked(found, true);
        }
        let parsed = read.and_then(|files| files.parse().map(|shown| (files, shown)));
        let verdict = renewal.looked(found, parsed.is_ok());
        match (verdict, parsed) {
            (Verdict::Take, Ok((files, shown))) => {
                // First: whoever is shown the certificate may name what it is for.
                self.newest.names.become_those_of(&shown);
                *self.newest.key.write().unwrap_or_else(PoisonError::into_inner) = shown.key.clone();
                self.tell(&files, &shown);
                tracing::info!(expires = %shown.until, "new connections get the new certificate");
            }
            (Verdict::Complain, Err(error)) => {
                self.metrics.tls_reload_failed();
                tracing::warn!(%error, "the new certificate cannot be used: the one before is kept");
            }
            _ => {}
        }
        verdict
    }

    /// Counts and warns of what somebody should know of files that can be used.
    fn tell(&self, files: &Files, shown: &Shown) {
        let (from, until, now) = (shown.from, shown.until, clock::wall());
        self.metrics.tls_certificate_expires(until);
        if until <= now {
            tracing::warn!(expired = %until, "the certificate of tls.certificate_file has expired: browsers and agents will refuse it");
        } else if from > now {
            tracing::warn!(begins = %from, "the certificate of tls.certificate_file is not valid yet: browsers and agents will refuse it");
        }
        if let Some(mode) = files.open_to_others() {
            tracing::warn!(mode = format!("{mode:o}"), "others can read tls.key_file: make its mode 600");
        }
    }
}

fn renewed(settings: &config::Tls) -> AuditRow {
    let file = settings.certificate_file.as_ref().map(|file| file.display().to_string());
    AuditRow {
        seq: 0,
        at: clock::wall(),
        who: warden::SELF.to_owned(),
        what: "certificate_renew".to_owned(),
        target: file.unwrap_or_default(),
        address: String::new(),
        outcome: "done".to_owned(),
        request_id: String::new(),
    }
}

/// What new connections get, and what is known of the files.
struct Newest {
    key: RwLock<Arc<CertifiedKey>>,
    names: Names,
    renewal: std::sync::Mutex<Renewal>,
}

impl ResolvesServerCert for Newest {
    /// The same for every name: whoever names another host than ours is refused by its request.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl std::fmt::Debug for Newest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Newest").finish_non_exhaustive()
    }
}

/// The host names that the certificate is for that new connections get. Clones know of a renewal as well.
#[derive(Debug, Clone)]
pub struct Names(Arc<RwLock<Vec<String>>>);

impl Names {
    fn of(shown: &Shown) -> Self {
        Self(Arc::new(RwLock::new(shown.names.clone())))
    }

    fn become_those_of(&self, shown: &Shown) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(&shown.names);
    }

    /// Whether it is for this one, which is written in small letters.
    pub fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == name)
    }
}
