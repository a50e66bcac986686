//! `segue tail`: changes as they happen, in words.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::config::{Config, duration_ms};
use crate::definition;
use crate::engine::catalog::Catalog;
use crate::kafka::reader::{From, Reader, Received};
use crate::kafka::registry::Registry;
use crate::kafka::{Clients, Stop};
use crate::worker::changes::Changes;

use super::clock::now_ms;
use super::exit::{Exit, Failure};
use super::set::{configuration, schemas_of};
use super::signals::end_on_signals;
use super::words::Words;

/// Show changes as they happen, one line of words each: who entered or left which segment, and why.
///
/// Only reads, in no consumer group: whoever is at work does not notice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue tail --config segue.yaml\n  \
segue tail --config segue.yaml --since 1h --segment cart_abandoner --no-follow\n  \
segue tail --config segue.yaml --json | jq .customer_id")]
pub(super) struct Args {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Begin this long ago; by default with what comes from now on
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    since: Option<i64>,
    /// Begin with the oldest change there is
    #[arg(long, conflicts_with = "since")]
    from_beginning: bool,
    /// Only this segment; may be given several times
    #[arg(long, value_name = "NAME")]
    segment: Vec<String>,
    /// Only this customer
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// End once all that is there has been shown
    #[arg(long)]
    no_follow: bool,
    /// End after so many changes
    #[arg(long, value_name = "NUMBER", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// One JSON object a line, whatever the form in the topic
    #[arg(long)]
    json: bool,
}

/// How long to wait for a change before looking whether to end.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = configuration(&args.config)?;
    let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0)?;
    let stop = Stop::default();
    end_on_signals(&stop)?;
    let registry = Registry::if_any(&config.schemas.registry.0, &stop, |_| {})?;
    let mut changes = Changes::new(registry, stop.clone())?;
    let words = Words::new(catalog(&config).as_ref());
    let from = match args.since {
        _ if args.from_beginning => From::Beginning,
        Some(since) => From::Instant(now_ms().saturating_sub(since)),
        None => From::End,
    };
    let mut reader = Reader::open(&clients, &config.topics.changes, from)?;
    let mut n_told = 0;
    while !stop.is_requested() && n_told < args.limit && !(args.no_follow && reader.is_at_end()) {
        let Some(received) = reader.next(PATIENCE)? else { continue };
        let change = match changes.read(received.value.as_deref().unwrap_or_default()) {
            Ok(change) => Value::Object(change),
            Err(error) => {
                let Received { partition, offset, .. } = received;
                writeln!(io::stderr(), "{} {partition}:{offset}: {error}", config.topics.changes)?;
                continue;
            }
        };
        if args.wants(&change) {
            n_told += 1;
            let mut out = io::stdout().lock();
            if args.json {
                writeln!(out, "{change}")?;
            } else {
                writeln!(out, "{}", words.line(&change))?;
            }
        }
    }
    Ok(Exit::Done)
}

impl Args {
    fn wants(&self, change: &Value) -> bool {
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        let segment = text("segment");
        (self.segment.is_empty() || self.segment.iter().any(|wanted| wanted == segment))
            && self.customer.as_ref().is_none_or(|customer| customer == text("customer_id"))
    }
}

/// The definitions, for what segments say of themselves; a machine without them sees the changes all the same.
fn catalog(config: &Config) -> Option<Catalog> {
    let schemas = schemas_of(config).ok()?;
    let zone = config.application.timezone.0.clone();
    let definitions = definition::load(&config.application.definitions, schemas.schemas(), zone).ok()?;
    Some(definitions.catalog)
}
