//! What no engine can repair, and every engine must notice: it stops and says why, and what was committed stays right.

use super::net::OUT_OF_RANGE;
use super::random::Random;
use super::run::{PARTITIONS, Run};
use super::schedule::START_MS;
use super::traffic::INPUTS;

/// What may be ruined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruin {
    /// The beginning of a partition of the changelog is removed.
    BeginningRemoved,
    /// The input topics are given another partition, which changes where customers are.
    PartitionAdded,
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
        let ruin = *random.pick(&[Ruin::BeginningRemoved, Ruin::PartitionAdded]);
        let at = START_MS + random.between(2_000, storm_ms);
        Self { ahead: random.chance(80).then_some((ruin, at)), struck: None }
    }

    pub(super) fn has_any_struck(&self) -> bool {
        self.struck.is_some()
    }

    pub(super) fn has_struck(&self, ruin: Ruin) -> bool {
        self.struck == Some(ruin)
    }

    /// Whether this is what a process says that stops because of what is ruined.
    pub(super) fn explains(&self, text: &str) -> bool {
        let words: &[&str] = match self.struck {
            Some(Ruin::BeginningRemoved) => {
                &["it was truncated", "customers would be forgotten", "would be lost or counted twice", OUT_OF_RANGE]
            }
            Some(Ruin::PartitionAdded) => &["in the wrong partition"],
            None => &[],
        };
        words.iter().any(|words| text.contains(words))
    }
}

impl Run {
    /// Lets happen what nobody can repair, once its time has come.
    pub(super) fn be_ruined(&mut self) {
        let now = self.now();
        let Some((ruin, _)) = self.ruin.ahead.take_if(|(_, at)| *at <= now) else { return };
        self.ruin.struck = Some(ruin);
        match ruin {
            Ruin::BeginningRemoved => self.remove_beginning(),
            Ruin::PartitionAdded => {
                self.scene.schedule.note("a partition is added");
                let mut broker = self.scene.broker();
                broker.add_partition(&INPUTS.map(|(_, topic)| topic));
                broker.rebalance(now);
            }
        }
    }

    fn remove_beginning(&mut self) {
        let number = self.random.between(0, i64::from(PARTITIONS) - 1);
        let number = i32::try_from(number).unwrap();
        let mut broker = self.scene.broker();
        let changelog = broker.partition_mut("segue-changelog", number);
        changelog.low = self.random.between(0, changelog.high());
        self.scene.schedule.note(&format!("the changelog of {number} is removed up to {}", changelog.low));
    }
}
