//! How fast a contender works through what is in the broker, and what that costs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::broker::{Broker, Progress};
use crate::contender::Contender;

/// How often progress is looked at: rarely enough not to weigh on the broker.
const LOOK: Duration = Duration::from_millis(200);
/// A contender that takes longer has failed.
const LONGEST: Duration = Duration::from_mins(30);

/// What one contender did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) events: i64,
    /// From the start of the process to the last commit, seconds.
    pub(crate) seconds: f64,
    /// Between a tenth and nine tenths of the input.
    pub(crate) events_per_second: f64,
    /// Of the whole process, start included, for each million events.
    pub(crate) cpu_seconds_per_million: f64,
    /// The same between a tenth and nine tenths of the input: without start and warm-up.
    pub(crate) steady_cpu_seconds_per_million: f64,
    pub(crate) broker_cpu_seconds_per_million: f64,
    pub(crate) peak_bytes: u64,
    /// None of who has no changelog.
    pub(crate) changelog_bytes: Option<u64>,
    pub(crate) output_records: i64,
}

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    done: i64,
    cpu: f64,
}

/// Waits until a contender has committed so many events, or all.
pub(crate) fn follow(broker: &Broker, contender: &mut Contender, n_events: i64) -> Result<()> {
    let progress = Progress::of(broker, contender.group)?;
    while progress.committed()? < n_events.min(progress.end) {
        contender.child.expect_running()?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Watches a contender until it has committed everything.
pub(crate) fn measure(broker: &Broker, contender: &mut Contender) -> Result<Figures> {
    let Contender { name, child, group, changelog, changes } = contender;
    let began = Instant::now();
    let broker_began = broker.child.cpu_seconds()?;
    let progress = Progress::of(broker, group)?;
    let mut looks = Vec::new();
    loop {
        std::thread::sleep(LOOK);
        child.expect_running()?;
        let look = Look { done: progress.committed()?, cpu: child.cpu_seconds()?, at: Instant::now() };
        looks.push(look);
        if look.done >= progress.end {
            break;
        }
        if began.elapsed() > LONGEST {
            bail!("{name} has done {} of {} after {LONGEST:?}", look.done, progress.end);
        }
    }
    let last = looks[looks.len() - 1];
    let broker_cpu = broker.child.cpu_seconds()? - broker_began;
    let (from, to) = steady(&looks, progress.end);
    let (span, cpu) = (to.at.duration_since(from.at).as_secs_f64(), to.cpu - from.cpu);
    Ok(Figures {
        name: (*name).to_owned(),
        events: progress.end,
        seconds: last.at.duration_since(began).as_secs_f64(),
        events_per_second: float(to.done - from.done) / span,
        cpu_seconds_per_million: last.cpu / float(progress.end) * 1e6,
        steady_cpu_seconds_per_million: cpu / float(to.done - from.done) * 1e6,
        broker_cpu_seconds_per_million: broker_cpu / float(progress.end) * 1e6,
        peak_bytes: child.peak_bytes()?,
        changelog_bytes: changelog.map(|topic| broker.bytes_of(topic)).transpose()?,
        output_records: match changes {
            Some((topic, _)) => broker.ends(topic)?.iter().sum(),
            None => 0,
        },
    })
}

/// The looks nearest to a tenth and nine tenths of the input.
fn steady(looks: &[Look], end: i64) -> (Look, Look) {
    let first = looks.iter().find(|look| look.done >= end / 10).unwrap_or(&looks[0]);
    let last = looks.iter().rev().find(|look| look.done <= end / 10 * 9 && look.done > first.done);
    (*first, *last.unwrap_or(&looks[looks.len() - 1]))
}

#[expect(clippy::cast_precision_loss, reason = "counts of events and bytes in a table of three digits")]
pub(crate) fn float(count: i64) -> f64 {
    count as f64
}

/// A table in Markdown.
pub(crate) fn table(all: &[Figures]) -> String {
    let mut page = String::from(
        "| | events/s | CPU s/M events | without start | peak memory MB | broker CPU s/M | changelog MB | changes |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for f in all {
        let memory = f.peak_bytes / 1_000_000;
        let changelog = f.changelog_bytes.map(|bytes| (bytes / 1_000_000).to_string()).unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {:.0} | {:.2} | {:.2} | {memory} | {:.2} | {changelog} | {} |",
            f.name,
            f.events_per_second,
            f.cpu_seconds_per_million,
            f.steady_cpu_seconds_per_million,
            f.broker_cpu_seconds_per_million,
            f.output_records,
        );
    }
    page
}
