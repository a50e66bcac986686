//! Log lines: for people on a terminal, JSON otherwise, librdkafka's among them. They go to standard error.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
/// When the level is neither a level nor a filter.
pub fn start_logging(settings: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&settings.level)?;
    let human = match settings.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    // An error says that logging has started already, which is what was asked for.
    let _ = if human { lines.with_target(false).try_init() } else { lines.json().flatten_event(true).try_init() };
    Ok(())
}
