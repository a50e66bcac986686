//! How this process runs: one YAML file, overridden key by key from the environment, checked as a whole.

mod machine;
mod print;
mod setting;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::engine::catalog::TimeZone;

pub use machine::free_memory_bytes;
use machine::usable_memory_bytes;
use setting::{Milliseconds, Setting};
pub use setting::{duration_ms, time_zone};
use source::{Place, Source};

/// How this process runs. `runtime.md` section 4.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Who we are and where we keep things.
    pub application: Application,
    /// The brokers.
    pub kafka: Kafka,
    /// When a transaction ends.
    pub commit: Commit,
    /// Where schemas come from.
    pub schemas: SchemaSources,
    /// What is read and written.
    pub topics: Topics,
    /// How disorder and bad clocks are borne.
    pub time: Time,
    /// What is remembered of a customer, and how long.
    pub memory: Memory,
    /// How the output looks.
    pub output: Output,
    /// The side people and scrapers ask.
    pub http: Http,
    /// The database of customers.
    pub store: StoreLimits,
    /// What is logged, and how.
    pub log: Log,
}

/// Who we are and where we keep things.
#[derive(Debug, Clone)]
pub struct Application {
    /// Consumer group, prefix of transactional ids and of the changelog topic.
    pub id: String,
    /// Directory of definitions.
    pub definitions: PathBuf,
    /// Directory of the stores.
    pub data_dir: PathBuf,
    /// Worker threads; one per core when not set.
    pub workers: usize,
    /// The zone of calendar windows, ages and bare dates.
    pub timezone: TimeZone,
    /// Keys the hash that is all that is remembered of an erased customer.
    pub hash_key: Secret,
}

/// The brokers.
#[derive(Debug, Clone, Default)]
pub struct Kafka {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// Handed to librdkafka for every client.
    pub properties: Properties,
}

/// When a transaction ends.
#[derive(Debug, Clone)]
pub struct Commit {
    /// At the latest after this long, milliseconds.
    pub interval_ms: i64,
    /// At the latest after this many events.
    pub max_events: usize,
}

/// Where schemas come from.
#[derive(Debug, Clone)]
pub struct SchemaSources {
    /// Directory of `.avsc` files, one record each.
    pub directory: PathBuf,
    /// The schema registry, where there is one.
    pub registry: Url,
}

/// What is read and written.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Topic by event type.
    pub events: BTreeMap<String, String>,
    /// Updates of profile traits.
    pub profile: String,
    /// Consents given and withdrawn.
    pub consent: String,
    /// Requests to be forgotten.
    pub erasure: String,
    /// Changes, with their history.
    pub changes: String,
    /// Memberships, compacted.
    pub memberships: String,
    /// What was refused.
    pub dead_letters: String,
}

/// How disorder and bad clocks are borne.
#[derive(Debug, Clone)]
pub struct Time {
    /// How far the partition clock stays behind what it has seen, milliseconds.
    pub grace_ms: i64,
    /// How far behind the partition clock an event may be, milliseconds.
    pub allowed_lateness_ms: i64,
    /// How far ahead of the wall clock an event may be, milliseconds.
    pub max_ahead_ms: i64,
}

/// What is remembered of a customer, and how long.
#[derive(Debug, Clone)]
pub struct Memory {
    /// How many event ids.
    pub dedup_ids: usize,
    /// For how long, milliseconds.
    pub dedup_window_ms: i64,
    /// How often the cut-offs of percentiles are made anew, milliseconds of the partition clock.
    pub percentile_refresh_ms: i64,
    /// After how long without a record a customer is erased, milliseconds; `None` is never.
    pub retention_ms: Option<i64>,
}

/// How the output looks.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Avro or JSON.
    pub format: OutputFormat,
}

/// The form of change and membership records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Avro: with a registry id where there is a registry, single-object encoding otherwise.
    #[default]
    Avro,
    /// JSON.
    Json,
}

/// The side people and scrapers ask.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Asked for on all but health and metrics; empty: not asked for, which only loopback may do. Either the token, or
    /// `sha256:` and its digest in hexadecimal.
    pub token: Secret,
    /// The URL under which the other processes of the application reach this one; empty: found out.
    pub advertise: String,
}

/// The database of customers.
#[derive(Debug, Clone)]
pub struct StoreLimits {
    /// Bytes of all workers together: half for customers in memory, half for the database's cache and write buffers. A
    /// quarter of what the process may use when not set.
    pub memory_bytes: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// For people, for machines, or by whether a terminal is listening.
    pub format: LogFormat,
    /// A level, or directives of tracing's `EnvFilter`.
    pub level: String,
    /// The collector that log lines are also sent to (OTLP over HTTP), `http://host:4318`; empty: none.
    pub otlp: Url,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// JSON.
    Json,
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "***" } else { "" })
    }
}

/// librdkafka properties; some are secrets, which are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// Where another service answers, empty where there is none; credentials in it are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Url(pub String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Default for Application {
    fn default() -> Self {
        Self {
            id: "segue".into(),
            definitions: "deploy/segments".into(),
            data_dir: "data".into(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            timezone: TimeZone::default(),
            hash_key: Secret::default(),
        }
    }
}

impl Default for Commit {
    fn default() -> Self {
        Self { interval_ms: 100, max_events: 20_000 }
    }
}

impl Default for SchemaSources {
    fn default() -> Self {
        Self { directory: "schemas".into(), registry: Url::default() }
    }
}

impl Default for Topics {
    fn default() -> Self {
        let events = [("click", "clicks"), ("purchase", "purchases"), ("cart_abandonment", "cart-abandonments")];
        Self {
            events: events.map(|(event, topic)| (event.into(), topic.into())).into(),
            profile: "profiles".into(),
            consent: "consents".into(),
            erasure: "erasures".into(),
            changes: "segment-changes".into(),
            memberships: "segment-memberships".into(),
            dead_letters: "segue-dead-letters".into(),
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self { grace_ms: 1_000, allowed_lateness_ms: 86_400_000, max_ahead_ms: 300_000 }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { dedup_ids: 256, dedup_window_ms: 86_400_000, percentile_refresh_ms: 3_600_000, retention_ms: None }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), token: Secret::default(), advertise: String::new() }
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { memory_bytes: machine::share_of(usable_memory_bytes()) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into(), otlp: Url::default() }
    }
}

impl Topics {
    /// The input topics: those of events by event type, then those of the control records.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let events = self.events.iter().map(|(event, topic)| (event.as_str(), topic.as_str()));
        events.chain([("profile", &*self.profile), ("consent", &*self.consent), ("erasure", &*self.erasure)])
    }

    /// The output topics: the key they are configured under, and their name.
    pub fn outputs(&self) -> [(&'static str, &str); 3] {
        [("changes", &self.changes), ("memberships", &self.memberships), ("dead_letters", &self.dead_letters)]
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// One for each thing to correct.
    pub problems: Vec<Problem>,
}

/// One thing to correct, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Says what is wrong with a property of `kafka.properties`, name and value, if anything.
pub type PropertyCheck = fn(&str, &str) -> Result<(), String>;

impl Config {
    /// Reads a file and the environment. Keys of the environment, `SEGUE_SECTION__KEY`, win.
    ///
    /// # Errors
    /// All that is wrong with either, in order of place.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        property: PropertyCheck,
    ) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => Self::read(&name, &text, environment, property),
            Err(error) => Err(ConfigError {
                problems: vec![Problem { place: Place::whole(&name), message: format!("cannot be read: {error}") }],
            }),
        }
    }

    /// The same of a text, which is called `name` in messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        property: PropertyCheck,
    ) -> Result<Self, ConfigError> {
        let mut source = Source::new(name, text);
        source.overlay(environment);
        let mut config = Self::default();
        config.each_key(&mut |section, key, setting| source.apply(section, key, setting));
        source.refuse_the_rest();
        if source.is_readable() {
            config.cross_check(&mut source);
            config.check_properties(&mut source, property);
        }
        let problems = source.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// The configuration as YAML, with secrets masked.
    pub fn print(&self) -> String {
        let mut page = print::Page::default();
        self.clone().each_key(&mut |section, key, setting| page.line(section, key, &setting.show()));
        page.into_text()
    }

    /// The one table of keys: reading, printing and the search for the nearest key all walk it.
    fn each_key(&mut self, visit: &mut dyn FnMut(&'static str, &'static str, &mut dyn Setting)) {
        let Self { application, kafka, commit, schemas, topics, time, memory, output, http, store, log } = self;
        visit("application", "id", &mut application.id);
        visit("application", "definitions", &mut application.definitions);
        visit("application", "data_dir", &mut application.data_dir);
        visit("application", "workers", &mut application.workers);
        visit("application", "timezone", &mut application.timezone);
        visit("application", "hash_key", &mut application.hash_key);
        visit("kafka", "brokers", &mut kafka.brokers);
        visit("kafka", "properties", &mut kafka.properties);
        visit("commit", "interval", &mut Milliseconds(&mut commit.interval_ms));
        visit("commit", "max_events", &mut commit.max_events);
        visit("schemas", "directory", &mut schemas.directory);
        visit("schemas", "registry", &mut schemas.registry);
        visit("topics", "events", &mut topics.events);
        visit("topics", "profile", &mut topics.profile);
        visit("topics", "consent", &mut topics.consent);
        visit("topics", "erasure", &mut topics.erasure);
        visit("topics", "changes", &mut topics.changes);
        visit("topics", "memberships", &mut topics.memberships);
        visit("topics", "dead_letters", &mut topics.dead_letters);
        visit("time", "grace", &mut Milliseconds(&mut time.grace_ms));
        visit("time", "allowed_lateness", &mut Milliseconds(&mut time.allowed_lateness_ms));
        visit("time", "max_ahead", &mut Milliseconds(&mut time.max_ahead_ms));
        visit("memory", "dedup_ids", &mut memory.dedup_ids);
        visit("memory", "dedup_window", &mut Milliseconds(&mut memory.dedup_window_ms));
        visit("memory", "percentile_refresh", &mut Milliseconds(&mut memory.percentile_refresh_ms));
        visit("memory", "retention", &mut setting::OrNever(&mut memory.retention_ms));
        visit("output", "format", &mut output.format);
        visit("http", "listen", &mut http.listen);
        visit("http", "token", &mut http.token);
        visit("http", "advertise", &mut http.advertise);
        visit("store", "memory", &mut setting::Bytes(&mut store.memory_bytes));
        visit("log", "format", &mut log.format);
        visit("log", "level", &mut log.level);
        visit("log", "otlp", &mut log.otlp);
    }

    /// What no key can know alone.
    fn cross_check(&self, source: &mut Source) {
        if self.kafka.brokers.is_empty() {
            source.problem("kafka", "brokers", "is required: the brokers to start from, such as `localhost:9092`");
        }
        if !is_topic_name(&format!("{}-changelog", self.application.id)) || self.application.id.is_empty() {
            source.problem("application", "id", "names topics, so it may hold letters, digits, `.`, `_` and `-`");
        }
        if !self.http.listen.ip().is_loopback() && !self.http.token.is_set() {
            let message =
                format!("{} can be reached from outside: set `http.token`, or listen on 127.0.0.1", self.http.listen);
            source.problem("http", "listen", &message);
        }
        let advertised = &self.http.advertise;
        let is_url = advertised.starts_with("http://") || advertised.starts_with("https://");
        if !advertised.is_empty() && (!is_url || advertised.ends_with('/') || advertised.contains(['@', ' '])) {
            let message = format!("expected a URL such as `http://segue-0.segue:8080`, found `{advertised}`");
            source.problem("http", "advertise", &message);
        }
        if let Some(digest) = self.http.token.reveal().strip_prefix("sha256:")
            && (digest.len() != 64 || !digest.chars().all(|digit| digit.is_ascii_hexdigit()))
        {
            source.problem("http", "token", "expected 64 hexadecimal digits after `sha256:`");
        }
        self.check_topics(source);
    }

    fn check_properties(&self, source: &mut Source, property: PropertyCheck) {
        let checked = self.kafka.properties.0.iter().map(|(name, value)| property(name, value));
        let wrong: Vec<String> = checked.filter_map(Result::err).collect();
        if !wrong.is_empty() {
            source.problem("kafka", "properties", &wrong.join("; "));
        }
    }

    fn check_topics(&self, source: &mut Source) {
        for reserved in ["profile", "consent", "erasure"] {
            if self.topics.events.contains_key(reserved) {
                let message = format!("`{reserved}` is a control record: its topic is `topics.{reserved}`");
                source.problem("topics", "events", &message);
            }
        }
        let changelog = format!("{}-changelog", self.application.id);
        let mut used = BTreeMap::from([(changelog.as_str(), "the changelog")]);
        let n_events = self.topics.events.len();
        for (index, (name, topic)) in self.topics.inputs().chain(self.topics.outputs()).enumerate() {
            let key = if index < n_events { "events" } else { name };
            if !is_topic_name(topic) {
                let message = format!("`{topic}` cannot be a topic: letters, digits, `.`, `_` and `-`, at most 249");
                source.problem("topics", key, &message);
            }
            if let Some(other) = used.insert(topic, name) {
                source.problem("topics", key, &format!("`{topic}` is used twice, by {other} and by {name}"));
            }
        }
    }
}

fn is_topic_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(name, "" | "." | "..") && name.len() <= 249 && name.chars().all(allowed)
}
