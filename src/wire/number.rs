//! Numbers and instants as formats write them, made exact decimals and epoch milliseconds.

use std::fmt::Write;

use rust_decimal::Decimal;

/// The least instant the engine reckons with: 0001-01-01T00:00:00Z.
pub(crate) const MIN_INSTANT_MS: i64 = -62_135_596_800_000;
/// The greatest: 9999-12-31T23:59:59Z.
pub(crate) const MAX_INSTANT_MS: i64 = 253_402_300_799_999;

const MAX_DIGITS: i32 = 28;
const MAX_MANTISSA: u128 = (1 << 96) - 1;
const DAY_MS: i64 = 86_400_000;

/// An instant if it is one the engine reckons with.
pub(crate) fn instant(instant_ms: i64) -> Option<i64> {
    (MIN_INSTANT_MS..=MAX_INSTANT_MS).contains(&instant_ms).then_some(instant_ms)
}

/// Midnight, in UTC, of a day counted from the epoch.
pub(crate) fn midnight(day: i64) -> Option<i64> {
    instant(day.checked_mul(DAY_MS)?)
}

/// `mantissa / 10^scale`. Digits past the 28th decimal are rounded away; `None` when it is too large.
pub(crate) fn decimal(mantissa: i128, scale: i32) -> Option<Decimal> {
    if mantissa == 0 {
        return Some(Decimal::ZERO);
    }
    if scale < 0 {
        let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
        return Decimal::try_from_i128_with_scale(mantissa.checked_mul(factor)?, 0).ok();
    }
    let mut drop = (scale - MAX_DIGITS).max(0);
    while drop <= scale {
        let rounded = divide_rounding(mantissa, drop);
        if rounded.unsigned_abs() <= MAX_MANTISSA {
            return Decimal::try_from_i128_with_scale(rounded, u32::try_from(scale - drop).ok()?).ok();
        }
        drop += 1;
    }
    None
}

/// `number / 10^digits`, half to even.
fn divide_rounding(number: i128, digits: i32) -> i128 {
    let Some(divisor) = u32::try_from(digits).ok().and_then(|digits| 10_i128.checked_pow(digits)) else { return 0 };
    let (quotient, rest) = (number / divisor, (number % divisor).abs());
    let half = divisor / 2;
    let away = divisor > 1 && (rest > half || (rest == half && quotient % 2 != 0));
    if away { quotient + number.signum() } else { quotient }
}

/// A big-endian two's complement integer over `10^scale`, Avro's decimal.
pub(crate) fn from_unscaled(bytes: &[u8], scale: u32) -> Option<Decimal> {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    let mut mantissa = if negative { -1_i128 } else { 0 };
    let digits = bytes.get(bytes.len().saturating_sub(16)..).unwrap_or(bytes);
    let dropped = bytes.get(..bytes.len() - digits.len()).unwrap_or_default();
    if dropped.iter().any(|byte| *byte != fill) {
        return None;
    }
    for byte in digits {
        mantissa = (mantissa << 8) | i128::from(*byte);
    }
    if (mantissa < 0) != negative {
        return None;
    }
    decimal(mantissa, i32::try_from(scale).ok()?)
}

/// The decimal with the fewest digits that is still this number.
pub(crate) fn from_double(number: f64) -> Option<Decimal> {
    let mut text = Scratch::default();
    write!(text, "{number:e}").ok()?;
    from_text(text.as_str())
}

/// The same of a single-precision number.
pub(crate) fn from_float(number: f32) -> Option<Decimal> {
    let mut text = Scratch::default();
    write!(text, "{number:e}").ok()?;
    from_text(text.as_str())
}

/// A number in JSON's form. `None` when it is none, or too large.
pub(crate) fn from_text(text: &str) -> Option<Decimal> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || digits.ends_with('.') {
        return None;
    }
    let (mut mantissa, mut scale) = (0_i128, 0_i32);
    for (position, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Digits past the 36th significant one cannot matter; they still count as places.
        let kept = mantissa < 10_i128.pow(36);
        if kept {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
        let in_fraction = position >= whole.len();
        scale = scale.checked_add(i32::from(kept && in_fraction) - i32::from(!kept && !in_fraction))?;
    }
    decimal(if negative { -mantissa } else { mantissa }, scale.checked_sub(exponent)?)
}

/// Room for a number's text.
#[derive(Default)]
struct Scratch {
    bytes: [u8; 32],
    length: usize,
}

impl Scratch {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        let cases = [
            ("0", Some("0")),
            ("-0.0", Some("0")),
            ("19.90", Some("19.90")),
            ("-1.5e3", Some("-1500")),
            ("1e-3", Some("0.001")),
            ("1E+2", Some("100")),
            ("79228162514264337593543950335", Some("79228162514264337593543950335")),
            ("79228162514264337593543950336", None),
            ("0.12345678901234567890123456785", Some("0.1234567890123456789012345678")),
            ("0.00000000000000000000000000000000000000000001", Some("0")),
            ("1e400", None),
            ("1e-2147483648", None),
            ("1e99999999999", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("1 ", None),
            ("0x10", None),
            ("NaN", None),
        ];
        for (text, expected) in cases {
            assert_eq!(from_text(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn binary_fractions_are_the_shortest_decimal() {
        let cases = [(0.1, Some("0.1")), (-2.5, Some("-2.5")), (1e15, Some("1000000000000000")), (f64::NAN, None)];
        for (number, expected) in cases {
            assert_eq!(from_double(number), expected.map(|text| text.parse().unwrap()), "{number}");
        }
        assert_eq!(from_double(f64::INFINITY), None);
        assert_eq!(from_double(f64::MAX), None);
        assert_eq!(from_double(5.551_115_123_125_783e-17), from_text("0.0000000000000000555111512313"));
        assert_eq!(from_float(0.1), from_text("0.1"));
    }

    #[test]
    fn unscaled_integers_of_any_length() {
        let cases: [(&[u8], u32, Option<&str>); 9] = [
            (&[], 2, Some("0")),
            (&[0x7f], 0, Some("127")),
            (&[0x80], 1, Some("-12.8")),
            (&[0x00, 0xff], 0, Some("255")),
            (&[0xff; 20], 0, Some("-1")),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 0, Some("5")),
            (&[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, None),
            (&[0x7f; 16], 0, None),
            (&[1], 40, Some("0")),
        ];
        for (bytes, scale, expected) in cases {
            assert_eq!(from_unscaled(bytes, scale), expected.map(|text| text.parse().unwrap()), "{bytes:?}");
        }
    }
}
