//! What a condition that does not hold lacks, where that can be counted: two more purchases, or 14.50 more.

use rust_decimal::Decimal;

use super::catalog::{Aggregate, CompareOp, Function, NodeId, Op, Window};
use super::evaluator::Evaluator;
use super::value::Value;

/// How far a count or a sum is from what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// What there is.
    pub present: Decimal,
    /// How much more it takes.
    pub more: Decimal,
    /// Whether it takes even more than that: a sum that must be greater.
    pub strictly: bool,
    /// What is counted or summed up: `purchase where total > 5`, `purchase.total`.
    pub of: String,
    /// Whether events are counted, and not values summed up.
    pub is_count: bool,
    /// The instant, milliseconds since the epoch, from which on there is less: what is there now begins to leave.
    pub before: Option<i64>,
}

/// What the condition `id`, which does not hold, lacks; `None` if that cannot be counted.
pub(super) fn missing(evaluator: &mut Evaluator<'_>, id: NodeId) -> Option<Missing> {
    let (counted, asked, strictly) = match &evaluator.node(id).op {
        Op::Compare(CompareOp::GreaterOrEqual | CompareOp::Equal, left, right) if is_aggregate(evaluator, *left) => {
            (*left, *right, false)
        }
        Op::Compare(CompareOp::Greater, left, right) => (*left, *right, true),
        Op::Compare(CompareOp::LessOrEqual | CompareOp::Equal, left, right) => (*right, *left, false),
        Op::Compare(CompareOp::Less, left, right) => (*right, *left, true),
        Op::Between { negated: false, value, low, .. } => (*value, *low, false),
        _ => return None,
    };
    let Op::Aggregate(aggregate) = evaluator.node(counted).op else { return None };
    let Value::Number(asked) = *evaluator.value(asked) else { return None };
    let reading = evaluator.reading(aggregate);
    let Value::Number(present) = reading.value else { return None };
    let aggregate = &evaluator.catalog.aggregates[aggregate.index()];
    let is_whole = match aggregate.function {
        Function::Count | Function::Distinct => true,
        Function::Sum => false,
        _ => return None,
    };
    let least = match (is_whole, strictly) {
        (true, true) => asked.floor().checked_add(Decimal::ONE)?,
        (true, false) => asked.ceil(),
        (false, _) => asked,
    };
    let more = least.checked_sub(present).filter(|more| !more.is_sign_negative())?;
    Some(Missing {
        present,
        more,
        strictly: strictly && !is_whole,
        of: counted_text(aggregate),
        is_count: aggregate.function == Function::Count,
        before: (reading.until < i64::MAX).then_some(reading.until),
    })
}

fn is_aggregate(evaluator: &Evaluator<'_>, id: NodeId) -> bool {
    matches!(evaluator.node(id).op, Op::Aggregate(_))
}

/// What an aggregate is over: its text without the function and the window.
fn counted_text(aggregate: &Aggregate) -> String {
    let text = &*aggregate.text;
    let inside = text.split_once('(').map_or(text, |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let window = match aggregate.window {
        Window::Ever => return inside.to_owned(),
        Window::Over { .. } => " over ",
        Window::Since { .. } | Window::SinceAnchor { .. } => " since ",
        Window::This(_) => " this ",
    };
    inside.rsplit_once(window).map_or(inside, |(counted, _)| counted).to_owned()
}
