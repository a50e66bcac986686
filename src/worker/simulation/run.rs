//! One run: processes that come and go over a broker and disks, under a storm that ends, and then calm until all is done.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::broker::Broker;
use super::check::check;
use super::disk::Mishap;
use super::host::{Host, Running};
use super::partition::Sent;
use super::random::Random;
use super::ranked::ranked;
use super::reference::Reference;
use super::ruin::Ruins;
use super::rules::Break;
use super::scene::{Rates, Scene};
use super::schedule::{START_MS, Schedule};
use super::site::N_VERSIONS;
use super::traffic::{Arrival, INPUTS, arrivals};

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 3;
/// What is written with as many.
pub(super) const OUTPUTS: [&str; 4] = ["changes", "memberships", "dead_letters", "segue-changelog"];
/// How long records arrive, and how long the storm lasts.
const TRAFFIC_MS: i64 = 22_000;
const STORM_MS: i64 = 26_000;
/// How long it may then take until everything is done.
const PATIENCE_MS: i64 = 90_000;
/// How long the engines go on after that: their clocks pass what was due.
const REST_MS: i64 = 12_000;
/// The same where they compare customers with each other: so long that they do so once more with all clocks.
const RANKED_REST_MS: i64 = 36_000;
/// How far wall clocks are behind or ahead. Further ahead, and what comes late comes behind the partition clock, which makes a
/// difference that is no fault.
const CLOCKS_MS: Range<i64> = -6_000..5_000;

/// What came of a run.
pub(super) struct Outcome {
    /// What must not be, if anything is.
    pub(super) complaints: Vec<String>,
    pub(super) trace: Vec<String>,
}

/// A run.
pub(super) struct Run {
    pub(super) scene: Arc<Scene>,
    pub(super) random: Random,
    pub(super) hosts: Vec<Host>,
    /// Processes whose name another has taken, and when they end.
    pub(super) replaced: Vec<(Running, i64)>,
    pub(super) n_processes: usize,
    /// The versions of the definitions that there are.
    pub(super) versions: Range<usize>,
    pub(super) commit_interval: Duration,
    pub(super) commit_max_events: usize,
    pub(super) store_memory_bytes: usize,
    pub(super) reference: Reference,
    pub(super) ruin: Ruins,
    pub(super) complaints: Vec<String>,
}

/// Does what a seed leads to.
pub(super) fn simulate(seed: u64, broken: Option<Break>) -> Outcome {
    let schedule = Schedule::begin(seed);
    let mut random = Random::new(seed ^ 0x5eed);
    let topics = INPUTS.iter().map(|(_, topic)| *topic).chain(OUTPUTS).map(|topic| (topic, PARTITIONS));
    let topics: Vec<_> = topics.chain([("segue-percentiles", 1)]).collect();
    let broker = Broker::new(&topics, "segue-changelog", broken);
    let some = |random: &mut Random, rates: &[u32]| *random.pick(rates);
    let rates = Rates {
        kill: some(&mut random, &[0, 1, 3]),
        freeze: some(&mut random, &[0, 1, 3]),
        hold_up: some(&mut random, &[0, 0, 1, 3]),
        transaction: some(&mut random, &[0, 20, 100]),
        forget: some(&mut random, &[0, 0, 50]),
        // In some runs all clocks show the same.
        clock_ms: *random.pick(&[0, CLOCKS_MS.end - CLOCKS_MS.start]),
    };
    let scene = Scene::new(schedule.clone(), broker, rates, broken);
    let hosts = (0..3).map(|number| Host::new(number, 1 + random.below(2))).collect();
    let mut run = Run {
        hosts,
        replaced: Vec::new(),
        n_processes: 0,
        versions: random.pick(&[0..1, 0..N_VERSIONS, N_VERSIONS..2 * N_VERSIONS]).clone(),
        commit_interval: Duration::from_millis(random.between(50, 400).unsigned_abs()),
        commit_max_events: 1 + random.below(20),
        // In some runs, next to nobody stays in memory.
        store_memory_bytes: *random.pick(&[1 << 20, 1 << 14]),
        reference: Reference::default(),
        ruin: Ruins::new(&mut random, STORM_MS),
        complaints: Vec::new(),
        random,
        scene,
    };
    run.start_broker();
    run.storm();
    run.calm();
    let complaints = run.verdict();
    let Run { scene, .. } = run;
    let (trace, panics) = scene.schedule.finish();
    let panics = panics.into_iter().map(|panic| format!("panic: {panic}"));
    Outcome { complaints: panics.chain(complaints).collect(), trace }
}

impl Run {
    pub(super) fn now(&self) -> i64 {
        self.scene.now()
    }

    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.random.chance(per_mille)
    }

    /// The broker's own time goes by in a thread of its own.
    fn start_broker(&self) {
        let scene = self.scene.clone();
        self.scene.schedule.spawn("broker", None, move || {
            let mut n_rounds = 0;
            loop {
                scene.schedule.pass(scene.between(20, 200));
                n_rounds += 1;
                scene.deliver();
                let now = scene.now();
                let mut random = Random::new(scene.schedule.draw(Random::next));
                let mut broker = scene.broker();
                broker.tick(&mut random, now, |process| scene.is_heard(process));
                broker.tick_alone(now, |process| scene.is_alive(process) && !scene.is_reachable(process));
                if n_rounds % 40 == 0 {
                    for number in 0..PARTITIONS {
                        let aged = scene.forgotten_before(number);
                        if broker.partition_mut("segue-changelog", number).compact(aged) {
                            scene.schedule.note(&format!("the changelog of {number} forgets removals"));
                        }
                    }
                }
            }
        });
    }

    /// Records arrive while everything goes wrong.
    fn storm(&mut self) {
        let n_customers = 4 + self.random.below(6);
        let mut arriving = arrivals(&mut self.random, n_customers, TRAFFIC_MS).into_iter().peekable();
        while self.now() < START_MS + STORM_MS {
            while let Some(arrival) = arriving.next_if(|arrival| arrival.at <= self.now()) {
                self.arrive(&arrival);
            }
            self.strike();
            self.look_after_hosts();
            let next = arriving.peek().map_or(i64::MAX, |arrival| arrival.at);
            let pause = self.random.between(20, 250);
            self.scene.schedule.pass_until((self.now() + pause).min(next.max(self.now() + 1)));
        }
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let topic = INPUTS[arrival.lane].1;
        let key = arrival.customer.clone().into_bytes();
        let mut broker = self.scene.broker();
        let number = broker.partition_of(topic, &key);
        let record = Sent { key: Some(key), value: Some(arrival.value.clone()), ..Sent::default() };
        let now = self.scene.now();
        let offset = broker.append((topic, number), record, now, arrival.how);
        drop(broker);
        self.reference.arrive(Arrival { at: now, ..arrival.clone() }, number, offset);
    }

    /// Something may go wrong: in the network, on a disk, with a whole process.
    fn strike(&mut self) {
        let now = self.now();
        if self.chance(8) {
            let for_ms = self.random.between(100, 5_000);
            self.scene.schedule.note(&format!("the broker is away for {for_ms} ms"));
            self.scene.storm().away_until = now + for_ms;
        }
        if self.chance(8) {
            let for_ms = self.random.between(100, 8_000);
            self.scene.schedule.note(&format!("the registry is away for {for_ms} ms"));
            self.scene.storm().registry_away_until = now + for_ms;
        }
        if self.chance(8) {
            self.scene.schedule.note("the group is put together anew");
            self.scene.broker().rebalance(now);
        }
        self.be_ruined();
        let number = self.random.below(self.hosts.len());
        let directory = self.hosts[number].directory.clone();
        let Some(process) = self.hosts[number].running.as_ref().map(|running| running.process) else {
            if self.chance(60) {
                let mishap = *self.random.pick(&[Mishap::Lost, Mishap::Old, Mishap::Old, Mishap::Damaged]);
                self.scene.schedule.note(&format!("{}: {mishap:?}", directory.display()));
                let random = &mut self.random;
                self.scene.disks().befall(&directory, mishap, |bound| random.below(bound));
            }
            if self.chance(30) {
                self.hosts[number].is_wanted = true;
            }
            return;
        };
        match self.random.below(220) {
            0 => self.scene.kill(process, "any time"),
            1 | 2 => {
                let for_ms = self.random.between(100, 14_000);
                self.scene.schedule.note(&format!("process {process} is halted for {for_ms} ms"));
                self.scene.schedule.freeze(process, now + for_ms);
            }
            3 | 4 => {
                let for_ms = self.random.between(100, 7_000);
                self.scene.schedule.note(&format!("process {process} is cut off for {for_ms} ms"));
                self.scene.storm().cut_until.insert(process, now + for_ms);
            }
            5 | 6 => self.ask_to_end(number),
            7 => {
                self.hosts[number].is_wanted = false;
                self.ask_to_end(number);
            }
            8 => self.replace(number),
            9 => {
                self.scene.schedule.note(&format!("{} is full", directory.display()));
                self.scene.disks().fill_up(&directory, true);
            }
            10 | 11 if self.scene.storm().rates.clock_ms > 0 => {
                let ahead_ms = self.random.between(CLOCKS_MS.start, CLOCKS_MS.end);
                self.scene.schedule.note(&format!("the clock of process {process} is set {ahead_ms} ms ahead"));
                self.hosts[number].clock_ms = ahead_ms;
                self.scene.schedule.set_clock(process, ahead_ms);
            }
            _ => {}
        }
    }

    /// Nothing goes wrong any more; until all that arrived is committed, and the processes have ended.
    fn calm(&mut self) {
        self.scene.storm().is_over = true;
        self.hosts.iter().for_each(|host| self.scene.disks().fill_up(&host.directory, false));
        self.scene.schedule.note("calm");
        for (running, _) in std::mem::take(&mut self.replaced) {
            self.scene.kill(running.process, "replaced");
        }
        let n_wanted = 1 + self.random.below(self.hosts.len());
        for number in 0..self.hosts.len() {
            self.hosts[number].is_wanted = number < n_wanted;
            if number >= n_wanted {
                self.ask_to_end(number);
            }
        }
        self.agree_on_definitions();
        let deadline = self.now() + PATIENCE_MS;
        while !self.is_done() {
            if self.now() > deadline || !self.complaints.is_empty() {
                self.complaints.push(format!("I9 not done {PATIENCE_MS} ms after the storm"));
                return;
            }
            self.look_after_hosts();
            self.scene.schedule.pass(250);
        }
        self.scene.schedule.note("all is committed");
        let rested_at = self.now() + if self.is_ranked() { RANKED_REST_MS } else { REST_MS };
        while self.now() < rested_at {
            self.look_after_hosts();
            self.scene.schedule.pass(250);
        }
        (0..self.hosts.len()).for_each(|number| self.hosts[number].is_wanted = false);
        (0..self.hosts.len()).for_each(|number| self.ask_to_end(number));
        let deadline = self.now() + PATIENCE_MS;
        while self.hosts.iter().any(|host| host.running.is_some()) || self.scene.broker().is_unsettled() {
            if self.now() > deadline {
                self.complaints.push("I9 a process does not end".to_owned());
                return;
            }
            (0..self.hosts.len()).for_each(|number| self.see_to_end(number));
            self.scene.schedule.pass(100);
        }
    }

    /// Whether there are percentiles.
    fn is_ranked(&self) -> bool {
        self.versions.start >= N_VERSIONS
    }

    /// One of the versions of the definitions that there are.
    pub(super) fn any_version(&mut self) -> usize {
        let Range { start, end } = self.versions;
        start + self.random.below(end - start)
    }

    /// All processes are to have the same definitions.
    fn agree_on_definitions(&mut self) {
        let version = self.any_version();
        self.versions = version..version + 1;
        let others = (0..self.hosts.len()).filter(|number| self.hosts[*number].version != version);
        others.collect::<Vec<_>>().into_iter().for_each(|number| self.ask_to_end(number));
    }

    /// Whether all is committed by those who are to be there; what was ruined is not waited for.
    fn is_done(&self) -> bool {
        let is_as_wanted = || self.hosts.iter().all(|host| host.is_wanted == host.running.is_some());
        self.ruin.has_any_struck() || (self.is_all_committed() && is_as_wanted())
    }

    fn is_all_committed(&self) -> bool {
        let broker = self.scene.broker();
        let places = INPUTS.iter().flat_map(|(_, topic)| (0..PARTITIONS).map(move |number| (*topic, number)));
        !broker.is_unsettled()
            && places.into_iter().all(|(topic, number)| {
                let log = broker.partition(topic, number);
                // What lies behind the last record may be marks.
                let end = log.committed().last().map_or(0, |(offset, _)| offset + 1);
                broker.committed(topic, number).is_ok_and(|offset| offset.unwrap_or_default() >= end)
            })
    }

    fn verdict(&mut self) -> Vec<String> {
        let mut complaints = std::mem::take(&mut self.complaints);
        complaints.append(&mut self.scene.broker().complaints);
        self.scene.broker().put_back();
        if complaints.is_empty() {
            let directories: Vec<_> = self.hosts.iter().map(|host| host.directory.clone()).collect();
            complaints = check(&self.scene, &self.reference, &directories, self.is_ranked());
            if self.is_ranked() && !self.ruin.has_any_struck() {
                complaints.extend(ranked(&self.scene.broker()));
            }
        }
        complaints
    }
}
