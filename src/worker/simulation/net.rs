//! The client library as the worker sees it, over the model of the broker: calls that wait, fail, or never learn what became
//! of them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::member::Member;
use super::partition::Sent;
use super::rules::Break;
use super::scene::{Scene, unavailable};
use super::schedule::Process;
use super::sender::Sender;
use crate::kafka::changelog::{Entry, Extent};
use crate::kafka::consumer::Membership;
use crate::kafka::log::{Log, Place};
use crate::kafka::topics::agreed;
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{KafkaError, Stop};
use crate::partition::is_customer;
use crate::worker::marker::{MARKER_KEY, Marker, encode};

/// How long a question may take.
pub(super) const ANSWER_MS: i64 = 2_000;
/// What the broker says of an offset that it does not have any more.
pub(super) const OUT_OF_RANGE: &str = "offset out of range";

/// The clients of one process.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) scene: Arc<Scene>,
    pub(super) process: Process,
}

impl Net {
    pub(super) fn reach(&self, what: &str) -> Result<(), KafkaError> {
        self.scene.reach(self.process, what, ANSWER_MS)
    }
}

impl Log for Net {
    type Consumer = Member;
    type Producer = Sender;

    fn join(&self, membership: &Membership) -> Result<Member, KafkaError> {
        Ok(Member::join(self, membership))
    }

    fn start_producer(
        &self,
        name: &str,
        _: &Watchdog,
        stop: &Stop,
        mut on_wait: impl FnMut(&KafkaError),
    ) -> Result<Sender, KafkaError> {
        let former = self.scene.storm().epochs.get(&(self.process, name.to_owned())).copied();
        if let Some(epoch) = former.filter(|_| self.scene.broken == Some(Break::NotRenewed)) {
            return Ok(Sender::new(self, name, epoch));
        }
        loop {
            let made = self.reach("init").and_then(|()| {
                self.scene.broker().init(name).map_err(|refused| unavailable("init", &format!("{refused:?}")))
            });
            match made {
                Ok(epoch) => {
                    self.scene.schedule.note(&format!("has a producer of epoch {epoch}"));
                    self.scene.storm().epochs.insert((self.process, name.to_owned()), epoch);
                    return Ok(Sender::new(self, name, epoch));
                }
                Err(error) => on_wait(&error),
            }
            stop.sleep(Duration::from_millis(100))?;
        }
    }

    fn extent(&self, of: Place<'_>) -> Result<Extent, KafkaError> {
        self.scene.reads(self.process, of, true);
        self.reach("extent")?;
        let broker = self.scene.broker();
        let partition = broker.partition(of.topic, of.partition);
        let is_short = self.scene.broken == Some(Break::RestoreToStable);
        let is_hidden = self.scene.broken == Some(Break::RemovalUnnoticed);
        Ok(Extent {
            low: if is_hidden { 0 } else { partition.low },
            high: if is_short { partition.stable() } else { partition.high() },
        })
    }

    fn read(
        &self,
        from: Place<'_>,
        extent: Extent,
        stop: &Stop,
        mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let result = self.read_on(from, extent, stop, &mut each);
        self.scene.reads(self.process, from, false);
        result
    }

    fn shared_partitions(&self, topics: &[String]) -> Result<i32, KafkaError> {
        self.reach("topics")?;
        agreed(&topics.iter().map(|topic| (topic.clone(), Some(self.count(topic)))).collect())
    }
}

impl Net {
    /// How many partitions a topic has.
    pub(super) fn count(&self, topic: &str) -> i32 {
        self.scene.broker().numbers(topic).end
    }

    /// What is read of what was written: the same, unless nobody is to notice something.
    fn as_read(&self, key: &[u8], value: Vec<u8>) -> Option<Vec<u8>> {
        match self.scene.broken {
            Some(Break::UnfinishedUnnoticed) if key == MARKER_KEY => {
                let mut marker = Marker::decode(&value).unwrap();
                marker.unfinished = false;
                Some(encode(&marker))
            }
            Some(Break::PartitionsUnnoticed) if key == MARKER_KEY => {
                let mut marker = Marker::decode(&value).unwrap();
                marker.partitions = self.count("segue-changelog");
                Some(encode(&marker))
            }
            Some(Break::DistributionsForgotten) if key != MARKER_KEY && !is_customer(key) => None,
            _ => Some(value),
        }
    }

    fn read_on(
        &self,
        from: Place<'_>,
        extent: Extent,
        stop: &Stop,
        each: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), KafkaError> {
        let mut position = extent.low;
        while position < extent.high {
            if stop.is_requested() {
                return Err(KafkaError::Stopped);
            }
            self.reach("reading")?;
            let until = (position + self.scene.between(1, 40)).min(extent.high);
            let entries: Vec<_> = {
                let broker = self.scene.broker();
                let partition = broker.partition(from.topic, from.partition);
                if position < partition.low && self.scene.broken != Some(Break::RemovalUnnoticed) {
                    return Err(KafkaError::Refused { what: "reading".to_owned(), message: OUT_OF_RANGE.to_owned() });
                }
                let until = until.min(partition.stable());
                let from = position.max(partition.low);
                let seen = partition.committed().filter(|(offset, _)| (from..until).contains(offset));
                let entries = seen.map(|(offset, slot)| (offset, slot.record.clone())).collect();
                position = position.max(until);
                entries
            };
            for (offset, Sent { key, value, .. }) in entries {
                let key = key.unwrap_or_default();
                let value = value.and_then(|value| self.as_read(&key, value));
                let entry = Entry { offset, key: &key, value: value.as_deref() };
                if each(entry).is_break() {
                    return Ok(());
                }
            }
            if position < until {
                // A transaction under way.
                self.scene.schedule.pass(50);
            }
        }
        Ok(())
    }
}
