//! What a replay does with records besides changing memberships: what is dropped is counted.

#![allow(clippy::unwrap_used, reason = "what is missing here is what the test found")]

use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::schema::SchemaSet;

const DEFINITIONS: &str = "\
profile:
  - {name: born, type: instant}
  - {name: tags, type: list of text}
  - {name: n, type: number}
segments:
  - {name: aged, when: trait.born is known}
  - {name: tagged, when: trait.tags is known}
  - {name: counted, when: trait.n > 1}
";

#[test]
fn traits_that_are_undeclared_or_misfits_are_dropped_and_counted() {
    let schemas = SchemaSet::shipped().unwrap();
    let files = [("a.yaml".to_owned(), DEFINITIONS.to_owned())];
    let definitions = load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap();
    let mut replay = Replay::new(Arc::new(definitions.catalog), &schemas, Options::default());
    // Traits, how many of them are undeclared, how many are misfits, and the changes they lead to.
    let cases = [
        (r#"{"born":"1990-05-01","tags":["a"],"n":2}"#, 0, 0, "+aged +counted +tagged"),
        (r#"{"shoe":44,"hat":"no","n":2}"#, 2, 0, ""),
        (r#"{"born":642470400000,"tags":"a","n":"2","shoe":[]}"#, 1, 3, "-aged -counted -tagged"),
        (r#"{"born":"1990-05-01T00:00:00Z","tags":[],"n":1.5}"#, 0, 0, "+aged +counted +tagged"),
        (r#"{"born":"soon","tags":null,"n":null,"shoe":null}"#, 1, 1, "-aged -counted -tagged"),
    ];
    for (number, (traits, undeclared, misfit, expected)) in cases.into_iter().enumerate() {
        let line = format!(
            r#"{{"type":"profile","event_id":"e{number}","customer_id":"c","occurred_at":{number},"traits":{traits}}}"#
        );
        replay.offer_json(line.as_bytes(), &Origin::default()).unwrap();
        let counts = replay.partition().take_counts();
        assert_eq!((counts.undeclared_traits, counts.misfit_traits), (undeclared, misfit), "{traits}");
        let changes = replay.take_changes();
        let told = changes.iter().map(|change| format!("{}{}", if change.entered { '+' } else { '-' }, change.segment));
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected, "{traits}");
    }
}
