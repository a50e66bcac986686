//! The demo's subscriber: reads the changes as any other would, and tells each in a line.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::engine::catalog::Catalog;

use super::broker::PARTITIONS;

/// A subscriber that has seen everything from the beginning.
pub(super) struct Feed {
    consumer: BaseConsumer,
    descriptions: HashMap<String, String>,
    /// Changes of before are counted, not told.
    opened_at: i64,
    is_coloured: bool,
}

/// How many changes were read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Changes of the shop's past.
    pub(super) n_past: u64,
    /// Changes told.
    pub(super) n_told: u64,
}

impl Feed {
    pub(super) fn subscribe(brokers: &str, topic: &str, catalog: &Catalog, opened_at: i64) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "demo-subscriber");
        config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let described = catalog.segments.iter();
        let descriptions = described.map(|segment| (segment.name.clone(), segment.description.clone())).collect();
        Ok(Self { consumer, descriptions, opened_at, is_coloured: io::stdout().is_terminal() })
    }

    /// Tells what has come, and waits a little for more.
    pub(super) fn tell(&self, out: &mut impl Write, told: &mut Told) -> Result<(), anyhow::Error> {
        const PATIENCE: Duration = Duration::from_millis(50);
        while let Some(message) = self.consumer.poll(PATIENCE) {
            let message = message?;
            let change: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let at = change["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            if at.is_some_and(|at| at.as_millisecond() >= self.opened_at) {
                told.n_told += 1;
                writeln!(out, "{}", self.line(&change))?;
            } else {
                told.n_past += 1;
            }
        }
        Ok(())
    }

    fn line(&self, change: &Value) -> String {
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        let time = text("at").get(11..19).unwrap_or_default();
        let entered = text("change") == "entered";
        let segment = text("segment");
        let verb = self.paint(if entered { "32" } else { "33" }, if entered { "entered" } else { "left   " });
        let name = self.paint("1", &format!("{segment:<24}"));
        format!(
            "{time}  {:<8} {verb} {name} because {}{}",
            text("customer_id"),
            reasons(change),
            self.meaning(segment, entered)
        )
    }

    /// What the segment means, once it is entered.
    fn meaning(&self, segment: &str, entered: bool) -> String {
        match self.descriptions.get(segment) {
            Some(description) if entered && !description.is_empty() => self.paint("2", &format!("  ({description})")),
            _ => String::new(),
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What happened, and what that made of the conditions that decided: `a purchase came: sum(purchase.total …) is 210`.
fn reasons(change: &Value) -> String {
    let cause = match change["cause"]["kind"].as_str().unwrap_or_default() {
        "event" => format!("of a {}", change["cause"]["type"].as_str().unwrap_or("record").replace('_', " ")),
        "time" => "time passed".to_owned(),
        "consent" => "of a consent record".to_owned(),
        "erasure" => "they asked to be forgotten".to_owned(),
        "definition" => "the definition is new".to_owned(),
        other => other.to_owned(),
    };
    let reason = |reason: &Value| {
        let (condition, value) = (reason["condition"].as_str()?, reason["value"].as_str()?);
        Some(match value {
            "true" => condition.to_owned(),
            "false" => format!("not {condition}"),
            _ => format!("{condition} (it is {value})"),
        })
    };
    let why: Vec<String> = change["why"].as_array().into_iter().flatten().take(2).filter_map(reason).collect();
    if why.is_empty() { cause } else { format!("{cause}: {}", why.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_are_told_in_words() {
        let cases = [
            (
                json!({"cause": {"kind": "event", "type": "cart_abandonment"},
                    "why": [{"condition": "count(cart_abandonment) >= 3", "value": "3"}]}),
                "of a cart abandonment: count(cart_abandonment) >= 3 (it is 3)",
            ),
            (
                json!({"cause": {"kind": "time"}, "why": [{"condition": "did(click over 20s)", "value": "false"}]}),
                "time passed: not did(click over 20s)",
            ),
            (json!({"cause": {"kind": "erasure"}, "why": []}), "they asked to be forgotten"),
            (json!({}), ""),
        ];
        for (change, expected) in cases {
            assert_eq!(reasons(&change), expected, "{change}");
        }
    }
}
