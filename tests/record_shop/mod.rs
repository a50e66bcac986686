//! The purchases of the record shop in `examples/cdnow`, for the tests of its replay and of its live run: read from the CSV,
//! in order of time, as rows to compute with and as the events that the engine gets.

#![allow(dead_code, reason = "every test binary compiles this module, and none uses all of it")]
#![allow(unreachable_pub, reason = "a test binary has no users, and `pub` says what this module offers to the tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "data that cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;

/// The last order is of 1998-06-30 and the longest window a year: by then all that can happen has happened.
pub const UNTIL: &str = "2000-01-01T00:00:00Z";

/// One line of the file.
#[derive(Debug, Clone)]
pub struct Purchase {
    /// Its line, from 1, the heading not counted.
    pub number: usize,
    pub customer: String,
    /// Epoch milliseconds: the n-th purchase of a day is n minutes past ten, as in `examples/cdnow/events.py`.
    pub at: i64,
    pub quantity: i64,
    pub cents: i64,
}

impl Purchase {
    /// As the engine gets it.
    pub fn event(&self) -> String {
        let Self { number, customer, at, quantity, cents } = self;
        let at = Timestamp::from_millisecond(*at).unwrap();
        let (dollars, cents) = (cents / 100, cents % 100);
        format!(
            r#"{{"type":"purchase","event_id":"cdnow-{number}","customer_id":"{customer}","occurred_at":"{at}","order_id":"{number}","total":{dollars}.{cents:02},"currency":"USD","items":[{{"product_id":"cd","quantity":{quantity}}}]}}"#
        )
    }
}

/// All purchases in order of time.
pub fn purchases() -> Vec<Purchase> {
    let text = fs::read_to_string(folder().join("cdnow_sample.csv")).unwrap();
    let mut purchases: Vec<Purchase> =
        text.lines().skip(1).enumerate().map(|(index, line)| read(index + 1, line)).collect();
    // Keeps the file's order within a day.
    purchases.sort_by_key(|purchase| purchase.at);
    let (mut day, mut n_of_day) = (0, 0);
    for purchase in &mut purchases {
        n_of_day = if purchase.at == day { n_of_day + 1 } else { 0 };
        day = purchase.at;
        purchase.at += 10 * 60 * MINUTE_MS + n_of_day * MINUTE_MS;
    }
    purchases
}

/// A purchase at the midnight of its day.
fn read(number: usize, line: &str) -> Purchase {
    let mut columns = line.split(',');
    let mut next = || columns.next().expect("four columns");
    let customer = next().to_owned();
    let day: Date = next().parse().unwrap();
    let quantity = next().parse().unwrap();
    let (dollars, cents) = next().split_once('.').expect("dollars and cents");
    assert_eq!(cents.len(), 2, "line {number}");
    let cents = dollars.parse::<i64>().unwrap() * 100 + cents.parse::<i64>().unwrap();
    let at = day.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond();
    Purchase { number, customer, at, quantity, cents }
}

/// The definitions, as (file, text).
pub fn definitions() -> Vec<(String, String)> {
    let path = folder().join("segments/customers.yaml");
    vec![("customers.yaml".to_owned(), fs::read_to_string(path).unwrap())]
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cdnow")
}
