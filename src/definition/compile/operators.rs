//! The types that operators take and give: `segments.md` section 3, for the checker and for the compiled graph.

use crate::engine::catalog::ArithmeticOp;
use crate::engine::value::Type;

use super::super::ast::Literal;

/// The type of `left op right`, if it has one.
pub(super) fn arithmetic(op: ArithmeticOp, left: &Type, right: &Type) -> Option<Type> {
    use Type::{Duration, Instant, Number};
    match (op, left, right) {
        (_, Number, Number) => Some(Number),
        (ArithmeticOp::Add | ArithmeticOp::Subtract, Duration, Duration) => Some(Duration),
        (ArithmeticOp::Add | ArithmeticOp::Subtract, Instant, Duration) => Some(Instant),
        (ArithmeticOp::Add, Duration, Instant) => Some(Instant),
        (ArithmeticOp::Subtract, Instant, Instant) => Some(Duration),
        (ArithmeticOp::Multiply, Duration, Number) | (ArithmeticOp::Multiply, Number, Duration) => Some(Duration),
        (ArithmeticOp::Divide, Duration, Number) => Some(Duration),
        (ArithmeticOp::Divide, Duration, Duration) => Some(Number),
        _ => None,
    }
}

/// Whether values of a type come in an order that definitions can ask about.
pub(super) fn is_ordered(value_type: &Type) -> bool {
    matches!(value_type, Type::Number | Type::Instant | Type::Duration)
}

/// The type of a literal.
pub(super) fn literal(literal: &Literal) -> Type {
    match literal {
        Literal::Bool(_) => Type::Bool,
        Literal::Number(_) => Type::Number,
        Literal::Text(_) => Type::Text,
        Literal::Duration(_) => Type::Duration,
        Literal::Instant(_) => Type::Instant,
    }
}

/// What an aggregate sees of a value: of a list, its elements.
pub(super) fn element(value_type: &Type) -> &Type {
    match value_type {
        Type::List(item) => item,
        other => other,
    }
}
