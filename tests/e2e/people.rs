//! A broker outside demo mode, from `init` to a grant that is taken back.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use moorline_tests::broker::{Answer, binary, free_port};
use moorline_tests::raw::Raw;
use moorline_tests::wait::{SOON, eventually, within};
use moorline_tests::world::Device;
use moorline_tests::{Broker, Kind, Stage, once};
use moorline_wire::Code;
use reqwest::Method;
use serde_json::{Value, json};

once! {
    a_fresh_broker_is_set_up_shared_and_taken_back,
    init_writes_what_is_missing_and_invites_once,
}

pub const PASSWORD: &str = "correct horse battery";

/// Runs `moorline-broker init`; gives what it printed.
pub fn init(stage: &Stage, more: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(binary("moorline-broker"));
    command.args(["init", "--dir"]).arg(stage.path("made")).args(more);
    let output = command.output()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), text))
}

/// The secret of the link that was printed.
pub fn secret(told: &str) -> Result<String> {
    let link = told.split_whitespace().find(|word| word.contains("/welcome#")).context("no link")?;
    Ok(link.rsplit('#').next().context("no secret")?.to_owned())
}

/// The cookie that an answer sets.
pub fn cookie_of(answer: &Answer) -> Result<String> {
    let header = answer.is(200)?.headers.get("set-cookie").context("no cookie")?.to_str()?;
    Ok(header.split(';').next().unwrap_or_default().to_owned())
}

/// What a browser shows that nobody is logged in with: whoever logs in replaces the login that they show.
const NOBODY: &str = "moorline=nobody";

/// Sets the password of an invitation; gives the cookie.
pub async fn accept(broker: &mut Broker, secret: &str, name: Option<&str>) -> Result<String> {
    let body = json!({ "secret": secret, "name": name, "password": PASSWORD });
    let accepted = broker
        .as_whom(NOBODY, async |broker| ask(broker, Method::POST, "/api/v1/invitation/accept", body).await);
    cookie_of(&accepted.await?)
}

/// Logs in; gives the cookie.
async fn log_in(broker: &mut Broker, name: &str) -> Result<String> {
    let body = json!({ "name": name, "password": PASSWORD });
    let done = broker.as_whom(NOBODY, async |broker| ask(broker, Method::POST, "/api/v1/login", body).await);
    cookie_of(&done.await?)
}

/// An attached terminal of a session.
async fn attached(broker: &Broker, session: &str) -> Result<Raw> {
    let ticket = broker.ticket(session).await?;
    let mut terminal = Raw::terminal(broker, session).await?;
    terminal.say(&Raw::hello(&ticket)).await?;
    terminal.told("attached").await?;
    Ok(terminal)
}

pub async fn ask(broker: &Broker, method: Method, path: &str, body: Value) -> Result<Answer> {
    broker.call(method, path, Some(body)).await
}

async fn init_writes_what_is_missing_and_invites_once(stage: &Stage) -> Result<()> {
    let origin = ["--listen", "127.0.0.1:9999", "--origin", "https://moorline.example.org"];
    let (done, told) = init(stage, &origin)?;
    ensure!(done, "{told}");
    let first = secret(&told)?;
    ensure!(told.contains(&format!("https://moorline.example.org/welcome#{first}")), "{told}");
    let file = stage.path("made/broker.toml");
    let text = std::fs::read_to_string(&file)?;
    ensure!(!text.contains(&first), "the secret is in the file");
    for line in
        ["listen = \"127.0.0.1:9999\"", "origins = [\"https://moorline.example.org\"]", "#demo = false"]
    {
        ensure!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
    // What it wrote is taken, and says the same as before.
    let check = Command::new(binary("moorline-broker")).arg("--config").arg(&file).arg("--check").output()?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let key = std::fs::metadata(stage.path("made/install.key"))?;
    ensure!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777 == 0o600, "{key:?}");
    // Again: nothing is overwritten, the link before is worth nothing.
    std::fs::write(&file, text.replace("9999", "9998"))?;
    let (done, told) = init(stage, &[])?;
    ensure!(done && !told.contains("Wrote") && secret(&told)? != first, "{told}");
    ensure!(std::fs::read_to_string(&file)?.contains("9998"), "the file was overwritten");
    Ok(())
}

async fn a_fresh_broker_is_set_up_shared_and_taken_back(stage: &Stage) -> Result<()> {
    stage.announce("nobody can log in yet");
    stage.announce("login_expired");
    let (done, told) = init(stage, &[])?;
    ensure!(done, "{told}");
    let data = stage.path("made/data").display().to_string();
    let settings = [("demo", "false"), ("data_dir", data.as_str()), ("login.check", "2s")];
    let mut broker = Broker::start_with(stage, free_port(), &settings).await?;
    broker.call(Method::GET, "/api/v1/devices", None).await?.refuses(401, "login_expired")?;

    // The first administrator, after whom no other is invited by whoever finds the command.
    let anna = accept(&mut broker, &secret(&told)?, Some("anna")).await?;
    broker.cookie = Some(anna);
    ensure!(broker.get("/api/v1/me").await?["roles"] == json!(["admin"]), "not an administrator");
    let (again, told) = init(stage, &[])?;
    ensure!(!again && told.contains("--recover"), "{told}");

    // A device by its install key, and a person who may have shells on devices of the lab.
    let device = Device::start(stage, &broker, "device", Kind::Embedded, broker.address).await?;
    let login = broker.device(&device.id).await?["login"].as_str().context("no login")?.to_owned();
    let new = json!({ "name": "oskar", "roles": ["operator"] });
    let made = ask(&broker, Method::POST, "/api/v1/people", new).await?.is(201)?.json.clone();
    let oskar = accept(&mut broker, made["invitation"].as_str().context("no invitation")?, None).await?;
    let grant = json!({ "who": "person:oskar", "acts": ["shell"], "devices": "lab", "logins": login });
    let grant = ask(&broker, Method::POST, "/api/v1/grants", grant).await?.is(201)?.json.clone();
    let session = opened_by(&mut broker, &device.id, &oskar).await?;
    ended_with_their_login(&mut broker, &session, &oskar).await?;
    let oskar = log_in(&mut broker, "oskar").await?;
    ended_with_the_grant(&mut broker, &session, &oskar, grant["id"].as_str().context("no id")?).await?;
    kept_in_the_audit(&broker).await?;
    ensure!(!stage.log("broker").contains(PASSWORD), "a password is in the log");
    Ok(())
}

/// A session of somebody who may open one as soon as the device has the tag; gives its id.
async fn opened_by(broker: &mut Broker, device: &str, cookie: &str) -> Result<String> {
    let wish = |login: Option<&str>| json!({ "device": device, "cols": 80, "rows": 24, "login": login });
    let unseen = broker.as_whom(cookie, async |broker| {
        ask(broker, Method::POST, "/api/v1/sessions", wish(None))
            .await?
            .refuses(404, "unknown_device")
            .cloned()
    });
    unseen.await?;
    let tags = json!({ "tags": ["lab"] });
    ask(broker, Method::PATCH, &format!("/api/v1/devices/{device}"), tags).await?.is(200)?;
    let opened = broker.as_whom(cookie, async |broker| {
        ask(broker, Method::POST, "/api/v1/sessions", wish(Some("somebody")))
            .await?
            .refuses(403, "policy")?;
        let person = "/api/v1/people/p-aaaaaaaaaaaaaaaa";
        ask(broker, Method::DELETE, person, json!({})).await?.refuses(403, "policy")?;
        broker.open_as(wish(None)).await
    });
    Ok(opened.await?.0)
}

/// A login that ends closes its terminals, and the shell stays.
async fn ended_with_their_login(broker: &mut Broker, session: &str, cookie: &str) -> Result<()> {
    let leaving = broker.as_whom(cookie, async |broker| {
        let terminal = attached(broker, session).await?;
        ask(broker, Method::POST, "/api/v1/logout", json!({})).await?.is(200)?;
        Ok(terminal)
    });
    let mut terminal = leaving.await?;
    within(SOON, "the terminal to close", terminal.refused(Code::LOGIN_EXPIRED)).await??;
    ensure!(broker.session(session).await?["state"] != "ended", "the shell has ended with the login");
    Ok(())
}

/// A grant that is taken back ends what it allowed.
async fn ended_with_the_grant(broker: &mut Broker, session: &str, cookie: &str, grant: &str) -> Result<()> {
    let mut terminal = broker.as_whom(cookie, async |broker| attached(broker, session).await).await?;
    ask(broker, Method::DELETE, &format!("/api/v1/grants/{grant}"), json!({})).await?.is(200)?;
    let (frame, _) = within(SOON, "the terminal to close", terminal.closed()).await??;
    ensure!([Code::KILLED, Code::POLICY].map(Code::number).contains(&u16::from(frame.code)), "{frame:?}");
    let ending = broker.ending(session).await?;
    ensure!(ending["by"] == "moorline" && ending["code"] == "killed", "{ending}");
    Ok(())
}

async fn kept_in_the_audit(broker: &Broker) -> Result<()> {
    let wanted = [
        "invitation_accept",
        "person_create",
        "grant_create",
        "device_tag",
        "session_create",
        "logout",
        "login",
        "session_ticket",
        "grant_remove",
        "session_end",
    ];
    eventually(SOON, "the audit to have everything", async || {
        let audit = broker.get("/api/v1/audit").await?;
        let entries = audit["entries"].as_array().context("no entries")?;
        for kind in wanted {
            ensure!(entries.iter().any(|entry| entry["what"] == kind), "no {kind} in {audit}");
        }
        Ok(())
    })
    .await
}
