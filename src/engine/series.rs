//! A customer's state of one aggregate: the events its window may still hold, each instant by itself while they are few,
//! in buckets when they are many. `segments.md` section 4, bounded state.

use super::accumulator::{Accumulator, value_of_nothing};
use super::calendar;
use super::catalog::{Aggregate, Catalog, Function, Window};
use super::value::Value;

/// A window is exact while it holds at most this many different instants.
pub const INSTANTS_MAX: usize = 128;
/// Past that, instants are merged until at most this many buckets are left.
pub const BUCKETS_MAX: usize = 64;

/// The state of an aggregate. Absent means that nothing was ever added.
#[derive(Debug, Clone, PartialEq)]
pub enum Series {
    /// Windows that events never leave one by one: everything, since an instant, this calendar period.
    Whole {
        /// Start of the calendar period it is of; `i64::MIN` where there is none.
        start: i64,
        /// All of it.
        accumulator: Accumulator,
    },
    /// Sliding windows and those since another event, oldest first.
    Entries(Vec<Entry>),
}

/// Events of one instant, or of one bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The instant of the youngest of them: they leave together, when it would.
    pub youngest: i64,
    /// Their summary.
    pub accumulator: Accumulator,
}

/// What an aggregate is at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its value.
    pub value: Value,
    /// It stays that if nothing else happens before this instant.
    pub until: i64,
}

impl Series {
    /// The state after the first event.
    #[must_use]
    pub fn new(aggregate: &Aggregate) -> Self {
        match aggregate.window {
            Window::Over { .. } | Window::SinceAnchor { .. } => Self::Entries(Vec::new()),
            Window::Ever | Window::Since { .. } | Window::This(_) => {
                Self::Whole { start: i64::MAX, accumulator: Accumulator::Count(0) }
            }
        }
    }

    /// Adds an event (or match, or element) at `at` as seen from `now`, if the window still holds it.
    pub fn add(&mut self, catalog: &Catalog, aggregate: &Aggregate, at: i64, value: &Value, now: i64) {
        match (self, aggregate.window) {
            (Self::Whole { start, accumulator }, window) => {
                let window_start = match window {
                    Window::This(unit) => calendar::period(unit, now, &catalog.time_zone.0).start,
                    Window::Since { instant } => instant,
                    _ => i64::MIN,
                };
                if at < window_start {
                    return;
                }
                if *start == window_start {
                    accumulator.add(at, value);
                } else {
                    *start = window_start;
                    *accumulator = Accumulator::of(aggregate.function, at, value);
                }
            }
            (Self::Entries(entries), window) => {
                if let Window::Over { duration_ms } = window {
                    entries.drain(..entries.partition_point(|entry| has_left(entry.youngest, duration_ms, now)));
                    if has_left(at, duration_ms, now) {
                        return;
                    }
                }
                insert(entries, aggregate.function, at, value);
                if entries.len() > INSTANTS_MAX {
                    merge(entries);
                }
            }
        }
    }

    /// Forgets what no window can hold any more, now that the anchor of a `since last(…)` window is at `anchor`.
    pub fn forget_before(&mut self, anchor: i64) {
        if let Self::Entries(entries) = self {
            entries.drain(..entries.partition_point(|entry| entry.youngest < anchor));
        }
    }

    /// The aggregate's value at `now`. `anchor` is the start of a window since another event, where that is known.
    #[must_use]
    pub fn read(&self, catalog: &Catalog, aggregate: &Aggregate, now: i64, anchor: Option<i64>) -> Reading {
        match self {
            Self::Whole { start, accumulator } => {
                let (window_start, end) = match aggregate.window {
                    Window::This(unit) => {
                        let period = calendar::period(unit, now, &catalog.time_zone.0);
                        (period.start, period.end)
                    }
                    _ => (*start, i64::MAX),
                };
                if *start == window_start && *start != i64::MAX {
                    Reading { value: accumulator.value(aggregate.function), until: end }
                } else {
                    Reading { value: value_of_nothing(aggregate.function), until: i64::MAX }
                }
            }
            Self::Entries(_) => {
                let live = self.live(aggregate, now, anchor);
                let until = live.first().map_or(i64::MAX, |oldest| leaves_at(aggregate, oldest));
                Reading { value: total(live, aggregate.function), until }
            }
        }
    }

    /// Whether `holds` of a sliding aggregate's value at `now`, and until when if nothing else happens. Looks past the
    /// departures that do not matter: three of ten clicks leaving do not end `>= 5`.
    #[must_use]
    pub fn holds_until(&self, aggregate: &Aggregate, now: i64, holds: impl Fn(&Value) -> bool) -> (bool, i64) {
        let live = self.live(aggregate, now, None);
        let mut changes_at = i64::MAX;
        let holds_now = holds(&total(live, aggregate.function));
        let mut rest: Option<Accumulator> = None;
        for entry in live.iter().rev() {
            let value = rest
                .as_ref()
                .map_or_else(|| value_of_nothing(aggregate.function), |rest| rest.value(aggregate.function));
            if holds(&value) != holds_now {
                changes_at = leaves_at(aggregate, entry);
            }
            let mut older = entry.accumulator.clone();
            if let Some(rest) = &rest {
                older.append(rest);
            }
            rest = Some(older);
        }
        (holds_now, changes_at)
    }

    /// The entries the window holds at `now`, oldest first.
    fn live(&self, aggregate: &Aggregate, now: i64, anchor: Option<i64>) -> &[Entry] {
        let Self::Entries(entries) = self else { return &[] };
        let gone = match aggregate.window {
            Window::Over { duration_ms } => entries.partition_point(|entry| has_left(entry.youngest, duration_ms, now)),
            _ => anchor.map_or(entries.len(), |anchor| entries.partition_point(|entry| entry.youngest < anchor)),
        };
        &entries[gone..]
    }
}

/// Whether what happened at `at` is out of a window of that length at `now`.
fn has_left(at: i64, duration_ms: i64, now: i64) -> bool {
    at.saturating_add(duration_ms) <= now
}

fn leaves_at(aggregate: &Aggregate, entry: &Entry) -> i64 {
    match aggregate.window {
        Window::Over { duration_ms } => entry.youngest.saturating_add(duration_ms),
        _ => i64::MAX,
    }
}

fn total(entries: &[Entry], function: Function) -> Value {
    match entries {
        [] => value_of_nothing(function),
        [only] => only.accumulator.value(function),
        [first, rest @ ..] => {
            let mut total = first.accumulator.clone();
            for entry in rest {
                total.append(&entry.accumulator);
            }
            total.value(function)
        }
    }
}

fn insert(entries: &mut Vec<Entry>, function: Function, at: i64, value: &Value) {
    let position = entries.partition_point(|entry| entry.youngest < at);
    match entries.get_mut(position) {
        Some(entry) if entry.youngest == at => entry.accumulator.add(at, value),
        _ => entries.insert(position, Entry { youngest: at, accumulator: Accumulator::of(function, at, value) }),
    }
}

/// Merges instants into equal buckets of the smallest power-of-two number of milliseconds that leaves few enough.
fn merge(entries: &mut Vec<Entry>) {
    let buckets = |shift: u32| {
        let mut count = 1;
        for pair in entries.windows(2) {
            count += usize::from(pair[0].youngest >> shift != pair[1].youngest >> shift);
        }
        count
    };
    let shift = (1..i64::BITS).find(|shift| buckets(*shift) <= BUCKETS_MAX).unwrap_or(i64::BITS - 1);
    let mut merged: Vec<Entry> = Vec::with_capacity(BUCKETS_MAX);
    for entry in entries.drain(..) {
        match merged.last_mut() {
            Some(bucket) if bucket.youngest >> shift == entry.youngest >> shift => {
                bucket.youngest = entry.youngest;
                bucket.accumulator.append(&entry.accumulator);
            }
            _ => merged.push(entry),
        }
    }
    *entries = merged;
}
