//! Drives the link over one WebSocket until it breaks.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, Stream, StreamExt};
use moorline_link_io::LinkHandle;
use moorline_wire::Code;
use moorline_wire::link::{Input, Output};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;

use super::bond::{Bond, reap};
use super::dial::Socket;
use super::still::Still;
use crate::agent::Agent;
use crate::clock;
use crate::metrics::Metrics;

/// How long the other side may take to hear that we close.
const CLOSING: Duration = Duration::from_millis(500);

/// After so many bytes the other tasks have their turn: a keystroke's echo may be in one of them.
const TURN: usize = 64 * 1024;

/// How often it is looked, at most, whether there is a next key to show (`moorline-agent rotate-key`). It is when
/// the link's own time has come, which is once in a few seconds: so a keystroke never waits for it.
const KEY_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a WebSocket is no longer driven.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It broke, or was closed with this code.
    Broke(Code),
    /// The broker goes away and said when to come back.
    GoingAway(Duration),
    /// It is time to greet anew, with another key of this device.
    KeyChange,
    /// We leave.
    Left,
}

/// One thing that happened.
enum Happened {
    Frame(bytes::Bytes),
    Broke(Code),
    Leave,
    Time,
    Nothing,
}

/// The WebSocket, and whether it holds something that is not written yet.
struct Line {
    socket: Socket,
    unflushed: bool,
}

/// Drives the link until the WebSocket breaks or we leave. `shown`: the broker has been shown the next key of this
/// device and has not taken it, so the next connection tries again, and this one goes on.
pub async fn drive(
    socket: Socket,
    bond: &mut Bond,
    agent: &Agent,
    still: &Still,
    shown: bool,
    leave: &CancellationToken,
) -> Ended {
    let mut line = Line { socket, unflushed: false };
    let mut turns = still.watch(bond.turns_within());
    let (mut back, mut looked) = (None, clock::now());
    loop {
        while let Some(event) = bond.link.poll_event() {
            match bond.take(event, agent) {
                Some(Output::GoingAway { come_back_after }) => back = Some(come_back_after),
                Some(Output::Close(code)) => {
                    line.close(code, code.sentence()).await;
                    return Ended::Broke(code);
                }
                _ => {}
            }
        }
        let happened = tokio::select! {
            biased;
            () = leave.cancelled() => Happened::Leave,
            happened = std::future::poll_fn(|cx| line.poll(cx, &bond.link, &agent.metrics)) => happened,
            () = bond.link.stirred() => Happened::Nothing,
            () = clock::until(bond.link.poll_timeout()) => Happened::Time,
            () = reap(&mut bond.streams) => Happened::Nothing,
        };
        if let Some(stood) = turns.turned() {
            tracing::info!(?stood, "this program stood still");
            agent.metrics.stood_still();
        }
        match happened {
            Happened::Frame(frame) => {
                agent.metrics.received(frame.len());
                if let Err(violation) = bond.link.handle(clock::now(), Input::Frame(frame)) {
                    tracing::warn!(code = %violation.code, what = violation.what, "the broker broke a rule of the link");
                    line.close(violation.code, violation.what).await;
                    return Ended::Broke(violation.code);
                }
            }
            Happened::Time => {
                let now = clock::now();
                bond.link.handle_timeout(now);
                if !shown && now.saturating_duration_since(looked) >= KEY_LOOK_EVERY {
                    looked = now;
                    if agent.has_next_identity() {
                        return Ended::KeyChange;
                    }
                }
            }
            Happened::Nothing => {}
            Happened::Broke(code) => return back.map_or(Ended::Broke(code), Ended::GoingAway),
            Happened::Leave => {
                bond.link.reset_streams(Code::AGENT_STOPPED);
                bond.streams.shutdown().await;
                line.say_goodbye(&bond.link, &agent.metrics).await;
                return Ended::Left;
            }
        }
    }
}

impl Line {
    /// Sends what the link has as far as the WebSocket takes it; ready with a message, or the end.
    fn poll(&mut self, cx: &mut Context<'_>, link: &LinkHandle, metrics: &Metrics) -> Poll<Happened> {
        if let Poll::Ready(code) = self.poll_send(cx, link, metrics) {
            return Poll::Ready(Happened::Broke(code));
        }
        loop {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => message,
                Some(Err(err)) => {
                    tracing::debug!(%err, "the WebSocket broke");
                    return Poll::Ready(Happened::Broke(Code::LINK_DEAD));
                }
                None => return Poll::Ready(Happened::Broke(Code::LINK_DEAD)),
            };
            match message {
                Message::Binary(frame) => return Poll::Ready(Happened::Frame(frame)),
                Message::Close(frame) => {
                    return Poll::Ready(Happened::Broke(super::closed_with(frame.as_ref())));
                }
                Message::Ping(_) | Message::Pong(_) => self.unflushed = true,
                Message::Text(_) | Message::Frame(_) => return Poll::Ready(Happened::Broke(Code::PROTOCOL)),
            }
        }
    }

    /// Ready only when the WebSocket is broken. What it does not take stays in the link, where more
    /// urgent bytes can still go ahead of it.
    fn poll_send(&mut self, cx: &mut Context<'_>, link: &LinkHandle, metrics: &Metrics) -> Poll<Code> {
        let broken = |_| Code::LINK_DEAD;
        let mut turn = 0;
        loop {
            if turn >= TURN {
                self.unflushed = true;
                // It is never ready at once, and comes back when the others had their turn.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                break;
            }
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(err)) => return Poll::Ready(broken(err)),
                Poll::Pending => {
                    // What it took before is not written yet.
                    self.unflushed = true;
                    return Poll::Pending;
                }
            }
            let Some(frame) = link.poll_transmit(clock::now()) else { break };
            metrics.sent(frame.len());
            turn += frame.len();
            if let Err(code) = Pin::new(&mut self.socket).start_send(Message::Binary(frame)).map_err(broken) {
                return Poll::Ready(code);
            }
            self.unflushed = true;
        }
        if self.unflushed {
            if let Err(code) = ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(broken) {
                return Poll::Ready(code);
            }
            self.unflushed = false;
        }
        Poll::Pending
    }

    /// Closes, and reads until the other side has closed, too: a connection that is dropped with
    /// something unread in it is reset, and a reset may overtake what we said last.
    async fn close(&mut self, code: Code, reason: &str) {
        let frame = CloseFrame { code: code.number().into(), reason: reason.into() };
        let closed = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = clock::within(CLOSING, "closing the WebSocket", closed).await;
    }

    /// Sends the resets of our streams, then closes.
    async fn say_goodbye(&mut self, link: &LinkHandle, metrics: &Metrics) {
        let send = std::future::poll_fn(|cx| match self.poll_send(cx, link, metrics) {
            Poll::Pending if self.unflushed => Poll::Pending,
            _ => Poll::Ready(()),
        });
        let _ = clock::within(CLOSING, "sending the last frames", send).await;
        self.close(Code::CANCELLED, "the agent stops").await;
    }
}
