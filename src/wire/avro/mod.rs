//! Avro events: compiled once for a producer's schema, ours and the wanted fields, then read without looking anything up.

use std::sync::Arc;

use apache_avro::Schema;

use super::DecodeError;
use super::fill::{Buffers, Filling};
use super::schema::{RecordKind, RecordSchema};
use super::wanted::{Layout, View, Want};
use crate::engine::catalog::EventTypeId;
use crate::engine::projection::Projection;
use crate::engine::record::{Body, Envelope, Record};
use shape::{ShapeError, Shapes};

pub(crate) mod compile;
mod cursor;
pub(super) mod leaf;
mod program;
mod resolve;
mod run;
pub(crate) mod shape;
#[cfg(test)]
mod tests;

/// Why data written with a schema cannot be read with ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The schema itself is not usable.
    #[error(transparent)]
    Schema(#[from] ShapeError),
    /// It is not a record.
    #[error("the schema is not a record")]
    NotARecord,
    /// A field cannot be resolved.
    #[error("{path}: {reason}")]
    Incompatible {
        /// The field, as a dotted path.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Reads records of one schema. Keeps its buffers, so it is used by one thread at a time; a clone shares the program.
#[derive(Debug, Clone)]
pub struct Decoder {
    program: Arc<program::Program>,
    layout: Arc<Layout>,
    event_type: EventTypeId,
    buffers: Buffers,
}

impl Decoder {
    /// Compiles a decoder of what `writer` wrote, resolved to `reader` by the rules of Avro. `event_type` and
    /// `projection` matter for events only.
    pub fn new(
        writer: &Schema,
        reader: &RecordSchema,
        event_type: EventTypeId,
        projection: &Projection,
    ) -> Result<Self, CompileError> {
        let writer = Shapes::new(writer, &[])?;
        let (want, layout) = Want::new(reader.kind, projection);
        let program = compile::compile(&writer, &reader.shapes, &View::of(&want))?;
        Ok(Self { program: Arc::new(program), layout: Arc::new(layout), event_type, buffers: Buffers::default() })
    }

    /// A decoder that only finds where records end.
    pub(crate) fn skipping(writer: &Schema) -> Result<Self, CompileError> {
        let writer = Shapes::new(writer, &[])?;
        let (_, layout) = Want::new(RecordKind::Erasure, &Projection::default());
        let program = Arc::new(compile::skipping(&writer));
        Ok(Self { program, layout: Arc::new(layout), event_type: EventTypeId::default(), buffers: Buffers::default() })
    }

    /// Decodes into a record whose buffers are used again. After an error the record holds nothing of use.
    pub fn decode_into(&mut self, bytes: &[u8], record: &mut Record) -> Result<(), DecodeError> {
        match self.decode_first_into(bytes, record)? {
            (_, length) if length < bytes.len() => Err(DecodeError::TrailingBytes),
            (result, _) => result,
        }
    }

    /// Decodes the first of several records, with its length: known even if the record is refused for what it says.
    pub(crate) fn decode_first_into(
        &mut self,
        bytes: &[u8],
        record: &mut Record,
    ) -> Result<(Result<(), DecodeError>, usize), DecodeError> {
        let mut filling = Filling::begin(&self.layout, self.event_type, &mut self.buffers, record);
        let length = run::run(&self.program, bytes, &mut filling)?;
        Ok((filling.finish(), length))
    }

    /// The length of the first of several records.
    pub(crate) fn first_length(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
        let mut filling = Filling::begin(&self.layout, self.event_type, &mut self.buffers, &mut record);
        run::run(&self.program, bytes, &mut filling).ok()
    }
}
