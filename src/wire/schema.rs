//! The record schemas a site works with: read from `.avsc` files, told apart, and put in the terms of definitions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use apache_avro::Schema;

use super::avro::Decoder;
use super::avro::shape::{FieldShape, RecordShape, Shape, ShapeError, ShapeId, Shapes, TimeUnit};
use super::canonical::{fingerprint, fingerprints};
use crate::engine::catalog::EventTypeId;
use crate::engine::projection::Projection;
use crate::engine::schema::{EventSchema, Field, FieldType, Schemas};
use crate::engine::value::Type;

/// The schemas the engine comes with: file name and content.
pub const SHIPPED: [(&str, &str); 8] = [
    ("cart_abandonment.avsc", include_str!("../../schemas/cart_abandonment.avsc")),
    ("click.avsc", include_str!("../../schemas/click.avsc")),
    ("consent.avsc", include_str!("../../schemas/consent.avsc")),
    ("erasure.avsc", include_str!("../../schemas/erasure.avsc")),
    ("profile.avsc", include_str!("../../schemas/profile.avsc")),
    ("purchase.avsc", include_str!("../../schemas/purchase.avsc")),
    ("segment_change.avsc", include_str!("../../schemas/segment_change.avsc")),
    ("segment_membership.avsc", include_str!("../../schemas/segment_membership.avsc")),
];

/// What a record is to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// An event of a type that definitions may name.
    Event,
    /// A partial update of profile traits.
    Profile,
    /// A consent given or withdrawn.
    Consent,
    /// A customer asks to be forgotten.
    Erasure,
}

/// The schema of a record that may come in: the reader's side of decoding.
#[derive(Debug, Clone)]
pub struct RecordSchema {
    /// The record's name without its namespace: the event type, or `profile`, `consent`, `erasure`.
    pub name: String,
    /// What it is.
    pub kind: RecordKind,
    /// As Avro has it, self-contained: no type is defined elsewhere.
    pub avro: Schema,
    /// Of the schema, as single-object messages carry it.
    pub fingerprint: [u8; 8],
    pub(crate) shapes: Arc<Shapes>,
}

/// All records that may come in.
#[derive(Debug, Clone, Default)]
pub struct SchemaSet {
    records: BTreeMap<String, RecordSchema>,
    /// By fingerprint, versions that producers write with, and the records they are of.
    versions: BTreeMap<[u8; 8], (Schema, String)>,
    schemas: Schemas,
}

/// Where other versions of schemas lie, in a directory of schemas.
const HISTORY: &str = "history";

/// Why a set of schemas cannot be used. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A file or the directory cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not an Avro schema.
    #[error("{file} is not a valid Avro schema: {message}")]
    Invalid {
        /// Which file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// It names a type that cannot be used.
    #[error("{file} cannot be used")]
    Unusable {
        /// Which file.
        file: String,
        /// Why.
        source: ShapeError,
    },
    /// An event or control record without the three fields that every one starts with.
    #[error(
        "{file}: the record `{record}` must start with event_id (string), customer_id (string) and occurred_at \
         (long, timestamp-millis)"
    )]
    NoEnvelope {
        /// Which file.
        file: String,
        /// Which record.
        record: String,
    },
    /// A control record that lacks what it is for.
    #[error("{file}: the record `{record}` must have the field {field}")]
    MissingField {
        /// Which file.
        file: String,
        /// Which record.
        record: String,
        /// Which field, with its type.
        field: &'static str,
    },
    /// Another version of a schema that is no version of any.
    #[error("{file} is no version of a record that is read here: {reason}")]
    NoVersion {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Two files define one record.
    #[error(
        "{file}: the record `{record}` is already defined in another file; other versions of it go into `history/`"
    )]
    Duplicate {
        /// The later file.
        file: String,
        /// Which record.
        record: String,
    },
}

impl SchemaSet {
    /// The schemas the engine comes with.
    pub fn shipped() -> Result<Self, SchemaError> {
        Self::parse(&SHIPPED.map(|(file, text)| (file.to_owned(), text.to_owned())))
    }

    /// All `.avsc` files of a directory, with the versions in its `history`; control records that it lacks are the
    /// shipped ones.
    pub fn load(directory: &Path) -> Result<Self, SchemaError> {
        Self::with_shipped(directory, |record| record.kind != RecordKind::Event)
    }

    /// The shipped schemas and those of a directory, which win where both have a record.
    pub fn shipped_and(directory: &Path) -> Result<Self, SchemaError> {
        Self::with_shipped(directory, |_| true)
    }

    fn with_shipped(directory: &Path, wanted: impl Fn(&RecordSchema) -> bool) -> Result<Self, SchemaError> {
        let mut set = Self::parse(&read_directory(directory)?)?;
        set.add_missing(Self::shipped()?, wanted);
        let history = directory.join(HISTORY);
        if history.is_dir() {
            set.add_versions(&read_directory(&history)?)?;
        }
        Ok(set)
    }

    /// Schemas from file names and contents. Named types may be used across files.
    pub fn parse(files: &[(String, String)]) -> Result<Self, SchemaError> {
        let mut set = Self::default();
        for (file, text) in files {
            let (avro, others) = parse_file(file, text, files)?;
            let shapes =
                Shapes::new(&avro, &others).map_err(|source| SchemaError::Unusable { file: file.clone(), source })?;
            let Some((name, kind)) = classify(file, &shapes)? else { continue };
            let mut avro = avro;
            avro.denormalize(&others).map_err(|error| invalid(file, &error))?;
            let fingerprint = fingerprint(&avro);
            let record = RecordSchema { name, kind, avro, fingerprint, shapes: Arc::new(shapes) };
            if set.records.contains_key(&record.name) {
                return Err(SchemaError::Duplicate { file: file.clone(), record: record.name });
            }
            set.add(record);
        }
        Ok(set)
    }

    /// The event types in the terms of definitions.
    #[must_use]
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// A record by its name without the namespace.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RecordSchema> {
        self.records.get(name)
    }

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = &RecordSchema> {
        self.records.values()
    }

    /// The schema that has this fingerprint, and the record that it is a version of.
    #[must_use]
    pub fn with_fingerprint(&self, fingerprint: [u8; 8]) -> Option<(&Schema, &RecordSchema)> {
        let is_own = |record: &&RecordSchema| {
            record.fingerprint == fingerprint || fingerprints(&record.avro).contains(&fingerprint)
        };
        if let Some(record) = self.records().find(is_own) {
            return Some((&record.avro, record));
        }
        let (version, record) = self.versions.get(&fingerprint)?;
        Some((version, self.get(record)?))
    }

    /// Adds versions of records that producers write with: older ones, or newer. Each is complete in itself.
    ///
    /// # Errors
    /// When one of them cannot be read as the record of the same name (or with that name as an alias).
    pub fn add_versions(&mut self, files: &[(String, String)]) -> Result<(), SchemaError> {
        for (file, text) in files {
            let version = Schema::parse_str(text).map_err(|error| invalid(file, &error))?;
            let no_version = |reason: String| SchemaError::NoVersion { file: file.clone(), reason };
            let Some(record) = self.reader_of(&version) else {
                let name = version.name().map_or_else(String::new, ToString::to_string);
                return Err(no_version(format!("there is no record `{name}`")));
            };
            let readable = Decoder::new(&version, record, EventTypeId::default(), &Projection::default());
            readable.map_err(|error| no_version(error.to_string()))?;
            let name = record.name.clone();
            self.add_version(&version, &name);
        }
        Ok(())
    }

    fn add_version(&mut self, version: &Schema, record: &str) {
        for fingerprint in fingerprints(version) {
            self.versions.insert(fingerprint, (version.clone(), record.to_owned()));
        }
    }

    /// The record that data written with another schema belongs to: the one of the same name, or with that alias.
    #[must_use]
    pub fn reader_of(&self, writer: &Schema) -> Option<&RecordSchema> {
        let name = writer.name()?.name();
        let aliased = |record: &&RecordSchema| {
            record.shapes.record().is_some_and(|shape| shape.aliases.iter().any(|alias| alias == name))
        };
        self.get(name).or_else(|| self.records().find(aliased))
    }

    fn add(&mut self, record: RecordSchema) {
        if record.kind == RecordKind::Event {
            let fields =
                record.shapes.record().map(|shape| fields(&record.shapes, shape, &mut vec![record.shapes.root()]));
            let event = EventSchema { name: record.name.clone(), fields: fields.unwrap_or_default() };
            self.schemas.events.insert(event.name.clone(), event);
        }
        self.records.insert(record.name.clone(), record);
    }

    /// Adds the records that are missing; of those that are there, what they take the place of stays a version of them.
    fn add_missing(&mut self, other: Self, wanted: impl Fn(&RecordSchema) -> bool) {
        for record in other.records.into_values() {
            let Some(own) = self.records.get(&record.name) else {
                if wanted(&record) {
                    self.add(record);
                }
                continue;
            };
            if Decoder::new(&record.avro, own, EventTypeId::default(), &Projection::default()).is_ok() {
                self.add_version(&record.avro, &record.name);
            }
        }
    }
}

fn invalid(file: &str, error: &apache_avro::Error) -> SchemaError {
    SchemaError::Invalid { file: file.to_owned(), message: error.to_string() }
}

fn read_directory(directory: &Path) -> Result<Vec<(String, String)>, SchemaError> {
    let unreadable = |path: &Path, source| SchemaError::Unreadable { path: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
        let path = entry.map_err(|error| unreadable(directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "avsc") {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// A file that is complete in itself is read by itself, so that two files may each define the same type.
fn parse_file(file: &str, text: &str, files: &[(String, String)]) -> Result<(Schema, Vec<Schema>), SchemaError> {
    let alone = match Schema::parse_str(text) {
        Ok(schema) => return Ok((schema, Vec::new())),
        Err(error) => error,
    };
    let others = files.iter().filter(|(other, _)| other != file).map(|(_, text)| text);
    // The error of the file by itself is the clearer one when the others are no help.
    Schema::parse_str_with_list(text, others).map_err(|_| invalid(file, &alone))
}

/// The record's name and kind; `None` for types that only others use and for what the engine itself writes.
fn classify(file: &str, shapes: &Shapes) -> Result<Option<(String, RecordKind)>, SchemaError> {
    let Some(record) = shapes.record() else { return Ok(None) };
    let kind = match record.name.as_str() {
        "profile" => RecordKind::Profile,
        "consent" => RecordKind::Consent,
        "erasure" => RecordKind::Erasure,
        name if name.starts_with("segment_") => return Ok(None),
        _ => RecordKind::Event,
    };
    let names = ["event_id", "customer_id", "occurred_at"];
    let has_all = names.iter().all(|name| record.fields.iter().any(|field| field.name == *name));
    if kind == RecordKind::Event && !has_all {
        return Ok(None);
    }
    if !starts_with_envelope(shapes, record) {
        return Err(SchemaError::NoEnvelope { file: file.to_owned(), record: record.name.clone() });
    }
    let has = |name: &str, fits: fn(&Shape) -> bool| {
        record.fields.iter().any(|field| field.name == name && fits(shapes.get(field.shape)))
    };
    let missing = match kind {
        RecordKind::Profile if !has("traits", |s| matches!(s, Shape::Map(_))) => Some("traits (map)"),
        RecordKind::Consent if !has("purpose", |s| matches!(s, Shape::String)) => Some("purpose (string)"),
        RecordKind::Consent if !has("granted", |s| matches!(s, Shape::Boolean)) => Some("granted (boolean)"),
        _ => None,
    };
    match missing {
        Some(field) => Err(SchemaError::MissingField { file: file.to_owned(), record: record.name.clone(), field }),
        None => Ok(Some((record.name.clone(), kind))),
    }
}

fn starts_with_envelope(shapes: &Shapes, record: &RecordShape) -> bool {
    let is = |field: &FieldShape, name: &str, shape: &Shape| field.name == name && shapes.get(field.shape) == shape;
    match record.fields.as_slice() {
        [event_id, customer_id, occurred_at, ..] => {
            is(event_id, "event_id", &Shape::String)
                && is(customer_id, "customer_id", &Shape::String)
                && is(occurred_at, "occurred_at", &Shape::Timestamp(TimeUnit::Millis))
        }
        _ => false,
    }
}

fn fields(shapes: &Shapes, record: &RecordShape, within: &mut Vec<ShapeId>) -> Vec<Field> {
    let field = |field: &FieldShape| Field {
        name: field.name.clone(),
        field_type: field_type(shapes, field.shape, within),
        doc: field.doc.clone(),
    };
    record.fields.iter().map(field).collect()
}

/// `within` holds the records around this one: a type inside itself has no end, so definitions cannot name it.
fn field_type(shapes: &Shapes, id: ShapeId, within: &mut Vec<ShapeId>) -> FieldType {
    let Some(known) = shapes.known(id) else { return FieldType::Other("a union of several types".to_owned()) };
    match shapes.get(known) {
        Shape::Boolean => FieldType::Scalar(Type::Bool),
        Shape::Int | Shape::Long | Shape::Float | Shape::Double | Shape::Decimal { .. } => {
            FieldType::Scalar(Type::Number)
        }
        Shape::String | Shape::Enum { .. } | Shape::Fixed { uuid: true, .. } => FieldType::Scalar(Type::Text),
        Shape::Date | Shape::Timestamp(_) => FieldType::Scalar(Type::Instant),
        Shape::Array(items) => FieldType::Array(Box::new(field_type(shapes, *items, within))),
        Shape::Record(_) if within.contains(&known) => FieldType::Other("a record inside itself".to_owned()),
        Shape::Record(record) => {
            within.push(known);
            let fields = fields(shapes, record, within);
            within.pop();
            FieldType::Record(fields)
        }
        Shape::Null => FieldType::Other("always null".to_owned()),
        Shape::Bytes | Shape::Fixed { .. } => FieldType::Other("bytes".to_owned()),
        Shape::TimeOfDay { .. } => FieldType::Other("a time of day".to_owned()),
        Shape::Map(_) => FieldType::Other("a map".to_owned()),
        Shape::Union(_) => FieldType::Other("a union within a union".to_owned()),
    }
}

#[cfg(test)]
mod tests;
