//! Expressions with their computed traits written out, in one normal form: what is shared, hashed and evaluated.

use super::super::ast::{Aggregate, Anchor, Expr, ExprKind, On, Operand, Pattern, PatternKind, Relation, Step, Window};

/// Written out, an expression has at most this many parts; traits of traits of traits grow fast.
const SIZE_LIMIT: usize = 20_000;

/// Written out, an expression is nested at most so deep; evaluation goes down as deep on a thread's stack.
const DEPTH_LIMIT: usize = 500;

/// The expression grew too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Writes out expressions; `traits` gives a computed trait's value, itself written out.
pub(super) struct Inliner<'a> {
    traits: &'a dyn Fn(&str) -> Option<&'a Expr>,
    size: usize,
    depth: usize,
}

impl<'a> Inliner<'a> {
    pub(super) fn new(traits: &'a dyn Fn(&str) -> Option<&'a Expr>) -> Self {
        Self { traits, size: 0, depth: 0 }
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Expr, TooLarge> {
        self.size += 1;
        self.depth += 1;
        if self.size > SIZE_LIMIT || self.depth > DEPTH_LIMIT {
            return Err(TooLarge);
        }
        let written = self.written(expr);
        self.depth -= 1;
        written
    }

    fn written(&mut self, expr: &Expr) -> Result<Expr, TooLarge> {
        let node = match &expr.node {
            ExprKind::Trait(name) => match (self.traits)(&name.node) {
                Some(value) => return self.expr(value),
                None => expr.node.clone(),
            },
            ExprKind::Or(parts) => ExprKind::Or(self.joined(parts, |kind| match kind {
                ExprKind::Or(parts) => Some(parts),
                _ => None,
            })?),
            ExprKind::And(parts) => ExprKind::And(self.joined(parts, |kind| match kind {
                ExprKind::And(parts) => Some(parts),
                _ => None,
            })?),
            ExprKind::Coalesce(parts) => ExprKind::Coalesce(self.all(parts)?),
            ExprKind::Not(part) => ExprKind::Not(self.boxed(part)?),
            ExprKind::Negate(part) => ExprKind::Negate(self.boxed(part)?),
            ExprKind::Age(part) => ExprKind::Age(self.boxed(part)?),
            ExprKind::Anniversary(part) => ExprKind::Anniversary(self.boxed(part)?),
            ExprKind::For { condition, duration_ms } => {
                ExprKind::For { condition: self.boxed(condition)?, duration_ms: duration_ms.clone() }
            }
            ExprKind::Compare { op, left, right } => {
                ExprKind::Compare { op: *op, left: self.boxed(left)?, right: self.boxed(right)? }
            }
            ExprKind::Between { negated, value, low, high } => ExprKind::Between {
                negated: *negated,
                value: self.boxed(value)?,
                low: self.boxed(low)?,
                high: self.boxed(high)?,
            },
            ExprKind::In { negated, value, items } => {
                self.size += items.len();
                ExprKind::In { negated: *negated, value: self.boxed(value)?, items: items.clone() }
            }
            ExprKind::TextTest { negated, test, left, right } => ExprKind::TextTest {
                negated: *negated,
                test: *test,
                left: self.boxed(left)?,
                right: self.boxed(right)?,
            },
            ExprKind::IsKnown { negated, operand } => {
                ExprKind::IsKnown { negated: *negated, operand: self.boxed(operand)? }
            }
            ExprKind::Arithmetic { op, left, right } => {
                ExprKind::Arithmetic { op: *op, left: self.boxed(left)?, right: self.boxed(right)? }
            }
            ExprKind::Aggregate(aggregate) => ExprKind::Aggregate(Box::new(self.aggregate(aggregate)?)),
            ExprKind::Percentile(aggregate) => {
                let mut written = aggregate.clone();
                written.node = self.aggregate(&aggregate.node)?;
                ExprKind::Percentile(written)
            }
            ExprKind::Literal(_) | ExprKind::Now | ExprKind::Field(_) | ExprKind::Segment(_) | ExprKind::Bucket(_) => {
                expr.node.clone()
            }
        };
        Ok(Expr { node, span: expr.span })
    }

    fn boxed(&mut self, expr: &Expr) -> Result<Box<Expr>, TooLarge> {
        self.expr(expr).map(Box::new)
    }

    fn all(&mut self, parts: &[Expr]) -> Result<Vec<Expr>, TooLarge> {
        parts.iter().map(|part| self.expr(part)).collect()
    }

    /// The parts of `and` or `or`, those of the same kind inside them among them.
    fn joined(&mut self, parts: &[Expr], same: fn(ExprKind) -> Option<Vec<Expr>>) -> Result<Vec<Expr>, TooLarge> {
        let mut joined = Vec::with_capacity(parts.len());
        for part in self.all(parts)? {
            match same(part.node.clone()) {
                Some(inner) => joined.extend(inner),
                None => joined.push(part),
            }
        }
        Ok(joined)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Aggregate, TooLarge> {
        let over = match &aggregate.over {
            Operand::Pattern(pattern) => Operand::Pattern(self.pattern(pattern)?),
            Operand::Values { source, path, filter } => {
                Operand::Values { source: source.clone(), path: path.clone(), filter: self.filter(filter.as_deref())? }
            }
        };
        let window = match &aggregate.window {
            Window::SinceAnchor(anchor) => {
                let filter = self.filter(anchor.filter.as_deref())?;
                Window::SinceAnchor(Box::new(Anchor { filter, ..anchor.as_ref().clone() }))
            }
            other => other.clone(),
        };
        Ok(Aggregate { function: aggregate.function.clone(), over, window })
    }

    fn filter(&mut self, filter: Option<&Expr>) -> Result<Option<Box<Expr>>, TooLarge> {
        filter.map(|filter| self.boxed(filter)).transpose()
    }

    fn pattern(&mut self, pattern: &Pattern) -> Result<Pattern, TooLarge> {
        let kind = match &pattern.kind {
            PatternKind::Step(step) => match step.as_ref() {
                // A pattern in parentheses of its own is that pattern.
                Step::Pattern(inner) => return self.pattern(inner),
                step @ Step::Events { .. } => PatternKind::Step(Box::new(self.step(step)?)),
            },
            PatternKind::Then(relation) => PatternKind::Then(self.relation(relation)?),
            PatternKind::Without(relation) => PatternKind::Without(self.relation(relation)?),
            PatternKind::After(relation) => PatternKind::After(self.relation(relation)?),
        };
        Ok(Pattern { kind, span: pattern.span })
    }

    fn relation(&mut self, relation: &Relation) -> Result<Box<Relation>, TooLarge> {
        let on = relation
            .on
            .as_ref()
            .map(|on| On { second: on.second.clone().filter(|second| !same_path(second, &on.first)), ..on.clone() });
        let (first, second) = (self.step(&relation.first)?, self.step(&relation.second)?);
        Ok(Box::new(Relation { first, second, on, duration_ms: relation.duration_ms.clone() }))
    }

    fn step(&mut self, step: &Step) -> Result<Step, TooLarge> {
        self.size += 1;
        match step {
            Step::Events { source, filter } => {
                Ok(Step::Events { source: source.clone(), filter: self.filter(filter.as_deref())? })
            }
            Step::Pattern(pattern) => {
                let pattern = self.pattern(pattern)?;
                // A single step in parentheses is that step.
                Ok(match pattern.kind {
                    PatternKind::Step(step) => *step,
                    _ => Step::Pattern(Box::new(pattern)),
                })
            }
        }
    }
}

fn same_path(a: &super::super::ast::Path, b: &super::super::ast::Path) -> bool {
    let names = |path: &super::super::ast::Path| path.names.iter().map(|name| name.node.clone()).collect::<Vec<_>>();
    names(a) == names(b)
}
