//! Why a condition is what it is: the conditions in it that decided, with the values they had.

use super::catalog::{NodeId, Op};
use super::effects::Reason;
use super::evaluator::Evaluator;
use super::value::{Type, Value};

/// The conditions that made `id` what it is now: all of a true `and`, the true ones of an `or`, and the other way round.
pub(super) fn reasons(evaluator: &mut Evaluator<'_>, id: NodeId) -> Vec<Reason> {
    let mut reasons = Vec::with_capacity(1);
    collect(evaluator, id, &mut reasons);
    reasons
}

fn collect(evaluator: &mut Evaluator<'_>, id: NodeId, reasons: &mut Vec<Reason>) {
    let holds = evaluator.truth(id);
    match &evaluator.node(id).op {
        Op::And(operands) | Op::Or(operands) => {
            for operand in operands {
                if evaluator.truth(*operand) == holds {
                    collect(evaluator, *operand, reasons);
                }
            }
        }
        Op::Not(operand) => collect(evaluator, *operand, reasons),
        _ => {
            let reason = Reason { condition: evaluator.node(id).text.clone(), value: telling_value(evaluator, id) };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
}

/// The value that tells most about a condition: the side of a comparison that is not a literal, its own truth otherwise.
pub(super) fn telling_value(evaluator: &mut Evaluator<'_>, id: NodeId) -> Value {
    let node = evaluator.node(id);
    let is_literal = |id: NodeId, evaluator: &Evaluator<'_>| matches!(evaluator.node(id).op, Op::Constant(_));
    let told = match &node.op {
        Op::Compare(..) if node.text.starts_with("did(") => id,
        Op::Compare(_, left, right) if is_literal(*left, evaluator) => *right,
        Op::Compare(_, left, _) => *left,
        Op::Between { value, .. } | Op::In { value, .. } => *value,
        Op::TextTest { left, .. } => *left,
        Op::IsKnown { operand, .. } => *operand,
        _ => id,
    };
    if told == id && node.value_type == Type::Bool {
        return Value::Bool(evaluator.truth(id));
    }
    evaluator.value(told).clone()
}
