//! Dates in a time zone: midnights, calendar periods, ages and anniversaries, spelled out.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use segue::definition::ast::CalendarUnit;

/// The first instant of a date.
pub(crate) fn midnight_ms(date: Date, zone: &TimeZone) -> i64 {
    civil_ms(date.at(0, 0, 0, 0), zone)
}

/// The instant of a date and time of day; in a gap the first one after it, of two the first.
fn civil_ms(civil: DateTime, zone: &TimeZone) -> i64 {
    zone.to_ambiguous_zoned(civil).compatible().expect("a date within range").timestamp().as_millisecond()
}

/// The date and time of day at an instant.
fn civil_at(at_ms: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(Timestamp::from_millisecond(at_ms).expect("an instant within range"))
}

/// The first date of the period that holds the instant.
fn first_date(unit: CalendarUnit, at_ms: i64, zone: &TimeZone) -> Date {
    let date = civil_at(at_ms, zone).date();
    match unit {
        CalendarUnit::Day => date,
        CalendarUnit::Week => date - i64::from(date.weekday().to_monday_zero_offset()).days(),
        CalendarUnit::Month => date.first_of_month(),
        CalendarUnit::Year => date.first_of_year(),
    }
}

/// The start of the period that holds the instant.
pub(crate) fn period_start_ms(unit: CalendarUnit, at_ms: i64, zone: &TimeZone) -> i64 {
    midnight_ms(first_date(unit, at_ms, zone), zone)
}

/// The start of the period after the one that holds the instant.
pub(crate) fn next_period_ms(unit: CalendarUnit, at_ms: i64, zone: &TimeZone) -> i64 {
    let first = first_date(unit, at_ms, zone);
    let next = match unit {
        CalendarUnit::Day => first + 1.day(),
        CalendarUnit::Week => first + 7.days(),
        CalendarUnit::Month => first + 1.month(),
        CalendarUnit::Year => first + 1.year(),
    };
    midnight_ms(next, zone)
}

/// The same date in another year; 29 February is 1 March in years without one.
fn date_in_year(date: Date, year: i16) -> Date {
    Date::new(year, date.month(), date.day()).unwrap_or_else(|_| Date::new(year, 3, 1).expect("1 March is a date"))
}

/// Whole years from an instant to `now`, cut off towards zero.
pub(crate) fn age_years(from_ms: i64, now_ms: i64, zone: &TimeZone) -> i64 {
    let from = civil_at(from_ms, zone);
    let returns = |years: i16| civil_ms(date_in_year(from.date(), from.year() + years).to_datetime(from.time()), zone);
    let apart = civil_at(now_ms, zone).year() - from.year();
    if now_ms >= from_ms {
        let years = (apart - 1..=apart + 1).rev().find(|years| *years <= 0 || returns(*years) <= now_ms);
        i64::from(years.unwrap_or(0).max(0))
    } else {
        let years = (apart - 1..=apart + 1).find(|years| *years >= 0 || returns(*years) >= now_ms);
        i64::from(years.unwrap_or(0).min(0))
    }
}

/// Where an instant stands to the yearly returns of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anniversary {
    /// The date returns on the very day.
    Today,
    /// The next return's midnight.
    Next(i64),
}

/// The next yearly return of the date of `of_ms`, seen from `now_ms`.
pub(crate) fn anniversary(of_ms: i64, now_ms: i64, zone: &TimeZone) -> Anniversary {
    let of = civil_at(of_ms, zone).date();
    let today = civil_at(now_ms, zone).date();
    let next = (0..=1)
        .map(|years| date_in_year(of, today.year() + years))
        .find(|date| *date >= today)
        .expect("next year's is not before today");
    if next == today { Anniversary::Today } else { Anniversary::Next(midnight_ms(next, zone)) }
}

/// The date of an instant, as its midnight: equal for two instants of one day.
pub(crate) fn day_ms(at_ms: i64, zone: &TimeZone) -> i64 {
    period_start_ms(CalendarUnit::Day, at_ms, zone)
}

/// Text as an instant literal: a date or RFC 3339.
pub(crate) fn parse_instant(text: &str, zone: &TimeZone) -> Option<i64> {
    if text.len() == 10 {
        return text.parse::<Date>().ok().map(|date| midnight_ms(date, zone));
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}
