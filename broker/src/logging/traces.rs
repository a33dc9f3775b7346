//! Where traces are sent: OTLP over HTTP, by the settings or by the environment that OpenTelemetry names
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! Off unless an address is given. The exporter itself reads headers, time-out, compression and batch sizes
//! from the environment, and the provider the sampler; what the settings say goes before it.

use moorline_wire::Code;
use opentelemetry::Key;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::config::Tracing;
use crate::problem::Problem;

/// What the service is called where nobody says.
const SERVICE: &str = "moorline-broker";

/// What sends the traces; `None`: nothing does.
pub(super) fn provider(settings: &Tracing) -> Result<Option<SdkTracerProvider>, Problem> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !wanted(settings, &environment) {
        return Ok(None);
    }
    let endpoint = &settings.otlp_endpoint;
    let mut builder = opentelemetry_otlp::SpanExporter::builder().with_http();
    if !endpoint.is_empty() {
        builder = builder.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
    }
    let exporter = builder.build().map_err(|e| {
        Problem::new(Code::BAD_CONFIG).saying(format!(
            "tracing.otlp_endpoint = {endpoint:?} cannot be used: {e}. Give an http:// address."
        ))
    })?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(Some(provider.with_resource(resource(settings)).build()))
}

/// Whether somebody said where to, and nobody that traces are off.
fn wanted(settings: &Tracing, environment: &dyn Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, word: &str| environment(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return false;
    }
    let addresses = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    !settings.otlp_endpoint.is_empty() || addresses.iter().any(|name| environment(name).is_some())
}

/// Who sends: the name of the settings, of the environment, or our own.
fn resource(settings: &Tracing) -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = || Resource::builder().with_attribute(version.clone());
    if !settings.service_name.is_empty() {
        return builder().with_service_name(settings.service_name.clone()).build();
    }
    let named = builder().build();
    let of_environment = named
        .get(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if of_environment { named } else { builder().with_service_name(SERVICE).build() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_off_until_somebody_says_where_to_and_off_when_somebody_says_so() {
        let settings = |endpoint: &str| Tracing { otlp_endpoint: endpoint.to_owned(), ..Tracing::default() };
        let with = |variables: &'static [(&str, &str)]| {
            move |name: &str| {
                variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let address = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(!wanted(&settings(""), &with(&[])));
        assert!(wanted(&settings("http://127.0.0.1:4318"), &with(&[])));
        assert!(wanted(&settings(""), &with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")])));
        assert!(wanted(
            &settings(""),
            &with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces")])
        ));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            let variables: &'static [(&str, &str)] = Box::leak(Box::new([address, off]));
            assert!(!wanted(&settings("http://127.0.0.1:4318"), &with(variables)), "{off:?}");
        }
    }
}
