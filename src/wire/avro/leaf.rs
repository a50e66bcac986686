//! Single values: how the writer's form becomes the reader's.

use compact_str::CompactString;

use super::super::{DecodeError, number};
use super::cursor::Cursor;
use super::shape::{Shape, TimeUnit};
use crate::engine::value::Value;
use rust_decimal::Decimal;

/// How to read a single value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf {
    Bool,
    Int,
    Long,
    Float,
    Double,
    Text,
    /// The reader's symbol for each of the writer's; `None` for one that the reader has no word for.
    Symbol(Box<[Option<CompactString>]>),
    Uuid,
    Date,
    Timestamp(TimeUnit),
    DecimalBytes {
        scale: u32,
    },
    DecimalFixed {
        size: usize,
        scale: u32,
    },
    /// What definitions have no type for.
    Opaque,
}

impl Leaf {
    /// How the reader gets its value from what the writer wrote; `None` when the rules of Avro do not let it.
    ///
    /// A logical type's unit or scale is the writer's where it has one: that is what its number means.
    pub(super) fn new(writer: &Shape, reader: &Shape) -> Option<Self> {
        use Shape as S;
        Some(match (writer, reader) {
            (S::Null, S::Null) => Self::Opaque,
            (S::Boolean, S::Boolean) => Self::Bool,
            (S::Int | S::Date | S::TimeOfDay { long: false }, S::Int | S::Long | S::Float | S::Double) => Self::Int,
            (S::Long | S::Timestamp(_) | S::TimeOfDay { long: true }, S::Long | S::Float | S::Double) => Self::Long,
            (S::Float, S::Float | S::Double) => Self::Float,
            (S::Double, S::Double) => Self::Double,
            (S::String | S::Bytes, S::String) => Self::Text,
            (S::Fixed { uuid: true, .. }, S::String) => Self::Uuid,
            (S::Fixed { size, .. }, S::Fixed { size: same, uuid }) if size == same => {
                if *uuid {
                    Self::Uuid
                } else {
                    Self::Opaque
                }
            }
            (S::Enum { symbols, .. }, S::Enum { symbols: known, default }) => {
                let readable =
                    |symbol: &String| if known.contains(symbol) { Some(symbol.clone()) } else { default.clone() };
                Self::Symbol(symbols.iter().map(|symbol| readable(symbol).map(CompactString::from)).collect())
            }
            (S::Int | S::Date, S::Date) => Self::Date,
            (S::Date, S::Timestamp(_)) => Self::Date,
            (S::Timestamp(unit), S::Timestamp(_)) => Self::Timestamp(*unit),
            (S::Int | S::Long, S::Timestamp(unit)) => Self::Timestamp(*unit),
            (S::Decimal { scale, size: None }, S::Decimal { .. }) => Self::DecimalBytes { scale: *scale },
            (S::Decimal { scale, size: Some(size) }, S::Decimal { .. }) => {
                Self::DecimalFixed { size: *size, scale: *scale }
            }
            (S::Bytes | S::String, S::Decimal { scale, size: None }) => Self::DecimalBytes { scale: *scale },
            (S::Fixed { size, .. }, S::Decimal { scale, size: Some(same) }) if size == same => {
                Self::DecimalFixed { size: *size, scale: *scale }
            }
            (S::Bytes | S::String | S::Decimal { size: None, .. }, S::Bytes) => Self::Opaque,
            (S::Decimal { size: Some(size), .. }, S::Fixed { size: same, .. }) if size == same => Self::Opaque,
            (S::Int | S::TimeOfDay { .. }, S::TimeOfDay { .. }) => Self::Opaque,
            (S::Long, S::TimeOfDay { long: true }) => Self::Opaque,
            _ => return None,
        })
    }

    /// Reads one. `None` is a value that the engine cannot reckon with.
    pub(super) fn read(&self, cursor: &mut Cursor<'_>) -> Result<Option<Value>, DecodeError> {
        Ok(match self {
            Self::Bool => match cursor.byte()? {
                0 => Some(Value::Bool(false)),
                1 => Some(Value::Bool(true)),
                _ => return Err(DecodeError::BadBoolean),
            },
            Self::Int => Some(Value::Number(Decimal::from(cursor.int()?))),
            Self::Long => Some(Value::Number(Decimal::from(cursor.long()?))),
            Self::Float => number::from_float(f32::from_le_bytes(cursor.array()?)).map(Value::Number),
            Self::Double => number::from_double(f64::from_le_bytes(cursor.array()?)).map(Value::Number),
            Self::Text => Some(Value::text(cursor.text()?)),
            Self::Symbol(symbols) => {
                let index = usize::try_from(cursor.int()?).map_err(|_| DecodeError::BadBranch)?;
                let symbol = symbols.get(index).and_then(Option::as_ref).ok_or(DecodeError::BadBranch)?;
                Some(Value::Text(symbol.clone()))
            }
            Self::Uuid => Some(Value::Text(uuid_text(&cursor.array()?))),
            Self::Date => number::midnight(i64::from(cursor.int()?)).map(Value::Instant),
            Self::Timestamp(unit) => number::instant(cursor.long()?.div_euclid(unit.per_ms())).map(Value::Instant),
            Self::DecimalBytes { scale } => number::from_unscaled(cursor.bytes()?, *scale).map(Value::Number),
            Self::DecimalFixed { size, scale } => number::from_unscaled(cursor.take(*size)?, *scale).map(Value::Number),
            Self::Opaque => None,
        })
    }
}

/// The usual text of a uuid: lower-case hexadecimal digits in groups of 8, 4, 4, 4 and 12.
pub(in crate::wire) fn uuid_text(bytes: &[u8; 16]) -> CompactString {
    let mut text = CompactString::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}
