//! What is remembered of one customer. Everything is named by hashes of canonical texts, not by positions in a
//! catalog, so that another set of definitions never invalidates it.

use std::collections::VecDeque;

use super::pattern::PatternState;
use super::series::Series;
use super::value::Value;

/// The state of one customer: compact, holding only what is not empty. Lists are sorted by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Customer {
    /// The latest instant of their events and flips; `None` before the first record.
    pub own_time: Option<i64>,
    /// Records applied so far, which ranks those of one instant.
    pub arrivals: u64,
    /// Changes emitted so far.
    pub sequence: u64,
    /// When time alone may next change something; may be early, never late.
    pub deadline: Option<i64>,
    /// The instant of their last erasure: what occurred before it is dropped.
    pub erased_at: Option<i64>,
    /// Ids of records applied lately, oldest first: hash and `occurred_at`.
    pub recent_ids: VecDeque<(u64, i64)>,
    /// Profile traits.
    pub profile: Vec<(u64, Dated<Value>)>,
    /// Consents by purpose: given or withdrawn.
    pub consents: Vec<(u64, Dated<bool>)>,
    /// Aggregates.
    pub aggregates: Vec<(u64, Series)>,
    /// Patterns.
    pub patterns: Vec<(u64, PatternState)>,
    /// Since when the conditions of `P for D` hold; absent while they do not.
    pub holds: Vec<(u64, i64)>,
    /// Standing towards segments; absent means out, with `when` and `until` false.
    pub standings: Vec<(u64, Standing)>,
    /// What `deadline` is made of; derived, so it is not stored.
    pub schedule: Schedule,
}

/// Until when each thing holds that time alone may change: what is watched of an aggregate, or a root (a segment or a held
/// condition) that is not watched, or what a pattern waits for. Engines name them by numbers.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// Nobody knows of a customer who comes from a store.
    is_known: bool,
    /// In order of the numbers.
    untils: Vec<(u32, i64)>,
}

/// What is derived makes no difference between customers.
impl PartialEq for Schedule {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Schedule {
    /// Numbers and instants, in order of the numbers; `None` while nobody knows.
    #[must_use]
    pub fn untils(&self) -> Option<&[(u32, i64)]> {
        self.is_known.then_some(&self.untils)
    }

    /// From here on these are known, number and instant, in order of the numbers; they are empty.
    pub fn begin(&mut self) -> &mut Vec<(u32, i64)> {
        self.forget();
        self.is_known = true;
        &mut self.untils
    }

    /// From here on nobody knows.
    pub fn forget(&mut self) {
        self.is_known = false;
        self.untils.clear();
    }

    /// Notes until when something holds; `i64::MAX` for ever. Without effect while the schedule is not known.
    pub(super) fn set(&mut self, timer: u32, until: i64) {
        let untils = &mut self.untils;
        if !self.is_known {
            return;
        }
        match (untils.binary_search_by_key(&timer, |(other, _)| *other), until) {
            (Ok(place), i64::MAX) => drop(untils.remove(place)),
            (Ok(place), _) => untils[place].1 = until,
            (Err(_), i64::MAX) => {}
            (Err(place), _) => insert(untils, place, (timer, until)),
        }
    }

    /// What may have changed by `now`; `None` while nobody knows.
    pub(super) fn due(&self, now: i64) -> Option<impl Iterator<Item = u32>> {
        self.due_from(0, now)
    }

    /// The same of what has this number or a higher one.
    pub(super) fn due_from(&self, first: u32, now: i64) -> Option<impl Iterator<Item = u32>> {
        let untils = self.untils()?;
        let untils = &untils[untils.partition_point(|(timer, _)| *timer < first)..];
        Some(untils.iter().filter(move |(_, until)| *until <= now).map(|(timer, _)| *timer))
    }

    /// The earliest instant at which anything may change, `i64::MAX` for never; `None` while nobody knows.
    pub(super) fn next(&self) -> Option<i64> {
        Some(self.untils()?.iter().map(|(_, until)| *until).min().unwrap_or(i64::MAX))
    }
}

/// A value and the instant of the record that set it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dated<T> {
    /// The value.
    pub value: T,
    /// Milliseconds since the epoch.
    pub at: i64,
}

/// How a customer stands towards a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether they are in it.
    pub member: bool,
    /// Of a segment with `until`: what `when` was last.
    pub when: bool,
    /// Of a segment with `until`: what `until` was last.
    pub until: bool,
    /// When they last entered, milliseconds since the epoch; 0 while out.
    pub since: i64,
}

impl Standing {
    /// Whether it is what the absence of one means.
    #[must_use]
    pub fn is_default(&self) -> bool {
        !self.member && !self.when && !self.until
    }
}

/// Inserts into a list that is to take little more memory than its entries do: most have very few.
pub fn insert<T>(entries: &mut Vec<T>, place: usize, entry: T) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(1 + entries.len() / 2);
    }
    entries.insert(place, entry);
}

/// The entry of a key in a sorted list.
#[must_use]
pub fn find<T>(entries: &[(u64, T)], key: u64) -> Option<&T> {
    // Lists are short, and most customers have few entries: a linear look beats a binary search up to here.
    if entries.len() <= 16 {
        return entries.iter().find(|(other, _)| *other == key).map(|(_, entry)| entry);
    }
    entries.binary_search_by_key(&key, |(key, _)| *key).ok().map(|position| &entries[position].1)
}

/// The entry of a key in a sorted list, to be changed.
pub fn find_mut<T>(entries: &mut [(u64, T)], key: u64) -> Option<&mut T> {
    let place = entries.binary_search_by_key(&key, |(key, _)| *key).ok()?;
    Some(&mut entries[place].1)
}

/// The entry of a key in a sorted list, made where it is missing.
pub fn entry<T>(entries: &mut Vec<(u64, T)>, key: u64, missing: impl FnOnce() -> T) -> &mut T {
    let position = match entries.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(position) => position,
        Err(position) => {
            insert(entries, position, (key, missing()));
            position
        }
    };
    &mut entries[position].1
}

/// Removes the entry of a key from a sorted list.
pub fn remove<T>(entries: &mut Vec<(u64, T)>, key: u64) {
    if let Ok(position) = entries.binary_search_by_key(&key, |(key, _)| *key) {
        entries.remove(position);
    }
}

impl Customer {
    /// Makes somebody new of them, in the memory of their lists.
    pub fn begin_anew(&mut self) {
        // All by name, so that none is forgotten.
        let Self {
            own_time,
            arrivals,
            sequence,
            deadline,
            erased_at,
            recent_ids,
            profile,
            consents,
            aggregates,
            patterns,
            holds,
            standings,
            schedule,
        } = self;
        (*own_time, *arrivals, *sequence, *deadline, *erased_at) = (None, 0, 0, None, None);
        recent_ids.clear();
        profile.clear();
        consents.clear();
        aggregates.clear();
        patterns.clear();
        holds.clear();
        standings.clear();
        schedule.forget();
    }

    /// How they stand towards the segment with that key.
    #[must_use]
    pub fn standing(&self, segment_key: u64) -> Standing {
        find(&self.standings, segment_key).copied().unwrap_or_default()
    }

    /// Records how they stand towards a segment.
    pub fn set_standing(&mut self, segment_key: u64, standing: Standing) {
        if standing.is_default() {
            remove(&mut self.standings, segment_key);
        } else {
            *entry(&mut self.standings, segment_key, Standing::default) = standing;
        }
    }

    /// The latest instant of their records, as far as records are remembered; own time where none is.
    #[must_use]
    pub fn heard_at(&self) -> Option<i64> {
        self.recent_ids.iter().map(|(_, at)| *at).max().or(self.own_time)
    }

    /// Whether a record with that id was applied lately, as far back as `limits` say.
    #[must_use]
    pub fn has_seen(&self, id_hash: u64, limits: &Limits) -> bool {
        let own_time = self.own_time.unwrap_or(i64::MIN);
        let remembered = |at: i64| at > own_time.saturating_sub(limits.dedup_window_ms);
        self.recent_ids.iter().any(|(hash, at)| *hash == id_hash && remembered(*at))
    }

    /// Remembers the id of a record being applied.
    pub fn remember_id(&mut self, id_hash: u64, occurred_at: i64, limits: &Limits) {
        let oldest = self.own_time.unwrap_or(i64::MIN).saturating_sub(limits.dedup_window_ms);
        while self.recent_ids.front().is_some_and(|(_, at)| *at <= oldest) || self.recent_ids.len() >= limits.dedup_ids
        {
            if self.recent_ids.pop_front().is_none() {
                return;
            }
        }
        if self.recent_ids.len() == self.recent_ids.capacity() {
            self.recent_ids.reserve_exact(1 + self.recent_ids.len() / 2);
        }
        self.recent_ids.push_back((id_hash, occurred_at));
    }
}

/// How much and how far back the engine remembers and accepts. `segments.md` section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far the partition clock stays behind the largest `occurred_at`, milliseconds.
    pub grace_ms: i64,
    /// How far behind the partition clock an event may be, milliseconds.
    pub allowed_lateness_ms: i64,
    /// How far ahead of the wall clock a record may be, milliseconds.
    pub max_ahead_ms: i64,
    /// Ids remembered per customer.
    pub dedup_ids: usize,
    /// How far before own time an id's record may have occurred to be remembered, milliseconds.
    pub dedup_window_ms: i64,
    /// How often what percentiles compare with is made anew, milliseconds of the partition clock.
    pub percentile_refresh_ms: i64,
    /// For how long a customer may not be heard of before they are forgotten, milliseconds; `None` for ever.
    pub retention_ms: Option<i64>,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self {
            grace_ms: 1_000,
            allowed_lateness_ms: 24 * HOUR_MS,
            max_ahead_ms: HOUR_MS / 12,
            dedup_ids: 256,
            dedup_window_ms: 24 * HOUR_MS,
            percentile_refresh_ms: HOUR_MS,
            retention_ms: None,
        }
    }
}
