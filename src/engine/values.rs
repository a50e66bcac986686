//! Different values and how often each was seen, for `top` and `list`.

use super::catalog::Function;
use super::customer::insert;
use super::value::Value;

/// Different values that `top` tells apart exactly.
pub const TOP_VALUES_MAX: usize = 256;
/// The most that `list` gives.
pub const LIST_LENGTH_MAX: usize = 100;

/// A value and how it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// When last, milliseconds since the epoch.
    pub at: i64,
    /// The value.
    pub value: Value,
}

/// Different values, the most recently seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    list: Vec<Seen>,
}

impl Values {
    /// These, in the order in which they were seen last.
    #[must_use]
    pub fn of(list: Vec<Seen>) -> Self {
        Self { list }
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Seen] {
        &self.list
    }

    /// Adds a value that arrived after all that are in here, where its instant belongs: after those of the same instant.
    pub(super) fn see(&mut self, function: Function, at: i64, value: &Value) {
        let mut seen = Seen { value: value.clone(), count: 1, at };
        if let Some(place) = self.list.iter().position(|other| other.value == seen.value) {
            let other = &mut self.list[place];
            if other.at > seen.at {
                other.count += 1;
                return;
            }
            seen.count += self.list.remove(place).count;
        } else if function == Function::Top {
            self.make_room(&mut seen);
        }
        let place = self.list.partition_point(|other| other.at <= seen.at);
        insert(&mut self.list, place, seen);
        if function == Function::List && self.list.len() > LIST_LENGTH_MAX {
            self.list.remove(0);
        }
    }

    /// Past the limit, `top` lets a new value take over the place and the count of the rarest one (space saving, Metwally et
    /// al. 2005): what is frequent is never lost.
    fn make_room(&mut self, seen: &mut Seen) {
        if self.list.len() < TOP_VALUES_MAX {
            return;
        }
        let rarest = self.list.iter().enumerate().min_by_key(|(_, other)| other.count).map(|(place, _)| place);
        if let Some(rarest) = rarest {
            seen.count += self.list.remove(rarest).count;
        }
    }

    /// Forgets values that were seen last before `earliest`.
    pub(super) fn forget_before(&mut self, earliest: i64) {
        self.list.drain(..self.list.partition_point(|seen| seen.at < earliest));
    }

    /// The most frequent one.
    pub(super) fn most_frequent(&self) -> Value {
        // Later ones win ties: they were seen more recently.
        let most_frequent = self.list.iter().max_by_key(|seen| seen.count);
        most_frequent.map_or(Value::Unknown, |seen| seen.value.clone())
    }

    /// Those that were seen last at `earliest` or later, as a list.
    pub(super) fn latest_first(&self, earliest: i64) -> Value {
        let latest = self.list.iter().rev().take_while(|seen| seen.at >= earliest);
        Value::List(latest.take(LIST_LENGTH_MAX).map(|seen| seen.value.clone()).collect())
    }
}
