//! Devices that know keys and no certificates: a real OpenSSH with authorized_keys alone.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moorline_tests::broker::free_port;
use moorline_tests::world::Device;
use moorline_tests::{Broker, Kind, Stage, Terminal, once};
use reqwest::Method;
use serde_json::json;

once! {
    a_device_that_knows_keys_alone_is_reached_by_the_brokers_key_or_its_own,
    an_rsa_key_is_taken_with_a_warning_and_lets_in,
}

/// Makes a key pair; gives the file of the private half.
fn keygen(stage: &Stage, name: &str, options: &[&str]) -> Result<PathBuf> {
    let path = stage.path(name);
    let status =
        Command::new("ssh-keygen").args(["-q", "-C", name, "-f"]).arg(&path).args(options).status()?;
    ensure!(status.success(), "ssh-keygen: {status}");
    Ok(path)
}

/// Writes a file for its owner alone.
fn private(stage: &Stage, name: &str, text: &str) -> Result<String> {
    let path = stage.path(name);
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(path.display().to_string())
}

/// A device with OpenSSH that has never heard of a CA.
async fn device_without_ca(stage: &Stage, broker: &Broker) -> Result<Device> {
    let mut device = Device::start(stage, broker, "device", Kind::OpenSsh, broker.address).await?;
    if let Some(sshd) = &mut device.sshd {
        sshd.trusts_no_ca(stage).await?;
    }
    Ok(device)
}

/// Lets the other half of that key in, and nobody else.
fn authorizes(device: &Device, key: &std::path::Path) -> Result<()> {
    device.sshd.as_ref().map_or(Ok(()), |sshd| sshd.authorizes(&key.with_extension("pub")))
}

async fn refused(broker: &Broker, device: &Device, code: &str) -> Result<()> {
    let (session, _) = broker.open(&device.id).await?;
    let ending = broker.ending(&session).await?;
    ensure!(ending["code"] == code, "{ending}");
    Ok(())
}

async fn works(broker: &Broker, device: &Device) -> Result<()> {
    let terminal = Terminal::open(broker, &device.id).await?;
    terminal.ready().await?;
    ensure!(terminal.runs("echo $((6*7))").await?.0 == "42\n", "no shell");
    broker.end(&terminal.session, "over").await?;
    Ok(())
}

async fn a_device_that_knows_keys_alone_is_reached_by_the_brokers_key_or_its_own(
    stage: &Stage,
) -> Result<()> {
    for text in ["device_refused", "session", "its private key cannot be"] {
        stage.announce(text);
    }
    let brokers = keygen(stage, "brokers", &["-t", "ed25519", "-N", "open sesame"])?;
    let own = keygen(stage, "own", &["-t", "ecdsa", "-N", "open barley"])?;
    let passphrase = private(stage, "passphrase", "open sesame\n")?;
    let (first, second) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
    let storage = private(stage, "storage", &first)?;
    let file = brokers.display().to_string();
    let settings = [
        ("ssh.private_key_file", &*file),
        ("ssh.passphrase_file", &*passphrase),
        ("ssh.storage_key_file", &*storage),
    ];
    let mut broker = Broker::start_with(stage, free_port(), &settings).await?;
    let device = device_without_ca(stage, &broker).await?;
    authorizes(&device, &brokers)?;
    works(&broker, &device).await?;

    // One of its own, which the other cannot replace.
    authorizes(&device, &own)?;
    refused(&broker, &device, "device_refused").await?;
    let path = format!("/api/v1/devices/{}/private-key", device.id);
    broker.call(Method::GET, &path, None).await?.refuses(404, "unknown")?;
    let text = std::fs::read_to_string(&own)?;
    let wrong = json!({ "private_key": text, "passphrase": "open wheat" });
    broker.call(Method::PUT, &path, Some(wrong)).await?.refuses(400, "bad_request")?;
    let right = json!({ "private_key": text, "passphrase": "open barley", "login_with": "key" });
    let set = broker.call(Method::PUT, &path, Some(right)).await?;
    let shown = set.is(200)?;
    ensure!(
        shown.json["algorithm"] == "ecdsa-sha2-nistp256" && !shown.text.contains("PRIVATE"),
        "{}",
        shown.text
    );
    let listed = Command::new("ssh-keygen").arg("-lf").arg(own.with_extension("pub")).output()?;
    let fingerprint = shown.json["fingerprint"].as_str().unwrap_or_default();
    ensure!(String::from_utf8_lossy(&listed.stdout).contains(fingerprint), "{fingerprint}");
    let get = broker.get(&path).await?;
    ensure!(get["fingerprint"] == fingerprint && get.get("private_key").is_none(), "{get}");
    works(&broker, &device).await?;

    broker.process.kill()?;
    is_sealed(stage)?;
    is_sealed_anew(stage, &mut broker, &device, [&first, &second]).await?;

    broker.call(Method::DELETE, &path, None).await?.is(200)?;
    broker.call(Method::DELETE, &path, None).await?.refuses(404, "unknown")?;
    authorizes(&device, &brokers)?;
    works(&broker, &device).await?;
    let audit = broker.get("/api/v1/audit").await?.to_string();
    for what in ["device_key_set", "device_key_remove"] {
        ensure!(audit.contains(what), "no {what} in {audit}");
    }
    Ok(())
}

/// Nothing of the key is in the store, nor in the log.
fn is_sealed(stage: &Stage) -> Result<()> {
    let files = std::fs::read_dir(stage.path("broker"))?.flatten();
    let of_store: Vec<_> =
        files.filter(|entry| entry.file_name().to_string_lossy().starts_with("moorline.db")).collect();
    ensure!(!of_store.is_empty(), "there is no store");
    for entry in of_store {
        let bytes = std::fs::read(entry.path())?;
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        ensure!(!has(b"OPENSSH PRIVATE KEY") && !has(b"b3BlbnNzaC1rZXktdjE"), "{:?}", entry.path());
    }
    ensure!(
        !stage.log("broker").contains("open barley") && !stage.log("broker").contains("BEGIN"),
        "in the log"
    );
    Ok(())
}

/// The key that seals is replaced, and lost.
async fn is_sealed_anew(
    stage: &Stage,
    broker: &mut Broker,
    device: &Device,
    [first, second]: [&str; 2],
) -> Result<()> {
    // Another key seals from now on, and then the first one can go.
    private(stage, "storage", &format!("{second}\n{first}\n"))?;
    broker.restart(stage).await?;
    stage.logged("broker", &["its private key is sealed with the new key"]).await?;
    broker.process.kill()?;
    private(stage, "storage", second)?;
    broker.restart(stage).await?;
    broker.device_is(&device.id, "online").await?;
    works(broker, device).await?;

    // Without it there is no way in, and the sentence says so.
    broker.process.kill()?;
    private(stage, "storage", first)?;
    broker.restart(stage).await?;
    stage.logged("broker", &["its private key cannot be opened"]).await?;
    broker.device_is(&device.id, "online").await?;
    let wish = json!({ "device": device.id, "cols": 80, "rows": 24 });
    let answer = broker.call(Method::POST, "/api/v1/sessions", Some(wish)).await?;
    if answer.status == 201 {
        let ending = broker.ending(answer.json["id"].as_str().unwrap_or_default()).await?;
        ensure!(ending["code"] == "bad_config", "{ending}");
    } else {
        answer.refuses(500, "bad_config")?;
    }
    Ok(())
}

async fn an_rsa_key_is_taken_with_a_warning_and_lets_in(stage: &Stage) -> Result<()> {
    stage.announce("RUSTSEC-2023-0071");
    let key = keygen(stage, "rsa", &["-t", "rsa", "-b", "3072", "-N", ""])?;
    let file = key.display().to_string();
    let settings = [("ssh.private_key_file", &*file), ("ssh.login_with", "key")];
    let broker = Broker::start_with(stage, free_port(), &settings).await?;
    stage.logged("broker", &["RUSTSEC-2023-0071", "ssh.private_key_file"]).await?;
    let device = device_without_ca(stage, &broker).await?;
    authorizes(&device, &key)?;
    works(&broker, &device).await
}
