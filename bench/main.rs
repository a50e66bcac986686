//! Measures segue on this machine, beside others that do the same work on the same broker: `./dev bench --help`.

#![allow(clippy::disallowed_methods, reason = "reading clocks is what this is for")]

mod bare;
mod broker;
mod chance;
mod change;
mod compare;
mod contender;
mod encode;
mod latency;
mod measure;
mod process;
mod publish;
mod random_segments;
mod restart;
mod traffic;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;

use broker::{Broker, INPUTS};
use compare::Comparison;
use contender::{Contender, Task, build_directory};
use measure::Figures;
use traffic::Size;

/// The one that `segue` has, for the bare loop.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Puts a shop's traffic into a broker of its own, lets each contender work through it, and prints what that took.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Events
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// Customers there are; most of them occur
    #[arg(long, default_value_t = 1_000_000)]
    customers: u64,
    /// Days that the traffic is spread over
    #[arg(long, default_value_t = 10)]
    days: u32,
    /// The same seed gives the same traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Partitions of each topic
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Threads of each contender
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Events that warm the broker up before anybody is measured
    #[arg(long, default_value_t = 2_000_000)]
    warm_up: i64,
    /// Time between commits, milliseconds
    #[arg(long, default_value_t = 100)]
    commit_ms: u32,
    /// Time between Flink's checkpoints, milliseconds; 10000, or 1000 with --rate, unless it is given
    #[arg(long)]
    checkpoint_ms: Option<u32>,
    /// Who takes part: of bare, segue, streams (Kafka Streams) and flink
    #[arg(long, value_delimiter = ',', default_value = "bare,segue,streams")]
    only: Vec<String>,
    /// Segment definitions
    #[arg(long, default_value = "bench/retail")]
    definitions: PathBuf,
    /// So many random segments instead, for bare and segue
    #[arg(long, conflicts_with = "definitions")]
    segments: Option<usize>,
    /// Their thresholds, up to so many events and 200 times as much money
    #[arg(long, default_value_t = 1_000)]
    threshold: u64,
    /// Where broker and state live while it runs
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The build whose `segue` is measured; the one of this program unless it is named
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Write a profile of segue to this file, with perf
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Measure how long changes take instead, at so many events a second
    #[arg(long)]
    rate: Option<u64>,
    /// For how many seconds
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// With how many customers of whom something is due later
    #[arg(long, default_value_t = 0)]
    waiting: u64,
    /// Measure besides how long segue takes to start again, with its store and without
    #[arg(long)]
    restarts: bool,
    /// Print figures as JSON
    #[arg(long)]
    json: bool,
}

/// What this program starts as a process of its own, so that it can be measured.
#[derive(Debug, clap::Subcommand)]
enum Part {
    #[command(hide = true)]
    BareLoop(bare::Args),
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Part::BareLoop(args)) = &args.part {
        return bare::run(args);
    }
    let directory = match &args.directory {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let broker = Broker::start(directory.path())?;
    broker.create_topics(&INPUTS, args.partitions, &[])?;
    broker.create_topics(&["profiles", "consents", "erasures"], args.partitions, &[])?;
    match args.rate {
        Some(rate) => latencies(&args, &broker, directory.path(), rate),
        None => throughput(&args, &broker, directory.path()),
    }
}

fn task<'b>(args: &Args, broker: &'b Broker, directory: &'b Path, places: &'b (PathBuf, PathBuf)) -> Task<'b> {
    Task {
        broker,
        directory,
        definitions: &places.0,
        partitions: args.partitions,
        workers: args.workers,
        commit_ms: args.commit_ms,
        checkpoint_ms: args.checkpoint_ms.unwrap_or(if args.rate.is_some() { 1_000 } else { 10_000 }),
        programs: &places.1,
    }
}

fn throughput(args: &Args, broker: &Broker, directory: &Path) -> Result<()> {
    let end_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    tell(&format!("publishing {} events", args.events));
    let size = Size { events: args.events, customers: args.customers, days: args.days, seed: args.seed };
    let n_bytes = publish::publish(broker, &size, end_ms)?;
    tell(&format!("published {} MB", n_bytes / 1_000_000));
    let programs = args.programs.clone().map_or_else(build_directory, Ok)?;
    let random = |count| random_definitions(&random_segments::definitions(count, args.threshold), directory);
    let definitions = args.segments.map(random).transpose()?;
    let places = (definitions.unwrap_or_else(|| args.definitions.clone()), programs);
    if args.warm_up > 0 {
        tell("warming the broker up");
        let mut contender = contender::warm_up(&task(args, broker, directory, &places))?;
        measure::follow(broker, &mut contender, args.warm_up)?;
        end(contender)?;
    }
    let mut all = Vec::new();
    let mut restarts = Vec::new();
    let (mut ours, mut peers) = (None, Vec::new());
    for name in &args.only {
        tell(&format!("measuring {name}"));
        let mut contender = contender::start(name, &task(args, broker, directory, &places))?;
        let profile = args.profile.as_deref().filter(|_| name == "segue");
        let profiler = profile.map(|file| contender::profile(&contender.child, file)).transpose()?;
        all.push(measure::measure(broker, &mut contender)?);
        match contender.changes {
            Some(output) if name == "segue" => ours = Some(output),
            Some(output) => peers.push((contender.name, output)),
            None => {}
        }
        if let Some(mut profiler) = profiler {
            Command::new("kill").args(["-INT", &profiler.id().to_string()]).status()?;
            profiler.wait()?;
        }
        if args.restarts && name == "segue" {
            tell("starting segue again");
            restart::measure(&task(args, broker, directory, &places), contender, &mut restarts)?;
        } else {
            end(contender)?;
        }
    }
    let comparisons = match ours {
        Some(ours) if !peers.is_empty() => {
            tell("comparing changes");
            compare::compare(broker, ours, &peers, passed_ms(args, end_ms)?)?
        }
        _ => Vec::new(),
    };
    print(args, &all, &comparisons)?;
    Ok(std::io::stdout().write_all(&restarts)?)
}

fn random_definitions(page: &str, directory: &Path) -> Result<PathBuf> {
    let definitions = directory.join("random");
    fs::create_dir_all(&definitions)?;
    fs::write(definitions.join("segments.yaml"), page)?;
    Ok(definitions)
}

/// What all clocks have passed: their last events, less `grace` and lateness. Flink's clock is that of the partition which is
/// furthest behind, and one event in twenty is of the rarest topic.
fn passed_ms(args: &Args, end_ms: i64) -> Result<i64> {
    let gap_ms = i64::from(args.days) * 86_400_000 / i64::try_from(args.events.max(1))? * i64::from(args.partitions);
    Ok(end_ms - 2_000 - 10 * 20 * gap_ms)
}

/// The bare loop does not listen to being asked.
fn end(contender: Contender) -> Result<()> {
    if contender.changes.is_some() {
        contender.child.end()?;
    }
    Ok(())
}

fn latencies(args: &Args, broker: &Broker, directory: &Path, rate: u64) -> Result<()> {
    if args.waiting > 0 {
        tell(&format!("publishing {} customers who wait", args.waiting));
        latency::publish_waiting(broker, args.waiting)?;
    }
    let definitions = directory.join("definitions");
    latency::definitions(&args.definitions, &definitions)?;
    let places = (definitions, args.programs.clone().map_or_else(build_directory, Ok)?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "| | events/s | what | count | p50 ms | p99 ms | p99.9 ms |\n|---|---:|---|---:|---:|---:|---:|")?;
    for name in args.only.iter().filter(|name| *name != "bare") {
        tell(&format!("measuring {name}"));
        let mut contender = contender::start(name, &task(args, broker, directory, &places))?;
        for latency in latency::measure(broker, &mut contender, rate, args.seconds)? {
            write!(out, "{}", latency.line())?;
        }
        end(contender)?;
    }
    Ok(())
}

fn print(args: &Args, all: &[Figures], comparisons: &[Comparison]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({"figures": all, "comparisons": comparisons}))?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", measure::table(all))?;
    for Comparison { peer, customers, changes, customers_that_differ, examples } in comparisons {
        writeln!(
            out,
            "\n{changes} changes of {customers} customers compared with {peer}: {customers_that_differ} customers differ"
        )?;
        for example in examples {
            writeln!(out, "  {example}")?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "progress is for whoever waits")]
fn tell(what: &str) {
    eprintln!("bench: {what}");
}
