//! Why a customer is, or is not, in a segment: each condition with its value, and when it will next flip if nothing
//! else happens. The same evaluation as the one that decides, watched.

use std::sync::Arc;

use super::Engine;
use super::catalog::{NodeId, Op, SegmentId};
use super::customer::{Customer, Standing};
use super::evaluator::Evaluator;
use super::missing::{self, Missing};
use super::value::Value;
use super::why;

/// How many instants ahead are looked at for the next flip before giving up.
const STEPS_MAX: usize = 10_000;

/// A segment and a customer at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Which segment.
    pub segment: SegmentId,
    /// How they stand.
    pub standing: Standing,
    /// When time alone will next begin or end the membership; `None` if never.
    pub next_flip: Option<i64>,
    /// The condition to enter, or to be a member at all.
    pub when: Condition,
    /// The condition that ends a membership, where there is one of its own.
    pub until: Option<Condition>,
}

/// A condition and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Its canonical text.
    pub text: Arc<str>,
    /// The value it had: of the left side for a comparison, its truth otherwise.
    pub value: Value,
    /// Whether it holds.
    pub holds: bool,
    /// Whether it is one of those that made the whole what it is.
    pub decides: bool,
    /// When time alone will next turn it; `None` if never.
    pub next_flip: Option<i64>,
    /// What it lacks, if it does not hold and that can be counted.
    pub missing: Option<Missing>,
    /// How its parts are joined: `and`, `or`, `not`; `None` for a condition without parts.
    pub junction: Option<&'static str>,
    /// Its parts.
    pub parts: Vec<Condition>,
}

impl Engine {
    /// Explains a segment to a customer at `now`, which must not be before the customer's own time.
    #[must_use]
    pub fn explain(&mut self, customer_id: &str, customer: &Customer, segment: SegmentId, now: i64) -> Explanation {
        let mut customer = customer.clone();
        self.elapse(customer_id, &mut customer, now.saturating_add(1), &mut Vec::new());
        let catalog = self.catalog().clone();
        let definition = &catalog.segments[segment.index()];
        let standing = customer.standing(definition.key);
        let mut nodes = Vec::new();
        self.list_conditions(definition.when, &mut nodes);
        definition.ending.into_iter().for_each(|until| self.list_conditions(until, &mut nodes));
        let (flips, membership_flip) = self.next_flips(customer_id, &customer, &nodes, segment, now);

        let mut evaluator =
            Evaluator::new(&self.catalog, &self.cut_offs, &mut customer, customer_id, now, &mut self.scratch);
        let flip_of = |node: NodeId| nodes.iter().position(|other| *other == node).and_then(|place| flips[place]);
        let when = condition(&mut evaluator, definition.when, true, &flip_of);
        let until = definition.ending.map(|until| condition(&mut evaluator, until, true, &flip_of));
        Explanation { segment, standing, next_flip: membership_flip, when, until }
    }

    /// A node's value for a customer at `now`, for traits.
    #[must_use]
    pub fn value_of(&mut self, customer_id: &str, customer: &Customer, node: NodeId, now: i64) -> Value {
        let mut customer = customer.clone();
        self.elapse(customer_id, &mut customer, now.saturating_add(1), &mut Vec::new());
        Evaluator::new(&self.catalog, &self.cut_offs, &mut customer, customer_id, now, &mut self.scratch)
            .value(node)
            .clone()
    }

    fn list_conditions(&self, id: NodeId, nodes: &mut Vec<NodeId>) {
        if nodes.contains(&id) {
            return;
        }
        nodes.push(id);
        let op = &self.catalog.nodes[id.index()].op;
        if matches!(op, Op::And(_) | Op::Or(_) | Op::Not(_)) {
            op.operands().for_each(|operand| self.list_conditions(operand, nodes));
        }
    }

    /// Lets time pass for a copy of the customer until every condition and the membership have flipped, or nothing more
    /// is to come.
    fn next_flips(
        &mut self,
        customer_id: &str,
        customer: &Customer,
        nodes: &[NodeId],
        segment: SegmentId,
        now: i64,
    ) -> (Vec<Option<i64>>, Option<i64>) {
        let key = self.catalog.segments[segment.index()].key;
        let was_member = customer.standing(key).member;
        let mut customer = customer.clone();
        let mut flips = vec![None; nodes.len()];
        let mut membership_flip = None;
        let (before, mut until) = self.look(customer_id, &mut customer, nodes, now);
        for _ in 0..STEPS_MAX {
            let Some(next) = [customer.deadline, until].into_iter().flatten().min() else { break };
            self.elapse(customer_id, &mut customer, next.saturating_add(1), &mut Vec::new());
            let (after, next_until) = self.look(customer_id, &mut customer, nodes, next);
            until = next_until;
            for (flip, _) in
                flips.iter_mut().zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after)
            {
                flip.get_or_insert(next);
            }
            if customer.standing(key).member != was_member {
                membership_flip.get_or_insert(next);
            }
            if membership_flip.is_some() && flips.iter().all(Option::is_some) {
                break;
            }
        }
        (flips, membership_flip)
    }

    /// Whether each node holds at `now`, and until when all of that stays so.
    fn look(
        &mut self,
        customer_id: &str,
        customer: &mut Customer,
        nodes: &[NodeId],
        now: i64,
    ) -> (Vec<bool>, Option<i64>) {
        let mut evaluator =
            Evaluator::new(&self.catalog, &self.cut_offs, customer, customer_id, now, &mut self.scratch);
        let mut until = i64::MAX;
        let holds = nodes
            .iter()
            .map(|node| {
                let answer = evaluator.answer(*node);
                until = until.min(answer.until);
                answer.value.is_true()
            })
            .collect();
        (holds, (until < i64::MAX).then_some(until))
    }
}

fn condition(
    evaluator: &mut Evaluator<'_>,
    id: NodeId,
    decides: bool,
    flip_of: &impl Fn(NodeId) -> Option<i64>,
) -> Condition {
    let node = evaluator.node(id);
    let holds = evaluator.is_true(id);
    let (junction, operands): (_, &[NodeId]) = match &node.op {
        Op::And(operands) => (Some("and"), operands),
        Op::Or(operands) => (Some("or"), operands),
        Op::Not(operand) => (Some("not"), std::slice::from_ref(operand)),
        _ => (None, &[]),
    };
    let parts = operands
        .iter()
        .map(|operand| {
            let part_decides = decides && (junction == Some("not") || evaluator.is_true(*operand) == holds);
            condition(evaluator, *operand, part_decides, flip_of)
        })
        .collect();
    let value = why::telling_value(evaluator, id);
    let missing = if holds { None } else { missing::missing(evaluator, id) };
    Condition { text: node.text.clone(), value, holds, decides, next_flip: flip_of(id), missing, junction, parts }
}
