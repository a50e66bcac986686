//! The value of each node of the graph for one customer at one instant, and the instant until which it stays that if
//! nothing else happens.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::accumulator::value_of_nothing;
use super::catalog::{
    Aggregate, AggregateId, Catalog, CompareOp, Function, HoldId, Node, NodeId, Op, PercentileId, Window,
};
use super::customer::{self, Customer, find};
use super::percentile::CutOffs;
use super::series::{Reading, Series, View};
use super::value::Value;
use super::{arithmetic, bucket, calendar, crossing};

/// What a node is at the instant of evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Its value.
    pub value: Value,
    /// Before this instant nothing but the passing of `now` itself changes it.
    pub until: i64,
    /// Whether it moves with `now` meanwhile (`now - last(purchase)`), rather than staying as it is.
    pub moves: bool,
}

impl Answer {
    /// A value that time does not change.
    fn fixed(value: Value) -> Self {
        Self { value, until: i64::MAX, moves: false }
    }

    /// Whether it is unknown however `now` moves.
    fn is_unknown_for_good(&self) -> bool {
        !self.value.is_known() && !self.moves
    }

    /// A truth value that holds until an instant.
    fn truth(value: bool, until: i64) -> Self {
        Self { value: Value::Bool(value), until, moves: false }
    }
}

/// Answers of an evaluation, kept to share sub-expressions; reused by the next one without clearing.
#[derive(Debug, Default)]
pub struct Scratch {
    answers: Vec<(u32, Answer)>,
    truths: Vec<(u32, bool)>,
    round: u32,
}

impl Scratch {
    fn begin(&mut self, n_nodes: usize) {
        self.round = self.round.wrapping_add(1);
        if self.answers.len() != n_nodes || self.round == 0 {
            self.answers.clear();
            self.answers.resize_with(n_nodes, Default::default);
            self.truths.clear();
            self.truths.resize(n_nodes, (0, false));
            self.round = 1;
        }
    }
}

/// One evaluation: a customer at an instant.
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub(super) catalog: &'a Catalog,
    /// Holds and standings move on as their nodes are evaluated, the rest stays.
    pub(super) customer: &'a mut Customer,
    pub(super) customer_id: &'a str,
    pub(super) now: i64,
    cut_offs: &'a CutOffs,
    /// Whether a held condition began or ended.
    pub(super) hold_flipped: bool,
    scratch: &'a mut Scratch,
}

impl<'a> Evaluator<'a> {
    /// An evaluation of `customer` at `now`, with what percentiles compare with.
    pub fn new(
        catalog: &'a Catalog,
        cut_offs: &'a CutOffs,
        customer: &'a mut Customer,
        customer_id: &'a str,
        now: i64,
        scratch: &'a mut Scratch,
    ) -> Self {
        scratch.begin(catalog.nodes.len());
        Self { catalog, customer, customer_id, now, cut_offs, hold_flipped: false, scratch }
    }

    /// What a node is now.
    pub fn answer(&mut self, id: NodeId) -> &Answer {
        if self.scratch.answers[id.index()].0 != self.scratch.round {
            let answer = self.compute(id);
            self.scratch.answers[id.index()] = (self.scratch.round, answer);
        }
        &self.scratch.answers[id.index()].1
    }

    /// A node's value now.
    pub fn value(&mut self, id: NodeId) -> &Value {
        &self.answer(id).value
    }

    /// Whether a condition holds now; unknown is false.
    pub fn is_true(&mut self, id: NodeId) -> bool {
        self.value(id).is_true()
    }

    /// The same without asking until when, which takes longer.
    pub(super) fn truth(&mut self, id: NodeId) -> bool {
        let Scratch { answers, truths, round } = &*self.scratch;
        let (answered, looked) = (&answers[id.index()], truths[id.index()]);
        if answered.0 == *round {
            return answered.1.value.is_true();
        }
        if looked.0 == *round {
            return looked.1;
        }
        let truth = match &self.node(id).op {
            Op::And(operands) => operands.iter().all(|operand| self.truth(*operand)),
            Op::Or(operands) => operands.iter().any(|operand| self.truth(*operand)),
            Op::Not(operand) => !self.truth(*operand),
            Op::Compare(op, left, right) => match &self.node(*right).op {
                Op::Constant(constant) => arithmetic::compare(*op, self.value(*left), constant),
                _ => self.holds(id),
            },
            Op::Between { .. } | Op::In { .. } | Op::TextTest { .. } | Op::IsKnown { .. } => self.holds(id),
            _ => self.is_true(id),
        };
        self.scratch.truths[id.index()] = (self.scratch.round, truth);
        truth
    }

    pub(super) fn node(&self, id: NodeId) -> &'a Node {
        &self.catalog.nodes[id.index()]
    }

    fn compute(&mut self, id: NodeId) -> Answer {
        match &self.node(id).op {
            Op::Constant(value) => Answer::fixed(value.clone()),
            Op::Now => Answer { value: Value::Instant(self.now), until: i64::MAX, moves: true },
            Op::ProfileTrait(profile_trait) => {
                let key = self.catalog.profile_traits[profile_trait.index()].key;
                Answer::fixed(find(&self.customer.profile, key).map(|dated| dated.value.clone()).unwrap_or_default())
            }
            Op::Consent(purpose) => {
                let key = self.catalog.purposes[purpose.index()].key;
                Answer::truth(find(&self.customer.consents, key).is_some_and(|dated| dated.value), i64::MAX)
            }
            Op::Segment(segment) => {
                let key = self.catalog.segments[segment.index()].key;
                Answer::truth(self.customer.standing(key).member, i64::MAX)
            }
            Op::Bucket(salt) => Answer::fixed(bucket::bucket(salt, self.customer_id)),
            Op::Percentile(percentile) => self.percentile(*percentile),
            Op::Aggregate(aggregate) => {
                let Reading { value, until } = self.reading(*aggregate);
                Answer { value, until, moves: false }
            }
            Op::Held(hold) => self.held(*hold),
            Op::Age(operand) => self.age(id, *operand),
            Op::Anniversary(operand) => self.anniversary(*operand),
            Op::Coalesce(operands) => self.coalesce(operands),
            Op::Negate(_) | Op::Arithmetic(..) => self.arithmetic(id),
            Op::Not(operand) => {
                let answer = self.answer(*operand);
                Answer::truth(!answer.value.is_true(), answer.until)
            }
            Op::And(operands) => self.junction(operands, false),
            Op::Or(operands) => self.junction(operands, true),
            Op::Compare(op, left, right) => self.compare(id, *op, *left, *right),
            Op::Between { .. } | Op::In { .. } | Op::TextTest { .. } | Op::IsKnown { .. } => self.test(id),
        }
    }

    /// An aggregate's value in its window.
    pub(super) fn reading(&self, id: AggregateId) -> Reading {
        reading(self.catalog, self.customer, id, self.now)
    }

    fn percentile(&self, id: PercentileId) -> Answer {
        let percentile = &self.catalog.percentiles[id.index()];
        let ranked = ranked(self.catalog, self.customer, percentile.aggregate, self.now);
        let Some(Reading { value, until }) = ranked else { return Answer::fixed(Value::Unknown) };
        let rank = value.position().map(|value| self.cut_offs.percentile(percentile.key, value));
        Answer { value: rank.unwrap_or_default(), until, moves: false }
    }

    /// `P for D`: keeps up since when P holds.
    pub(super) fn held(&mut self, id: HoldId) -> Answer {
        let hold = &self.catalog.holds[id.index()];
        let condition = self.answer(hold.condition);
        let (holds, until) = (condition.value.is_true(), condition.until);
        let began = find(&self.customer.holds, hold.key).copied();
        self.hold_flipped |= holds != began.is_some();
        if !holds {
            customer::remove(&mut self.customer.holds, hold.key);
            return Answer::truth(false, until);
        }
        let now = self.now;
        let since = *customer::entry(&mut self.customer.holds, hold.key, || now);
        let turns_true = since.saturating_add(hold.duration_ms);
        if turns_true <= now { Answer::truth(true, until) } else { Answer::truth(false, until.min(turns_true)) }
    }

    fn age(&mut self, id: NodeId, operand: NodeId) -> Answer {
        let (now, zone) = (self.now, &self.catalog.time_zone.0);
        let Answer { value, until, moves } = self.answer(operand).clone();
        let Value::Instant(born) = value else { return Answer { value: Value::Unknown, until, moves } };
        let Some((years, changes_at)) = calendar::age(born, now, zone) else { return Answer::fixed(Value::Unknown) };
        let value = Value::Number(Decimal::from(years));
        if moves {
            return Answer { value, until: crossing::next_age(self, id, until), moves: false };
        }
        Answer { value, until: until.min(changes_at), moves: false }
    }

    fn anniversary(&mut self, operand: NodeId) -> Answer {
        let (now, zone) = (self.now, &self.catalog.time_zone.0);
        let Answer { value, until, moves } = self.answer(operand).clone();
        let Value::Instant(date) = value else { return Answer { value: Value::Unknown, until, moves } };
        let Some((away_ms, steady_until)) = calendar::anniversary(date, now, zone) else {
            return Answer::fixed(Value::Unknown);
        };
        Answer { value: Value::duration_ms(away_ms), until: until.min(steady_until), moves: moves || away_ms > 0 }
    }

    fn coalesce(&mut self, operands: &[NodeId]) -> Answer {
        let mut until = i64::MAX;
        let mut moves = false;
        for operand in operands {
            let answer = self.answer(*operand);
            until = until.min(answer.until);
            moves |= answer.moves;
            if answer.value.is_known() {
                return Answer { value: answer.value.clone(), until, moves };
            }
        }
        Answer { value: Value::Unknown, until, moves }
    }

    fn arithmetic(&mut self, id: NodeId) -> Answer {
        match &self.node(id).op {
            Op::Negate(operand) => {
                let answer = self.answer(*operand);
                Answer { value: arithmetic::negate(&answer.value), until: answer.until, moves: answer.moves }
            }
            Op::Arithmetic(op, left, right) => {
                let left_answer = self.answer(*left).clone();
                let right_answer = self.answer(*right);
                if let Some(unknown) =
                    [&left_answer, right_answer].into_iter().find(|answer| answer.is_unknown_for_good())
                {
                    return unknown.clone();
                }
                Answer {
                    value: arithmetic::arithmetic(*op, &left_answer.value, &right_answer.value),
                    until: left_answer.until.min(right_answer.until),
                    moves: left_answer.moves || right_answer.moves,
                }
            }
            _ => Answer::fixed(Value::Unknown),
        }
    }

    /// `and` (decided by a false operand) or `or` (decided by a true one): one that decides is enough, and the one that
    /// lasts longest says until when. Those that are quickly known come first, as they may make the others unnecessary.
    fn junction(&mut self, operands: &[NodeId], decisive: bool) -> Answer {
        let mut undecided_until = i64::MAX;
        let mut decided_until = None;
        for quick in [true, false] {
            for operand in operands {
                if self.is_quick(*operand) != quick {
                    continue;
                }
                let answer = self.answer(*operand);
                if answer.value.is_true() == decisive {
                    if answer.until == i64::MAX {
                        return Answer::truth(decisive, i64::MAX);
                    }
                    decided_until = decided_until.max(Some(answer.until));
                } else {
                    undecided_until = undecided_until.min(answer.until);
                }
            }
        }
        match decided_until {
            Some(until) => Answer::truth(decisive, until),
            None => Answer::truth(!decisive, undecided_until),
        }
    }

    fn is_quick(&self, id: NodeId) -> bool {
        match &self.node(id).op {
            Op::Compare(_, left, _) => match &self.node(*left).op {
                Op::Aggregate(aggregate) => {
                    let function = self.catalog.aggregates[aggregate.index()].function;
                    !matches!(function, Function::Top | Function::List | Function::Distinct)
                }
                operand => matches!(operand, Op::ProfileTrait(_)),
            },
            op => matches!(op, Op::Consent(_) | Op::Segment(_)),
        }
    }

    fn compare(&mut self, id: NodeId, op: CompareOp, left: NodeId, right: NodeId) -> Answer {
        if let (Op::Aggregate(aggregate), Op::Constant(threshold)) = (&self.node(left).op, &self.node(right).op) {
            let aggregate = &self.catalog.aggregates[aggregate.index()];
            if looks_past_departures(aggregate) {
                return self.compare_window(aggregate, op, threshold);
            }
        }
        self.test(id)
    }

    /// A sliding aggregate against a threshold: holds until enough has left the window to matter.
    fn compare_window(&self, aggregate: &Aggregate, op: CompareOp, threshold: &Value) -> Answer {
        let Some(series) = find(&self.customer.aggregates, aggregate.key) else {
            return Answer::truth(arithmetic::compare(op, &value_of_nothing(aggregate.function), threshold), i64::MAX);
        };
        let view = View::new(self.catalog, aggregate, self.now, None);
        let (holds_now, until) = match (aggregate.function, threshold) {
            (Function::Count | Function::Distinct, Value::Number(threshold)) => {
                let is_negative = *threshold < Decimal::ZERO;
                let least = threshold.ceil().to_u64().unwrap_or(if is_negative { 0 } else { u64::MAX });
                let is_whole = !is_negative && threshold.fract().is_zero();
                series.count_holds_until(&view, |count| arithmetic::compare_count(op, count, least, is_whole))
            }
            _ => series.holds_until(&view, |value: &Value| arithmetic::compare(op, value, threshold)),
        };
        Answer::truth(holds_now, until)
    }

    /// A condition over operands that may move with now.
    fn test(&mut self, id: NodeId) -> Answer {
        let mut until = i64::MAX;
        let mut moves = false;
        for operand in self.node(id).op.operands() {
            let answer = self.answer(operand);
            until = until.min(answer.until);
            moves |= answer.moves;
        }
        let holds = self.holds(id);
        if moves {
            until = crossing::next_flip(self, id, holds, until);
        }
        Answer::truth(holds, until)
    }

    /// Whether a comparison of its operands' present values holds.
    fn holds(&mut self, id: NodeId) -> bool {
        let op = &self.node(id).op;
        for operand in op.operands() {
            self.answer(operand);
        }
        let value = |operand: &NodeId| &self.scratch.answers[operand.index()].1.value;
        condition_holds(op, value)
    }
}

/// An aggregate's value in its window.
fn reading(catalog: &Catalog, customer: &Customer, id: AggregateId, now: i64) -> Reading {
    match viewed(catalog, customer, id, now) {
        Some((series, view)) => series.read(&view),
        None => Reading { value: value_of_nothing(catalog.aggregates[id.index()].function), until: i64::MAX },
    }
}

/// An aggregate's value as it is ranked among customers; `None` for one without an event in its window.
pub(super) fn ranked(catalog: &Catalog, customer: &Customer, id: AggregateId, now: i64) -> Option<Reading> {
    let (series, view) = viewed(catalog, customer, id, now)?;
    (!series.is_empty(&view)).then(|| series.read(&view))
}

/// What there is of an aggregate, and the part of it that its window holds; `None` if there is nothing.
fn viewed<'c>(
    catalog: &'c Catalog,
    customer: &'c Customer,
    id: AggregateId,
    now: i64,
) -> Option<(&'c Series, View<'c>)> {
    let aggregate = &catalog.aggregates[id.index()];
    let series = find(&customer.aggregates, aggregate.key)?;
    let anchor = match aggregate.window {
        Window::SinceAnchor { anchor } => match reading(catalog, customer, anchor, now).value {
            Value::Instant(instant) => Some(instant),
            _ => return None,
        },
        _ => None,
    };
    Some((series, View::new(catalog, aggregate, now, anchor)))
}

/// Only where it is worth it: windows that events leave, of functions that are quickly counted down.
fn looks_past_departures(aggregate: &Aggregate) -> bool {
    matches!(aggregate.window, Window::Over { .. } | Window::This(_)) && aggregate.function != Function::List
}

/// Whether a condition holds, given its operands' values.
pub(super) fn condition_holds<'v>(op: &Op, value: impl Fn(&NodeId) -> &'v Value) -> bool {
    match op {
        Op::Compare(op, left, right) => arithmetic::compare(*op, value(left), value(right)),
        Op::Between { negated, value: compared, low, high } => {
            arithmetic::between(*negated, value(compared), value(low), value(high))
        }
        Op::In { negated, value: sought, items } => arithmetic::is_in(*negated, value(sought), items),
        Op::TextTest { negated, test, left, right } => {
            arithmetic::text_test(*negated, *test, value(left), value(right))
        }
        Op::IsKnown { negated, operand } => value(operand).is_known() != *negated,
        _ => false,
    }
}
