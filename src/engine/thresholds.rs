//! What an aggregate is compared with. Its conditions' constants cut what its value can be into cells; a condition's truth
//! depends on the cell alone, so a value that stays in its cell changes nothing, and one that moves to another concerns
//! just the readers of the edges it crosses, however many segments there are.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::accumulator::value_of_nothing;
use super::catalog::{AggregateId, Catalog, NodeId, Op};
use super::evaluator::condition_holds;
use super::readers::Root;
use super::value::Value;

/// Where a value is among the thresholds: 0 unknown, 1 below all, then at the first, between the first and the second, at
/// the second …
pub(super) type Cell = u32;

/// The cells of one aggregate's value and who reads what happens at the edges between them.
#[derive(Debug, Clone)]
pub(super) struct Thresholds {
    /// In order, each once.
    values: Vec<Value>,
    /// Whose conditions turn between each cell and the next.
    edges: Vec<Box<[Root]>>,
    /// The cell of an aggregate over nothing.
    pub(super) of_nothing: Cell,
}

/// The cells around one whose edges nobody reads: first and last.
pub(super) type Calm = (Cell, Cell);

impl Thresholds {
    /// Those of an aggregate with these conditions, each with its reader; `None` if there is no telling its values apart.
    pub(super) fn of(catalog: &Catalog, aggregate: AggregateId, conditions: &[(NodeId, Root)]) -> Option<Self> {
        let mut values: Vec<Value> = Vec::new();
        for (condition, _) in conditions {
            values.extend(constants(catalog, *condition)?.cloned());
        }
        if values.iter().any(|value| value.position().is_none()) {
            return None;
        }
        values.sort_unstable_by(|a, b| a.order(b).unwrap_or(std::cmp::Ordering::Equal));
        values.dedup();
        let n_edges = 2 * values.len() + 1;
        let mut thresholds = Self { values, edges: Vec::new(), of_nothing: 0 };
        let mut edges: Vec<Vec<Root>> = vec![Vec::new(); n_edges];
        for (condition, root) in conditions {
            thresholds.read_edges(catalog, aggregate, *condition, |edge| {
                if edges[edge].last() != Some(root) {
                    edges[edge].push(*root);
                }
            })?;
        }
        thresholds.edges = edges.into_iter().map(Vec::into_boxed_slice).collect();
        thresholds.of_nothing = thresholds.cell_of(&value_of_nothing(catalog.aggregates[aggregate.index()].function));
        Some(thresholds)
    }

    /// The edges at which a condition turns: only around its own constants, and where something becomes known.
    fn read_edges(
        &self,
        catalog: &Catalog,
        aggregate: AggregateId,
        condition: NodeId,
        mut read: impl FnMut(usize),
    ) -> Option<()> {
        let op = &catalog.nodes[condition.index()].op;
        let holds_in = |cell: Cell| {
            let sample = self.sample(cell)?;
            Some(condition_holds(op, |node| match &catalog.nodes[node.index()].op {
                Op::Constant(constant) => constant,
                operand => {
                    debug_assert_eq!(operand, &Op::Aggregate(aggregate));
                    &sample
                }
            }))
        };
        let mut around: Vec<Cell> = vec![0];
        for constant in constants(catalog, condition)? {
            let at = self.cell_of(constant);
            // The edge after the next cell too: between neighbours, like two milliseconds, there is no value to tell by.
            around.extend((at - 1..=at + 1).filter(|cell| (*cell as usize) < 2 * self.values.len() + 1));
        }
        around.sort_unstable();
        around.dedup();
        for cell in around {
            if holds_in(cell)? != holds_in(cell + 1)? {
                read(cell as usize);
            }
        }
        Some(())
    }

    /// A value in a cell, or, where there can be none, in the last cell before it in which there can.
    fn sample(&self, cell: Cell) -> Option<Value> {
        let Some(place) = (cell as usize).checked_sub(1) else { return Some(Value::Unknown) };
        if place % 2 == 1 {
            return self.values.get(place / 2).cloned();
        }
        let above = self.values.get(place / 2);
        let below = (place / 2).checked_sub(1).and_then(|before| self.values.get(before));
        match (below, above) {
            (None, Some(above)) => moved(above, Decimal::NEGATIVE_ONE),
            (Some(below), None) => moved(below, Decimal::ONE),
            (Some(below), Some(above)) => {
                let half = above.position()?.checked_sub(below.position()?)?.checked_div(Decimal::TWO)?;
                let half = if matches!(below, Value::Instant(_)) { half.floor() } else { half };
                let between = moved(below, half)?;
                let is_between = between.order(below)?.is_gt() && between.order(above)?.is_lt();
                Some(if is_between { between } else { below.clone() })
            }
            (None, None) => Some(Value::Number(Decimal::ZERO)),
        }
    }

    /// The cell of a value.
    pub(super) fn cell_of(&self, value: &Value) -> Cell {
        if !value.is_known() {
            return 0;
        }
        let place =
            self.values.partition_point(|threshold| threshold.order(value).is_some_and(std::cmp::Ordering::is_lt));
        cell_at(place, self.values.get(place) == Some(value))
    }

    /// Who reads what happens on the way from one cell to another.
    pub(super) fn crossed(&self, from: Cell, to: Cell) -> impl Iterator<Item = &[Root]> {
        let (from, to) = (from.min(to) as usize, from.max(to) as usize);
        self.edges.get(from..to).into_iter().flatten().map(|readers| &**readers)
    }

    /// The readers of all edges.
    pub(super) fn readers(&self) -> impl Iterator<Item = &[Root]> {
        self.edges.iter().map(|readers| &**readers)
    }

    /// The cells that a value in this one can move through without concerning anybody.
    pub(super) fn calm(&self, cell: Cell) -> Calm {
        let is_read = |edge: &usize| self.edges.get(*edge).is_some_and(|readers| !readers.is_empty());
        let cell = cell as usize;
        let first = (0..cell).rev().find(is_read).map_or(0, |edge| edge + 1);
        let last = (cell..self.edges.len()).find(is_read).unwrap_or(self.edges.len());
        (place_of(first), place_of(last))
    }

    /// The edges between numbers that are known: at so much, or at more than that; with their readers.
    pub(super) fn edges_of_numbers(&self) -> impl Iterator<Item = (Decimal, bool, &[Root])> {
        let number =
            |place: usize| if let Value::Number(number) = self.values.get(place)? { Some(*number) } else { None };
        let edges = self.edges.iter().skip(1).enumerate();
        edges.filter_map(move |(place, readers)| Some((number(place / 2)?, place % 2 == 1, &**readers)))
    }
}

fn cell_at(place: usize, is_equal: bool) -> Cell {
    place_of(2 * place + 1 + usize::from(is_equal))
}

/// There are at most twice as many cells as memory has room for conditions.
fn place_of(place: usize) -> Cell {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The value that lies so much higher.
fn moved(value: &Value, by: Decimal) -> Option<Value> {
    match value {
        Value::Number(number) => number.checked_add(by).map(Value::Number),
        Value::Duration(duration_ms) => duration_ms.checked_add(by).map(Value::Duration),
        Value::Instant(instant) => instant.checked_add(by.to_i64()?).map(Value::Instant),
        _ => None,
    }
}

/// The constants that a condition compares with.
fn constants(catalog: &Catalog, condition: NodeId) -> Option<impl Iterator<Item = &Value>> {
    let op = &catalog.nodes.get(condition.index())?.op;
    let items: &[Value] = if let Op::In { items, .. } = op { items } else { &[] };
    let operands = op.operands().filter_map(|operand| match &catalog.nodes[operand.index()].op {
        Op::Constant(value) => Some(value),
        _ => None,
    });
    Some(operands.chain(items))
}
