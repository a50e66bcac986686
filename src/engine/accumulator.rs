//! What is kept of a set of events so that an aggregate's value can be told: of all of them, or of those at one instant.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::catalog::Function;
use super::customer::insert;
use super::value::Value;
use super::values::{Seen, Values};

/// Different values that `distinct` counts exactly; past that it counts a sample of half as many or more, whose standard
/// error is at most 1.1 %.
pub const DISTINCT_HASHES_MAX: usize = 16_384;
/// The summary of some events for one aggregate function.
#[derive(Debug, Clone, PartialEq)]
pub enum Accumulator {
    /// `count`
    Count(u64),
    /// `sum`; `None` once it is more than a decimal can hold.
    Sum(Option<Decimal>),
    /// `avg`: how many, total.
    Average(u64, Option<Decimal>),
    /// `min`
    Least(Value),
    /// `max`
    Greatest(Value),
    /// `first`: its instant and value.
    First(i64, Value),
    /// `last`: its instant and value.
    Last(i64, Value),
    /// `top`, `list`: the different values, the most recently seen last.
    Values(Values),
    /// `distinct`: the different values.
    Hashes(Hashes),
}

/// Different values by their hashes, in order; past a limit only those whose hash begins with `n_zeros` zero bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hashes {
    /// Of how many leading bits a hash must have zeros to be here.
    pub n_zeros: u32,
    /// The hash of a value, and when it was seen last.
    pub seen: Vec<(u64, i64)>,
}

impl Hashes {
    fn see(&mut self, hash: u64, at: i64) {
        if hash.leading_zeros() < self.n_zeros {
            return;
        }
        match self.seen.binary_search_by_key(&hash, |(hash, _)| *hash) {
            Ok(place) => self.seen[place].1 = self.seen[place].1.max(at),
            Err(place) => insert(&mut self.seen, place, (hash, at)),
        }
        while self.seen.len() > DISTINCT_HASHES_MAX {
            self.n_zeros += 1;
            self.seen.retain(|(hash, _)| hash.leading_zeros() >= self.n_zeros);
        }
    }

    /// How many different values a sample of that size stands for.
    #[must_use]
    pub fn count_of(&self, n_seen: usize) -> u64 {
        (n_seen as u64).saturating_mul(1 << self.n_zeros.min(63))
    }

    /// When those were seen last that were at `earliest` or later.
    pub fn since(&self, earliest: i64) -> impl Iterator<Item = i64> {
        self.seen.iter().map(|(_, at)| *at).filter(move |at| *at >= earliest)
    }

    /// How many those are.
    #[must_use]
    pub fn n_since(&self, earliest: i64) -> usize {
        if earliest == i64::MIN { self.seen.len() } else { self.since(earliest).count() }
    }

    fn value(&self, n_seen: usize) -> Value {
        Value::Number(Decimal::from(self.count_of(n_seen)))
    }
}

impl Accumulator {
    /// The summary of one event; `value` is its value, or its instant where the aggregate names none.
    #[must_use]
    pub fn of(function: Function, at: i64, value: &Value) -> Self {
        match function {
            Function::Count => Self::Count(1),
            Function::Sum => Self::Sum(Some(number(value))),
            Function::Average => Self::Average(1, Some(number(value))),
            Function::Least => Self::Least(value.clone()),
            Function::Greatest => Self::Greatest(value.clone()),
            Function::First => Self::First(at, value.clone()),
            Function::Last => Self::Last(at, value.clone()),
            Function::Top | Function::List => {
                Self::Values(Values::of(vec![Seen { value: value.clone(), count: 1, at }]))
            }
            Function::Distinct => Self::Hashes(Hashes { n_zeros: 0, seen: vec![(value.stable_hash(), at)] }),
        }
    }

    /// Adds one event that arrived after all that is in here, though it may have occurred before.
    pub fn add(&mut self, function: Function, at: i64, value: &Value) {
        match self {
            Self::Count(count) => *count += 1,
            Self::Sum(total) => *total = total.and_then(|total| total.checked_add(number(value))),
            Self::Average(count, total) => {
                *count += 1;
                *total = total.and_then(|total| total.checked_add(number(value)));
            }
            Self::Least(least) if value.order(least).is_some_and(std::cmp::Ordering::is_lt) => least.clone_from(value),
            Self::Greatest(most) if value.order(most).is_some_and(std::cmp::Ordering::is_gt) => most.clone_from(value),
            Self::First(earliest, first) if at < *earliest => (*earliest, *first) = (at, value.clone()),
            Self::Last(latest, last) if at >= *latest => (*latest, *last) = (at, value.clone()),
            Self::Least(_) | Self::Greatest(_) | Self::First(..) | Self::Last(..) => {}
            Self::Values(values) => values.see(function, at, value),
            Self::Hashes(hashes) => hashes.see(value.stable_hash(), at),
        }
    }

    /// Whether one event more makes no difference.
    #[must_use]
    pub fn ignores(&self, at: i64, value: &Value) -> bool {
        match self {
            Self::Least(least) => value.order(least).is_some_and(std::cmp::Ordering::is_ge),
            Self::Greatest(most) => value.order(most).is_some_and(std::cmp::Ordering::is_le),
            Self::First(earliest, _) => at >= *earliest,
            Self::Last(latest, _) => at < *latest,
            _ => false,
        }
    }

    /// Adds the summary of events that all occurred later. Not for `top`, `list` and `distinct`.
    pub fn append(&mut self, function: Function, later: &Self) {
        match (self, later) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Sum(total), Self::Sum(more)) => *total = add(*total, *more),
            (Self::Average(count, total), Self::Average(more_count, more)) => {
                *count += more_count;
                *total = add(*total, *more);
            }
            (this @ (Self::Least(_) | Self::Greatest(_)), Self::Least(value) | Self::Greatest(value)) => {
                this.add(function, 0, value);
            }
            (Self::Last(latest, last), Self::Last(at, value)) => (*latest, *last) = (*at, value.clone()),
            _ => {}
        }
    }

    /// Adds the summary of events that all occurred earlier. Not for `top`, `list` and `distinct`.
    pub fn prepend(&mut self, function: Function, earlier: &Self) {
        match (self, earlier) {
            (Self::Last(..), Self::Last(..)) => {}
            (this @ Self::First(..), Self::First(..)) => this.clone_from(earlier),
            (this, earlier) => this.append(function, earlier),
        }
    }

    /// The aggregate's value over these events.
    #[must_use]
    pub fn value(&self, function: Function) -> Value {
        match self {
            Self::Count(count) => Value::Number(Decimal::from(*count)),
            Self::Sum(total) => total.map_or(Value::Unknown, Value::Number),
            Self::Average(count, total) => {
                let mean = total.and_then(|total| total.checked_div(Decimal::from(*count)));
                mean.map_or(Value::Unknown, Value::Number)
            }
            Self::Least(value) | Self::Greatest(value) | Self::First(_, value) | Self::Last(_, value) => value.clone(),
            Self::Values(values) if function == Function::Top => values.most_frequent(),
            Self::Values(values) => values.latest_first(i64::MIN),
            Self::Hashes(hashes) => hashes.value(hashes.seen.len()),
        }
    }

    /// How many are counted; 0 for other functions than `count`.
    #[must_use]
    pub fn count(&self) -> u64 {
        if let Self::Count(count) = self { *count } else { 0 }
    }

    /// The value over those that were seen last at `earliest` or later: for `distinct` and `list`, which need no more
    /// of a window than that.
    #[must_use]
    pub fn value_since(&self, function: Function, earliest: i64) -> Value {
        match self {
            Self::Hashes(hashes) => hashes.value(hashes.n_since(earliest)),
            Self::Values(values) => values.latest_first(earliest),
            _ => self.value(function),
        }
    }

    /// When values were seen last, for `distinct` and `list`.
    pub fn last_seen(&self) -> impl Iterator<Item = i64> {
        let (values, hashes): (&[Seen], &[(u64, i64)]) = match self {
            Self::Values(values) => (values.as_slice(), &[]),
            Self::Hashes(hashes) => (&[], &hashes.seen),
            _ => (&[], &[]),
        };
        values.iter().map(|seen| seen.at).chain(hashes.iter().map(|(_, at)| *at))
    }

    /// Forgets values that were seen last before `earliest`, for `distinct` and `list`.
    pub fn forget_before(&mut self, earliest: i64) {
        match self {
            Self::Values(values) => values.forget_before(earliest),
            Self::Hashes(hashes) => hashes.seen.retain(|(_, at)| *at >= earliest),
            _ => {}
        }
    }
}

/// The value of an aggregate over nothing.
#[must_use]
pub fn value_of_nothing(function: Function) -> Value {
    match function {
        Function::Count | Function::Sum | Function::Distinct => Value::Number(Decimal::ZERO),
        Function::List => Value::List(Arc::from([])),
        _ => Value::Unknown,
    }
}

/// The compiler of definitions lets only numbers into sums and averages.
fn number(value: &Value) -> Decimal {
    if let Value::Number(number) = value { *number } else { Decimal::ZERO }
}

fn add(a: Option<Decimal>, b: Option<Decimal>) -> Option<Decimal> {
    a?.checked_add(b?)
}
