//! Those that are compared: how each is started, and where it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bare;
use crate::broker::Broker;
use crate::change::{Output, decode_ours, decode_theirs};
use crate::process::Child;

/// Who warms the broker up.
const WARM_UP: &str = "warm-up";

/// What is asked of each.
pub(crate) struct Task<'b> {
    pub(crate) broker: &'b Broker,
    /// Where its state and its log go.
    pub(crate) directory: &'b Path,
    pub(crate) definitions: &'b Path,
    pub(crate) partitions: i32,
    pub(crate) workers: u32,
    pub(crate) commit_ms: u32,
    /// Time between Flink's checkpoints, which are its commits and cost more than those of the others.
    pub(crate) checkpoint_ms: u32,
    /// Where the programs to measure are.
    pub(crate) programs: &'b Path,
}

/// One of them, running.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
    /// Its consumer group.
    pub(crate) group: &'static str,
    pub(crate) changelog: Option<&'static str>,
    pub(crate) changes: Option<Output>,
}

/// Starts the one of that name.
pub(crate) fn start(name: &str, task: &Task<'_>) -> Result<Contender> {
    match name {
        "segue" => segue(task, "segue", ""),
        "bare" => bare(task),
        "streams" => streams(task),
        "flink" => flink(task),
        _ => bail!("nobody is called {name}: there are bare, segue, streams and flink"),
    }
}

/// Somebody to warm the broker up: segue, under another name and with topics of its own.
pub(crate) fn warm_up(task: &Task<'_>) -> Result<Contender> {
    segue(
        task,
        WARM_UP,
        "topics: {changes: warm-changes, memberships: warm-memberships, dead_letters: warm-dead-letters}\n",
    )
}

/// `segue run`.
fn segue(task: &Task<'_>, name: &'static str, topics: &str) -> Result<Contender> {
    let segue = task.programs.join("segue");
    let config = task.directory.join(format!("{name}.yaml"));
    fs::write(
        &config,
        format!(
            "application: {{id: {name}, definitions: {}, data_dir: {}, workers: {}}}\n{topics}\
             kafka: {{brokers: \"{}\"}}\ncommit: {{interval: {}ms}}\nhttp: {{listen: \"127.0.0.1:0\"}}\n",
            fs::canonicalize(task.definitions)?.display(),
            task.directory.join(format!("{name}-data")).display(),
            task.workers,
            task.broker.address(),
            task.commit_ms,
        ),
    )?;
    let mut create = Command::new(&segue);
    create.args(["topics", "create", "--config"]).arg(&config);
    let made = create.args(["--partitions", &task.partitions.to_string()]).output()?;
    ensure!(made.status.success(), "topics: {}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(&segue);
    command.args(["run", "--config"]).arg(&config);
    Ok(Contender {
        name,
        child: Child::start(name, &command, task.directory)?,
        group: name,
        changelog: Some("segue-changelog"),
        changes: Some(("segment-changes", decode_ours)),
    })
}

/// Kafka Streams with the same segments in Java.
fn streams(task: &Task<'_>) -> Result<Contender> {
    task.broker.create_topics(&["streams-changes"], task.partitions, &[])?;
    let command = peer("streams", &["-Xms3g", "-Xmx3g"], task.commit_ms, task)?;
    Ok(Contender {
        name: "Kafka Streams",
        child: Child::start("streams", &command, task.directory)?,
        group: "streams",
        changelog: Some("streams-profiles-changelog"),
        changes: Some(("streams-changes", decode_theirs)),
    })
}

/// Flink with the same; of its memory 1 GiB is RocksDB's, outside the heap. Its state is in checkpoints and in no topic.
fn flink(task: &Task<'_>) -> Result<Contender> {
    task.broker.create_topics(&["flink-changes"], task.partitions, &[])?;
    let command = peer("flink", &["-Xms2g", "-Xmx2g"], task.checkpoint_ms, task)?;
    Ok(Contender {
        name: "Flink",
        child: Child::start("flink", &command, task.directory)?,
        group: "flink",
        changelog: None,
        changes: Some(("flink-changes", decode_theirs)),
    })
}

/// A peer as Maven built it.
fn peer(name: &str, memory: &[&str], commit_ms: u32, task: &Task<'_>) -> Result<Command> {
    let home = Path::new("bench/peers").join(name).join("target");
    let jar = home.join(format!("{name}.jar"));
    ensure!(jar.is_file(), "the peer {name} is not built: use `./dev bench`");
    let mut command = Command::new("java");
    command.args(memory).args(["-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
    command.arg(format!("{}:{}", jar.display(), home.join("libs/*").display()));
    command.args(["segue.bench.Main", &task.broker.address()]).arg(task.directory.join(name));
    command.args([task.workers.to_string(), commit_ms.to_string()]);
    Ok(command)
}

/// The bare loop, which is this program once more.
fn bare(task: &Task<'_>) -> Result<Contender> {
    task.broker.create_topics(&[bare::CHANGELOG], task.partitions, &[])?;
    let mut command = Command::new(task.programs.join("examples/bench"));
    command.args(["bare-loop", "--brokers", &task.broker.address(), "--directory"]).arg(task.directory);
    command.arg("--definitions").arg(task.definitions);
    let numbers = [("--partitions", task.partitions.to_string()), ("--workers", task.workers.to_string())];
    for (name, number) in numbers {
        command.args([name, &number]);
    }
    command.args(["--commit-ms", &task.commit_ms.to_string()]);
    Ok(Contender {
        name: "bare loop",
        child: Child::start("bare", &command, task.directory)?,
        group: bare::NAME,
        changelog: Some(bare::CHANGELOG),
        changes: None,
    })
}

/// Records where a process spends its time, until it is told to stop.
pub(crate) fn profile(child: &Child, file: &Path) -> Result<std::process::Child> {
    // Threads that are started later would not be seen.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-F", "199", "-g", "--call-graph", "dwarf,8192", "-o"]).arg(file);
    perf.args(["-p", &child.id().to_string()]).spawn().context("perf cannot be started")
}

/// The directory of the build that this program is of.
pub(crate) fn build_directory() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().and_then(Path::parent).context("this program is in no target directory")?.to_owned())
}
