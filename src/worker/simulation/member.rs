//! A consumer as the worker sees it: what it fetches, when it hears of the group's decisions, and which offsets it commits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::broker::{Progress, Refused};
use super::net::{ANSWER_MS, Net};
use super::partition::{Sent, SlotState};
use super::rules::Break;
use super::scene::{Scene, unavailable};
use crate::kafka::KafkaError;
use crate::kafka::consumer::{Event, Membership, Offsets};
use crate::kafka::log::{LogConsumer, LogMessage};
use crate::kafka::transaction::Failure;

/// A consumer.
pub(super) struct Member {
    net: Net,
    client: usize,
    topics: Vec<String>,
    /// How far each lane and partition is fetched, and when it is fetched again.
    fetched: RefCell<BTreeMap<(usize, i32), (i64, i64)>>,
}

impl Member {
    pub(super) fn join(net: &Net, membership: &Membership) -> Self {
        let client = net.scene.broker().join(net.process, membership, net.scene.now());
        net.scene.schedule.note("joins the group");
        Self { net: net.clone(), client, topics: membership.topics.clone(), fetched: RefCell::default() }
    }

    fn scene(&self) -> &Scene {
        &self.net.scene
    }
}

impl Member {
    /// The offsets that the changelog names.
    fn as_in_changelog(&self, partitions: &BTreeSet<i32>) -> Offsets {
        let broker = self.scene().broker();
        let mut offsets = Offsets::new();
        for number in partitions {
            let marker = broker.markers(*number).last().map(|(_, marker)| marker);
            let of_topic = |topic| marker.as_ref().and_then(|marker| marker.offsets.get(topic)).copied();
            let known = self.topics.iter().enumerate();
            offsets.extend(known.filter_map(|(lane, topic)| Some(((lane, *number), of_topic(topic)?))));
        }
        offsets
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.scene().broker().clients[self.client].is_gone = true;
    }
}

/// A fetched record.
pub(super) struct Received {
    lane: usize,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    record: Sent,
}

impl LogMessage for Received {
    fn lane(&self) -> usize {
        self.lane
    }

    fn partition(&self) -> i32 {
        self.partition
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Some(self.timestamp_ms)
    }

    fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.record.value.as_deref()
    }

    fn last_headers<const N: usize>(&self, names: [&str; N]) -> [Option<&[u8]>; N] {
        let last = |name| self.record.headers.iter().rfind(|(known, _)| known == name);
        names.map(|name| last(name).and_then(|(_, value)| value.as_deref()))
    }

    fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.record.headers.clone()
    }
}

impl LogConsumer for Member {
    type Message<'c> = Received;
    type Progress = Progress;

    fn serve(&self) -> Result<Option<Received>, KafkaError> {
        self.scene().step(self.net.process, "serve");
        self.scene().schedule.pass(1);
        if self.is_fenced() {
            return Err(KafkaError::Refused { what: "input".to_owned(), message: "fenced".to_owned() });
        }
        Ok(None)
    }

    fn take(&self, lane: usize, partition: i32) -> Result<Option<Received>, KafkaError> {
        let (scene, now) = (self.scene(), self.scene().now());
        let mut broker = scene.broker();
        let Some(mut position) = broker.clients[self.client].positions.get(&(lane, partition)).copied() else {
            return Ok(None);
        };
        let log = broker.partition(&self.topics[lane], partition);
        let mut fetched = self.fetched.borrow_mut();
        let (ready, again_at) = fetched.entry((lane, partition)).or_insert_with(|| (position, now));
        if position >= *ready && now >= *again_at && scene.is_reachable(self.net.process) {
            // What is there now, or is on its way and comes a little later.
            if log.stable() > position && scene.chance(700) {
                *ready = log.stable();
            } else {
                *again_at = now + scene.between(1, 150);
            }
        }
        let mut found = None;
        while position < *ready && found.is_none() {
            let slot = &log.slots[usize::try_from(position).unwrap()];
            if slot.state == SlotState::Committed {
                let (timestamp_ms, record) = (slot.timestamp_ms, slot.record.clone());
                found = Some(Received { lane, partition, offset: position, timestamp_ms, record });
            }
            position += 1;
        }
        let client = &mut broker.clients[self.client];
        client.positions.insert((lane, partition), position);
        let furthest = client.furthest.entry((lane, partition)).or_default();
        *furthest = position.max(*furthest);
        Ok(found)
    }

    fn wait(&self, timeout: Duration) {
        let asked = i64::try_from(timeout.as_millis()).unwrap().max(1);
        // The machine is slow at times.
        self.scene().schedule.pass(self.scene().between(asked, 15 * asked));
    }

    fn event(&self) -> Option<Event> {
        let event = self.scene().broker().clients[self.client].events.pop_front()?;
        let generation = self.scene().broker().generation();
        self.scene().schedule.note(&format!("{event:?} in generation {generation}"));
        Some(event)
    }

    fn assign(&self, offsets: &Offsets) -> Result<(), KafkaError> {
        let mut broker = self.scene().broker();
        let client = &mut broker.clients[self.client];
        client.positions.clone_from(offsets);
        if self.scene().broken == Some(Break::NoRewind) && self.scene().storm().aborted.contains(&client.instance) {
            for (place, position) in &mut client.positions {
                *position = client.furthest.get(place).copied().unwrap_or_default().max(*position);
            }
        }
        self.fetched.borrow_mut().clear();
        Ok(())
    }

    fn unassign(&self) -> Result<(), KafkaError> {
        let mut broker = self.scene().broker();
        broker.unassign(self.client);
        let instance = broker.clients[self.client].instance.clone();
        broker.clients[self.client].furthest.clear();
        self.scene().storm().aborted.remove(&instance);
        self.fetched.borrow_mut().clear();
        Ok(())
    }

    fn is_fenced(&self) -> bool {
        self.scene().broker().clients[self.client].is_fenced
    }

    fn is_lost(&self) -> bool {
        self.scene().broker().clients[self.client].is_lost
    }

    fn progress(&self, offsets: &Offsets) -> Result<Progress, Failure> {
        let broker = self.scene().broker();
        if broker.clients[self.client].is_lost {
            self.scene().storm().aborted.insert(broker.clients[self.client].instance.clone());
            return Err(Failure::Aborted("the group has gone on without this member".to_owned()));
        }
        let places = offsets.iter().map(|((lane, number), offset)| ((self.topics[*lane].clone(), *number), *offset));
        let generation = broker.claimed_generation(self.client);
        Ok(Progress { client: self.client, generation, offsets: places.collect() })
    }

    fn committed(&self, partitions: &BTreeSet<i32>) -> Result<Offsets, KafkaError> {
        self.net.reach("ask for offsets")?;
        let scene = self.scene();
        if scene.strikes(|rates| rates.forget) {
            scene.schedule.note("the group knows no offsets");
            return Ok(Offsets::new());
        }
        if scene.broken == Some(Break::DisagreementUnnoticed) {
            return Ok(self.as_in_changelog(partitions));
        }
        let deadline = scene.now() + ANSWER_MS;
        loop {
            let asked = {
                let broker = scene.broker();
                let lanes = self.topics.iter().enumerate();
                let places =
                    lanes.flat_map(|(lane, topic)| partitions.iter().map(move |number| (lane, topic, *number)));
                let asked = places.map(|(lane, topic, number)| {
                    Ok(broker.committed(topic, number)?.map(|offset| ((lane, number), offset)))
                });
                asked.collect::<Result<Vec<_>, Refused>>()
            };
            match asked {
                Ok(offsets) => return Ok(offsets.into_iter().flatten().collect()),
                Err(_) if scene.now() < deadline => scene.schedule.pass(50),
                Err(_) => return Err(unavailable("offsets", "a transaction is under way")),
            }
        }
    }

    fn ends(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.net.reach("ends")?;
        let broker = self.scene().broker();
        let end =
            |(lane, number): (usize, i32)| ((lane, number), broker.partition(&self.topics[lane], number).stable());
        Ok(of.into_iter().map(end).collect())
    }

    fn beginnings(&self, of: impl IntoIterator<Item = (usize, i32)>) -> Result<Offsets, KafkaError> {
        self.net.reach("beginnings")?;
        Ok(of.into_iter().map(|place| (place, 0)).collect())
    }

    fn positions(&self) -> Result<Offsets, KafkaError> {
        Ok(self.scene().broker().clients[self.client].positions.clone())
    }
}
