//! `segue doctor`: whether all that the service needs is there, before its first run or when it does not run.

mod around;
mod kafka;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::set::configuration;
use super::words::Words;

/// Check all that the service needs: definitions, broker, topics, registry, permissions, clock, disk, limits.
///
/// Nothing is changed. Ends with 0 when nothing is wrong, and with 4 when something is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue doctor --config segue.yaml\n  \
segue doctor --config segue.yaml --try-writing\n  \
segue doctor --config segue.yaml --json | jq '.[] | select(.verdict != \"ok\")'")]
pub(super) struct Args {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also write a record to each topic the service writes, in a transaction that is then aborted
    #[arg(long)]
    try_writing: bool,
    /// One JSON array instead of the table
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It will run, and may not do what is wanted.
    Doubtful,
    /// It will not run.
    Bad,
    /// It cannot be told, because of something else that is bad.
    Untold,
}

/// A check and what it found.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it; empty when nothing is to be done.
    advice: String,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn doubtful(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Doubtful, found: found.into(), advice: advice.into() }
    }

    fn bad(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, found: found.into(), advice: advice.into() }
    }

    fn untold(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Untold, found: found.into(), advice: String::new() }
    }

    fn json(&self) -> Value {
        json!({"check": self.check, "verdict": self.verdict.name(), "found": self.found, "advice": self.advice})
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warning",
            Self::Bad => "error",
            Self::Untold => "skipped",
        }
    }

    /// Green, yellow, red, faint.
    fn style(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Doubtful => "33",
            Self::Bad => "31",
            Self::Untold => "2",
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = configuration(&args.config)?;
    let mut findings = vec![Finding::good("configuration", args.config.display().to_string())];
    findings.push(around::definitions(&config));
    findings.extend(kafka::examine(&config, args.try_writing));
    findings.push(around::registry(&config));
    findings.extend(around::machine(&config));
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", findings.iter().map(Finding::json).collect::<Value>())?;
    } else {
        write!(out, "{}", Table { findings: &findings, words: Words::new(None) })?;
    }
    let is_bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if is_bad { Exit::Outside } else { Exit::Done })
}

struct Table<'a> {
    findings: &'a [Finding],
    words: Words,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, verdict, found, advice } in self.findings {
            let mark = self.words.paint(verdict.style(), &format!("{:<8}", verdict.name()));
            writeln!(f, "{mark} {check:<15} {found}")?;
            if !advice.is_empty() {
                writeln!(f, "{:24} -> {advice}", "")?;
            }
        }
        let count = |wanted| self.findings.iter().filter(|finding| finding.verdict == wanted).count();
        match (count(Verdict::Bad), count(Verdict::Doubtful)) {
            (0, 0) => writeln!(f, "\nnothing is wrong: `segue run` can start"),
            (0, warnings) => writeln!(f, "\n`segue run` can start; {warnings} to look at"),
            (errors, warnings) => writeln!(f, "\n{errors} to mend before `segue run`, {warnings} to look at"),
        }
    }
}

/// A number of bytes for people.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes, 0);
    while size >= 10 * 1024 && unit + 1 < UNITS.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do() {
        let findings = [
            Finding::good("broker", "3 brokers"),
            Finding::bad("topics", "clicks is missing", "segue topics create --config segue.yaml"),
            Finding::doubtful("disk", "5 GiB left", "make room"),
        ];
        let table = Table { findings: &findings, words: Words::default() }.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "ok       broker          3 brokers",
                "error    topics          clicks is missing",
                "                         -> segue topics create --config segue.yaml",
                "warning  disk            5 GiB left",
                "                         -> make room",
                "",
                "1 to mend before `segue run`, 1 to look at",
            ]
        );
    }

    #[test]
    fn bytes_are_told_in_words() {
        for (bytes, expected) in [(0, "0 bytes"), (10_239, "10239 bytes"), (10_240, "10 KiB"), (64 << 30, "64 GiB")] {
            assert_eq!(bytes_text(bytes), expected);
        }
    }
}
