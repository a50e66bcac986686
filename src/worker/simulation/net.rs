//! The client library as the worker sees it, over the model of the broker: calls that wait, fail, or never learn what became
//! of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::broker::{Progress, Refused, Sent, SlotState, TRANSACTION_MS};
use super::rules::Break;
use super::scene::{Scene, unavailable};
use super::schedule::Process;
use crate::kafka::changelog::{Entry, Extent};
use crate::kafka::consumer::{Event, Membership, Offsets};
use crate::kafka::log::{Log, LogConsumer, LogMessage, LogProducer, Place};
use crate::kafka::transaction::{Failure, Outgoing};
use crate::kafka::watchdog::Watchdog;
use crate::kafka::{KafkaError, Stop};

/// How long a question may take.
const ANSWER_MS: i64 = 2_000;
/// What the broker says of a record that its topic does not take.
pub(super) const TOO_LARGE: &str = "message size too large";
/// How long ending a transaction may take before it is in doubt.
const OVERDUE_MS: i64 = 6_000;

/// The clients of one process.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) scene: Arc<Scene>,
    pub(super) process: Process,
}

impl Net {
    fn reach(&self, what: &str) -> Result<(), KafkaError> {
        self.scene.reach(self.process, what, ANSWER_MS)
    }
}

impl Log for Net {
    type Consumer = Member;
    type Producer = Sender;

    fn join(&self, membership: &Membership) -> Result<Member, KafkaError> {
        let client = self.scene.broker().join(self.process, &membership.instance, self.scene.now());
        self.scene.schedule.note("joins the group");
        Ok(Member { net: self.clone(), client, topics: membership.topics.clone(), fetched: RefCell::default() })
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
        self.reach("extent")?;
        let broker = self.scene.broker();
        let partition = broker.partition(of.topic, of.partition);
        let is_short = self.scene.broken == Some(Break::RestoreToStable);
        Ok(Extent { low: 0, high: if is_short { partition.stable() } else { partition.high() } })
    }

    fn read(
        &self,
        from: Place<'_>,
        extent: Extent,
        stop: &Stop,
        mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>,
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
                let until = until.min(partition.stable());
                let seen = partition.committed().filter(|(offset, _)| (position..until).contains(offset));
                let entries = seen.map(|(offset, slot)| (offset, slot.record.clone())).collect();
                position = position.max(until);
                entries
            };
            for (offset, Sent { key, value, .. }) in entries {
                let entry = Entry { offset, key: key.as_deref().unwrap_or_default(), value: value.as_deref() };
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

    fn shared_partitions(&self, _: &[String]) -> Result<i32, KafkaError> {
        Err(unavailable("topics", "nobody asks for them here"))
    }
}

/// A consumer.
pub(super) struct Member {
    net: Net,
    client: usize,
    topics: Vec<String>,
    /// How far each lane and partition is fetched, and when it is fetched again.
    fetched: RefCell<BTreeMap<(usize, i32), (i64, i64)>>,
}

impl Member {
    fn scene(&self) -> &Scene {
        &self.net.scene
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

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.record.headers.iter().rfind(|(known, _)| known == name).and_then(|(_, value)| value.as_deref())
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

/// A transactional producer.
pub(super) struct Sender {
    net: Net,
    name: String,
    epoch: i32,
    has_begun: bool,
    queue: VecDeque<(String, i32, Sent)>,
}

impl Sender {
    fn new(net: &Net, name: &str, epoch: i32) -> Self {
        Self { net: net.clone(), name: name.to_owned(), epoch, has_begun: false, queue: VecDeque::new() }
    }

    fn scene(&self) -> &Scene {
        &self.net.scene
    }

    /// One request, repeated while the last transaction is not marked everywhere yet.
    fn ask<T>(
        &self,
        what: &str,
        patience_ms: i64,
        mut request: impl FnMut(&mut super::broker::Broker, i64) -> Result<T, Refused>,
    ) -> Result<T, Failure> {
        let deadline = self.scene().now() + patience_ms;
        loop {
            let patience_ms = deadline - self.scene().now();
            let reached = self.scene().reach(self.net.process, what, patience_ms);
            reached.map_err(|error| self.doubt(&error.to_string()))?;
            let answer = request(&mut self.scene().broker(), self.scene().now());
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Refused::Concurrent) if self.scene().now() < deadline => self.scene().schedule.pass(20),
                Err(Refused::NoMember) => return Err(self.aborted(&format!("{what}: not a member"))),
                Err(refused) => return Err(self.doubt(&format!("{what}: {refused:?}"))),
            }
        }
    }

    fn doubt(&self, why: &str) -> Failure {
        self.scene().schedule.note(&format!("in doubt: {why}"));
        match self.scene().broken {
            Some(Break::DoubtIsAbort) => Failure::Aborted(why.to_owned()),
            _ => Failure::Doubt(why.to_owned()),
        }
    }

    fn aborted(&self, why: &str) -> Failure {
        self.scene().schedule.note(&format!("aborted: {why}"));
        self.scene().storm().aborted.insert(self.name.clone());
        Failure::Aborted(why.to_owned())
    }

    fn refused(&self) -> Failure {
        self.scene().schedule.note(TOO_LARGE);
        Failure::Refused(TOO_LARGE.to_owned())
    }

    /// Delivers some of what was sent, in order; the library does so in its own time, and the rest before the end.
    fn deliver(&mut self, n_records: usize) -> Result<(), Failure> {
        for _ in 0..n_records.min(self.queue.len()) {
            if self.scene().strikes(|rates| rates.transaction / 8) {
                return Err(match self.scene().between(0, 8) {
                    0..4 => self.doubt("a record was not delivered in time"),
                    4..8 => self.aborted("a record was refused"),
                    // Until somebody has seen to the topic's limit.
                    _ => self.refused(),
                });
            }
            let Some((topic, partition, sent)) = self.queue.pop_front() else { break };
            if self.scene().broken == Some(Break::StoreFirst) {
                self.scene().disks().write_at_once(self.net.process, &topic, partition, &sent);
            }
            let (name, epoch) = (self.name.clone(), self.epoch);
            self.ask("produce", TRANSACTION_MS, |broker, now| {
                broker.produce((&name, epoch), (&topic, partition), sent.clone(), now)
            })?;
        }
        Ok(())
    }

    fn queue(&mut self, record: &Outgoing<'_>) {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), own(*value)));
        let sent = Sent { key: own(record.key), value: own(record.value), headers: headers.collect() };
        let by_key = || self.scene().broker().partition_of(record.topic, record.key.unwrap_or_default());
        let partition = record.partition.unwrap_or_else(by_key);
        self.has_begun = true;
        self.queue.push_back((record.topic.to_owned(), partition, sent));
    }
}

impl LogProducer for Sender {
    type Progress = Progress;

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.queue(record);
        Ok(())
    }

    fn send_offsets(&mut self, progress: &Progress) -> Result<(), Failure> {
        let n_early = self.scene().schedule.draw(|random| random.below(self.queue.len() + 1));
        self.deliver(n_early)?;
        if self.scene().strikes(|rates| rates.transaction) {
            return Err(self.aborted("the broker refuses the offsets"));
        }
        let (name, epoch) = (self.name.clone(), self.epoch);
        self.ask("add offsets", OVERDUE_MS, |broker, now| broker.add_offsets((&name, epoch), progress.clone(), now))
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.deliver(usize::MAX)?;
        let (name, epoch) = (self.name.clone(), self.epoch);
        if self.scene().strikes(|rates| rates.transaction) {
            let scene = self.scene();
            match scene.between(0, 3) {
                0 => return Err(self.aborted("the coordinator aborts")),
                1 => {}
                2 => {
                    let result = scene.broker().end((&name, epoch), true);
                    scene.schedule.note(&format!("ends a transaction and hears nothing: {result:?}"));
                }
                _ => {
                    let arrives_at = scene.now() + scene.between(100, 3_000);
                    scene.storm().in_flight.push((arrives_at, name, epoch, true));
                }
            }
            scene.schedule.pass(scene.between(0, OVERDUE_MS));
            return Err(self.doubt("no answer to the end of a transaction"));
        }
        self.ask("end", OVERDUE_MS, |broker, _| broker.end((&name, epoch), true))?;
        self.scene().schedule.note("commits");
        self.has_begun = false;
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Failure> {
        self.queue.clear();
        if !std::mem::take(&mut self.has_begun) || self.scene().broken == Some(Break::DoubtIsAbort) {
            return Ok(());
        }
        let (name, epoch) = (self.name.clone(), self.epoch);
        let aborted = self.ask("abort", OVERDUE_MS, |broker, _| match broker.end((&name, epoch), false) {
            // Nothing had reached the broker.
            Err(Refused::WrongState) if !broker.is_under_way(&name) => Ok(()),
            result => result,
        });
        aborted.map_err(|failure| Failure::Doubt(failure.to_string()))
    }

    fn close(self) {}
}
