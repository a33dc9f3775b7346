//! The pages: files of the web build, embedded into the program, sent as they were compressed.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use moorline_wire::Code;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
struct Assets;

/// What `/` says when the pages were not built.
const NOT_BUILT: &str = "The pages of Moorline were not built into this broker: run `make up`, or `npm ci && npm run \
                         build` in web/ and build the broker again.\n";

/// Compressions that the web build lays beside a file, the best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The page: the same file for every address that a person may see in the browser.
pub(super) async fn page(req: HttpRequest) -> HttpResponse {
    match sent(&req, "index.html") {
        Some(answer) => answer,
        None => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(NOT_BUILT),
    }
}

/// Any other file of the web build.
pub(super) async fn file(req: HttpRequest, path: Path<String>) -> Result<HttpResponse, Problem> {
    // The compressed copies are not files of their own; the page has its own addresses.
    let hidden = ENCODINGS.iter().any(|(_, suffix)| path.ends_with(suffix)) || *path == "index.html";
    let plain = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && !path.contains(['\\', '\0']);
    if hidden || !plain {
        return Err(Problem::new(Code::UNKNOWN));
    }
    sent(&req, &path).ok_or_else(|| Problem::new(Code::UNKNOWN))
}

/// The file in the best encoding that the browser takes; `None` when there is no such file.
fn sent(req: &HttpRequest, path: &str) -> Option<HttpResponse> {
    let plain = Assets::get(path)?;
    let (file, encoding) =
        encoded(req.headers(), path).map_or((plain, None), |(file, name)| (file, Some(name)));
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let known = req.headers().get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let unchanged =
        known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));

    let mut answer = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, etag))
        .insert_header((header::VARY, "Accept-Encoding"))
        .insert_header((header::CACHE_CONTROL, caching(path)));
    if unchanged {
        return Some(answer.finish());
    }
    answer.insert_header((header::CONTENT_TYPE, kind(path)));
    if let Some(encoding) = encoding {
        answer.insert_header((header::CONTENT_ENCODING, encoding));
    }
    Some(answer.body(file.data.into_owned()))
}

fn encoded(headers: &HeaderMap, path: &str) -> Option<(EmbeddedFile, &'static str)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    ENCODINGS
        .iter()
        .filter(|(name, _)| accepts(accepted, name))
        .find_map(|(name, suffix)| Assets::get(&format!("{path}{suffix}")).map(|file| (file, *name)))
}

/// Whether `Accept-Encoding` names the encoding and does not refuse it with `q=0` (RFC 9110 section 12.5.3).
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        named && !refused
    })
}

/// Names under `assets/` hold a hash of the content; everything else may change with a new broker.
fn caching(path: &str) -> &'static str {
    match path {
        "index.html" => "no-store",
        _ if path.starts_with("assets/") => "public, max-age=31536000, immutable",
        _ => "no-cache",
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_counts_when_it_is_named_and_not_refused() {
        for (accepted, br) in [
            ("gzip, br", true),
            ("BR;q=0.5", true),
            ("br;q=0", false),
            ("br; q=0.000", false),
            ("gzip", false),
            ("*", false),
        ] {
            assert_eq!(accepts(accepted, "br"), br, "{accepted}");
        }
    }
}
