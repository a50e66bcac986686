//! `segue explain`: why a customer is in a segment, or is not, and when that will change.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use crate::definition::diagnostic::did_you_mean;
use crate::engine::catalog::{Catalog, SegmentId};
use crate::engine::explain::{Condition, Explanation};
use crate::engine::value::Value;
use crate::http::api;
use crate::testing::{Options, Replay};
use crate::wire::missing;
use crate::wire::text::value_text;

use super::events::{EventFiles, Heard};
use super::exit::{Blame as _, Exit, Failure};
use super::progress::Progress;
use super::set::{Surroundings, instant};

/// Tell why a customer is in a segment, or is not: every condition, its value, and when it will next flip by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue explain --definitions deploy/segments --events events.jsonl --customer c1 --segment cart_abandoner\n  \
segue explain --definitions deploy/segments --events events.jsonl --customer c1 --at 2026-02-01T12:00:00Z --json")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(long, value_name = "DIR")]
    definitions: PathBuf,
    /// Files of events, in the order to read them; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// The customer's id
    #[arg(long, value_name = "ID")]
    customer: String,
    /// Only this segment
    #[arg(long, value_name = "NAME")]
    segment: Option<String>,
    /// As of this instant; by default the last event's
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    at: Option<String>,
    #[command(flatten)]
    surroundings: Surroundings,
    /// Print one JSON line for each segment
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let at = args.at.as_deref().map(|text| instant(text, args.surroundings.time_zone())).transpose()?;
    let schemas = args.surroundings.schemas()?;
    let definitions = args.surroundings.definitions(&args.definitions, &schemas)?;
    let asked = asked(&definitions.catalog, args.segment.as_deref())?;
    let progress = Progress::of_files(&args.events);
    let ignore_after = at.unwrap_or(i64::MAX);
    let files = EventFiles { files: &args.events, schemas: &schemas, ignore_after, progress: &progress };
    files.must_exist()?;
    let mut replay = Replay::new(Arc::new(definitions.catalog), &schemas, Options::default());
    let mut n_refused = 0;
    files.read(&mut replay, &mut |replay, heard| {
        drop(replay.take_changes());
        if let Heard::Bad(complaint) = heard {
            n_refused += 1;
            progress.aside(|| writeln!(io::stderr(), "{complaint}"))?;
        }
        Ok(())
    })?;
    drop(progress);
    print(args, &asked, &mut replay, at)?;
    Ok(if n_refused == 0 { Exit::Done } else { Exit::Refused })
}

/// The segment asked about, or all of them.
fn asked(catalog: &Catalog, segment: Option<&str>) -> Result<Vec<SegmentId>, Failure> {
    let Some(name) = segment else { return Ok((0..).map(SegmentId).take(catalog.segments.len()).collect()) };
    if let Some(id) = catalog.segment_ids.get(name) {
        return Ok(vec![*id]);
    }
    let hint = did_you_mean(name, catalog.segments.iter().map(|known| known.name.as_str()));
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(anyhow!("there is no segment `{name}`{hint}")).blame(Exit::Usage)
}

fn print(args: &Args, asked: &[SegmentId], replay: &mut Replay, at: Option<i64>) -> Result<(), Failure> {
    let customer = replay.customer(&args.customer)?;
    let customer = customer
        .with_context(|| format!("no record of customer `{}` counts in these events", args.customer))
        .blame(Exit::Wrong)?;
    let own_time = customer.own_time.unwrap_or(i64::MIN);
    let at = at.or(replay.partition().clock()).unwrap_or(own_time).max(own_time);
    let catalog = replay.catalog().clone();
    let mut out = BufWriter::new(io::stdout().lock());
    if !args.json {
        writeln!(out, "customer {} at {}", args.customer, instant_text(at))?;
    }
    for explanation in replay.partition().engine().explain(&args.customer, &customer, asked, at) {
        let Some(segment) = catalog.segments.get(explanation.segment.index()) else { continue };
        if args.json {
            let mut line = api::explanation(&segment.name, &explanation);
            line["customer_id"] = args.customer.as_str().into();
            line["at"] = api::instant(at);
            writeln!(out, "{line}")?;
        } else {
            print_segment(&mut out, &segment.name, &explanation)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn print_segment(out: &mut impl Write, name: &str, explanation: &Explanation) -> io::Result<()> {
    let standing = &explanation.standing;
    let (now, verb) = if standing.member {
        (format!("in since {}", instant_text(standing.since)), "leaves")
    } else {
        ("out".to_owned(), "enters")
    };
    let next = explanation.next_flip.map(|at| format!("; {verb} by itself at {}", instant_text(at)));
    writeln!(out, "\n{name}: {now}{}", next.unwrap_or_default())?;
    if let Some(missing) = missing::words(explanation) {
        writeln!(out, "  missing: {missing}")?;
    }
    let conditions = [("when", Some(&explanation.when)), ("until", explanation.until.as_ref())];
    for (role, condition) in conditions {
        if let Some(condition) = condition {
            print_condition(out, &format!("  {role:<6}"), condition)?;
        }
    }
    Ok(())
}

/// One line for each condition: whether it holds, its text, the value it had, and when it will turn by itself.
fn print_condition(out: &mut impl Write, lead: &str, condition: &Condition) -> io::Result<()> {
    let holds = if condition.holds { "true " } else { "false" };
    let text = match condition.junction {
        Some("or") => "any of",
        Some("not") => "not",
        Some(_) => "all of",
        None => &condition.text,
    };
    let value = match &condition.value {
        _ if condition.junction.is_some() => String::new(),
        Value::Bool(_) => String::new(),
        value => format!("  [is {}]", value_text(value)),
    };
    let next = condition.next_flip.map(|at| format!("  [{} at {}]", !condition.holds, instant_text(at)));
    writeln!(out, "{lead}{holds} {text}{value}{}", next.unwrap_or_default())?;
    let lead = format!("{}  ", " ".repeat(lead.len()));
    condition.parts.iter().try_for_each(|part| print_condition(out, &lead, part))
}

fn instant_text(instant_ms: i64) -> String {
    value_text(&Value::Instant(instant_ms))
}
