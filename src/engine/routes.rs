//! Which feeds an event can concern, found by its values: with a thousand segments on a thousand categories, an event of
//! one category looks at those of that category.

use hashbrown::HashMap;

use super::catalog::{Catalog, CompareOp, EventType, Feed, FieldExpr, Slot, Target};
use super::families::Families;
use super::value::Value;

/// The feeds of one event type, by where their events are and what they must be equal to.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Feeds of the record itself.
    record: Table,
    /// Feeds of the elements of each array of the projection.
    arrays: Vec<Table>,
}

/// Positions in the event type's list of feeds.
#[derive(Debug, Default)]
struct Table {
    /// Those that name no value.
    always: Vec<usize>,
    /// Those for which a field must have a value.
    equal: Vec<(Slot, ByValue)>,
}

type ByValue = HashMap<Value, Vec<usize>, foldhash::fast::RandomState>;

impl Routes {
    pub(super) fn of(catalog: &Catalog, families: &Families, event_type: &EventType) -> Self {
        let mut routes = Self::default();
        routes.arrays.resize_with(event_type.projection.arrays.len(), Table::default);
        for (place, feed) in event_type.feeds.iter().enumerate() {
            if matches!(feed.target, Target::Aggregate { aggregate, .. } if !families.keeps(aggregate)) {
                continue;
            }
            let table = match feed.array {
                None => Some(&mut routes.record),
                Some(array) => routes.arrays.get_mut(array),
            };
            let condition = feed.filter.map(|filter| &catalog.filters[filter.index()].condition);
            if let Some(table) = table {
                table.add(place, condition.and_then(required));
            }
        }
        routes
    }

    /// The feeds that a record (`array` is `None`) or an element with these fields can concern.
    pub(super) fn of_fields<'a>(
        &'a self,
        event_type: &'a EventType,
        array: Option<usize>,
        fields: &'a [Value],
    ) -> impl Iterator<Item = &'a Feed> {
        let table = match array {
            None => Some(&self.record),
            Some(array) => self.arrays.get(array),
        };
        table.into_iter().flat_map(|table| table.of_fields(fields)).filter_map(|place| event_type.feeds.get(place))
    }
}

impl Table {
    fn add(&mut self, place: usize, required: Option<(Slot, &Value)>) {
        let Some((slot, value)) = required else { return self.always.push(place) };
        let known = self.equal.iter().position(|(other, _)| *other == slot);
        let known = known.unwrap_or_else(|| {
            self.equal.push((slot, ByValue::default()));
            self.equal.len() - 1
        });
        self.equal[known].1.entry(value.clone()).or_default().push(place);
    }

    fn of_fields<'a>(&'a self, fields: &'a [Value]) -> impl Iterator<Item = usize> {
        let equal = self.equal.iter().filter_map(|(slot, by_value)| by_value.get(fields.get(*slot)?)).flatten();
        self.always.iter().chain(equal).copied()
    }
}

/// A field and the value it must have for the condition to hold, if it names one.
fn required(condition: &FieldExpr) -> Option<(Slot, &Value)> {
    match condition {
        FieldExpr::Compare(CompareOp::Equal, left, right) => match (&**left, &**right) {
            (FieldExpr::Field(slot), FieldExpr::Constant(value))
            | (FieldExpr::Constant(value), FieldExpr::Field(slot)) => Some((*slot, value)),
            _ => None,
        },
        FieldExpr::And(conditions) => conditions.iter().find_map(required),
        _ => None,
    }
}
