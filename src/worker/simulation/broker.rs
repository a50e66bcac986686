//! A model of Kafka's broker: transactions with epochs and time-outs over partitions with their marks, and one consumer
//! group with generations and static members. It only answers; who asks it when, and which answers are lost, is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::group::{Client, Group};
use super::partition::{Partition, Sent, SlotState};
use super::random::Random;
use super::rules::Break;
use super::run::PARTITIONS;
use super::schedule::Process;
use crate::worker::marker::{MARKER_KEY, Marker};

/// A transaction that is not ended within this is aborted.
pub(super) const TRANSACTION_MS: i64 = 4_000;
/// Why the broker does not do what it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another producer of this name was made, or the broker ended the transaction by itself.
    Fenced,
    /// The last transaction is not marked everywhere yet.
    Concurrent,
    /// The transaction is not in a state for that.
    WrongState,
    /// Not a member of the group, or of an earlier generation.
    NoMember,
    /// There should have been another record of the producer before.
    OutOfOrder,
}

/// What a transaction that was decided to commit says of a partition.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) marker: Marker,
    /// Keys of the customers that are in it.
    pub(super) customers: BTreeSet<Vec<u8>>,
}

/// Something that a transaction holds.
pub(super) type Place = (String, i32);

/// A customer of the changelog: partition, key and value.
type Decided = (i32, Vec<u8>, Option<Vec<u8>>);

/// A record on its way to the broker.
#[derive(Debug, Clone)]
pub(super) struct Produce {
    /// The producer, and its epoch.
    pub(super) name: String,
    pub(super) epoch: i32,
    pub(super) place: Place,
    /// How many this producer has sent to this place before it, in this epoch.
    pub(super) sequence: usize,
    pub(super) sent: Sent,
}

#[derive(Debug, Default)]
struct Transaction {
    epoch: i32,
    state: TransactionState,
    places: BTreeSet<Place>,
    offsets: BTreeMap<Place, i64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TransactionState {
    #[default]
    Empty,
    Open {
        since: i64,
    },
    Ending {
        commit: bool,
    },
    Ended {
        commit: bool,
    },
}

/// The broker.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) topics: BTreeMap<String, Vec<Partition>>,
    transactions: BTreeMap<String, Transaction>,
    /// How many records of each producer's epoch a partition has.
    sequences: BTreeMap<(String, i32, Place), usize>,
    pub(super) group: Group,
    pub(super) clients: Vec<Client>,
    pub(super) next_id: u64,
    pub(super) broken: Option<Break>,
    /// Customers of the changelog whose transactions were decided to commit: what a store may hold.
    pub(super) decided: HashSet<Decided>,
    /// What was committed of each partition, in order.
    commits: BTreeMap<i32, Vec<Committed>>,
    changelog: String,
    /// Who committed offsets of a partition in a generation.
    owners: BTreeMap<(i32, i32), String>,
    pub(super) complaints: Vec<String>,
}

/// Input offsets on their way into a transaction.
#[derive(Clone)]
pub(super) struct Progress {
    pub(super) client: usize,
    pub(super) generation: i32,
    pub(super) offsets: BTreeMap<Place, i64>,
}

impl Broker {
    pub(super) fn new(topics: &[(&str, i32)], changelog: &str, broken: Option<Break>) -> Self {
        let made = |count: i32| (0..count).map(|_| Partition::default()).collect();
        let topics = topics.iter().map(|(name, count)| ((*name).to_owned(), made(*count))).collect();
        Self { topics, broken, changelog: changelog.to_owned(), ..Self::default() }
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> &Partition {
        &self.topics[topic][usize::try_from(partition).unwrap()]
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> &mut Partition {
        &mut self.topics.get_mut(topic).unwrap()[usize::try_from(partition).unwrap()]
    }

    /// The numbers of a topic's partitions.
    pub(super) fn numbers(&self, topic: &str) -> Range<i32> {
        0..i32::try_from(self.topics[topic].len()).unwrap()
    }

    /// Gives topics another partition.
    pub(super) fn add_partition(&mut self, topics: &[&str]) {
        for topic in topics {
            self.topics.get_mut(*topic).unwrap().push(Partition::default());
        }
    }

    /// The partition of a key. With a partition more, keys move there from the others and nowhere else.
    pub(super) fn partition_of(&self, topic: &str, key: &[u8]) -> i32 {
        let sum = key.iter().fold(0, |sum, byte| sum * 31 % 1_009 + i32::from(*byte));
        let count = self.numbers(topic).end;
        let of_all = sum % count;
        if of_all < PARTITIONS { sum % count.min(PARTITIONS) } else { of_all }
    }

    /// Appends what others send, in a transaction of their own or without one.
    pub(super) fn append(&mut self, (topic, partition): (&str, i32), record: Sent, now: i64, how: Upstream) -> i64 {
        let into = self.partition_mut(topic, partition);
        match how {
            Upstream::Plain => into.append(record, now, SlotState::Committed),
            Upstream::Transaction { commit } => {
                let offset = into.append(record, now, SlotState::Open("upstream".to_owned()));
                into.mark("upstream", commit, now);
                offset
            }
        }
    }

    // Transactions.

    /// Gives a producer its epoch, once what its predecessor left is settled.
    pub(super) fn init(&mut self, name: &str) -> Result<i32, Refused> {
        let transaction = self.transactions.entry(name.to_owned()).or_default();
        match transaction.state {
            TransactionState::Open { .. } => {
                transaction.epoch += 1;
                self.decide(name, false);
                Err(Refused::Concurrent)
            }
            TransactionState::Ending { .. } => Err(Refused::Concurrent),
            TransactionState::Empty | TransactionState::Ended { .. } => {
                transaction.epoch += 1;
                transaction.state = TransactionState::Empty;
                Ok(transaction.epoch)
            }
        }
    }

    /// The transaction of a producer, begun if need be.
    fn under_way(&mut self, name: &str, epoch: i32, now: i64) -> Result<&mut Transaction, Refused> {
        let is_checked = self.broken != Some(Break::NoFencing);
        let transaction = self.transactions.get_mut(name).ok_or(Refused::WrongState)?;
        if transaction.epoch != epoch && is_checked {
            return Err(Refused::Fenced);
        }
        match transaction.state {
            TransactionState::Open { .. } => {}
            TransactionState::Ending { .. } => return Err(Refused::Concurrent),
            TransactionState::Empty | TransactionState::Ended { .. } => {
                transaction.state = TransactionState::Open { since: now };
            }
        }
        Ok(transaction)
    }

    /// Takes a record of a transaction.
    pub(super) fn produce(
        &mut self,
        Produce { name, epoch, place, sequence, sent }: Produce,
        now: i64,
    ) -> Result<(), Refused> {
        let by = (name.clone(), epoch, place.clone());
        let n_taken = self.sequences.get(&by).copied().unwrap_or_default();
        // Sent twice, or come twice.
        if sequence < n_taken && self.broken != Some(Break::RepetitionsTaken) {
            return Ok(());
        }
        if sequence > n_taken {
            return Err(Refused::OutOfOrder);
        }
        self.under_way(&name, epoch, now)?.places.insert(place.clone());
        self.sequences.insert(by, n_taken.max(sequence + 1));
        let (topic, partition) = place;
        self.partition_mut(&topic, partition).append(sent, now, SlotState::Open(name));
        Ok(())
    }

    /// The same for one that was long on its way.
    pub(super) fn produce_late(&mut self, mut late: Produce, now: i64) -> Result<(), Refused> {
        if self.broken == Some(Break::LateRecords) {
            let epoch = self.transactions.get(&late.name).map_or(late.epoch, |transaction| transaction.epoch);
            let taken = self.sequences.get(&(late.name.clone(), epoch, late.place.clone()));
            (late.epoch, late.sequence) = (epoch, taken.copied().unwrap_or_default());
        }
        self.produce(late, now)
    }

    /// Takes input offsets into a transaction, from a member of the group as it is now.
    pub(super) fn add_offsets(
        &mut self,
        (name, epoch): (&str, i32),
        Progress { client, generation, offsets }: Progress,
        now: i64,
    ) -> Result<(), Refused> {
        let Client { id, instance, .. } = &self.clients[client];
        let (id, instance) = (*id, instance.clone());
        self.under_way(name, epoch, now)?;
        let is_member = self.group.members.get(&instance).is_some_and(|member| member.id == id);
        if self.broken != Some(Break::NoGeneration) && (!is_member || generation != self.group.generation) {
            return Err(Refused::NoMember);
        }
        for (_, partition) in offsets.keys() {
            let owner = self.owners.entry((*partition, generation)).or_insert_with(|| instance.clone());
            if *owner != instance {
                let other = owner.clone();
                self.complain(format!(
                    "I6 {instance} and {other} both sent offsets of partition {partition} in generation {generation}"
                ));
            }
        }
        self.under_way(name, epoch, now)?.offsets.extend(offsets);
        Ok(())
    }

    /// The generation that a member says it is of.
    pub(super) fn claimed_generation(&self, client: usize) -> i32 {
        let client = &self.clients[client];
        match self.broken {
            Some(Break::CachedGeneration) => client.first_generation.unwrap_or(client.generation),
            _ => client.generation,
        }
    }

    /// Ends a transaction.
    pub(super) fn end(&mut self, (name, epoch): (&str, i32), commit: bool) -> Result<(), Refused> {
        let is_checked = self.broken != Some(Break::NoFencing);
        let transaction = self.transactions.get_mut(name).ok_or(Refused::WrongState)?;
        if transaction.epoch != epoch && is_checked {
            return Err(Refused::Fenced);
        }
        match transaction.state {
            TransactionState::Open { .. } => {
                self.decide(name, commit);
                Ok(())
            }
            // Asked again because the answer was lost.
            TransactionState::Ending { commit: decided } | TransactionState::Ended { commit: decided } => {
                if decided == commit { Ok(()) } else { Err(Refused::WrongState) }
            }
            TransactionState::Empty => Err(Refused::WrongState),
        }
    }

    /// From here on there is no way back; the marks follow one by one.
    fn decide(&mut self, name: &str, commit: bool) {
        let transaction = self.transactions.get_mut(name).unwrap();
        transaction.state = TransactionState::Ending { commit };
        let places: Vec<Place> = transaction.places.iter().cloned().collect();
        let changelog = self.changelog.clone();
        for (topic, partition) in places.into_iter().filter(|(topic, _)| commit && *topic == changelog) {
            let open = SlotState::Open(name.to_owned());
            let slots = &self.topics[&topic][usize::try_from(partition).unwrap()].slots;
            let records = slots.iter().filter(|slot| slot.state == open).map(|slot| slot.record.clone());
            self.count(partition, records.collect());
        }
    }

    /// I8: the transactions of a partition are counted without a gap, whoever commits them.
    fn count(&mut self, partition: i32, records: Vec<Sent>) {
        let mut customers = BTreeSet::new();
        for Sent { key, value, .. } in records {
            let key = key.unwrap_or_default();
            if key == MARKER_KEY {
                let marker = Marker::decode(value.as_deref().unwrap_or_default()).unwrap();
                let (found, former) = (marker.transaction, self.commits(partition).last());
                let former = former.map_or(0, |commit| commit.marker.transaction);
                let customers = std::mem::take(&mut customers);
                self.commits.entry(partition).or_default().push(Committed { marker, customers });
                if self.partition(&self.changelog, partition).has_lost() {
                    self.complain(format!("I8 partition {partition} goes on though its changelog has lost its end"));
                }
                if found != former + 1 {
                    self.complain(format!("I8 transaction {found} of partition {partition} comes after {former}"));
                }
            } else {
                customers.insert(key.clone());
                self.decided.insert((partition, key, value));
            }
        }
    }

    /// The markers that readers of the changelog see, in order, and where they are.
    pub(super) fn markers(&self, partition: i32) -> impl Iterator<Item = (i64, Marker)> {
        let records = self.partition(&self.changelog, partition).committed();
        let markers = records.filter(|(_, slot)| slot.record.key.as_deref() == Some(MARKER_KEY));
        markers.map(|(at, slot)| (at, Marker::decode(slot.record.value.as_deref().unwrap_or_default()).unwrap()))
    }

    /// A partition of the changelog loses what lies behind one of its markers, if that is of records taken in; whether it did.
    pub(super) fn lose_end(&mut self, partition: i32, random: &mut Random) -> bool {
        let Some((_, last)) = self.markers(partition).last() else { return false };
        let log = self.partition(&self.changelog, partition);
        if log.stable() < log.high() {
            return false;
        }
        let earlier = self.markers(partition).filter(|(_, marker)| marker.offsets != last.offsets);
        let earlier: Vec<i64> = earlier.map(|(offset, _)| offset).collect();
        if earlier.is_empty() {
            return false;
        }
        let end = *random.pick(&earlier) + 1;
        self.partition_mut(&self.changelog.clone(), partition).lose_from(end);
        true
    }

    /// Everything is as it was before an end was lost, to compare with.
    pub(super) fn put_back(&mut self) {
        self.topics.values_mut().flatten().for_each(Partition::put_back);
    }

    /// Whether anything was committed of any partition.
    pub(super) fn has_commits(&self) -> bool {
        !self.commits.is_empty()
    }

    /// What was committed of a partition, in order.
    pub(super) fn commits(&self, partition: i32) -> &[Committed] {
        self.commits.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// Writes some of the marks that are due, and aborts what took too long.
    fn tick_transactions(&mut self, random: &mut Random, now: i64) {
        let names: Vec<String> = self.transactions.keys().cloned().collect();
        for name in names {
            let transaction = self.transactions.get_mut(&name).unwrap();
            match transaction.state {
                TransactionState::Open { since } if now - since > TRANSACTION_MS => {
                    transaction.epoch += 1;
                    self.decide(&name, false);
                }
                TransactionState::Ending { commit } => {
                    let due: Vec<Place> = transaction.places.iter().filter(|_| random.chance(600)).cloned().collect();
                    let with_offsets = !transaction.offsets.is_empty() && random.chance(600);
                    if with_offsets {
                        let offsets = std::mem::take(&mut transaction.offsets);
                        if commit {
                            self.group.offsets.extend(offsets);
                        }
                    }
                    transaction.places.retain(|place| !due.contains(place));
                    if transaction.places.is_empty() && transaction.offsets.is_empty() {
                        transaction.state = TransactionState::Ended { commit };
                    }
                    for (topic, partition) in due {
                        self.partition_mut(&topic, partition).mark(&name, commit, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the broker knows of something to end.
    pub(super) fn is_under_way(&self, name: &str) -> bool {
        let state = self.transactions.get(name).map(|transaction| transaction.state);
        matches!(state, Some(TransactionState::Open { .. } | TransactionState::Ending { .. }))
    }

    /// Whether transactions are under way, or not marked everywhere yet.
    pub(super) fn is_unsettled(&self) -> bool {
        let states = self.transactions.values().map(|transaction| transaction.state);
        states.into_iter().any(|state| matches!(state, TransactionState::Open { .. } | TransactionState::Ending { .. }))
    }

    /// Time goes by: `hears` says which processes the broker hears of.
    pub(super) fn tick(&mut self, random: &mut Random, now: i64, hears: impl Fn(Process) -> bool) {
        self.tick_transactions(random, now);
        for client in 0..self.clients.len() {
            if !self.clients[client].is_gone && hears(self.clients[client].process) {
                self.beat(client, now);
            }
        }
        self.tick_group(now);
    }

    /// The group's offset of a place; `Err` while a transaction that has it is under way.
    pub(super) fn committed(&self, topic: &str, partition: i32) -> Result<Option<i64>, Refused> {
        let place = (topic.to_owned(), partition);
        if self.transactions.values().any(|transaction| transaction.offsets.contains_key(&place)) {
            return Err(Refused::Concurrent);
        }
        Ok(self.group.offsets.get(&place).copied())
    }

    pub(super) fn complain(&mut self, what: String) {
        if self.complaints.len() < 5 {
            self.complaints.push(what);
        }
    }

    /// Generations, for the trace.
    pub(super) fn generation(&self) -> i32 {
        self.group.generation
    }
}

/// How others send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Without a transaction.
    Plain,
    /// In one of their own, of this record alone.
    Transaction {
        /// Whether it is committed.
        commit: bool,
    },
}
