//! `segue run`: the service.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::config::Config;

use super::exit::Blame as _;
use super::{Exit, Failure};

/// Run the service: read events from Kafka, write segment changes to it.
///
/// SIGTERM or Ctrl-C finishes the transaction under way, hands the partitions over and ends with 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
segue run --config segue.yaml\n  \
SEGUE_KAFKA__BROKERS=broker:9092 segue run --config segue.yaml --print-config")]
pub(super) struct Args {
    /// The configuration file (YAML). A variable overrides each key: `SEGUE_KAFKA__BROKERS` overrides `kafka.brokers`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only print the configuration as it is after files and environment, with secrets masked
    #[arg(long)]
    print_config: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = Config::load(&args.config, std::env::vars()).blame(Exit::Usage)?;
    if args.print_config {
        io::stdout().lock().write_all(config.print().as_bytes())?;
        return Ok(Exit::Done);
    }
    Ok(Exit::Done)
}
