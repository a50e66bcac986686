//! Durations, instants and numbers as text: read once here, for expressions, YAML tests and command-line flags alike.

use jiff::civil;
use rust_decimal::Decimal;

use super::ast::InstantLiteral;

/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

/// The units of a duration with their milliseconds, the largest first.
const UNITS: &[(char, i64)] = &[('w', 7 * DAY_MS), ('d', DAY_MS), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];

/// Why a text is not the literal it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LiteralError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl LiteralError {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

/// Reads a duration such as `90s`, `1h30m` or `30d`, without a sign, into milliseconds.
pub fn parse_duration(text: &str) -> Result<i64, LiteralError> {
    let shape = || {
        LiteralError::new(
            format!("`{text}` is not a duration"),
            duration_slip(text).unwrap_or_else(|| "write whole numbers with s, m, h, d or w, such as `1h30m`".into()),
        )
    };
    let mut rest = text;
    let mut total_ms: i64 = 0;
    loop {
        let digits = leading_digits(rest);
        let (amount, after) = rest.split_at(digits);
        let mut characters = after.chars();
        let unit = characters.next().map(|c| c.to_ascii_lowercase());
        let unit_ms = UNITS.iter().find(|(letter, _)| Some(*letter) == unit).map(|(_, ms)| *ms);
        let (false, Some(unit_ms)) = (amount.is_empty(), unit_ms) else {
            return Err(shape());
        };
        rest = characters.as_str();
        if !rest.is_empty() && leading_digits(rest) == 0 {
            return Err(shape());
        }
        total_ms = amount
            .parse::<i64>()
            .ok()
            .and_then(|amount| amount.checked_mul(unit_ms))
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or_else(|| {
                LiteralError::new(
                    format!("`{text}` is too long a duration"),
                    format!("the longest is about 292 million years, `{}d`", i64::MAX / DAY_MS),
                )
            })?;
        if rest.is_empty() {
            return Ok(total_ms);
        }
    }
}

/// Whether the text has the shape of a duration, be it too long a one.
pub(super) fn is_duration_like(text: &str) -> bool {
    let unit = |c: char| UNITS.iter().any(|(letter, _)| *letter == c.to_ascii_lowercase());
    let pairs = text.chars().zip(text.chars().skip(1));
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(unit)
        && text.chars().all(|c| c.is_ascii_digit() || unit(c))
        && pairs.into_iter().all(|(a, b)| a.is_ascii_digit() || b.is_ascii_digit())
}

/// The canonical text of a duration: days, hours, minutes, seconds; `0s` for none.
#[must_use]
pub fn duration_text(duration_ms: i64) -> String {
    let mut text = String::new();
    if duration_ms < 0 {
        text.push('-');
    }
    let mut rest = duration_ms.unsigned_abs();
    for (letter, unit_ms) in UNITS.iter().skip(1) {
        let unit_ms = unit_ms.unsigned_abs();
        if rest >= unit_ms {
            text.push_str(&(rest / unit_ms).to_string());
            text.push(*letter);
            rest %= unit_ms;
        }
    }
    if rest > 0 {
        // Not something the language can write, but two durations must never print alike.
        text.push_str(&rest.to_string());
        text.push_str("ms");
    }
    if duration_ms == 0 {
        text.push_str("0s");
    }
    text
}

/// What was probably meant by a text that is almost a duration: `30days`, `1.5h`, `2 months`.
pub(super) fn duration_slip(text: &str) -> Option<String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, word) = text.split_at(split);
    let amount: Decimal = amount.parse().ok()?;
    let (unit_ms, about) = unit_of_word(word.trim())?;
    let duration_ms = i64::try_from(amount.checked_mul(Decimal::from(unit_ms))?).ok()?;
    if duration_ms % 1_000 != 0 {
        return Some("write whole seconds, minutes, hours or days, such as `90s`".to_owned());
    }
    let written = duration_text(duration_ms);
    Some(if about {
        format!("months and years differ in length: write days, such as `{written}`")
    } else {
        format!("write `{written}`")
    })
}

/// The milliseconds of a unit as people spell it, and whether they are only about right.
pub(super) fn unit_of_word(word: &str) -> Option<(i64, bool)> {
    let (letter, about) = match word.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => ('s', false),
        "m" | "min" | "mins" | "minute" | "minutes" => ('m', false),
        "h" | "hr" | "hrs" | "hour" | "hours" => ('h', false),
        "d" | "day" | "days" => ('d', false),
        "w" | "week" | "weeks" => ('w', false),
        "mo" | "month" | "months" => return Some((30 * DAY_MS, true)),
        "y" | "yr" | "yrs" | "year" | "years" => return Some((365 * DAY_MS, true)),
        _ => return None,
    };
    UNITS.iter().find(|(unit, _)| *unit == letter).map(|(_, ms)| (*ms, about))
}

/// Reads an instant: a bare date, or RFC 3339 with seconds and an offset. A fraction of a millisecond is cut off.
pub fn parse_instant(text: &str) -> Result<InstantLiteral, LiteralError> {
    match scan_instant(text) {
        Some((outcome, length)) if length == text.len() => outcome,
        _ => Err(LiteralError::new(format!("`{text}` is not an instant"), INSTANT_HELP)),
    }
}

const INSTANT_HELP: &str = "write a date such as `2026-03-01`, or RFC 3339 such as `2026-03-01T10:00:00Z`";

/// The instant at the start of the text and its length in bytes; `None` if the text does not start like a date.
pub(super) fn scan_instant(text: &str) -> Option<(Result<InstantLiteral, LiteralError>, usize)> {
    let mut scan = Scan { rest: text };
    let year = scan.digits(4)?;
    scan.one("-")?;
    let month = scan.digits(2)?;
    scan.one("-")?;
    let day = scan.digits(2)?;
    if leading_digits(scan.rest) > 0 {
        return None;
    }
    let date = civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let timed = scan.rest.starts_with(['T', 't']);
    let time = if timed { scan.time() } else { None };
    let follows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let ill_formed = timed && time.is_none() || scan.rest.starts_with(follows);
    if ill_formed {
        let tail = scan.rest.find(|c: char| !follows(c) && c != '.').unwrap_or(scan.rest.len());
        let length = text.len() - scan.rest.len() + tail;
        let written = text.get(..length).unwrap_or(text);
        let help = if timed { "write seconds and an offset too, such as `2026-03-01T10:00:00Z`" } else { INSTANT_HELP };
        return Some((Err(LiteralError::new(format!("`{written}` is not an instant"), help)), length));
    }
    let length = text.len() - scan.rest.len();
    let written = text.get(..length).unwrap_or(text);
    let Ok(date) = date else {
        let help = "the month is 01 to 12, and the day one that the month has";
        return Some((Err(LiteralError::new(format!("there is no day `{written}`"), help)), length));
    };
    let instant = match time {
        None => Ok(InstantLiteral::Date(date)),
        Some(time) => time.on(date).map(InstantLiteral::Exact).ok_or_else(|| {
            LiteralError::new(
                format!("there is no instant `{written}`"),
                "the time is 00:00:00 to 23:59:59, the offset up to 23:59, and the year 0000 to 9999",
            )
        }),
    };
    Some((instant, length))
}

/// The canonical text of an instant.
#[must_use]
pub fn instant_text(instant: InstantLiteral) -> String {
    match instant {
        InstantLiteral::Date(date) => date.to_string(),
        InstantLiteral::Exact(epoch_ms) => civil::date(1970, 1, 1)
            .at(0, 0, 0, 0)
            .checked_add(jiff::SignedDuration::from_millis(epoch_ms))
            .map_or_else(|_| format!("{epoch_ms}ms"), |at| format!("{at}Z")),
    }
}

/// Reads digits with an optional fraction, exactly or not at all.
pub(super) fn parse_number(text: &str) -> Result<Decimal, LiteralError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    Decimal::from_str_exact(&format!("0{whole}.{fraction}0")).or_else(|_| {
        let exact = if fraction.is_empty() { format!("0{whole}") } else { format!("0{whole}.{fraction}") };
        Decimal::from_str_exact(&exact).map_err(|_| {
            LiteralError::new(format!("`{text}` has too many digits"), "at most 28 digits are kept exactly")
        })
    })
}

pub(super) fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// A time of day with its offset, as written.
struct Time {
    hour: i16,
    minute: i16,
    second: i16,
    fraction_ms: i64,
    offset_minutes: i64,
}

impl Time {
    /// Epoch milliseconds of this time on that date, if both it and the date are on the calendar.
    fn on(&self, date: civil::Date) -> Option<i64> {
        // RFC 3339 writes a leap second as 60; there is none here, so it is the last second before it.
        let second = if self.second == 60 { 59 } else { self.second };
        let small = |part: i16| i8::try_from(part).ok();
        let time = civil::Time::new(small(self.hour)?, small(self.minute)?, small(second)?, 0).ok()?;
        let at = date.to_datetime(time);
        let since_epoch = at.duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0));
        let epoch_ms = i64::try_from(since_epoch.as_millis()).ok()? + self.fraction_ms - self.offset_minutes * 60_000;
        let years = civil::date(0, 1, 1).at(0, 0, 0, 0)..=civil::date(9999, 12, 31).at(23, 59, 59, 999_999_999);
        let utc = at.checked_add(jiff::SignedDuration::from_mins(-self.offset_minutes)).ok()?;
        years.contains(&utc).then_some(epoch_ms)
    }
}

/// A text that is read from the left.
struct Scan<'t> {
    rest: &'t str,
}

impl Scan<'_> {
    fn digits(&mut self, count: usize) -> Option<i16> {
        let digits = self.rest.get(..count)?;
        if leading_digits(digits) != count {
            return None;
        }
        self.rest = self.rest.get(count..)?;
        digits.parse().ok()
    }

    fn one(&mut self, of: &str) -> Option<char> {
        let first = self.rest.chars().next().filter(|c| of.contains(*c))?;
        self.rest = self.rest.get(first.len_utf8()..)?;
        Some(first)
    }

    fn time(&mut self) -> Option<Time> {
        self.one("Tt")?;
        let hour = self.digits(2)?;
        self.one(":")?;
        let minute = self.digits(2)?;
        self.one(":")?;
        let second = self.digits(2)?;
        let mut fraction_ms = 0;
        if self.one(".").is_some() {
            let length = leading_digits(self.rest);
            let digits = self.rest.get(..length).filter(|digits| !digits.is_empty())?;
            fraction_ms = format!("{digits:0<3}").get(..3)?.parse().ok()?;
            self.rest = self.rest.get(length..)?;
        }
        let offset_minutes = match self.one("Zz+-")? {
            'Z' | 'z' => 0,
            sign => {
                let hours = self.digits(2)?;
                self.one(":")?;
                let minutes = self.digits(2)?;
                // Out of range is said to be so by making the hour impossible.
                if hours > 23 || minutes > 59 {
                    return Some(Time { hour: 24, minute, second, fraction_ms, offset_minutes: 0 });
                }
                let minutes = i64::from(hours) * 60 + i64::from(minutes);
                if sign == '-' { -minutes } else { minutes }
            }
        };
        Some(Time { hour, minute, second, fraction_ms, offset_minutes })
    }
}
