//! A collector of traces: takes what the broker exports by OTLP over HTTP and remembers every span.
//!
//! It reads the protobuf itself (opentelemetry/proto/trace/v1/trace.proto), so that what is tested is what a
//! collector of somebody else would read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::wait;

/// See the module.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    accepting: AbortHandle,
}

/// One span, as it was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// The trace, in hexadecimal digits.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// Its parent's; empty: it has none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// From when, in nanoseconds since 1970.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// Its attributes whose values are texts.
    pub attributes: HashMap<String, String>,
    /// The spans it points at, as trace and span.
    pub links: Vec<(String, String)>,
    /// Why it failed; `None`: it did not.
    pub failed: Option<String>,
    /// Who exported it.
    pub service: String,
}

impl Collector {
    /// Listens on a port of its own.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = spans.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &kept).await {
                        eprintln!("collector: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, spans, accepting: accepting.abort_handle() })
    }

    /// The address as an exporter is told it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("no panic holds it").clone()
    }

    /// Waits for a span of that name that is as wanted.
    pub async fn span(&self, name: &str, wanted: impl Fn(&Span) -> bool) -> Result<Span> {
        wait::eventually(wait::SOON, &format!("a span {name}"), async || {
            let spans = self.spans();
            let found = spans.iter().find(|span| span.name == name && wanted(span));
            found.cloned().with_context(|| format!("not among {spans:#?}"))
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Span>>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let (head, end) = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8(bytes[..end].to_vec())?.to_ascii_lowercase(), end + 4);
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        ensure!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        ensure!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.context("no length")?;
        while bytes.len() < end + length {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "half a body");
        }
        let spans = request(&bytes[end..end + length])?;
        kept.lock().expect("no panic holds it").extend(spans);
        bytes.drain(..end + length);
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
            )
            .await?;
    }
}

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            Field::Number(number) => anyhow::bail!("{number} where bytes ought to be"),
        }
    }

    fn text(&self) -> Result<String> {
        Ok(std::str::from_utf8(self.bytes()?)?.to_owned())
    }

    fn hex(&self) -> Result<String> {
        Ok(self.bytes()?.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => 0,
        }
    }
}

/// The fields of a message with their numbers (protobuf.dev/programming-guides/encoding).
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8)?.try_into()?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Number(u32::from_le_bytes(take(&mut bytes, 4)?.try_into()?).into()),
            other => anyhow::bail!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    Ok(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).context("a message that is cut off")?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    anyhow::bail!("a number without end")
}

/// ExportTraceServiceRequest: resource_spans = 1 { resource = 1 { attributes = 1 }, scope_spans = 2 { spans = 2 } }.
fn request(bytes: &[u8]) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    for (_, resource_spans) in fields(bytes)? {
        let mut service = String::new();
        let of_resource = fields(resource_spans.bytes()?)?;
        for (_, resource) in of_resource.iter().filter(|(number, _)| *number == 1) {
            for (_, attribute) in fields(resource.bytes()?)?.iter().filter(|(number, _)| *number == 1) {
                let (key, value) = attribute_of(attribute.bytes()?)?;
                if key == "service.name" {
                    service = value;
                }
            }
        }
        for (_, scope_spans) in of_resource.iter().filter(|(number, _)| *number == 2) {
            for (_, span) in fields(scope_spans.bytes()?)?.iter().filter(|(number, _)| *number == 2) {
                spans.push(Span { service: service.clone(), ..span_of(span.bytes()?)? });
            }
        }
    }
    Ok(spans)
}

fn span_of(bytes: &[u8]) -> Result<Span> {
    let mut span = Span::default();
    for (number, field) in fields(bytes)? {
        match number {
            1 => span.trace = field.hex()?,
            2 => span.id = field.hex()?,
            4 => span.parent = field.hex()?,
            5 => span.name = field.text()?,
            7 => span.from = field.number(),
            8 => span.until = field.number(),
            9 => {
                let (key, value) = attribute_of(field.bytes()?)?;
                span.attributes.insert(key, value);
            }
            13 => span.links.push(link_of(field.bytes()?)?),
            15 => span.failed = failure_of(field.bytes()?)?,
            _ => {}
        }
    }
    Ok(span)
}

/// KeyValue: key = 1, value = 2 { string_value = 1 }.
fn attribute_of(bytes: &[u8]) -> Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    for (number, field) in fields(bytes)? {
        match number {
            1 => key = field.text()?,
            2 => {
                let inner = fields(field.bytes()?)?;
                if let Some((_, text)) = inner.iter().find(|(number, _)| *number == 1) {
                    value = text.text()?;
                }
            }
            _ => {}
        }
    }
    Ok((key, value))
}

/// Link: trace_id = 1, span_id = 2.
fn link_of(bytes: &[u8]) -> Result<(String, String)> {
    let (mut trace, mut span) = (String::new(), String::new());
    for (number, field) in fields(bytes)? {
        match number {
            1 => trace = field.hex()?,
            2 => span = field.hex()?,
            _ => {}
        }
    }
    Ok((trace, span))
}

/// Status: message = 2, code = 3, of which 2 is an error.
fn failure_of(bytes: &[u8]) -> Result<Option<String>> {
    let fields = fields(bytes)?;
    let failed = fields.iter().any(|(number, field)| *number == 3 && field.number() == 2);
    let message =
        fields.iter().find(|(number, _)| *number == 2).map(|(_, field)| field.text()).transpose()?;
    Ok(failed.then(|| message.unwrap_or_default()))
}
