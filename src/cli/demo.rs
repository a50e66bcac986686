//! `segue demo`: a broker, a shop and the real engine in one process, to be watched.

mod broker;
mod feed;
mod goods;
mod random;
mod shop;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Config, duration_ms};
use crate::definition::load_texts;
use crate::engine::catalog::Catalog;
use crate::http::{DefinitionFiles, Server, Sources};
use crate::kafka::Stop;
use crate::telemetry::{Telemetry, Totals, start_logging};
use crate::wire::schema::SchemaSet;
use crate::worker::settings::Settings;
use crate::worker::status::Status;
use crate::worker::supervisor::{Engine, Running};

use super::clock::now_ms;
use super::exit::{Blame as _, Exit, Failure};
use super::set::Diagnostics;
use super::signals::end_on_signals;
use broker::{Broker, Till};
use feed::{Feed, Told};
use goods::REGULAR;
use shop::Shop;

/// The shipped definitions and the demo's own, built in, so that the demo runs from anywhere.
const DEFINITIONS: &[(&str, &str)] = &[
    ("campaigns.yaml", include_str!("../../deploy/segments/campaigns.yaml")),
    ("carts.yaml", include_str!("../../deploy/segments/carts.yaml")),
    ("channels.yaml", include_str!("../../deploy/segments/channels.yaml")),
    ("interests.yaml", include_str!("../../deploy/segments/interests.yaml")),
    ("lifecycle.yaml", include_str!("../../deploy/segments/lifecycle.yaml")),
    ("loyalty.yaml", include_str!("../../deploy/segments/loyalty.yaml")),
    ("prices.yaml", include_str!("../../deploy/segments/prices.yaml")),
    ("profile.yaml", include_str!("../../deploy/segments/profile.yaml")),
    ("demo.yaml", include_str!("demo/segments.yaml")),
];

/// How long the workers may take to put down what they own at the end.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often the shop looks at its agenda, and the demo at the clock.
const TICK: Duration = Duration::from_millis(50);
const TICK_MS: i64 = 50;
const RATES_EVERY_MS: i64 = 5_000;

/// Watch it work: a small shop's live traffic through the real engine. Needs no Kafka, no Docker, no configuration.
///
/// A broker runs inside the process and forgets everything at the end. The definitions are the shipped ones
/// (deploy/segments) and a few with windows of seconds, called demo_…, so that time is seen at work. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue demo\n  \
segue demo --visits-per-second 20 --duration 1m --seed 7")]
pub(super) struct Args {
    /// End by itself after this long
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    duration: Option<i64>,
    /// Another seed makes another day in the shop
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many customers come in
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(i64).range(1..=1000))]
    visits_per_second: i64,
    /// Where to answer HTTP; by default port 8080, or any free one if that is taken
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let opened_at = now_ms();
    let mut config = config(args);
    let _logging = start_logging(&config.log, &config.application.id).blame(Exit::Usage)?;
    let (schemas, catalog) = catalog(&config)?;
    let broker = Broker::start(&topics(&config)).context("the broker inside the process did not start")?;
    config.kafka.brokers = broker.address();
    let till = Till::connect(&config.kafka.brokers, &config.topics)?;
    let mut shop = Shop::new(args.seed);
    let past = shop.past(opened_at);
    till.send(&past)?;
    till.flush()?;

    let stop = Stop::default();
    end_on_signals(&stop)?;
    let scratch = Scratch(config.application.data_dir.clone());
    let settings = settings(&config);
    let telemetry = Telemetry::new()?;
    let sources = Sources::new(Status::new(settings.workers, catalog.clone()), telemetry.clone());
    let server = Server::start(&config.http, sources.clone());
    let server = server.with_context(|| format!("cannot listen on {}", config.http.listen))?;
    let time_zone = config.application.timezone.0.clone();
    sources.defined_by(DefinitionFiles { files: definitions(), directory: None, schemas: schemas.clone(), time_zone });
    let engine = Engine::connect(
        &config,
        settings,
        catalog.clone(),
        schemas,
        telemetry.clone(),
        sources.status.clone(),
        stop.clone(),
    )?;
    let running = engine.start()?;
    sources.ask(running.askers.clone());
    sources.follow(engine.feed());
    let feed = Feed::subscribe(&config.kafka.brokers, &config.topics.changes, &catalog, opened_at)?;

    greet(server.address(), &catalog, past.len())?;
    let ends_at = args.duration.map_or(i64::MAX, |duration| now_ms().saturating_add(duration));
    let shopkeeper = open_shop(shop, till, args.visits_per_second, stop.clone())?;
    let watched = watch(&feed, &telemetry, &stop, ends_at);
    stop.request();
    close(running, shopkeeper)?;
    // The broker goes last, so that nobody misses it.
    drop((server, feed, engine));
    drop((scratch, broker));
    watched?;
    Ok(Exit::Done)
}

/// The schemas, and the definitions that are at work over them.
fn catalog(config: &Config) -> Result<(Arc<SchemaSet>, Arc<Catalog>), Failure> {
    let schemas = SchemaSet::shipped()?;
    let definitions = load_texts(&definitions(), schemas.schemas(), config.application.timezone.0.clone());
    let catalog = definitions.map_err(Diagnostics).blame(Exit::Wrong)?.catalog;
    Ok((Arc::new(schemas), Arc::new(catalog)))
}

fn settings(config: &Config) -> Settings {
    Settings { is_mock: true, ..Settings::of(config) }
}

/// The definitions by file name.
fn definitions() -> Vec<(String, String)> {
    DEFINITIONS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn config(args: &Args) -> Config {
    let mut config = Config::default();
    config.application.id = "segue-demo".into();
    config.application.data_dir = std::env::temp_dir().join(format!("segue-demo-{}", std::process::id()));
    config.application.workers = 2;
    config.output.format = crate::config::OutputFormat::Json;
    config.log.level = "warn,librdkafka=off,rdkafka=off".into();
    config.store.memory_bytes = 64 << 20;
    let is_free = TcpListener::bind(config.http.listen).is_ok();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    config.http.listen = args.listen.unwrap_or(if is_free { config.http.listen } else { any_port });
    config
}

fn topics(config: &Config) -> Vec<String> {
    let inputs = config.topics.inputs().map(|(_, topic)| topic.to_owned());
    let outputs = config.topics.outputs().map(|(_, topic)| topic.to_owned());
    let internal = ["changelog", "percentiles"].map(|name| format!("{}-{name}", config.application.id));
    inputs.chain(outputs).chain(internal).collect()
}

/// The stores' directory, gone at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's directory for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn greet(address: SocketAddr, catalog: &Catalog, n_past: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "segue demo: a shop with {} segments over {n_past} records of its past. Ctrl-C ends it.",
        catalog.segments.len()
    )?;
    writeln!(out, "  http://{address}/                       the dashboard: open it in a browser")?;
    writeln!(out, "  http://{address}/v1/segments            who is where, how many came and went")?;
    writeln!(out, "  http://{address}/v1/customers/{REGULAR}       one customer; /explain says why")?;
    writeln!(out, "  http://{address}/metrics  /healthz  /readyz\n")
}

/// Lets customers come and go until it is told to stop.
fn open_shop(
    mut shop: Shop,
    till: Till,
    visits_per_second: i64,
    stop: Stop,
) -> io::Result<JoinHandle<Result<(), rdkafka::error::KafkaError>>> {
    std::thread::Builder::new().name("shop".to_owned()).spawn(move || {
        let mut visits_due = 0;
        while stop.sleep(TICK).is_ok() {
            let now = now_ms();
            visits_due += visits_per_second * TICK_MS;
            while visits_due >= 1_000 {
                visits_due -= 1_000;
                shop.somebody_comes(now);
            }
            till.send(&shop.due(now))?;
        }
        Ok(())
    })
}

/// Tells changes and rates until it is told to stop, or the time is over. Rates are of the time since the past was done.
fn watch(feed: &Feed, telemetry: &Telemetry, stop: &Stop, ends_at: i64) -> Result<(), Failure> {
    let mut told = Told::default();
    let mut last = None;
    while !stop.is_requested() && now_ms() < ends_at {
        let mut out = io::stdout().lock();
        feed.tell(&mut out, &mut told)?;
        let now = now_ms();
        let (since, before) = match last {
            Some(last) => last,
            None if told.n_told == 0 => (now, telemetry.totals()),
            None => *last.insert((now, telemetry.totals())),
        };
        if now - since >= RATES_EVERY_MS {
            let totals = telemetry.totals();
            writeln!(out, "--- {} ---", rates(&before, &totals, now - since, told))?;
            last = Some((now, totals));
        }
        out.flush()?;
    }
    Ok(())
}

fn rates(before: &Totals, after: &Totals, elapsed_ms: i64, told: Told) -> String {
    let per_second = |before: u64, after: u64| {
        let tenths = (after - before).saturating_mul(10_000) / elapsed_ms.max(1).unsigned_abs();
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let latency = after.mean_event_latency_ms_since(before);
    let latency = latency.map(|ms| format!(", {ms} ms from an event to its change")).unwrap_or_default();
    format!(
        "{} events/s, {} changes/s{latency}; {} changes so far, {} of them of the shop's past",
        per_second(before.events, after.events),
        per_second(before.changes, after.changes),
        told.n_told + told.n_past,
        told.n_past,
    )
}

fn close(running: Running, shopkeeper: JoinHandle<Result<(), rdkafka::error::KafkaError>>) -> Result<(), Failure> {
    running.wait(DEADLINE)?;
    match shopkeeper.join() {
        Ok(sold) => Ok(sold?),
        Err(_) => Err(anyhow::anyhow!("the shop panicked").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::broker::PARTITIONS;
    use super::*;

    /// A member of the group in a process of its own, as far as the broker can tell.
    struct Member {
        status: Status,
        stop: Stop,
        running: Running,
        _scratch: Scratch,
    }

    impl Member {
        fn join(config: &Config, name: &str, telemetry: &Telemetry) -> Self {
            let mut config = config.clone();
            config.application.data_dir.push(name);
            config.application.workers = 1;
            let scratch = Scratch(config.application.data_dir.clone());
            let (schemas, catalog) = catalog(&config).unwrap();
            let (status, stop) = (Status::new(1, catalog.clone()), Stop::default());
            let (settings, telemetry) = (settings(&config), telemetry.clone());
            let engine =
                Engine::connect(&config, settings, catalog, schemas, telemetry, status.clone(), stop.clone()).unwrap();
            Self { status, stop, running: engine.start().unwrap(), _scratch: scratch }
        }

        /// Waits until this many partitions are at work here.
        fn wait_for(&self, n_partitions: i32) {
            for _ in 0..1_200 {
                let state = self.status.workers().remove(0);
                assert_eq!(state.failed, None);
                if i32::try_from(state.owned.len()) == Ok(n_partitions) && state.restoring.is_empty() {
                    return;
                }
                std::thread::sleep(TICK);
            }
            panic!("not given {n_partitions} partitions in time: {:?}", self.status.workers());
        }

        fn leave(self) {
            self.stop.request();
            self.running.wait(DEADLINE).unwrap();
        }
    }

    /// The demo's workers join one after the other, and the first may have committed something before the second is there.
    #[test]
    fn partitions_that_come_back_go_on_where_they_were() {
        let args = Args { duration: None, seed: 1, visits_per_second: 1, listen: None };
        let mut config = config(&args);
        let broker = Broker::start(&topics(&config)).unwrap();
        config.kafka.brokers = broker.address();
        config.application.data_dir.set_extension("test");
        let _scratch = Scratch(config.application.data_dir.clone());
        let till = Till::connect(&config.kafka.brokers, &config.topics).unwrap();
        let past = Shop::new(args.seed).past(now_ms());
        till.send(&past).unwrap();
        till.flush().unwrap();

        let telemetry = Telemetry::new().unwrap();
        let first = Member::join(&config, "first", &telemetry);
        first.wait_for(PARTITIONS);
        while telemetry.totals().events < past.len() as u64 {
            std::thread::sleep(TICK);
        }
        let second = Member::join(&config, "second", &telemetry);
        second.wait_for(PARTITIONS / 2);
        first.wait_for(PARTITIONS / 2);
        first.leave();
        second.leave();
    }
}
