//! The WebSocket under the link, and how it comes back when it breaks.
//!
//! `dial` opens one, `greet` says who we are, `drive` moves the link's frames over it until it breaks,
//! `bond` is what lasts meanwhile, `backoff` says when to try again, `still` notices that we stood still.

use std::time::Duration;

use moorline_wire::Code;
use moorline_wire::link::Attach;
use moorline_wire::link::greeting::Welcome;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;

mod backoff;
mod bond;
mod dial;
mod drive;
mod greet;
mod install_key;
mod proxy;
mod still;

pub use backoff::{Backoff, Outcome};
pub use dial::{DialError, Dialer, Socket};
pub use greet::GreetingError;
pub use install_key::InstallKey;

use bond::Bond;
use drive::Ended;
use still::Still;

use crate::agent::Agent;
use crate::metrics::Metrics;
use crate::{Problem, clock};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error(transparent)]
    Late(#[from] clock::TooLate),
    #[error("the broker resumes a link that is over here")]
    OutOfStep,
}

/// Keeps a connection to the broker until it is time to leave.
pub async fn run(agent: &Agent, dialer: &Dialer, leave: &CancellationToken) {
    let mut backoff = Backoff::new(&agent.config.timing);
    let mut bond: Option<Bond> = None;
    let mut wait = Duration::ZERO;
    let still = Still::default();
    loop {
        let resume = bond.as_ref().filter(|bond| bond.link.is_resumable()).map(|bond| bond.resume.clone());
        let shown = agent.has_next_identity();
        let attempt = async {
            clock::pass(wait).await;
            connect(agent, dialer, resume.as_deref(), still.untold_ms()).await
        };
        let connected = tokio::select! {
            biased;
            () = leave.cancelled() => return,
            connected = away(&mut bond, agent, attempt) => connected,
        };
        let key_changes = connected.as_ref().is_ok_and(|(_, welcome)| key_changes(agent, welcome, shown));
        let outcome = match connected
            .and_then(|(socket, welcome)| Ok((socket, take_up(&mut bond, &welcome, agent)?)))
        {
            Ok((socket, bond)) => {
                let since = clock::now();
                still.told();
                let ended = if key_changes {
                    // The link goes on with the next connection.
                    Ended::KeyChange
                } else {
                    drive::drive(socket, bond, agent, &still, shown, leave).await
                };
                bond.disconnected();
                backoff.may_take(bond.may_take());
                agent.metrics.disconnected(matches!(ended, Ended::Broke(_)));
                match ended {
                    Ended::Left => return,
                    Ended::GoingAway(back) => Outcome::Told(back),
                    Ended::KeyChange => Outcome::Told(Duration::ZERO),
                    Ended::Broke(code) => {
                        tracing::info!(%code, stood = ?clock::now() - since, "the connection to the broker broke");
                        broke(code, since, bond.link.is_resumable())
                    }
                }
            }
            Err(failure) => {
                count(&agent.metrics, &failure);
                failed(&failure)
            }
        };
        wait = backoff.after(clock::now(), outcome, rand::random());
        tracing::debug!(?wait, "dialling again after a while");
    }
}

/// Keeps the link's time, if there is one, until `io` is done; a link that is over is given up.
async fn away<T>(bond: &mut Option<Bond>, agent: &Agent, io: impl Future<Output = T>) -> T {
    let Some(kept) = bond else { return io.await };
    let done = kept.while_away(agent, io).await;
    if kept.is_lost() {
        *bond = None;
    }
    done
}

async fn connect(
    agent: &Agent,
    dialer: &Dialer,
    resume: Option<&str>,
    stood_still_ms: u32,
) -> Result<(Socket, Welcome), Failure> {
    let mut socket = dialer.dial().await?;
    let greeting = greet::greet(&mut socket, agent, resume, stood_still_ms);
    let welcome = clock::within(agent.config.timing.greeting, "the greeting", Box::pin(greeting)).await??;
    Ok((socket, welcome))
}

/// Whether it is time to greet anew because of this device's key: to use the one that the broker has just taken,
/// which ends the one before, or to show it the one that it asks for.
fn key_changes(agent: &Agent, welcome: &Welcome, shown: bool) -> bool {
    if welcome.next_key_taken || !welcome.key_asked || shown {
        return welcome.next_key_taken;
    }
    match agent.make_next_identity() {
        Ok(()) => true,
        Err(problem) => {
            tracing::warn!(%problem, "the broker asks for another key of this device, and none can be made");
            false
        }
    }
}

/// Greets once, for `moorline-agent enroll`, and closes: whether the broker takes this device, and as what.
pub async fn introduce(agent: &Agent, dialer: &Dialer) -> Result<Welcome, Problem> {
    let (mut socket, welcome) = connect(agent, dialer, None, 0).await.map_err(|failure| {
        let cause = std::error::Error::source(&failure).map(|cause| format!(": {cause}")).unwrap_or_default();
        match failure {
            Failure::Greeting(GreetingError::Refused(refused)) => {
                // It is printed on a terminal, and not yet known whose broker it is.
                let text: String = refused.text.chars().filter(|c| !c.is_control()).take(400).collect();
                Problem::new(refused.code).saying(format!("The broker refused this device: {text}"))
            }
            Failure::Greeting(GreetingError::Untrusted(why)) => Problem::new(Code::BROKER_UNTRUSTED).saying(
                format!("The broker is not to be trusted: {why}. {}", Code::BROKER_UNTRUSTED.remedy()),
            ),
            Failure::Greeting(GreetingError::Own(problem)) => problem,
            failure => Problem::new(Code::LINK_DEAD).saying(format!(
                "The broker was not reached: {failure}{cause}. Check its address and the network between."
            )),
        }
    })?;
    // Whether the broker hears of it: it notices by itself.
    let _ = clock::within(Duration::from_millis(500), "closing the WebSocket", socket.close(None)).await;
    Ok(welcome)
}

/// The link that goes on, or a new one.
fn take_up<'a>(
    bond: &'a mut Option<Bond>,
    welcome: &Welcome,
    agent: &Agent,
) -> Result<&'a mut Bond, Failure> {
    let attach = match bond {
        None if welcome.resumed => return Err(Failure::OutOfStep),
        Some(_) if welcome.resumed => Attach::Resumed,
        _ => Attach::Fresh,
    };
    if attach == Attach::Fresh {
        // Streams of a former link are cancelled here, and with them their sessions.
        *bond = Some(Bond::new(welcome, agent.config.limits.streams));
    }
    let taken = bond.as_mut().expect("a link was there or was just made");
    taken.connected(attach, welcome).map_err(GreetingError::Violation)?;
    agent.metrics.connected(welcome.resumed);
    tracing::info!(epoch = welcome.epoch, resumed = welcome.resumed, "connected to the broker");
    Ok(taken)
}

fn count(metrics: &Metrics, failure: &Failure) {
    match failure {
        Failure::Dial(_) => metrics.not_dialled(),
        Failure::Greeting(_) | Failure::Late(_) | Failure::OutOfStep => metrics.not_greeted(),
    }
}

fn broke(code: Code, since: std::time::Instant, resumable: bool) -> Outcome {
    if bond::needs_a_person(code) {
        tracing::warn!(%code, "{} {}", code.sentence(), code.remedy());
        return Outcome::Refused;
    }
    Outcome::Broke { since, resumable }
}

/// Says what went wrong, in words of the table where there are some, and how long to wait for it.
fn failed(failure: &Failure) -> Outcome {
    let (code, told) = match failure {
        Failure::Greeting(GreetingError::Refused(refused)) => (Some(refused.code), refused.retry_after_ms),
        Failure::Greeting(GreetingError::Untrusted(_)) => (Some(Code::BROKER_UNTRUSTED), None),
        Failure::Greeting(GreetingError::Version { .. }) | Failure::Dial(DialError::Subprotocol) => {
            (Some(Code::VERSION), None)
        }
        Failure::Greeting(GreetingError::Closed(code)) => (Some(*code), None),
        Failure::Dial(DialError::Status { retry_after, .. }) => {
            (None, retry_after.map(|seconds| seconds.saturating_mul(1000)))
        }
        _ => (None, None),
    };
    let cause = std::error::Error::source(failure).map(ToString::to_string).unwrap_or_default();
    match code {
        Some(code) => {
            tracing::warn!(%code, %failure, cause, "no connection to the broker. {}", code.remedy())
        }
        None => tracing::warn!(%failure, cause, "no connection to the broker"),
    }
    match (told, code) {
        (Some(ms), _) => Outcome::Told(Duration::from_millis(ms.into())),
        (None, Some(code)) if bond::needs_a_person(code) => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

/// What a close frame says.
fn closed_with(frame: Option<&CloseFrame>) -> Code {
    let number = frame.map_or(0, |frame| u16::from(frame.code));
    Code::ALL.iter().copied().find(|code| code.number() == number).unwrap_or(Code::LINK_DEAD)
}
