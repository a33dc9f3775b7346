//! Requests to the provider: nothing is followed, and no answer is longer than it may be. How long one may take is
//! limited by whoever asks.

use std::future::Future;
use std::pin::Pin;

use moorline_wire::Code;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::problem::Problem;

/// Longer than any list of keys.
const BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Fetcher(reqwest::Client);

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("asking the login provider")]
    Http(#[from] reqwest::Error),
    #[error("it is not well: it answers with {0}")]
    Broken(reqwest::StatusCode),
    #[error("its answer is longer than it may be")]
    TooLong,
    #[error("its answer is not of the form that it should be")]
    Malformed(#[from] openidconnect::http::Error),
}

impl Fetcher {
    /// A connection of its own: logins are rare, and what was open would go stale.
    pub(super) fn new() -> Result<Self, Problem> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        client.map(Self).map_err(|e| Problem::new(Code::PROVIDER_FAILED).because(e))
    }
}

impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut answer = self.0.execute(request.try_into()?).await?;
            if answer.status().is_server_error() {
                return Err(FetchError::Broken(answer.status()));
            }
            let mut head = openidconnect::http::Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                head = head.header(name, value);
            }
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await? {
                if body.len() + piece.len() > BYTES_MAX {
                    return Err(FetchError::TooLong);
                }
                body.extend_from_slice(&piece);
            }
            Ok(head.body(body)?)
        })
    }
}
