//! A customer's state of one aggregate: the events its window may still hold, each instant by itself while they are few,
//! in buckets when they are many. `segments.md` section 4, bounded state.

use rust_decimal::Decimal;
use smallvec::{SmallVec, smallvec};

use super::accumulator::{Accumulator, Hashes, value_of_nothing};
use super::calendar;
use super::catalog::{Aggregate, Catalog, Function, Window};
use super::counts::Counts;
use super::merging::{INSTANTS_MAX, buckets};
use super::value::Value;

/// The state of an aggregate. Absent means that nothing was ever added.
#[derive(Debug, Clone, PartialEq)]
pub enum Series {
    /// One summary: for windows that events never leave one by one, and for `distinct` and `list`, which need to know of
    /// each value only when it was seen last.
    Whole {
        /// Start of the calendar period it is of; `i64::MIN` for other windows.
        start: i64,
        /// The summary.
        accumulator: Accumulator,
    },
    /// Sliding windows and those since another event, oldest first.
    Entries(Entries),
    /// The same of `top`.
    Counts(Counts),
}

/// Most windows hold very few.
pub type Entries = SmallVec<[Entry; 2]>;

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

/// An aggregate seen from an instant: which part of history its window holds.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The aggregate.
    pub aggregate: &'a Aggregate,
    /// From where.
    pub now: i64,
    /// The earliest instant inside the window.
    pub earliest: i64,
    /// The end of a calendar window's period; `i64::MAX` for other windows.
    pub period_end: i64,
    /// Whether shorter windows look at the same state.
    pub is_shared: bool,
}

impl<'a> View<'a> {
    /// The view of an aggregate from `now`; `anchor` is where a window since another event starts.
    #[must_use]
    pub fn new(catalog: &Catalog, aggregate: &'a Aggregate, now: i64, anchor: Option<i64>) -> Self {
        let (earliest, period_end) = match aggregate.window {
            Window::Ever => (i64::MIN, i64::MAX),
            Window::Over { duration_ms } => (now.saturating_sub(duration_ms).saturating_add(1), i64::MAX),
            Window::Since { instant } => (instant, i64::MAX),
            Window::SinceAnchor { .. } => (anchor.unwrap_or(i64::MIN), i64::MAX),
            Window::This(unit) => {
                let period = calendar::period(unit, now, &catalog.time_zone.0);
                (period.start, period.end)
            }
        };
        Self { aggregate, now, earliest, period_end, is_shared: false }
    }

    fn function(&self) -> Function {
        self.aggregate.function
    }

    /// What a summary must be of to be this window's.
    fn start(&self) -> i64 {
        if matches!(self.aggregate.window, Window::This(_)) { self.earliest } else { i64::MIN }
    }

    /// Whether events leave the window one by one, and each must be told apart.
    fn keeps_entries(&self) -> bool {
        let leave = self.slides() || matches!(self.aggregate.window, Window::SinceAnchor { .. });
        leave && !keeps_last_seen(self.function())
    }

    /// Whether they leave it as time passes.
    fn slides(&self) -> bool {
        matches!(self.aggregate.window, Window::Over { .. })
    }

    /// Whether time alone may empty it.
    fn passes(&self) -> bool {
        self.slides() || matches!(self.aggregate.window, Window::This(_))
    }

    /// When what happened at `at` leaves the window.
    fn leaves_at(&self, at: i64) -> i64 {
        match self.aggregate.window {
            Window::Over { duration_ms } => at.saturating_add(duration_ms),
            Window::This(_) => self.period_end,
            _ => i64::MAX,
        }
    }
}

/// `distinct` and `list` need to know of each value only when it was seen last.
fn keeps_last_seen(function: Function) -> bool {
    matches!(function, Function::Distinct | Function::List)
}

impl Series {
    /// The state after a first event at `at`; `None` if the window does not hold it.
    #[must_use]
    pub fn first(view: &View<'_>, at: i64, value: &Value) -> Option<Self> {
        (at >= view.earliest).then(|| Self::begin(view, at, value))
    }

    fn begin(view: &View<'_>, at: i64, value: &Value) -> Self {
        let accumulator = || Accumulator::of(view.function(), at, value);
        match view.function() {
            _ if !view.keeps_entries() => Self::Whole { start: view.start(), accumulator: accumulator() },
            Function::Top => Self::Counts(Counts::of(at, value)),
            _ => Self::Entries(smallvec![Entry { youngest: at, accumulator: accumulator() }]),
        }
    }

    /// Adds an event (or match, or element) at `at`, if the window still holds it.
    pub fn add(&mut self, view: &View<'_>, at: i64, value: &Value) {
        if at < view.earliest {
            return;
        }
        match self {
            Self::Whole { start, accumulator } if *start == view.start() => {
                if keeps_last_seen(view.function()) && view.slides() {
                    accumulator.forget_before(view.earliest);
                }
                accumulator.add(view.function(), at, value);
            }
            Self::Whole { start, accumulator } => {
                *start = view.start();
                *accumulator = Accumulator::of(view.function(), at, value);
            }
            // What was stored of an emptied window once does not tell whose it is.
            Self::Entries(entries) if entries.is_empty() => *self = Self::begin(view, at, value),
            Self::Entries(entries) => {
                if view.slides() {
                    entries.drain(..entries.partition_point(|entry| entry.youngest < view.earliest));
                }
                let is_new = insert(entries, view.function(), at, value);
                let instants = entries.iter().map(|entry| entry.youngest);
                if let Some(buckets) = is_new.then(|| buckets(instants, view.is_shared)).flatten() {
                    *entries = merged(entries, &buckets, view.function());
                }
            }
            Self::Counts(counts) => {
                if view.slides() {
                    counts.forget_before(view.earliest);
                }
                counts.add(at, value);
            }
        }
    }

    /// Whether an event more makes no difference to the state, and so to nobody.
    #[must_use]
    pub fn ignores(&self, view: &View<'_>, at: i64, value: &Value) -> bool {
        at < view.earliest
            || matches!(self, Self::Whole { start, accumulator } if *start == view.start() && accumulator.ignores(at, value))
    }

    /// Forgets what no window can hold any more, now that the anchor of a `since last(…)` window is at `anchor`.
    pub fn forget_before(&mut self, anchor: i64) {
        match self {
            Self::Entries(entries) => {
                entries.drain(..entries.partition_point(|entry| entry.youngest < anchor));
            }
            Self::Counts(counts) => counts.forget_before(anchor),
            Self::Whole { accumulator, .. } => accumulator.forget_before(anchor),
        }
    }

    /// Whether the window holds nothing.
    #[must_use]
    pub fn is_empty(&self, view: &View<'_>) -> bool {
        match self {
            Self::Whole { start, .. } if *start != view.start() => true,
            Self::Whole { accumulator, .. } if keeps_last_seen(view.function()) => {
                !accumulator.last_seen().any(|at| at >= view.earliest)
            }
            Self::Whole { .. } => false,
            Self::Entries(_) => self.live(view).is_empty(),
            Self::Counts(counts) => counts.since(view.earliest).is_empty(),
        }
    }

    /// The aggregate's value as the view has it.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Reading {
        let function = view.function();
        match self {
            Self::Whole { start, .. } if *start != view.start() => {
                Reading { value: value_of_nothing(function), until: i64::MAX }
            }
            Self::Whole { accumulator, .. } if keeps_last_seen(function) => {
                let oldest = || accumulator.last_seen().filter(|at| *at >= view.earliest).min();
                let until = view.passes().then(oldest).flatten().map_or(i64::MAX, |oldest| view.leaves_at(oldest));
                Reading { value: accumulator.value_since(function, view.earliest), until }
            }
            Self::Whole { accumulator, .. } => Reading { value: accumulator.value(function), until: view.period_end },
            Self::Entries(_) => {
                let live = self.live(view);
                let until = live.first().map_or(i64::MAX, |oldest| view.leaves_at(oldest.youngest));
                Reading { value: total(live, function), until }
            }
            Self::Counts(counts) => {
                let oldest = counts.since(view.earliest).first();
                let until = oldest.map_or(i64::MAX, |oldest| view.leaves_at(oldest.youngest));
                Reading { value: counts.tally(view.earliest).most_frequent().clone(), until }
            }
        }
    }

    /// Whether `holds` of the aggregate's value, and until when if nothing else happens. Looks past the departures that do
    /// not matter: three of ten clicks leaving do not end `>= 5`.
    #[must_use]
    pub fn holds_until(&self, view: &View<'_>, holds: impl Fn(&Value) -> bool) -> (bool, i64) {
        let function = view.function();
        match self {
            Self::Whole { accumulator: Accumulator::Hashes(hashes), start } if *start == view.start() => {
                seen_hold_until(hashes, view, |count| holds(&Value::Number(count.into())))
            }
            Self::Entries(_) => self.entries_hold_until(view, holds),
            Self::Counts(counts) => {
                let (holds_now, turning) = counts.tally(view.earliest).turning(holds);
                (holds_now, turning.map_or(i64::MAX, |youngest| view.leaves_at(youngest)))
            }
            Self::Whole { .. } => {
                let Reading { value, until } = self.read(view);
                let holds_now = holds(&value);
                let matters = until < i64::MAX && holds(&value_of_nothing(function)) != holds_now;
                (holds_now, if matters { until } else { i64::MAX })
            }
        }
    }

    /// The same of a count or a number of different values, which is quickly counted down.
    #[must_use]
    pub fn count_holds_until(&self, view: &View<'_>, holds: impl Fn(u64) -> bool) -> (bool, i64) {
        if let Self::Whole { accumulator: Accumulator::Hashes(hashes), start } = self
            && *start == view.start()
        {
            return seen_hold_until(hashes, view, holds);
        }
        if let Self::Whole { start, accumulator } = self {
            let count = if *start == view.start() { accumulator.count() } else { 0 };
            let matters = view.period_end < i64::MAX && count > 0 && holds(count) != holds(0);
            return (holds(count), if matters { view.period_end } else { i64::MAX });
        }
        let entries = self.live(view);
        let mut count = entries.iter().map(|entry| entry.accumulator.count()).sum();
        let holds_now = holds(count);
        for entry in entries {
            count -= entry.accumulator.count();
            if holds(count) != holds_now {
                return (holds_now, view.leaves_at(entry.youngest));
            }
        }
        (holds_now, i64::MAX)
    }

    fn entries_hold_until(&self, view: &View<'_>, holds: impl Fn(&Value) -> bool) -> (bool, i64) {
        let function = view.function();
        let live = self.live(view);
        // From the youngest to the oldest: what is left when all older ones have gone.
        let mut left = SmallVec::<[bool; INSTANTS_MAX + 1]>::new();
        let mut rest: Option<Accumulator> = None;
        left.push(holds(&value_of_nothing(function)));
        for entry in live.iter().rev() {
            match &mut rest {
                Some(rest) => rest.prepend(function, &entry.accumulator),
                None => rest = Some(entry.accumulator.clone()),
            }
            left.extend(rest.as_ref().map(|rest| holds(&rest.value(function))));
        }
        let holds_now = left.pop().unwrap_or_default();
        let turning = left.iter().rev().position(|holds_then| *holds_then != holds_now);
        (holds_now, turning.map_or(i64::MAX, |place| view.leaves_at(live[place].youngest)))
    }

    /// The entries the window holds, oldest first.
    fn live(&self, view: &View<'_>) -> &[Entry] {
        let Self::Entries(entries) = self else { return &[] };
        &entries[entries.partition_point(|entry| entry.youngest < view.earliest)..]
    }
}

fn seen_hold_until(hashes: &Hashes, view: &View<'_>, holds: impl Fn(u64) -> bool) -> (bool, i64) {
    let holds_of = |n_left: usize| holds(hashes.count_of(n_left));
    if !view.passes() {
        return (holds_of(hashes.n_since(view.earliest)), i64::MAX);
    }
    let mut seen: Vec<i64> = hashes.since(view.earliest).collect();
    let holds_now = holds_of(seen.len());
    let turning = (1..=seen.len()).find(|n_gone| holds_of(seen.len() - n_gone) != holds_now);
    let turning = turning.map(|n_gone| *seen.select_nth_unstable(n_gone - 1).1);
    (holds_now, turning.map_or(i64::MAX, |at| view.leaves_at(at)))
}

fn total(entries: &[Entry], function: Function) -> Value {
    match entries {
        [] => value_of_nothing(function),
        [only] => only.accumulator.value(function),
        entries if function == Function::Count => {
            Value::Number(Decimal::from(entries.iter().map(|entry| entry.accumulator.count()).sum::<u64>()))
        }
        [first, rest @ ..] => {
            let mut total = first.accumulator.clone();
            for entry in rest {
                total.append(function, &entry.accumulator);
            }
            total.value(function)
        }
    }
}

/// Whether the instant is one more.
fn insert(entries: &mut Entries, function: Function, at: i64, value: &Value) -> bool {
    let position = entries.partition_point(|entry| entry.youngest < at);
    match entries.get_mut(position) {
        Some(entry) if entry.youngest == at => {
            entry.accumulator.add(function, at, value);
            false
        }
        _ => {
            let entry = Entry { youngest: at, accumulator: Accumulator::of(function, at, value) };
            entries.insert(position, entry);
            true
        }
    }
}

/// Entries in buckets, of each of which the youngest instant is given.
fn merged(entries: &mut Entries, buckets: &[i64], function: Function) -> Entries {
    let mut merged = Entries::with_capacity(INSTANTS_MAX);
    for (entry, youngest) in entries.drain(..).zip(buckets) {
        match merged.last_mut() {
            Some(bucket) if bucket.youngest == *youngest => bucket.accumulator.append(function, &entry.accumulator),
            _ => merged.push(Entry { youngest: *youngest, ..entry }),
        }
    }
    merged
}
