//! A transactional producer as the worker sees it: records on their way, and ends of transactions of which nothing is heard.

use std::collections::{BTreeMap, VecDeque};

use super::broker::{Broker, Place, Produce, Progress, Refused, TRANSACTION_MS};
use super::net::Net;
use super::partition::Sent;
use super::rules::Break;
use super::scene::{Request, Scene};
use crate::kafka::log::LogProducer;
use crate::kafka::transaction::{Failure, Outgoing};

/// What the broker says of a record that its topic does not take.
pub(super) const TOO_LARGE: &str = "message size too large";
/// How long ending a transaction may take before it is in doubt.
const OVERDUE_MS: i64 = 6_000;

/// A transactional producer.
pub(super) struct Sender {
    net: Net,
    name: String,
    epoch: i32,
    has_begun: bool,
    queue: VecDeque<(Place, Sent)>,
    /// How many records each place was sent.
    sequences: BTreeMap<Place, usize>,
}

impl Sender {
    pub(super) fn new(net: &Net, name: &str, epoch: i32) -> Self {
        let name = name.to_owned();
        Self { net: net.clone(), name, epoch, has_begun: false, queue: VecDeque::new(), sequences: BTreeMap::new() }
    }

    fn scene(&self) -> &Scene {
        &self.net.scene
    }

    /// One request, repeated while the last transaction is not marked everywhere yet.
    fn ask<T>(
        &self,
        what: &str,
        patience_ms: i64,
        mut request: impl FnMut(&mut Broker, i64) -> Result<T, Refused>,
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

    /// The next record, on its way.
    fn next(&mut self) -> Option<Produce> {
        let (place, sent) = self.queue.pop_front()?;
        let n_sent = self.sequences.entry(place.clone()).or_default();
        let sequence = std::mem::replace(n_sent, *n_sent + 1);
        Some(Produce { name: self.name.clone(), epoch: self.epoch, place, sequence, sent })
    }

    /// Gives up on the next record, which may arrive all the same.
    fn late(&mut self) -> Failure {
        if let Some(next) = self.next().filter(|_| self.scene().chance(700)) {
            self.scene().delay(Request::Produce(next));
        }
        self.doubt("a record was not delivered in time")
    }

    /// Delivers some of what was sent, in order; the library does so in its own time, and the rest before the end.
    fn deliver(&mut self, n_records: usize) -> Result<(), Failure> {
        for _ in 0..n_records.min(self.queue.len()) {
            if self.scene().strikes(|rates| rates.transaction / 8) {
                return Err(match self.scene().between(0, 8) {
                    0..4 => self.late(),
                    4..8 => self.aborted("a record was refused"),
                    // Until somebody has seen to the topic's limit.
                    _ => self.refused(),
                });
            }
            let Some(next) = self.next() else { break };
            if self.scene().broken == Some(Break::StoreFirst) {
                let (topic, partition) = &next.place;
                self.scene().disks().write_at_once(self.net.process, topic, *partition, &next.sent);
            }
            self.ask("produce", TRANSACTION_MS, |broker, now| broker.produce(next.clone(), now))?;
            if self.scene().strikes(|rates| rates.transaction / 4) {
                // The network has it twice, and the other comes when this transaction may be over.
                self.scene().delay(Request::Produce(next));
            }
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
        self.queue.push_back(((record.topic.to_owned(), partition), sent));
    }
}

impl LogProducer for Sender {
    type Progress = Progress;

    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), Failure> {
        self.queue(record);
        let n_early = if self.scene().chance(50) { self.queue.len() } else { 0 };
        self.deliver(n_early)
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
                _ => scene.delay(Request::Commit(name, epoch)),
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
        if self.scene().broken == Some(Break::NotThrownAway) {
            return Ok(());
        }
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
