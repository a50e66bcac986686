//! How often each value is in a window, for `top`: counted without copying values, and counted down as they leave.

use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::accumulator::Accumulator;
use super::series::Entry;
use super::value::Value;
use super::values::Seen;

/// Up to so many values a look at each is faster than a hash of one, or keeping them in order.
const FEW: usize = 16;

/// The counts of a window's values.
pub(super) struct Tally<'e> {
    counts: Vec<Candidate<'e>>,
    /// The place among the counts of each value of each entry, in order.
    places: Vec<usize>,
    /// How the counts stood when they were put here, greatest first; a count that fell meanwhile is put back when its turn
    /// comes. Empty where there are few.
    ranks: BinaryHeap<Rank>,
}

struct Candidate<'e> {
    value: &'e Value,
    count: u64,
    /// Greater the more recently it was seen.
    recency: usize,
}

/// The greatest wins: the most frequent, and of those seen equally often the latest.
type Rank = (u64, usize, usize);

impl<'e> Tally<'e> {
    /// Counts a window's entries, oldest first.
    pub(super) fn of(entries: &'e [Entry]) -> Self {
        let n_seen = entries.iter().map(|entry| values_of(entry).len()).sum::<usize>();
        let mut counts: Vec<Candidate<'e>> = Vec::with_capacity(n_seen.min(FEW));
        let mut places = Vec::with_capacity(n_seen);
        let mut by_value: HashMap<&'e Value, usize> = HashMap::new();
        for (recency, seen) in entries.iter().flat_map(values_of).enumerate() {
            let known = if counts.len() <= FEW {
                counts.iter().position(|count| *count.value == seen.value)
            } else {
                by_value.get(&seen.value).copied()
            };
            let place = known.unwrap_or_else(|| {
                counts.push(Candidate { value: &seen.value, count: 0, recency });
                counts.len() - 1
            });
            if known.is_none() && counts.len() == FEW + 1 {
                by_value.reserve(n_seen);
                by_value.extend(counts.iter().enumerate().map(|(place, count)| (count.value, place)));
            } else if known.is_none() && counts.len() > FEW {
                by_value.insert(&seen.value, place);
            }
            counts[place].count += seen.count;
            counts[place].recency = recency;
            places.push(place);
        }
        let mut ranks = BinaryHeap::new();
        if counts.len() > FEW {
            ranks.extend(counts.iter().enumerate().map(|(place, count)| count.rank(place)));
        }
        Self { counts, places, ranks }
    }

    /// How many different values there are.
    pub(super) fn n_values(&self) -> usize {
        self.counts.len()
    }

    /// The most frequent value, the most recently seen winning a tie.
    pub(super) fn most_frequent(&self) -> Value {
        let first = self.ranks.peek().map(|(_, _, place)| *place).or_else(|| self.winner_of_few());
        first.map_or(Value::Unknown, |place| self.counts[place].value.clone())
    }

    fn winner_of_few(&self) -> Option<usize> {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| count.count > 0);
        counts.max_by_key(|(_, count)| (count.count, count.recency)).map(|(place, _)| place)
    }

    fn winner(&mut self) -> Option<usize> {
        if self.counts.len() <= FEW {
            return self.winner_of_few();
        }
        while let Some((count, _, place)) = self.ranks.pop() {
            let now = &self.counts[place];
            if now.count > 0 {
                self.ranks.push(now.rank(place));
            }
            if now.count == count {
                return Some(place);
            }
        }
        None
    }

    /// Whether `holds` of the most frequent value, and how many entries, oldest first, must leave to turn that.
    pub(super) fn turning(mut self, entries: &[Entry], holds: impl Fn(&Value) -> bool) -> (bool, Option<usize>) {
        let value = |tally: &Self, winner: Option<usize>| {
            winner.map_or(holds(&Value::Unknown), |place| holds(tally.counts[place].value))
        };
        let mut winner = self.winner();
        let holds_now = value(&self, winner);
        let places = std::mem::take(&mut self.places);
        let mut places = places.into_iter();
        for (n_gone, entry) in (1..).zip(entries) {
            let mut winner_lost = false;
            for (seen, place) in values_of(entry).iter().zip(&mut places) {
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

impl Candidate<'_> {
    fn rank(&self, place: usize) -> Rank {
        (self.count, self.recency, place)
    }
}

fn values_of(entry: &Entry) -> &[Seen] {
    match &entry.accumulator {
        Accumulator::Values(values) => values.as_slice(),
        _ => &[],
    }
}
