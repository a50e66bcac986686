//! `segue state`: what a stopped engine remembers, whether it is right, and the way back when it is not.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde_json::json;

use crate::config::Config;
use crate::definition;
use crate::engine::Engine;
use crate::http::api;
use crate::kafka::Clients;
use crate::kafka::group::{Group, GroupOffsets};
use crate::kafka::topics::Topics;
use crate::partition::Partition;
use crate::store::rocks::RocksStore;
use crate::worker::inspect::{Stopped, read_changelog, stored_partitions};
use crate::worker::query::{Answer, Question, ask_one};
use crate::worker::settings::Settings;

use super::exit::{Blame as _, Exit, Failure};
use super::set::Diagnostics;
use super::set::{configuration, schemas_of};

/// Look at what a stopped engine remembers, check it, and mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue state show --config segue.yaml\n  \
segue state show --config segue.yaml --customer c1\n  \
segue state verify --config segue.yaml\n  \
segue state repair --config segue.yaml --partition 3 --dry-run")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print what each store on this disk holds: how far it got, customers, deadlines, sizes
    #[command(after_help = "Example:\n  segue state show --config segue.yaml --customer c1")]
    Show(ShowArgs),
    /// Compare each store on this disk with the changelog, and the changelog with the consumer group; 1 if they differ
    #[command(after_help = "Example:\n  segue state verify --config segue.yaml")]
    Verify(Which),
    /// Set the consumer group's offsets to where the state in the changelog is
    #[command(after_help = "Example:\n  segue state repair --config segue.yaml --partition 3 --dry-run")]
    Repair(Change),
    /// Remove stores from this disk; the next start fills them from the changelog
    #[command(after_help = "Example:\n  segue state wipe --config segue.yaml --partition 3")]
    Wipe(Change),
    /// Forget everything: stores on this disk, internal topics and consumer group. The next start reads the input from its
    /// beginning, and subscribers see changes that they have seen before
    #[command(after_help = "Example:\n  segue state reset --config segue.yaml --dry-run")]
    Reset(ResetArgs),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only this partition
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    which: Which,
    /// Print what is remembered of this customer instead
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Also print so many of the next deadlines
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    deadlines: usize,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The partition
    #[arg(long, value_name = "NUMBER")]
    partition: i32,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct ResetArgs {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.action {
        Action::Show(args) => show(args),
        Action::Verify(which) => verify(which),
        Action::Repair(change) => repair(change),
        Action::Wipe(change) => wipe(change),
        Action::Reset(args) => reset(args),
    }
}

/// So often, and with such a pause, the members of the group are looked for: a little longer than a session lasts.
const LOOKS: u32 = 24;
const PAUSE: Duration = Duration::from_millis(500);

/// A configuration and what follows from it.
struct Site {
    config: Config,
    settings: Settings,
    clients: Clients,
}

impl Site {
    fn load(path: &std::path::Path) -> Result<Self, Failure> {
        let config = configuration(path)?;
        let settings = Settings::of(&config);
        let clients = Clients::new(&config.kafka.brokers, &config.kafka.properties.0).blame(Exit::Usage)?;
        Ok(Self { config, settings, clients })
    }

    fn partitions(&self, which: &Which) -> Result<Vec<i32>, Failure> {
        let stored = stored_partitions(&self.settings)?;
        match which.partition {
            Some(partition) if stored.contains(&partition) => Ok(vec![partition]),
            Some(partition) => Err(anyhow!("there is no store of partition {partition}")).blame(Exit::Usage),
            None => Ok(stored),
        }
    }

    fn open(&self, partition: i32) -> Result<Stopped, Failure> {
        let stopped = Stopped::open(&self.settings, partition)?;
        Ok(stopped.with_context(|| format!("there is no store of partition {partition}"))?)
    }

    /// The group, with nobody in it. Members that have just stopped are waited for.
    fn idle_group(&self) -> Result<Group<'_>, Failure> {
        let name = &self.settings.application;
        let group = Group::new(&self.clients, name)?;
        for n_looks in 0..LOOKS {
            let n_members = group.n_members()?;
            if n_members == 0 {
                return Ok(group);
            }
            if n_looks == 0 {
                writeln!(io::stderr(), "waiting for the sessions of {n_members} members of the group {name} to end")?;
            }
            std::thread::sleep(PAUSE);
        }
        let todo = "stop the engine everywhere, and wait until the sessions of its members have ended";
        Err(anyhow!("the group {name} is active: {todo}").into())
    }
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let site = Site::load(&args.which.config)?;
    let partitions = site.partitions(&args.which)?;
    if let Some(customer_id) = &args.customer {
        return show_customer(&site, &partitions, customer_id);
    }
    let mut out = io::stdout().lock();
    for partition in partitions {
        let stopped = site.open(partition)?;
        let contents = stopped.contents()?;
        let deadlines = stopped.deadlines(args.deadlines)?;
        let deadlines: Vec<_> =
            deadlines.into_iter().map(|(at, id)| json!({"at": api::instant(at), "customer_id": id})).collect();
        let mut line = json!({
            "partition": partition,
            "path": site.settings.store_path(partition),
            "customers": contents.n_customers,
            "customers_bytes": contents.customers_bytes,
            "timers": contents.n_deadlines,
            "files_bytes": contents.figures.files_bytes,
        });
        if let Some(stored) = &stopped.marker {
            let marker = &stored.marker;
            line["transaction"] = marker.transaction.into();
            line["clock"] = marker.clock.map(api::instant).into();
            line["offsets"] = json!(marker.offsets);
            line["definitions"] = format!("{:016x}", marker.definitions).into();
            line["changelog_position"] = stored.changelog_position.into();
            line["written_at"] = api::instant(stored.written_at);
        }
        if args.deadlines > 0 {
            line["deadlines"] = deadlines.into();
        }
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Done)
}

fn show_customer(site: &Site, partitions: &[i32], customer_id: &str) -> Result<Exit, Failure> {
    let schemas = schemas_of(&site.config).blame(Exit::Wrong)?;
    let zone = site.config.application.timezone.0.clone();
    let definitions = definition::load(&site.config.application.definitions, schemas.schemas(), zone);
    let catalog = Arc::new(definitions.map_err(Diagnostics).blame(Exit::Wrong)?.catalog);
    for partition in partitions {
        let Stopped { store, marker } = site.open(*partition)?;
        let clock = marker.and_then(|stored| stored.marker.clock);
        let engine = Engine::new(catalog.clone(), site.settings.limits);
        let mut held = Partition::new(engine, store, site.settings.erasure_key.clone(), clock).resumed()?;
        let question = Question::Customer { customer_id: customer_id.to_owned() };
        match ask_one(&question, &mut held, clock.unwrap_or_default()) {
            Answer::Customer(view) => {
                let mut line = api::customer(&view);
                line["partition"] = (*partition).into();
                writeln!(io::stdout(), "{line}")?;
                return Ok(Exit::Done);
            }
            Answer::Failed(error) => return Err(anyhow!(error).into()),
            _ => {}
        }
    }
    Err(anyhow!("no store on this disk has customer `{customer_id}`")).blame(Exit::Wrong)
}

fn verify(which: &Which) -> Result<Exit, Failure> {
    let site = Site::load(&which.config)?;
    let group = Group::new(&site.clients, &site.settings.application)?;
    let topics = site.settings.input_topics();
    let mut all_right = true;
    let mut out = io::stdout().lock();
    for partition in site.partitions(which)? {
        let stopped = site.open(partition)?;
        let position = stopped.marker.as_ref().map_or(0, |stored| stored.changelog_position);
        let logged = read_changelog(&site.clients, &site.settings, partition, position)?;
        let in_group = group.offsets(&topics, partition)?;
        let of_marker = logged.marker.as_ref().map(|marker| marker.offsets.clone()).unwrap_or_default();
        let agrees = topics.iter().all(|topic| of_marker.get(topic) == in_group.get(&(topic.clone(), partition)));
        let behind = logged.extent.high.saturating_sub(position).max(0);
        let found = stopped.compare(logged)?;
        all_right &= agrees && found.is_none();
        let line = json!({
            "partition": partition,
            "agrees_with_changelog": found.is_none(),
            "agrees_with_group": agrees,
            "behind_changelog": behind,
            "compared": found.n_compared,
            "different": found.n_different,
            "missing": found.n_missing,
            "surplus": found.n_surplus,
            "misfiled_deadlines": found.n_misfiled,
        });
        writeln!(out, "{line}")?;
    }
    Ok(if all_right { Exit::Done } else { Exit::Wrong })
}

fn repair(change: &Change) -> Result<Exit, Failure> {
    let site = Site::load(&change.config)?;
    let group = site.idle_group()?;
    let marker = read_changelog(&site.clients, &site.settings, change.partition, 0)?.marker;
    let marker = marker.with_context(|| {
        format!("partition {} of {} holds no state to go by", change.partition, site.settings.changelog())
    })?;
    let topics = site.settings.input_topics();
    let before = group.offsets(&topics, change.partition)?;
    let mut wanted = GroupOffsets::new();
    let mut out = io::stdout().lock();
    for topic in topics {
        let Some(offset) = marker.offsets.get(&topic).copied() else { continue };
        let key = (topic, change.partition);
        let was = before.get(&key).map_or_else(|| "none".to_owned(), ToString::to_string);
        if before.get(&key) != Some(&offset) {
            writeln!(out, "{}{} {}: {was} -> {offset}", would(change.dry_run), key.0, key.1)?;
            wanted.insert(key, offset);
        }
    }
    if wanted.is_empty() {
        writeln!(out, "state and group agree: nothing to do")?;
    } else if !change.dry_run {
        group.set_offsets(&wanted)?;
    }
    Ok(Exit::Done)
}

fn wipe(change: &Change) -> Result<Exit, Failure> {
    let site = Site::load(&change.config)?;
    let path = site.settings.store_path(change.partition);
    if !path.exists() {
        return Err(anyhow!("there is no store of partition {}", change.partition)).blame(Exit::Usage);
    }
    if !change.dry_run {
        RocksStore::destroy(&path)?;
    }
    writeln!(io::stdout(), "{}remove {}", would(change.dry_run), path.display())?;
    Ok(Exit::Done)
}

fn reset(args: &ResetArgs) -> Result<Exit, Failure> {
    let site = Site::load(&args.config)?;
    let group = site.idle_group()?;
    let mut out = io::stdout().lock();
    // First, because the broker refuses while anybody is in it.
    writeln!(out, "{}remove the group {}", would(args.dry_run), site.settings.application)?;
    if !args.dry_run {
        group.delete()?;
    }
    for partition in stored_partitions(&site.settings)? {
        let path = site.settings.store_path(partition);
        writeln!(out, "{}remove {}", would(args.dry_run), path.display())?;
        if !args.dry_run {
            RocksStore::destroy(&path)?;
        }
    }
    for topic in [site.settings.changelog(), site.settings.percentiles()] {
        writeln!(out, "{}remove the topic {topic}", would(args.dry_run))?;
        if !args.dry_run {
            Topics::new(&site.clients)?.delete(&topic)?;
        }
    }
    Ok(Exit::Done)
}

fn would(dry_run: bool) -> &'static str {
    if dry_run { "would " } else { "" }
}
