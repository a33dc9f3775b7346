//! TLS as browsers and agents meet it: an authority of the test's own, certificates by it, and HTTPS by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::broker::Answer;
use crate::stage::Stage;

/// Who signs certificates, in a folder of the stage.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    folder: PathBuf,
}

impl Authority {
    /// A new one; what it writes is in the stage's folder of that name.
    pub fn new(stage: &Stage, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("tests' authority {name}"));
        (params.not_before, params.not_after) = (date_time_ymd(1970, 1, 1), date_time_ymd(2099, 1, 1));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let folder = stage.folder(name);
        std::fs::write(folder.join("ca.pem"), certificate.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), certificate: certificate.der().clone(), folder })
    }

    /// The file with its own certificate.
    pub fn file(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    /// The files of the broker's certificate and key.
    pub fn files(&self) -> (String, String) {
        let file = |name: &str| self.folder.join(name).display().to_string();
        (file("broker.pem"), file("broker.key"))
    }

    /// Writes a new certificate for this machine and the name, until that year, and its key; gives it.
    pub fn issue(&self, name: &str, until: i32) -> Result<CertificateDer<'static>> {
        let names = ["127.0.0.1", "localhost", name].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date_time_ymd(1971, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let (file, key_file) = self.files();
        std::fs::write(file, certificate.pem())?;
        std::fs::write(&key_file, key.serialize_pem())?;
        std::fs::set_permissions(key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(certificate.der().clone())
    }

    /// Somebody who trusts this authority and no other.
    pub fn trusted(&self) -> Result<Secure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Secure { config: Arc::new(config) })
    }
}

/// Speaks TLS, and checks whom it speaks to.
#[derive(Debug, Clone)]
pub struct Secure {
    /// What it trusts.
    pub config: Arc<ClientConfig>,
}

impl Secure {
    async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::from(address.ip());
        Ok(TlsConnector::from(self.config.clone()).connect(name, stream).await?)
    }

    /// The certificate that is shown to a new connection.
    pub async fn shown(&self, address: SocketAddr) -> Result<CertificateDer<'static>> {
        let stream = self.connect(address).await?;
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        Ok(shown.context("no certificate")?.clone().into_owned())
    }

    /// Sends the request on a connection of its own.
    pub async fn send(&self, address: SocketAddr, request: reqwest::Request) -> Result<Answer> {
        let query = request.url().query().map(|query| format!("?{query}")).unwrap_or_default();
        let host = request
            .headers()
            .get("host")
            .map_or(address.to_string(), |host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let mut head = format!(
            "{} {}{query} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n",
            request.method(),
            request.url().path(),
        );
        for (name, value) in request.headers().iter().filter(|(name, _)| *name != "host") {
            head += &format!("{name}: {}\r\n", value.to_str()?);
        }
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = self.connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parsed(&answer)
    }
}

fn parsed(bytes: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    ensure!(!head.to_ascii_lowercase().contains("transfer-encoding"), "this client knows no chunks: {head}");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(Answer {
        status,
        json: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
        headers,
    })
}
