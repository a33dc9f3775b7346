//! A real broker in the stage's folder, and its API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use rand::Rng as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::process::Process;
use crate::secure::{Authority, Secure};
use crate::stage::Stage;
use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    /// The program.
    pub process: Process,
    /// The cookie that requests show; outside demo mode nothing is answered without one.
    pub cookie: Option<String>,
    /// Those who speak TLS to it; without, it is spoken to in plain HTTP.
    pub secure: Option<Secure>,
    http: reqwest::Client,
    command: Vec<String>,
    environment: Vec<(String, String)>,
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null if it is not JSON.
    pub json: Value,
    /// The body as text.
    pub text: String,
    /// All headers, in order.
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// Fails unless it refuses with this status and code, a sentence, a remedy and a request id.
    pub fn refuses(&self, status: u16, code: &str) -> Result<&Self> {
        let message = self.json["message"].as_str().unwrap_or_default();
        ensure!(
            self.status == status && self.json["code"] == code,
            "wanted {status} {code}, got {} {}",
            self.status,
            self.text
        );
        // Where the request itself is wrong, what would be right is the remedy.
        let remedied = code == "bad_request" || message.contains(". ");
        ensure!(message.ends_with('.') && remedied, "no sentence with a remedy: {message:?}");
        ensure!(
            self.json["request_id"].as_str().is_some_and(|id| !id.is_empty()),
            "no request id: {}",
            self.text
        );
        Ok(self)
    }

    /// Fails unless the status is this one.
    pub fn is(&self, status: u16) -> Result<&Self> {
        ensure!(self.status == status, "wanted {status}, got {} {}", self.status, self.text);
        Ok(self)
    }
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    let mut random = rand::rng();
    loop {
        let port = random.random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Clients of HTTP want to know which cryptography is used, also where they use none.
pub fn install_cryptography() {
    // That it was chosen before is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Where the programs are: `TESTS_BINARIES`, or the release folder beside the tests' own.
pub fn binary(name: &str) -> PathBuf {
    let folder = match std::env::var_os("TESTS_BINARIES") {
        // Tests run in their package's folder; a relative path is meant from the root.
        Some(folder) => root().join(folder),
        None => {
            let me = std::env::current_exe().expect("a running program has a path");
            let built = me.ancestors().map(|folder| folder.join("release")).find(|release| release.is_dir());
            built.expect("tests are at TARGET/debug/deps/NAME, other programs at TARGET/release/NAME")
        }
    };
    let path = folder.join(name);
    assert!(path.exists(), "{} is not there: cargo build --release -p {name}", path.display());
    path
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests have a folder of their own")
        .to_owned()
}

impl Broker {
    /// A broker with the demo's settings.
    pub async fn start(stage: &Stage) -> Result<Self> {
        Self::start_with(stage, free_port(), &[]).await
    }

    /// A broker on this port with these settings, ready to answer.
    pub async fn start_with(stage: &Stage, port: u16, settings: &[(&str, &str)]) -> Result<Self> {
        let mut broker = Self::spawn(stage, port, settings)?;
        broker.ready().await?;
        Ok(broker)
    }

    /// The same with these variables in its environment.
    pub async fn start_in(
        stage: &Stage,
        port: u16,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let mut broker = Self::spawn_in(stage, port, settings, environment)?;
        broker.ready().await?;
        Ok(broker)
    }

    /// A broker that speaks TLS with what that authority has issued.
    pub async fn start_secure(
        stage: &Stage,
        port: u16,
        authority: &Authority,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let (certificate, key) = authority.files();
        let tls = [("tls.certificate_file", &*certificate), ("tls.key_file", &*key)];
        let all: Vec<_> = tls.iter().chain(settings).copied().collect();
        let mut broker = Self::spawn(stage, port, &all)?;
        broker.secure = Some(authority.trusted()?);
        broker.ready().await?;
        Ok(broker)
    }

    /// Starts the program and does not wait for anything.
    pub fn spawn(stage: &Stage, port: u16, settings: &[(&str, &str)]) -> Result<Self> {
        Self::spawn_in(stage, port, settings, &[])
    }

    fn spawn_in(
        stage: &Stage,
        port: u16,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        install_key(stage)?;
        let mut arguments = vec![
            "--config".to_owned(),
            root().join("config/demo.toml").display().to_string(),
            "--set".to_owned(),
            format!("listen={address}"),
        ];
        let data = stage.path("broker").display().to_string();
        let key = stage.path("install.key").display().to_string();
        let filter = std::env::var("TESTS_LOG").unwrap_or_else(|_| "info,moorline_broker=debug".to_owned());
        let defaults = [
            ("data_dir", &*data),
            ("enroll.install_key_file", &*key),
            ("log.format", "json"),
            ("log.filter", &*filter),
        ];
        for (key, value) in defaults.iter().chain(settings) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = Self::run(stage, &arguments, &environment)?;
        install_cryptography();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { address, process, cookie: None, secure: None, http, command: arguments, environment })
    }

    fn run(stage: &Stage, arguments: &[String], environment: &[(String, String)]) -> Result<Process> {
        let mut command = Command::new(binary("moorline-broker"));
        command.args(arguments).current_dir(stage.folder("."));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Process::start(stage, "broker", command, true)
    }

    /// Starts the program again with the same settings, after it was killed.
    pub async fn restart(&mut self, stage: &Stage) -> Result<()> {
        self.process = Self::run(stage, &self.command, &self.environment)?;
        self.ready().await
    }

    /// Runs the program once with the same settings and these words; gives whether it was content, and what it said.
    pub fn tool(&self, words: &[&str]) -> Result<(bool, String)> {
        let output = Command::new(binary("moorline-broker")).args(&self.command).args(words).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }

    async fn ready(&mut self) -> Result<()> {
        let url = self.url("/livez");
        let (http, process) = (&self.http, &mut self.process);
        let (secure, address) = (&self.secure, self.address);
        wait::eventually(wait::SOON, "the broker to answer", async || {
            process.check_alive()?;
            let status = match secure {
                None => http.get(&url).send().await?.status().as_u16(),
                Some(secure) => Box::pin(secure.send(address, http.get(&url).build()?)).await?.status,
            };
            ensure!(status == 200, "livez says no: {status}");
            Ok(())
        })
        .await
    }

    /// The address of a page or route.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.secure.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The origin of its pages.
    pub fn origin(&self) -> String {
        self.url("")
    }

    /// A request whose head the test makes.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// Does something as somebody else: whoever has this cookie.
    pub async fn as_whom<T>(&mut self, cookie: &str, act: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        let before = self.cookie.replace(cookie.to_owned());
        let done = act(self).await;
        self.cookie = before;
        done
    }

    /// Sends it.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        if let Some(secure) = &self.secure {
            return Box::pin(secure.send(self.address, request.build()?)).await;
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { status, json: serde_json::from_str(&text).unwrap_or(Value::Null), text, headers })
    }

    /// A request with or without a JSON body.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let request = self.request(method, path);
        self.send(match &body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// `GET`, which must be answered with 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.call(Method::GET, path, None).await?;
        Ok(answer.is(200)?.json.clone())
    }

    /// Asks for a session; gives its id and ticket.
    pub async fn open(&self, device: &str) -> Result<(String, String)> {
        self.open_as(json!({ "device": device, "cols": 80, "rows": 24 })).await
    }

    /// Asks for the session that the body describes.
    pub async fn open_as(&self, body: Value) -> Result<(String, String)> {
        let answer = self.call(Method::POST, "/api/v1/sessions", Some(body)).await?;
        let json = &answer.is(201)?.json;
        let text =
            |key: &str| json[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {json}"));
        Ok((text("id")?, text("ticket")?))
    }

    /// Another ticket for a session.
    pub async fn ticket(&self, session: &str) -> Result<String> {
        let answer =
            self.call(Method::POST, &format!("/api/v1/sessions/{session}/tickets"), Some(json!({}))).await?;
        answer.is(201)?.json["ticket"].as_str().map(str::to_owned).context("no ticket")
    }

    /// Ends a session as an administrator does.
    pub async fn end(&self, session: &str, reason: &str) -> Result<bool> {
        let path = format!("/api/v1/sessions/{session}?reason={}", in_a_query(reason));
        let answer = self.call(Method::DELETE, &path, None).await?;
        answer.is(200)?.json["killed"].as_bool().context("no word on whether it was killed")
    }

    /// One session, as the API describes it.
    pub async fn session(&self, session: &str) -> Result<Value> {
        self.get(&format!("/api/v1/sessions/{session}")).await
    }

    /// Waits until the API says that the session is over, and gives its ending.
    pub async fn ending(&self, session: &str) -> Result<Value> {
        wait::eventually(wait::SOON, "the session to end", async || {
            let session = self.session(session).await?;
            ensure!(session["state"] == "ended", "it is {}", session["state"]);
            Ok(session["ending"].clone())
        })
        .await
    }

    /// One device, as the API describes it.
    pub async fn device(&self, device: &str) -> Result<Value> {
        self.get(&format!("/api/v1/devices/{device}")).await
    }

    /// Waits until the device is in this state.
    pub async fn device_is(&self, device: &str, state: &str) -> Result<()> {
        wait::eventually(Duration::from_secs(40), &format!("the device to be {state}"), async || {
            let now = self.device(device).await?;
            ensure!(now["state"] == state, "it is {}", now["state"]);
            Ok(())
        })
        .await
    }

    /// The sum of all samples of a metric whose line has all of these texts (labels).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let answer = self.call(Method::GET, "/metrics", None).await?;
        let samples = answer.is(200)?.text.lines().filter(|line| {
            let of_the_name = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            of_the_name && labels.iter().all(|label| line.contains(label))
        });
        samples.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?)).sum()
    }

    /// Everything that it counts.
    pub async fn figures(&self) -> Result<Figures> {
        Figures::parse(&self.call(Method::GET, "/metrics", None).await?.is(200)?.text)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The text as a value in a query (RFC 3986 section 2.1).
pub fn in_a_query(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// The install key of the stage, made on first use.
fn install_key(stage: &Stage) -> Result<()> {
    let path = stage.path("install.key");
    if !path.exists() {
        let bytes: [u8; 32] = rand::random();
        std::fs::write(&path, base64::engine::general_purpose::STANDARD.encode(bytes))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(())
}
