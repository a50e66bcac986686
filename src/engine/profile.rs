//! Profile traits: what a value must be to count.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::calendar::midnight;
use super::value::{Type, Value};

/// The value as the declared type has it; unknown where it does not fit. Text, and only text, is read as an instant
/// literal where an instant is declared.
#[must_use]
pub fn fit(value: &Value, declared: &Type, zone: &TimeZone) -> Value {
    match (value, declared) {
        (Value::Bool(_), Type::Bool) | (Value::Number(_), Type::Number) | (Value::Text(_), Type::Text) => value.clone(),
        (Value::Text(text), Type::Instant) => instant(text, zone).map_or(Value::Unknown, Value::Instant),
        (Value::List(items), Type::List(item_type)) => {
            let fitted: Arc<[Value]> = items.iter().map(|item| fit(item, item_type, zone)).collect();
            if fitted.iter().all(Value::is_known) { Value::List(fitted) } else { Value::Unknown }
        }
        _ => Value::Unknown,
    }
}

/// An instant literal: a bare date is its midnight in the zone, anything else is RFC 3339 with an offset.
#[must_use]
pub fn instant(text: &str, zone: &TimeZone) -> Option<i64> {
    if text.len() == "2026-01-01".len() {
        return midnight(text.parse::<Date>().ok()?, zone);
    }
    Some(text.parse::<Timestamp>().ok()?.as_millisecond())
}
