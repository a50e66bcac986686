//! Records as JSON objects, in the shape the replay tool reads. Every known field is checked, wanted or not, so that
//! what is accepted does not depend on the definitions in force.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::DecodeError;
use super::avro::compile::{of_field, of_items};
use super::avro::leaf::uuid_text;
use super::avro::shape::{Shape, ShapeId, Shapes};
use super::fill::{Buffers, Filling};
use super::number;
use super::schema::SchemaSet;
use super::wanted::{Goal, Layout, Place, View, Want};
use crate::engine::catalog::{Catalog, EventTypeId};
use crate::engine::effects::Refusal;
use crate::engine::projection::Projection;
use crate::engine::record::Record;
use crate::engine::value::Value;

/// Why a JSON text is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    NotAnObject(String),
    /// No `type`.
    #[error("the field `type` is missing or not a text")]
    NoType,
    /// A `type` that no schema describes.
    #[error("there is no record type `{0}`")]
    UnknownType(String),
    /// A field of another type than its schema says.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// The field, as a dotted path.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A number or an instant that the engine does not reckon with.
    #[error("`{field}` is outside the supported range")]
    OutOfRange {
        /// The field, as a dotted path.
        field: String,
    },
    /// A control record lacks what it is for.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// As in any other format.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl JsonError {
    /// The reason given when the record is refused.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::UnknownType(_) => Refusal::UnknownSchema,
            Self::Decode(error) => error.refusal(),
            _ => Refusal::Undecodable,
        }
    }
}

/// Reads JSON records of every type.
#[derive(Debug, Clone)]
pub struct JsonDecoder {
    types: HashMap<String, RecordType>,
    buffers: Buffers,
}

#[derive(Debug, Clone)]
struct RecordType {
    event_type: EventTypeId,
    layout: Layout,
    node: Node,
    /// Fields that a control record cannot be without.
    required: &'static [&'static str],
}

impl JsonDecoder {
    /// A decoder of the records of `schemas` that extracts what the catalog wants of each.
    #[must_use]
    pub fn new(schemas: &SchemaSet, catalog: &Catalog) -> Self {
        let mut types = HashMap::new();
        let nothing = Projection::default();
        for record in schemas.records() {
            let event_type = catalog.event_type_ids.get(&record.name).copied();
            let known = event_type.and_then(|id| catalog.event_types.get(id.index()));
            let projection = known.map_or(&nothing, |known| &known.projection);
            let (want, layout) = Want::new(record.kind, projection);
            let node = Node::new(&record.shapes, record.shapes.root(), &[View::of(&want)], &mut Vec::new());
            let required: &[_] = match record.name.as_str() {
                "profile" => &["traits"],
                "consent" => &["purpose", "granted"],
                _ => &[],
            };
            let event_type = event_type.unwrap_or_default();
            types.insert(record.name.clone(), RecordType { event_type, layout, node, required });
        }
        Self { types, buffers: Buffers::default() }
    }

    /// Decodes one object into a record whose buffers are used again. After an error the record holds nothing of use.
    pub fn decode_into(&mut self, text: &[u8], record: &mut Record) -> Result<(), JsonError> {
        let json: Json = serde_json::from_slice(text).map_err(|error| JsonError::NotAnObject(error.to_string()))?;
        self.decode_value_into(&json, record)
    }

    /// The same of an object that is parsed already.
    pub fn decode_value_into(&mut self, json: &Json, record: &mut Record) -> Result<(), JsonError> {
        let Json::Object(fields) = json else { return Err(JsonError::NotAnObject("it is another value".to_owned())) };
        let Some(Json::String(name)) = fields.get("type") else { return Err(JsonError::NoType) };
        let Some(known) = self.types.get(name) else { return Err(JsonError::UnknownType(name.clone())) };
        let missing = known.required.iter().find(|field| fields.get(**field).is_none_or(Json::is_null));
        if let Some(field) = missing {
            return Err(JsonError::Missing(field));
        }
        let mut filling = Filling::begin(&known.layout, known.event_type, &mut self.buffers, record);
        known.node.read(json, &mut filling)?;
        Ok(filling.finish()?)
    }
}

/// What a JSON value must be, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    kind: Kind,
    goals: Box<[Goal]>,
}

#[derive(Debug, Clone)]
enum Kind {
    Bool,
    /// A decimal may also be text.
    Number {
        decimal: bool,
    },
    Text,
    Instant,
    Array {
        opens: Box<[usize]>,
        items: Box<Node>,
    },
    Record {
        begins: Box<[usize]>,
        fields: HashMap<String, Node>,
    },
    Traits,
    /// Of no use to definitions, so anything goes.
    Any,
}

impl Node {
    /// What a value with this schema must be. `within` holds the records around it.
    fn new(shapes: &Shapes, id: ShapeId, views: &[View<'_>], within: &mut Vec<ShapeId>) -> Self {
        let goals = views.iter().flat_map(View::goals).collect();
        let Some(known) = shapes.known(id) else { return Self { kind: Kind::Any, goals } };
        let kind = match shapes.get(known) {
            Shape::Boolean => Kind::Bool,
            Shape::Int | Shape::Long | Shape::Float | Shape::Double => Kind::Number { decimal: false },
            Shape::Decimal { .. } => Kind::Number { decimal: true },
            Shape::String | Shape::Enum { .. } | Shape::Fixed { uuid: true, .. } => Kind::Text,
            Shape::Date | Shape::Timestamp(_) => Kind::Instant,
            Shape::Array(items) => {
                let (opens, inside) = of_items(shapes, *items, views);
                Kind::Array { opens, items: Box::new(Self::new(shapes, *items, &inside, within)) }
            }
            Shape::Record(record) if !within.contains(&known) => {
                within.push(known);
                let field = |field: &super::avro::shape::FieldShape| {
                    let views = of_field(views, &field.name);
                    (field.name.clone(), Self::new(shapes, field.shape, &views, within))
                };
                let fields = record.fields.iter().map(field).collect();
                within.pop();
                Kind::Record { begins: views.iter().filter_map(|view| view.begins).collect(), fields }
            }
            Shape::Map(_) if views.iter().any(View::is_traits) => Kind::Traits,
            _ => Kind::Any,
        };
        Self { kind, goals }
    }

    /// How to read the default of a field, and the default in the form that is read here.
    pub(crate) fn of_default(shapes: &Shapes, id: ShapeId, views: &[View<'_>], default: &Json) -> (Self, Json) {
        (Self::new(shapes, id, views, &mut Vec::new()), plain_default(shapes, id, default))
    }

    /// Reads a value; null is the same as none.
    pub(crate) fn read(&self, json: &Json, filling: &mut Filling<'_>) -> Result<(), JsonError> {
        let value = match (&self.kind, json) {
            (_, Json::Null) | (Kind::Any, _) => return Ok(()),
            (Kind::Bool, Json::Bool(truth)) => Some(Value::Bool(*truth)),
            (Kind::Number { .. }, Json::Number(number)) => number::from_text(number.as_str()).map(Value::Number),
            (Kind::Number { decimal: true }, Json::String(text)) => {
                let number = number::from_text(text).ok_or_else(|| wrong(self.expected()))?;
                Some(Value::Number(number))
            }
            (Kind::Text, Json::String(text)) => Some(Value::text(text)),
            (Kind::Instant, Json::String(text)) => match instant_of_text(text) {
                None if !self.is_occurred_at() => return Err(wrong(self.expected())),
                instant => instant.map(Value::Instant),
            },
            (Kind::Instant, Json::Number(number)) => instant_of_number(number.as_str()).map(Value::Instant),
            (Kind::Array { opens, items }, Json::Array(values)) => {
                filling.open(opens);
                return values.iter().try_for_each(|value| items.read(value, filling));
            }
            (Kind::Record { begins, fields }, Json::Object(values)) => {
                begins.iter().for_each(|array| filling.begin_element(*array));
                for (name, value) in values {
                    if let Some(node) = fields.get(name) {
                        node.read(value, filling).map_err(|error| within(name, error))?;
                    }
                }
                begins.iter().for_each(|array| filling.end_element(*array));
                return Ok(());
            }
            (Kind::Traits, Json::Object(values)) => {
                let read = |(name, value): (&String, &Json)| {
                    filling.begin_trait(name);
                    read_trait(value, filling).map_err(|error| within(name, error))
                };
                return values.iter().try_for_each(read);
            }
            _ => return Err(wrong(self.expected())),
        };
        let is_fit = value.is_some();
        match filling.put(&self.goals, value) {
            Err(DecodeError::DoesNotFit) if !is_fit => Err(JsonError::OutOfRange { field: String::new() }),
            put => Ok(put?),
        }
    }

    fn is_occurred_at(&self) -> bool {
        self.goals.iter().any(|goal| goal.place == Place::OccurredAt)
    }

    fn expected(&self) -> &'static str {
        match &self.kind {
            Kind::Bool => "true or false",
            Kind::Number { decimal: false } => "a number",
            Kind::Number { decimal: true } => "a number, or text that holds one",
            Kind::Text => "text",
            Kind::Instant => "an instant: RFC 3339 text or epoch milliseconds",
            Kind::Array { .. } => "a list",
            Kind::Record { .. } | Kind::Traits => "an object",
            Kind::Any => "anything",
        }
    }
}

fn read_trait(json: &Json, filling: &mut Filling<'_>) -> Result<(), JsonError> {
    let value = match json {
        Json::Null => return Ok(()),
        Json::Bool(truth) => Some(Value::Bool(*truth)),
        Json::Number(number) => number::from_text(number.as_str()).map(Value::Number),
        Json::String(text) => Some(Value::text(text)),
        Json::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(Value::text)).collect();
            Some(Value::List(texts.ok_or_else(|| wrong("a list of text"))?.into()))
        }
        Json::Object(_) => return Err(wrong("true or false, a number, text, a list of text or null")),
    };
    Ok(filling.put(&[Goal { place: Place::Trait, list: None }], value)?)
}

fn wrong(expected: &'static str) -> JsonError {
    JsonError::WrongType { field: String::new(), expected }
}

/// The error, with the field it is in in front of its path.
fn within(name: &str, error: JsonError) -> JsonError {
    let path = |field: String| if field.is_empty() { name.to_owned() } else { format!("{name}.{field}") };
    match error {
        JsonError::WrongType { field, expected } => JsonError::WrongType { field: path(field), expected },
        JsonError::OutOfRange { field } => JsonError::OutOfRange { field: path(field) },
        other => other,
    }
}

/// RFC 3339 text, or a bare date as its midnight in UTC; fractions of a millisecond are dropped.
fn instant_of_text(text: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        let instant_ms = timestamp.as_nanosecond().div_euclid(1_000_000);
        return number::instant(i64::try_from(instant_ms).ok()?);
    }
    let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-01-01".len())?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    number::instant(midnight.timestamp().as_millisecond())
}

fn instant_of_number(text: &str) -> Option<i64> {
    number::instant(number::from_text(text)?.floor().try_into().ok()?)
}

/// Bytes as Avro's JSON has them: a character for each.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// A default as Avro's JSON has it (decimals as the characters of their bytes, dates as days) in the form read here.
fn plain_default(shapes: &Shapes, id: ShapeId, default: &Json) -> Json {
    let Some(known) = shapes.known(id) else { return default.clone() };
    match (shapes.get(known), default) {
        (Shape::Decimal { scale, .. }, Json::String(text)) => {
            let number = bytes_of(text).and_then(|bytes| number::from_unscaled(&bytes, *scale));
            number.map_or(Json::Null, |number| Json::String(number.to_string()))
        }
        (Shape::Fixed { uuid: true, .. }, Json::String(text)) => {
            let bytes = bytes_of(text).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            bytes.map_or(Json::Null, |bytes| Json::String(uuid_text(&bytes).into()))
        }
        (Shape::Date, Json::Number(days)) => days.as_i64().and_then(number::midnight).into(),
        (Shape::Timestamp(unit), Json::Number(count)) => {
            count.as_i64().map(|count| count.div_euclid(unit.per_ms())).into()
        }
        (Shape::Array(items), Json::Array(values)) => {
            values.iter().map(|value| plain_default(shapes, *items, value)).collect()
        }
        (Shape::Record(record), Json::Object(values)) => {
            let given = |field: &super::avro::shape::FieldShape| {
                let value = values.get(&field.name).or(field.default.as_ref())?;
                Some((field.name.clone(), plain_default(shapes, field.shape, value)))
            };
            record.fields.iter().filter_map(given).collect()
        }
        _ => default.clone(),
    }
}

#[cfg(test)]
mod tests;
