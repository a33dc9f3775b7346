//! Logging in by an OpenID Connect provider (<https://openid.net/specs/openid-connect-core-1_0.html>): the
//! authorization code flow with PKCE, a state and a nonce.
//!
//! - [`Provider::begin`]: where a browser is sent, and what it keeps meanwhile (`flow`: sealed, so that nothing is
//!   kept here and nothing can be planted)
//! - [`Provider::finish`]: what the provider says of who came back: a `claims::Claims`, of a token whose signature,
//!   issuer, audience, nonce and time were checked
//! - `fetch`: requests to the provider, bounded in time and size
//!
//! The provider is asked for its addresses and keys when they are first needed: the broker starts while it is away.
//! Whose account that is here is decided in [`crate::identity`].

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moorline_wire::Code;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Secret;
use crate::clock;
use crate::config::{Config, Oidc};
use crate::metrics::{Metrics, Wait};
use crate::problem::Problem;

mod claims;
mod fetch;
mod flow;

pub use claims::{Claims, role_line};
pub use flow::{Flow, Purpose, Sealed};

/// How long the provider's addresses and keys are taken as they were told.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// A key that is not among them is asked for at once, but not more often than this.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A provider that did not answer is not asked again within this time: whoever comes is told at once.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(2);

/// So many logins are finished at once; each is a request to the provider.
const AT_ONCE: usize = 16;

/// Signatures with keys of the provider. Not `none`, and none that is made with the secret that we have, too.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 10] = [
    CoreJwsSigningAlgorithm::EdDsa,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EcdsaP521Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
];

/// A client with what discovery tells.
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider, if one is set.
pub struct Provider {
    config: Arc<Config>,
    metrics: Metrics,
    key: flow::Key,
    turns: Semaphore,
    /// Held while it is asked for, so that it is asked once.
    asking: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

/// What the provider told last, and when it did not.
#[derive(Default)]
struct Known {
    told: Option<(Arc<CoreProviderMetadata>, Instant)>,
    failed: Option<Instant>,
}

/// Refuses settings with which nobody could log in: before anything starts.
pub fn check(config: &Oidc) -> Result<(), Problem> {
    if config.issuer.is_empty() {
        return Ok(());
    }
    secret_of(config).map(drop)
}

/// The secret that the client shows; `None`: it has none.
fn secret_of(config: &Oidc) -> Result<Option<Zeroizing<String>>, Problem> {
    let Some(path) = &config.client_secret_file else { return Ok(None) };
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text));
    let secret = Zeroizing::new(text.trim().to_owned());
    match read {
        Ok(_) if !secret.is_empty() => Ok(Some(secret)),
        Ok(_) => Err(unusable_secret(path, &"it is empty")),
        Err(e) => Err(unusable_secret(path, &e)),
    }
}

fn unusable_secret(path: &std::path::Path, why: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::BAD_CONFIG).saying(format!(
        "oidc.client_secret_file {} cannot be used: {why}. Write the client's secret there, on one line.",
        path.display()
    ))
}

impl Provider {
    /// The provider of the settings; `None`: there is none.
    pub fn of(config: &Arc<Config>, metrics: &Metrics) -> Option<Self> {
        let named = !config.oidc.issuer.is_empty();
        named.then(|| Self {
            config: config.clone(),
            metrics: metrics.clone(),
            key: flow::Key::fresh(),
            turns: Semaphore::new(AT_ONCE),
            asking: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// Who it is.
    pub fn issuer(&self) -> &str {
        &self.config.oidc.issuer
    }

    /// Begins a login: the address to which the browser goes, and what it brings back as a cookie.
    pub async fn begin(
        &self,
        redirect: &str,
        purpose: Purpose,
        back: &str,
    ) -> Result<(String, Sealed), Problem> {
        let client = self.client(KNOWN_FOR).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut asked = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .set_redirect_uri(std::borrow::Cow::Owned(redirect_of(redirect)?))
            .set_pkce_challenge(challenge);
        for scope in &self.config.oidc.scopes {
            asked = asked.add_scope(Scope::new(scope.clone()));
        }
        let (address, state, nonce) = asked.url();
        let flow = Flow {
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
            redirect: redirect.to_owned(),
            back: back.to_owned(),
            purpose,
            until: flow::end(clock::wall()),
        };
        Ok((address.to_string(), self.key.seal(&flow)?))
    }

    /// The login that this browser began. LOGIN_LOST: it began none, or too long ago, or in a former process.
    pub fn resumed(&self, cookie: &str, state: &str) -> Result<Flow, Problem> {
        let flow = self.key.open(cookie, clock::wall());
        flow.filter(|flow| flow.has_state(state)).ok_or_else(|| Problem::new(Code::LOGIN_LOST))
    }

    /// What the provider says of who came back with this code.
    pub async fn finish(&self, flow: &Flow, code: Secret) -> Result<Claims, Problem> {
        let _turn = self.turns.try_acquire().map_err(|_| Problem::new(Code::OVERLOADED))?;
        let client = self.client(KNOWN_FOR).await?;
        let token = self.token_for(&client, flow, code).await?;
        let nonce = Nonce::new(flow.nonce.clone());
        let checked = match checked(&client, &token, &nonce) {
            // A key that came after we were told: it is asked for once more.
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => checked(&self.client(ASKED_AGAIN_AFTER).await?, &token, &nonce),
            checked => checked,
        };
        checked.map_err(refused)?;
        Claims::of_checked(&token.to_string()).ok_or_else(|| {
            refused(anyhow::anyhow!("what it says of the account is not of the form that it should be"))
        })
    }

    async fn token_for(&self, client: &Client, flow: &Flow, code: Secret) -> Result<CoreIdToken, Problem> {
        let fetcher = fetch::Fetcher::new()?;
        let redirect = redirect_of(&flow.redirect)?;
        let asked = client
            .exchange_code(AuthorizationCode::new(code.reveal().to_owned()))
            .map_err(failed)?
            .set_redirect_uri(std::borrow::Cow::Owned(redirect))
            .set_pkce_verifier(PkceCodeVerifier::new(flow.verifier.clone()));
        let answer =
            clock::within(self.config.timing.provider, Wait::Provider, asked.request_async(&fetcher));
        let answer = answer.await.map_err(|late| {
            self.metrics.timeout(late.what);
            failed(late)
        })?;
        let answer = answer.map_err(|e| match e {
            RequestTokenError::Request(e) => failed(e),
            // It does not take the code, or says something that is no token.
            other => refused(other),
        })?;
        let token = answer.id_token().cloned();
        token.ok_or_else(|| refused(anyhow::anyhow!("it gave no ID token")))
    }

    /// A client that knows what was told at most so long ago.
    async fn client(&self, age_max: Duration) -> Result<Client, Problem> {
        let metadata = self.metadata(age_max).await?;
        let secret = secret_of(&self.config.oidc)?;
        Ok(CoreClient::from_provider_metadata(
            metadata.as_ref().clone(),
            ClientId::new(self.config.oidc.client_id.clone()),
            secret.map(|secret| ClientSecret::new(secret.to_string())),
        ))
    }

    async fn metadata(&self, age_max: Duration) -> Result<Arc<CoreProviderMetadata>, Problem> {
        let _asking = self.asking.lock().await;
        if let Some(told) = self.told(age_max)? {
            return Ok(told);
        }
        let asked = self.discovered().await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known { told: Some((metadata.clone(), clock::now())), failed: None };
                Ok(metadata)
            }
            Err(problem) => {
                known.failed = Some(clock::now());
                tracing::warn!(issuer = self.issuer(), cause = problem.chain(), "the login provider is away");
                Err(problem)
            }
        }
    }

    /// What was told not too long ago. `Err`: it has just not answered.
    fn told(&self, age_max: Duration) -> Result<Option<Arc<CoreProviderMetadata>>, Problem> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: Instant| clock::now().saturating_duration_since(at);
        let young = known.told.as_ref().filter(|(_, at)| age(*at) < age_max);
        match young {
            Some((told, _)) => Ok(Some(told.clone())),
            None if known.failed.is_some_and(|at| age(at) < LEFT_ALONE_FOR) => {
                Err(Problem::new(Code::PROVIDER_FAILED))
            }
            None => Ok(None),
        }
    }

    async fn discovered(&self) -> Result<CoreProviderMetadata, Problem> {
        let issuer = IssuerUrl::new(self.issuer().to_owned()).map_err(failed)?;
        let fetcher = fetch::Fetcher::new()?;
        let asked = CoreProviderMetadata::discover_async(issuer, &fetcher);
        match clock::within(self.config.timing.provider, Wait::Provider, asked).await {
            Ok(metadata) => metadata.map_err(failed),
            Err(late) => {
                self.metrics.timeout(late.what);
                Err(failed(late))
            }
        }
    }
}

fn redirect_of(address: &str) -> Result<RedirectUrl, Problem> {
    RedirectUrl::new(address.to_owned()).map_err(failed)
}

/// Signature, issuer, audience, nonce and time.
fn checked(client: &Client, token: &CoreIdToken, nonce: &Nonce) -> Result<(), ClaimsVerificationError> {
    let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    token.claims(&verifier, nonce).map(drop)
}

fn failed(e: impl Into<anyhow::Error>) -> Problem {
    Problem::new(Code::PROVIDER_FAILED).because(e)
}

fn refused(e: impl Into<anyhow::Error>) -> Problem {
    Problem::new(Code::PROVIDER_REFUSED).because(e)
}
