//! What an expression is worth, at an instant or all through a stretch of instants in which no window moves.

use jiff::tz::TimeZone;
use num_rational::BigRational;
use num_traits::Zero;
use segue::definition::ast::{
    Aggregate, Anchor, ArithmeticOp, CompareOp, Expr, ExprKind, Function, InstantLiteral, Literal, Operand, TextTest,
    Window,
};
use sha2::{Digest, Sha256};

use crate::calendar::{Anniversary, age_years, anniversary, day_ms, midnight_ms, period_start_ms};
use crate::history::{Occurrence, names};
use crate::record::Tree;
use crate::replay::World;
use crate::value::{Abs, Kind, Line, Val, holds_zero, parse_number, whole};

/// What an expression may ask about. A filter only has fields.
pub(crate) trait Scope {
    fn now(&self) -> (i64, i64);
    fn field(&self, path: &[&str]) -> Val;
    fn trait_value(&self, name: &str) -> Abs;
    fn member(&self, segment: &str) -> Abs;
    fn held(&self, node: &Expr, condition: &Expr, duration_ms: i64) -> Abs;
    fn customer_id(&self) -> &str;
    fn occurrences(&self, aggregate: &Aggregate) -> Vec<Occurrence>;
    fn anchor(&self, anchor: &Anchor) -> Option<i64>;
    fn percentile(&self, aggregate: &Aggregate) -> Val;
    fn world(&self) -> &World;
}

/// Whether a filter lets an event through.
pub(crate) fn filter_holds(filter: &Expr, tree: &Tree, world: &World) -> bool {
    evaluate(filter, &FilterScope { tree, world }).truth() == Some(true)
}

struct FilterScope<'a> {
    tree: &'a Tree,
    world: &'a World,
}

impl Scope for FilterScope<'_> {
    fn now(&self) -> (i64, i64) {
        (0, 0)
    }
    fn field(&self, path: &[&str]) -> Val {
        self.tree.value(path)
    }
    fn trait_value(&self, _: &str) -> Abs {
        unreachable!("no trait in a filter")
    }
    fn member(&self, _: &str) -> Abs {
        unreachable!("no segment in a filter")
    }
    fn held(&self, _: &Expr, _: &Expr, _: i64) -> Abs {
        unreachable!("no for in a filter")
    }
    fn customer_id(&self) -> &str {
        unreachable!("no bucket in a filter")
    }
    fn occurrences(&self, _: &Aggregate) -> Vec<Occurrence> {
        unreachable!("no aggregate in a filter")
    }
    fn anchor(&self, _: &Anchor) -> Option<i64> {
        unreachable!("no window in a filter")
    }
    fn percentile(&self, _: &Aggregate) -> Val {
        unreachable!("no aggregate in a filter")
    }
    fn world(&self) -> &World {
        self.world
    }
}

/// The value of an expression.
pub(crate) fn evaluate(expr: &Expr, scope: &dyn Scope) -> Abs {
    let value = |part: &Expr| evaluate(part, scope);
    let zone = &scope.world().zone;
    let now = scope.now();
    match &expr.node {
        ExprKind::Or(parts) => Abs::maybe(any(parts.iter().map(|part| value(part).truth()))),
        ExprKind::And(parts) => {
            Abs::maybe(any(parts.iter().map(|part| value(part).truth().map(|truth| !truth))).map(|truth| !truth))
        }
        ExprKind::Not(part) => Abs::maybe(value(part).truth().map(|truth| !truth)),
        ExprKind::For { condition, duration_ms } => scope.held(expr, condition, duration_ms.node),
        ExprKind::Compare { op, left, right } => Abs::maybe(compare(*op, &value(left), &value(right), now)),
        ExprKind::Between { negated, value: of, low, high } => {
            between(*negated, &value(of), &value(low), &value(high), now)
        }
        ExprKind::In { negated, value: of, items } => {
            let items = items.iter().map(|item| Abs::Const(literal(&item.node, zone)));
            is_in(*negated, &value(of), items, now)
        }
        ExprKind::TextTest { negated, test, left, right } => text_test(*negated, *test, &value(left), &value(right)),
        ExprKind::IsKnown { negated, operand } => match value(operand) {
            Abs::Any => Abs::Any,
            Abs::Moving(_) => Abs::bool(!negated),
            Abs::Const(known) => Abs::bool(known.is_known() != *negated),
        },
        ExprKind::Arithmetic { op, left, right } => arithmetic(*op, &value(left), &value(right), now),
        ExprKind::Negate(part) => negate(&value(part)),
        ExprKind::Literal(written) => Abs::Const(literal(written, zone)),
        ExprKind::Now if now.0 == now.1 => Abs::Const(Val::Instant(now.0)),
        ExprKind::Now => Abs::line(Kind::Instant, whole(1), whole(0), whole(0)),
        ExprKind::Trait(name) => scope.trait_value(&name.node),
        ExprKind::Field(path) => Abs::Const(scope.field(&names(path))),
        ExprKind::Aggregate(aggregate) => Abs::Const(aggregate_value(aggregate, scope)),
        ExprKind::Segment(name) => scope.member(&name.node),
        ExprKind::Bucket(salt) => Abs::Const(bucket(&salt.node, scope.customer_id())),
        ExprKind::Age(of) => age(&value(of), now, zone),
        ExprKind::Anniversary(of) => until_anniversary(&value(of), now, zone),
        ExprKind::Percentile(aggregate) => Abs::Const(scope.percentile(&aggregate.node)),
        ExprKind::Coalesce(parts) => parts.iter().map(value).find(|part| *part != Abs::UNKNOWN).unwrap_or(Abs::UNKNOWN),
    }
}

/// Whether any is true; `None` when that hangs on one that is in doubt. All are looked at.
fn any(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let truths: Vec<Option<bool>> = truths.collect();
    if truths.contains(&Some(true)) {
        return Some(true);
    }
    if truths.contains(&None) { None } else { Some(false) }
}

fn literal(written: &Literal, zone: &TimeZone) -> Val {
    match written {
        Literal::Bool(truth) => Val::Bool(*truth),
        Literal::Number(number) => Val::Num(parse_number(&number.to_string()).expect("a decimal is a number")),
        Literal::Text(text) => Val::Text(text.clone()),
        Literal::Duration(ms) => Val::Duration(whole(*ms)),
        Literal::Instant(instant) => Val::Instant(instant_ms(*instant, zone)),
    }
}

/// The instant a literal stands for.
pub(crate) fn instant_ms(instant: InstantLiteral, zone: &TimeZone) -> i64 {
    match instant {
        InstantLiteral::Exact(at) => at,
        InstantLiteral::Date(date) => midnight_ms(date, zone),
    }
}

/// A comparison with unknown is false. `None`: in doubt.
fn compare(op: CompareOp, left: &Abs, right: &Abs, now: (i64, i64)) -> Option<bool> {
    if *left == Abs::UNKNOWN || *right == Abs::UNKNOWN {
        return Some(false);
    }
    if let (Abs::Const(left), Abs::Const(right)) = (left, right) {
        return Some(match op {
            CompareOp::Equal => left == right,
            CompareOp::NotEqual => left != right,
            CompareOp::Less => left < right,
            CompareOp::LessOrEqual => left <= right,
            CompareOp::Greater => left > right,
            CompareOp::GreaterOrEqual => left >= right,
        });
    }
    let (left, right) = (left.as_line()?, right.as_line()?);
    let difference = Line {
        kind: Kind::Duration,
        slope: left.slope - right.slope,
        low: left.low - right.high,
        high: left.high - right.low,
    };
    let (least, greatest) = difference.bounds(now);
    let zero = BigRational::zero();
    let settled = |yes: bool, no: bool| {
        if yes {
            Some(true)
        } else if no {
            Some(false)
        } else {
            None
        }
    };
    let apart = least > zero || greatest < zero;
    let same = least == zero && greatest == zero;
    match op {
        CompareOp::Equal => settled(same, apart),
        CompareOp::NotEqual => settled(apart, same),
        CompareOp::Less => settled(greatest < zero, least >= zero),
        CompareOp::LessOrEqual => settled(greatest <= zero, least > zero),
        CompareOp::Greater => settled(least > zero, greatest <= zero),
        CompareOp::GreaterOrEqual => settled(least >= zero, greatest < zero),
    }
}

/// Both ends included; false with unknown, in the `not` form too.
fn between(negated: bool, value: &Abs, low: &Abs, high: &Abs, now: (i64, i64)) -> Abs {
    if [value, low, high].contains(&&Abs::UNKNOWN) {
        return Abs::bool(false);
    }
    if [value, low, high].contains(&&Abs::Any) {
        return Abs::Any;
    }
    let above = compare(CompareOp::GreaterOrEqual, value, low, now);
    let below = compare(CompareOp::LessOrEqual, value, high, now);
    let outside = any([above, below].into_iter().map(|truth| truth.map(|truth| !truth)));
    Abs::maybe(outside.map(|outside| outside == negated))
}

fn is_in(negated: bool, value: &Abs, items: impl Iterator<Item = Abs>, now: (i64, i64)) -> Abs {
    match value {
        Abs::Any => Abs::Any,
        Abs::Const(Val::Unknown) => Abs::bool(false),
        value => {
            Abs::maybe(any(items.map(|item| compare(CompareOp::Equal, value, &item, now))).map(|is| is != negated))
        }
    }
}

fn text_test(negated: bool, test: TextTest, left: &Abs, right: &Abs) -> Abs {
    let (Abs::Const(left), Abs::Const(right)) = (left, right) else {
        return if *left == Abs::UNKNOWN || *right == Abs::UNKNOWN { Abs::bool(false) } else { Abs::Any };
    };
    let holds = match (left, right) {
        (Val::Unknown, _) | (_, Val::Unknown) => return Abs::bool(false),
        (Val::List(items), item) => items.contains(item),
        (Val::Text(text), Val::Text(part)) => match test {
            TextTest::Contains => text.contains(part.as_str()),
            TextTest::StartsWith => text.starts_with(part.as_str()),
            TextTest::EndsWith => text.ends_with(part.as_str()),
        },
        other => panic!("not texts: {other:?}"),
    };
    Abs::bool(holds != negated)
}

fn negate(value: &Abs) -> Abs {
    match (value, value.as_line()) {
        (_, Some(line)) => line.times(&whole(-1), line.kind),
        (Abs::Any, None) => Abs::Any,
        _ => Abs::UNKNOWN,
    }
}

fn arithmetic(op: ArithmeticOp, left: &Abs, right: &Abs, now: (i64, i64)) -> Abs {
    if *left == Abs::UNKNOWN || *right == Abs::UNKNOWN {
        return Abs::UNKNOWN;
    }
    let (Some(left), Some(right)) = (left.as_line(), right.as_line()) else { return Abs::Any };
    let kind = result_kind(op, left.kind, right.kind);
    let (factor, divisor) = (left.fixed().cloned(), right.fixed().cloned());
    match op {
        ArithmeticOp::Add => Abs::line(kind, left.slope + right.slope, left.low + right.low, left.high + right.high),
        ArithmeticOp::Subtract => {
            Abs::line(kind, left.slope - right.slope, left.low - right.high, left.high - right.low)
        }
        ArithmeticOp::Multiply => match (factor, divisor) {
            (Some(factor), _) => right.times(&factor, kind),
            (_, Some(factor)) => left.times(&factor, kind),
            _ => spanning(kind, corners(&left.bounds(now), &right.bounds(now), |a, b| a * b)),
        },
        ArithmeticOp::Divide => match divisor {
            Some(divisor) if divisor.is_zero() => Abs::UNKNOWN,
            Some(divisor) => left.times(&divisor.recip(), kind),
            None if holds_zero(&right.bounds(now)) => Abs::Any,
            None => spanning(kind, corners(&left.bounds(now), &right.bounds(now), |a, b| a / b)),
        },
    }
}

fn result_kind(op: ArithmeticOp, left: Kind, right: Kind) -> Kind {
    match (op, left, right) {
        (_, Kind::Num, Kind::Num) => Kind::Num,
        (ArithmeticOp::Add | ArithmeticOp::Subtract, Kind::Duration, Kind::Duration) => Kind::Duration,
        (ArithmeticOp::Add, Kind::Instant, Kind::Duration) => Kind::Instant,
        (ArithmeticOp::Add, Kind::Duration, Kind::Instant) => Kind::Instant,
        (ArithmeticOp::Subtract, Kind::Instant, Kind::Duration) => Kind::Instant,
        (ArithmeticOp::Subtract, Kind::Instant, Kind::Instant) => Kind::Duration,
        (ArithmeticOp::Multiply | ArithmeticOp::Divide, Kind::Duration, Kind::Num) => Kind::Duration,
        (ArithmeticOp::Multiply, Kind::Num, Kind::Duration) => Kind::Duration,
        (ArithmeticOp::Divide, Kind::Duration, Kind::Duration) => Kind::Num,
        other => panic!("no such arithmetic: {other:?}"),
    }
}

fn corners(
    left: &(BigRational, BigRational),
    right: &(BigRational, BigRational),
    result: impl Fn(&BigRational, &BigRational) -> BigRational,
) -> Vec<BigRational> {
    let ends = [(&left.0, &right.0), (&left.0, &right.1), (&left.1, &right.0), (&left.1, &right.1)];
    ends.into_iter().map(|(left, right)| result(left, right)).collect()
}

fn spanning(kind: Kind, mut values: Vec<BigRational>) -> Abs {
    values.sort();
    Abs::between(kind, values[0].clone(), values[values.len() - 1].clone())
}

/// The first 8 bytes, big-endian, of SHA-256 over salt, `:` and the customer id, divided by 2^64.
fn bucket(salt: &str, customer_id: &str) -> Val {
    let hash = Sha256::digest(format!("{salt}:{customer_id}").as_bytes());
    let first = hash.iter().take(8).fold(0_u64, |sofar, byte| (sofar << 8) | u64::from(*byte));
    Val::Num(BigRational::new(first.into(), (1_u128 << 64).into()))
}

fn age(of: &Abs, (from, to): (i64, i64), zone: &TimeZone) -> Abs {
    let Some((low, high)) = of.as_line().map(|line| line.bounds((from, to))) else { return of.clone() };
    let years = |of: &BigRational, now: i64| whole(age_years(milliseconds(of), now, zone));
    let corners = vec![years(&low, from), years(&low, to), years(&high, from), years(&high, to)];
    spanning(Kind::Num, corners)
}

fn until_anniversary(of: &Abs, (from, to): (i64, i64), zone: &TimeZone) -> Abs {
    let Some((low, high)) = of.as_line().map(|line| line.bounds((from, to))) else { return of.clone() };
    let (low, high) = (milliseconds(&low), milliseconds(&high));
    if day_ms(low, zone) != day_ms(high, zone) {
        return Abs::Any;
    }
    match (anniversary(low, from, zone), anniversary(low, to, zone)) {
        (Anniversary::Next(first), Anniversary::Next(last)) if first == last => {
            Abs::line(Kind::Duration, whole(-1), whole(first), whole(first))
        }
        (Anniversary::Today, Anniversary::Today) if to - from < 360 * 86_400_000 => {
            Abs::between(Kind::Duration, whole(0), whole(0))
        }
        _ => Abs::Any,
    }
}

fn milliseconds(instant: &BigRational) -> i64 {
    num_traits::ToPrimitive::to_i64(&instant.to_integer()).expect("an instant fits")
}

/// Whether a window holds an instant at `now`.
fn in_window(window: &Window, at: i64, scope: &dyn Scope) -> bool {
    let now = scope.now().0;
    let zone = &scope.world().zone;
    match window {
        Window::Ever => true,
        Window::Over(duration_ms) => at <= now && now < at + duration_ms.node,
        Window::SinceInstant(instant) => at >= instant_ms(instant.node, zone),
        Window::SinceAnchor(anchor) => scope.anchor(anchor).is_some_and(|anchor| at >= anchor),
        Window::This(unit) => at >= period_start_ms(*unit, now, zone),
    }
}

fn aggregate_value(aggregate: &Aggregate, scope: &dyn Scope) -> Val {
    let mut seen = scope.occurrences(aggregate);
    seen.retain(|occurrence| in_window(&aggregate.window, occurrence.at, scope));
    match aggregate.function.node {
        Function::Did => return Val::Bool(!seen.is_empty()),
        Function::Count => return Val::Num(whole(i64::try_from(seen.len()).expect("few events"))),
        _ => {}
    }
    let path = value_path(aggregate, scope.world());
    let values = seen.iter().map(|occurrence| match &path {
        Some(path) => occurrence.tree.value(path),
        None => Val::Instant(occurrence.at),
    });
    let mut known: Vec<Val> = values.filter(Val::is_known).collect();
    match aggregate.function.node {
        Function::First => known.into_iter().next().unwrap_or(Val::Unknown),
        Function::Last => known.pop().unwrap_or(Val::Unknown),
        function => over_values(function, &each_element(known)),
    }
}

/// The value by which a customer is ranked: unknown without an event in the window.
pub(crate) fn ranked_value(aggregate: &Aggregate, scope: &dyn Scope) -> Val {
    let mut seen = scope.occurrences(aggregate);
    seen.retain(|occurrence| in_window(&aggregate.window, occurrence.at, scope));
    if let Some(path) = value_path(aggregate, scope.world()) {
        seen.retain(|occurrence| match occurrence.tree.value(&path) {
            Val::List(items) => !items.is_empty(),
            value => value.is_known(),
        });
    }
    if seen.is_empty() { Val::Unknown } else { aggregate_value(aggregate, scope) }
}

/// 100 times the share of `values` below this one.
pub(crate) fn share_below(value: &Val, values: &[Val]) -> Val {
    if !value.is_known() || values.is_empty() {
        return Val::Unknown;
    }
    let count = |n: usize| whole(i64::try_from(n).expect("few customers"));
    let below = count(100 * values.iter().filter(|other| *other < value).count());
    Val::Num(below / count(values.len()))
}

/// The path to the value in an occurrence; `None` for its instant.
fn value_path<'a>(aggregate: &'a Aggregate, world: &World) -> Option<Vec<&'a str>> {
    let Operand::Values { source, path, .. } = &aggregate.over else { return None };
    if let Some(path) = path {
        return Some(names(path));
    }
    let all = source.path.as_ref().map(names)?;
    let rest = all[world.array_length(&source.event.node, &all)..].to_vec();
    if rest.is_empty() { None } else { Some(rest) }
}

fn each_element(values: Vec<Val>) -> Vec<Val> {
    let elements = values.into_iter().flat_map(|value| match value {
        Val::List(items) => items,
        value => vec![value],
    });
    elements.collect()
}

fn over_values(function: Function, values: &[Val]) -> Val {
    let total = || values.iter().fold(whole(0), |sum, value| sum + number(value));
    let size = whole(i64::try_from(values.len()).expect("few values"));
    match function {
        Function::Sum => Val::Num(total()),
        Function::Avg if values.is_empty() => Val::Unknown,
        Function::Avg => Val::Num(total() / size),
        Function::Min => values.iter().min().cloned().unwrap_or(Val::Unknown),
        Function::Max => values.iter().max().cloned().unwrap_or(Val::Unknown),
        Function::Distinct => Val::Num(whole(i64::try_from(latest_first(values).len()).expect("few values"))),
        Function::List => Val::List(latest_first(values).into_iter().take(100).collect()),
        Function::Top => {
            let times = |value: &Val| values.iter().filter(|other| *other == value).count();
            // Of several with the same count `min_by_key` gives the first, here the most recently seen.
            latest_first(values).into_iter().min_by_key(|value| std::cmp::Reverse(times(value))).unwrap_or(Val::Unknown)
        }
        Function::Did | Function::Count | Function::First | Function::Last => unreachable!("not over values"),
    }
}

/// The different values, the most recently seen first.
fn latest_first(values: &[Val]) -> Vec<Val> {
    let mut different: Vec<Val> = vec![];
    for value in values.iter().rev() {
        if !different.contains(value) {
            different.push(value.clone());
        }
    }
    different
}

fn number(value: &Val) -> BigRational {
    match value {
        Val::Num(number) => number.clone(),
        other => panic!("not a number: {other:?}"),
    }
}
