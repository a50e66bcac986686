//! Log lines: for people on a terminal, JSON otherwise, librdkafka's among them. They go to standard error, and to a
//! collector (OTLP) where one is configured.

use std::io::{IsTerminal as _, stderr};

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::filter::{FilterFn, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Log, LogFormat};

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is neither a level nor a filter.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// There is no sending to the collector.
    #[error("log.otlp: {0}")]
    Collector(#[from] ExporterBuildError),
}

/// Sends what is still to be sent to the collector when it goes.
#[derive(Debug)]
pub struct Logging(Option<SdkLoggerProvider>);

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            // A collector that is away is told of nothing more.
            let _ = provider.shutdown();
        }
    }
}

/// Starts logging for the whole process, under the application's name; a second call changes nothing.
///
/// # Errors
/// When the settings cannot be used.
pub fn start_logging(settings: &Log, application: &str) -> Result<Logging, LogError> {
    let filter = EnvFilter::builder().parse(&settings.level)?;
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let provider = if settings.otlp.0.is_empty() { None } else { Some(provider(&settings.otlp.0, application)?) };
    let collector = provider.as_ref().map(|provider| {
        // What the sending itself says would be sent in turn, for ever.
        let own = ["hyper", "reqwest", "opentelemetry", "h2", "tower"];
        let is_ours = FilterFn::new(move |metadata| !own.iter().any(|name| metadata.target().starts_with(name)));
        OpenTelemetryTracingBridge::new(provider).with_filter(is_ours)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = if human { lines.with_target(false).boxed() } else { lines.json().flatten_event(true).boxed() };
    let subscriber = tracing_subscriber::registry().with(filter).with(collector).with(lines);
    // An error says that logging has started already, which is what was asked for.
    let _ = subscriber.try_init();
    Ok(Logging(provider))
}

fn provider(collector: &str, application: &str) -> Result<SdkLoggerProvider, ExporterBuildError> {
    let endpoint = format!("{}/v1/logs", collector.trim_end_matches('/'));
    let exporter = LogExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint);
    let resource = Resource::builder().with_service_name(application.to_owned());
    let exporter = exporter.build()?;
    Ok(SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}
