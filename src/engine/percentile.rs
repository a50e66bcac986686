//! Ranks among customers: how the values of an aggregate are distributed over them, and the cut-offs that `percentile`
//! compares with.
//!
//! A distribution made of every value is exact. One that was [reduced](Distribution::reduced) knows of fewer values, and
//! takes what lies between two of them to be half way. Distributions of several partitions are added up.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::catalog::{Catalog, CompareOp, NodeId, Op, PercentileId};
use super::evaluator::condition_holds;
use super::value::Value;

/// How many customers have less than a value, and how many have at most that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The value; instants and durations in milliseconds.
    pub value: Decimal,
    /// Customers below it.
    pub below: u64,
    /// Customers at it or below.
    pub up_to: u64,
}

/// How a value is distributed over customers: points in order of value, the least and the greatest among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    points: Vec<Point>,
}

impl Distribution {
    /// The exact distribution of some customers' values.
    #[must_use]
    pub fn of(mut values: Vec<Decimal>) -> Self {
        values.sort_unstable();
        let mut points: Vec<Point> = Vec::new();
        for (below, value) in (0..).zip(values) {
            match points.last_mut() {
                Some(point) if point.value == value => point.up_to = below + 1,
                _ => points.push(Point { value, below, up_to: below + 1 }),
            }
        }
        Self { points }
    }

    /// The distribution with these points; `None` if they are not in order.
    #[must_use]
    pub fn with_points(points: Vec<Point>) -> Option<Self> {
        let in_order = points.windows(2).all(|pair| pair[0].value < pair[1].value && pair[0].up_to <= pair[1].below);
        let counted = points.iter().all(|point| point.below < point.up_to);
        (in_order && counted).then_some(Self { points })
    }

    /// Its points.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How many customers have a value.
    #[must_use]
    pub fn customers(&self) -> u64 {
        self.points.last().map_or(0, |last| last.up_to)
    }

    /// How many customers have less than `value`, and how many have at most that.
    fn ranks(&self, value: Decimal) -> (u64, u64) {
        match self.points.binary_search_by(|point| point.value.cmp(&value)) {
            Ok(place) => (self.points[place].below, self.points[place].up_to),
            Err(place) => {
                let from = place.checked_sub(1).map_or(0, |place| self.points[place].up_to);
                let to = self.points.get(place).map_or(from, |point| point.below);
                let half_way = u64::midpoint(from, to);
                (half_way, half_way)
            }
        }
    }

    /// 100 times the share of customers with less than `value`; unknown when there are none.
    #[must_use]
    pub fn percentile(&self, value: Decimal) -> Value {
        let below = Decimal::from(self.ranks(value).0) * Decimal::ONE_HUNDRED;
        below.checked_div(Decimal::from(self.customers())).map_or(Value::Unknown, Value::Number)
    }

    /// The distribution over the customers of several.
    #[must_use]
    pub fn sum(parts: &[&Self]) -> Self {
        if let [only] = parts {
            return (*only).clone();
        }
        let mut values: Vec<Decimal> =
            parts.iter().flat_map(|part| part.points.iter().map(|point| point.value)).collect();
        values.sort_unstable();
        values.dedup();
        let point = |value| {
            let ranks = parts.iter().map(|part| part.ranks(value));
            let (below, up_to) = ranks.fold((0, 0), |sum, (below, up_to)| (sum.0 + below, sum.1 + up_to));
            Point { value, below, up_to }
        };
        Self { points: values.into_iter().map(point).collect() }
    }

    /// The distribution by at most about twice as many points as `parts`, so chosen that no rank is wrong by more than
    /// half the customers divided by `parts`.
    #[must_use]
    pub fn reduced(self, parts: u64) -> Self {
        if self.points.len() as u64 <= parts {
            return self;
        }
        let width = self.customers() / parts.max(1);
        let mut kept: Vec<Point> = Vec::new();
        for (point, next) in self.points.iter().zip(self.points.iter().skip(1).map(Some).chain([None])) {
            let from = kept.last().map_or(0, |last| last.up_to);
            let is_needed = kept.is_empty() || next.is_none_or(|next| next.below.saturating_sub(from) > width);
            if is_needed {
                kept.push(*point);
            }
        }
        Self { points: kept }
    }
}

/// The distributions that values are compared with until they are made anew, by the percentile's stable name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CutOffs(pub Vec<(u64, Arc<Distribution>)>);

impl CutOffs {
    /// Those of one percentile.
    #[must_use]
    pub fn of(&self, key: u64) -> Option<&Distribution> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, distribution)| &**distribution)
    }

    /// Where a value ranks; unknown before there are cut-offs.
    #[must_use]
    pub fn percentile(&self, key: u64, value: Decimal) -> Value {
        self.of(key).map_or(Value::Unknown, |distribution| distribution.percentile(value))
    }
}

/// What hangs on percentiles: new cut-offs move only customers for whom one of these conditions turns.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// Conditions between one percentile and literals.
    conditions: Vec<(NodeId, PercentileId)>,
    /// Something else is made of a percentile: nothing can be told before it is evaluated.
    anything: bool,
}

impl Watch {
    /// What hangs on percentiles in a catalog.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let op = |node: NodeId| &catalog.nodes[node.index()].op;
        let mut watch = Self::default();
        for (id, node) in (0..).map(NodeId).zip(&catalog.nodes) {
            let ranks: Vec<PercentileId> = node
                .op
                .operands()
                .filter_map(|operand| match op(operand) {
                    Op::Percentile(percentile) => Some(*percentile),
                    _ => None,
                })
                .collect();
            let is_condition = matches!(
                node.op,
                Op::Compare(..) | Op::Between { .. } | Op::In { .. } | Op::TextTest { .. } | Op::IsKnown { .. }
            );
            let is_plain = node.op.operands().all(|part| matches!(op(part), Op::Percentile(_) | Op::Constant(_)));
            match ranks.as_slice() {
                [] => {}
                [only] if is_condition && is_plain => watch.conditions.push((id, *only)),
                _ => watch.anything = true,
            }
        }
        watch
    }

    /// The values, by percentile, for which something turns with new cut-offs; `None` if that may be any.
    pub(super) fn turning_values(
        &self,
        catalog: &Catalog,
        old: &CutOffs,
        new: &CutOffs,
    ) -> Option<Vec<(usize, Decimal)>> {
        let mut values = Vec::new();
        for (node, percentile) in &self.conditions {
            let points = new.of(catalog.percentiles[percentile.index()].key).map_or(&[][..], Distribution::points);
            let holds = |cut_offs: &CutOffs, point: &Point| holds(catalog, *node, *percentile, cut_offs, point.value);
            let turning = if rises_or_falls(catalog, *node) {
                // On one side of one value it is true, on the other false.
                let rises = |cut_offs: &CutOffs| {
                    let first = points.first().is_some_and(|point| holds(cut_offs, point));
                    (first, points.partition_point(|point| holds(cut_offs, point) == first))
                };
                let ((first_old, old), (first_new, new)) = (rises(old), rises(new));
                if first_old == first_new { &points[old.min(new)..old.max(new)] } else { points }
            } else {
                points
            };
            let turned = turning.iter().filter(|point| holds(old, point) != holds(new, point));
            values.extend(turned.map(|point| (percentile.index(), point.value)));
        }
        (!self.anything).then_some(values)
    }

    /// Whether something may turn with new cut-offs, for a customer of whom `value_of` tells the ranked value.
    pub(super) fn turns(
        &self,
        catalog: &Catalog,
        old: &CutOffs,
        new: &CutOffs,
        value_of: impl Fn(PercentileId) -> Option<Decimal>,
    ) -> bool {
        self.anything
            || self.conditions.iter().any(|(node, percentile)| {
                let Some(value) = value_of(*percentile) else { return false };
                let holds = |cut_offs: &CutOffs| holds(catalog, *node, *percentile, cut_offs, value);
                holds(old) != holds(new)
            })
    }
}

/// Whether a condition between a percentile and literals holds for somebody with that value.
fn holds(catalog: &Catalog, node: NodeId, percentile: PercentileId, cut_offs: &CutOffs, value: Decimal) -> bool {
    let rank = cut_offs.percentile(catalog.percentiles[percentile.index()].key, value);
    condition_holds(&catalog.nodes[node.index()].op, |part| match &catalog.nodes[part.index()].op {
        Op::Constant(constant) => constant,
        _ => &rank,
    })
}

/// Whether a condition turns at most once as the rank grows.
fn rises_or_falls(catalog: &Catalog, node: NodeId) -> bool {
    use CompareOp::{Greater, GreaterOrEqual, Less, LessOrEqual};
    matches!(catalog.nodes[node.index()].op, Op::Compare(Greater | GreaterOrEqual | Less | LessOrEqual, ..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(values: &[i64]) -> Distribution {
        Distribution::of(values.iter().map(|value| Decimal::from(*value)).collect())
    }

    fn rank(distribution: &Distribution, value: i64) -> Value {
        distribution.percentile(Decimal::from(value))
    }

    #[test]
    fn the_share_below_is_exact_over_all_values() {
        let distribution = exact(&[5, 1, 1, 9]);
        for (value, expected) in [(0, 0), (1, 0), (2, 50), (5, 50), (9, 75), (10, 100)] {
            assert_eq!(rank(&distribution, value), Value::Number(Decimal::from(expected)), "{value}");
        }
        assert_eq!(rank(&exact(&[]), 3), Value::Unknown);
    }

    #[test]
    fn distributions_add_up() {
        let (all, one, other) = (exact(&[1, 2, 2, 3, 7, 7]), exact(&[2, 3, 7]), exact(&[1, 2, 7]));
        assert_eq!(Distribution::sum(&[&one, &other]), all);
        assert_eq!(Distribution::sum(&[&one, &exact(&[])]), one);
    }

    #[test]
    fn a_reduced_distribution_is_near_and_small() {
        let n_customers: u64 = 20_000;
        let all = |share: u64| {
            let values = (0..n_customers).filter(|n| n % 2 == share).map(|n| n.pow(3) % 9_973 + (n % 4) * 50_000);
            Distribution::of(values.map(|value| Decimal::from(if value % 3 == 0 { 7 } else { value })).collect())
        };
        let (one, other) = (all(0), all(1));
        let exact = Distribution::sum(&[&one, &other]);
        let (one, other) = (one.reduced(500), other.reduced(500));
        assert!(one.points().len() <= 1_001, "{}", one.points().len());
        let near = Distribution::sum(&[&one, &other]).reduced(500);
        assert_eq!(near.customers(), n_customers);
        assert!(Distribution::with_points(near.points().to_vec()).is_some());
        for point in exact.points() {
            let off = near.ranks(point.value).0.abs_diff(point.below);
            assert!(off * 100 <= n_customers / 2, "off by {off} at {}", point.value);
        }
    }
}
