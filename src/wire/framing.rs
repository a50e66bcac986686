//! What a message value is, by its first bytes.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;

use super::DecodeError;
use super::canonical::fingerprint_of;

/// How Avro's single-object encoding begins.
pub(crate) const SINGLE_OBJECT_MARK: [u8; 2] = [0xc3, 0x01];

/// A message value told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Avro with the id of its schema in a registry.
    Registry {
        /// The id.
        schema_id: u32,
        /// The record.
        body: &'a [u8],
    },
    /// Avro with the fingerprint of its schema.
    SingleObject {
        /// CRC-64-AVRO of the schema's canonical form, as it is in the message: little-endian.
        fingerprint: [u8; 8],
        /// The record.
        body: &'a [u8],
    },
    /// A JSON object.
    Json(&'a [u8]),
}

/// Tells a message value apart. White space may come before JSON.
pub fn frame(value: &[u8]) -> Result<Frame<'_>, DecodeError> {
    match value {
        [0, rest @ ..] => {
            let (id, body) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
            Ok(Frame::Registry { schema_id: u32::from_be_bytes(*id), body })
        }
        [0xc3, 0x01, rest @ ..] => {
            let (fingerprint, body) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
            Ok(Frame::SingleObject { fingerprint: *fingerprint, body })
        }
        _ if value.trim_ascii_start().first() == Some(&b'{') => Ok(Frame::Json(value)),
        _ => Err(DecodeError::UnknownFormat),
    }
}

/// The fingerprint of a schema as single-object messages carry it.
#[must_use]
pub fn fingerprint(schema: &Schema) -> [u8; 8] {
    serde_json::to_value(schema).map_or_else(|_| rust_fingerprint(schema), |schema| fingerprint_of(&schema))
}

/// The fingerprint that messages carry which were written with the Rust library: of a form of the schema that keeps what the
/// specification leaves out.
#[must_use]
pub fn rust_fingerprint(schema: &Schema) -> [u8; 8] {
    let mut fingerprint = [0; 8];
    for (to, from) in fingerprint.iter_mut().zip(schema.fingerprint::<Rabin>().bytes) {
        *to = from;
    }
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::schema::SchemaSet;
    use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};

    #[test]
    fn messages_are_told_apart() {
        let cases: [(&[u8], Result<Frame<'_>, DecodeError>); 8] = [
            (&[0, 0, 0, 1, 2, 7], Ok(Frame::Registry { schema_id: 258, body: &[7] })),
            (&[0, 0, 0, 1], Err(DecodeError::Truncated)),
            (
                &[0xc3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9],
                Ok(Frame::SingleObject { fingerprint: [1, 2, 3, 4, 5, 6, 7, 8], body: &[9] }),
            ),
            (&[0xc3, 1, 1], Err(DecodeError::Truncated)),
            (&[0xc3, 2, 1], Err(DecodeError::UnknownFormat)),
            (b"{}", Ok(Frame::Json(b"{}"))),
            (b" \n{}", Ok(Frame::Json(b" \n{}"))),
            (b"", Err(DecodeError::UnknownFormat)),
        ];
        for (value, expected) in cases {
            assert_eq!(frame(value), expected, "{value:?}");
        }
    }

    #[test]
    fn what_the_rust_library_writes_is_known_too() {
        let shipped = SchemaSet::shipped().unwrap();
        for record in shipped.records() {
            for fingerprint in [record.fingerprint, record.rust_fingerprint] {
                let found = shipped.with_fingerprint(fingerprint).map(|found| &found.name);
                assert_eq!(found, Some(&record.name));
            }
            let header = RabinFingerprintHeader::from_schema(&record.avro).build_header();
            let mut ours = SINGLE_OBJECT_MARK.to_vec();
            ours.extend(record.rust_fingerprint);
            assert_eq!(ours, header, "{}", record.name);
        }
    }
}
