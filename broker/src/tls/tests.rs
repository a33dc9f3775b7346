//! Files as people leave them: good, broken, swapped, expired.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
        std::fs::set_permissions(self.0.path().join(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn settings(&self) -> config::Tls {
        let file = |name: &str| Some(Path::join(self.0.path(), name));
        config::Tls {
            certificate_file: file("cert.pem"),
            key_file: file("key.pem"),
            ..config::Tls::default()
        }
    }

    fn load(&self) -> Result<Tls, Problem> {
        Tls::load(&self.settings(), &Metrics::new()).map(Option::unwrap)
    }

    fn with(certificate: &str, key: &str) -> Self {
        let folder = Self::new();
        folder.write("cert.pem", certificate);
        folder.write("key.pem", key);
        folder
    }
}

/// A certificate for that name, and its key.
fn made(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn made_until(year: i32) -> (String, String) {
    let mut params = CertificateParams::new(["Old.example".to_owned(), "*.old.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 2, 3));
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn figure(tls: &Tls, name: &str) -> String {
    let text = String::from_utf8(tls.metrics.text()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().to_owned()
}

fn shown(tls: &Tls) -> Vec<u8> {
    tls.newest.key.read().unwrap().cert[0].to_vec()
}

#[test]
fn without_files_there_is_no_tls() {
    assert!(Tls::load(&config::Tls::default(), &Metrics::new()).unwrap().is_none());
}

#[test]
fn a_certificate_with_its_key_is_taken_and_its_end_is_counted_even_if_it_has_expired() {
    let (certificate, key) = made_until(2001);
    let tls = Folder::with(&certificate, &key).load().unwrap();
    assert!(tls.names().has("old.example") && !tls.names().has("*.old.example"));
    // date -u -d 2001-02-03 +%s
    assert_eq!(figure(&tls, "moorline_tls_certificate_expires_timestamp_seconds"), "981158400");
    assert!(tls.server_config().is_ok());
}

#[test]
fn what_cannot_be_used_is_refused_with_its_setting_its_file_and_the_cause() {
    let (certificate, key) = made("a.example");
    let other = made("a.example");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let damaged = certificate.replacen("MII", "AAA", 1);
    for (certificate, key, setting, file, why) in [
        (&*certificate, &*other.1, "tls.key_file", "key.pem", "not the key of the certificate"),
        ("", &*key, "tls.certificate_file", "cert.pem", "no certificate"),
        ("no PEM at all", &*key, "tls.certificate_file", "cert.pem", "no certificate"),
        (&*damaged, &*key, "tls.certificate_file", "cert.pem", "cannot be read"),
        (&*certificate, "", "tls.key_file", "key.pem", "no private key"),
        (&*certificate, &*certificate, "tls.key_file", "key.pem", "no private key"),
        (&*certificate, &*encrypted, "tls.key_file", "key.pem", "encrypted"),
    ] {
        let problem = Folder::with(certificate, key).load().err().unwrap();
        assert_eq!(problem.code, Code::BAD_CONFIG);
        for part in [setting, file, why] {
            assert!(problem.text.contains(part), "no {part:?} in {}", problem.text);
        }
    }
    let folder = Folder::new();
    let missing = folder.load().err().unwrap();
    assert!(missing.text.contains("cert.pem") && missing.text.contains("No such file"), "{}", missing.text);
    folder.write("cert.pem", &certificate);
    let missing = folder.load().err().unwrap();
    assert!(missing.text.contains("key.pem") && missing.text.contains("No such file"), "{}", missing.text);
}

#[test]
fn a_file_that_is_no_certificate_but_very_large_is_not_read_to_its_end() {
    let folder = Folder::with(&"x".repeat(2 << 20), "");
    assert!(folder.load().err().unwrap().text.contains("larger than"));
}

#[test]
fn new_files_are_shown_and_broken_ones_are_counted_and_leave_the_old_ones() {
    let (old, old_key) = made("old.example");
    let folder = Folder::with(&old, &old_key);
    let tls = folder.load().unwrap();
    let (before, names) = (shown(&tls), tls.names());
    assert_eq!(tls.look(), Verdict::Keep);

    let (new, new_key) = made("new.example");
    // The first of two files: half of a renewal.
    folder.write("cert.pem", &new);
    assert_eq!(tls.look(), Verdict::Keep);
    assert!(names.has("old.example") && !names.has("new.example"));
    folder.write("key.pem", &new_key);
    assert_eq!(tls.look(), Verdict::Take);
    let after = shown(&tls);
    assert_ne!(before, after);
    assert!(names.has("new.example") && !names.has("old.example"));

    folder.write("cert.pem", "oh");
    assert_eq!([tls.look(), tls.look(), tls.look()], [Verdict::Keep, Verdict::Complain, Verdict::Keep]);
    std::fs::remove_file(folder.0.path().join("key.pem")).unwrap();
    assert_eq!([tls.look(), tls.look(), tls.look()], [Verdict::Keep, Verdict::Complain, Verdict::Keep]);
    assert_eq!(figure(&tls, "moorline_tls_reload_failures_total"), "2");
    assert!(shown(&tls) == after && names.has("new.example"));
}

#[test]
fn a_key_that_others_can_read_is_taken_and_known_to_be_open() {
    let (certificate, key) = made("a.example");
    let folder = Folder::with(&certificate, &key);
    assert_eq!(Files::read(&folder.settings()).unwrap().open_to_others(), None);
    std::fs::set_permissions(folder.0.path().join("key.pem"), PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(Files::read(&folder.settings()).unwrap().open_to_others(), Some(0o640));
    assert!(folder.load().is_ok());
}
