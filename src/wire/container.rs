//! Avro object container files: apache-avro reads the schema and unpacks the blocks, our decoder reads what is in them.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::str::FromStr;

use apache_avro::{Codec, Schema};

use super::DecodeError;
use super::avro::{CompileError, Decoder};
use super::varint::unzigzag;
use crate::engine::record::Record;

const MAGIC: [u8; 4] = *b"Obj\x01";
/// No honest block or header entry is larger.
const MAX_BLOCK_BYTES: i64 = 256 << 20;

/// Why a container file cannot be read, or cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It does not begin like one.
    #[error("it is not an Avro object container file")]
    NotAContainer,
    /// Its header is damaged or asks for something unknown.
    #[error("its header cannot be used: {0}")]
    Header(String),
    /// Its schema cannot be used.
    #[error("its schema cannot be used: {0}")]
    Schema(#[from] CompileError),
    /// A block is damaged: nothing after it can be trusted.
    #[error("a block is damaged: {0}")]
    Block(String),
}

/// What came of reading one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It was decoded.
    Record,
    /// It is refused; reading goes on after it.
    Refused(DecodeError),
    /// It is refused, and so are the records after it in its block, because nobody knows where they begin.
    RestOfBlock {
        /// What is wrong with the first of them.
        error: DecodeError,
        /// How many records that are, the first one included.
        lost: u64,
    },
    /// The end of the file.
    End,
}

/// A container file being read.
pub struct Container<R> {
    reader: R,
    schema: Schema,
    codec: Codec,
    marker: [u8; 16],
    /// Finds the end of a record that cannot be decoded.
    skipper: Decoder,
    block: Vec<u8>,
    position: usize,
    /// Records left in the block.
    left: u64,
}

impl<R: Read> Container<R> {
    /// Reads the header.
    pub fn new(mut reader: R) -> Result<Self, ContainerError> {
        let mut magic = [0; 4];
        reader.read_exact(&mut magic).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => ContainerError::NotAContainer,
            _ => error.into(),
        })?;
        if magic != MAGIC {
            return Err(ContainerError::NotAContainer);
        }
        let entries = read_entries(&mut reader)?;
        let text = |key: &str| {
            let bytes = entries.get(key)?;
            std::str::from_utf8(bytes).ok()
        };
        let schema = text("avro.schema").ok_or_else(|| ContainerError::Header("it has no schema".to_owned()))?;
        let schema = Schema::parse_str(schema).map_err(|error| ContainerError::Header(error.to_string()))?;
        let name = text("avro.codec").unwrap_or("null");
        let codec = Codec::from_str(name).map_err(|_| ContainerError::Header(format!("unknown codec `{name}`")))?;
        let mut marker = [0; 16];
        reader.read_exact(&mut marker)?;
        let skipper = Decoder::skipping(&schema)?;
        Ok(Self { reader, schema, codec, marker, skipper, block: Vec::new(), position: 0, left: 0 })
    }

    /// What its records were written with.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Decodes the next record with a decoder made for the container's schema.
    pub fn next_into(&mut self, decoder: &mut Decoder, record: &mut Record) -> Result<Next, ContainerError> {
        while self.left == 0 {
            if !self.read_block()? {
                return Ok(Next::End);
            }
        }
        let rest = self.block.get(self.position..).unwrap_or_default();
        let decoded = decoder.decode_first_into(rest, record);
        let (result, length) = match decoded {
            Ok((result, length)) => (result, Some(length)),
            Err(error) => (Err(error), self.skipper.first_length(rest)),
        };
        match (result, length) {
            // A record without bytes could be claimed any number of times.
            (Err(error), None | Some(0)) => {
                let lost = std::mem::take(&mut self.left);
                Ok(Next::RestOfBlock { error, lost })
            }
            (result, length) => {
                self.position += length.unwrap_or(0);
                self.left -= 1;
                Ok(result.map_or_else(Next::Refused, |()| Next::Record))
            }
        }
    }

    /// Whether there was another block.
    fn read_block(&mut self) -> Result<bool, ContainerError> {
        let Some(count) = read_long(&mut self.reader)? else { return Ok(false) };
        let size = read_long(&mut self.reader)?.ok_or_else(|| damaged("it ends too soon"))?;
        self.left = u64::try_from(count).map_err(|_| damaged("its count is negative"))?;
        self.block = read_bytes(&mut self.reader, size)?;
        let mut marker = [0; 16];
        self.reader.read_exact(&mut marker)?;
        if marker != self.marker {
            return Err(damaged("its end mark is missing"));
        }
        self.position = 0;
        self.codec.decompress(&mut self.block).map_err(|error| ContainerError::Block(error.to_string()))?;
        Ok(true)
    }
}

fn damaged(what: &str) -> ContainerError {
    ContainerError::Block(what.to_owned())
}

/// The header's map of bytes.
fn read_entries(reader: &mut impl Read) -> Result<HashMap<String, Vec<u8>>, ContainerError> {
    let ends = || ContainerError::Header("it ends too soon".to_owned());
    let mut entries = HashMap::new();
    loop {
        let count = read_long(reader)?.ok_or_else(ends)?;
        if count == 0 {
            return Ok(entries);
        }
        if count < 0 {
            read_long(reader)?.ok_or_else(ends)?;
        }
        for _ in 0..count.unsigned_abs() {
            let size = read_long(reader)?.ok_or_else(ends)?;
            let key = read_bytes(reader, size)?;
            let size = read_long(reader)?.ok_or_else(ends)?;
            entries.insert(String::from_utf8_lossy(&key).into_owned(), read_bytes(reader, size)?);
        }
    }
}

/// So many bytes; memory grows with what is really there.
fn read_bytes(reader: &mut impl Read, size: i64) -> Result<Vec<u8>, ContainerError> {
    let size = u64::try_from(size).ok().filter(|_| size <= MAX_BLOCK_BYTES);
    let size = size.ok_or_else(|| damaged("its size is impossible"))?;
    let mut bytes = Vec::new();
    let read = reader.take(size).read_to_end(&mut bytes)?;
    if u64::try_from(read).ok() == Some(size) { Ok(bytes) } else { Err(damaged("it ends too soon")) }
}

/// A zigzag long; `None` at the end of the file.
fn read_long(reader: &mut impl Read) -> Result<Option<i64>, ContainerError> {
    let mut coded = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        if reader.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(damaged("it ends too soon")) };
        }
        coded |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(Some(unzigzag(coded)));
        }
    }
    Err(damaged("a number in it is too large"))
}

#[cfg(test)]
mod tests;
