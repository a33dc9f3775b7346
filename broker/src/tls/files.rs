//! The files of a certificate: read, checked to belong together, and what they say.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

use super::renewal::Digest;
use crate::config;

/// A chain of certificates is some KiB; what is larger is another file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a certificate cannot be shown: which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {}: {why}", file.display())]
pub(super) struct Unusable {
    /// The setting.
    key: &'static str,
    /// The file.
    file: PathBuf,
    /// What is wrong.
    why: String,
}

impl Unusable {
    /// The same trouble has the same digest.
    pub(super) fn digest(&self) -> Digest {
        sha256(&[self.to_string().as_bytes()])
    }
}

/// What stands in both files.
pub(super) struct Files {
    certificate: (PathBuf, Vec<u8>),
    key: (PathBuf, Zeroizing<Vec<u8>>),
    key_mode: u32,
}

/// What is shown to whoever connects.
pub(super) struct Shown {
    /// The chain and the key to its first certificate.
    pub(super) key: Arc<CertifiedKey>,
    /// The host names that the first certificate is for; those with a star are left out.
    pub(super) names: Vec<String>,
    /// When it begins to be valid.
    pub(super) from: Timestamp,
    /// When it ends.
    pub(super) until: Timestamp,
}

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";

impl Files {
    /// Reads both.
    pub(super) fn read(settings: &config::Tls) -> Result<Self, Unusable> {
        let (certificate, _) = read(CERTIFICATE, settings.certificate_file.as_deref())?;
        let (key, key_mode) = read(KEY, settings.key_file.as_deref())?;
        let named = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
        Ok(Self {
            certificate: (named(&settings.certificate_file), certificate.to_vec()),
            key: (named(&settings.key_file), key),
            key_mode,
        })
    }

    /// Other files have another digest.
    pub(super) fn digest(&self) -> Digest {
        sha256(&[&self.certificate.1, &self.key.1])
    }

    /// The mode of the key's file, if others can read it.
    pub(super) fn open_to_others(&self) -> Option<u32> {
        (self.key_mode & 0o077 != 0).then_some(self.key_mode)
    }

    /// Checks that they are what they should be, and belong together.
    pub(super) fn parse(&self) -> Result<Shown, Unusable> {
        let of_certificate =
            |why: String| Unusable { key: CERTIFICATE, file: self.certificate.0.clone(), why };
        let of_key = |why: String| Unusable { key: KEY, file: self.key.0.clone(), why };
        let chain = CertificateDer::pem_slice_iter(&self.certificate.1).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| of_certificate(format!("it is not PEM: {e}")))?;
        let Some(first) = chain.first() else {
            return Err(of_certificate("there is no certificate (PEM) in it".to_owned()));
        };
        let (_, leaf) = X509Certificate::from_der(first)
            .map_err(|e| of_certificate(format!("its first certificate cannot be read: {e}")))?;
        let (from, until) = (at(&leaf.validity().not_before), at(&leaf.validity().not_after));
        let names = names(&leaf);

        let key = PrivateKeyDer::from_pem_slice(&self.key.1).map_err(|_| of_key(self.why_no_key()))?;
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                of_key(format!("it is not the key of the certificate in {}", self.certificate.0.display()))
            }
            rustls::Error::InvalidCertificate(e) => of_certificate(format!("it is not usable: {e}")),
            e => of_key(format!("it is not usable: {e}")),
        })?;
        Ok(Shown { key: Arc::new(key), names, from, until })
    }

    fn why_no_key(&self) -> String {
        let text = String::from_utf8_lossy(&self.key.1);
        if text.contains("ENCRYPTED") {
            "the key is encrypted; a broker that starts by itself has nobody to ask: write it without a passphrase, mode \
             600"
            .to_owned()
        } else {
            "there is no private key (PEM) in it".to_owned()
        }
    }
}

fn read(key: &'static str, file: Option<&Path>) -> Result<(Zeroizing<Vec<u8>>, u32), Unusable> {
    let file = file.unwrap_or(Path::new(""));
    let unusable = |why: String| Unusable { key, file: file.to_owned(), why };
    let unreadable = |e: std::io::Error| unusable(format!("it cannot be read: {e}"));
    let opened = File::open(file).map_err(unreadable)?;
    let meta = opened.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(unusable("it is not a file".to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unusable("it is larger than 1 MiB".to_owned()));
    }
    Ok((bytes, meta.permissions().mode() & 0o777))
}

fn sha256(parts: &[&[u8]]) -> Digest {
    // Each part by its own digest, so that no byte can move from one to the other unseen.
    let each: Vec<u8> = parts.iter().flat_map(|part| digest(&SHA256, part).as_ref().to_vec()).collect();
    digest(&SHA256, &each).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn at(time: &ASN1Time) -> Timestamp {
    // A certificate without an end says the year 9999, which is a little more than a timestamp holds.
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) if !name.contains('*') => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}
