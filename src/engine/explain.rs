//! Why a customer is, or is not, in a segment: each condition with its value, and when it will next flip if nothing
//! else happens. The same evaluation as the one that decides, watched.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Engine;
use super::catalog::{Catalog, NodeId, Op, SegmentId};
use super::customer::{Customer, Standing};
use super::evaluator::Evaluator;
use super::missing::{self, Missing};
use super::value::Value;
use super::why;

/// How many instants ahead are looked at for the next flip at most, and how many conditions at all of them together, before
/// giving up: whoever asks must not hold up the customers.
const STEPS_MAX: usize = 10_000;
const LOOKS_MAX: usize = 100_000;

/// A segment and a customer at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Which segment.
    pub segment: SegmentId,
    /// How they stand.
    pub standing: Standing,
    /// When time alone will next begin or end the membership; `None` if never.
    pub next_flip: Option<i64>,
    /// Flips were looked for up to this instant, milliseconds since the epoch; `None` if as far as there are any.
    pub looked_until: Option<i64>,
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
    /// Explains segments to a customer at `now`, which must not be before the customer's own time.
    #[must_use]
    pub fn explain(
        &mut self,
        customer_id: &str,
        customer: &Customer,
        segments: &[SegmentId],
        now: i64,
    ) -> Vec<Explanation> {
        let mut customer = customer.clone();
        self.elapse(customer_id, &mut customer, now.saturating_add(1), &mut Vec::new());
        let catalog = self.catalog().clone();
        let mut nodes = Conditions::default();
        for segment in segments {
            let definition = &catalog.segments[segment.index()];
            nodes.list(&catalog, definition.when);
            definition.ending.into_iter().for_each(|until| nodes.list(&catalog, until));
        }
        let flips = self.next_flips(customer_id, &customer, &nodes.ids, segments, now);

        let mut evaluator =
            Evaluator::new(&self.catalog, &self.cut_offs, &mut customer, customer_id, now, &mut self.scratch);
        let flip_of = |node: NodeId| nodes.places.get(&node).and_then(|place| flips.of_nodes[*place]);
        let explained = segments.iter().zip(&flips.of_segments).map(|(segment, next_flip)| {
            let definition = &catalog.segments[segment.index()];
            let standing = evaluator.customer.standing(definition.key);
            let when = condition(&mut evaluator, definition.when, true, &flip_of);
            let until = definition.ending.map(|until| condition(&mut evaluator, until, true, &flip_of));
            let looked_until = flips.looked_until;
            Explanation { segment: *segment, standing, next_flip: *next_flip, looked_until, when, until }
        });
        explained.collect()
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

    /// Lets time pass for a copy of the customer until every condition and membership has flipped, or nothing more is to
    /// come, or it would take too long.
    fn next_flips(
        &mut self,
        customer_id: &str,
        customer: &Customer,
        nodes: &[NodeId],
        segments: &[SegmentId],
        now: i64,
    ) -> Flips {
        let catalog = self.catalog().clone();
        let key_of = |segment: &SegmentId| catalog.segments[segment.index()].key;
        let is_member = |customer: &Customer| -> Vec<bool> {
            segments.iter().map(|segment| customer.standing(key_of(segment)).member).collect()
        };
        let was_member = is_member(customer);
        let mut customer = customer.clone();
        let mut flips =
            Flips { of_nodes: vec![None; nodes.len()], of_segments: vec![None; segments.len()], looked_until: None };
        let (before, mut until) = self.look(customer_id, &mut customer, nodes, now);
        let next_step = |customer: &Customer, until| [customer.deadline, until].into_iter().flatten().min();
        for _ in 0..(LOOKS_MAX / nodes.len().max(1)).clamp(10, STEPS_MAX) {
            let Some(next) = next_step(&customer, until) else { return flips };
            self.elapse(customer_id, &mut customer, next.saturating_add(1), &mut Vec::new());
            let (after, next_until) = self.look(customer_id, &mut customer, nodes, next);
            until = next_until;
            note(&mut flips.of_nodes, &before, &after, next);
            note(&mut flips.of_segments, &was_member, &is_member(&customer), next);
            if flips.of_nodes.iter().chain(&flips.of_segments).all(Option::is_some) {
                return flips;
            }
        }
        flips.looked_until = next_step(&customer, until);
        flips
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

/// The conditions of some segments, each once, with their places in the list.
#[derive(Default)]
struct Conditions {
    ids: Vec<NodeId>,
    places: HashMap<NodeId, usize>,
}

impl Conditions {
    fn list(&mut self, catalog: &Catalog, id: NodeId) {
        if self.places.contains_key(&id) {
            return;
        }
        self.places.insert(id, self.ids.len());
        self.ids.push(id);
        let op = &catalog.nodes[id.index()].op;
        if matches!(op, Op::And(_) | Op::Or(_) | Op::Not(_)) {
            op.operands().for_each(|operand| self.list(catalog, operand));
        }
    }
}

/// When what flips.
struct Flips {
    of_nodes: Vec<Option<i64>>,
    of_segments: Vec<Option<i64>>,
    /// Where the look was broken off.
    looked_until: Option<i64>,
}

/// Notes the first instant at which something is not what it was.
fn note(flips: &mut [Option<i64>], before: &[bool], after: &[bool], at: i64) {
    for (flip, (before, after)) in flips.iter_mut().zip(before.iter().zip(after)) {
        if before != after {
            flip.get_or_insert(at);
        }
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
