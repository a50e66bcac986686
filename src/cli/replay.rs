//! `segue replay`: the real engine over files, without Kafka.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::duration_ms;
use crate::testing::{Options, Replay};
use crate::wire::change::write_json;

use super::events::{EventFiles, Heard};
use super::exit::{Exit, Failure};
use super::progress::Progress;
use super::set::{Surroundings, instant};

/// Run the engine over files of events and print the changes as JSON lines.
///
/// Events are JSON lines or Avro object container files (`.avro`); several files are read one after the other, and `-`
/// is standard input. Lines that do not count are told on standard error, and the exit code is then 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue replay --definitions deploy/segments --events events.jsonl --until 2026-02-01\n  \
zcat events.jsonl.gz | segue replay --definitions my-segments --events - | jq .segment")]
pub(super) struct Args {
    /// Directory of definition files (YAML)
    #[arg(long, value_name = "DIR")]
    definitions: PathBuf,
    /// Files of events, in the order to read them; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// Move the clock on to this instant after the last event
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    until: Option<String>,
    /// How far the clock stays behind the latest event
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration_ms)]
    grace: i64,
    #[command(flatten)]
    surroundings: Surroundings,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let until = args.until.as_deref().map(|text| instant(text, args.surroundings.time_zone())).transpose()?;
    let schemas = args.surroundings.schemas()?;
    let definitions = args.surroundings.definitions(&args.definitions, &schemas)?;
    // On a terminal the changes themselves show how far it is.
    let progress = if io::stdout().is_terminal() { Progress::hidden() } else { Progress::of_files(&args.events) };
    let files = EventFiles { files: &args.events, schemas: &schemas, ignore_after: i64::MAX, progress: &progress };
    files.must_exist()?;
    let mut options = Options::default();
    options.limits.grace_ms = args.grace;
    let mut replay = Replay::new(Arc::new(definitions.catalog), &schemas, options);
    let mut printer = Printer { out: BufWriter::with_capacity(1 << 16, io::stdout().lock()), line: Vec::new() };
    let mut n_refused = 0;
    files.read(&mut replay, &mut |replay, heard| {
        printer.print(replay)?;
        match heard {
            Heard::Counted => {}
            Heard::Bad(complaint) => {
                n_refused += 1;
                progress.aside(|| writeln!(io::stderr(), "{complaint}"))?;
            }
            // Whoever waits for us should not have to wait for the next event.
            Heard::Silence => printer.out.flush()?,
        }
        Ok(())
    })?;
    if let Some(until) = until {
        replay.advance_past(until)?;
    }
    printer.print(&mut replay)?;
    printer.out.flush()?;
    Ok(if n_refused == 0 { Exit::Done } else { Exit::Refused })
}

/// Prints changes as they come.
struct Printer<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, replay: &mut Replay) -> io::Result<()> {
        for change in replay.take_changes() {
            self.line.clear();
            write_json(&change, &mut self.line);
            self.line.push(b'\n');
            self.out.write_all(&self.line)?;
        }
        Ok(())
    }
}
