//! Filters see one event, not the customer: what they must not ask, and how they are built.

use crate::engine::catalog::FieldExpr;

use super::super::ast::{Expr, ExprKind};
use super::fields::EventScope;
use super::graph::{Graph, Unbuildable};

/// Why something cannot be in a filter.
pub(super) struct NotInFilter {
    pub(super) message: String,
    pub(super) help: String,
}

/// The reason, if there is one.
pub(super) fn not_in_filter(expr: &Expr, scope: &EventScope<'_>) -> Option<NotInFilter> {
    let (what, help) = match &expr.node {
        ExprKind::Now => ("`now`", "use a window instead: `over 30d`".to_owned()),
        ExprKind::Trait(name) => {
            ("a trait", format!("ask about it outside the aggregate: `… and trait.{} …`", name.node))
        }
        ExprKind::Aggregate(_) => ("an aggregate", "combine two aggregates outside: `did(…) and did(…)`".to_owned()),
        ExprKind::For { .. } => ("`for`", "put it after the whole condition: `did(…) for 7d`".to_owned()),
        ExprKind::Segment(name) => {
            ("a segment", format!("ask about it outside the aggregate: `… and segment(\"{}\")`", name.node))
        }
        ExprKind::Bucket(_) => ("`bucket`", "ask about it outside the aggregate: `… and bucket(…) < 0.1`".to_owned()),
        ExprKind::Age(_) => ("`age`", "use it outside the aggregate".to_owned()),
        ExprKind::Anniversary(_) => ("`anniversary`", "use it outside the aggregate".to_owned()),
        ExprKind::Percentile(_) => ("`percentile`", "use it outside the aggregate".to_owned()),
        _ => return None,
    };
    let message = format!("{what} cannot be in a `where`, which looks at one {} at a time", scope.name());
    Some(NotInFilter { message, help })
}

impl Graph<'_> {
    /// A checked filter over the slots of its event.
    pub(super) fn field_expr(&mut self, scope: &EventScope<'_>, expr: &Expr) -> Result<FieldExpr, Unbuildable> {
        let mut boxed = |part: &Expr| self.field_expr(scope, part).map(Box::new);
        Ok(match &expr.node {
            ExprKind::Or(parts) => FieldExpr::Or(self.field_exprs(scope, parts)?),
            ExprKind::And(parts) => FieldExpr::And(self.field_exprs(scope, parts)?),
            ExprKind::Coalesce(parts) => FieldExpr::Coalesce(self.field_exprs(scope, parts)?),
            ExprKind::Not(part) => FieldExpr::Not(boxed(part)?),
            ExprKind::Negate(part) => FieldExpr::Negate(boxed(part)?),
            ExprKind::Compare { op, left, right } => FieldExpr::Compare(*op, boxed(left)?, boxed(right)?),
            ExprKind::Between { negated, value, low, high } => {
                FieldExpr::Between(*negated, boxed(value)?, boxed(low)?, boxed(high)?)
            }
            ExprKind::In { negated, value, items } => {
                let value = boxed(value)?;
                let items = items.iter().map(|item| self.literal(&item.node)).collect::<Result<_, _>>()?;
                FieldExpr::In(*negated, value, items)
            }
            ExprKind::TextTest { negated, test, left, right } => {
                FieldExpr::TextTest(*negated, *test, boxed(left)?, boxed(right)?)
            }
            ExprKind::IsKnown { negated, operand } => FieldExpr::IsKnown(*negated, boxed(operand)?),
            ExprKind::Arithmetic { op, left, right } => FieldExpr::Arithmetic(*op, boxed(left)?, boxed(right)?),
            ExprKind::Literal(literal) => FieldExpr::Constant(self.literal(literal)?),
            ExprKind::Field(path) => {
                let field = scope.resolve(path).map_err(|_| Unbuildable)?;
                FieldExpr::Field(self.slot(scope, &field)?)
            }
            _ => return Err(Unbuildable),
        })
    }

    fn field_exprs(&mut self, scope: &EventScope<'_>, parts: &[Expr]) -> Result<Vec<FieldExpr>, Unbuildable> {
        parts.iter().map(|part| self.field_expr(scope, part)).collect()
    }
}
