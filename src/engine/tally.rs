//! How often each value is in a window, for `top`: counted without copying values, and counted down as they leave.

use super::accumulator::{Accumulator, Seen, TOP_VALUES_MAX};
use super::series::Entry;
use super::value::Value;

/// The counts of a window's values.
pub(super) struct Tally<'e> {
    counts: Vec<Rank<'e>>,
}

struct Rank<'e> {
    value: &'e Value,
    count: u64,
    /// Greater the more recently it was seen: the winner of a tie.
    recency: usize,
}

impl<'e> Tally<'e> {
    /// Counts a window's entries, oldest first; `None` past the number of values that are told apart exactly.
    pub(super) fn of(entries: &'e [Entry]) -> Option<Self> {
        let mut counts: Vec<Rank<'e>> = Vec::new();
        for (recency, seen) in entries.iter().flat_map(values_of).enumerate() {
            match counts.iter_mut().find(|count| *count.value == seen.value) {
                Some(count) => (count.count, count.recency) = (count.count + seen.count, recency),
                None => counts.push(Rank { value: &seen.value, count: seen.count, recency }),
            }
        }
        (counts.len() <= TOP_VALUES_MAX).then_some(Self { counts })
    }

    /// The most frequent value, the most recently seen winning a tie.
    pub(super) fn most_frequent(&self) -> Value {
        self.winner().map_or(Value::Unknown, |place| self.counts[place].value.clone())
    }

    fn winner(&self) -> Option<usize> {
        let (place, count) = self.counts.iter().enumerate().max_by_key(|(_, count)| (count.count, count.recency))?;
        (count.count > 0).then_some(place)
    }

    /// Whether `holds` of the most frequent value, and how many entries, oldest first, must leave to turn that.
    pub(super) fn turning(mut self, entries: &[Entry], holds: impl Fn(&Value) -> bool) -> (bool, Option<usize>) {
        let value = |tally: &Self, winner: Option<usize>| {
            winner.map_or(holds(&Value::Unknown), |place| holds(tally.counts[place].value))
        };
        let mut winner = self.winner();
        let holds_now = value(&self, winner);
        for (n_gone, entry) in (1..).zip(entries) {
            let mut winner_lost = false;
            for seen in values_of(entry) {
                let Some(place) = self.counts.iter().position(|count| *count.value == seen.value) else { continue };
                self.counts[place].count -= seen.count;
                winner_lost |= winner == Some(place);
            }
            // The others only get fewer, so the winner stays the winner until one of its own leaves.
            if winner_lost {
                winner = self.winner();
                if value(&self, winner) != holds_now {
                    return (holds_now, Some(n_gone));
                }
            }
        }
        (holds_now, None)
    }
}

fn values_of(entry: &Entry) -> &[Seen] {
    match &entry.accumulator {
        Accumulator::Values(values) => values,
        _ => &[],
    }
}
