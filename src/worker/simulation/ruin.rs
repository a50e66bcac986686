//! What no engine can repair, and every engine must notice: it stops and says why, and what was committed stays right.

use super::net::OUT_OF_RANGE;
use super::random::Random;
use super::run::{OUTPUTS, PARTITIONS, Run};
use super::schedule::START_MS;
use super::traffic::INPUTS;

/// What may be ruined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruin {
    /// The beginning of a partition of the changelog is removed.
    BeginningRemoved,
    /// All processes lose power, and a partition of the changelog what was written last.
    EndLost,
    /// Some topics are given another partition, which changes where customers are.
    PartitionAdded(To),
}

/// Which topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// One of the input topics.
    OneInput,
    /// All of them.
    Inputs,
    /// Those that are written, too.
    All,
}

impl Ruin {
    const ALL: [Self; 5] = [
        Self::BeginningRemoved,
        Self::EndLost,
        Self::PartitionAdded(To::OneInput),
        Self::PartitionAdded(To::Inputs),
        Self::PartitionAdded(To::All),
    ];
}

/// What is ruined in a run.
#[derive(Debug)]
pub(super) struct Ruins {
    /// What is to happen, and when: in most runs nothing.
    ahead: Option<(Ruin, i64)>,
    struck: Option<Ruin>,
}

impl Ruins {
    pub(super) fn new(random: &mut Random, storm_ms: i64) -> Self {
        let ruin = *random.pick(&Ruin::ALL);
        let at = START_MS + random.between(2_000, storm_ms);
        Self { ahead: random.chance(120).then_some((ruin, at)), struck: None }
    }

    pub(super) fn has_any_struck(&self) -> bool {
        self.struck.is_some()
    }

    /// Whether this is what a process says that stops because of what is ruined.
    pub(super) fn explains(&self, text: &str) -> bool {
        let words: &[&str] = match self.struck {
            Some(Ruin::BeginningRemoved) => {
                &["it was truncated", "customers would be forgotten", "would be lost or counted twice", OUT_OF_RANGE]
            }
            Some(Ruin::EndLost) => &["it was truncated", "would be lost or counted twice"],
            Some(Ruin::PartitionAdded(_)) => &["in the wrong partition", "counts differ", "must be the same"],
            None => &[],
        };
        words.iter().any(|words| text.contains(words))
    }
}

impl Run {
    /// Lets happen what nobody can repair, once its time has come.
    pub(super) fn be_ruined(&mut self) {
        let now = self.now();
        let Some((ruin, _)) = self.ruin.ahead.filter(|(_, at)| *at <= now) else { return };
        match ruin {
            Ruin::BeginningRemoved => self.remove_beginning(),
            Ruin::EndLost if !self.lose_end() => return,
            Ruin::EndLost => {}
            // Where there is no state yet, everything begins with as many as there are then.
            Ruin::PartitionAdded(_) if !self.scene.broker().has_commits() => return,
            Ruin::PartitionAdded(to) => self.add_partition(to),
        }
        self.ruin = Ruins { ahead: None, struck: Some(ruin) };
    }

    fn any_partition(&mut self) -> i32 {
        i32::try_from(self.random.between(0, i64::from(PARTITIONS) - 1)).unwrap()
    }

    /// Whether there was something to lose.
    fn lose_end(&mut self) -> bool {
        let number = self.any_partition();
        if !self.scene.broker().lose_end(number, &mut self.random) {
            return false;
        }
        self.scene.schedule.note(&format!("the changelog of {number} loses its end"));
        let running = self.hosts.iter().filter_map(|host| host.running.as_ref());
        for running in running.chain(self.replaced.iter().map(|(running, _)| running)) {
            self.scene.kill(running.process, "a loss of power");
        }
        true
    }

    fn add_partition(&mut self, to: To) {
        self.scene.schedule.note(&format!("a partition is added: {to:?}"));
        let inputs = INPUTS.map(|(_, topic)| topic);
        let mut broker = self.scene.broker();
        match to {
            To::OneInput => broker.add_partition(&[*self.random.pick(&inputs)]),
            To::Inputs => broker.add_partition(&inputs),
            To::All => broker.add_partition(&[&inputs[..], &OUTPUTS].concat()),
        }
        broker.rebalance(self.scene.now());
    }

    fn remove_beginning(&mut self) {
        let number = self.any_partition();
        let mut broker = self.scene.broker();
        let changelog = broker.partition_mut("segue-changelog", number);
        changelog.low = self.random.between(0, changelog.high());
        self.scene.schedule.note(&format!("the changelog of {number} is removed up to {}", changelog.low));
    }
}
