//! A model of Kafka's broker: partitions with their marks, transactions with epochs and time-outs, one consumer group with
//! generations and static members. It only answers; who asks it when, and which answers are lost, is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::random::Random;
use super::rules::Break;
use super::schedule::Process;
use crate::kafka::consumer::{Event, Offsets};
use crate::worker::marker::{MARKER_KEY, Marker};

/// A member that is not heard of for so long is put out of the group.
pub(super) const SESSION_MS: i64 = 5_000;
/// A transaction that is not ended within this is aborted.
pub(super) const TRANSACTION_MS: i64 = 4_000;
/// A member that does not join again within this is put out of the group.
const REBALANCE_MS: i64 = 8_000;

/// A record as it is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What is at an offset.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) record: Sent,
    pub(super) timestamp_ms: i64,
    pub(super) state: SlotState,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotState {
    /// To be seen.
    Committed,
    /// Of a transaction under way.
    Open(String),
    /// Of one that was aborted.
    Aborted,
    /// The mark that ends a transaction.
    Mark,
    /// Compacted away.
    Gone,
}

/// One partition of a topic.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) slots: Vec<Slot>,
    /// First offsets of transactions under way.
    open: BTreeMap<String, usize>,
}

impl Partition {
    pub(super) fn high(&self) -> i64 {
        i64::try_from(self.slots.len()).unwrap()
    }

    /// The last stable offset: what lies before it is decided.
    pub(super) fn stable(&self) -> i64 {
        self.open.values().min().map_or(self.high(), |first| i64::try_from(*first).unwrap())
    }

    fn append(&mut self, record: Sent, timestamp_ms: i64, state: SlotState) -> i64 {
        if let SlotState::Open(name) = &state {
            self.open.entry(name.clone()).or_insert(self.slots.len());
        }
        self.slots.push(Slot { record, timestamp_ms, state });
        self.high() - 1
    }

    fn mark(&mut self, name: &str, commit: bool, now: i64) {
        let Some(first) = self.open.remove(name) else { return };
        for slot in &mut self.slots[first..] {
            if slot.state == SlotState::Open(name.to_owned()) {
                slot.state = if commit { SlotState::Committed } else { SlotState::Aborted };
            }
        }
        self.append(Sent::default(), now, SlotState::Mark);
    }

    /// Records that readers of committed records see.
    pub(super) fn committed(&self) -> impl Iterator<Item = (i64, &Slot)> {
        let stable = usize::try_from(self.stable()).unwrap();
        (0..).zip(&self.slots[..stable]).filter(|(_, slot)| slot.state == SlotState::Committed)
    }

    /// Takes away what a later record of the same key has replaced.
    pub(super) fn compact(&mut self) {
        let stable = usize::try_from(self.stable()).unwrap();
        let mut later = HashSet::new();
        for slot in self.slots[..stable].iter_mut().rev() {
            let is_replaced =
                slot.state == SlotState::Committed && !later.insert(slot.record.key.clone().unwrap_or_default());
            if is_replaced || slot.state == SlotState::Aborted {
                (slot.state, slot.record) = (SlotState::Gone, Sent::default());
            }
        }
    }
}

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
}

/// Something that a transaction holds.
type Place = (String, i32);

/// A customer of the changelog: partition, key and value.
type Decided = (i32, Vec<u8>, Option<Vec<u8>>);

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

/// The consumer group.
#[derive(Debug, Default)]
struct Group {
    generation: i32,
    /// Until when members may join again, while the group is being put together anew.
    joining_until: Option<i64>,
    members: BTreeMap<String, Member>,
    offsets: BTreeMap<Place, i64>,
}

#[derive(Debug, Default)]
struct Member {
    id: u64,
    heard_at: i64,
    has_joined: bool,
    assigned: BTreeSet<i32>,
}

/// A consumer's side of the group.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) process: Process,
    pub(super) instance: String,
    id: u64,
    generation: i32,
    /// The generation of its first assignment, for whoever keeps that.
    first_generation: Option<i32>,
    state: ClientState,
    heard_at: i64,
    pub(super) events: VecDeque<Event>,
    pub(super) is_lost: bool,
    pub(super) is_fenced: bool,
    /// It was closed, or its process has ended.
    pub(super) is_gone: bool,
    pub(super) positions: Offsets,
    /// How far each has ever been read.
    pub(super) furthest: Offsets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Joining,
    Member,
    /// Told that its partitions are taken away, which it has not acknowledged.
    Leaving,
}

/// The broker.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) topics: BTreeMap<String, Vec<Partition>>,
    transactions: BTreeMap<String, Transaction>,
    group: Group,
    pub(super) clients: Vec<Client>,
    next_id: u64,
    partitions: i32,
    broken: Option<Break>,
    /// Customers of the changelog whose transactions were decided to commit: what a store may hold.
    pub(super) decided: HashSet<Decided>,
    /// The last transaction of each partition, as its marker counts it.
    counted: BTreeMap<i32, u64>,
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
    pub(super) fn new(topics: &[(String, i32)], changelog: &str, partitions: i32, broken: Option<Break>) -> Self {
        let made = |count: i32| (0..count).map(|_| Partition::default()).collect();
        let topics = topics.iter().map(|(name, count)| (name.clone(), made(*count))).collect();
        Self { topics, partitions, broken, changelog: changelog.to_owned(), ..Self::default() }
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> &Partition {
        &self.topics[topic][usize::try_from(partition).unwrap()]
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> &mut Partition {
        &mut self.topics.get_mut(topic).unwrap()[usize::try_from(partition).unwrap()]
    }

    /// The partition of a key.
    pub(super) fn partition_of(&self, topic: &str, key: &[u8]) -> i32 {
        let sum = key.iter().fold(0, |sum, byte| sum * 31 % 1_009 + usize::from(*byte));
        i32::try_from(sum % self.topics[topic].len()).unwrap()
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
        (name, epoch): (&str, i32),
        (topic, partition): (&str, i32),
        record: Sent,
        now: i64,
    ) -> Result<i64, Refused> {
        let transaction = self.under_way(name, epoch, now)?;
        transaction.places.insert((topic.to_owned(), partition));
        Ok(self.partition_mut(topic, partition).append(record, now, SlotState::Open(name.to_owned())))
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
            let records = slots.iter().filter(|slot| slot.state == open).map(|slot| &slot.record);
            let decided =
                records.map(|record| (partition, record.key.clone().unwrap_or_default(), record.value.clone()));
            for decided in decided.collect::<Vec<_>>() {
                self.count_marker(&decided);
                self.decided.insert(decided);
            }
        }
    }

    /// I8: the transactions of a partition are counted without a gap, whoever commits them.
    fn count_marker(&mut self, (partition, key, value): &Decided) {
        if key != MARKER_KEY {
            return;
        }
        let found = Marker::decode(value.as_deref().unwrap_or_default()).unwrap().transaction;
        let former = self.counted.insert(*partition, found).unwrap_or_default();
        if found != former + 1 {
            self.complain(format!("I8 transaction {found} of partition {partition} comes after {former}"));
        }
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

    // The group.

    /// Makes a consumer; it joins with its first beat.
    pub(super) fn join(&mut self, process: Process, instance: &str, now: i64) -> usize {
        self.next_id += 1;
        self.clients.push(Client {
            process,
            instance: instance.to_owned(),
            id: self.next_id,
            generation: -1,
            first_generation: None,
            state: ClientState::Joining,
            heard_at: now,
            events: VecDeque::new(),
            is_lost: false,
            is_fenced: false,
            is_gone: false,
            positions: Offsets::new(),
            furthest: Offsets::new(),
        });
        let id = self.next_id;
        if let Some(member) = self.group.members.get_mut(instance) {
            // A static member that comes back takes the place of what it was.
            (member.id, member.heard_at) = (id, now);
        } else {
            let member = Member { id, heard_at: now, ..Member::default() };
            self.group.members.insert(instance.to_owned(), member);
            self.rebalance(now);
        }
        self.clients.len() - 1
    }

    /// Puts the group together anew.
    pub(super) fn rebalance(&mut self, now: i64) {
        if self.group.joining_until.is_none() {
            self.group.joining_until = Some(now + REBALANCE_MS);
            for member in self.group.members.values_mut() {
                member.has_joined = false;
            }
        }
    }

    /// A consumer's heartbeat and its answer.
    fn beat(&mut self, client: usize, now: i64) {
        let Client { id, state, instance, is_fenced, generation, .. } = &self.clients[client];
        let (id, state, generation) = (*id, *state, *generation);
        if *is_fenced {
            return;
        }
        let instance = instance.clone();
        let is_joining = self.group.joining_until.is_some();
        let n_generation = self.group.generation;
        let known = self.group.members.get_mut(&instance);
        if known.as_ref().is_some_and(|member| member.id > id) {
            let client = &mut self.clients[client];
            (client.is_fenced, client.is_lost) = (true, true);
            return;
        }
        let is_member = known.as_ref().is_some_and(|member| member.id == id);
        if let Some(member) = known.filter(|member| member.id == id) {
            member.heard_at = now;
            if state == ClientState::Joining && is_joining {
                member.has_joined = true;
            }
        }
        match state {
            ClientState::Joining if !is_member => {
                self.next_id += 1;
                let id = self.next_id;
                self.clients[client].id = id;
                self.group.members.insert(instance, Member { id, heard_at: now, ..Member::default() });
                self.rebalance(now);
            }
            ClientState::Joining if !is_joining => {
                let assigned = self.group.members[&instance].assigned.clone();
                let client = &mut self.clients[client];
                client.generation = n_generation;
                client.first_generation.get_or_insert(n_generation);
                client.state = ClientState::Member;
                client.events.push_back(Event::Assigned(assigned));
            }
            ClientState::Joining => {}
            ClientState::Member => {
                let is_lost = !is_member || generation != n_generation;
                if is_lost || is_joining {
                    self.take_away(client, is_lost);
                }
            }
            ClientState::Leaving => {
                if !is_member || generation != n_generation {
                    self.clients[client].is_lost = true;
                }
            }
        }
        self.clients[client].heard_at = now;
    }

    fn take_away(&mut self, client: usize, lost: bool) {
        let hides = self.broken == Some(Break::NoTeardown);
        let client = &mut self.clients[client];
        if hides {
            client.state = ClientState::Joining;
            return;
        }
        client.state = ClientState::Leaving;
        client.is_lost |= lost;
        client.events.push_back(Event::Revoked { lost });
    }

    /// A consumer has put down what was taken away.
    pub(super) fn unassign(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.positions.clear();
        if client.state == ClientState::Leaving {
            (client.state, client.is_lost) = (ClientState::Joining, false);
        }
    }

    fn tick_group(&mut self, now: i64) {
        let silent: Vec<String> = self
            .group
            .members
            .iter()
            .filter(|(_, m)| now - m.heard_at > SESSION_MS)
            .map(|(name, _)| name.clone())
            .collect();
        for instance in silent {
            self.group.members.remove(&instance);
            self.rebalance(now);
        }
        let Some(until) = self.group.joining_until else { return };
        if now > until {
            self.group.members.retain(|_, member| member.has_joined);
        }
        if self.group.members.values().all(|member| member.has_joined) {
            self.group.joining_until = None;
            self.group.generation += 1;
            self.share();
        }
    }

    /// Shares the partitions out, by ranges.
    fn share(&mut self) {
        let n_members = i32::try_from(self.group.members.len()).unwrap();
        for (index, member) in (0..).zip(self.group.members.values_mut()) {
            let of = |index: i32| index * self.partitions / n_members;
            member.assigned = (of(index)..of(index + 1)).collect();
        }
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

    /// The consumers of a process that does not hear of the broker find out by themselves.
    pub(super) fn tick_alone(&mut self, now: i64, is_alone: impl Fn(Process) -> bool) {
        for client in 0..self.clients.len() {
            let Client { process, state, heard_at, is_fenced, .. } = &self.clients[client];
            if *state == ClientState::Member && !is_fenced && now - heard_at > SESSION_MS && is_alone(*process) {
                self.take_away(client, true);
            }
        }
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
