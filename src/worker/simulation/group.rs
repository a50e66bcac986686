//! The consumer group of the broker: members that join, are heard of or not, and are given partitions by ranges.

use std::collections::{BTreeMap, VecDeque};

use super::broker::{Broker, Place};
use super::rules::Break;
use super::schedule::Process;
use super::traffic::INPUTS;
use crate::kafka::consumer::{Event, Membership, Offsets, whole_numbers};

/// A member that is not heard of for so long is put out of the group.
pub(super) const SESSION_MS: i64 = 5_000;
/// A member that does not join again within this is put out of the group.
const REBALANCE_MS: i64 = 8_000;

/// The consumer group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: i32,
    /// Until when members may join again, while the group is being put together anew.
    joining_until: Option<i64>,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) offsets: BTreeMap<Place, i64>,
}

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) id: u64,
    heard_at: i64,
    has_joined: bool,
    assigned: Vec<Place>,
}

/// A consumer's side of the group.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) process: Process,
    pub(super) instance: String,
    topics: Vec<String>,
    pub(super) id: u64,
    pub(super) generation: i32,
    /// The generation of its first assignment, for whoever keeps that.
    pub(super) first_generation: Option<i32>,
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

impl Broker {
    /// Makes a consumer; it joins with its first beat.
    pub(super) fn join(&mut self, process: Process, membership: &Membership, now: i64) -> usize {
        let instance = &membership.instance;
        self.next_id += 1;
        self.clients.push(Client {
            process,
            instance: instance.clone(),
            topics: membership.topics.clone(),
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
            self.group.members.insert(instance.clone(), member);
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
    pub(super) fn beat(&mut self, client: usize, now: i64) {
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
                let (whole, torn) = whole_numbers(&client.topics, &assigned);
                client.events.push_back(Event::Assigned(whole));
                client.events.extend(torn.map(Event::Torn));
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

    pub(super) fn tick_group(&mut self, now: i64) {
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
            let of_topic = |topic: &str| {
                let count = i32::try_from(self.topics[topic].len()).unwrap();
                let numbers = index * count / n_members..(index + 1) * count / n_members;
                numbers.map(|number| (topic.to_owned(), number)).collect::<Vec<_>>()
            };
            member.assigned = INPUTS.iter().flat_map(|(_, topic)| of_topic(topic)).collect();
        }
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
}
