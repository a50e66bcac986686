//! An Avro schema with its named types looked up and its logical types told apart: what decoders are made from.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, InnerDecimalSchema, RecordSchema, UuidSchema};
use serde_json::Value as Json;

/// Schemas nested deeper than this are not taken.
const MAX_NESTING: usize = 64;

/// A position in [`Shapes::list`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ShapeId(usize);

/// A schema and all it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shapes {
    list: Vec<Shape>,
    root: ShapeId,
}

/// One schema node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// Days.
    Date,
    /// Int or long, by its flag.
    TimeOfDay {
        long: bool,
    },
    /// A long of this many units a millisecond, or nanoseconds to the unit.
    Timestamp(TimeUnit),
    /// Bytes, or a fixed of `size`.
    Decimal {
        scale: u32,
        size: Option<usize>,
    },
    Fixed {
        size: usize,
        uuid: bool,
    },
    Enum {
        symbols: Vec<String>,
        default: Option<String>,
    },
    Array(ShapeId),
    Map(ShapeId),
    Union(Vec<ShapeId>),
    Record(RecordShape),
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Millis,
    Micros,
    Nanos,
}

impl TimeUnit {
    /// How many of it make a millisecond.
    pub(crate) fn per_ms(self) -> i64 {
        match self {
            Self::Millis => 1,
            Self::Micros => 1_000,
            Self::Nanos => 1_000_000,
        }
    }
}

/// A record's fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordShape {
    /// Without its namespace.
    pub(crate) name: String,
    /// Other names it goes by, without namespaces.
    pub(crate) aliases: Vec<String>,
    pub(crate) fields: Vec<FieldShape>,
}

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldShape {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) default: Option<Json>,
    pub(crate) doc: Option<String>,
    pub(crate) shape: ShapeId,
}

impl FieldShape {
    /// Whether data written under `name` belongs to this field.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A type's name is nowhere defined.
    #[error("the type `{0}` is not defined")]
    Undefined(String),
    /// Nested too deep.
    #[error("types are nested more than {MAX_NESTING} deep")]
    TooDeep,
}

impl Shapes {
    /// The shapes of a schema whose named types are all defined within it or in `others`.
    pub(crate) fn new(schema: &Schema, others: &[Schema]) -> Result<Self, ShapeError> {
        let mut builder = Builder { list: Vec::new(), named: HashMap::new(), others };
        let root = builder.add(schema, 0)?;
        let list = builder.list;
        Ok(Self { list, root })
    }

    /// The whole.
    pub(crate) fn root(&self) -> ShapeId {
        self.root
    }

    /// One part; null for an id of another schema.
    pub(crate) fn get(&self, id: ShapeId) -> &Shape {
        self.list.get(id.0).unwrap_or(&Shape::Null)
    }

    /// The whole, if it is a record.
    pub(crate) fn record(&self) -> Option<&RecordShape> {
        match self.get(self.root) {
            Shape::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The only shape besides null of a union, the shape itself if it is none, `None` for a union of several.
    pub(crate) fn known(&self, id: ShapeId) -> Option<ShapeId> {
        let Shape::Union(branches) = self.get(id) else { return Some(id) };
        let mut known = branches.iter().filter(|branch| !matches!(self.get(**branch), Shape::Null));
        match (known.next(), known.next()) {
            (Some(only), None) => Some(*only),
            (None, _) => branches.first().copied(),
            _ => None,
        }
    }
}

struct Builder<'a> {
    list: Vec<Shape>,
    named: HashMap<String, ShapeId>,
    others: &'a [Schema],
}

impl Builder<'_> {
    fn add(&mut self, schema: &Schema, depth: usize) -> Result<ShapeId, ShapeError> {
        if depth > MAX_NESTING {
            return Err(ShapeError::TooDeep);
        }
        if let Schema::Ref { name } = schema {
            return self.referred(&name.fullname(None), depth);
        }
        let id = ShapeId(self.list.len());
        self.list.push(Shape::Null);
        if let Some(name) = schema.name() {
            self.named.insert(name.fullname(None), id);
        }
        let shape = self.shape(schema, depth)?;
        if let Some(slot) = self.list.get_mut(id.0) {
            *slot = shape;
        }
        Ok(id)
    }

    fn referred(&mut self, name: &str, depth: usize) -> Result<ShapeId, ShapeError> {
        if let Some(id) = self.named.get(name) {
            return Ok(*id);
        }
        let others = self.others;
        let found = others.iter().find(|other| other.name().is_some_and(|n| n.fullname(None) == name));
        self.add(found.ok_or_else(|| ShapeError::Undefined(name.to_owned()))?, depth + 1)
    }

    fn shape(&mut self, schema: &Schema, depth: usize) -> Result<Shape, ShapeError> {
        Ok(match schema {
            Schema::Null | Schema::Ref { .. } => Shape::Null,
            Schema::Boolean => Shape::Boolean,
            Schema::Int => Shape::Int,
            Schema::Long => Shape::Long,
            Schema::Float => Shape::Float,
            Schema::Double => Shape::Double,
            Schema::Bytes | Schema::BigDecimal => Shape::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Shape::String,
            Schema::Uuid(UuidSchema::Bytes) => Shape::Bytes,
            Schema::Uuid(UuidSchema::Fixed(fixed)) => Shape::Fixed { size: fixed.size, uuid: fixed.size == 16 },
            Schema::Fixed(fixed) | Schema::Duration(fixed) => Shape::Fixed { size: fixed.size, uuid: false },
            Schema::Date => Shape::Date,
            Schema::TimeMillis => Shape::TimeOfDay { long: false },
            Schema::TimeMicros => Shape::TimeOfDay { long: true },
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Shape::Timestamp(TimeUnit::Millis),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Shape::Timestamp(TimeUnit::Micros),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Shape::Timestamp(TimeUnit::Nanos),
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                };
                Shape::Decimal { scale: u32::try_from(decimal.scale).unwrap_or(u32::MAX), size }
            }
            Schema::Enum(EnumSchema { symbols, default, .. }) => {
                Shape::Enum { symbols: symbols.clone(), default: default.clone() }
            }
            Schema::Array(array) => Shape::Array(self.add(&array.items, depth + 1)?),
            Schema::Map(map) => Shape::Map(self.add(&map.types, depth + 1)?),
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.add(branch, depth + 1));
                Shape::Union(branches.collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => Shape::Record(self.record(record, depth)?),
        })
    }

    fn record(&mut self, record: &RecordSchema, depth: usize) -> Result<RecordShape, ShapeError> {
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push(FieldShape {
                name: field.name.clone(),
                aliases: field.aliases.clone(),
                default: field.default.clone(),
                doc: field.doc.clone(),
                shape: self.add(&field.schema, depth + 1)?,
            });
        }
        let aliases = record.aliases.iter().flatten().map(|alias| alias.name().to_owned()).collect();
        Ok(RecordShape { name: record.name.name().to_owned(), aliases, fields })
    }
}
