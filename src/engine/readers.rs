//! Who reads what: the segments and held conditions that a change of an aggregate, a trait, a consent or another
//! membership can affect. What an event does not touch is not looked at.

use hashbrown::HashMap;

use super::catalog::{AggregateId, Catalog, HoldId, NodeId, Op, SegmentId, Window};
use super::customer::Customer;
use super::evaluator::{Evaluator, Scratch};
use super::percentile::CutOffs;

/// Something that is re-evaluated: segments by position, then held conditions after them.
pub(super) type Root = u32;

/// The year 1, before which nothing happens.
const EARLIEST_INSTANT: i64 = -62_135_596_800_000;

/// The roots that read each thing, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers {
    /// By aggregate.
    pub(super) aggregates: Vec<Vec<Root>>,
    /// By profile trait.
    pub(super) profile_traits: Vec<Vec<Root>>,
    /// By purpose.
    pub(super) purposes: Vec<Vec<Root>>,
    /// By segment, through `segment()`.
    pub(super) segments: Vec<Vec<Root>>,
    /// By held condition, through `P for D`, and its own.
    holds: Vec<Vec<Root>>,
    /// Roots that may be other than false for somebody of whom nothing is known, or become so with time.
    restless: Vec<Root>,
    /// The roots that read what is stored under a key: an aggregate, a trait, a consent, a held condition; or that it
    /// is of: a segment's standing.
    by_key: HashMap<u64, Vec<Root>, foldhash::fast::RandomState>,
    /// Of any percentile.
    pub(super) percentiles: Vec<Root>,
}

impl Readers {
    /// Who reads what in a catalog.
    #[must_use]
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut readers = Self {
            aggregates: vec![Vec::new(); catalog.aggregates.len()],
            profile_traits: vec![Vec::new(); catalog.profile_traits.len()],
            purposes: vec![Vec::new(); catalog.purposes.len()],
            segments: vec![Vec::new(); catalog.segments.len()],
            holds: vec![Vec::new(); catalog.holds.len()],
            restless: Vec::new(),
            by_key: HashMap::default(),
            percentiles: Vec::new(),
        };
        let mut walk = Walk { catalog, seen: vec![Root::MAX; catalog.nodes.len()], readers: &mut readers };
        for (root, segment) in (0..).zip(&catalog.segments) {
            walk.node(segment.when, root);
            segment.ending.into_iter().for_each(|ending| walk.node(ending, root));
        }
        for (place, (root, hold)) in (root_of_hold(catalog, HoldId(0))..).zip(&catalog.holds).enumerate() {
            note(&mut walk.readers.holds[place], root);
            walk.node(hold.condition, root);
        }
        readers.restless = restless(catalog);
        readers.list_by_key(catalog);
        readers
    }

    fn list_by_key(&mut self, catalog: &Catalog) {
        let aggregates = catalog.aggregates.iter().map(|aggregate| aggregate.key).zip(&self.aggregates);
        let profile_traits = catalog.profile_traits.iter().map(|each| each.key).zip(&self.profile_traits);
        let purposes = catalog.purposes.iter().map(|purpose| purpose.key).zip(&self.purposes);
        for (key, roots) in aggregates.chain(profile_traits).chain(purposes) {
            self.by_key.entry(key).or_default().extend(roots);
        }
        for (root, segment) in (0..).zip(&catalog.segments) {
            self.by_key.entry(segment.key).or_default().push(root);
        }
        for (place, hold) in catalog.holds.iter().enumerate() {
            let roots = self.holds[place].iter().copied();
            self.by_key.entry(hold.key).or_default().extend(roots);
        }
    }

    /// The roots that may be other than false for ever for this customer; some more than once.
    pub(super) fn concerned(&self, customer: &Customer, mut take: impl FnMut(&[Root])) {
        take(&self.restless);
        let aggregates = customer.aggregates.iter().map(|(key, _)| *key);
        let profile_traits = customer.profile.iter().map(|(key, _)| *key);
        let purposes = customer.consents.iter().map(|(key, _)| *key);
        let holds = customer.holds.iter().map(|(key, _)| *key);
        let segments = customer.standings.iter().map(|(key, _)| *key);
        for key in aggregates.chain(profile_traits).chain(purposes).chain(holds).chain(segments) {
            if let Some(roots) = self.by_key.get(&key) {
                take(roots);
            }
        }
    }
}

/// Evaluates every root for somebody of whom nothing is known, from the beginning of time.
fn restless(catalog: &Catalog) -> Vec<Root> {
    let mut scratch = Scratch::default();
    let cut_offs = CutOffs::default();
    let mut is_restless = |nodes: &[NodeId]| {
        let mut nobody = Customer::default();
        let mut evaluator = Evaluator::new(catalog, &cut_offs, &mut nobody, "", EARLIEST_INSTANT, &mut scratch);
        let is_quiet = nodes.iter().all(|node| {
            let answer = evaluator.answer(*node);
            !answer.value.is_true() && answer.until == i64::MAX && !depends_on_id(catalog, *node)
        });
        !is_quiet
    };
    let segments = (0..).zip(&catalog.segments).filter_map(|(root, segment)| {
        let nodes: Vec<NodeId> = [Some(segment.when), segment.until].into_iter().flatten().collect();
        is_restless(&nodes).then_some(root)
    });
    let mut roots: Vec<Root> = segments.collect();
    let holds = (root_of_hold(catalog, HoldId(0))..).zip(&catalog.holds);
    roots.extend(holds.filter_map(|(root, hold)| is_restless(&[hold.condition]).then_some(root)));
    roots
}

/// Whether a node is computed from the customer's id.
fn depends_on_id(catalog: &Catalog, id: NodeId) -> bool {
    match &catalog.nodes[id.index()].op {
        Op::Bucket(_) => true,
        Op::Held(hold) => depends_on_id(catalog, catalog.holds[hold.index()].condition),
        op => op.operands().any(|operand| depends_on_id(catalog, operand)),
    }
}

/// The root of a held condition.
#[must_use]
pub(super) fn root_of_hold(catalog: &Catalog, hold: HoldId) -> Root {
    u32::try_from(catalog.segments.len()).unwrap_or(u32::MAX).saturating_add(hold.0)
}

/// What a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootKind {
    /// A segment.
    Segment(SegmentId),
    /// A held condition.
    Hold(HoldId),
}

/// What the root at that position is.
#[must_use]
pub(super) fn kind_of(catalog: &Catalog, root: Root) -> RootKind {
    match root.checked_sub(root_of_hold(catalog, HoldId(0))) {
        Some(hold) => RootKind::Hold(HoldId(hold)),
        None => RootKind::Segment(SegmentId(root)),
    }
}

struct Walk<'a> {
    catalog: &'a Catalog,
    /// The root that visited each node last.
    seen: Vec<Root>,
    readers: &'a mut Readers,
}

impl Walk<'_> {
    fn node(&mut self, id: NodeId, root: Root) {
        if self.seen[id.index()] == root {
            return;
        }
        self.seen[id.index()] = root;
        let op = &self.catalog.nodes[id.index()].op;
        match op {
            Op::Aggregate(aggregate) => self.aggregate(*aggregate, root),
            Op::ProfileTrait(profile_trait) => note(&mut self.readers.profile_traits[profile_trait.index()], root),
            Op::Consent(purpose) => note(&mut self.readers.purposes[purpose.index()], root),
            Op::Segment(segment) => note(&mut self.readers.segments[segment.index()], root),
            Op::Percentile(percentile) => {
                note(&mut self.readers.percentiles, root);
                self.aggregate(self.catalog.percentiles[percentile.index()].aggregate, root);
            }
            Op::Held(hold) => {
                note(&mut self.readers.holds[hold.index()], root);
                self.node(self.catalog.holds[hold.index()].condition, root);
            }
            _ => op.operands().for_each(|operand| self.node(operand, root)),
        }
    }

    fn aggregate(&mut self, id: AggregateId, root: Root) {
        note(&mut self.readers.aggregates[id.index()], root);
        if let Window::SinceAnchor { anchor } = self.catalog.aggregates[id.index()].window {
            self.aggregate(anchor, root);
        }
    }
}

fn note(readers: &mut Vec<Root>, root: Root) {
    if readers.last() != Some(&root) {
        readers.push(root);
    }
}
