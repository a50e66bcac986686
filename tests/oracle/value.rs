//! Values as the oracle sees them: exact rationals, and what is known of a value over a stretch of time.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};

/// A value at one instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Val {
    Unknown,
    Bool(bool),
    Num(BigRational),
    Text(String),
    Instant(i64),
    Duration(BigRational),
    List(Vec<Val>),
}

impl Val {
    pub(crate) fn is_known(&self) -> bool {
        *self != Self::Unknown
    }
}

/// The ordered kinds of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Num,
    Instant,
    Duration,
}

/// An ordered value while `now` runs through a stretch: `slope * now + offset`, the offset between two bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) slope: BigRational,
    pub(crate) low: BigRational,
    pub(crate) high: BigRational,
}

impl Line {
    /// The least and the greatest value while `now` is between two instants.
    pub(crate) fn bounds(&self, (from, to): (i64, i64)) -> (BigRational, BigRational) {
        let (at_start, at_end) = (&self.slope * whole(from), &self.slope * whole(to));
        let (least, greatest) = if at_start <= at_end { (at_start, at_end) } else { (at_end, at_start) };
        (least + &self.low, greatest + &self.high)
    }

    /// The value, if there is but one and it stands still.
    pub(crate) fn fixed(&self) -> Option<&BigRational> {
        (self.slope.is_zero() && self.low == self.high).then_some(&self.low)
    }

    /// Times a fixed number, as a value of a kind.
    pub(crate) fn times(&self, factor: &BigRational, kind: Kind) -> Abs {
        let (one, other) = (&self.low * factor, &self.high * factor);
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Abs::line(kind, &self.slope * factor, low, high)
    }
}

/// What is known of a value while `now` runs through a stretch of instants. Over a single instant always `Const`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Abs {
    /// The same all along.
    Const(Val),
    /// Known, and on or near a line.
    Moving(Line),
    /// Nothing is known.
    Any,
}

impl Abs {
    pub(crate) const UNKNOWN: Self = Self::Const(Val::Unknown);

    pub(crate) fn bool(truth: bool) -> Self {
        Self::Const(Val::Bool(truth))
    }

    /// A truth that may be in doubt.
    pub(crate) fn maybe(truth: Option<bool>) -> Self {
        truth.map_or(Self::Any, Self::bool)
    }

    /// A bool stands as a condition, unknown as false. `None`: in doubt.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Const(Val::Bool(truth)) => Some(*truth),
            Self::Const(Val::Unknown) => Some(false),
            Self::Const(other) => panic!("not a condition: {other:?}"),
            Self::Moving(line) => panic!("not a condition: {line:?}"),
            Self::Any => None,
        }
    }

    /// An ordered value as a line.
    pub(crate) fn as_line(&self) -> Option<Line> {
        let (kind, value) = match self {
            Self::Const(Val::Num(number)) => (Kind::Num, number.clone()),
            Self::Const(Val::Duration(ms)) => (Kind::Duration, ms.clone()),
            Self::Const(Val::Instant(at)) => (Kind::Instant, whole(*at)),
            Self::Moving(line) => return Some(line.clone()),
            Self::Const(_) | Self::Any => return None,
        };
        Some(Line { kind, slope: BigRational::zero(), low: value.clone(), high: value })
    }

    /// A value between two bounds.
    pub(crate) fn between(kind: Kind, low: BigRational, high: BigRational) -> Self {
        Self::line(kind, BigRational::zero(), low, high)
    }

    /// A value on a line. An instant is rounded down to the millisecond.
    pub(crate) fn line(kind: Kind, slope: BigRational, low: BigRational, high: BigRational) -> Self {
        let (low, high) = match kind {
            Kind::Instant if slope.is_integer() => (low.floor(), high.floor()),
            Kind::Instant => (low - whole(1), high),
            Kind::Num | Kind::Duration => (low, high),
        };
        if low != high || !slope.is_zero() {
            return Self::Moving(Line { kind, slope, low, high });
        }
        Self::Const(match kind {
            Kind::Num => Val::Num(low),
            Kind::Duration => Val::Duration(low),
            Kind::Instant => Val::Instant(low.to_integer().to_i64().expect("an instant fits")),
        })
    }
}

/// A whole number.
pub(crate) fn whole(number: i64) -> BigRational {
    BigRational::from_integer(BigInt::from(number))
}

/// Reads `-12.50e3` exactly.
pub(crate) fn parse_number(text: &str) -> Option<BigRational> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (digits, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined: BigInt = format!("{digits}{fraction}").parse().ok()?;
    let shift = exponent - i32::try_from(fraction.len()).ok()?;
    let power = num_traits::pow(BigInt::from(10), shift.unsigned_abs() as usize);
    let factor = if shift >= 0 { BigRational::from_integer(power) } else { BigRational::new(BigInt::one(), power) };
    Some(BigRational::from_integer(joined) * factor)
}

/// Whether zero lies between the bounds.
pub(crate) fn holds_zero((low, high): &(BigRational, BigRational)) -> bool {
    *low <= BigRational::zero() && *high >= BigRational::zero()
}
