//! TLS in the broker itself: browsers and agents that check it, renewal under a live session, refusals.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::{binary, free_port, root};
use moorline_tests::wait::{SOON, eventually};
use moorline_tests::world::Device;
use moorline_tests::{Agent, Authority, Broker, Kind, Stage, Terminal, once};
use reqwest::Method;
use serde_json::json;

once! {
    a_person_and_a_device_meet_over_tls_and_a_renewal_cuts_nobody,
    a_renewed_certificates_names_count_without_a_restart_and_the_old_ones_no_more,
    new_files_that_cannot_be_used_are_told_and_the_certificate_before_stays,
    a_broker_names_the_file_that_keeps_its_tls_from_starting,
    an_expired_certificate_is_warned_of_and_counted,
    an_agent_dials_no_broker_whose_certificate_it_does_not_trust,
    a_login_over_tls_is_for_this_host_and_for_https_alone,
    old_versions_weak_ciphers_renegotiation_and_compression_are_off,
}

/// A name that the certificates are for, beside this machine's.
const NAME: &str = "broker.test";

/// A broker with TLS, and a device that trusts its authority.
async fn world(stage: &Stage, authority: &Authority) -> Result<(Broker, Device)> {
    let broker = Broker::start_secure(stage, free_port(), authority, &[("tls.check", "200ms")]).await?;
    let (url, ca) = (format!("wss://localhost:{}", broker.address.port()), authority.file());
    let settings = [("broker.url", &*url), ("broker.ca_file", &*ca)];
    let device =
        Device::start_with(stage, &broker, "device", Kind::Embedded, broker.address, &settings).await?;
    Ok((broker, device))
}

async fn a_person_and_a_device_meet_over_tls_and_a_renewal_cuts_nobody(stage: &Stage) -> Result<()> {
    let authority = Authority::new(stage, "authority")?;
    let first = authority.issue(NAME, 2090)?;
    let (broker, device) = world(stage, &authority).await?;
    let browser = authority.trusted()?;
    ensure!(browser.shown(broker.address).await? == first, "another certificate is shown");
    let terminal = Terminal::open(&broker, &device.id).await?;
    terminal.ready().await?;
    let attached = terminal.attached();

    let second = authority.issue(NAME, 2091)?;
    eventually(SOON, "the new certificate to be shown", async || {
        ensure!(browser.shown(broker.address).await? == second, "it is still the old one");
        Ok(())
    })
    .await?;
    assert_eq!(terminal.runs("echo $((6*7))").await?.0, "42\n");
    // The same socket, and the same link as before.
    ensure!(terminal.attached() == attached, "the terminal had to come back");
    ensure!(broker.metric("moorline_links_broken_total", &[]).await? == 0.0, "the link broke");
    // date -u -d 2091-01-01 +%s
    ensure!(
        broker.metric("moorline_tls_certificate_expires_timestamp_seconds", &[]).await? == 3_818_448_000.0
    );
    let audit = broker.get("/api/v1/audit?what=certificate_renew").await?;
    ensure!(audit["entries"].as_array().is_some_and(|entries| entries.len() == 1), "{audit}");
    // One byte each way is not held back by the layer between.
    terminal.cuts();
    terminal.attached_again(attached).await?;
    assert_eq!(terminal.runs("echo $((6*9))").await?.0, "54\n");
    Ok(())
}

async fn a_renewed_certificates_names_count_without_a_restart_and_the_old_ones_no_more(
    stage: &Stage,
) -> Result<()> {
    const RENEWED: &str = "renewed.test";
    let authority = Authority::new(stage, "authority")?;
    authority.issue(NAME, 2090)?;
    let broker = Broker::start_secure(stage, free_port(), &authority, &[("tls.check", "200ms")]).await?;
    let port = broker.address.port();
    // What changes nothing, from a page of that name.
    let asks = async |name: &str, origin: &str| {
        let request =
            broker.request(Method::DELETE, "/api/v1/sessions").header("host", format!("{name}:{port}"));
        broker.send(request.header("origin", origin)).await
    };
    let page = |name: &str| format!("https://{name}:{port}");
    asks(NAME, &page(NAME)).await?.refuses(400, "bad_request")?;
    asks(RENEWED, &page(RENEWED)).await?.refuses(421, "host")?;
    asks(NAME, &page(RENEWED)).await?.refuses(403, "origin")?;

    let renewed = authority.issue(RENEWED, 2091)?;
    eventually(SOON, "the new certificate to be shown", async || {
        ensure!(authority.trusted()?.shown(broker.address).await? == renewed, "it is still the old one");
        Ok(())
    })
    .await?;
    asks(&RENEWED.to_uppercase(), &page(RENEWED)).await?.refuses(400, "bad_request")?;
    asks(NAME, &page(NAME)).await?.refuses(421, "host")?;
    asks(RENEWED, &page(NAME)).await?.refuses(403, "origin")?;
    let other_port = broker.request(Method::GET, "/livez").header("host", format!("{RENEWED}:1"));
    broker.send(other_port).await?.refuses(421, "host")?;
    Ok(())
}

async fn new_files_that_cannot_be_used_are_told_and_the_certificate_before_stays(
    stage: &Stage,
) -> Result<()> {
    stage.announce("the new certificate cannot be used");
    let authority = Authority::new(stage, "authority")?;
    let good = authority.issue(NAME, 2090)?;
    let settings = [("tls.check", "200ms")];
    let broker = Broker::start_secure(stage, free_port(), &authority, &settings).await?;
    let (certificate, key) = authority.files();
    let other = Authority::new(stage, "other")?;
    other.issue(NAME, 2090)?;
    std::fs::copy(other.files().1, &key)?;
    let line = stage.logged("broker", &["the new certificate cannot be used"]).await?;
    ensure!(line.contains("tls.key_file") && line.contains(&key), "{line}");
    std::fs::remove_file(&certificate)?;
    stage.logged("broker", &["the new certificate cannot be used", "No such file"]).await?;
    ensure!(broker.metric("moorline_tls_reload_failures_total", &[]).await? == 2.0, "it is not counted");
    ensure!(authority.trusted()?.shown(broker.address).await? == good, "the good one is gone");
    // Mended, it goes on.
    let renewed = authority.issue(NAME, 2091)?;
    eventually(SOON, "the new certificate to be shown", async || {
        ensure!(authority.trusted()?.shown(broker.address).await? == renewed, "it is still the old one");
        Ok(())
    })
    .await
}

/// Runs a broker with these files to its end; gives its status and what it wrote.
fn refused(stage: &Stage, certificate: &str, key: &str) -> Result<(i32, String)> {
    let set = [
        format!("listen=127.0.0.1:{}", free_port()),
        format!("data_dir={}", stage.path("refused").display()),
        format!("tls.certificate_file={certificate}"),
        format!("tls.key_file={key}"),
    ];
    let mut command = Command::new(binary("moorline-broker"));
    command.arg("--config").arg(root().join("config/demo.toml")).current_dir(stage.path("."));
    command.args(set.iter().flat_map(|setting| ["--set", setting]));
    let output = command.output()?;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn a_broker_names_the_file_that_keeps_its_tls_from_starting(stage: &Stage) -> Result<()> {
    let (one, other) = (Authority::new(stage, "one")?, Authority::new(stage, "other")?);
    one.issue(NAME, 2090)?;
    other.issue(NAME, 2090)?;
    let ((certificate, _), (_, foreign)) = (one.files(), other.files());
    for (certificate, key, parts) in [
        ("/nowhere/broker.pem", &*foreign, ["tls.certificate_file", "/nowhere/broker.pem", "No such file"]),
        (&*certificate, "/nowhere/key.pem", ["tls.key_file", "/nowhere/key.pem", "No such file"]),
        (&*certificate, &*foreign, ["tls.key_file", &*foreign, "not the key of the certificate"]),
        (&*foreign, &*foreign, ["tls.certificate_file", &*foreign, "no certificate"]),
        (&*certificate, "", ["tls.certificate_file", "tls.key_file", "needs"]),
    ] {
        let (status, text) = refused(stage, certificate, key)?;
        // EX_CONFIG: a service manager need not try again.
        ensure!(status == 78, "{certificate} and {key}: status {status}: {text}");
        for part in parts {
            ensure!(text.contains(part), "no {part:?} in {text}");
        }
        ensure!(!text.contains("BEGIN") && !text.contains("panicked"), "{text}");
    }
    Ok(())
}

async fn an_expired_certificate_is_warned_of_and_counted(stage: &Stage) -> Result<()> {
    stage.announce("has expired");
    stage.announce("others can read tls.key_file");
    let authority = Authority::new(stage, "authority")?;
    authority.issue(NAME, 2001)?;
    let key = authority.files().1;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let (certificate, key) = authority.files();
    let settings = [("tls.certificate_file", &*certificate), ("tls.key_file", &*key)];
    let _broker = Broker::spawn(stage, free_port(), &settings)?;
    stage.logged("broker", &["the certificate of tls.certificate_file has expired", "2001-01-01"]).await?;
    stage.logged("broker", &["others can read tls.key_file", "644"]).await?;
    stage.logged("broker", &["listening"]).await?;
    Ok(())
}

async fn an_agent_dials_no_broker_whose_certificate_it_does_not_trust(stage: &Stage) -> Result<()> {
    stage.announce("no connection to the broker");
    let (authority, other) = (Authority::new(stage, "authority")?, Authority::new(stage, "other")?);
    authority.issue(NAME, 2090)?;
    let broker = Broker::start_secure(stage, free_port(), &authority, &[]).await?;
    let url = format!("wss://127.0.0.1:{}", broker.address.port());
    let ca = other.file();
    let settings = [("broker.url", &*url), ("broker.ca_file", &*ca)];
    let _agent = Agent::start_with(stage, "stranger", broker.address, &settings)?;
    stage.logged("stranger", &["no connection to the broker", "UnknownIssuer"]).await?;
    ensure!(broker.get("/api/v1/devices").await?["devices"] == json!([]), "it was let in");
    Ok(())
}

async fn a_login_over_tls_is_for_this_host_and_for_https_alone(stage: &Stage) -> Result<()> {
    stage.announce("nobody can log in yet");
    let authority = Authority::new(stage, "authority")?;
    authority.issue(NAME, 2090)?;
    let (port, (certificate, key)) = (free_port(), authority.files());
    let listen = format!("127.0.0.1:{port}");
    let init = Command::new(binary("moorline-broker"))
        .args(["init", "--listen", &listen, "--certificate", &certificate, "--key", &key, "--dir"])
        .arg(stage.path("made"))
        .output()?;
    let told = String::from_utf8_lossy(&init.stdout).into_owned();
    let secret = told.split_once(&format!("https://{listen}/welcome#")).context("no link")?.1.trim();
    let data = stage.path("made/data").display().to_string();
    let settings = [("demo", "false"), ("data_dir", &*data)];
    let broker = Broker::start_secure(stage, port, &authority, &settings).await?;
    let named = format!("{NAME}:{port}");
    let accept = |host: &str, origin: String, name: &str| {
        let body = json!({ "secret": secret, "name": name, "password": "correct horse battery" });
        let request = broker.request(Method::POST, "/api/v1/invitation/accept").json(&body);
        broker.send(request.header("host", host).header("origin", origin))
    };
    for origin in [format!("http://{named}"), format!("https://{NAME}"), "https://evil.test".to_owned()] {
        accept(&named, origin, "anna").await?.refuses(403, "origin")?;
    }
    accept("evil.test", format!("https://{named}"), "anna").await?.refuses(421, "host")?;
    let accepted = accept(&named, format!("https://{named}"), "anna").await?;
    let header =
        |name: &str| accepted.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cookie = header("set-cookie");
    ensure!(accepted.status == 200 && cookie.starts_with("__Host-moorline="), "{accepted:?}");
    for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        ensure!(cookie.contains(attribute), "no {attribute} in {cookie}");
    }
    ensure!(header("strict-transport-security") == "max-age=63072000", "{accepted:?}");
    // For localhost it would hold for every other port as well.
    let here = broker.send(broker.request(Method::GET, "/livez").header("host", format!("localhost:{port}")));
    ensure!(!here.await?.headers.contains_key("strict-transport-security"), "HSTS for localhost");
    Ok(())
}

/// What `openssl s_client` says of the broker.
fn s_client(broker: &Broker, more: &[&str], says: &str) -> Result<(bool, String)> {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &broker.address.to_string()])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It may have ended before.
    let _ = child.stdin.take().context("it has an input")?.write_all(says.as_bytes());
    let output = child.wait_with_output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    ))
}

async fn old_versions_weak_ciphers_renegotiation_and_compression_are_off(stage: &Stage) -> Result<()> {
    let authority = Authority::new(stage, "authority")?;
    authority.issue(NAME, 2090)?;
    let broker = Broker::start_secure(stage, free_port(), &authority, &[]).await?;
    let weakened = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    for version in ["-tls1", "-tls1_1"] {
        let (done, text) = s_client(&broker, &[version, "-cipher", weakened], "")?;
        ensure!(!done && text.contains("alert"), "{version}: {text}");
    }
    // No forward secrecy, no authenticated encryption, or no authentication at all.
    for cipher in [
        "kRSA",
        "AES128-SHA",
        "ECDHE+SHA1",
        "ECDHE+SHA256+AES",
        "ECDHE+SHA384",
        "aNULL",
        "eNULL",
        "3DES",
        "RC4",
    ] {
        // Some of them OpenSSL itself does not have any more: then it has nothing to offer.
        let offered = format!("{cipher}:-AESGCM:-CHACHA20:@SECLEVEL=0");
        let (done, text) = s_client(&broker, &["-tls1_2", "-cipher", &offered], "")?;
        ensure!(!done, "{cipher}: {text}");
    }
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ca = authority.file();
        let (done, text) = s_client(&broker, &[version, "-CAfile", &ca, "-verify_return_error"], "")?;
        ensure!(done && text.contains(name) && text.contains("Verify return code: 0"), "{version}: {text}");
        ensure!(text.contains("Compression: NONE") && !text.contains("Early data was accepted"), "{text}");
    }
    // Renegotiation is asked for with a line that is an R.
    let (_, text) = s_client(&broker, &["-tls1_2"], "R\n")?;
    ensure!(text.contains("RENEGOTIATING"), "{text}");
    ensure!(
        text.contains("no renegotiation") || text.contains("alert") || text.contains("unexpected"),
        "{text}"
    );
    broker.call(Method::GET, "/livez", None).await?.is(200)?;
    Ok(())
}
