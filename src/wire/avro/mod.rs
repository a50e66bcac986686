//! Avro: schemas as decoders see them, and the decoder itself.

pub(crate) mod shape;
