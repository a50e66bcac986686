//! The conditions on a count, a sum or a number of different values over sliding windows, turned inside out: how much is
//! asked, and over how long. The youngest events that add up to a boundary have an age, and every window longer than that
//! reaches it. So an event, or time, turns just what lies between the age before and the age after, however many windows and
//! conditions there are.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use smallvec::SmallVec;

use super::accumulator::{Accumulator, Hashes};
use super::catalog::Function;
use super::readers::Root;
use super::series::{Entry, Series};
use super::thresholds::Thresholds;

/// What is asked of windows, the least first.
#[derive(Debug, Clone, Default)]
pub(super) struct Boundaries {
    list: Vec<Boundary>,
    /// The longest of the windows, milliseconds.
    longest_ms: i64,
}

#[derive(Debug, Clone)]
struct Boundary {
    /// At least so much, more than nothing.
    least: Amount,
    /// The windows of which it is asked, milliseconds, the shortest first, and who reads whether they reach it.
    windows: Vec<(i64, Box<[Root]>)>,
}

/// A count, or a sum in thousand millionths: quickly added and compared, and as exact as decimals of that many digits.
type Amount = i128;
const DIGITS: u32 = 9;

/// The age of what nothing adds up to.
const NEVER: i64 = i64::MAX;

impl Boundaries {
    /// Those of a function whose values are compared with thresholds over windows of so many milliseconds; none if it is
    /// not one that adds up.
    pub(super) fn of<'t>(function: Function, windows: impl Iterator<Item = (i64, &'t Thresholds)>) -> Self {
        let mut all: Vec<(Amount, i64, Root)> = Vec::new();
        for (duration_ms, thresholds) in windows {
            for (threshold, more, readers) in thresholds.edges_of_numbers() {
                let Some(least) = least(function, threshold, more) else { return Self::default() };
                // What nothing reaches already never turns.
                all.extend(readers.iter().filter(|_| least > 0).map(|root| (least, duration_ms, *root)));
            }
        }
        all.sort_unstable();
        all.dedup();
        let longest_ms = all.iter().map(|(_, duration_ms, _)| *duration_ms).max().unwrap_or(0);
        let windows = |of_one: &[(Amount, i64, Root)]| {
            let readers = |of_window: &[(Amount, i64, Root)]| of_window.iter().map(|(_, _, root)| *root).collect();
            let windows = of_one.chunk_by(|one, other| one.1 == other.1);
            windows.filter_map(|of_window| Some((of_window.first()?.1, readers(of_window)))).collect()
        };
        let list = all.chunk_by(|one, other| one.0 == other.0);
        let list = list.filter_map(|of_one| Some(Boundary { least: of_one.first()?.0, windows: windows(of_one) }));
        Self { list: list.collect(), longest_ms }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes the age of each boundary that is reached at an instant, in order; `false` if that cannot be told, because
    /// something negative is added up, too much, or only a sample is known.
    pub(super) fn note_ages(&self, series: &Series, at: i64, ages: &mut Vec<i64>) -> bool {
        self.walk(series, at, |_, age| ages.push(age))
    }

    /// Tells the readers of what has turned since the ages were those; and until when nothing will, `None` if that cannot
    /// be told.
    pub(super) fn turned(
        &self,
        series: &Series,
        now: i64,
        ages_before: &[i64],
        mut turned: impl FnMut(&[Root]),
    ) -> Option<i64> {
        let mut holds_until = i64::MAX;
        let mut n_reached = 0;
        let is_told = self.walk(series, now, |boundary, age| {
            let before = ages_before.get(n_reached).copied().unwrap_or(NEVER);
            n_reached += 1;
            boundary.turned(age.min(before), age.max(before), &mut turned);
            if let Some(window_ms) = boundary.next_above(age) {
                holds_until = holds_until.min(now.saturating_add(window_ms - age));
            }
        });
        for (boundary, before) in self.list.iter().zip(ages_before).skip(n_reached) {
            boundary.turned(*before, NEVER, &mut turned);
        }
        is_told.then_some(holds_until)
    }

    /// Visits each boundary that is reached, in order, with the age at which it is.
    fn walk(&self, series: &Series, at: i64, visit: impl FnMut(&Boundary, i64)) -> bool {
        match series {
            Series::Entries(entries) => self.walk_entries(entries, at, visit),
            Series::Whole { accumulator: Accumulator::Hashes(hashes), .. } => self.walk_seen(hashes, at, visit),
            Series::Whole { .. } | Series::Counts(_) => false,
        }
    }

    fn walk_entries(&self, entries: &[Entry], at: i64, mut visit: impl FnMut(&Boundary, i64)) -> bool {
        if entries.iter().any(is_negative) {
            return false;
        }
        let mut older = entries.iter().rev();
        let mut total: Amount = 0;
        let mut age = 0;
        for boundary in &self.list {
            while total < boundary.least {
                let Some(entry) = older.next() else { return true };
                age = at.saturating_sub(entry.youngest);
                if age >= self.longest_ms {
                    return true;
                }
                match amount(entry).and_then(|amount| total.checked_add(amount)) {
                    Some(more) => total = more,
                    None => return false,
                }
            }
            visit(boundary, age);
        }
        true
    }

    fn walk_seen(&self, hashes: &Hashes, at: i64, mut visit: impl FnMut(&Boundary, i64)) -> bool {
        if hashes.n_zeros > 0 {
            return false;
        }
        let least_of = |boundary: &Boundary| usize::try_from(boundary.least).unwrap_or(usize::MAX);
        let ages = hashes.seen.iter().map(|(_, seen_at)| at.saturating_sub(*seen_at));
        let mut ages: SmallVec<[i64; 64]> = ages.filter(|age| *age < self.longest_ms).collect();
        let n_reached = self.list.partition_point(|boundary| least_of(boundary) <= ages.len());
        let reached = &self.list[..n_reached];
        let place_of = |boundary: &Boundary| least_of(boundary).saturating_sub(1);
        put_in_place(&mut ages, 0, reached, &place_of);
        for boundary in reached {
            visit(boundary, ages[place_of(boundary)]);
        }
        true
    }
}

impl Boundary {
    /// Tells the readers of the windows longer than one age and not longer than another.
    fn turned(&self, from: i64, to: i64, turned: &mut impl FnMut(&[Root])) {
        if from == to {
            return;
        }
        let first = self.windows.partition_point(|(window_ms, _)| *window_ms <= from);
        let between = self.windows.iter().skip(first).take_while(|(window_ms, _)| *window_ms <= to);
        between.for_each(|(_, readers)| turned(readers));
    }

    /// The shortest window longer than an age.
    fn next_above(&self, age: i64) -> Option<i64> {
        let place = self.windows.partition_point(|(window_ms, _)| *window_ms <= age);
        self.windows.get(place).map(|(window_ms, _)| *window_ms)
    }
}

/// Puts the ages that boundaries ask about where they would be if all were in order; `start` is the place of the first age.
fn put_in_place(ages: &mut [i64], start: usize, asked: &[Boundary], place_of: &impl Fn(&Boundary) -> usize) {
    let (fewer, more) = asked.split_at(asked.len() / 2);
    let Some((middle, more)) = more.split_first() else { return };
    let place = place_of(middle);
    let (younger, _, older) = ages.select_nth_unstable(place - start);
    put_in_place(younger, start, fewer, place_of);
    put_in_place(older, place + 1, more, place_of);
}

/// The least amount that is as much as a threshold, or more than it; `None` if that is not to be told in amounts.
fn least(function: Function, threshold: Decimal, more: bool) -> Option<Amount> {
    let whole = match function {
        Function::Count | Function::Distinct if more => threshold.floor().to_i128()?,
        Function::Count | Function::Distinct => threshold.ceil().to_i128()?,
        Function::Sum => amount_of(threshold)?,
        _ => return None,
    };
    Some(if more { whole.saturating_add(1) } else { whole })
}

fn amount(entry: &Entry) -> Option<Amount> {
    match entry.accumulator {
        Accumulator::Count(count) => Some(count.into()),
        Accumulator::Sum(Some(sum)) => amount_of(sum),
        _ => None,
    }
}

fn amount_of(number: Decimal) -> Option<Amount> {
    let number = if number.scale() > DIGITS { number.normalize() } else { number };
    let missing_digits = DIGITS.checked_sub(number.scale())?;
    number.mantissa().checked_mul(10_i128.pow(missing_digits))
}

fn is_negative(entry: &Entry) -> bool {
    !matches!(entry.accumulator, Accumulator::Count(_))
        && !matches!(entry.accumulator, Accumulator::Sum(Some(sum)) if !sum.is_sign_negative())
}
