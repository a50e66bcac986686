//! Different values and how often each was seen, for `top` and `list`.

use super::catalog::Function;
use super::customer::insert;
use super::value::Value;

/// Different values that `top` tells apart exactly; past that a new one takes the place of the rarest.
pub const TOP_VALUES_MAX: usize = 256;
/// The most that `list` gives.
pub const LIST_LENGTH_MAX: usize = 100;

/// A value and how it was seen. The value comes last: which of two forms [`Values`] have then takes no room of its own.
#[derive(Debug, Clone, PartialEq)]
#[repr(C)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// When last, milliseconds since the epoch.
    pub at: i64,
    /// The value.
    pub value: Value,
}

/// Different values, the most recently seen last. Mostly there is one, at the instant of one event, and that needs no list
/// somewhere else in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Just one.
    One(Seen),
    /// None, or several.
    Many(Vec<Seen>),
}

impl Values {
    /// These, in the order in which they were seen last.
    #[must_use]
    pub fn of(mut values: Vec<Seen>) -> Self {
        if values.len() == 1
            && let Some(only) = values.pop()
        {
            return Self::One(only);
        }
        Self::Many(values)
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Seen] {
        match self {
            Self::One(seen) => std::slice::from_ref(seen),
            Self::Many(values) => values,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Seen>)) {
        let mut values = match std::mem::replace(self, Self::Many(Vec::new())) {
            Self::One(seen) => vec![seen],
            Self::Many(values) => values,
        };
        change(&mut values);
        *self = Self::of(values);
    }

    /// Adds a value that arrived after all that are in here.
    pub(super) fn see(&mut self, function: Function, at: i64, value: &Value) {
        match self {
            Self::One(seen) if seen.value == *value => {
                seen.count += 1;
                seen.at = seen.at.max(at);
            }
            _ => self.change(|values| see(values, function, Seen { value: value.clone(), count: 1, at })),
        }
    }

    /// Forgets values that were seen last before `earliest`.
    pub(super) fn forget_before(&mut self, earliest: i64) {
        if self.as_slice().iter().any(|seen| seen.at < earliest) {
            self.change(|values| values.retain(|seen| seen.at >= earliest));
        }
    }

    /// The most frequent one.
    pub(super) fn most_frequent(&self) -> Value {
        // Later ones win ties: they were seen more recently.
        let most_frequent = self.as_slice().iter().max_by_key(|seen| seen.count);
        most_frequent.map_or(Value::Unknown, |seen| seen.value.clone())
    }

    /// Those that were seen last at `earliest` or later, as a list.
    pub(super) fn latest_first(&self, earliest: i64) -> Value {
        let latest = self.as_slice().iter().rev().take_while(|seen| seen.at >= earliest);
        Value::List(latest.take(LIST_LENGTH_MAX).map(|seen| seen.value.clone()).collect())
    }
}

/// Puts a value where its instant belongs, after those of the same instant.
fn see(values: &mut Vec<Seen>, function: Function, mut seen: Seen) {
    if let Some(place) = values.iter().position(|other| other.value == seen.value) {
        if values[place].at > seen.at {
            values[place].count += seen.count;
            return;
        }
        seen.count += values.remove(place).count;
    } else {
        make_room(values, function, &mut seen);
    }
    let place = values.partition_point(|other| other.at <= seen.at);
    insert(values, place, seen);
    if function == Function::List && values.len() > LIST_LENGTH_MAX {
        values.remove(0);
    }
}

/// Past the limit, `top` lets a new value take over the place and the count of the rarest one (space saving, Metwally et
/// al. 2005): what is frequent is never lost.
fn make_room(values: &mut Vec<Seen>, function: Function, seen: &mut Seen) {
    if function == Function::Top && values.len() >= TOP_VALUES_MAX {
        let rarest = values.iter().enumerate().min_by_key(|(_, other)| other.count).map(|(place, _)| place);
        if let Some(rarest) = rarest {
            seen.count += values.remove(rarest).count;
        }
    }
}
