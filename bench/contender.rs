//! Those that are compared: how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bare;
use crate::broker::Broker;
use crate::measure::{Figures, measure};
use crate::process::Child;

/// What is asked of each.
pub(crate) struct Task<'b> {
    pub(crate) broker: &'b Broker,
    /// Where its state and its log go.
    pub(crate) directory: &'b Path,
    pub(crate) partitions: i32,
    pub(crate) workers: u32,
    pub(crate) commit_ms: u32,
    /// Where the programs to measure are.
    pub(crate) programs: &'b Path,
    /// Where `perf record` writes while it runs.
    pub(crate) profile: Option<&'b Path>,
}

/// `segue run` with the definitions of a file or directory.
pub(crate) fn segue(task: &Task<'_>, definitions: &Path) -> Result<Figures> {
    let segue = task.programs.join("segue");
    let definitions = fs::canonicalize(definitions)?;
    let config = task.directory.join("segue.yaml");
    fs::write(
        &config,
        format!(
            "application: {{id: segue, definitions: {}, data_dir: {}, workers: {}}}\n\
             kafka: {{brokers: \"{}\"}}\ncommit: {{interval: {}ms}}\nhttp: {{listen: \"127.0.0.1:0\"}}\n",
            definitions.display(),
            task.directory.join("segue-data").display(),
            task.workers,
            task.broker.address(),
            task.commit_ms,
        ),
    )?;
    let mut create = Command::new(&segue);
    create.args(["topics", "create", "--config"]).arg(&config);
    create.args(["--partitions", &task.partitions.to_string()]);
    let made = create.output()?;
    anyhow::ensure!(made.status.success(), "topics: {}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(&segue);
    command.args(["run", "--config"]).arg(&config);
    let mut child = Child::start("segue", &command, task.directory)?;
    if task.profile.is_some() {
        // Threads that come later would not be seen.
        std::thread::sleep(Duration::from_secs(2));
    }
    let profiler = task.profile.map(|file| profile(&child, file)).transpose()?;
    let outputs = ["segment-changes".to_owned()];
    let figures = measure("segue", task.broker, &mut child, "segue", &["segue-changelog".to_owned()], &outputs)?;
    if let Some(mut profiler) = profiler {
        Command::new("kill").args(["-INT", &profiler.id().to_string()]).status()?;
        profiler.wait()?;
    }
    child.end()?;
    Ok(figures)
}

/// The bare loop, which is this program once more.
pub(crate) fn bare(task: &Task<'_>, definitions: &Path) -> Result<Figures> {
    task.broker.create_topics(&[bare::CHANGELOG], task.partitions, &[])?;
    let mut command = Command::new(task.programs.join("examples/bench"));
    command.args(["bare-loop", "--brokers", &task.broker.address(), "--directory"]).arg(task.directory);
    command.arg("--definitions").arg(definitions);
    let numbers = [("--partitions", task.partitions.to_string()), ("--workers", task.workers.to_string())];
    for (name, number) in numbers {
        command.args([name, &number]);
    }
    command.args(["--commit-ms", &task.commit_ms.to_string()]);
    let mut child = Child::start("bare", &command, task.directory)?;
    measure("bare loop", task.broker, &mut child, bare::NAME, &[bare::CHANGELOG.to_owned()], &[])
}

/// The peer: Kafka Streams with the same segments in Java, as Maven built it in `home`.
pub(crate) fn streams(task: &Task<'_>, home: &Path) -> Result<Figures> {
    anyhow::ensure!(home.join("streams.jar").is_file(), "the peer is not built: use `./dev bench`");
    task.broker.create_topics(&["streams-changes"], task.partitions, &[])?;
    let mut command = Command::new("java");
    command.args(["-Xms3g", "-Xmx3g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
    command.arg(format!("{}:{}", home.join("streams.jar").display(), home.join("libs/*").display()));
    command.args(["segue.bench.Main", &task.broker.address()]).arg(task.directory.join("streams"));
    command.args([task.workers.to_string(), task.commit_ms.to_string()]);
    let mut child = Child::start("streams", &command, task.directory)?;
    let changelog = ["streams-profiles-changelog".to_owned()];
    let figures =
        measure("Kafka Streams", task.broker, &mut child, "streams", &changelog, &["streams-changes".to_owned()])?;
    child.end()?;
    Ok(figures)
}

fn profile(child: &Child, file: &Path) -> Result<std::process::Child> {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-F", "199", "-g", "--call-graph", "dwarf,8192", "-o"]).arg(file);
    perf.args(["-p", &child.id().to_string()]).spawn().context("perf cannot be started")
}

/// The directory of the build that this program is of.
pub(crate) fn build_directory() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().and_then(Path::parent).context("this program is in no target directory")?.to_owned())
}
