//! What is kept of a set of events so that an aggregate's value can be told: of all of them, or of those at one instant.

use std::sync::Arc;

use hashbrown::HashMap;
use rust_decimal::Decimal;

use super::catalog::Function;
use super::value::Value;

/// Different values remembered for `distinct`, `top` and `list`. `segments.md` section 4.
pub const DIFFERENT_VALUES_MAX: usize = 256;
/// The most that `list` gives.
pub const LIST_LENGTH_MAX: usize = 100;

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
    /// `distinct`, `top`, `list`: the different values, the most recently seen last.
    Values(Vec<Seen>),
}

/// A value and how it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The value.
    pub value: Value,
    /// How often.
    pub count: u64,
    /// When last, milliseconds since the epoch.
    pub at: i64,
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
            Function::Distinct | Function::Top | Function::List => {
                Self::Values(vec![Seen { value: value.clone(), count: 1, at }])
            }
        }
    }

    /// Adds one event that arrived after all that is in here, though it may have occurred before.
    pub fn add(&mut self, at: i64, value: &Value) {
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
            Self::Values(values) => see(values, Seen { value: value.clone(), count: 1, at }),
        }
    }

    /// Adds the summary of events that all occurred later.
    pub fn append(&mut self, later: &Self) {
        match (self, later) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Sum(total), Self::Sum(more)) => *total = add(*total, *more),
            (Self::Average(count, total), Self::Average(more_count, more)) => {
                *count += more_count;
                *total = add(*total, *more);
            }
            (this @ (Self::Least(_) | Self::Greatest(_)), Self::Least(value) | Self::Greatest(value)) => {
                this.add(0, value);
            }
            (Self::Last(latest, last), Self::Last(at, value)) => (*latest, *last) = (*at, value.clone()),
            (Self::Values(values), Self::Values(more)) => append_values(values, more),
            _ => {}
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
            Self::Values(values) => match function {
                Function::Distinct => Value::Number(Decimal::from(values.len())),
                Function::Top => most_frequent(values),
                _ => latest_first(values),
            },
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

/// Puts a value where its instant belongs, after those of the same instant; past the limit the value seen longest ago
/// makes room.
fn see(values: &mut Vec<Seen>, mut seen: Seen) {
    if let Some(position) = values.iter().position(|other| other.value == seen.value) {
        if values[position].at > seen.at {
            values[position].count += seen.count;
            return;
        }
        seen.count += values.remove(position).count;
    } else if values.len() == DIFFERENT_VALUES_MAX {
        values.remove(0);
    }
    let position = values.partition_point(|other| other.at <= seen.at);
    values.insert(position, seen);
}

fn append_values(values: &mut Vec<Seen>, later: &[Seen]) {
    if later.len() < 8 {
        return later.iter().for_each(|seen| see(values, seen.clone()));
    }
    let again: HashMap<&Value, usize> = later.iter().enumerate().map(|(place, seen)| (&seen.value, place)).collect();
    let mut appended = later.to_vec();
    values.retain(|seen| match again.get(&seen.value) {
        Some(place) => {
            appended[*place].count += seen.count;
            false
        }
        None => true,
    });
    values.append(&mut appended);
    values.drain(..values.len().saturating_sub(DIFFERENT_VALUES_MAX));
}

fn most_frequent(values: &[Seen]) -> Value {
    // Later ones win ties: they were seen more recently.
    values.iter().max_by_key(|seen| seen.count).map_or(Value::Unknown, |seen| seen.value.clone())
}

fn latest_first(values: &[Seen]) -> Value {
    Value::List(values.iter().rev().take(LIST_LENGTH_MAX).map(|seen| seen.value.clone()).collect())
}
