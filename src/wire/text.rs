//! Values as text and as JSON, written straight into a buffer.

use std::io::Write;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::engine::value::Value;

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400_000;
const UNITS: [(char, u128); 4] = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];

/// Appends formatted text. Writing to memory does not fail.
macro_rules! append {
    ($out:expr, $($format:tt)*) => {
        if write!($out, $($format)*).is_err() { debug_assert!(false, "memory is always writable") }
    };
}

/// An instant as RFC 3339 text in UTC with milliseconds.
#[must_use]
pub fn instant_text(instant_ms: i64) -> String {
    let mut text = Vec::with_capacity(24);
    push_instant(&mut text, instant_ms);
    String::from_utf8_lossy(&text).into_owned()
}

/// The same, appended.
pub(crate) fn push_instant(out: &mut Vec<u8>, instant_ms: i64) {
    let (days, rest_ms) = (instant_ms.div_euclid(DAY_MS), instant_ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest_ms / 3_600_000, rest_ms / 60_000 % 60);
    let (second, millisecond) = (rest_ms / SECOND_MS % 60, rest_ms % SECOND_MS);
    if !(0..=9_999).contains(&year) {
        append!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z");
        return;
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let parts = [(3, year), (6, month), (9, day), (12, hour), (15, minute), (18, second), (22, millisecond)];
    for (last, mut part) in parts {
        for digit in text[..=last].iter_mut().rev().take(4) {
            *digit += (part % 10).to_le_bytes()[0];
            part /= 10;
            if part == 0 {
                break;
            }
        }
    }
    out.extend_from_slice(&text);
}

/// Year, month and day of a day counted from the epoch, in the proleptic Gregorian calendar. Years are counted from
/// March here, so that the leap day is the last of its year, and in eras of 400 years, which are all alike.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// A number in plain digits, without zeros that say nothing.
pub(crate) fn push_number(out: &mut Vec<u8>, number: Decimal) {
    append!(out, "{}", number.normalize());
}

/// A duration as the language writes it: `1h30m`, `0s`; what is left under a second in milliseconds.
pub(crate) fn push_duration(out: &mut Vec<u8>, duration_ms: Decimal) {
    if duration_ms.is_zero() {
        return out.extend_from_slice(b"0s");
    }
    if duration_ms.is_sign_negative() {
        out.push(b'-');
    }
    let duration_ms = duration_ms.abs();
    let mut whole_ms = duration_ms.trunc().to_u128().unwrap_or(u128::MAX);
    for (letter, unit_ms) in UNITS {
        if whole_ms >= unit_ms {
            append!(out, "{}{letter}", whole_ms / unit_ms);
            whole_ms %= unit_ms;
        }
    }
    let rest_ms = Decimal::from(whole_ms) + duration_ms.fract();
    if !rest_ms.is_zero() {
        append!(out, "{}ms", rest_ms.normalize());
    }
}

/// A JSON string.
pub(crate) fn push_json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c < ' ' => append!(out, "\\u{:04x}", u32::from(c)),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// A value as JSON: numbers exact, instants and durations as text, unknown as null.
pub(crate) fn push_json(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unknown => out.extend_from_slice(b"null"),
        Value::Bool(_) | Value::Number(_) | Value::List(_) => push_value(out, value),
        Value::Text(text) => push_json_text(out, text),
        Value::Instant(_) | Value::Duration(_) => {
            out.push(b'"');
            push_value(out, value);
            out.push(b'"');
        }
    }
}

/// A value as text: lists as JSON, unknown as the word.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unknown => out.extend_from_slice(b"unknown"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => push_number(out, *number),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Instant(at) => push_instant(out, *at),
        Value::Duration(duration) => push_duration(out, *duration),
        Value::List(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                push_json(out, item);
            }
            out.push(b']');
        }
    }
}

/// A value as text, for people and for `why`.
#[must_use]
pub fn value_text(value: &Value) -> String {
    let mut out = Vec::new();
    push_value(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

/// The whole number that a number is, if it fits.
pub(crate) fn whole(number: Decimal) -> Option<i64> {
    number.fract().is_zero().then(|| number.to_i64()).flatten()
}

/// The binary fraction whose shortest text is this number, if there is one.
pub(crate) fn binary(number: Decimal) -> Option<f64> {
    let double = number.to_string().parse().ok()?;
    (super::number::from_double(double) == Some(number)).then_some(double)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &Value, text: &str, json: &str) {
        let mut out = Vec::new();
        push_json(&mut out, value);
        assert_eq!((value_text(value).as_str(), String::from_utf8(out).unwrap().as_str()), (text, json));
    }

    #[test]
    fn values_have_one_text() {
        let number = |text: &str| Value::Number(text.parse().unwrap());
        let duration = |text: &str| Value::Duration(text.parse().unwrap());
        check(&Value::Unknown, "unknown", "null");
        check(&Value::Bool(true), "true", "true");
        check(&number("19.900"), "19.9", "19.9");
        check(&number("-0"), "0", "0");
        check(&number("12000"), "12000", "12000");
        check(&Value::text("a\"\\\n\u{1}é"), "a\"\\\n\u{1}é", r#""a\"\\\n\u0001é""#);
        check(&Value::List([Value::text("a"), number("1.0")].into()), r#"["a",1]"#, r#"["a",1]"#);
        check(&duration("0"), "0s", r#""0s""#);
        check(&duration("5400000"), "1h30m", r#""1h30m""#);
        check(&duration("-2592000000"), "-30d", r#""-30d""#);
        check(&duration("1000.5"), "1s0.5ms", r#""1s0.5ms""#);
        check(
            &duration("28799999.999999999999999999999"),
            "7h59m59s999.999999999999999999999ms",
            r#""7h59m59s999.999999999999999999999ms""#,
        );
        check(&Value::Instant(0), "1970-01-01T00:00:00.000Z", r#""1970-01-01T00:00:00.000Z""#);
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let mut instant_ms = super::super::number::MIN_INSTANT_MS;
        while instant_ms < super::super::number::MAX_INSTANT_MS {
            let expected = jiff::Timestamp::from_millisecond(instant_ms).unwrap();
            let mut out = Vec::new();
            push_instant(&mut out, instant_ms);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected:.3}"), "{instant_ms}");
            instant_ms += 29_876_543_210;
        }
    }

    #[test]
    fn numbers_are_whole_or_binary_only_when_nothing_is_lost() {
        let cases = [("5.00", Some(5), Some(5.0)), ("19.99", None, Some(19.99)), ("1e0", Some(1), Some(1.0))];
        for (text, long, double) in cases {
            let number = super::super::number::from_text(text).unwrap();
            assert_eq!((whole(number), binary(number)), (long, double), "{text}");
        }
        let long = super::super::number::from_text("0.1234567890123456789").unwrap();
        assert_eq!((whole(long), binary(long)), (None, None));
    }
}
