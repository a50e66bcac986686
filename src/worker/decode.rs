//! From a message's bytes to a record, whichever of the formats it is in.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::engine::catalog::{Catalog, EventTypeId};
use crate::engine::effects::Refusal;
use crate::engine::projection::Projection;
use crate::engine::record::{Body, Envelope, Record};
use crate::kafka::log::Schemas;
use crate::kafka::registry::{Lookup, RegisteredSchema};
use crate::wire::DecodeError;
use crate::wire::avro::{CompileError, Decoder};
use crate::wire::framing::{Frame, frame};
use crate::wire::json::JsonDecoder;
use crate::wire::schema::{RecordSchema, SchemaSet};
use crate::wire::writer::parse_writer;

/// The largest value that is taken, bytes: what a broker accepts by default.
const LARGEST: usize = 1 << 20;

/// What a message's value turned out to be.
#[derive(Debug)]
pub(super) enum Decoded {
    /// A record.
    Record(Box<Record>),
    /// No record, and why.
    Refused(Refusal, String),
    /// Its schema is still being asked for.
    Waiting,
}

/// Decodes the messages of one worker.
pub(super) struct Decoders<R> {
    schemas: Arc<SchemaSet>,
    catalog: Arc<Catalog>,
    registry: Option<R>,
    json: JsonDecoder,
    by_id: HashMap<u32, Known>,
    by_fingerprint: HashMap<[u8; 8], Known>,
    /// Records to be filled again, so that their buffers are.
    #[expect(clippy::vec_box, reason = "boxes are handed out and come back")]
    spare: Vec<Box<Record>>,
}

/// A decoder, or why there is none for a schema.
type Known = Result<Decoder, (Refusal, String)>;

impl<R: Schemas> Decoders<R> {
    pub(super) fn new(schemas: Arc<SchemaSet>, catalog: Arc<Catalog>, registry: Option<R>) -> Self {
        let json = JsonDecoder::new(&schemas, &catalog);
        Self {
            schemas,
            catalog,
            registry,
            json,
            by_id: HashMap::new(),
            by_fingerprint: HashMap::new(),
            spare: Vec::new(),
        }
    }

    /// Decodes a value.
    pub(super) fn decode(&mut self, value: Option<&[u8]>) -> Decoded {
        let Some(value) = value else {
            return Decoded::Refused(Refusal::Undecodable, "the record has no value".to_owned());
        };
        if value.len() > LARGEST {
            return Decoded::Refused(Refusal::TooLarge, format!("{} bytes are more than {LARGEST}", value.len()));
        }
        let mut record =
            self.spare.pop().unwrap_or_else(|| Box::new(Record { envelope: Envelope::default(), body: Body::Erasure }));
        match self.decode_into(value, &mut record) {
            Ok(true) => Decoded::Record(record),
            Ok(false) => Decoded::Waiting,
            Err((refusal, error)) => Decoded::Refused(refusal, error),
        }
    }

    /// Takes a record back whose buffers can be used again.
    pub(super) fn recycle(&mut self, record: Box<Record>) {
        // Few are decoded at a time.
        const ENOUGH: usize = 64;
        if self.spare.len() < ENOUGH {
            self.spare.push(record);
        }
    }

    /// Whether the record is there; it is not while its schema is being asked for.
    fn decode_into(&mut self, value: &[u8], record: &mut Record) -> Result<bool, (Refusal, String)> {
        let (decoder, body) = match frame(value).map_err(|error| because(error.refusal(), &error))? {
            Frame::Json(text) => {
                self.json.decode_into(text, record).map_err(|error| because(error.refusal(), &error))?;
                return Ok(true);
            }
            Frame::SingleObject { fingerprint, body } => (self.with_fingerprint(fingerprint), body),
            Frame::Registry { schema_id, body } => match self.with_id(schema_id)? {
                Some(decoder) => (decoder, body),
                None => return Ok(false),
            },
        };
        let decoder = decoder.as_mut().map_err(|(refusal, error)| (*refusal, error.clone()))?;
        decoder.decode_into(body, record).map_err(|error: DecodeError| because(error.refusal(), &error))?;
        Ok(true)
    }

    fn with_fingerprint(&mut self, fingerprint: [u8; 8]) -> &mut Known {
        let Self { schemas, catalog, by_fingerprint, .. } = self;
        by_fingerprint.entry(fingerprint).or_insert_with(|| {
            if let Some((writer, record)) = schemas.with_fingerprint(fingerprint) {
                let (event_type, projection) = wanted(record, catalog);
                return Decoder::new(writer, record, event_type, projection).map_err(incompatible);
            }
            let number = u64::from_le_bytes(fingerprint);
            Err((
                Refusal::UnknownSchema,
                format!("no schema in the schema directory or its history has the fingerprint {number:016x}"),
            ))
        })
    }

    /// `None` while the schema is being asked for.
    fn with_id(&mut self, id: u32) -> Result<Option<&mut Known>, (Refusal, String)> {
        let Self { schemas, catalog, registry, by_id, .. } = self;
        if !by_id.contains_key(&id) {
            let unknown = |why: &str| (Refusal::UnknownSchema, format!("schema id {id}: {why}"));
            let registry = registry.as_ref().ok_or_else(|| unknown("no schema registry is configured"))?;
            let known = match registry.schema(id) {
                Lookup::Pending => return Ok(None),
                Lookup::Unknown(why) => return Err(unknown(&why)),
                Lookup::Known(schema) => of_registered(&schema, schemas, catalog),
            };
            by_id.insert(id, known.map_err(|(refusal, why)| (refusal, format!("schema id {id}: {why}"))));
        }
        Ok(by_id.get_mut(&id))
    }
}

fn of_registered(registered: &RegisteredSchema, schemas: &SchemaSet, catalog: &Catalog) -> Known {
    let writer = parse_writer(&registered.schema, &registered.references);
    let writer = writer.map_err(|error| (Refusal::UnknownSchema, error))?;
    if let Some(reader) = schemas.reader_of(&writer) {
        let (event_type, projection) = wanted(reader, catalog);
        return Decoder::new(&writer, reader, event_type, projection).map_err(incompatible);
    }
    let name = writer.name().map(ToString::to_string).unwrap_or_default();
    Err((Refusal::UnknownSchema, format!("it is of `{name}`, which no file of the schema directory describes")))
}

/// What definitions want of a record.
fn wanted<'c>(reader: &RecordSchema, catalog: &'c Catalog) -> (EventTypeId, &'c Projection) {
    static NOTHING: Projection = Projection { fields: Vec::new(), arrays: Vec::new() };
    let event_type = catalog.event_type_ids.get(&reader.name).copied();
    let known = event_type.and_then(|id| catalog.event_types.get(id.index()));
    (event_type.unwrap_or_default(), known.map_or(&NOTHING, |known| &known.projection))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn incompatible(error: CompileError) -> (Refusal, String) {
    because(Refusal::Undecodable, &error)
}

fn because(refusal: Refusal, error: &impl ToString) -> (Refusal, String) {
    (refusal, error.to_string())
}
