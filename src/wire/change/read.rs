//! Change records read back, whatever form they were written in, for those who follow the changes.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use serde_json::{Map, Number, Value as Json};

use crate::wire::framing::{Frame, frame};
use crate::wire::text::push_instant;

/// Bytes that are no change record.
#[derive(Debug, thiserror::Error)]
#[error("this is no change record: {0}")]
pub struct NoChange(String);

/// Reads change records into the object that their JSON form is.
#[derive(Debug)]
pub struct ChangeReader {
    schema: Schema,
}

impl ChangeReader {
    /// A reader of records as this program writes them.
    ///
    /// # Errors
    /// When the shipped schema cannot be parsed; a mistake in the program.
    pub fn new() -> Result<Self, NoChange> {
        let text = include_str!("../../../schemas/segment_change.avsc");
        let schema = Schema::parse_str(text).map_err(|error| NoChange(error.to_string()))?;
        Ok(Self { schema })
    }

    /// The change that these bytes hold.
    ///
    /// # Errors
    /// When they hold none.
    pub fn read(&self, bytes: &[u8]) -> Result<Map<String, Json>, NoChange> {
        let body = match frame(bytes).map_err(|error| NoChange(error.to_string()))? {
            Frame::Json(text) => return serde_json::from_slice(text).map_err(|error| NoChange(error.to_string())),
            Frame::Registry { body, .. } | Frame::SingleObject { body, .. } => body,
        };
        let reader = GenericDatumReader::builder(&self.schema).build();
        let mut rest = body;
        let value = reader.and_then(|reader| reader.read_value(&mut rest));
        match value.map_err(|error| NoChange(error.to_string()))? {
            Avro::Record(fields) => Ok(object(fields)),
            _ => Err(NoChange("it is not a record".to_owned())),
        }
    }
}

fn object(fields: Vec<(String, Avro)>) -> Map<String, Json> {
    let told = |(name, value): (String, Avro)| {
        let value = match value {
            // A cause that is no record has none of what records have.
            Avro::Record(fields) => Json::Object(
                object(fields).into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<String, Json>>(),
            ),
            value => json(value),
        };
        (name, value)
    };
    fields.into_iter().map(told).collect()
}

fn json(value: Avro) -> Json {
    match value {
        Avro::Boolean(truth) => Json::Bool(truth),
        Avro::Int(number) => Json::from(number),
        Avro::Long(number) => Json::from(number),
        Avro::Double(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Avro::String(text) | Avro::Enum(_, text) => Json::String(text),
        Avro::TimestampMillis(instant_ms) => {
            let mut text = Vec::new();
            push_instant(&mut text, instant_ms);
            Json::String(String::from_utf8_lossy(&text).into_owned())
        }
        Avro::Union(_, value) => json(*value),
        Avro::Array(items) => items.into_iter().map(json).collect(),
        Avro::Map(entries) => entries.into_iter().map(|(name, value)| (name, json(value))).collect(),
        Avro::Record(fields) => Json::Object(object(fields)),
        _ => Json::Null,
    }
}
