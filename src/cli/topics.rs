//! `segue topics`: the topics an application needs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::config::Config;
use crate::kafka::registry::Registry;
use crate::kafka::topics::{Topics, Wanted};
use crate::kafka::{Clients, Stop};
use crate::worker::settings::Settings;
use crate::worker::topics;

use super::exit::{Blame as _, Exit, Failure};
use super::set::{configuration, schemas_of};

/// Make the topics that an application needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  segue topics create --config segue.yaml --dry-run")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(CreateArgs),
}

/// Make the topics that are missing, with the right settings: inputs, outputs, the changelog and the topic of percentiles.
///
/// All but the last, which has one, get the partition count that the input topics have already, or else the one asked for.
/// Topics that are there are left as they are. Where a schema registry is configured, the inputs' schemas are registered, each
/// under TOPIC-value, unless the subject has one already.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue topics create --config segue.yaml --dry-run\n  \
segue topics create --config segue.yaml --partitions 12")]
struct CreateArgs {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Partitions of each topic, where none is there yet to go by
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.action {
        Action::Create(args) => create(args),
    }
}

fn create(args: &CreateArgs) -> Result<Exit, Failure> {
    let config = configuration(&args.config)?;
    let settings = Settings::of(&config);
    let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0)?;
    let topics = Topics::new(&clients)?;
    let inputs = settings.input_topics();
    let present = topics.partitions(&inputs)?;
    let is_known = |name: &&String| present.get(*name).copied().flatten().is_some();
    let known_inputs: Vec<String> = inputs.iter().filter(is_known).cloned().collect();
    let partitions = present.values().flatten().max().copied().unwrap_or(args.partitions);
    let wanted = wanted(&settings, partitions);
    let names: Vec<String> = wanted.iter().map(|topic| topic.name.clone()).collect();
    let present = topics.partitions(&names)?;
    let (missing, there): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|topic| present.get(&topic.name).copied().flatten().is_none());
    if !args.dry_run {
        topics.create(&missing)?;
        await_all(&topics, &names)?;
    }
    let mut out = io::stdout().lock();
    for topic in there {
        let count = present.get(&topic.name).copied().flatten().unwrap_or_default();
        writeln!(out, "exists   {} ({count} partitions)", topic.name)?;
    }
    let verb = if args.dry_run { "missing " } else { "created " };
    for topic in missing {
        let settings: Vec<String> = topic.settings.iter().map(|(name, value)| format!(", {name}={value}")).collect();
        writeln!(out, "{verb} {} ({} partitions{})", topic.name, topic.partitions, settings.concat())?;
    }
    // Counts that differ cannot be mended by making topics; better to hear of it here than at the next start.
    if !known_inputs.is_empty() {
        topics.shared_partitions(&known_inputs)?;
    }
    register(&config, args.dry_run, &mut out)?;
    Ok(Exit::Done)
}

/// Gives the registry the schemas of the inputs that it has none of yet; the service registers those of what it writes.
fn register(config: &Config, dry_run: bool, out: &mut impl Write) -> Result<(), Failure> {
    let url = config.schemas.registry.0.as_str();
    if url.is_empty() {
        return Ok(());
    }
    let registry = Registry::connect(url, &Stop::default(), |_| {})?;
    // Later calls would wait for one that is away.
    registry.ping()?;
    let schemas = schemas_of(config).blame(Exit::Wrong)?;
    for (name, topic) in config.topics.inputs() {
        let Some(schema) = schemas.get(name) else { continue };
        let subject = format!("{topic}-value");
        if let Some((id, _)) = registry.latest(&subject)? {
            writeln!(out, "exists   {subject} (schema id {id})")?;
        } else if dry_run {
            writeln!(out, "missing  {subject} (schema)")?;
        } else {
            let id = registry.register(&subject, &serde_json::to_string(&schema.avro)?)?;
            registry.keep_compatible(&subject)?;
            writeln!(out, "registered {subject} (schema id {id})")?;
        }
    }
    Ok(())
}

/// A broker answers that it has made a topic before all of it knows; who comes next should find it.
fn await_all(topics: &Topics<'_>, names: &[String]) -> Result<(), Failure> {
    const TRIES: usize = 100;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..TRIES {
        if topics.partitions(names)?.values().all(Option::is_some) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(anyhow::anyhow!("the broker says that it has made the topics, and does not show them").into())
}

fn wanted(settings: &Settings, partitions: i32) -> Vec<Wanted> {
    let input = |name| Wanted { name, partitions, settings: vec![("cleanup.policy", "delete")] };
    let inputs = settings.input_topics().into_iter().map(input);
    inputs.chain(topics::written(settings, partitions)).collect()
}
