//! A site of its own on a shared broker: topics, definitions, a data directory, and the `segue` program to run over them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use segue::engine::catalog::TimeZone;
use segue::testing::{Options, replay};
use segue::wire::schema::SchemaSet;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Server;
use super::{Broker, Message};

const EVENTS: [(&str, &str); 3] =
    [("click", "clicks"), ("purchase", "purchases"), ("cart_abandonment", "cart-abandonments")];
const CONTROLS: [(&str, &str); 3] = [("profile", "profiles"), ("consent", "consents"), ("erasure", "erasures")];

/// A record as JSON, with its type.
pub type Event = Value;

/// What one customer's changes come down to: segment, direction, instant.
pub type Story = BTreeMap<String, Vec<(u64, String, bool, i64)>>;

pub struct Site {
    pub broker: &'static Broker,
    pub name: String,
    pub partitions: i32,
    pub directory: TempDir,
    pub definitions: String,
    /// More lines of configuration.
    pub more: String,
    /// Of `kafka.properties`.
    pub properties: &'static str,
    /// Where the engine finds the broker.
    pub brokers: String,
}

impl Site {
    /// Topics of `partitions` partitions each, and definitions.
    pub fn new(broker: &'static Broker, partitions: i32, definitions: &str) -> Self {
        let site = Self {
            broker,
            name: broker.unique("site"),
            partitions,
            directory: tempfile::tempdir().unwrap(),
            definitions: definitions.to_owned(),
            more: "output: {format: json}\n".to_owned(),
            properties: "session.timeout.ms: \"6000\", heartbeat.interval.ms: \"500\"",
            brokers: broker.address(),
        };
        for (_, topic) in EVENTS.iter().chain(&CONTROLS) {
            broker.create_topic(&site.topic(topic), partitions, &[]);
        }
        site
    }

    /// The full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn partition_of(&self, customer_id: &str) -> i32 {
        let sum: u32 = customer_id.bytes().map(u32::from).sum();
        i32::try_from(sum).unwrap() % self.partitions
    }

    /// Sends events to their topics, in order.
    pub fn produce(&self, events: &[Event]) {
        let mut lists: BTreeMap<_, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for event in events {
            let mut all = EVENTS.iter().chain(&CONTROLS);
            let (_, topic) = all.find(|(name, _)| event["type"] == *name).expect("a known type");
            let customer_id = event["customer_id"].as_str().unwrap().to_owned();
            let place = (self.topic(topic), self.partition_of(&customer_id));
            lists.entry(place).or_default().push((customer_id, event.to_string().into_bytes()));
        }
        for ((topic, partition), records) in lists {
            let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.broker.produce(&topic, partition, records);
        }
    }

    /// Writes configuration and definitions; gives the configuration's path.
    pub fn configure(&self) -> PathBuf {
        self.configure_in("data")
    }

    fn configure_in(&self, data: &str) -> PathBuf {
        let definitions = self.directory.path().join("segments");
        fs::create_dir_all(&definitions).unwrap();
        // Whole at once: another process of this site may be reading it.
        let written = self.directory.path().join(format!("{data}.segments"));
        fs::write(&written, &self.definitions).unwrap();
        fs::rename(&written, definitions.join("segments.yaml")).unwrap();
        let mut topics = String::from("topics:\n  events:\n");
        for (event, topic) in EVENTS {
            writeln!(topics, "    {event}: {}", self.topic(topic)).unwrap();
        }
        for (key, topic) in CONTROLS {
            writeln!(topics, "  {key}: {}", self.topic(topic)).unwrap();
        }
        for key in ["changes", "memberships", "dead_letters"] {
            writeln!(topics, "  {key}: {}", self.topic(key)).unwrap();
        }
        let config = format!(
            "application: {{id: {}, definitions: {}, data_dir: {}, workers: 2}}\n\
             kafka: {{brokers: \"{}\", properties: {{{}}}}}\n\
             http: {{listen: \"127.0.0.1:0\"}}\n{topics}{}",
            self.name,
            definitions.display(),
            self.directory.path().join(data).display(),
            self.brokers,
            self.properties,
            self.more,
        );
        let path = self.directory.path().join(format!("{data}.yaml"));
        fs::write(&path, config).unwrap();
        path
    }

    /// Starts `segue run`.
    pub fn start(&self) -> Server {
        self.start_in("data")
    }

    /// Starts `segue run` with a data directory of that name.
    pub fn start_in(&self, data: &str) -> Server {
        self.start_failing(data, "")
    }

    /// Starts `segue run` with a data directory of that name, to end or halt at a step such as `sent:3` (see
    /// `worker/failpoint.rs`).
    pub fn start_failing(&self, data: &str, step: &str) -> Server {
        let mut command = self.command(data);
        command.env("SEGUE_FAIL_AT", step);
        self.serve(data, command)
    }

    /// Starts `segue run` where no file may have more than so many bytes: what is beyond cannot be written, as on a disk that
    /// is full.
    pub fn start_cramped(&self, data: &str, file_bytes_max: u64) -> Server {
        let segue = self.command(data);
        let mut command = Command::new("bash");
        // Whoever ignores the signal is told by an error.
        command.args(["-c", &format!("trap '' XFSZ; exec prlimit --fsize={file_bytes_max} \"$0\" \"$@\"")]);
        command.arg(segue.get_program()).args(segue.get_args());
        self.serve(data, command)
    }

    fn serve(&self, data: &str, command: Command) -> Server {
        Server::start("segue", command, &self.directory.path().join(format!("{data}.log")))
    }

    fn command(&self, data: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_segue"), "run", "--config"])
            .arg(self.configure_in(data));
        command
    }

    /// The changes that a subscriber sees now, oldest first per partition.
    pub fn changes(&self) -> Vec<Value> {
        self.messages("changes")
            .iter()
            .map(|message| serde_json::from_slice(message.value.as_ref().unwrap()).unwrap())
            .collect()
    }

    pub fn messages(&self, topic: &str) -> Vec<Message> {
        self.broker.read(&self.topic(topic))
    }

    /// Waits until the changes tell this story, and fails if they tell anything else.
    pub fn wait_for(&self, engine: &mut Server, expected: &Story) {
        let wanted: usize = expected.values().map(Vec::len).sum();
        for _ in 0..600 {
            assert!(engine.is_running(), "segue has ended: {}", engine.log_end());
            if self.broker.has_topic(&self.topic("changes")) && self.changes().len() >= wanted {
                // Whoever sends twice does so soon.
                std::thread::sleep(Duration::from_millis(500));
                let found = story(&self.changes());
                assert_eq!(&found, expected, "{}", engine.log_end());
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let found = story(&self.changes());
        panic!("expected {expected:#?}\nfound {found:#?}\n{}", engine.log_end());
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut engine: Server) {
        engine.signal("TERM");
        let code = engine.ended();
        assert_eq!(code, 0, "{}", engine.log_end());
    }

    /// The story that an uninterrupted run over the same events tells, in the order in which they happened.
    pub fn expected(&self, events: &[Event], until: i64) -> Story {
        let mut events = events.to_vec();
        events.sort_by_key(|event| event["occurred_at"].as_i64().unwrap());
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        let files = [("segments.yaml".to_owned(), self.definitions.clone())];
        let schemas = SchemaSet::shipped().unwrap();
        let zone = TimeZone::default().0;
        let replayed = replay(&files, &schemas, zone, &lines.join("\n"), Some(until), Options::default()).unwrap();
        let mut story = Story::new();
        for change in replayed.changes {
            let told = (change.sequence, change.segment.to_string(), change.entered, change.at);
            story.entry(change.customer_id.to_string()).or_default().push(told);
        }
        story
    }
}

/// What changes come down to, in the order seen.
pub fn story(changes: &[Value]) -> Story {
    let mut story = Story::new();
    for change in changes {
        let at: jiff::Timestamp = change["at"].as_str().unwrap().parse().unwrap();
        let entered = change["change"] == json!("entered");
        let segment = change["segment"].as_str().unwrap().to_owned();
        let told = (change["sequence"].as_u64().unwrap(), segment, entered, at.as_millisecond());
        story.entry(change["customer_id"].as_str().unwrap().to_owned()).or_default().push(told);
    }
    story
}
