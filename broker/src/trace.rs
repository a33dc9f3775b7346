//! Traces: one for each set-up of a session, with a span for each step of it, and one for each time that a
//! session is taken up again, which points at the set-up.
//!
//! ```text
//! (the caller's, by `traceparent`)
//! └─ session ─┬─ authorize ─┬─ store ─┬─ stream ─┬─ kex ─┬─ auth ─┬─ keeper ─┬─ first_byte
//!             └─ ticket
//! resume ──link──→ session
//! ```
//! Every session has a trace id, also where traces are not sent anywhere: it stands in the lines of the log
//! and in the session's detail, and so binds what was logged in several places together. Only these spans
//! are sent (their target is [`TARGET`]): a span that lasts as long as its actor would be sent at its end.

use std::fmt;
use std::str::FromStr;

use moorline_wire::Code;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metrics::Leg;

/// What tells the spans that are sent from those that only stand in the log.
pub const TARGET: &str = "moorline_trace";

/// Where a span is: what other spans can point at, and what is kept in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl Place {
    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    fn of(context: &SpanContext) -> Option<Self> {
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        context.is_valid().then_some(Self { trace, span, flags })
    }

    fn random() -> Self {
        Self {
            trace: TraceId::from_bytes(rand::random()),
            span: SpanId::from_bytes(rand::random()),
            flags: TraceFlags::default(),
        }
    }

    fn context(&self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, TraceState::default())
    }
}

/// As `traceparent` of W3C Trace Context, version 00.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

/// This is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct NoPlace;

/// W3C Trace Context, section 3.2: later versions may have more at the end, and `ff` is none.
impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.splitn(5, '-');
        let mut part = |length: usize| {
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            parts.next().filter(|part| part.len() == length && part.bytes().all(lower)).ok_or(NoPlace)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(NoPlace);
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NoPlace)?;
        let place = Self {
            trace: TraceId::from_hex(trace).map_err(|_| NoPlace)?,
            span: SpanId::from_hex(span).map_err(|_| NoPlace)?,
            // Of the flags, only the first means something in version 00.
            flags: TraceFlags::new(flags) & TraceFlags::SAMPLED,
        };
        if place.trace == TraceId::INVALID || place.span == SpanId::INVALID {
            Err(NoPlace)
        } else {
            Ok(place)
        }
    }
}

/// A trace that is being made. Its span ends when this is dropped.
#[derive(Debug, Clone)]
pub struct Trace {
    span: Span,
    place: Place,
}

impl Trace {
    /// A session is asked for; `caller` is what asked, if it is traced itself.
    pub fn session(caller: Option<&Place>) -> Self {
        let span = info_span!(target: TARGET, parent: None, "session", session = tracing::field::Empty);
        below(&span, caller);
        let place = place_of(&span).unwrap_or_else(|| {
            let own = Place::random();
            caller.map_or(own, |caller| Place { trace: caller.trace, flags: caller.flags, ..own })
        });
        Self { span, place }
    }

    /// A session is taken up again over this leg.
    pub fn resume(leg: Leg) -> Self {
        let span = info_span!(target: TARGET, parent: None, "resume", leg = leg.label());
        let place = place_of(&span).unwrap_or_else(Place::random);
        Self { span, place }
    }

    /// It has to do with what happened there.
    pub fn points_at(&self, place: Option<&Place>) {
        if let Some(place) = place {
            self.span.add_link(place.context());
        }
    }

    /// A part of it, which ends when the span is dropped.
    pub fn step(&self, name: &str) -> Span {
        info_span!(target: TARGET, parent: &self.span, "step", otel.name = name)
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Which session it is about.
    pub fn is_of(&self, session: &moorline_wire::SessionId) {
        self.span.set_attribute("session", session.to_string());
    }

    /// It ends with a failure.
    pub fn failed(&self, code: Code) {
        self.span.set_status(Status::error(code.name()));
    }
}

/// A request whose caller is traced: a span of ours below the caller's, until it is dropped.
pub fn request(caller: &Place, method: &str) -> Span {
    let span = info_span!(
        target: TARGET, parent: None, "request",
        otel.kind = "server", method, trace_id = caller.trace_id(), status = tracing::field::Empty,
    );
    below(&span, Some(caller));
    span
}

/// A part of a trace whose other parts are over.
pub fn late_step(place: &Place, name: &str) -> Span {
    let span = info_span!(target: TARGET, parent: None, "step", otel.name = name);
    below(&span, Some(place));
    span
}

/// Where a span is, if it is sent.
pub fn place_of(span: &Span) -> Option<Place> {
    Place::of(span.context().span().span_context())
}

fn below(span: &Span, caller: Option<&Place>) {
    if let Some(caller) = caller {
        // Fails where nothing is sent.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller.context()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_w3c_says() {
        let place: Place = CALLER.parse().unwrap();
        assert_eq!((place.to_string(), place.trace_id()), (CALLER.to_owned(), CALLER[3..35].to_owned()));
        // A later version may go on, and what its flags mean we do not know.
        let later: Place = CALLER.replace("00-4", "cc-4").replace("-01", "-ff-more").parse().unwrap();
        assert_eq!(later, place);
        let hostile = [
            "",
            "00",
            &CALLER[..54],
            &CALLER.to_uppercase(),
            &CALLER.replace("00-4", "ff-4"),
            &CALLER.replace("-01", "-01-more"),
            &CALLER.replace("-01", "-0g"),
            &CALLER.replace("00f067aa0ba902b7", "0000000000000000"),
            &CALLER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &"0".repeat(100_000),
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ];
        for text in hostile {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "{text:?}");
        }
    }

    #[test]
    fn without_a_collector_a_session_has_a_trace_id_that_is_its_callers_or_its_own() {
        let caller: Place = CALLER.parse().unwrap();
        let below = Trace::session(Some(&caller));
        assert_eq!(below.place().trace_id(), caller.trace_id());
        assert_ne!(below.place().span, caller.span);
        let (one, other) = (Trace::session(None), Trace::session(None));
        assert_ne!(one.place(), other.place());
        assert_eq!(one.place().to_string().parse(), Ok(*one.place()));
    }
}
