//! `segue dead-letters`: what was refused, read and sent again.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::{Config, duration_ms};
use crate::kafka::log::LogProducer as _;
use crate::kafka::reader::{From, Reader, Received};
use crate::kafka::transaction::{Outgoing, Producer};
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{Clients, Stop};
use crate::wire::text::instant_text;
use crate::worker::dead_letter::{CUT_FROM, Explanation, RESENT_FROM};

use super::clock::now_ms;
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::set::configuration;
use super::signals::end_on_signals;

/// Read what was refused, and send it again once its cause is mended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  segue dead-letters list --config segue.yaml --since 1d")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(ListArgs),
    Resend(ResendArgs),
}

/// Print the records of the dead-letter topic, each with why it was refused and where it came from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue dead-letters list --config segue.yaml --since 1d\n  \
segue dead-letters list --config segue.yaml --reason undecodable --json | jq -r .error | sort | uniq -c")]
struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// One JSON object a line, with the record's key and value
    #[arg(long)]
    json: bool,
}

/// Send records of the dead-letter topic again, to the topic and partition they came from, unchanged.
///
/// All that match go in one transaction, or none. They stay in the dead-letter topic. An event that counted meanwhile is a
/// duplicate and counts once; one that is refused again becomes another dead letter. Of records larger than the topic takes
/// only the beginning is there: they are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue dead-letters resend --config segue.yaml --reason unknown_schema --since 2h --dry-run\n  \
segue dead-letters resend --config segue.yaml --reason unknown_schema --since 2h")]
struct ResendArgs {
    #[command(flatten)]
    which: Which,
    /// Only print what would be sent
    #[arg(long)]
    dry_run: bool,
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only those refused for this reason, such as `undecodable`; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Only those that came from this topic; may be given several times
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Only those refused within this time; by default all
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    since: Option<i64>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "NUMBER", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

/// A dead letter as it was read.
struct Letter {
    received: Received,
    explanation: Explanation,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.action {
        Action::List(args) => list(args),
        Action::Resend(args) => resend(args),
    }
}

fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.which.config)?;
    let mut n_listed = 0;
    args.which.each(&config, &stop_on_signals()?, &mut |letter| {
        n_listed += 1;
        let mut out = io::stdout().lock();
        if args.json { writeln!(out, "{}", letter.json()) } else { writeln!(out, "{}", letter.line()) }
    })?;
    if n_listed == 0 && !args.json {
        writeln!(io::stderr(), "no dead letters{}", args.which.meant())?;
    }
    Ok(Exit::Done)
}

fn resend(args: &ResendArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.which.config)?;
    let stop = stop_on_signals()?;
    let (mut letters, mut n_cut) = (Vec::new(), 0);
    args.which.each(&config, &stop, &mut |letter| {
        if letter.is_cut() {
            n_cut += 1;
        } else {
            letters.push(letter);
        }
        Ok(())
    })?;
    if n_cut > 0 {
        writeln!(io::stderr(), "{n_cut} left out: they are whole only where they came from")?;
    }
    let mut out = io::stdout().lock();
    if args.dry_run {
        for letter in &letters {
            writeln!(out, "{}", letter.line())?;
        }
        writeln!(out, "{} would be sent again", letters.len())?;
        return Ok(Exit::Done);
    }
    if !letters.is_empty() {
        send(&config, &letters, &stop)?;
    }
    writeln!(out, "{} sent again", letters.len())?;
    Ok(Exit::Done)
}

fn stop_on_signals() -> io::Result<Stop> {
    let stop = Stop::default();
    end_on_signals(&stop)?;
    Ok(stop)
}

/// All in one transaction, so that a failure leaves none behind.
fn send(config: &Config, letters: &[Letter], stop: &Stop) -> Result<(), Failure> {
    let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0)?;
    let id = format!("{}-dead-letters", config.application.id);
    let on_wait = |error: &_| {
        // There is nobody else to tell.
        let _ = writeln!(io::stderr(), "{error}");
    };
    let mut producer = Producer::start(&clients, &id, &Watchdog::default(), stop, on_wait)?;
    let progress = Progress::of(letters.len() as u64, "sending again");
    for Letter { received, explanation } in letters {
        let place = format!("{}:{}", received.partition, received.offset);
        let own = received.headers.iter().filter(|(name, _)| name != RESENT_FROM);
        let mut headers: Vec<_> = own.map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        headers.push((RESENT_FROM, Some(place.as_bytes())));
        producer.send(&Outgoing {
            topic: &explanation.topic,
            partition: Some(explanation.partition),
            key: received.key.as_deref(),
            value: received.value.as_deref(),
            headers: &headers,
        })?;
        progress.advance(1);
    }
    producer.commit()?;
    Ok(())
}

impl Which {
    /// Gives each that matches, the oldest of each partition first, up to what is there now.
    fn each(
        &self,
        config: &Config,
        stop: &Stop,
        take: &mut dyn FnMut(Letter) -> io::Result<()>,
    ) -> Result<(), Failure> {
        const PATIENCE: Duration = Duration::from_millis(100);
        let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0)?;
        let from = self.since.map_or(From::Beginning, |since| From::Instant(now_ms().saturating_sub(since)));
        let mut reader = Reader::open(&clients, &config.topics.dead_letters, from)?;
        let mut n_taken = 0;
        while n_taken < self.limit && !reader.is_at_end() && !stop.is_requested() {
            let Some(mut received) = reader.next(PATIENCE)? else { continue };
            // Whatever else is in the topic was not put there by the engine.
            let Some(explanation) = Explanation::take(&mut received.headers) else { continue };
            if self.wants(&explanation) {
                take(Letter { received, explanation })?;
                n_taken += 1;
            }
        }
        Ok(())
    }

    fn wants(&self, explanation: &Explanation) -> bool {
        let is_among = |wanted: &[String], found: &String| wanted.is_empty() || wanted.contains(found);
        is_among(&self.reason, &explanation.reason) && is_among(&self.topic, &explanation.topic)
    }

    fn meant(&self) -> &'static str {
        let is_narrowed = !self.reason.is_empty() || !self.topic.is_empty() || self.since.is_some();
        if is_narrowed { " that match" } else { "" }
    }
}

impl Letter {
    /// Whether only its beginning is left.
    fn is_cut(&self) -> bool {
        self.received.headers.iter().any(|(name, _)| name == CUT_FROM)
    }

    fn line(&self) -> String {
        let Explanation { reason, topic, partition, offset, error } = &self.explanation;
        let refused_at = self.received.timestamp_ms.map(instant_text).unwrap_or_default();
        let key = self.received.key.as_deref().map_or("none".into(), String::from_utf8_lossy);
        format!("{refused_at}  {reason:<15} {topic} {partition}:{offset}  key {key}  {error}")
    }

    fn json(&self) -> Value {
        let Explanation { reason, topic, partition, offset, error } = &self.explanation;
        let Received { key, value, headers, timestamp_ms, .. } = &self.received;
        let headers = headers.iter().map(|(name, value)| json!([name, shown(value.as_deref())]));
        json!({
            "reason": reason, "error": error, "topic": topic, "partition": partition, "offset": offset,
            "refused_at": timestamp_ms.map(instant_text), "key": shown(key.as_deref()), "value": shown(value.as_deref()),
            "headers": headers.collect::<Vec<_>>(),
            "dead_letter": {"partition": self.received.partition, "offset": self.received.offset},
        })
    }
}

/// Bytes as text where they are text, else as an object of hexadecimal digits.
fn shown(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => json!(text),
        Some(Err(bytes)) => {
            let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
            let digits: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
            json!({ "hex": digits })
        }
    }
}
