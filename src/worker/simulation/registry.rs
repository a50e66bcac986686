//! The schema registry as the worker sees it: it knows some ids, answers after a while, and is away at times.

use std::sync::Arc;

use super::rules::Break;
use super::scene::Scene;
use super::schedule::Process;
use crate::kafka::log::Schemas;
use crate::kafka::registry::{Lookup, RegisteredSchema};

/// Ids of clicks as sites write them: these fields and no others.
pub(super) const CLICKS: [u32; 2] = [7, 8];
/// Ids under which nothing can be read: one of a schema that is no click of ours, and one that there is not.
pub(super) const USELESS: [u32; 2] = [MISFIT, 99];
const MISFIT: u32 = 98;
const CLICK: &str = r#"{"type": "record", "name": "click", "namespace": "segue", "fields": [
    {"name": "event_id", "type": "string"}, {"name": "customer_id", "type": "string"},
    {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;

/// What a process knows of the registry.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) scene: Arc<Scene>,
    pub(super) process: Process,
}

impl Schemas for Registry {
    fn schema(&self, id: u32) -> Lookup {
        let now = self.scene.now();
        let answer_ms = self.scene.between(10, 600);
        let mut storm = self.scene.storm();
        let is_away = now < storm.registry_away_until;
        let answered_at = storm.asked.entry((self.process, id)).or_insert(now + answer_ms);
        if *answered_at > now || (is_away && *answered_at != ANSWERED) {
            return match self.scene.broken {
                Some(Break::OutageIsUnknown) => Lookup::Unknown("no answer".into()),
                _ => Lookup::Pending,
            };
        }
        *answered_at = ANSWERED;
        let schema = match id {
            id if CLICKS.contains(&id) => CLICK.to_owned(),
            MISFIT => CLICK.replace(r#"{"type": "long", "logicalType": "timestamp-millis"}"#, r#""boolean""#),
            _ => return Lookup::Unknown("no such schema".into()),
        };
        Lookup::Known(Arc::new(RegisteredSchema { schema, references: Vec::new() }))
    }
}

/// An id of which the answer is there.
const ANSWERED: i64 = i64::MIN;

/// A click as a record of one of these schemas.
pub(super) fn click(id: u32, event_id: &str, customer_id: &str, occurred_at: i64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    for text in [event_id, customer_id] {
        long(i64::try_from(text.len()).unwrap(), &mut bytes);
        bytes.extend(text.as_bytes());
    }
    long(occurred_at, &mut bytes);
    bytes
}

/// A number as Avro has it.
fn long(number: i64, bytes: &mut Vec<u8>) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    while rest > 0x7f {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
}
