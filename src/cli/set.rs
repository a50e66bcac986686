//! What commands have in common: the configuration, the schemas and the time zone they are read with, and how problems end.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::config::{Config, time_zone};
use crate::definition::ast::InstantLiteral;
use crate::definition::diagnostic::Diagnostic;
use crate::definition::literal::parse_instant;
use crate::definition::{self, Definitions};
use crate::engine::calendar::midnight;
use crate::kafka;
use crate::wire::schema::{SchemaError, SchemaSet};

use super::Failure;
use super::exit::{Blame as _, Exit};

/// What definitions are read with.
#[derive(Debug, clap::Args)]
pub(super) struct Surroundings {
    /// Directory of `.avsc` files: a site's own event types, next to the shipped ones
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    /// Time zone of calendar windows, ages and bare dates
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    timezone: TimeZone,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    time_zone(name).map(|zone| zone.0)
}

impl Surroundings {
    /// The shipped schemas and a site's own.
    pub(super) fn schemas(&self) -> Result<SchemaSet, Failure> {
        match &self.schemas {
            Some(directory) => SchemaSet::shipped_and(directory).blame(Exit::Wrong),
            None => SchemaSet::shipped().blame(Exit::Wrong),
        }
    }

    /// The definitions in a directory.
    pub(super) fn definitions(&self, directory: &Path, schemas: &SchemaSet) -> Result<Definitions, Failure> {
        definition::load(directory, schemas.schemas(), self.timezone.clone()).map_err(Diagnostics).blame(Exit::Wrong)
    }

    /// The time zone of bare dates.
    pub(super) fn time_zone(&self) -> &TimeZone {
        &self.timezone
    }
}

/// What a file and the environment say.
pub(super) fn configuration(file: &Path) -> Result<Config, Failure> {
    Config::load(file, std::env::vars(), kafka::check_property).blame(Exit::Usage)
}

/// The shipped schemas and, where the configuration names a directory that is there, the site's own.
pub(super) fn schemas_of(config: &Config) -> Result<SchemaSet, SchemaError> {
    let directory = &config.schemas.directory;
    if directory.is_dir() { SchemaSet::shipped_and(directory) } else { SchemaSet::shipped() }
}

/// All that is wrong with a set of definitions, for the person who wrote it.
#[derive(Debug)]
pub(super) struct Diagnostics(pub(super) Vec<Diagnostic>);

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{diagnostic}\n")?;
        }
        let errors = if self.0.len() == 1 { "error" } else { "errors" };
        write!(f, "{} {errors}; nothing was put to work", self.0.len())
    }
}

/// Reads an instant as definitions write it, or as epoch milliseconds. A bare date is its midnight in `zone`.
pub(super) fn instant(text: &str, zone: &TimeZone) -> Result<i64, Failure> {
    let literal = || match parse_instant(text).ok()? {
        InstantLiteral::Exact(epoch_ms) => Some(epoch_ms),
        // The last days there are begin after the last instant that a time zone is known for.
        InstantLiteral::Date(date) => midnight(date, zone).or_else(|| midnight_utc(date)),
    };
    // Forms that are clear enough for a command line, such as one without seconds.
    let lenient = || text.parse().ok().map(jiff::Timestamp::as_millisecond);
    let epoch_ms = text.parse::<i64>().ok();
    epoch_ms
        .or_else(literal)
        .or_else(lenient)
        .ok_or_else(|| {
            anyhow::anyhow!("`{text}` is no instant: write 2026-01-01, 2026-01-01T10:00:00Z or milliseconds")
        })
        .blame(Exit::Usage)
}

fn midnight_utc(date: jiff::civil::Date) -> Option<i64> {
    let since_epoch = date.duration_since(jiff::civil::date(1970, 1, 1));
    i64::try_from(since_epoch.as_millis()).ok()
}
