//! How often each value is in a window, for `top`: counted by numbers, and counted down as they leave.

use smallvec::{SmallVec, smallvec};

use super::counts::Sighting;
use super::value::Value;

/// Most windows have no more different values.
const FEW: usize = 16;

/// The counts of a window's values.
pub(super) struct Tally<'c> {
    values: &'c [Value],
    sightings: &'c [Sighting],
    /// By number.
    totals: SmallVec<[Total; FEW]>,
}

/// The greatest wins: the most frequent, and of those seen equally often the latest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Total {
    count: u64,
    /// Greater the more recently it was seen.
    recency: usize,
}

impl<'c> Tally<'c> {
    /// Counts sightings, oldest first, of these values.
    pub(super) fn of(values: &'c [Value], sightings: &'c [Sighting]) -> Self {
        let mut totals = smallvec![Total::default(); values.len()];
        for (recency, sighting) in sightings.iter().enumerate() {
            let total: &mut Total = &mut totals[sighting.number as usize];
            total.count += u64::from(sighting.count);
            total.recency = recency;
        }
        Self { values, sightings, totals }
    }

    /// Of one value.
    pub(super) fn total(&self, number: u32) -> Total {
        self.totals[number as usize]
    }

    /// The most frequent value, the most recently seen winning a tie.
    pub(super) fn most_frequent(&self) -> &'c Value {
        let seen = self.values.iter().zip(&self.totals).filter(|(_, total)| total.count > 0);
        seen.max_by_key(|(_, total)| **total).map_or(&Value::Unknown, |(value, _)| value)
    }

    /// Whether `holds` of the most frequent value, and the instant or bucket that turns that by leaving, if it is the oldest
    /// first.
    pub(super) fn turning(mut self, holds: impl Fn(&Value) -> bool) -> (bool, Option<i64>) {
        let holds_now = holds(self.most_frequent());
        let keeps = |value: &Value| holds(value) == holds_now;
        let mut contest =
            Contest { keeps: self.values.iter().map(keeps).collect(), keeper: 0, rival: Total::default() };
        contest.rival = contest.greatest_rival(&self.totals);
        let of_nothing = keeps(&Value::Unknown);
        if of_nothing && contest.rival.count == 0 {
            return (holds_now, None);
        }
        for gone in self.sightings.chunk_by(|one, other| one.youngest == other.youngest) {
            for sighting in gone {
                self.totals[sighting.number as usize].count -= u64::from(sighting.count);
            }
            if !(contest.is_kept(&self.totals) || of_nothing && contest.rival.count == 0) {
                return (holds_now, gone.first().map(|sighting| sighting.youngest));
            }
        }
        (holds_now, None)
    }
}

/// The values that keep a condition as it is while one of them is the most frequent, against those that would turn it. Who
/// wins need not be known, only on which side; and as values leave, all of them only get fewer.
struct Contest {
    /// By number, whether the value keeps it.
    keeps: SmallVec<[bool; FEW]>,
    /// The first keeper that is greater than the rival, or none is.
    keeper: usize,
    /// At least as great as the greatest of those that turn it.
    rival: Total,
}

impl Contest {
    /// Whether a keeper is greater than all rivals.
    fn is_kept(&mut self, totals: &[Total]) -> bool {
        loop {
            let wins = |(total, keeps): (&Total, &bool)| *keeps && total.count > 0 && *total > self.rival;
            let sides = totals.iter().zip(&self.keeps).skip(self.keeper);
            let n_weaker = sides.take_while(|side| !wins(*side)).count();
            self.keeper += n_weaker;
            if self.keeper < totals.len() {
                return true;
            }
            let rival = self.greatest_rival(totals);
            if std::mem::replace(&mut self.rival, rival) == rival {
                return false;
            }
            self.keeper = 0;
        }
    }

    fn greatest_rival(&self, totals: &[Total]) -> Total {
        let rivals = totals.iter().zip(&self.keeps).filter(|(total, keeps)| !**keeps && total.count > 0);
        rivals.map(|(total, _)| *total).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;
    use crate::engine::counts::Counts;

    /// Counts again whenever something has gone.
    fn counted_anew(counts: &Counts, holds: impl Fn(&Value) -> bool) -> (bool, Option<i64>) {
        let holds_from = |earliest: i64| holds(counts.tally(earliest).most_frequent());
        let holds_now = holds_from(0);
        let turns = |youngest: &i64| holds_from(youngest + 1) != holds_now;
        (holds_now, counts.sightings().iter().map(|sighting| sighting.youngest).find(turns))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

        #[test]
        fn the_instant_that_turns_it_is_found_without_counting_anew(
            seen in prop::collection::vec((0..20_i64, 1..40_i64), 0..200),
            bound in 1..40,
        ) {
            let mut counts = Counts::default();
            for (number, (at, value)) in (0..).zip(&seen) {
                counts.add(number / 3 + at, &Value::Number(Decimal::from(*value % 7 * value)));
            }
            let holds = |value: &Value| value.position().is_some_and(|number| number >= Decimal::from(bound));
            for holds in [&holds as &dyn Fn(&Value) -> bool, &|value| !holds(value)] {
                prop_assert_eq!(counts.tally(0).turning(holds), counted_anew(&counts, holds));
            }
        }
    }
}
