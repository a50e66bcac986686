//! The fields of an event type that definitions name: the contract between the catalog and the decoders, which
//! extract these and skip the rest.

use super::value::Type;

/// A path of field names from the record (or from an array's element) to a value. Through an array of records it
/// gives a list of what is found in each element, in order; elements in which it is missing give nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectedField {
    /// Field names, outermost first.
    pub path: Vec<String>,
    /// The type the value has when known.
    pub value_type: Type,
}

/// An array of records whose elements are events of their own (`each purchase.items`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectedArray {
    /// Path to the array; through an outer array, the elements of all inner ones in order.
    pub path: Vec<String>,
    /// Fields of each element. The record's envelope counts as theirs: `event_id`, `customer_id` or `occurred_at` that
    /// an element does not say itself is the record's.
    pub fields: Vec<ProjectedField>,
}

/// What to extract of one event type, besides the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Projection {
    /// Fields of the record, in slot order. Envelope fields that filters name are here too.
    pub fields: Vec<ProjectedField>,
    /// Arrays whose elements are wanted, in slot order.
    pub arrays: Vec<ProjectedArray>,
}
