//! Whether a user certificate lets its holder in.
//!
//! russh has checked, before we are asked, that the client holds the certificate's key and that the
//! certificate's signature is that of the key named in it. Whether that key is the broker's, and
//! everything else, is decided here.

use russh::keys::Certificate;
use russh::keys::ssh_key::public::KeyData;

use super::Grant;

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no pinned CA.
    #[error("this device is not enrolled, so it trusts no certificate")]
    NoCa,
    /// Another signer.
    #[error("the certificate is signed by another CA than the pinned one")]
    OtherCa,
    /// The signature is not that of the CA.
    #[error("the certificate's signature is wrong")]
    Signature,
    /// A host's.
    #[error("the certificate is for a host, not for a user")]
    HostCertificate,
    /// Too early.
    #[error("the certificate is not valid yet by this device's clock")]
    TooEarly,
    /// Too late.
    #[error("the certificate has expired by this device's clock")]
    Expired,
    /// For anyone.
    #[error("the certificate names no login")]
    NoPrincipal,
    /// For others.
    #[error("the certificate is for another login")]
    OtherPrincipal,
    /// `source-address`: a stream of the link has none.
    #[error("the certificate is bound to a source address, which a link cannot prove")]
    SourceAddress,
    /// Something that must be obeyed and that we do not know.
    #[error("the certificate has a critical option that is not understood")]
    CriticalOption,
}

/// What the certificate allows for this login, at this time (seconds since 1970).
pub fn check(cert: &Certificate, login: &str, ca: Option<&KeyData>, now: u64) -> Result<Grant, Refusal> {
    // The pinned key is a plain key, never a certificate: so equality also refuses a certificate that
    // is signed by a certificate (CVE-2025-49825).
    let ca = ca.ok_or(Refusal::NoCa)?;
    if cert.signature_key() != ca {
        return Err(Refusal::OtherCa);
    }
    cert.verify_signature().map_err(|_| Refusal::Signature)?;
    if !cert.cert_type().is_user() {
        return Err(Refusal::HostCertificate);
    }
    if now < cert.valid_after() {
        return Err(Refusal::TooEarly);
    }
    if now >= cert.valid_before() {
        return Err(Refusal::Expired);
    }
    // A certificate without principals would be good for every login.
    if cert.valid_principals().is_empty() {
        return Err(Refusal::NoPrincipal);
    }
    if !cert.valid_principals().iter().any(|principal| principal == login) {
        return Err(Refusal::OtherPrincipal);
    }
    let mut command = None;
    for (name, value) in cert.critical_options().iter() {
        match name.as_str() {
            "force-command" => command = Some(value.clone()),
            "source-address" => return Err(Refusal::SourceAddress),
            _ => return Err(Refusal::CriticalOption),
        }
    }
    let pty = cert.extensions().contains_key("permit-pty");
    Ok(Grant { by: format!("certificate {:?}", cert.key_id()), pty, command })
}
