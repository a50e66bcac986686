//! Real purchases through a real broker and the `segue` binary, and through `segue replay`: both give the same changes.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod record_shop;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use record_shop::{UNTIL, folder, purchases};
use serde_json::Value;
use support::Broker;

/// Changes of each customer, in order.
type Changes = BTreeMap<String, Vec<Value>>;

const PARTITIONS: i32 = 4;

#[test]
fn a_live_run_gives_the_changes_of_the_replay() {
    let directory = tempfile::tempdir().unwrap();
    let replayed = replayed_changes(directory.path());
    let broker = Broker::shared();
    let id = broker.unique("cdnow");
    let config = directory.path().join("segue.yaml");
    fs::write(&config, configuration(&broker.address(), &id, directory.path())).unwrap();
    let partitions = PARTITIONS.to_string();
    let made =
        segue().args(["topics", "create", "--partitions", &partitions, "--config"]).arg(&config).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // All at once and before the start: an engine that has read everything follows the wall clock, and refuses 1997.
    publish(broker, &format!("{id}-purchases"));

    let mut engine = Engine::start(&config, &directory.path().join("log"));
    let n_wanted = replayed.values().map(Vec::len).sum();
    let live = engine.wait_for(|| Some(live_changes(broker, &id)).filter(|live| count(live) >= n_wanted));
    engine.stop();

    assert_eq!(count(&live), n_wanted);
    for (customer, expected) in &replayed {
        assert_eq!(live.get(customer), Some(expected), "customer {customer}");
    }
    assert_eq!(count(&live_changes(broker, &id)), n_wanted, "nothing more comes with the shutdown");
    assert_eq!(broker.read(&format!("{id}-dead-letters")), [], "no purchase was refused");
}

fn segue() -> Command {
    Command::new(env!("CARGO_BIN_EXE_segue"))
}

fn replayed_changes(directory: &Path) -> Changes {
    let events = directory.join("events.jsonl");
    fs::write(&events, purchases().iter().map(|purchase| purchase.event() + "\n").collect::<String>()).unwrap();
    let mut command = segue();
    command.args(["replay", "--until", UNTIL, "--definitions"]).arg(folder().join("segments"));
    let replay = command.arg("--events").arg(&events).output().unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    grouped(replay.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
}

fn configuration(brokers: &str, id: &str, directory: &Path) -> String {
    let mut text = String::new();
    let segments = folder().join("segments").display().to_string();
    let data = directory.join("data").display().to_string();
    writeln!(text, "application: {{id: {id}, definitions: {segments:?}, data_dir: {data:?}, workers: 2}}").unwrap();
    writeln!(text, "kafka: {{brokers: {brokers:?}}}\noutput: {{format: json}}\nhttp: {{listen: \"127.0.0.1:0\"}}")
        .unwrap();
    writeln!(text, "topics:\n  events: {{click: {id}-clicks, purchase: {id}-purchases, cart_abandonment: {id}-carts}}")
        .unwrap();
    for (key, topic) in [
        ("profile", "profiles"),
        ("consent", "consents"),
        ("erasure", "erasures"),
        ("changes", "changes"),
        ("memberships", "memberships"),
        ("dead_letters", "dead-letters"),
    ] {
        writeln!(text, "  {key}: {id}-{topic}").unwrap();
    }
    text
}

fn publish(broker: &Broker, topic: &str) {
    let mut partitions: BTreeMap<i32, Vec<(String, String)>> = BTreeMap::new();
    for purchase in purchases() {
        // Any rule will do that keeps a customer in one partition.
        let partition = purchase.customer.parse::<i32>().unwrap() % PARTITIONS;
        partitions.entry(partition).or_default().push((purchase.customer.clone(), purchase.event()));
    }
    for (partition, records) in partitions {
        broker.produce(topic, partition, records.iter().map(|(key, value)| (key.as_str(), value.as_bytes())));
    }
}

fn live_changes(broker: &Broker, id: &str) -> Changes {
    let messages = broker.read(&format!("{id}-changes"));
    let values: Vec<Vec<u8>> = messages.into_iter().map(|message| message.value.unwrap()).collect();
    grouped(values.iter().map(Vec::as_slice))
}

/// Without the place of the event that caused a change: a replay has none.
fn grouped<'a>(changes: impl Iterator<Item = &'a [u8]>) -> Changes {
    let mut grouped = Changes::new();
    for change in changes {
        let mut change: Value = serde_json::from_slice(change).unwrap();
        let cause = change["cause"].as_object_mut().unwrap();
        for place in ["topic", "partition", "offset"] {
            cause.remove(place);
        }
        grouped.entry(change["customer_id"].as_str().unwrap().to_owned()).or_default().push(change);
    }
    grouped
}

fn count(changes: &Changes) -> usize {
    changes.values().map(Vec::len).sum()
}

/// A `segue run` that does not outlive the test.
struct Engine {
    child: Child,
    log: std::path::PathBuf,
}

impl Engine {
    fn start(config: &Path, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        let mut command = segue();
        command.args(["run", "--config"]).arg(config);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), log: log.to_path_buf() }
    }

    /// Asks until there is an answer; 120 seconds are for a machine with other work to do.
    fn wait_for<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> T {
        for _ in 0..240 {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the engine ended:\n{}", self.log());
            thread::sleep(Duration::from_millis(500));
        }
        panic!("the changes did not come:\n{}", self.log());
    }

    /// Asks it to end, and sees that it ends well.
    fn stop(&mut self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the engine ended with {status}:\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
