//! `segue fmt`: definitions in one canonical style.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::definition::{definition_files, format as canonical};

use super::exit::{Blame as _, Exit, Failure};
use super::set::Diagnostics;

/// Rewrite definition files in one canonical style; what they mean and every comment stay as they are.
///
/// Prints the names of the files that it changes. Files that are no YAML, or hold an expression that cannot be parsed, are
/// told on standard error and left alone; so are, silently, those that use anchors, aliases or tags.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue fmt my-segments\n  \
segue fmt my-segments --check")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Change nothing; print the files that would change, and end with 1 if there are any
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (files, mut problems) = definition_files(&args.directory);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut n_changed = 0;
    for (name, text) in files {
        match canonical(&name, &text) {
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                n_changed += 1;
                if !args.check {
                    fs::write(&name, formatted).with_context(|| format!("cannot write {name}"))?;
                }
                writeln!(out, "{name}")?;
            }
            Err(found) => problems.extend(found),
        }
    }
    out.flush()?;
    if !problems.is_empty() {
        return Err(Diagnostics(problems)).blame(Exit::Wrong);
    }
    Ok(if args.check && n_changed > 0 { Exit::Wrong } else { Exit::Done })
}
