//! What the doctor looks at in Kafka: the broker, topics and their settings, permissions, and the events that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Config;
use crate::kafka::inspect::{Cluster, Inspector, Topic};
use crate::kafka::reader::{From, Reader};
use crate::kafka::topics::{MAX_MESSAGE_BYTES, Wanted};
use crate::kafka::{Clients, KafkaError};
use crate::worker::settings::Settings;
use crate::worker::topics;

use super::super::clock::now_ms;
use super::Finding;

/// What `segue topics create` would do.
const MAKE: &str = "segue topics create --config FILE makes what is missing";

pub(super) fn examine(config: &Config, try_writing: bool) -> Vec<Finding> {
    let settings = Settings::of(config);
    let clients = match Clients::new(&config.kafka.brokers, &config.kafka.properties.0) {
        Ok(clients) => clients,
        Err(error) => return vec![Finding::bad("broker", error.to_string(), "correct `kafka.properties`")],
    };
    let inspector = Inspector::new(&clients);
    let inputs = settings.input_topics();
    let outputs: Vec<String> = topics::written(&settings, 1).into_iter().map(|topic| topic.name).collect();
    let wanted: BTreeSet<String> = inputs.iter().chain(&outputs).cloned().collect();
    let mut cluster = match inspector.cluster(&wanted) {
        Ok(cluster) => cluster,
        Err(error) => {
            let advice = "is it running, and do `kafka.brokers` and `kafka.properties` (TLS, SASL) fit it?";
            let untold = ["topics", "co-partitioning", "topic settings", "permissions", "clock"];
            let untold = untold.map(|check| Finding::untold(check, "the broker does not answer"));
            return std::iter::once(Finding::bad("broker", error.to_string(), advice)).chain(untold).collect();
        }
    };
    let described = inspector.settings(&mut cluster.topics);
    let mut findings = vec![broker(config, &cluster)];
    findings.push(missing(&inputs, &outputs, &cluster.topics));
    findings.push(co_partitioning(&inputs, &settings.changelog(), &cluster.topics));
    findings.push(topic_settings(&settings, &cluster, described));
    findings.extend(permissions(&inspector, &settings, &cluster, &outputs, try_writing));
    findings.push(clock(&clients, &inputs, &cluster, settings.limits.max_ahead_ms));
    findings
}

fn broker(config: &Config, cluster: &Cluster) -> Finding {
    let found = format!("{} answers, {} in the cluster", config.kafka.brokers, cluster.brokers);
    match cluster.brokers {
        0..=2 => Finding::doubtful("broker", found, "one lost disk can lose data; three brokers or more survive it"),
        _ => Finding::good("broker", found),
    }
}

fn missing(inputs: &[String], outputs: &[String], topics: &BTreeMap<String, Topic>) -> Finding {
    let absent = |names: &[String]| {
        let absent: Vec<_> = names.iter().filter(|name| !topics.contains_key(*name)).cloned().collect();
        absent.join(", ")
    };
    let leaderless: Vec<_> =
        topics.iter().filter(|(_, topic)| topic.leaderless > 0).map(|(name, _)| name.as_str()).collect();
    match (absent(inputs), absent(outputs)) {
        (inputs, _) if !inputs.is_empty() => Finding::bad("topics", format!("there is no {inputs}"), MAKE),
        _ if !leaderless.is_empty() => {
            let found = format!("nobody leads some partitions of {}", leaderless.join(", "));
            Finding::bad("topics", found, "look at the brokers: some are down")
        }
        (_, outputs) if !outputs.is_empty() => {
            Finding::doubtful("topics", format!("there is no {outputs} yet"), format!("{MAKE}; so does `segue run`"))
        }
        _ => Finding::good("topics", format!("all {} are there", inputs.len() + outputs.len())),
    }
}

fn co_partitioning(inputs: &[String], changelog: &str, topics: &BTreeMap<String, Topic>) -> Finding {
    const CHECK: &str = "co-partitioning";
    let present: Vec<_> = inputs.iter().filter_map(|name| Some((name, topics.get(name)?.partitions))).collect();
    let Some((_, first)) = present.first() else { return Finding::untold(CHECK, "there are no input topics") };
    let list = || present.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ");
    if present.iter().any(|(_, count)| count != first) {
        let advice = "give all input topics one partition count: a customer must be in the same number of each";
        return Finding::bad(CHECK, format!("partition counts differ: {}", list()), advice);
    }
    match topics.get(changelog) {
        Some(topic) if topic.partitions != *first => {
            let found = format!("{changelog} has {} partitions, the input topics {first}", topic.partitions);
            Finding::bad(CHECK, found, "the counts must be the same; a new application.id begins with a new changelog")
        }
        _ => Finding::good(CHECK, format!("{first} partitions each")),
    }
}

fn topic_settings(settings: &Settings, cluster: &Cluster, described: Result<(), KafkaError>) -> Finding {
    const CHECK: &str = "topic settings";
    if let Err(error) = described {
        return Finding::doubtful(CHECK, error.to_string(), "allow DescribeConfigs to have them checked");
    }
    let is_compacted = |topic: &Topic| topic.settings.get("cleanup.policy").is_none_or(|policy| policy == "compact");
    let mut wrong = Vec::new();
    for name in [settings.changelog(), settings.memberships.clone()] {
        if cluster.topics.get(&name).is_some_and(|topic| !is_compacted(topic)) {
            wrong.push(format!("{name} is not compacted only: state would be lost"));
        }
    }
    let kept = [&settings.changes, &settings.dead_letters];
    for name in kept {
        let policy = cluster.topics.get(name).and_then(|topic| topic.settings.get("cleanup.policy"));
        if policy.is_some_and(|policy| policy.contains("compact")) {
            wrong.push(format!("{name} is compacted: history would be lost"));
        }
    }
    if !wrong.is_empty() {
        return Finding::bad(CHECK, wrong.join("; "), "kafka-configs.sh --alter --add-config cleanup.policy=…");
    }
    let narrow: Vec<String> =
        topics::written(settings, 0).iter().filter_map(|topic| narrower(topic, cluster)).collect();
    if !narrow.is_empty() {
        let advice = "kafka-configs.sh --alter --add-config max.message.bytes=…: a larger record would stop the engine";
        return Finding::doubtful(CHECK, narrow.join("; "), advice);
    }
    let single: Vec<_> =
        cluster.topics.iter().filter(|(_, topic)| topic.replicas < 2).map(|(name, _)| name.as_str()).collect();
    if cluster.brokers > 1 && !single.is_empty() {
        let found = format!("only one copy of {}", single.join(", "));
        return Finding::doubtful(CHECK, found, "raise the replication factor: one lost broker loses them");
    }
    Finding::good(CHECK, "cleanup policies and copies are as they should be")
}

/// Says that a topic takes smaller records than it would if the engine had made it.
fn narrower(wanted: &Wanted, cluster: &Cluster) -> Option<String> {
    let (_, wanted_bytes) = wanted.settings.iter().find(|(name, _)| *name == MAX_MESSAGE_BYTES)?;
    let found = cluster.topics.get(&wanted.name)?.settings.get(MAX_MESSAGE_BYTES)?;
    let is_less = found.parse::<u64>().ok()? < wanted_bytes.parse().ok()?;
    is_less.then(|| format!("{} takes records of {found} bytes, not of {wanted_bytes}", wanted.name))
}

fn permissions(
    inspector: &Inspector<'_>,
    settings: &Settings,
    cluster: &Cluster,
    outputs: &[String],
    try_writing: bool,
) -> Vec<Finding> {
    const CHECK: &str = "permissions";
    let mut findings = Vec::new();
    let topic = cluster.topics.keys().next().cloned().unwrap_or_else(|| settings.changes.clone());
    if let Err(error) = inspector.group(&settings.application, &topic) {
        let advice = format!("allow Read on the group {}", settings.application);
        findings.push(Finding::bad(CHECK, error.to_string(), advice));
    }
    let id = format!("{}-doctor", settings.application);
    let there = outputs.iter().filter(|name| try_writing && cluster.topics.contains_key(*name));
    let written: Vec<String> = there.cloned().collect();
    if let Err(error) = inspector.transactions(&id, &written) {
        let prefix = &settings.application;
        let advice =
            format!("allow Write and Describe on transactional ids that begin with {prefix}, and Write on topics");
        findings.push(Finding::bad(CHECK, error.to_string(), advice));
    }
    if findings.is_empty() {
        let wrote = if written.is_empty() { "" } else { ", and records written (and aborted)" };
        findings.push(Finding::good(CHECK, format!("the group can be read, transactions begun{wrote}")));
    }
    findings
}

/// Brokers do not tell the time; the newest events do, roughly.
fn clock(clients: &Clients, inputs: &[String], cluster: &Cluster, max_ahead_ms: i64) -> Finding {
    const CHECK: &str = "clock";
    let newest = inputs.iter().filter(|name| cluster.topics.contains_key(*name)).filter_map(|name| {
        let found = newest_timestamp(clients, name).ok().flatten()?;
        Some((found, name))
    });
    match newest.max() {
        None => Finding::good(CHECK, "there are no events to compare it with"),
        Some((instant, topic)) => {
            let age_ms = now_ms().saturating_sub(instant);
            let seconds = age_ms.unsigned_abs() / 1000;
            if age_ms < -max_ahead_ms {
                let found = format!("the newest record of {topic} is {seconds} s in the future");
                Finding::bad(CHECK, found, "set this machine's clock, or the producers': such events are refused")
            } else if age_ms < -1000 {
                let found = format!("the newest record of {topic} is {seconds} s in the future");
                Finding::doubtful(CHECK, found, "keep all machines' clocks together (NTP)")
            } else {
                Finding::good(CHECK, format!("the newest record, of {topic}, is {seconds} s old"))
            }
        }
    }
}

fn newest_timestamp(clients: &Clients, topic: &str) -> Result<Option<i64>, KafkaError> {
    const PATIENCE: Duration = Duration::from_millis(200);
    /// Polls at most: the last record of each partition, and that there is no more.
    const POLLS: usize = 500;
    let mut reader = Reader::open(clients, topic, From::Last(1))?;
    let mut newest = None;
    for _ in 0..POLLS {
        if reader.is_at_end() {
            break;
        }
        newest = newest.max(reader.next(PATIENCE)?.and_then(|received| received.timestamp_ms));
    }
    Ok(newest)
}
