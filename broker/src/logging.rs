//! The log and the traces: lines for a person on a terminal, JSON for a service, OTLP on wish.
//!
//! Every control character is escaped, so that what a peer chose (a name, a path) can neither
//! forge a line nor act on the terminal of whoever reads it. A panic is logged by its place only:
//! its message may hold what a person typed.
//!
//! - `switch`: the filter of the log, which can be changed while the broker runs
//! - `traces`: where traces are sent

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use moorline_wire::Code;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::field::Field;
use tracing::{Level, Metadata};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, filter, reload};

use crate::config::{Config, LogFormat};
use crate::problem::Problem;
use crate::trace::TARGET;

mod switch;
mod traces;

pub use switch::{Filter, filter, set_filter};

/// Sends what is left of the traces when it is dropped.
pub struct Log {
    traces: Option<SdkTracerProvider>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(Err(e)) = self.traces.take().map(|traces| traces.shutdown()) {
            tracing::warn!(error = %e, "the last traces were not sent");
        }
    }
}

/// Starts the log as the settings say. To be called once, before any runtime: the exporter of
/// the traces brings a thread and a blocking client of its own.
pub fn start(config: &Config) -> Result<Log, Problem> {
    let filter = switch::parsed(&config.log.filter).map_err(|why| {
        let text = format!("log.filter = {:?} cannot be used: {why}.", config.log.filter);
        Problem::new(Code::BAD_CONFIG).saying(format!("{text} A level such as info will do."))
    })?;
    let traces = traces::provider(&config.tracing)?;
    let spans = traces.as_ref().map(|traces| {
        // Only what is meant to be sent: an exporter would trace its own client.
        let sent = filter::filter_fn(|of| of.target() == TARGET).with_max_level_hint(Level::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("moorline-broker"));
        layer.with_location(false).with_threads(false).with_tracked_inactivity(false).with_filter(sent)
    });
    let (filter, handle) = reload::Layer::new(filter);
    // The hints: without them, every trace point of every library would be looked at.
    let harmless = filter::filter_fn(harmless).with_max_level_hint(Level::TRACE);
    let audit = filter::filter_fn(is_audit).with_max_level_hint(Level::INFO);
    let told = filter.and(harmless).or(audit);
    let lines = lines(config.log.format, io::stdout).with_filter(told);
    tracing_subscriber::registry().with(lines).with(spans).try_init().map_err(|e| {
        Problem::new(Code::INTERNAL)
            .saying("The log could not be started. This is a fault of Moorline: report it.")
            .because(e)
    })?;
    switch::install(handle, &config.log.filter);
    log_panics();
    Ok(Log { traces })
}

/// Below INFO, libraries write down what they carry: keys, tokens, frames. Whatever the filter says,
/// that stays out. And rustls warns of what strangers send, as often as they send it.
fn harmless(of: &Metadata<'_>) -> bool {
    let most = match of.target() {
        target if target.starts_with("moorline") => Level::TRACE,
        target if target.starts_with("rustls") => Level::ERROR,
        _ => Level::INFO,
    };
    *of.level() <= most
}

/// Who did what is told whatever the filter says: nobody switches that off and then does something.
fn is_audit(of: &Metadata<'_>) -> bool {
    of.target() == "audit"
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn lines<W>(format: LogFormat, writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let terminal = io::stdout().is_terminal();
    if format == LogFormat::Json || (format == LogFormat::Auto && !terminal) {
        let layer = tracing_subscriber::fmt::layer().with_writer(Escaping(writer)).json();
        return layer.flatten_event(true).with_current_span(true).with_span_list(false).boxed();
    }
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    layer.with_ansi(terminal).fmt_fields(format::debug_fn(field_for_people).delimited(" ")).boxed()
}

fn field_for_people(to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(to, "{}", escaped(&format!("{value:?}"))),
        name => write!(to, "{name}={}", escaped(&format!("{value:?}"))),
    }
}

/// Whether a character acts instead of being shown: C0, DEL, C1, line separators, and the ones
/// that turn the direction of the text around.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every such character as `\u....`, which JSON understands, too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            // Writing into a String cannot fail; none of these is beyond four digits.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Escapes what the JSON formatter leaves: it writes DEL, C1 and the turners as they are.
struct Escaping<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaping<M> {
    type Writer = EscapingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(self.0.make_writer())
    }
}

struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    /// One whole event, as the formatter writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = escaped(text.trim_end_matches('\n'));
        writeln!(self.0, "{line}")?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        tracing::error!(place, thread, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Memory {
        type Writer = Memory;

        fn make_writer(&'a self) -> Memory {
            self.clone()
        }
    }

    /// What the log has after a line with a hostile name.
    fn logged(format: LogFormat) -> String {
        let memory = Memory::default();
        let subscriber = tracing_subscriber::registry().with(lines(format, memory.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let name = "eve\n{\"level\":\"INFO\"}\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
            tracing::info!(%name, device = name, "hello {name}");
        });
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_a_peer_chose_can_forge_no_line_and_move_no_cursor() {
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let text = logged(format);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.trim_end().contains(acts), "{text:?}");
            assert!(text.contains("eve"), "{text:?}");
        }
        let line: serde_json::Value = serde_json::from_str(&logged(LogFormat::Json)).unwrap();
        assert!(
            line["name"].as_str().unwrap().ends_with("\u{9b}2J\u{202e}"),
            "the value itself is kept: {line}"
        );
    }
}
