//! `segue run`: the service.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::definition;
use crate::http::{DefinitionFiles, Server, Sources, advertised};
use crate::kafka::{KafkaError, Stop};
use crate::telemetry::{Telemetry, start_logging};
use crate::worker::settings::Settings;
use crate::worker::status::Status;
use crate::worker::supervisor::Engine;

use super::exit::Blame as _;
use super::set::{Diagnostics, configuration, schemas_of};
use super::signals::end_on_signals;
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

/// How long the workers may take to commit and put down what they own, once they are asked to end.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = configuration(&args.config)?;
    if args.print_config {
        io::stdout().lock().write_all(config.print().as_bytes())?;
        return Ok(Exit::Done);
    }
    let _logging = start_logging(&config.log, &config.application.id).blame(Exit::Usage)?;
    let schemas = schemas_of(&config).blame(Exit::Wrong)?;
    let zone = config.application.timezone.0.clone();
    let definitions = definition::load(&config.application.definitions, schemas.schemas(), zone.clone());
    let catalog = Arc::new(definitions.map_err(Diagnostics).blame(Exit::Wrong)?.catalog);
    let schemas = Arc::new(schemas);

    let stop = Stop::default();
    end_on_signals(&stop)?;
    let mut settings = Settings::of(&config);
    let telemetry = Telemetry::new()?;
    let sources = Sources::new(Status::new(settings.workers, catalog.clone()), telemetry.clone());
    // Before anything is waited for, so that health and readiness can be asked for.
    let server = Server::start(&config.http, sources.clone());
    let server = server.with_context(|| format!("cannot listen on {}", config.http.listen))?;
    settings.address = advertised(&config.http.advertise, server.address(), &config.kafka.brokers);
    tracing::info!(address = %server.address(), to_others = settings.address, "answering HTTP");
    let directory = config.application.definitions.clone();
    sources.defined_by(DefinitionFiles::of_directory(directory, schemas.clone(), zone.clone()));
    let engine = Engine::connect(&config, settings, catalog, schemas, telemetry, sources.status.clone(), stop);
    let engine = match engine {
        Err(KafkaError::Stopped) => return Ok(Exit::Done),
        engine => engine?,
    };
    let running = engine.start()?;
    sources.ask(running.askers.clone());
    sources.follow(engine.feed());
    sources.meet(engine.peers());
    running.wait(DEADLINE)?;
    Ok(Exit::Done)
}
