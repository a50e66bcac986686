//! How the workers of this process work: the part of the configuration that concerns them, in their terms.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::Config;
use crate::engine::customer::Limits;
use crate::partition::ErasureKey;

/// An input topic and what its records are counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The event type, or `profile`, `consent`, `erasure`.
    pub event_type: String,
    /// The topic.
    pub topic: String,
}

/// How the workers of a process work.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The consumer group, and the prefix of transactional ids and of the changelog's name.
    pub application: String,
    /// This process among those of the application, the same after a restart.
    pub instance: String,
    /// Where this process answers HTTP, as the others are told; empty if nowhere.
    pub address: String,
    /// Where the stores are.
    pub data_dir: PathBuf,
    /// How many threads.
    pub workers: usize,
    /// The input topics; the position of one is its lane, which settles ties between records of one instant.
    pub inputs: Vec<Input>,
    /// Topic of changes.
    pub changes: String,
    /// Topic of memberships.
    pub memberships: String,
    /// Topic of what was refused.
    pub dead_letters: String,
    /// A transaction is committed at the latest after this.
    pub commit_interval: Duration,
    /// A transaction is committed at the latest after so many records.
    pub commit_max_events: usize,
    /// How much and how far back is remembered and accepted.
    pub limits: Limits,
    /// Hashes the ids of erased customers.
    pub erasure_key: ErasureKey,
    /// Memory of all stores together.
    pub store_memory_bytes: usize,
    /// The broker is librdkafka's mock, as the demo's is. It keeps no offsets of transactions, so that input goes on from the
    /// markers, and no marks of where they end.
    pub is_mock: bool,
}

impl Settings {
    /// What a configuration says.
    pub fn of(config: &Config) -> Self {
        let inputs = config.topics.inputs();
        let inputs = inputs.map(|(event_type, topic)| Input { event_type: event_type.into(), topic: topic.into() });
        let time = &config.time;
        Self {
            application: config.application.id.clone(),
            instance: instance(&config.application.data_dir),
            address: config.http.advertise.clone(),
            data_dir: config.application.data_dir.clone(),
            workers: config.application.workers.max(1),
            inputs: inputs.collect(),
            changes: config.topics.changes.clone(),
            memberships: config.topics.memberships.clone(),
            dead_letters: config.topics.dead_letters.clone(),
            commit_interval: Duration::from_millis(config.commit.interval_ms.max(0).unsigned_abs()),
            commit_max_events: config.commit.max_events.max(1),
            limits: Limits {
                grace_ms: time.grace_ms,
                allowed_lateness_ms: time.allowed_lateness_ms,
                max_ahead_ms: time.max_ahead_ms,
                dedup_ids: config.memory.dedup_ids,
                dedup_window_ms: config.memory.dedup_window_ms,
                percentile_refresh_ms: config.memory.percentile_refresh_ms.max(1),
                retention_ms: config.memory.retention_ms,
            },
            erasure_key: ErasureKey(config.application.hash_key.reveal().as_bytes().to_vec()),
            store_memory_bytes: config.store.memory_bytes,
            is_mock: false,
        }
    }

    /// The changelog's topic.
    pub fn changelog(&self) -> String {
        format!("{}-changelog", self.application)
    }

    /// The topic through which partitions tell each other how values are distributed over their customers.
    pub fn percentiles(&self) -> String {
        format!("{}-percentiles", self.application)
    }

    /// The input topics, by lane.
    pub fn input_topics(&self) -> Vec<String> {
        self.inputs.iter().map(|input| input.topic.clone()).collect()
    }

    /// The name of a worker in the group and towards the transaction coordinator.
    pub fn member(&self, worker: usize) -> String {
        format!("{}-{}-{worker}", self.application, self.instance)
    }

    /// Where the store of a partition is.
    pub fn store_path(&self, partition: i32) -> PathBuf {
        self.data_dir.join(&self.application).join(format!("partition-{partition}"))
    }
}

/// A name for this process: the same after a restart, another for a process on another host or with other data.
fn instance(data_dir: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let place = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    let name = format!("{}\0{}", host.unwrap_or_default().trim(), place.display());
    format!("{:016x}", xxh3_64(name.as_bytes()))
}
