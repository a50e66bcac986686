//! `segue test`: do the definitions do what their own tests say.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::testing::run_case;

use super::exit::{Exit, Failure};
use super::set::Surroundings;

/// Run the tests that definition files hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue test deploy/segments\n  \
segue test my-segments --schemas my-schemas --json")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    surroundings: Surroundings,
    /// Print one JSON line for each test
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let schemas = args.surroundings.schemas()?;
    let definitions = args.surroundings.definitions(&args.directory, &schemas)?;
    let catalog = Arc::new(definitions.catalog);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut n_failed = 0;
    for case in &definitions.tests {
        let failures = run_case(&catalog, &schemas, case);
        n_failed += usize::from(!failures.is_empty());
        if args.json {
            let failures: Vec<_> =
                failures.iter().map(|failure| json!({"line": failure.line, "message": failure.message})).collect();
            let line = json!({"test": case.name, "file": case.file, "line": case.line, "failures": failures});
            writeln!(out, "{line}")?;
            continue;
        }
        let verdict = if failures.is_empty() { "ok    " } else { "FAILED" };
        writeln!(out, "{verdict} {} ({}:{})", case.name, case.file, case.line)?;
        for failure in &failures {
            writeln!(out, "  {}:{}: {}", case.file, failure.line, failure.message.replace('\n', "\n  "))?;
        }
    }
    out.flush()?;
    writeln!(io::stderr(), "{} tests, {n_failed} failed", definitions.tests.len())?;
    Ok(if n_failed == 0 { Exit::Done } else { Exit::Wrong })
}
