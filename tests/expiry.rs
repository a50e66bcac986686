//! Many customers who leave at one instant: their flips happen some at a time, and change nothing by that.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::sync::Arc;

use segue::definition::load_texts;
use segue::engine::catalog::TimeZone;
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::testing::{Options, Replay};
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

const DEFINITIONS: &str = "segments:\n  - {name: warm, when: did(click over 1m)}\n";
const N_CUSTOMERS: usize = 500;
const BUDGET: usize = 60;

fn click(id: &str, customer: &str, at: i64) -> Vec<u8> {
    format!("{{\"type\":\"click\",\"event_id\":\"{id}\",\"customer_id\":\"{customer}\",\"occurred_at\":{at}}}")
        .into_bytes()
}

/// A replay in which many customers are in a segment, all of whom leave at 61,000.
fn crowd(schemas: &SchemaSet) -> Replay {
    let files = [("segments.yaml".to_owned(), DEFINITIONS.to_owned())];
    let definitions = load_texts(&files, schemas.schemas(), TimeZone::default().0).unwrap();
    let mut replay = Replay::new(Arc::new(definitions.catalog), schemas, Options::default());
    for number in 0..N_CUSTOMERS {
        replay.offer_json(&click(&format!("e{number}"), &format!("c{number}"), 1_000), &Origin::default()).unwrap();
    }
    replay
}

#[test]
fn a_record_lets_others_leave_first_some_at_a_time() {
    let schemas = SchemaSet::shipped().unwrap();
    let (mut at_once, mut in_turns) = (crowd(&schemas), crowd(&schemas));
    let late = click("late", "c7", 200_000);
    at_once.offer_json(&late, &Origin::default()).unwrap();

    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    JsonDecoder::new(&schemas, in_turns.catalog()).decode_into(&late, &mut record).unwrap();
    let mut changes = in_turns.take_changes();
    let mut n_turns = 0;
    while !in_turns.partition().make_way(&record, None, BUDGET).unwrap() {
        let some = in_turns.take_changes();
        assert!(some.len() <= BUDGET, "{} at once", some.len());
        changes.extend(some);
        n_turns += 1;
    }
    assert!(n_turns >= N_CUSTOMERS / BUDGET, "{n_turns}");
    in_turns.offer_json(&late, &Origin::default()).unwrap();
    changes.extend(in_turns.take_changes());
    assert_eq!(changes, at_once.take_changes());
}

#[test]
fn a_record_that_will_not_count_moves_nothing() {
    let schemas = SchemaSet::shipped().unwrap();
    let mut replay = crowd(&schemas);
    replay.take_changes();
    let clock = replay.partition().clock();
    let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
    let seen = click("e7", "c7", 200_000);
    JsonDecoder::new(&schemas, replay.catalog()).decode_into(&seen, &mut record).unwrap();
    assert!(replay.partition().make_way(&record, None, BUDGET).unwrap());
    assert_eq!((replay.partition().clock(), replay.take_changes()), (clock, Vec::new()));
}
