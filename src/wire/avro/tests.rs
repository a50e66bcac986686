//! The decoder against apache-avro: what one writes the other reads, whatever the schemas, and no bytes can harm it.

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;

use super::*;
use crate::engine::projection::{ProjectedArray, ProjectedField};
use crate::engine::value::{Type, Value};
use crate::wire::schema::SchemaSet;

mod evolution;
#[expect(clippy::cast_possible_truncation, reason = "random numbers are cut to the size that is wanted of them")]
mod random;
#[expect(clippy::cast_possible_truncation, reason = "random numbers are cut to the size that is wanted of them")]
mod resolution;

fn blank() -> Record {
    Record { envelope: Envelope::default(), body: Body::Erasure }
}

const ENVELOPE: &str = r#"{"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},
    {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}}"#;

/// An event schema with these fields after the envelope.
fn event(fields: &[String]) -> String {
    let fields: Vec<_> = std::iter::once(ENVELOPE).chain(fields.iter().map(String::as_str)).collect();
    format!(r#"{{"type":"record","name":"e","fields":[{}]}}"#, fields.join(","))
}

fn reader(text: &str) -> SchemaSet {
    SchemaSet::parse(&[("e.avsc".to_owned(), text.to_owned())]).unwrap()
}

fn path(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

/// A projection of paths; one like `items/price,category` is of an array's elements. Types do not matter to decoders.
fn projection(paths: &[&str]) -> Projection {
    let field = |p: &str| ProjectedField { path: path(p), value_type: Type::Text };
    let mut projection = Projection::default();
    for p in paths {
        match p.split_once('/') {
            Some((array, fields)) => projection
                .arrays
                .push(ProjectedArray { path: path(array), fields: fields.split(',').map(field).collect() }),
            None => projection.fields.push(field(p)),
        }
    }
    projection
}

fn encode(schema: &Schema, value: Avro) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// A value of an event: the envelope and then these fields.
fn event_value(fields: Vec<(&str, Avro)>) -> Avro {
    let mut all = vec![
        ("event_id".to_owned(), Avro::String("id".to_owned())),
        ("customer_id".to_owned(), Avro::String("who".to_owned())),
        ("occurred_at".to_owned(), Avro::TimestampMillis(1_000)),
    ];
    all.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Avro::Record(all)
}
