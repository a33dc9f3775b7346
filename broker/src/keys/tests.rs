//! Which key is used when, and what is refused as one.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::testkit::Kit;
use crate::testkit::agent::Agent;

struct Folder(tempfile::TempDir);

impl Folder {
    /// A key of that kind; its text.
    fn key(&self, name: &str, options: &[&str]) -> String {
        let path = self.0.path().join(name);
        let done = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-f"])
            .arg(&path)
            .args(options)
            .status()
            .unwrap();
        assert!(done.success());
        std::fs::read_to_string(path).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }
}

fn folder() -> Folder {
    Folder(tempfile::tempdir().unwrap())
}

#[test]
fn only_a_whole_private_key_of_openssh_with_its_passphrase_is_one() {
    let folder = folder();
    let plain = folder.key("plain", &["-t", "ed25519"]);
    let locked = folder.key("locked", &["-t", "ed25519", "-N", "open sesame"]);
    assert!(parsed(&plain, None).is_ok() && parsed(&plain, Some("needless")).is_ok());
    assert!(parsed(&locked, Some("open sesame")).is_ok());
    let public = std::fs::read_to_string(folder.0.path().join("plain.pub")).unwrap();
    let half = &plain[..plain.len() / 2];
    for (text, passphrase, why) in [
        (&*locked, None, "none was given"),
        (&*locked, Some("open barley"), "another one"),
        (&*public, None, "not a private key"),
        (half, None, "damaged"),
        ("", None, "not a private key"),
    ] {
        let told = parsed(text, passphrase).unwrap_err();
        assert!(told.contains(why) && !told.contains("b3BlbnNzaC1rZXk"), "{told}");
    }
}

#[actix_web::test]
async fn a_device_has_its_own_key_or_the_brokers_and_neither_where_it_is_to_have_a_certificate() {
    let (folder, kit) = (folder(), Kit::new().await);
    let mut agent = Agent::new();
    let _connected = agent.connect(&kit).await.unwrap();
    let device = agent.id();
    let own = folder.write("own", &folder.key("own_key", &["-t", "ed25519"]));
    let settings = |change: &dyn Fn(&mut Ssh)| {
        let storage_key_file = Some(folder.write("storage", &STANDARD.encode([7; 32])));
        let mut ssh = Ssh { private_key_file: Some(own.clone()), storage_key_file, ..Ssh::default() };
        change(&mut ssh);
        ssh
    };
    let load = |ssh: &Ssh| LoginKeys::load(ssh, kit.store.clone()).unwrap();
    let keys = load(&settings(&|_| ()));
    let ways = keys.ways(&device).await.unwrap();
    let own_key = ways.key.unwrap().public_key().clone();
    assert!(ways.certificate);

    let theirs = Secret::new(folder.key("theirs", &["-t", "ed25519"]));
    let row = keys.set(&device, &theirs, None, Some(LoginWith::Key)).await.unwrap();
    let ways = keys.ways(&device).await.unwrap();
    let used = ways.key.unwrap();
    assert!(!ways.certificate && *used.public_key() != own_key);
    assert_eq!(used.public_key().fingerprint(HashAlg::Sha256).to_string(), row.fingerprint);

    // Another key that seals: what was sealed before is sealed anew at the start, and opened.
    let both = format!("{}\n{}\n", STANDARD.encode([8; 32]), STANDARD.encode([7; 32]));
    let both = load(&settings(&|ssh| ssh.storage_key_file = Some(folder.write("storage", &both))));
    both.renew().await.unwrap();
    assert_ne!(kit.store.private_key(&device).await.unwrap().unwrap().key_id, row.key_id);
    let new = load(&settings(&|ssh| {
        ssh.storage_key_file = Some(folder.write("storage", &STANDARD.encode([8; 32])))
    }));
    assert!(new.ways(&device).await.unwrap().key.is_some());
    // Without that one it cannot be opened: told where there is no other way.
    assert_eq!(keys.ways(&device).await.err().unwrap().code, Code::BAD_CONFIG);

    let certificate = load(&settings(&|ssh| ssh.login_with = LoginWith::Certificate));
    assert!(kit.store.remove_private_key(&device).await.unwrap());
    assert!(!kit.store.remove_private_key(&device).await.unwrap());
    assert!(certificate.ways(&device).await.unwrap().key.is_none());
    let nothing = load(&Ssh { login_with: LoginWith::Key, ..Ssh::default() });
    assert_eq!(nothing.ways(&device).await.err().unwrap().code, Code::DEVICE_REFUSED);
    let refused = nothing.set(&device, &theirs, None, None).await.unwrap_err();
    assert!(refused.text.contains("ssh.storage_key_file"), "{}", refused.text);
}

/// Whoever can write the store, and has a device, gets no other device's key by it.
#[actix_web::test]
async fn what_the_store_has_of_a_key_is_sealed_and_of_no_use_for_another_device() {
    let (folder, kit) = (folder(), Kit::new().await);
    let (mut one, mut other) = (Agent::new(), Agent::new());
    let _connected = (one.connect(&kit).await.unwrap(), other.connect(&kit).await.unwrap());
    let ssh =
        Ssh { storage_key_file: Some(folder.write("storage", &STANDARD.encode([7; 32]))), ..Ssh::default() };
    let keys = LoginKeys::load(&ssh, kit.store.clone()).unwrap();
    let text = Secret::new(folder.key("theirs", &["-t", "ed25519"]));
    keys.set(&one.id(), &text, None, Some(LoginWith::Key)).await.unwrap();
    let row = kit.store.private_key(&one.id()).await.unwrap().unwrap();
    let plain = PrivateKey::from_openssh(text.reveal()).unwrap();
    let secret = plain.key_data().ed25519().unwrap().private.to_bytes();
    for part in [&secret[..], b"PRIVATE KEY", b"b3BlbnNzaC1rZXk", b"openssh-key"] {
        assert!(!row.sealed.windows(part.len()).any(|window| window == part), "it is not sealed");
    }
    assert!(keys.ways(&one.id()).await.is_ok());
    kit.store.set_private_key(&PrivateKeyRow { device: other.id(), ..row }).await.unwrap();
    assert_eq!(keys.ways(&other.id()).await.err().unwrap().code, Code::BAD_CONFIG);
    assert!(keys.ways(&one.id()).await.is_ok());
}

#[actix_web::test]
async fn a_file_that_others_can_read_or_that_is_no_key_keeps_the_broker_from_starting() {
    let (folder, kit) = (folder(), Kit::new().await);
    let key = folder.write("key", &folder.key("made", &["-t", "ed25519"]));
    let open = folder.write("open", "x");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
    let no_key = folder.write("no_key", "not a key");
    let missing = folder.0.path().join("missing");
    for (ssh, parts) in [
        (Ssh { private_key_file: Some(open.clone()), ..Ssh::default() }, ["ssh.private_key_file", "644"]),
        (
            Ssh { private_key_file: Some(missing.clone()), ..Ssh::default() },
            ["ssh.private_key_file", "No such file"],
        ),
        (Ssh { private_key_file: Some(no_key.clone()), ..Ssh::default() }, ["no_key", "OpenSSH form"]),
        (Ssh { storage_key_file: Some(no_key), ..Ssh::default() }, ["ssh.storage_key_file", "line 1"]),
        (
            Ssh { private_key_file: Some(key), passphrase_file: Some(missing), ..Ssh::default() },
            ["ssh.passphrase_file", "No such file"],
        ),
    ] {
        let problem = LoginKeys::load(&ssh, kit.store.clone()).err().unwrap();
        assert_eq!(problem.code, Code::BAD_CONFIG);
        for part in parts {
            assert!(problem.text.contains(part), "no {part:?} in {}", problem.text);
        }
        assert!(!problem.text.contains("not a key"), "{}", problem.text);
    }
}
