//! Builds the catalog's graph from checked expressions: everything is named by its canonical text, and what has the same
//! name is one thing.

use std::sync::Arc;

use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::engine::calendar;
use crate::engine::catalog::{
    Aggregate, AggregateId, Catalog, CompareOp, EventTypeId, FilterId, Hold, HoldId, Node, NodeId, Op, PatternId,
    Percentile, PercentileId, Purpose, PurposeId, SegmentId, key,
};
use crate::engine::value::{Type, Value};

use super::super::ast::{Aggregate as WrittenAggregate, Expr, ExprKind, Function, InstantLiteral, Literal, Spanned};
use super::names::Names;
use super::operators;

/// A checked expression turned out to be one that cannot be built: the checker and this file disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unbuildable;

/// The first instant of a date in a zone. The last day of the year 9999 begins after the last instant of which the zone tells
/// local time; it is what people write for "never".
fn midnight(date: Date, zone: &TimeZone) -> Option<i64> {
    calendar::midnight(date, zone).or_else(|| {
        let since_epoch = date.duration_since(jiff::civil::date(1970, 1, 1)).as_millis();
        let offset_ms = i64::from(zone.to_offset(Timestamp::MAX).seconds()) * 1_000;
        i64::try_from(since_epoch).ok()?.checked_sub(offset_ms)
    })
}

/// The catalog under construction, and what in it has which name.
pub(super) struct Graph<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) catalog: Catalog,
    nodes: HashMap<Arc<str>, NodeId>,
    pub(super) aggregates: HashMap<String, AggregateId>,
    pub(super) patterns: HashMap<String, PatternId>,
    /// By the array of the event that their fields are in, too: the same words mean other slots elsewhere.
    pub(super) filters: HashMap<(EventTypeId, Option<usize>, String), FilterId>,
    /// Positions in the catalog of segments that are in it already.
    pub(super) segment_ids: HashMap<String, SegmentId>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(names: &'a Names<'a>, catalog: Catalog) -> Self {
        Self {
            names,
            catalog,
            nodes: HashMap::new(),
            aggregates: HashMap::new(),
            patterns: HashMap::new(),
            filters: HashMap::new(),
            segment_ids: HashMap::new(),
        }
    }

    /// The node of an expression, built if it is new.
    pub(super) fn node(&mut self, expr: &Expr) -> Result<NodeId, Unbuildable> {
        let text: Arc<str> = expr.to_string().into();
        if let Some(node) = self.nodes.get(&text) {
            return Ok(*node);
        }
        let (op, value_type) = self.op(expr, &text)?;
        Ok(self.push(op, value_type, text))
    }

    /// A node by its name, built if it is new.
    pub(super) fn push(&mut self, op: Op, value_type: Type, text: Arc<str>) -> NodeId {
        if let Some(node) = self.nodes.get(&text) {
            return *node;
        }
        let node = NodeId(position(self.catalog.nodes.len()));
        self.catalog.nodes.push(Node { op, value_type, text: Arc::clone(&text) });
        self.nodes.insert(text, node);
        node
    }

    fn op(&mut self, expr: &Expr, text: &str) -> Result<(Op, Type), Unbuildable> {
        let condition = |op| Ok((op, Type::Bool));
        match &expr.node {
            ExprKind::Or(parts) => condition(Op::Or(self.all(parts)?)),
            ExprKind::And(parts) => condition(Op::And(self.all(parts)?)),
            ExprKind::Not(part) => condition(Op::Not(self.node(part)?)),
            ExprKind::For { condition: part, duration_ms } => {
                let part = self.node(part)?;
                condition(Op::Held(self.hold(part, duration_ms.node, text)))
            }
            ExprKind::Compare { op, left, right } => condition(Op::Compare(*op, self.node(left)?, self.node(right)?)),
            ExprKind::Between { negated, value, low, high } => condition(Op::Between {
                negated: *negated,
                value: self.node(value)?,
                low: self.node(low)?,
                high: self.node(high)?,
            }),
            ExprKind::In { negated, value, items } => {
                let value = self.node(value)?;
                let items = items.iter().map(|item| self.literal(&item.node)).collect::<Result<_, _>>()?;
                condition(Op::In { negated: *negated, value, items })
            }
            ExprKind::TextTest { negated, test, left, right } => condition(Op::TextTest {
                negated: *negated,
                test: *test,
                left: self.node(left)?,
                right: self.node(right)?,
            }),
            ExprKind::IsKnown { negated, operand } => {
                condition(Op::IsKnown { negated: *negated, operand: self.node(operand)? })
            }
            ExprKind::Segment(name) => condition(Op::Segment(*self.segment_ids.get(&name.node).ok_or(Unbuildable)?)),
            ExprKind::Aggregate(aggregate) if aggregate.function.node == Function::Did => {
                condition(self.did(expr, aggregate)?)
            }
            _ => self.value_op(expr, text),
        }
    }

    fn value_op(&mut self, expr: &Expr, text: &str) -> Result<(Op, Type), Unbuildable> {
        match &expr.node {
            ExprKind::Arithmetic { op, left, right } => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                let value_type = operators::arithmetic(*op, self.type_of(left)?, self.type_of(right)?);
                Ok((Op::Arithmetic(*op, left, right), value_type.ok_or(Unbuildable)?))
            }
            ExprKind::Negate(part) => {
                let part = self.node(part)?;
                Ok((Op::Negate(part), self.type_of(part)?.clone()))
            }
            ExprKind::Literal(literal) => Ok((Op::Constant(self.literal(literal)?), operators::literal(literal))),
            ExprKind::Now => Ok((Op::Now, Type::Instant)),
            ExprKind::Trait(name) => {
                let id = *self.catalog.profile_trait_ids.get(&name.node).ok_or(Unbuildable)?;
                let declared = self.catalog.profile_traits.get(id.index()).ok_or(Unbuildable)?;
                Ok((Op::ProfileTrait(id), declared.value_type.clone()))
            }
            ExprKind::Aggregate(aggregate) => {
                let id = self.aggregate(aggregate)?;
                let value_type = self.catalog.aggregates.get(id.index()).ok_or(Unbuildable)?.value_type.clone();
                Ok((Op::Aggregate(id), value_type))
            }
            ExprKind::Bucket(salt) => Ok((Op::Bucket(salt.node.as_str().into()), Type::Number)),
            ExprKind::Age(part) => Ok((Op::Age(self.node(part)?), Type::Number)),
            ExprKind::Anniversary(part) => Ok((Op::Anniversary(self.node(part)?), Type::Duration)),
            ExprKind::Percentile(aggregate) => Ok((Op::Percentile(self.percentile(aggregate, text)?), Type::Number)),
            ExprKind::Coalesce(parts) => {
                let parts = self.all(parts)?;
                let value_type = self.type_of(*parts.first().ok_or(Unbuildable)?)?.clone();
                Ok((Op::Coalesce(parts), value_type))
            }
            _ => Err(Unbuildable),
        }
    }

    fn all(&mut self, parts: &[Expr]) -> Result<Vec<NodeId>, Unbuildable> {
        parts.iter().map(|part| self.node(part)).collect()
    }

    fn type_of(&self, node: NodeId) -> Result<&Type, Unbuildable> {
        self.catalog.nodes.get(node.index()).map(|node| &node.value_type).ok_or(Unbuildable)
    }

    /// `did(P)` is `count(P) >= 1`, and shares the count.
    fn did(&mut self, expr: &Expr, did: &WrittenAggregate) -> Result<Op, Unbuildable> {
        let function = Spanned { node: Function::Count, span: did.function.span };
        let count = WrittenAggregate { function, ..did.clone() };
        let count = self.node(&Expr { node: ExprKind::Aggregate(Box::new(count)), span: expr.span })?;
        let one = self.node(&Expr { node: ExprKind::Literal(Literal::Number(Decimal::ONE)), span: expr.span })?;
        Ok(Op::Compare(CompareOp::GreaterOrEqual, count, one))
    }

    fn hold(&mut self, condition: NodeId, duration_ms: i64, text: &str) -> HoldId {
        let id = HoldId(position(self.catalog.holds.len()));
        self.catalog.holds.push(Hold { key: self.state_key(text), condition, duration_ms });
        id
    }

    fn percentile(&mut self, aggregate: &Spanned<WrittenAggregate>, text: &str) -> Result<PercentileId, Unbuildable> {
        let aggregate = self.aggregate(&aggregate.node)?;
        let id = PercentileId(position(self.catalog.percentiles.len()));
        self.catalog.percentiles.push(Percentile { key: self.state_key(text), aggregate });
        Ok(id)
    }

    /// The stable name of the state of something: its text, and the time zone where that says what the text means.
    pub(super) fn state_key(&self, text: &str) -> u64 {
        if !has_bare_date(text) {
            return key(text);
        }
        key(&format!("{text} in {}", self.catalog.time_zone.0.iana_name().unwrap_or_default()))
    }

    pub(super) fn literal(&self, literal: &Literal) -> Result<Value, Unbuildable> {
        Ok(match literal {
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Number(value) => Value::Number(*value),
            Literal::Text(value) => Value::text(value),
            Literal::Duration(duration_ms) => Value::duration_ms(*duration_ms),
            Literal::Instant(instant) => Value::Instant(self.instant(instant)?),
        })
    }

    /// Epoch milliseconds.
    pub(super) fn instant(&self, instant: &InstantLiteral) -> Result<i64, Unbuildable> {
        match instant {
            InstantLiteral::Exact(instant) => Ok(*instant),
            InstantLiteral::Date(date) => midnight(*date, &self.catalog.time_zone.0).ok_or(Unbuildable),
        }
    }

    /// The id of a purpose, new if nobody has named it.
    pub(super) fn purpose(&mut self, purpose: &str) -> PurposeId {
        let purposes = &mut self.catalog.purposes;
        let found = purposes.iter().position(|other| other.name == purpose).unwrap_or_else(|| {
            purposes.push(Purpose { name: purpose.to_owned(), key: key(purpose) });
            purposes.len() - 1
        });
        PurposeId(position(found))
    }

    pub(super) fn push_aggregate(&mut self, aggregate: Aggregate) -> AggregateId {
        let id = AggregateId(position(self.catalog.aggregates.len()));
        self.catalog.aggregates.push(aggregate);
        id
    }
}

/// Whether a canonical text holds a date without a time of day outside of its quoted texts.
fn has_bare_date(text: &str) -> bool {
    const DATE: &[u8] = b"0000-00-00";
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.bytes().enumerate().any(|(place, byte)| {
        let ends_quote = byte == b'"' && !is_escaped;
        is_escaped = is_quoted && byte == b'\\' && !is_escaped;
        is_quoted ^= ends_quote;
        let rest = text.as_bytes().get(place..).unwrap_or_default();
        let is_date = rest.len() >= DATE.len()
            && DATE.iter().zip(rest).all(|(form, found)| match form {
                b'0' => found.is_ascii_digit(),
                dash => found == dash,
            });
        is_date && !is_quoted && rest.get(DATE.len()) != Some(&b'T')
    })
}

/// A position in a list of the catalog, which memory keeps far below the limit.
pub(super) fn position(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::has_bare_date;

    #[test]
    fn bare_dates_are_told_from_instants_and_texts() {
        for (text, expected) in [
            ("count(click since 2026-01-01)", true),
            ("count(click since 2026-01-01T00:00:00.000Z)", false),
            (r#"count(click where page = "2026-01-01")"#, false),
            (r#"count(click where page = "\"" since 2026-01-01)"#, true),
            ("count(click where page = \"\" over 1d)", false),
        ] {
            assert_eq!(has_bare_date(text), expected, "{text}");
        }
    }
}
