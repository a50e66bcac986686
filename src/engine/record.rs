//! What arrives: events of a site's types, and the control records profile, consent and erasure.

use compact_str::CompactString;

use super::catalog::EventTypeId;
use super::value::Value;

/// What every record starts with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// The producer's identity of this record, unique per customer.
    pub event_id: CompactString,
    /// Whom it is about: the Kafka key.
    pub customer_id: CompactString,
    /// When it happened, milliseconds since the epoch.
    pub occurred_at: i64,
}

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whom, when, which.
    pub envelope: Envelope,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// An event that aggregates can count, with just the fields that definitions name.
    Event(EventFields),
    /// A partial update of profile traits by name; `Unknown` unsets one.
    Profile(Vec<(CompactString, Value)>),
    /// A consent given or withdrawn.
    Consent {
        /// The purpose consented to.
        purpose: CompactString,
        /// Given (true) or withdrawn.
        granted: bool,
    },
    /// The customer asks to be forgotten.
    Erasure,
}

/// The projected fields of an event, laid out as its type's [`Projection`](super::projection::Projection) says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFields {
    /// Which event type it is.
    pub event_type: EventTypeId,
    /// One value for each of the projection's `fields`.
    pub fields: Vec<Value>,
    /// For each of the projection's `arrays`: its elements, each with one value for each of that array's fields.
    pub elements: Vec<Vec<Vec<Value>>>,
}

/// Where a record came from, for the cause of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Topic, or the file of a replay.
    pub topic: CompactString,
    /// Partition number; 0 in a replay.
    pub partition: i32,
    /// Offset; the line number in a replay.
    pub offset: i64,
}
