//! What we promise in bytes: every format that comes in or goes out. Pure: bytes and schemas in, records out.

use crate::engine::effects::Refusal;

pub mod avro;
pub mod canonical;
pub mod change;
pub mod cloud_event;
pub mod container;
pub mod customer;
pub mod distribution;
pub(crate) mod fill;
pub mod framing;
pub mod json;
pub mod missing;
pub(crate) mod number;
pub mod schema;
pub mod text;
pub mod told;
mod varint;
pub(crate) mod wanted;
pub mod writer;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// They end too soon.
    #[error("the record ends too soon")]
    Truncated,
    /// They go on after the record.
    #[error("bytes follow the record")]
    TrailingBytes,
    /// A length or a count is negative, or more than there can be.
    #[error("a length or count is impossible")]
    BadLength,
    /// A variable-length integer is too large for its type.
    #[error("an integer is too large for its type")]
    BadInteger,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    BadText,
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is neither true nor false")]
    BadBoolean,
    /// A union's branch or an enum's symbol that the schema does not have.
    #[error("a union branch or enum symbol is not in the schema")]
    BadBranch,
    /// Types within types without an end.
    #[error("the record is nested too deep")]
    TooDeep,
    /// A number or an instant outside what the engine reckons with.
    #[error("a number or instant is outside the supported range")]
    DoesNotFit,
    /// The first bytes are of no format there is.
    #[error("it is neither Avro with a schema id or fingerprint nor a JSON object")]
    UnknownFormat,
    /// A control record lacks what it is for.
    #[error("a required field is missing")]
    Missing,
    /// No or an empty customer id.
    #[error("customer_id is missing or empty")]
    NoCustomerId,
    /// No or an empty event id.
    #[error("event_id is missing or empty")]
    NoEventId,
    /// No or an impossible instant.
    #[error("occurred_at is missing or outside the years 1 to 9999")]
    BadTime,
}

impl DecodeError {
    /// The reason given when the record is refused.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            Self::NoCustomerId => Refusal::NoCustomerId,
            Self::NoEventId => Refusal::NoEventId,
            Self::BadTime => Refusal::BadTime,
            _ => Refusal::Undecodable,
        }
    }
}
