//! Dates in the configured time zone: calendar windows, ages and yearly returns, daylight saving included.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

use super::catalog::CalendarUnit;

/// A calendar period: from `start` up to, not including, `end`; milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub start: i64,
    /// The first instant of the next one.
    pub end: i64,
}

/// The period that holds an instant. Instants beyond the calendar give a period without end.
#[must_use]
pub fn period(unit: CalendarUnit, instant_ms: i64, zone: &TimeZone) -> Period {
    period_of(unit, instant_ms, zone).unwrap_or(Period { start: i64::MIN, end: i64::MAX })
}

fn period_of(unit: CalendarUnit, instant_ms: i64, zone: &TimeZone) -> Option<Period> {
    let date = zoned(instant_ms, zone)?.date();
    let (first, length): (Date, Span) = match unit {
        CalendarUnit::Day => (date, 1.day()),
        CalendarUnit::Week => {
            (date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok()?, 1.week())
        }
        CalendarUnit::Month => (date.first_of_month(), 1.month()),
        CalendarUnit::Year => (date.first_of_year(), 1.year()),
    };
    Some(Period { start: midnight(first, zone)?, end: midnight(first.checked_add(length).ok()?, zone)? })
}

/// The first instant of a date in a zone: midnight, or what the clocks jump to where midnight does not exist.
#[must_use]
pub fn midnight(date: Date, zone: &TimeZone) -> Option<i64> {
    local(date.to_datetime(jiff::civil::Time::midnight()), zone)
}

/// An instant as a local date and time.
fn zoned(instant_ms: i64, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(instant_ms).ok()?.to_zoned(zone.clone()))
}

/// A local date and time as an instant: the earlier of two, the later end of a gap.
fn local(datetime: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_ambiguous_zoned(datetime).compatible().ok()?.timestamp().as_millisecond())
}

/// A date and time `years` later; 29 February becomes 1 March in years without one.
fn years_later(datetime: DateTime, years: i64) -> Option<DateTime> {
    let year = i16::try_from(i64::from(datetime.year()) + years).ok()?;
    let date = Date::new(year, datetime.month(), datetime.day()).or_else(|_| Date::new(year, 3, 1)).ok()?;
    Some(date.to_datetime(datetime.time()))
}

/// Whole years between an instant and now, negative ahead and cut off towards 0, and the next instant at which that
/// number is another one.
#[must_use]
pub fn age(born_ms: i64, now_ms: i64, zone: &TimeZone) -> Option<(i64, i64)> {
    let born = zoned(born_ms, zone)?.datetime();
    let returns = |years: i64| years_later(born, years).and_then(|datetime| local(datetime, zone));
    let mut years = i64::from(zoned(now_ms, zone)?.year()) - i64::from(born.year());
    // The return of `years` may lie ahead still; daylight saving may put it a little off its date.
    while returns(years)? > now_ms {
        years -= 1;
    }
    while returns(years + 1).is_some_and(|next| next <= now_ms) {
        years += 1;
    }
    if years >= 0 {
        return Some((years, returns(years + 1).unwrap_or(i64::MAX)));
    }
    // Ahead: between the returns `years` and `years + 1`, both before birth: cut off towards 0 is `years + 1`, except
    // at the very instant of a return.
    if returns(years)? == now_ms {
        return Some((years, now_ms + 1));
    }
    // The value changes just after the next return where that is still before birth, and not at birth itself.
    let next = returns(years + 1)?;
    Some((years + 1, if years + 1 == 0 { returns(1).unwrap_or(i64::MAX) } else { next.saturating_add(1) }))
}

/// The duration until the next yearly return of an instant's date, 0 for the whole of that day, in milliseconds; and
/// until when it goes on like that: falling with the clock when above 0, staying when 0.
#[must_use]
pub fn anniversary(date_ms: i64, now_ms: i64, zone: &TimeZone) -> Option<(i64, i64)> {
    let date = zoned(date_ms, zone)?.date();
    let today = zoned(now_ms, zone)?.date();
    let this_year = years_later(date.into(), i64::from(today.year()) - i64::from(date.year()))?.date();
    if this_year == today {
        return Some((0, midnight(today.tomorrow().ok()?, zone)?));
    }
    let next = if this_year > today {
        this_year
    } else {
        years_later(date.into(), i64::from(today.year()) + 1 - i64::from(date.year()))?.date()
    };
    let next_ms = midnight(next, zone)?;
    Some((next_ms - now_ms, next_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn check_age(born: &str, now: &str, zone: &str, expected: (i64, &str)) {
        let zone = TimeZone::get(zone).unwrap();
        assert_eq!(age(at(born), at(now), &zone), Some((expected.0, at(expected.1))), "{born} at {now}");
    }

    #[test]
    fn ages_turn_on_the_same_date_and_time() {
        check_age("2000-03-01T10:00:00Z", "2026-03-01T09:59:59.999Z", "UTC", (25, "2026-03-01T10:00:00Z"));
        check_age("2000-03-01T10:00:00Z", "2026-03-01T10:00:00Z", "UTC", (26, "2027-03-01T10:00:00Z"));
        check_age("2004-02-29T00:00:00Z", "2026-02-28T23:00:00Z", "UTC", (21, "2026-03-01T00:00:00Z"));
        check_age("2030-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "UTC", (-3, "2027-01-01T00:00:00.001Z"));
        check_age("2030-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "UTC", (-3, "2027-01-01T00:00:00.001Z"));
        check_age("2030-01-01T00:00:00Z", "2029-06-01T00:00:00Z", "UTC", (0, "2031-01-01T00:00:00Z"));
    }

    #[test]
    fn a_week_with_a_clock_change_is_an_hour_short() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let week = period(CalendarUnit::Week, at("2026-03-27T12:00:00Z"), &zone);
        assert_eq!(week, Period { start: at("2026-03-22T23:00:00Z"), end: at("2026-03-29T22:00:00Z") });
    }

    #[test]
    fn an_anniversary_is_zero_all_day() {
        let zone = TimeZone::UTC;
        let born = at("2004-02-29T15:00:00Z");
        assert_eq!(anniversary(born, at("2026-03-01T23:00:00Z"), &zone), Some((0, at("2026-03-02T00:00:00Z"))));
        assert_eq!(
            anniversary(born, at("2026-02-28T00:00:00Z"), &zone),
            Some((86_400_000, at("2026-03-01T00:00:00Z")))
        );
    }
}
