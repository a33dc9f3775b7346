//! Whether a user certificate lets its holder in.
//!
//! russh has checked, before we are asked, that the client holds the certificate's key and that the
//! certificate's signature is that of the key named in it. Whether that key is the broker's, and
//! everything else, is decided here.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg};

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
pub fn check(cert: &Certificate, login: &str, cas: &[KeyData], now: u64) -> Result<Grant, Refusal> {
    // Each pinned key is a plain key, never a certificate: so equality also refuses a certificate that
    // is signed by a certificate (CVE-2025-49825).
    if cas.is_empty() {
        return Err(Refusal::NoCa);
    }
    if !cas.contains(cert.signature_key()) {
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
    // While the CA is being replaced there are two, and somebody may want to know which one still signs.
    let ca = cert.signature_key().fingerprint(HashAlg::Sha256);
    Ok(Grant { by: format!("certificate {:?} of the CA {ca}", cert.key_id()), pty, command })
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::signature::Signer;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn blob(key: &PrivateKey) -> Vec<u8> {
        key.public_key().to_bytes().unwrap()
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// The certificate of `holder` by a signer, in the bytes that go over the wire (PROTOCOL.certkeys): what is said to
    /// be the signer's key may be anything.
    fn made(holder: &PrivateKey, signer: &PrivateKey, said: &[u8]) -> Vec<u8> {
        // The holder's key without the name of its kind.
        let public = &blob(holder)[4 + "ssh-ed25519".len()..];
        let mut bytes = [
            &string(b"ssh-ed25519-cert-v01@openssh.com"),
            &string(&[7; 32]),
            public,
            &7u64.to_be_bytes()[..],
            // For a user.
            &1u32.to_be_bytes()[..],
            &string(b"s-test anna"),
            &string(&string(b"root")),
            &(NOW - 60).to_be_bytes()[..],
            &(NOW + 60).to_be_bytes()[..],
            &string(b""),
            &string(&[string(b"permit-pty"), string(b"")].concat()),
            &string(b""),
            &string(said),
        ]
        .concat();
        let signature = signer.try_sign(&bytes).unwrap();
        bytes.extend(string(&[string(b"ssh-ed25519"), string(signature.as_bytes())].concat()));
        bytes
    }

    /// What comes of it at a device that trusts the CA; `None` where it is not even read.
    fn outcome(bytes: &[u8]) -> Option<Result<Grant, Refusal>> {
        let ca = key(1).public_key().key_data().clone();
        Some(check(&Certificate::from_bytes(bytes).ok()?, "root", &[ca], NOW))
    }

    #[test]
    fn a_certificate_that_a_certificate_has_signed_lets_nobody_in() {
        let (ca, go_between, holder) = (key(1), key(2), key(3));
        let good = outcome(&made(&holder, &ca, &blob(&ca)));
        assert!(matches!(good, Some(Ok(Grant { pty: true, .. }))), "{good:?}");
        // The go-between is certified by the CA, and signs in the name of its certificate.
        let certified = made(&go_between, &ca, &blob(&ca));
        let nested = outcome(&made(&holder, &go_between, &certified));
        assert!(matches!(nested, None | Some(Err(Refusal::OtherCa))), "{nested:?}");
        // Or in the name of its plain key.
        let plain = outcome(&made(&holder, &go_between, &blob(&go_between)));
        assert_eq!(plain, Some(Err(Refusal::OtherCa)));
        // Or in that of the CA, which has not signed it.
        let forged = outcome(&made(&holder, &go_between, &blob(&ca)));
        assert!(matches!(forged, None | Some(Err(Refusal::Signature))), "{forged:?}");
    }
}
