//! What a message value is, by its first bytes.

use super::DecodeError;
pub use super::canonical::fingerprint;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
