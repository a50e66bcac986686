//! Customers nobody has heard of for the configured time are forgotten, and only they.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load_texts;
use segue::engine::Engine;
use segue::engine::customer::Limits;
use segue::engine::effects::{Cause, Outcome};
use segue::engine::record::{Body, Envelope, Origin, Record};
use segue::partition::{ErasureKey, Partition};
use segue::store::Store;
use segue::store::memory::MemoryStore;
use segue::wire::json::JsonDecoder;
use segue::wire::schema::SchemaSet;

const START: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
/// A while after ten days have passed.
const LATER: i64 = 10 * DAY + DAY / 4;

const DEFINITIONS: &str = "
segments:
  - {name: buyer, when: did(purchase)}
  - {name: lately, when: did(purchase over 1d)}
";

struct Site {
    partition: Partition<MemoryStore>,
    decoder: JsonDecoder,
    record: Record,
}

impl Site {
    fn new(retention_ms: Option<i64>) -> Self {
        let schemas = SchemaSet::shipped().unwrap();
        let files = [("set.yaml".to_owned(), DEFINITIONS.to_owned())];
        let catalog = Arc::new(load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap().catalog);
        let decoder = JsonDecoder::new(&schemas, &catalog);
        let engine = Engine::new(catalog, Limits { retention_ms, grace_ms: 0, ..Limits::default() });
        let partition = Partition::new(engine, MemoryStore::default(), ErasureKey(b"secret".to_vec()), None);
        Self { partition, decoder, record: Record { envelope: Envelope::default(), body: Body::Erasure } }
    }

    fn buys(&mut self, customer: &str, at: i64) -> Outcome {
        let event = format!(
            r#"{{"type":"purchase","event_id":"{at}","customer_id":"{customer}","occurred_at":{at},"total":1}}"#
        );
        self.decoder.decode_into(event.as_bytes(), &mut self.record).unwrap();
        self.partition.offer(&self.record, &Origin::default(), None).unwrap()
    }

    /// Lets time pass and everybody be looked at, some at a time; the changes and the next commit follow.
    fn pass(&mut self, clock: i64) -> Vec<String> {
        self.partition.advance(clock, usize::MAX).unwrap();
        while self.partition.forget_idle(2).unwrap().1 {}
        let changes = self.partition.take_changes();
        self.partition.commit(1.0).unwrap();
        self.partition.save(None).unwrap();
        let told = changes.iter().map(|change| {
            let sign = if change.entered { "+" } else { "-" };
            let cause = if change.cause == Cause::Erasure { " erased" } else { "" };
            format!("{} {} {sign}{}{cause} {}", change.customer_id, change.sequence, change.segment, change.at - START)
        });
        told.collect()
    }
}

#[test]
fn who_is_not_heard_of_is_forgotten_and_may_come_back() {
    let mut site = Site::new(Some(10 * DAY));
    for customer in ["ada", "ben", "cid", "dot", "eve"] {
        site.buys(customer, START);
    }
    site.buys("ben", START + 3 * DAY);
    site.pass(START + 5 * DAY);
    assert_eq!(site.pass(START + 10 * DAY - 1), Vec::<String>::new());
    let left = site.pass(START + LATER);
    let expected = ["ada", "cid", "dot", "eve"].map(|who| format!("{who} 4 -buyer erased {}", 10 * DAY));
    assert_eq!(left, expected);
    assert_eq!(site.partition.customer("ada").unwrap(), None);
    assert!(site.partition.customer("ben").unwrap().is_some());
    // Nothing that names them is left in the store.
    let names = |who: &[u8]| {
        let entries = site.partition.store().scan(None, usize::MAX).unwrap();
        entries
            .iter()
            .any(|(key, value)| [key, value].iter().any(|bytes| bytes.windows(who.len()).any(|part| part == who)))
    };
    assert!(!names(b"ada") && names(b"ben"));

    // What occurred before comes too late; what occurs now is of a new customer, whose changes are counted on.
    assert_eq!(site.buys("ada", START + 10 * DAY - 1), Outcome::Erased);
    assert_eq!(site.buys("ada", START + LATER), Outcome::Processed);
    let again = site.pass(START + LATER);
    assert_eq!(again, [format!("ada 5 +buyer {LATER}"), format!("ada 6 +lately {LATER}")]);
}

#[test]
fn without_a_retention_nobody_is_forgotten() {
    let mut site = Site::new(None);
    site.buys("ada", START);
    site.pass(START + 2 * DAY);
    assert_eq!(site.pass(START + 100_000 * DAY), Vec::<String>::new());
    assert!(site.partition.customer("ada").unwrap().is_some());
}
