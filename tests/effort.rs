//! No definition keeps a customer busy: what cannot be foreseen is looked at now and then, not all the time.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::schema::SchemaSet;

const START: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;

/// A click, then `days` of silence: how many times the customer is looked at.
#[track_caller]
fn check(condition: &str, days: i64, looks_max: u64) {
    let schemas = SchemaSet::shipped().unwrap();
    let files = [("set.yaml".to_owned(), format!("segments: [{{name: s, when: '{condition}'}}]"))];
    let catalog = Arc::new(load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap().catalog);
    let mut replay = Replay::new(catalog, &schemas, Options::default());
    let event = format!(r#"{{"type":"click","event_id":"e","customer_id":"c","occurred_at":{START}}}"#);
    replay.offer_json(event.as_bytes(), &Origin::default()).unwrap();
    replay.advance_past(START + days * DAY).unwrap();
    let looks = replay.partition().take_counts().deadlines;
    assert!(looks <= looks_max, "{condition}: {looks} looks in {days} days");
}

#[test]
fn a_customer_is_looked_at_as_often_as_something_may_change() {
    let hours = "((now - last(click)) / 1h)";
    // Nothing shows that this never holds: the same number, in two forms that are not compared as such.
    check(&format!("{hours} * {hours} - {hours} * {hours} > 0"), 10, 10 * 24 + 1);
    check(&format!("{hours} * {hours} > 100"), 400, 10);
    check(&format!("age(last(click)) * {hours} > 20000"), 4_000, 100);
    check("anniversary(now - 3d) > 400d", 400, 400);
}
