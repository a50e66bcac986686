//! Who reads what: the segments and held conditions that a change of an aggregate, a trait, a consent or another
//! membership can affect. What an event does not touch is not looked at.

use super::catalog::{AggregateId, Catalog, HoldId, NodeId, Op, SegmentId, Window};

/// Something that is re-evaluated: segments by position, then held conditions after them.
pub(super) type Root = u32;

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
        };
        let mut walk = Walk { catalog, seen: vec![Root::MAX; catalog.nodes.len()], readers: &mut readers };
        for (root, segment) in (0..).zip(&catalog.segments) {
            walk.node(segment.when, root);
            segment.ending.into_iter().for_each(|ending| walk.node(ending, root));
        }
        for (root, hold) in (root_of_hold(catalog, HoldId(0))..).zip(&catalog.holds) {
            walk.node(hold.condition, root);
        }
        readers
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
            Op::Percentile(percentile) => self.aggregate(self.catalog.percentiles[percentile.index()].aggregate, root),
            Op::Held(hold) => self.node(self.catalog.holds[hold.index()].condition, root),
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
