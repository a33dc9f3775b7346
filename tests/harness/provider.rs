//! An OpenID provider that signs with a real key and checks what it is shown, and that lies when it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What the broker is called there.
pub const CLIENT: &str = "moorline";
/// What it shows to prove that. With a character that must be escaped.
pub const CLIENT_SECRET: &str = "a secret of the client+1";

/// See the module.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

/// What is wrong with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing is.
    Nothing,
    /// The token is of another login.
    Nonce,
    /// The token is for another client.
    Audience,
    /// The token is for this client and for one that nobody knows.
    TwoAudiences,
    /// The token has ended.
    Expired,
    /// The token says that another provider made it.
    Issuer,
    /// The token is not signed: the algorithm is `none`.
    NoSignature,
    /// The token is signed by somebody else, who says that it is our key.
    ForeignKey,
    /// The token is signed with the client's secret (HS256), which the client could have done itself.
    ClientSecret,
    /// The signature is of other claims.
    Altered,
    /// There is no token.
    NoToken,
    /// The answer is no answer of a provider.
    Nonsense,
    /// It is broken: it answers everything with 500.
    Broken,
}

struct State {
    issuer: String,
    key: Ed25519KeyPair,
    key_id: u32,
    lie: Lie,
    claims: Value,
    /// Logins that were begun, by their code.
    codes: HashMap<String, HashMap<String, String>>,
    served: usize,
}

impl Provider {
    /// Listens on a port of its own; who comes is `anna`, of no group.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            issuer: format!("http://{address}"),
            key: key()?,
            key_id: 1,
            lie: Lie::Nothing,
            claims: json!({ "sub": "subject-of-anna", "preferred_username": "anna" }),
            codes: HashMap::new(),
            served: 0,
        }));
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &shared).await {
                        eprintln!("provider: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, state, accepting: accepting.abort_handle() })
    }

    /// What the broker is told of it.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on somebody else comes.
    pub fn is_visited_by(&self, claims: Value) {
        self.lock().claims = claims;
    }

    /// From now on this is wrong.
    pub fn lies(&self, lie: Lie) {
        self.lock().lie = lie;
    }

    /// From now on it signs with another key, which it tells to whoever asks.
    pub fn changes_its_key(&self) -> Result<()> {
        let mut state = self.lock();
        state.key = key()?;
        state.key_id += 1;
        Ok(())
    }

    /// How many requests it has answered.
    pub fn served(&self) -> usize {
        self.lock().served
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn key() -> Result<Ed25519KeyPair> {
    let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new());
    let document = document.map_err(|_| anyhow::anyhow!("no random bytes"))?;
    Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|e| anyhow::anyhow!("{e}"))
}

/// Answers the one request of a connection.
async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(stream.read_buf(&mut bytes).await? > 0, "half a request");
    };
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length: usize = header("content-length").map_or(Ok(0), |length| length.parse())?;
    while bytes.len() < end + length {
        ensure!(stream.read_buf(&mut bytes).await? > 0, "half a body");
    }
    let body = String::from_utf8(bytes[end..end + length].to_vec())?;
    let target = head.split(' ').nth(1).context("no target")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = {
        let mut state = state.lock().expect("no panic holds it");
        state.served += 1;
        match path {
            _ if state.lie == Lie::Broken => status("500 Internal Server Error", &json!({})),
            "/.well-known/openid-configuration" => status("200 OK", &state.configuration()),
            "/jwks" => status("200 OK", &state.keys()),
            "/authorize" => state.authorize(&form(query)?)?,
            "/token" => match state.token(&form(&body)?, header("authorization").as_deref()) {
                Ok(token) => status("200 OK", &token),
                Err(error) => {
                    eprintln!("provider: {error:#}");
                    status("400 Bad Request", &json!({ "error": "invalid_grant" }))
                }
            },
            _ => status("404 Not Found", &json!({})),
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(())
}

fn status(line: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The fields of a query or form (application/x-www-form-urlencoded).
fn form(text: &str) -> Result<HashMap<String, String>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().context("half a byte")?, rest.next().context("half a byte")?];
                u8::from_str_radix(std::str::from_utf8(&digits)?, 16)?
            }
            byte => byte,
        });
    }
    Ok(String::from_utf8(bytes)?)
}

impl State {
    fn configuration(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
        })
    }

    fn keys(&self) -> Value {
        let key = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let id = self.key_id.to_string();
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": key }] })
    }

    /// Lets whoever comes in and sends them back with a code.
    fn authorize(&mut self, asked: &HashMap<String, String>) -> Result<String> {
        let field = |name: &str| asked.get(name).with_context(|| format!("no {name} in {asked:?}"));
        ensure!(field("client_id")? == CLIENT && field("response_type")? == "code", "{asked:?}");
        ensure!(field("code_challenge_method")? == "S256", "{asked:?}");
        ensure!(field("scope")?.split(' ').any(|scope| scope == "openid"), "{asked:?}");
        ensure!(field("nonce")?.len() >= 16 && field("state")?.len() >= 16, "{asked:?}");
        let code = format!("code-{}", rand::random::<u64>());
        let location = format!(
            "{}?code={code}&state={}&iss={}&session_state=more",
            field("redirect_uri")?,
            field("state")?,
            self.issuer
        );
        self.codes.insert(code, asked.clone());
        Ok(format!(
            "HTTP/1.1 303 See Other\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
    }

    /// Gives the token for a code, once, to the client that began.
    fn token(&mut self, shown: &HashMap<String, String>, client: Option<&str>) -> Result<Value> {
        let field = |name: &str| shown.get(name).with_context(|| format!("no {name}"));
        let basic = client.and_then(|text| text.strip_prefix("Basic ")).context("no client")?;
        let basic = String::from_utf8(STANDARD.decode(basic)?)?;
        let (id, secret) = basic.split_once(':').context("no secret")?;
        // RFC 6749, section 2.3.1: each is encoded as in a form.
        ensure!(
            (decoded(id)?.as_str(), decoded(secret)?.as_str()) == (CLIENT, CLIENT_SECRET),
            "another client"
        );
        ensure!(field("grant_type")? == "authorization_code", "{shown:?}");
        let begun = self.codes.remove(field("code")?).context("that code was never given, or was used")?;
        ensure!(field("redirect_uri")? == &begun["redirect_uri"], "another redirect");
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier")?.as_bytes()));
        ensure!(challenge == begun["code_challenge"], "another verifier");
        let mut answer = json!({ "access_token": "unused", "token_type": "Bearer" });
        match self.lie {
            Lie::NoToken => {}
            Lie::Nonsense => answer = json!(["nonsense"]),
            _ => answer["id_token"] = self.id_token(&begun["nonce"])?.into(),
        }
        Ok(answer)
    }

    fn id_token(&self, nonce: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = self.claims.clone();
        claims["iss"] = self.issuer.clone().into();
        claims["aud"] = CLIENT.into();
        claims["nonce"] = nonce.into();
        (claims["iat"], claims["exp"]) = (now.into(), (now + 60).into());
        let mut algorithm = "EdDSA";
        match self.lie {
            Lie::Nonce => claims["nonce"] = "another".into(),
            Lie::Audience => claims["aud"] = "another".into(),
            Lie::TwoAudiences => claims["aud"] = json!([CLIENT, "another"]),
            Lie::Expired => (claims["iat"], claims["exp"]) = ((now - 120).into(), (now - 60).into()),
            Lie::Issuer => claims["iss"] = "http://127.0.0.1:1".into(),
            Lie::NoSignature => algorithm = "none",
            Lie::ClientSecret => algorithm = "HS256",
            _ => {}
        }
        let head = json!({ "alg": algorithm, "kid": self.key_id.to_string(), "typ": "JWT" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = match self.lie {
            Lie::NoSignature => Vec::new(),
            Lie::ForeignKey => key()?.sign(signed.as_bytes()).as_ref().to_vec(),
            Lie::ClientSecret => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            _ => self.key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        let signed = if self.lie == Lie::Altered {
            claims["sub"] = "subject-of-root".into();
            format!("{}.{}", part(&head), part(&claims))
        } else {
            signed
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
