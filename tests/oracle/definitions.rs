//! A set of definitions as the oracle sees it: names and parsed expressions.

use std::collections::BTreeMap;

use segue::definition::ast::{Aggregate, Expr, ExprKind, Operand, Pattern, PatternKind, Step};

use crate::record::FieldType;

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) when: Expr,
    pub(crate) until: Option<Expr>,
    pub(crate) purpose: Option<String>,
    pub(crate) carry: Vec<String>,
}

/// A group and its tiers, first match first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) purpose: Option<String>,
    pub(crate) tiers: Vec<(String, Expr)>,
    pub(crate) carry: Vec<String>,
}

/// A whole set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) profile: BTreeMap<String, FieldType>,
    pub(crate) traits: Vec<(String, Expr)>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) groups: Vec<Group>,
}

impl Set {
    /// The traits that go with the changes of a segment or tier.
    pub(crate) fn carried(&self, segment: &str) -> &[String] {
        match segment.split_once('.') {
            Some((group, _)) => {
                self.groups.iter().find(|known| known.name == group).map(|group| group.carry.as_slice())
            }
            None => self.segments.iter().find(|known| known.name == segment).map(|segment| segment.carry.as_slice()),
        }
        .unwrap_or_default()
    }

    /// All expressions of the set.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let traits = self.traits.iter().map(|(_, value)| value);
        let segments = self.segments.iter().flat_map(|segment| std::iter::once(&segment.when).chain(&segment.until));
        let tiers = self.groups.iter().flat_map(|group| group.tiers.iter().map(|(_, when)| when));
        traits.chain(segments).chain(tiers)
    }
}

/// Calls `see` on an expression and all expressions in it, filters left out (they hold no aggregates).
pub(crate) fn walk<'a>(expr: &'a Expr, see: &mut dyn FnMut(&'a Expr)) {
    see(expr);
    match &expr.node {
        ExprKind::Or(parts) | ExprKind::And(parts) | ExprKind::Coalesce(parts) => {
            for part in parts {
                walk(part, see);
            }
        }
        ExprKind::Not(part)
        | ExprKind::Negate(part)
        | ExprKind::Age(part)
        | ExprKind::Anniversary(part)
        | ExprKind::For { condition: part, .. }
        | ExprKind::In { value: part, .. }
        | ExprKind::IsKnown { operand: part, .. } => walk(part, see),
        ExprKind::Compare { left, right, .. }
        | ExprKind::TextTest { left, right, .. }
        | ExprKind::Arithmetic { left, right, .. } => {
            walk(left, see);
            walk(right, see);
        }
        ExprKind::Between { value, low, high, .. } => {
            for part in [value, low, high] {
                walk(part, see);
            }
        }
        ExprKind::Literal(_)
        | ExprKind::Now
        | ExprKind::Trait(_)
        | ExprKind::Field(_)
        | ExprKind::Aggregate(_)
        | ExprKind::Segment(_)
        | ExprKind::Bucket(_)
        | ExprKind::Percentile(_) => {}
    }
}

/// The aggregates of an expression.
pub(crate) fn aggregates(expr: &Expr) -> Vec<&Aggregate> {
    let mut found = vec![];
    walk(expr, &mut |part| match &part.node {
        ExprKind::Aggregate(aggregate) => found.push(&**aggregate),
        ExprKind::Percentile(aggregate) => found.push(&aggregate.node),
        _ => {}
    });
    found
}

/// The aggregates by which customers are ranked.
pub(crate) fn percentiles(expr: &Expr) -> Vec<&Aggregate> {
    let mut found = vec![];
    walk(expr, &mut |part| {
        if let ExprKind::Percentile(aggregate) = &part.node {
            found.push(&aggregate.node);
        }
    });
    found
}

/// The two-step patterns in a pattern, inner ones first.
pub(crate) fn relations(pattern: &Pattern) -> Vec<&Pattern> {
    let (PatternKind::Then(relation) | PatternKind::Without(relation) | PatternKind::After(relation)) = &pattern.kind
    else {
        return match &pattern.kind {
            PatternKind::Step(step) => in_step(step),
            _ => vec![],
        };
    };
    let mut found = in_step(&relation.first);
    found.extend(in_step(&relation.second));
    found.push(pattern);
    found
}

fn in_step(step: &Step) -> Vec<&Pattern> {
    match step {
        Step::Events { .. } => vec![],
        Step::Pattern(pattern) => relations(pattern),
    }
}

/// The pattern of a `did` or a `count`.
pub(crate) fn pattern(aggregate: &Aggregate) -> Option<&Pattern> {
    match &aggregate.over {
        Operand::Pattern(pattern) => Some(pattern),
        Operand::Values { .. } => None,
    }
}
