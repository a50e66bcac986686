//! Measures segue on this machine, beside others that do the same work on the same broker: `./dev bench --help`.

#![allow(clippy::disallowed_methods, reason = "reading clocks is what this is for")]

mod bare;
mod broker;
mod chance;
mod compare;
mod contender;
mod encode;
mod measure;
mod process;
mod publish;
mod traffic;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;

use broker::{Broker, INPUTS};
use compare::Comparison;
use contender::{Task, build_directory};
use measure::Figures;
use traffic::Size;

/// Puts a shop's traffic into a broker of its own, lets each contender work through it, and prints what that took.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    size: Size,
    /// Partitions of each topic
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Threads of each contender
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Time between commits, milliseconds
    #[arg(long, default_value_t = 100)]
    commit_ms: u32,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_value = "bare,segue,streams")]
    only: Vec<String>,
    /// Segment definitions
    #[arg(long, default_value = "bench/retail")]
    definitions: PathBuf,
    /// Where broker and state live while it runs
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The build whose `segue` is measured; the one of this program unless it is named
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Write a profile of segue to this file, with perf
    #[arg(long)]
    profile: Option<PathBuf>,
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
    let end_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    tell(&format!("publishing {} events", args.size.events));
    let n_bytes = publish::publish(&broker, &args.size, end_ms)?;
    tell(&format!("published {} MB", n_bytes / 1_000_000));
    let programs = args.programs.clone().map_or_else(build_directory, Ok)?;
    let task = Task {
        programs: &programs,
        broker: &broker,
        directory: directory.path(),
        partitions: args.partitions,
        workers: args.workers,
        commit_ms: args.commit_ms,
        profile: args.profile.as_deref(),
    };
    let mut all = Vec::new();
    for name in &args.only {
        tell(&format!("measuring {name}"));
        all.push(match name.as_str() {
            "bare" => contender::bare(&task, &args.definitions)?,
            "segue" => contender::segue(&task, &args.definitions)?,
            "streams" => contender::streams(&task, Path::new("bench/streams/target"))?,
            _ => anyhow::bail!("nobody is called {name}"),
        });
    }
    let took_part = |name: &str| args.only.iter().any(|other| other == name);
    let comparison = if took_part("segue") && took_part("streams") {
        tell("comparing changes");
        // Both clocks have passed this: the last event less `grace` and lateness.
        Some(compare::compare(&broker, end_ms - 2_000)?)
    } else {
        None
    };
    print(&args, &all, comparison.as_ref())
}

fn print(args: &Args, all: &[Figures], comparison: Option<&Comparison>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({"figures": all, "comparison": comparison}))?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", measure::table(all))?;
    if let Some(Comparison { customers, changes, customers_that_differ, examples }) = comparison {
        writeln!(
            out,
            "\n{changes} changes of {customers} customers compared: {customers_that_differ} customers differ"
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
