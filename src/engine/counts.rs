//! How often each value was seen, instant by instant of a sliding window, for `top`. A value is kept once and has a number:
//! who sees ten pages a thousand times keeps ten texts, and counting a window is adding up by numbers.

use smallvec::{SmallVec, smallvec};

use super::merging::{INSTANTS_MAX, buckets};
use super::tally::Tally;
use super::value::Value;
use super::values::TOP_VALUES_MAX;

/// A window keeps at most this many sightings, if they are of more values than are told apart exactly.
const SIGHTINGS_MAX: usize = 4_096;

/// The counts of a window's values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// The different values in order, each of which was seen; a place is a number.
    values: SmallVec<[Value; 2]>,
    /// Oldest first; those of one instant in the order in which they were seen last, and those of one bucket as they were before
    /// they were merged.
    sightings: SmallVec<[Sighting; 2]>,
}

/// A value at an instant, or in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The instant of the youngest of the bucket: they leave together, when it would.
    pub youngest: i64,
    /// How often it was seen.
    pub count: u32,
    /// The number of the value.
    pub number: u32,
}

impl Counts {
    /// Those of one event.
    #[must_use]
    pub fn of(at: i64, value: &Value) -> Self {
        Self { values: smallvec![value.clone()], sightings: smallvec![Sighting { youngest: at, count: 1, number: 0 }] }
    }

    /// Those of values and of sightings in order; `None` if these do not belong together.
    #[must_use]
    pub fn restored(values: SmallVec<[Value; 2]>, sightings: SmallVec<[Sighting; 2]>) -> Option<Self> {
        let is_sound = sightings.iter().all(|sighting| (sighting.number as usize) < values.len());
        is_sound.then_some(Self { values, sightings })
    }

    /// Adds so many at an instant, or in a bucket, that is not older than any.
    pub fn append(&mut self, youngest: i64, value: &Value, count: u64) {
        let number = self.number_of(value);
        self.sightings.push(Sighting { youngest, count: u32::try_from(count).unwrap_or(u32::MAX), number });
    }

    /// The different values, by number.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// What was seen, oldest first.
    #[must_use]
    pub fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    /// What was seen at `earliest` or later.
    pub(super) fn since(&self, earliest: i64) -> &[Sighting] {
        &self.sightings[self.first_since(earliest)..]
    }

    /// How often each value was, at `earliest` or later.
    pub(super) fn tally(&self, earliest: i64) -> Tally<'_> {
        Tally::of(&self.values, self.since(earliest))
    }

    fn first_since(&self, earliest: i64) -> usize {
        self.sightings.partition_point(|sighting| sighting.youngest < earliest)
    }

    /// Adds a value that arrived after all that are in here, though it may have been seen before.
    pub(super) fn add(&mut self, at: i64, value: &Value) {
        let number = self.number_of(value);
        let is_new = self.see(at, number);
        if is_new && self.sightings.len() > INSTANTS_MAX {
            self.merge();
        }
        if self.sightings.len() > SIGHTINGS_MAX && self.values.len() > TOP_VALUES_MAX {
            self.thin_out();
        }
    }

    /// Forgets what is older than `earliest`.
    pub(super) fn forget_before(&mut self, earliest: i64) {
        let n_gone = self.first_since(earliest);
        if n_gone > 0 {
            self.sightings.drain(..n_gone);
            self.forget_unseen();
        }
    }

    fn number_of(&mut self, value: &Value) -> u32 {
        let place = self.values.binary_search(value).unwrap_or_else(|place| {
            self.values.insert(place, value.clone());
            for sighting in &mut self.sightings {
                sighting.number += u32::from(sighting.number as usize >= place);
            }
            place
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// Whether the instant is one more.
    fn see(&mut self, at: i64, number: u32) -> bool {
        let end = self.sightings.partition_point(|sighting| sighting.youngest <= at);
        let start = self.sightings[..end].partition_point(|sighting| sighting.youngest < at);
        match self.sightings[start..end].iter().position(|sighting| sighting.number == number) {
            Some(place) => {
                let again = &mut self.sightings[start + place..end];
                again.rotate_left(1);
                if let Some(seen) = again.last_mut() {
                    seen.count = seen.count.saturating_add(1);
                }
            }
            None => self.sightings.insert(end, Sighting { youngest: at, count: 1, number }),
        }
        start == end
    }

    fn merge(&mut self) {
        let mut instants: Vec<i64> = self.sightings.iter().map(|sighting| sighting.youngest).collect();
        instants.dedup();
        let Some(youngest) = buckets(instants.iter().copied(), false) else { return };
        let mut buckets = instants.iter().zip(youngest).rev().peekable();
        let mut merged = SmallVec::with_capacity(self.sightings.len());
        // Where each value was seen last, and where the bucket begins.
        let (mut places, mut first) = (vec![usize::MAX; self.values.len()], 0);
        for sighting in self.sightings.drain(..).rev() {
            buckets.next_if(|(instant, _)| **instant > sighting.youngest);
            let Some((_, youngest)) = buckets.peek() else { break };
            if merged.last().is_some_and(|later: &Sighting| later.youngest != *youngest) {
                first = merged.len();
            }
            let place = &mut places[sighting.number as usize];
            if let Some(later) = merged.get_mut(*place).filter(|_| *place >= first) {
                later.count = later.count.saturating_add(sighting.count);
            } else {
                *place = merged.len();
                merged.push(Sighting { youngest: *youngest, ..sighting });
            }
        }
        merged.reverse();
        self.sightings = merged;
    }

    /// Leaves of each bucket the values that are most frequent in the window, where it holds more than are told apart exactly, and
    /// so many that counting them would keep everybody else waiting.
    fn thin_out(&mut self) {
        let tally = self.tally(i64::MIN);
        let mut kept = SmallVec::with_capacity(SIGHTINGS_MAX);
        for bucket in self.sightings.chunk_by(|one, other| one.youngest == other.youngest) {
            let mut ranks: Vec<_> =
                bucket.iter().enumerate().map(|(place, seen)| (tally.total(seen.number), place)).collect();
            if let Some(n_out) = ranks.len().checked_sub(SIGHTINGS_MAX / 2 / INSTANTS_MAX).filter(|n_out| *n_out > 0) {
                ranks.select_nth_unstable(n_out);
                ranks.drain(..n_out);
                ranks.sort_unstable_by_key(|(_, place)| *place);
            }
            kept.extend(ranks.into_iter().map(|(_, place)| bucket[place]));
        }
        self.sightings = kept;
        self.forget_unseen();
    }

    /// Forgets values nobody saw, and numbers the others anew.
    fn forget_unseen(&mut self) {
        let mut numbers: SmallVec<[Option<u32>; 16]> = smallvec![None; self.values.len()];
        for sighting in &self.sightings {
            numbers[sighting.number as usize] = Some(0);
        }
        if numbers.iter().all(Option::is_some) {
            return;
        }
        for (new, number) in (0..).zip(numbers.iter_mut().flatten()) {
            *number = new;
        }
        let mut seen = numbers.iter().map(Option::is_some);
        self.values.retain(|_| seen.next() == Some(true));
        for sighting in &mut self.sightings {
            sighting.number = numbers[sighting.number as usize].unwrap_or(0);
        }
    }
}
