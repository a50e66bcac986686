//! `segue check`: is a set of definitions fit to be put to work, and what does it cost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::json;

use crate::definition;
use crate::engine::catalog::{AggregateId, Catalog, NodeId, Op, Segment, Target};

use super::exit::{Exit, Failure};
use super::set::{Diagnostics, Surroundings};

/// Check definitions: one line for each segment, or every error.
///
/// A line tells the segment's features (what is kept for each customer), with whom it shares them, and its cost: the
/// number of nodes of the shared graph that it reads, features and patterns included.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue check deploy/segments\n  \
segue check my-segments --schemas my-schemas --timezone Europe/Paris --json\n  \
segue check --schema > definitions.schema.json")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(value_name = "DIR", required_unless_present = "schema")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    surroundings: Surroundings,
    /// Print JSON lines: segments on standard output, errors on standard error
    #[arg(long)]
    json: bool,
    /// Only print the JSON Schema of definition files, for editors that complete and check them
    #[arg(long, conflicts_with_all = ["directory", "json"])]
    schema: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(directory) = &args.directory else {
        io::stdout().lock().write_all(definition::json_schema().as_bytes())?;
        return Ok(Exit::Done);
    };
    let schemas = args.surroundings.schemas()?;
    let definitions = match args.surroundings.definitions(directory, &schemas) {
        Ok(definitions) => definitions,
        Err(failure) if args.json => return print_diagnostics(failure),
        Err(failure) => return Err(failure),
    };
    let costs = costs(&definitions.catalog);
    let mut out = BufWriter::new(io::stdout().lock());
    for cost in &costs {
        if args.json {
            serde_json::to_writer(&mut out, &cost.json())?;
            out.write_all(b"\n")?;
        } else {
            writeln!(out, "{}", cost.line())?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn print_diagnostics(failure: Failure) -> Result<Exit, Failure> {
    let Some(Diagnostics(diagnostics)) = failure.reason() else { return Err(failure) };
    let mut err = io::stderr().lock();
    for diagnostic in diagnostics {
        writeln!(err, "{}", serde_json::to_string(diagnostic)?)?;
    }
    Ok(Exit::Wrong)
}

/// What a segment reads, and who else reads that.
struct Cost<'a> {
    segment: &'a Segment,
    n_nodes: usize,
    features: Vec<(&'a str, Vec<&'a str>)>,
}

impl Cost<'_> {
    fn line(&self) -> String {
        let feature = |(text, others): &(&str, Vec<&str>)| match others.as_slice() {
            [] => (*text).to_owned(),
            [one] => format!("{text} (shared with {one})"),
            [one, rest @ ..] => format!("{text} (shared with {one} and {} more)", rest.len()),
        };
        let features = match self.features.iter().map(feature).collect::<Vec<_>>() {
            none if none.is_empty() => "no features".to_owned(),
            some => some.join("; "),
        };
        format!("{} cost {}: {features}", self.segment.name, self.n_nodes)
    }

    fn json(&self) -> serde_json::Value {
        let features = self.features.iter().map(|(text, others)| json!({"feature": text, "shared_with": others}));
        json!({
            "segment": self.segment.name,
            "definition": self.segment.definition,
            "cost": self.n_nodes,
            "features": features.collect::<Vec<_>>(),
        })
    }
}

fn costs(catalog: &Catalog) -> Vec<Cost<'_>> {
    let reads: Vec<Reads> = catalog.segments.iter().map(|segment| Reads::of(catalog, segment)).collect();
    let mut users: BTreeMap<AggregateId, Vec<&str>> = BTreeMap::new();
    for (segment, reads) in catalog.segments.iter().zip(&reads) {
        for aggregate in &reads.aggregates {
            users.entry(*aggregate).or_default().push(&segment.name);
        }
    }
    let mut costs = Vec::new();
    for (segment, reads) in catalog.segments.iter().zip(&reads) {
        let feature = |id: &AggregateId| {
            let text: &str = &catalog.aggregates.get(id.index())?.text;
            let others = users.get(id).into_iter().flatten().copied().filter(|other| *other != segment.name);
            Some((text, others.collect()))
        };
        let features = reads.aggregates.iter().filter_map(feature).collect();
        costs.push(Cost { segment, n_nodes: reads.size(catalog), features });
    }
    costs
}

/// The parts of the shared graph that a segment reads.
#[derive(Default)]
struct Reads {
    nodes: BTreeSet<NodeId>,
    aggregates: BTreeSet<AggregateId>,
}

impl Reads {
    fn of(catalog: &Catalog, segment: &Segment) -> Self {
        let mut reads = Self::default();
        let roots = [Some(segment.when), segment.ending].into_iter().flatten();
        roots.chain(segment.carry.iter().map(|(_, node)| *node)).for_each(|root| reads.add(catalog, root));
        reads
    }

    fn add(&mut self, catalog: &Catalog, id: NodeId) {
        if !self.nodes.insert(id) {
            return;
        }
        let Some(node) = catalog.nodes.get(id.index()) else { return };
        node.op.operands().for_each(|operand| self.add(catalog, operand));
        match &node.op {
            Op::Aggregate(aggregate) => drop(self.aggregates.insert(*aggregate)),
            Op::Percentile(id) => {
                let percentile = catalog.percentiles.get(id.index());
                self.aggregates.extend(percentile.map(|percentile| percentile.aggregate));
            }
            Op::Held(id) => {
                if let Some(hold) = catalog.holds.get(id.index()) {
                    self.add(catalog, hold.condition);
                }
            }
            _ => {}
        }
    }

    /// Nodes, features, and the patterns that feed those.
    fn size(&self, catalog: &Catalog) -> usize {
        let feeds = |target: &Target| matches!(target, Target::Aggregate { aggregate, .. } if self.aggregates.contains(aggregate));
        let n_patterns = catalog.patterns.iter().filter(|pattern| pattern.targets.iter().any(feeds)).count();
        self.nodes.len() + self.aggregates.len() + n_patterns
    }
}
