//! What we promise in bytes: every format that comes in or goes out. Pure: bytes and schemas in, records out.

pub mod avro;
pub mod schema;
