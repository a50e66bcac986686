//! A customer's state of one aggregate: the events its window may still hold, each instant by itself while they are few,
//! in buckets when they are many. `segments.md` section 4, bounded state.

use rust_decimal::Decimal;
use smallvec::{SmallVec, smallvec};

use super::accumulator::{Accumulator, value_of_nothing};
use super::calendar;
use super::catalog::{Aggregate, Catalog, Function, Window};
use super::tally::Tally;
use super::value::Value;
use super::values::TOP_VALUES_MAX;

/// A window is exact while it holds at most this many different instants.
pub const INSTANTS_MAX: usize = 128;
/// Past that, instants are merged until at most this many buckets are left.
pub const BUCKETS_MAX: usize = 64;
/// A window of `top` keeps at most this many values in all its instants or buckets, once it is not exact any more.
const WINDOW_VALUES_MAX: usize = 8_192;
/// What several windows share is merged whenever so many entries more may have come.
const MERGED_AT_ONCE: usize = 32;

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
        let slides = matches!(self.aggregate.window, Window::Over { .. } | Window::SinceAnchor { .. });
        slides && !keeps_last_seen(self.function())
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
        if at < view.earliest {
            return None;
        }
        let accumulator = Accumulator::of(view.function(), at, value);
        Some(if view.keeps_entries() {
            Self::Entries(smallvec![Entry { youngest: at, accumulator }])
        } else {
            Self::Whole { start: view.start(), accumulator }
        })
    }

    /// Adds an event (or match, or element) at `at`, if the window still holds it.
    pub fn add(&mut self, view: &View<'_>, at: i64, value: &Value) {
        if at < view.earliest {
            return;
        }
        match self {
            Self::Whole { start, accumulator } if *start == view.start() => {
                if keeps_last_seen(view.function()) && view.start() == i64::MIN {
                    accumulator.forget_before(view.earliest);
                }
                accumulator.add(view.function(), at, value);
            }
            Self::Whole { start, accumulator } => {
                *start = view.start();
                *accumulator = Accumulator::of(view.function(), at, value);
            }
            Self::Entries(entries) => {
                if matches!(view.aggregate.window, Window::Over { .. }) {
                    entries.drain(..entries.partition_point(|entry| entry.youngest < view.earliest));
                }
                let is_new = insert(entries, view.function(), at, value);
                match entries.len() {
                    0..=INSTANTS_MAX => {}
                    _ if !view.is_shared => merge(entries, view.function()),
                    length if is_new && length.is_multiple_of(MERGED_AT_ONCE) => merge_older(entries, view.function()),
                    _ => {}
                }
                if view.function() == Function::Top {
                    thin_out(entries);
                }
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
                let oldest = accumulator.last_seen().filter(|at| *at >= view.earliest).min();
                let until = oldest.map_or(i64::MAX, |oldest| view.leaves_at(oldest));
                Reading { value: accumulator.value_since(function, view.earliest), until }
            }
            Self::Whole { accumulator, .. } => Reading { value: accumulator.value(function), until: view.period_end },
            Self::Entries(_) => {
                let live = self.live(view);
                let until = live.first().map_or(i64::MAX, |oldest| view.leaves_at(oldest.youngest));
                Reading { value: total(live, function), until }
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
                let mut seen: Vec<i64> =
                    hashes.seen.iter().map(|(_, at)| *at).filter(|at| *at >= view.earliest).collect();
                let holds_of = |n_left: usize| holds(&hashes.count_of(n_left));
                let holds_now = holds_of(seen.len());
                let turning = (1..=seen.len()).find(|n_gone| holds_of(seen.len() - n_gone) != holds_now);
                let turning = turning.map(|n_gone| *seen.select_nth_unstable(n_gone - 1).1);
                (holds_now, turning.map_or(i64::MAX, |at| view.leaves_at(at)))
            }
            Self::Entries(_) => self.entries_hold_until(view, holds),
            Self::Whole { .. } => {
                let Reading { value, until } = self.read(view);
                let holds_now = holds(&value);
                let matters = until < i64::MAX && holds(&value_of_nothing(function)) != holds_now;
                (holds_now, if matters { until } else { i64::MAX })
            }
        }
    }

    /// The same of a count, which is quickly counted down.
    #[must_use]
    pub fn count_holds_until(&self, view: &View<'_>, holds: impl Fn(u64) -> bool) -> (bool, i64) {
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
        let leaves_at = |n_gone: usize| view.leaves_at(live[n_gone - 1].youngest);
        if function == Function::Top {
            let (holds_now, turning) = Tally::of(live).turning(live, holds);
            return (holds_now, turning.map_or(i64::MAX, leaves_at));
        }
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
        (holds_now, turning.map_or(i64::MAX, |place| leaves_at(place + 1)))
    }

    /// The entries the window holds, oldest first.
    fn live(&self, view: &View<'_>) -> &[Entry] {
        let Self::Entries(entries) = self else { return &[] };
        &entries[entries.partition_point(|entry| entry.youngest < view.earliest)..]
    }
}

fn total(entries: &[Entry], function: Function) -> Value {
    match entries {
        [] => value_of_nothing(function),
        [only] => only.accumulator.value(function),
        entries if function == Function::Top => Tally::of(entries).most_frequent(),
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

/// Leaves of each entry its most frequent values, where a window of `top` holds more than are told apart exactly, and so many
/// that counting them would keep everybody else waiting.
fn thin_out(entries: &mut [Entry]) {
    let n_values: usize = entries.iter().map(|entry| entry.accumulator.n_values()).sum();
    if n_values > WINDOW_VALUES_MAX && Tally::of(entries).n_values() > TOP_VALUES_MAX {
        for entry in entries {
            entry.accumulator.keep_most_frequent(WINDOW_VALUES_MAX / 2 / INSTANTS_MAX);
        }
    }
}

/// Merges instants into equal buckets of the smallest power-of-two number of milliseconds that leaves few enough.
fn merge(entries: &mut Entries, function: Function) {
    let buckets = |shift: u32| {
        let mut count = 1;
        for pair in entries.windows(2) {
            count += usize::from(pair[0].youngest >> shift != pair[1].youngest >> shift);
        }
        count
    };
    let shift = (1..i64::BITS).find(|shift| buckets(*shift) <= BUCKETS_MAX).unwrap_or(i64::BITS - 1);
    let mut merged = Entries::with_capacity(BUCKETS_MAX);
    for entry in entries.drain(..) {
        match merged.last_mut() {
            Some(bucket) if bucket.youngest >> shift == entry.youngest >> shift => {
                bucket.youngest = entry.youngest;
                bucket.accumulator.append(function, &entry.accumulator);
            }
            _ => merged.push(entry),
        }
    }
    *entries = merged;
}

/// The same where windows of several lengths look at one state. None of them sees wider buckets than it would have of its
/// own, so they get wider with age; and as many of the youngest instants as a window is exact with stay by themselves.
fn merge_older(entries: &mut Entries, function: Function) {
    let mut shift = 0;
    // Of how many neighbours, from the youngest on, each bit is the highest they differ in.
    let mut highest_bits = [0_usize; u64::BITS as usize];
    let mut n_buckets = 1;
    let mut merged = Entries::with_capacity(entries.len());
    let mut bucket_shift = 0;
    let mut younger: Option<i64> = None;
    for (n_younger, entry) in entries.drain(..).rev().enumerate() {
        let highest_bit = |other: i64| (other ^ entry.youngest).cast_unsigned().checked_ilog2();
        if let Some(bit) = younger.replace(entry.youngest).and_then(highest_bit) {
            highest_bits[bit as usize] += 1;
            n_buckets += usize::from(bit >= shift);
        }
        while n_buckets > BUCKETS_MAX {
            n_buckets -= highest_bits[shift as usize];
            shift += 1;
        }
        let joins = |bucket: &&mut Entry| highest_bit(bucket.youngest).is_none_or(|bit| bit < bucket_shift);
        if let Some(bucket) = merged.last_mut().filter(|_| n_younger > INSTANTS_MAX).filter(joins) {
            let younger = std::mem::replace(&mut bucket.accumulator, entry.accumulator);
            bucket.accumulator.append(function, &younger);
        } else {
            bucket_shift = shift;
            merged.push(entry);
        }
    }
    merged.reverse();
    *entries = merged;
}
