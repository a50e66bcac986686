//! When a condition on something that moves with the clock flips: `now - last(purchase) > 5d`.
//!
//! Where both sides move evenly the instant follows from their slopes, and the exact condition is tried just around it.
//! Everything else (a product of two ages, a division by something that moves) is searched by halves: a stretch of time
//! over which interval arithmetic proves the condition constant is skipped, any other is looked at more closely.

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use smallvec::SmallVec;

use super::catalog::{ArithmeticOp, CalendarUnit, CompareOp, NodeId, Op};
use super::evaluator::{Evaluator, condition_holds};
use super::value::{Type, Value};
use super::{arithmetic, calendar};

/// Steps of the search by halves before it settles for looking again at the instant it got to.
const SEARCH_STEPS_MAX: usize = 400;
/// A condition of which so many steps prove nothing (the same moving value subtracted from itself in another form) is
/// looked at again after this long at the earliest, so that no definition can keep a customer busy.
const LOOK_AGAIN_MS: i64 = 3_600_000;

/// The first instant after now, before `until`, at which the condition `id` is not `holds`; `until` if there is none. May
/// be an earlier instant at which it still is, never a later one.
pub(super) fn next_flip(evaluator: &mut Evaluator<'_>, id: NodeId, holds: bool, until: i64) -> i64 {
    if let Some(candidates) = even_crossings(evaluator, id) {
        let now = evaluator.now;
        let mut due = candidates.into_iter().filter(|at| *at > now && *at < until);
        return due.find(|at| holds_at(evaluator, id, *at) != holds).unwrap_or(until);
    }
    search(
        evaluator,
        until,
        |evaluator, from, to| holds_over(evaluator, id, from, to) == Some(holds),
        |evaluator, at| holds_at(evaluator, id, at) == holds,
    )
}

/// The first instant after now, before `until`, at which the age `id` of something that moves is another number.
pub(super) fn next_age(evaluator: &mut Evaluator<'_>, id: NodeId, until: i64) -> i64 {
    let value = value_at(evaluator, id, evaluator.now);
    let same =
        |stretch: &Stretch| matches!((stretch, &value), (Stretch::Between(a, b), Value::Number(n)) if a == n && b == n);
    search(
        evaluator,
        until,
        |evaluator, from, to| same(&stretch(evaluator, id, from, to)),
        |evaluator, at| value_at(evaluator, id, at) == value,
    )
}

fn search(
    evaluator: &mut Evaluator<'_>,
    until: i64,
    constant_over: impl Fn(&mut Evaluator<'_>, i64, i64) -> bool,
    same_at: impl Fn(&mut Evaluator<'_>, i64) -> bool,
) -> i64 {
    let last = until.saturating_sub(1).min(LATEST_INSTANT);
    let mut at = evaluator.now.saturating_add(1);
    let mut length = last.saturating_sub(at);
    for _ in 0..SEARCH_STEPS_MAX {
        if at > last {
            return until;
        }
        if !same_at(evaluator, at) {
            return at;
        }
        let end = at.saturating_add(length).min(last);
        if length == 0 || constant_over(evaluator, at, end) {
            at = end + 1;
            length = length.saturating_mul(2).max(1);
        } else {
            length /= 2;
        }
    }
    at.max(evaluator.now.saturating_add(LOOK_AGAIN_MS)).min(until)
}

/// The end of the calendar, year 9999: nobody waits for longer.
const LATEST_INSTANT: i64 = 253_402_300_799_999;

/// Instants around which a condition can flip: up to four for each crossing.
type Candidates = SmallVec<[i64; 8]>;

/// Instants, in order, around which a condition whose sides move evenly can flip; `None` where they do not.
fn even_crossings(evaluator: &mut Evaluator<'_>, id: NodeId) -> Option<Candidates> {
    let mut candidates = Candidates::new();
    match &evaluator.node(id).op {
        Op::Compare(_, left, right) => cross(evaluator, *left, *right, &mut candidates)?,
        Op::Between { value, low, high, .. } => {
            cross(evaluator, *value, *low, &mut candidates)?;
            cross(evaluator, *value, *high, &mut candidates)?;
        }
        Op::In { value, items, .. } => {
            let slope = slope(evaluator, *value)?;
            let from = evaluator.value(*value).position()?;
            for item in items {
                meet(evaluator.now, from.checked_sub(item.position()?)?, slope, &mut candidates);
            }
        }
        _ => return None,
    }
    candidates.sort_unstable();
    Some(candidates)
}

fn cross(evaluator: &mut Evaluator<'_>, left: NodeId, right: NodeId, candidates: &mut Candidates) -> Option<()> {
    if !evaluator.value(left).is_known() || !evaluator.value(right).is_known() {
        return None;
    }
    let slope = slope(evaluator, left)?.checked_sub(slope(evaluator, right)?)?;
    let apart = evaluator.value(left).position()?.checked_sub(evaluator.value(right).position()?)?;
    meet(evaluator.now, apart, slope, candidates);
    Some(())
}

/// The instants around which a difference that is `apart` at `now` and grows by `slope` a millisecond is zero.
fn meet(now: i64, apart: Decimal, slope: Decimal, candidates: &mut Candidates) {
    if slope.is_zero() {
        return;
    }
    // Most differences grow by what passes, and a division takes long. Too far away for a decimal is too far away to wait for.
    let is_even = slope.abs() == Decimal::ONE;
    let to_go = if slope.is_sign_negative() { apart } else { -apart };
    let in_ms = if is_even { Some(to_go) } else { to_go.checked_div(slope.abs()) };
    let Some(at) = in_ms.and_then(|in_ms| in_ms.floor().to_i64()?.checked_add(now)) else {
        return;
    };
    // Where the sides meet at that very instant, nothing is different before it, nor after the next one.
    let around = if is_even && apart.is_integer() { 0..=1 } else { -1..=2 };
    candidates.extend(around.filter_map(|around| at.checked_add(around)));
}

/// By how much an operand grows in a millisecond, where it does so evenly.
fn slope(evaluator: &mut Evaluator<'_>, id: NodeId) -> Option<Decimal> {
    if !evaluator.answer(id).moves {
        return Some(Decimal::ZERO);
    }
    match &evaluator.node(id).op {
        Op::Now => Some(Decimal::ONE),
        Op::Anniversary(operand) if !evaluator.answer(*operand).moves => Some(Decimal::NEGATIVE_ONE),
        Op::Negate(operand) => slope(evaluator, *operand).map(|slope| -slope),
        Op::Coalesce(nodes) => {
            // One that is unknown now and moves may be known at the next instant.
            let first =
                nodes.iter().find(|node| evaluator.value(**node).is_known() || evaluator.answer(**node).moves)?;
            if evaluator.value(*first).is_known() { slope(evaluator, *first) } else { None }
        }
        Op::Arithmetic(op, left, right) => {
            let (left, right) = (*left, *right);
            let (left_slope, right_slope) = (slope(evaluator, left)?, slope(evaluator, right)?);
            let slope = match op {
                ArithmeticOp::Add => left_slope.checked_add(right_slope)?,
                ArithmeticOp::Subtract => left_slope.checked_sub(right_slope)?,
                ArithmeticOp::Multiply if left_slope.is_zero() => {
                    right_slope.checked_mul(evaluator.value(left).position()?)?
                }
                ArithmeticOp::Multiply if right_slope.is_zero() => {
                    left_slope.checked_mul(evaluator.value(right).position()?)?
                }
                ArithmeticOp::Divide if right_slope.is_zero() => {
                    left_slope.checked_div(evaluator.value(right).position()?)?
                }
                ArithmeticOp::Multiply | ArithmeticOp::Divide => return None,
            };
            // An instant is rounded down to the millisecond: with a fractional slope it moves in steps.
            let steps = evaluator.node(id).value_type == Type::Instant && !slope.fract().is_zero();
            (!steps).then_some(slope)
        }
        _ => None,
    }
}

/// Whether a condition would hold at another instant before its operands' `until`.
fn holds_at(evaluator: &mut Evaluator<'_>, id: NodeId, at: i64) -> bool {
    let op = &evaluator.node(id).op;
    if let Op::Compare(op, left, right) = op {
        let left = value_at(evaluator, *left, at);
        return arithmetic::compare(*op, &left, &value_at(evaluator, *right, at));
    }
    let values: SmallVec<[(NodeId, Value); 3]> =
        op.operands().map(|node| (node, value_at(evaluator, node, at))).collect();
    let unknown = Value::Unknown;
    condition_holds(op, |node| values.iter().find(|(other, _)| other == node).map_or(&unknown, |(_, value)| value))
}

/// An operand's value at another instant before its `until`.
fn value_at(evaluator: &mut Evaluator<'_>, id: NodeId, at: i64) -> Value {
    // An age that is just being computed has no answer yet.
    if !matches!(evaluator.node(id).op, Op::Age(_)) && !evaluator.answer(id).moves {
        return evaluator.value(id).clone();
    }
    let zone = &evaluator.catalog.time_zone.0;
    match &evaluator.node(id).op {
        Op::Now => Value::Instant(at),
        Op::Negate(operand) => arithmetic::negate(&value_at(evaluator, *operand, at)),
        Op::Arithmetic(op, left, right) => {
            let left = value_at(evaluator, *left, at);
            arithmetic::arithmetic(*op, &left, &value_at(evaluator, *right, at))
        }
        Op::Coalesce(nodes) => {
            nodes.iter().map(|node| value_at(evaluator, *node, at)).find(Value::is_known).unwrap_or_default()
        }
        Op::Age(operand) => match value_at(evaluator, *operand, at) {
            Value::Instant(born) => {
                calendar::age(born, at, zone).map_or(Value::Unknown, |(years, _)| Value::Number(Decimal::from(years)))
            }
            _ => Value::Unknown,
        },
        Op::Anniversary(operand) => match value_at(evaluator, *operand, at) {
            Value::Instant(date) => {
                calendar::anniversary(date, at, zone).map_or(Value::Unknown, |(away_ms, _)| Value::duration_ms(away_ms))
            }
            _ => Value::Unknown,
        },
        _ => evaluator.value(id).clone(),
    }
}

/// What an operand can be over a stretch of time.
enum Stretch {
    /// It does not move.
    Fixed(Value),
    /// Known, and from the one to the other.
    Between(Decimal, Decimal),
    /// Nothing is known about it.
    Anything,
}

impl Stretch {
    fn ends(&self) -> Option<(Decimal, Decimal)> {
        match self {
            Self::Fixed(value) => value.position().map(|position| (position, position)),
            Self::Between(low, high) => Some((*low, *high)),
            Self::Anything => None,
        }
    }

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Fixed(Value::Unknown))
    }

    fn from_corners(corners: [Option<Decimal>; 4]) -> Self {
        let [Some(a), Some(b), Some(c), Some(d)] = corners else { return Self::Anything };
        Self::Between(a.min(b).min(c).min(d), a.max(b).max(c).max(d))
    }
}

/// What an operand can be at the instants `from..=to`.
fn stretch(evaluator: &mut Evaluator<'_>, id: NodeId, from: i64, to: i64) -> Stretch {
    let zone = &evaluator.catalog.time_zone.0;
    let op = evaluator.node(id).op.clone();
    if !matches!(op, Op::Age(_)) && !evaluator.answer(id).moves {
        return Stretch::Fixed(evaluator.value(id).clone());
    }
    match op {
        Op::Now => Stretch::Between(Decimal::from(from), Decimal::from(to)),
        Op::Negate(operand) => {
            let operand = stretch(evaluator, operand, from, to);
            match operand.ends() {
                Some((low, high)) => Stretch::Between(-high, -low),
                None => operand,
            }
        }
        Op::Arithmetic(op, left, right) => {
            let left = stretch(evaluator, left, from, to);
            let right = stretch(evaluator, right, from, to);
            let by_zero = op == ArithmeticOp::Divide && right.ends() == Some((Decimal::ZERO, Decimal::ZERO));
            if left.is_unknown() || right.is_unknown() || by_zero {
                return Stretch::Fixed(Value::Unknown);
            }
            let is_instant = evaluator.node(id).value_type == Type::Instant;
            let (Some(left), Some(right)) = (left.ends(), right.ends()) else { return Stretch::Anything };
            match (combine(op, left, right), is_instant) {
                (Stretch::Between(low, high), true) => Stretch::Between(low.floor(), high.floor()),
                (other, _) => other,
            }
        }
        Op::Coalesce(nodes) => {
            let mut stretches = nodes.into_iter().map(|node| stretch(evaluator, node, from, to));
            stretches.find(|stretch| !stretch.is_unknown()).unwrap_or(Stretch::Fixed(Value::Unknown))
        }
        Op::Age(operand) => {
            let operand = stretch(evaluator, operand, from, to);
            let Some((earliest, latest)) = operand.ends() else { return operand };
            let years = |born: Decimal, at| Some(Decimal::from(calendar::age(born.to_i64()?, at, zone)?.0));
            match (years(latest, from), years(earliest, to)) {
                (Some(low), Some(high)) => Stretch::Between(low, high),
                _ => Stretch::Anything,
            }
        }
        Op::Anniversary(operand) => {
            let operand = stretch(evaluator, operand, from, to);
            operand.ends().map_or(operand, |dates| away_over(dates, from, to, zone).unwrap_or(Stretch::Anything))
        }
        _ => Stretch::Anything,
    }
}

/// What the anniversary of a date between two instants of one day can be at the instants `from..=to`, if those lie
/// between the same two returns.
fn away_over((low, high): (Decimal, Decimal), from: i64, to: i64, zone: &TimeZone) -> Option<Stretch> {
    let (low, high) = (low.to_i64()?, high.to_i64()?);
    if low != high && calendar::period(CalendarUnit::Day, low, zone).end <= high {
        return None;
    }
    let (longest, return_of_first) = calendar::anniversary(low, from, zone)?;
    let (shortest, return_of_last) = calendar::anniversary(low, to, zone)?;
    (return_of_first == return_of_last).then(|| Stretch::Between(Decimal::from(shortest), Decimal::from(longest)))
}

fn combine(op: ArithmeticOp, left: (Decimal, Decimal), right: (Decimal, Decimal)) -> Stretch {
    let corners = |apply: fn(Decimal, Decimal) -> Option<Decimal>| {
        Stretch::from_corners([
            apply(left.0, right.0),
            apply(left.0, right.1),
            apply(left.1, right.0),
            apply(left.1, right.1),
        ])
    };
    match op {
        ArithmeticOp::Add => corners(Decimal::checked_add),
        ArithmeticOp::Subtract => corners(Decimal::checked_sub),
        ArithmeticOp::Multiply => corners(Decimal::checked_mul),
        ArithmeticOp::Divide if right.0 <= Decimal::ZERO && right.1 >= Decimal::ZERO => Stretch::Anything,
        ArithmeticOp::Divide => corners(Decimal::checked_div),
    }
}

/// Whether a condition is the same at all instants `from..=to`, and what; `None` when that cannot be told.
fn holds_over(evaluator: &mut Evaluator<'_>, id: NodeId, from: i64, to: i64) -> Option<bool> {
    match evaluator.node(id).op.clone() {
        Op::Compare(op, left, right) => {
            let left = stretch(evaluator, left, from, to);
            let right = stretch(evaluator, right, from, to);
            if left.is_unknown() || right.is_unknown() {
                return Some(false);
            }
            ordered(op, left.ends()?, right.ends()?)
        }
        Op::Between { negated, value, low, high } => {
            let [value, low, high] = [value, low, high].map(|node| stretch(evaluator, node, from, to));
            if value.is_unknown() || low.is_unknown() || high.is_unknown() {
                return Some(false);
            }
            let (value, low, high) = (value.ends()?, low.ends()?, high.ends()?);
            let above = ordered(CompareOp::GreaterOrEqual, value, low)?;
            let below = ordered(CompareOp::LessOrEqual, value, high)?;
            Some((above && below) != negated)
        }
        Op::In { negated, value, items } => {
            let value = stretch(evaluator, value, from, to);
            if value.is_unknown() {
                return Some(false);
            }
            let value = value.ends()?;
            for item in &items {
                let item = item.position()?;
                if ordered(CompareOp::Equal, value, (item, item))? {
                    return Some(!negated);
                }
            }
            Some(negated)
        }
        Op::IsKnown { negated, operand } => {
            let operand = stretch(evaluator, operand, from, to);
            if operand.is_unknown() {
                return Some(negated);
            }
            operand.ends()?;
            Some(!negated)
        }
        _ => None,
    }
}

fn ordered(op: CompareOp, left: (Decimal, Decimal), right: (Decimal, Decimal)) -> Option<bool> {
    let decide = |always: bool, never: bool| if always { Some(true) } else { never.then_some(false) };
    match op {
        CompareOp::Less => decide(left.1 < right.0, left.0 >= right.1),
        CompareOp::LessOrEqual => decide(left.1 <= right.0, left.0 > right.1),
        CompareOp::Greater => decide(left.0 > right.1, left.1 <= right.0),
        CompareOp::GreaterOrEqual => decide(left.0 >= right.1, left.1 < right.0),
        CompareOp::Equal => {
            decide(left.0 == left.1 && right.0 == right.1 && left.0 == right.0, left.1 < right.0 || left.0 > right.1)
        }
        CompareOp::NotEqual => ordered(CompareOp::Equal, left, right).map(|equal| !equal),
    }
}
