//! What an input brings about: the changes of membership, with their causes and reasons, and what became of the input.

use std::sync::Arc;

use compact_str::CompactString;

use super::record::Origin;
use super::value::Value;

/// A customer entered or left a segment. `segments.md` section 6.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Who.
    pub customer_id: CompactString,
    /// Name of the segment; kept as text because a definition that was removed still has members to let go.
    pub segment: Arc<str>,
    /// Entered (true) or left.
    pub entered: bool,
    /// The instant at which it became true, milliseconds since the epoch.
    pub at: i64,
    /// This customer's changes, counted from 1 without a hole.
    pub sequence: u64,
    /// Hash of the segment's canonical definition.
    pub definition: Arc<str>,
    /// What brought it about.
    pub cause: Cause,
    /// The conditions that decided.
    pub why: Vec<Reason>,
    /// The values of the traits the segment carries.
    pub traits: Vec<(Arc<str>, Value)>,
}

/// What brought a change about. All changes of one evaluation have one cause.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// A record: an event or a profile update.
    Event {
        /// The event type's name, or `profile`.
        event_type: Arc<str>,
        /// Its identity.
        event_id: CompactString,
        /// Where it came from.
        origin: Origin,
    },
    /// Time alone.
    Time,
    /// Another set of definitions was put to work.
    Definition,
    /// A consent record.
    Consent,
    /// An erasure record.
    Erasure,
}

/// A condition that decided, and the value it had.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Its canonical text.
    pub condition: Arc<str>,
    /// The value: of the left side for a comparison, of the condition itself otherwise.
    pub value: Value,
}

/// What became of an input. Every input has exactly one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It counted.
    Processed,
    /// An `event_id` this customer had before.
    Duplicate,
    /// It occurred before the customer's erasure.
    Erased,
    /// It goes to the dead-letter topic.
    Refused(Refusal),
}

/// Why an input was refused. `runtime.md` section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The bytes are not what their schema says.
    Undecodable,
    /// Nobody knows the schema they name.
    UnknownSchema,
    /// The customer id is empty.
    NoCustomerId,
    /// The event id is empty.
    NoEventId,
    /// `occurred_at` is no instant the engine can reckon with.
    BadTime,
    /// Too far ahead of the wall clock.
    InTheFuture,
    /// Too far behind the partition clock.
    TooLate,
    /// Larger than the engine takes.
    TooLarge,
}

impl Refusal {
    /// All of them, for metrics that start at zero.
    pub const ALL: [Self; 8] = [
        Self::Undecodable,
        Self::UnknownSchema,
        Self::NoCustomerId,
        Self::NoEventId,
        Self::BadTime,
        Self::InTheFuture,
        Self::TooLate,
        Self::TooLarge,
    ];

    /// Its name in headers, metrics and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownSchema => "unknown_schema",
            Self::NoCustomerId => "no_customer_id",
            Self::NoEventId => "no_event_id",
            Self::BadTime => "bad_time",
            Self::InTheFuture => "in_the_future",
            Self::TooLate => "too_late",
            Self::TooLarge => "too_large",
        }
    }
}
