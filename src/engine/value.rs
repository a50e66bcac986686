//! The values that fields, traits and expressions have, and their types.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use rust_decimal::Decimal;

/// The type of a value. `segments.md` section 2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// An exact decimal number.
    Number,
    /// A string, an enum symbol or a uuid.
    Text,
    /// A point in time, to the millisecond.
    Instant,
    /// A length of time, in milliseconds and fractions of them.
    Duration,
    /// Several values of one type, in order.
    List(Box<Type>),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number => f.write_str("number"),
            Self::Text => f.write_str("text"),
            Self::Instant => f.write_str("instant"),
            Self::Duration => f.write_str("duration"),
            Self::List(item) => write!(f, "list of {item}"),
        }
    }
}

/// A value, or the absence of one.
///
/// Cheap to clone: short texts are inline, lists are shared. Their order is there to search by; what definitions compare has
/// [`order`](Self::order).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Value {
    /// A missing field or trait, or what has no answer (an average over nothing, a division by zero).
    #[default]
    Unknown,
    /// A truth value.
    Bool(bool),
    /// An exact decimal; equal numbers are equal whatever their scale.
    Number(Decimal),
    /// A text.
    Text(CompactString),
    /// Milliseconds since the epoch, UTC.
    Instant(i64),
    /// Milliseconds; may have a fraction, so that a third of a day is not rounded before it is compared.
    Duration(Decimal),
    /// A list, known even when empty.
    List(Arc<[Value]>),
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(CompactString::new(text))
    }

    /// A whole number of milliseconds as a duration.
    #[must_use]
    pub fn duration_ms(duration_ms: i64) -> Self {
        Self::Duration(Decimal::from(duration_ms))
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }

    /// As a condition: unknown is false.
    #[must_use]
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// A hash by which values are remembered: it is stored, so it must never change.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        let text = match self {
            Self::Text(text) => return xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
            Self::Bool(truth) => format!("b{truth}"),
            Self::Number(number) => format!("n{}", number.normalize()),
            Self::Instant(instant) => format!("i{instant}"),
            Self::Duration(duration_ms) => format!("d{}", duration_ms.normalize()),
            Self::Unknown | Self::List(_) => String::new(),
        };
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

    /// An ordered value as a number: milliseconds for instants and durations.
    #[must_use]
    pub fn position(&self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Duration(duration_ms) => Some(*duration_ms),
            Self::Instant(instant) => Some(Decimal::from(*instant)),
            _ => None,
        }
    }

    /// The order of two values of one ordered type; `None` when either is unknown or they cannot be ordered.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Instant(a), Self::Instant(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
