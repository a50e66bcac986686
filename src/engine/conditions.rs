//! Which roots can be watched: those made of comparisons of one aggregate with constants, and of what time does not move.

use hashbrown::HashMap;

use super::catalog::{Aggregate, AggregateId, Catalog, Function, NodeId, Op, Window};
use super::families::Families;
use super::readers::{Root, RootKind, kind_of, n_roots, nodes_of};
use super::thresholds::Thresholds;

/// Fewer conditions than this on a function that is not quickly read are evaluated whenever it is touched instead: looking
/// whether they need it would take as long.
const WORTH_WATCHING: usize = 4;

/// The conditions of a root, each with the aggregate it is on.
type Conditions = Vec<(AggregateId, NodeId)>;

/// What aggregates are compared with.
type Watched = HashMap<AggregateId, Thresholds>;

/// Lets the conditions of every root that is made of nothing else watch their aggregates; which roots those are.
pub(super) fn watch(catalog: &Catalog, families: &mut Families) -> Vec<bool> {
    let conditions = conditions(catalog);
    let mut numbers: HashMap<AggregateId, usize> = HashMap::new();
    for (aggregate, _) in conditions.iter().flatten().flatten() {
        *numbers.entry(*aggregate).or_default() += 1;
    }
    numbers.retain(|aggregate, number| is_worth_it(&catalog.aggregates[aggregate.index()], *number));
    loop {
        let can_watch = |(aggregate, _): &(AggregateId, NodeId)| numbers.contains_key(aggregate);
        let is_watched =
            |conditions: &Option<Conditions>| conditions.as_ref().is_some_and(|all| all.iter().all(can_watch));
        let are_watched: Vec<bool> = conditions.iter().map(is_watched).collect();
        match thresholds(catalog, &conditions, &are_watched) {
            Ok(watched) => {
                families.watch(catalog, watched);
                return are_watched;
            }
            Err(aggregate) => drop(numbers.remove(&aggregate)),
        }
    }
}

fn is_worth_it(aggregate: &Aggregate, n_conditions: usize) -> bool {
    let is_quick = matches!(aggregate.function, Function::Count | Function::Sum | Function::Distinct);
    let is_anchored = matches!(aggregate.window, Window::SinceAnchor { .. });
    !is_anchored && (is_quick || n_conditions >= WORTH_WATCHING)
}

/// What the watched roots compare each aggregate with; an aggregate of which the values cannot be told apart, if there is
/// one.
fn thresholds(
    catalog: &Catalog,
    conditions: &[Option<Conditions>],
    are_watched: &[bool],
) -> Result<Watched, AggregateId> {
    let mut by_aggregate: HashMap<AggregateId, Vec<(NodeId, Root)>> = HashMap::new();
    for ((root, conditions), is_watched) in (0..).zip(conditions).zip(are_watched) {
        for (aggregate, condition) in conditions.iter().flatten().filter(|_| *is_watched) {
            by_aggregate.entry(*aggregate).or_default().push((*condition, root));
        }
    }
    let of = |(aggregate, conditions): (AggregateId, Vec<(NodeId, Root)>)| {
        Thresholds::of(catalog, aggregate, &conditions).map(|thresholds| (aggregate, thresholds)).ok_or(aggregate)
    };
    by_aggregate.into_iter().map(of).collect()
}

/// The conditions of each root, if it is made of nothing else that time moves.
fn conditions(catalog: &Catalog) -> Vec<Option<Conditions>> {
    let mut walk = Walk { catalog, steady: steady(catalog), seen: vec![Root::MAX; catalog.nodes.len()] };
    let of_root = |root| {
        let RootKind::Segment(_) = kind_of(catalog, root) else { return None };
        let mut conditions = Vec::new();
        nodes_of(catalog, root).all(|node| walk.collect(node, root, &mut conditions)).then_some(conditions)
    };
    (0..n_roots(catalog)).map(of_root).collect()
}

/// Whether each node only changes when a trait, a consent or a membership does, each of which has readers of its own.
fn steady(catalog: &Catalog) -> Vec<bool> {
    let mut steady: Vec<bool> = Vec::with_capacity(catalog.nodes.len());
    for node in &catalog.nodes {
        let is_steady = match &node.op {
            Op::Constant(_) | Op::ProfileTrait(_) | Op::Consent(_) | Op::Segment(_) | Op::Bucket(_) => true,
            Op::Now | Op::Aggregate(_) | Op::Percentile(_) | Op::Held(_) | Op::Age(_) | Op::Anniversary(_) => false,
            // Operands come before what is made of them.
            op => op.operands().all(|operand| steady.get(operand.index()).copied().unwrap_or(false)),
        };
        steady.push(is_steady);
    }
    steady
}

struct Walk<'a> {
    catalog: &'a Catalog,
    steady: Vec<bool>,
    /// The root that visited each node last.
    seen: Vec<Root>,
}

impl Walk<'_> {
    /// Lists the conditions on aggregates that a node is made of; `false` if it is made of anything else that time moves.
    fn collect(&mut self, id: NodeId, root: Root, conditions: &mut Conditions) -> bool {
        if self.steady[id.index()] || std::mem::replace(&mut self.seen[id.index()], root) == root {
            return true;
        }
        let op = &self.catalog.nodes[id.index()].op;
        if matches!(op, Op::And(_) | Op::Or(_) | Op::Not(_)) {
            return op.operands().all(|operand| self.collect(operand, root, conditions));
        }
        let compared = compared(self.catalog, op);
        conditions.extend(compared.map(|aggregate| (aggregate, id)));
        compared.is_some()
    }
}

/// The only aggregate in a condition of which all else are constants.
fn compared(catalog: &Catalog, op: &Op) -> Option<AggregateId> {
    if !matches!(op, Op::Compare(..) | Op::Between { .. } | Op::In { .. } | Op::IsKnown { .. }) {
        return None;
    }
    let mut found = None;
    for operand in op.operands() {
        match &catalog.nodes[operand.index()].op {
            Op::Constant(_) => {}
            Op::Aggregate(aggregate) if found.is_none_or(|found| found == *aggregate) => found = Some(*aggregate),
            _ => return None,
        }
    }
    found
}
