//! What the operators mean, on values. One place for events' filters and for customers' conditions.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::catalog::{ArithmeticOp, CompareOp, TextTest};
use super::value::Value;

/// `left op right`; unknown when a side is, on division by zero, and beyond what a decimal can hold.
#[must_use]
pub fn arithmetic(op: ArithmeticOp, left: &Value, right: &Value) -> Value {
    use ArithmeticOp::{Add, Divide, Multiply, Subtract};
    use Value::{Duration, Instant, Number};
    let answer = match (op, left, right) {
        (Add, Number(a), Number(b)) => a.checked_add(*b).map(Number),
        (Subtract, Number(a), Number(b)) => a.checked_sub(*b).map(Number),
        (Multiply, Number(a), Number(b)) => a.checked_mul(*b).map(Number),
        (Divide, Number(a), Number(b)) | (Divide, Duration(a), Duration(b)) => a.checked_div(*b).map(Number),
        (Add, Duration(a), Duration(b)) => a.checked_add(*b).map(Duration),
        (Subtract, Duration(a), Duration(b)) => a.checked_sub(*b).map(Duration),
        (Multiply, Duration(a), Number(b)) | (Multiply, Number(b), Duration(a)) => a.checked_mul(*b).map(Duration),
        (Divide, Duration(a), Number(b)) => a.checked_div(*b).map(Duration),
        (Add, Instant(t), Duration(d)) | (Add, Duration(d), Instant(t)) => {
            Decimal::from(*t).checked_add(*d).and_then(instant)
        }
        (Subtract, Instant(t), Duration(d)) => Decimal::from(*t).checked_sub(*d).and_then(instant),
        (Subtract, Instant(a), Instant(b)) => Some(Duration(Decimal::from(*a) - Decimal::from(*b))),
        _ => None,
    };
    answer.unwrap_or_default()
}

/// A fraction of a millisecond is rounded down in an instant.
fn instant(milliseconds: Decimal) -> Option<Value> {
    milliseconds.floor().to_i64().map(Value::Instant)
}

/// `-a`.
#[must_use]
pub fn negate(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(-*number),
        Value::Duration(duration) => Value::Duration(-*duration),
        _ => Value::Unknown,
    }
}

/// `left op right`: false when a side is unknown.
#[must_use]
pub fn compare(op: CompareOp, left: &Value, right: &Value) -> bool {
    if !left.is_known() || !right.is_known() {
        return false;
    }
    match op {
        CompareOp::Equal => left == right,
        CompareOp::NotEqual => left != right,
        CompareOp::Less => left.order(right) == Some(Ordering::Less),
        CompareOp::LessOrEqual => matches!(left.order(right), Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => left.order(right) == Some(Ordering::Greater),
        CompareOp::GreaterOrEqual => matches!(left.order(right), Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// `count op threshold`, where `least` is the least count that is not below the threshold, and equal to it if it `is_whole`.
#[must_use]
pub fn compare_count(op: CompareOp, count: u64, least: u64, is_whole: bool) -> bool {
    let is_equal = is_whole && count == least;
    match op {
        CompareOp::Equal => is_equal,
        CompareOp::NotEqual => !is_equal,
        CompareOp::Less => count < least,
        CompareOp::LessOrEqual => count < least || is_equal,
        CompareOp::Greater => count >= least && !is_equal,
        CompareOp::GreaterOrEqual => count >= least,
    }
}

/// `value [not] between low and high`: false, in both forms, when any of the three is unknown.
#[must_use]
pub fn between(negated: bool, value: &Value, low: &Value, high: &Value) -> bool {
    match (low.order(value), value.order(high)) {
        (Some(from_low), Some(to_high)) => (from_low != Ordering::Greater && to_high != Ordering::Greater) != negated,
        _ => false,
    }
}

/// `value [not] in (items)`: false, in both forms, when the value is unknown.
#[must_use]
pub fn is_in(negated: bool, value: &Value, items: &[Value]) -> bool {
    value.is_known() && items.contains(value) != negated
}

/// `left [not] contains|starts with|ends with right`: false, in both forms, when a side is unknown.
#[must_use]
pub fn text_test(negated: bool, test: TextTest, left: &Value, right: &Value) -> bool {
    let found = match (test, left, right) {
        (TextTest::Contains, Value::Text(text), Value::Text(part)) => text.contains(part.as_str()),
        (TextTest::StartsWith, Value::Text(text), Value::Text(part)) => text.starts_with(part.as_str()),
        (TextTest::EndsWith, Value::Text(text), Value::Text(part)) => text.ends_with(part.as_str()),
        (TextTest::Contains, Value::List(_), Value::Unknown) => return false,
        (TextTest::Contains, Value::List(items), item) => items.contains(item),
        _ => return false,
    };
    found != negated
}
