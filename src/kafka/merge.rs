//! The equal-numbered partitions of the input topics as one stream, by the time things happened.
//!
//! Each topic is a lane. The record with the least instant over all lanes is next, and a lane of which nothing is fetched
//! yet is waited for while the broker holds more of it. Pure: positions, ends and instants are told.

use std::collections::{VecDeque, vec_deque};

/// One partition number's input: a lane per topic, in a fixed order that also settles ties.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: Vec<Lane<T>>,
}

#[derive(Debug)]
struct Lane<T> {
    records: VecDeque<T>,
    /// What the first of them is ordered by.
    instant: i64,
    /// The offset after the last one fetched.
    position: i64,
    /// The offset that the topic's next record will have, and when the broker said so.
    end: Option<(i64, i64)>,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The first record of this lane is next.
    Take(usize),
    /// Some lane is empty, and the broker holds more of it: fetch.
    Fetch,
    /// Some lane is empty, and it is not known (or not any more) whether the broker holds more of it: ask for its end.
    AskEnd,
    /// Nothing is fetched, and the broker holds no more.
    Drained,
}

impl<T> Merge<T> {
    /// Starts with each lane's first offset.
    pub fn new(positions: impl IntoIterator<Item = i64>) -> Self {
        let lane = |position| Lane { records: VecDeque::new(), instant: i64::MIN, position, end: None };
        Self { lanes: positions.into_iter().map(lane).collect() }
    }

    /// Adds what was fetched of a lane, in the order of offsets. `instant_of` tells what it is ordered by, and is asked when
    /// it is the first of its lane.
    pub fn push(&mut self, lane: usize, offset: i64, mut record: T, instant_of: impl FnOnce(&mut T) -> i64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.position = offset + 1;
            if lane.records.is_empty() {
                lane.instant = instant_of(&mut record);
            }
            lane.records.push_back(record);
        }
    }

    /// Notes that the fetch position went past offsets that hold no records (the marks that transactions leave).
    pub fn skip_to(&mut self, lane: usize, position: i64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.position = lane.position.max(position);
        }
    }

    /// Notes the end of a lane, as asked at an instant of the wall clock.
    pub fn end(&mut self, lane: usize, end: i64, asked_at: i64) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.end = Some((end, asked_at));
        }
    }

    /// What was said of ends is not to be believed any more: the clock by which it was asked has been set.
    pub fn forget_ends(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.end = None);
    }

    /// What to do next. `trusted_since` says, for the record that would be next, since when the end of an empty lane must
    /// have been asked for to be believed: old news of an end is worth nothing while an outage is caught up with.
    pub fn next(&self, trusted_since: impl FnOnce(&T) -> i64) -> Next {
        let least = self
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(index, lane)| Some((index, lane.instant, lane.records.front()?)));
        let least = least.min_by_key(|(index, instant, _)| (*instant, *index));
        let trusted_since = least.map_or(i64::MIN, |(_, _, record)| trusted_since(record));
        let mut unknown = false;
        for lane in self.lanes.iter().filter(|lane| lane.records.is_empty()) {
            match lane.end {
                Some((end, _)) if end > lane.position => return Next::Fetch,
                Some((_, asked_at)) if asked_at >= trusted_since => {}
                _ => unknown = true,
            }
        }
        match least {
            _ if unknown => Next::AskEnd,
            Some((index, ..)) => Next::Take(index),
            None => Next::Drained,
        }
    }

    /// The first record of a lane.
    pub fn first(&self, lane: usize) -> Option<&T> {
        self.lanes.get(lane)?.records.front()
    }

    /// The records of a lane that are fetched and not taken, from the first on.
    pub fn waiting(&self, lane: usize) -> vec_deque::Iter<'_, T> {
        self.lanes.get(lane).map(|lane| lane.records.iter()).unwrap_or_default()
    }

    /// Asks `instant_of` the first record of a lane once more: it may tell another instant by now.
    pub fn reorder_first(&mut self, lane: usize, instant_of: impl FnOnce(&mut T) -> i64) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        if let Some(first) = lane.records.front_mut() {
            lane.instant = instant_of(first);
        }
    }

    /// Takes the first record of a lane; `instant_of` is asked of the one behind it.
    pub fn take(&mut self, lane: usize, instant_of: impl FnOnce(&mut T) -> i64) -> Option<T> {
        let record = self.lanes.get_mut(lane)?.records.pop_front()?;
        self.reorder_first(lane, instant_of);
        Some(record)
    }

    /// Since when everything that the broker held is read, if it is: the instant at which the first of the ends was asked for.
    pub fn drained_at(&self) -> Option<i64> {
        let mut drained_at = i64::MAX;
        for lane in &self.lanes {
            let (end, asked_at) = lane.end.filter(|_| lane.records.is_empty())?;
            drained_at = drained_at.min(asked_at);
            if end > lane.position {
                return None;
            }
        }
        (!self.lanes.is_empty()).then_some(drained_at)
    }

    /// Each lane's offset after what was fetched.
    pub fn positions(&self) -> impl Iterator<Item = i64> + '_ {
        self.lanes.iter().map(|lane| lane.position)
    }

    /// The empty lanes.
    pub fn empty_lanes(&self) -> impl Iterator<Item = usize> + '_ {
        self.lanes.iter().enumerate().filter(|(_, lane)| lane.records.is_empty()).map(|(index, _)| index)
    }

    /// How many offsets the broker is known to hold beyond what was fetched, per lane.
    pub fn behind(&self) -> impl Iterator<Item = i64> + '_ {
        self.lanes.iter().map(|lane| lane.end.map_or(0, |(end, _)| (end - lane.position).max(0)))
    }
}

#[cfg(test)]
mod tests;
