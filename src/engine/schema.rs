//! What definitions may name: the event types, their fields and the fields' types.

use std::collections::BTreeMap;

use super::value::Type;

/// The type of a field as its Avro schema gives it, in the terms of definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// A single value; a union with null is the same type, possibly unknown.
    Scalar(Type),
    /// A record with fields of its own, reached by a dotted path.
    Record(Vec<Field>),
    /// An array. Of scalars: a list. Of records: a list for each path through it, and a source for `each`.
    Array(Box<FieldType>),
    /// Something definitions cannot use (a map, bytes, a union of several types), named as a person would.
    Other(String),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the schema.
    pub name: String,
    /// Its type.
    pub field_type: FieldType,
    /// The schema's documentation of it.
    pub doc: Option<String>,
}

/// An event type: a record schema that starts with the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSchema {
    /// The event type's name, the record's name in its schema (`purchase`).
    pub name: String,
    /// All fields, the envelope's (`event_id`, `customer_id`, `occurred_at`) included.
    pub fields: Vec<Field>,
}

/// The event types that definitions may name, by name. Control records (`profile`, `consent`, `erasure`) are not events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schemas {
    /// Event types by name.
    pub events: BTreeMap<String, EventSchema>,
}
