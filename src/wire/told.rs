//! Changes read back: whatever their form, the object that [`write_json`](super::change::write_json) writes.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use serde_json::{Map, Value, json};

use super::canonical::fingerprints;
use super::framing::{Frame, frame};
use super::text::instant_text;
use super::writer::parse_writer;

/// The change record as this version writes it.
pub const CHANGE_SCHEMA: &str = include_str!("../../schemas/segment_change.avsc");

/// A change record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// The registry has its schema: [`ChangeReader::learn`] it and read again.
    #[error("its schema has the id {0} in the registry")]
    NeedsSchema(u32),
    /// It was written by a version whose schema is not this one's, and there is no registry to ask.
    #[error("it was written with another schema than this version's, and names no registry to ask for it")]
    OtherVersion,
    /// It is no change record.
    #[error("it is no change record: {0}")]
    Unreadable(String),
}

/// Reads change records of every form that segue writes, or wrote.
#[derive(Debug)]
pub struct ChangeReader {
    ours: Schema,
    /// As this version writes it, and as the first ones did.
    ours_fingerprints: [[u8; 8]; 3],
    /// By their ids in the registry; `None` for what is ours as well.
    writers: HashMap<u32, Option<Schema>>,
}

impl ChangeReader {
    /// A reader that knows this version's schema.
    ///
    /// # Errors
    /// When the schema it comes with is not one: a mistake in the program.
    pub fn new() -> Result<Self, ToldError> {
        let ours = parse_writer(CHANGE_SCHEMA, &[]).map_err(ToldError::Unreadable)?;
        let ours_fingerprints = fingerprints(&ours);
        Ok(Self { ours, ours_fingerprints, writers: HashMap::new() })
    }

    /// Takes in the schema that the registry has under an id.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn learn(&mut self, id: u32, schema: &str, references: &[String]) -> Result<(), ToldError> {
        let writer = parse_writer(schema, references).map_err(ToldError::Unreadable)?;
        self.writers.insert(id, Some(writer).filter(|writer| *writer != self.ours));
        Ok(())
    }

    /// The change that a record's value holds.
    ///
    /// # Errors
    /// When it holds none, or when its schema has to be learnt first.
    pub fn read(&self, value: &[u8]) -> Result<Map<String, Value>, ToldError> {
        let unreadable = |error: &dyn std::fmt::Display| ToldError::Unreadable(error.to_string());
        let (writer, mut body) = match frame(value).map_err(|error| unreadable(&error))? {
            Frame::Json(text) => return serde_json::from_slice(text).map_err(|error| unreadable(&error)),
            Frame::SingleObject { fingerprint, body } if self.ours_fingerprints.contains(&fingerprint) => (&None, body),
            Frame::SingleObject { .. } => return Err(ToldError::OtherVersion),
            Frame::Registry { schema_id, body } => {
                (self.writers.get(&schema_id).ok_or(ToldError::NeedsSchema(schema_id))?, body)
            }
        };
        let reader = match writer {
            None => GenericDatumReader::builder(&self.ours).build(),
            Some(writer) => GenericDatumReader::builder(writer).reader_schema(&self.ours).build(),
        };
        let datum = reader.and_then(|reader| reader.read_value(&mut body));
        match datum.map_err(|error| unreadable(&error))? {
            Avro::Record(fields) => Ok(object(fields)),
            _ => Err(unreadable(&"it is not a record")),
        }
    }
}

/// The fields of a record but those that are null, as `write_json` has them.
fn object(fields: Vec<(String, Avro)>) -> Map<String, Value> {
    let fields = fields.into_iter().map(|(name, value)| (name, json_of(value)));
    fields.filter(|(_, value)| !value.is_null()).collect()
}

/// The same as JSON, instants as text.
fn json_of(value: Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(truth) => json!(truth),
        Avro::Int(number) => json!(number),
        Avro::Long(number) => json!(number),
        Avro::Float(number) => json!(number),
        Avro::Double(number) => json!(number),
        Avro::String(text) | Avro::Enum(_, text) => json!(text),
        Avro::TimestampMillis(instant) => json!(instant_text(instant)),
        Avro::Union(_, inner) => json_of(*inner),
        Avro::Array(items) => items.into_iter().map(json_of).collect(),
        Avro::Map(entries) => entries.into_iter().map(|(name, value)| (name, json_of(value))).collect(),
        Avro::Record(fields) => Value::Object(object(fields)),
        // No change record has any of the other types.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::effects::{Cause, Change, Reason};
    use crate::engine::record::Origin;
    use crate::engine::value::Value as Computed;
    use crate::wire::change::{Header, write_avro, write_json};

    fn change() -> Change {
        Change {
            customer_id: "ada".into(),
            segment: "vip".into(),
            entered: true,
            at: 1_767_268_800_005,
            sequence: 2,
            definition: "3a3e3318".into(),
            cause: Cause::Event {
                event_type: "purchase".into(),
                event_id: "p1".into(),
                origin: Origin { topic: "purchases".into(), partition: 3, offset: 9 },
            },
            why: vec![Reason { condition: "did(purchase)".into(), value: Computed::Bool(true) }],
            traits: vec![
                ("favourite".into(), Computed::text("running")),
                ("city".into(), Computed::Unknown),
                ("spent".into(), Computed::Number("12.5".parse().unwrap())),
                ("tags".into(), Computed::List(vec![Computed::text("a"), Computed::text("b")].into())),
            ],
        }
    }

    #[track_caller]
    fn check(header: Header, learn: Option<u32>) -> Result<(), ToldError> {
        let change = change();
        let (mut avro, mut text) = (Vec::new(), Vec::new());
        write_avro(&change, header, &mut avro);
        write_json(&change, &mut text);
        let mut reader = ChangeReader::new()?;
        if let Some(id) = learn {
            reader.learn(id, CHANGE_SCHEMA, &[])?;
        }
        assert_eq!(reader.read(&avro)?, reader.read(&text)?);
        assert_eq!(reader.read(&text)?["at"], "2026-01-01T12:00:00.005Z");
        Ok(())
    }

    #[test]
    fn every_form_of_a_change_reads_as_the_same() {
        for ours in ChangeReader::new().unwrap().ours_fingerprints {
            check(Header::SingleObject(ours), None).unwrap();
        }
        check(Header::Registry(7), Some(7)).unwrap();
    }

    #[test]
    fn what_another_version_wrote_is_read_by_its_schema() {
        let first =
            CHANGE_SCHEMA.replacen("\"fields\": [", "\"fields\": [{\"name\": \"now_gone\", \"type\": \"int\"},", 1);
        let mut bytes = Vec::new();
        write_avro(&change(), Header::Registry(7), &mut bytes);
        bytes.insert(5, 84);
        let mut reader = ChangeReader::new().unwrap();
        reader.learn(7, &first, &[]).unwrap();
        assert_eq!(reader.read(&bytes).unwrap()["customer_id"], "ada");
    }

    #[test]
    fn what_is_no_change_says_so() {
        assert!(matches!(check(Header::Registry(7), Some(8)), Err(ToldError::NeedsSchema(7))));
        assert!(matches!(check(Header::SingleObject([0; 8]), None), Err(ToldError::OtherVersion)));
        let reader = ChangeReader::new().unwrap();
        for bytes in [b"".as_slice(), b"garbage", b"{", b"\0\0"] {
            assert!(matches!(reader.read(bytes), Err(ToldError::Unreadable(_))), "{bytes:?}");
        }
    }
}
