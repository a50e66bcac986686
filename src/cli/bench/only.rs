//! A catalog cut down to one segment: what that reads is fed, and nothing else is.

use std::collections::BTreeSet;

use crate::engine::catalog::{
    AggregateId, Catalog, Feed, Node, NodeId, Op, PatternId, Segment, SegmentId, Target, Window,
};
use crate::engine::value::{Type, Value};

/// The catalog with only this segment, and those it asks about; with none, when there is none. The others stay in their
/// places, and are false for everybody.
pub(super) fn only(catalog: &Catalog, segment: Option<SegmentId>) -> Catalog {
    let mut wanted = Wanted::default();
    if let Some(segment) = segment {
        wanted.segment(catalog, segment);
    }
    wanted.patterns(catalog);
    let mut cut = catalog.clone();
    let nobody = NodeId(u32::try_from(cut.nodes.len()).unwrap_or(u32::MAX));
    cut.nodes.push(Node { op: Op::Constant(Value::Bool(false)), value_type: Type::Bool, text: "false".into() });
    for (id, segment) in (0..).map(SegmentId).zip(&mut cut.segments) {
        if !wanted.segments.contains(&id) {
            (segment.when, segment.until, segment.ending) = (nobody, None, None);
            segment.carry.clear();
        }
    }
    for event_type in &mut cut.event_types {
        event_type.feeds.retain(|Feed { target, .. }| wanted.takes(target));
    }
    for pattern in &mut cut.patterns {
        pattern.targets.retain(|target| wanted.takes(target));
    }
    cut
}

/// The segments that read most, at most so many.
pub(super) fn largest(catalog: &Catalog, count: usize) -> Vec<SegmentId> {
    let size = |id: &SegmentId| {
        let mut wanted = Wanted::default();
        wanted.segment(catalog, *id);
        wanted.nodes.len() + wanted.aggregates.len()
    };
    let mut ids: Vec<SegmentId> = (0..).map(SegmentId).take(catalog.segments.len()).collect();
    if ids.len() > count {
        ids.sort_by_cached_key(|id| std::cmp::Reverse(size(id)));
        ids.truncate(count);
    }
    ids
}

/// What a segment reads, however indirectly.
#[derive(Default)]
struct Wanted {
    segments: BTreeSet<SegmentId>,
    nodes: BTreeSet<NodeId>,
    aggregates: BTreeSet<AggregateId>,
    patterns: BTreeSet<PatternId>,
}

impl Wanted {
    fn segment(&mut self, catalog: &Catalog, id: SegmentId) {
        let Some(Segment { when, until, ending, carry, .. }) = catalog.segments.get(id.index()) else { return };
        if self.segments.insert(id) {
            let roots = [Some(*when), *until, *ending].into_iter().flatten();
            roots.chain(carry.iter().map(|(_, node)| *node)).for_each(|root| self.node(catalog, root));
        }
    }

    fn node(&mut self, catalog: &Catalog, id: NodeId) {
        let Some(node) = catalog.nodes.get(id.index()).filter(|_| self.nodes.insert(id)) else { return };
        node.op.operands().for_each(|operand| self.node(catalog, operand));
        match &node.op {
            Op::Aggregate(aggregate) => self.aggregate(catalog, *aggregate),
            Op::Percentile(id) => {
                if let Some(percentile) = catalog.percentiles.get(id.index()) {
                    self.aggregate(catalog, percentile.aggregate);
                }
            }
            Op::Held(id) => {
                if let Some(hold) = catalog.holds.get(id.index()) {
                    self.node(catalog, hold.condition);
                }
            }
            Op::Segment(id) => self.segment(catalog, *id),
            _ => {}
        }
    }

    fn aggregate(&mut self, catalog: &Catalog, id: AggregateId) {
        self.aggregates.insert(id);
        if let Some(Window::SinceAnchor { anchor }) = catalog.aggregates.get(id.index()).map(|found| found.window) {
            self.aggregates.insert(anchor);
        }
    }

    /// An inner pattern comes before the one it is a step of.
    fn patterns(&mut self, catalog: &Catalog) {
        let ids: Vec<PatternId> = (0..).map(PatternId).take(catalog.patterns.len()).collect();
        for (id, pattern) in ids.into_iter().zip(&catalog.patterns).rev() {
            if pattern.targets.iter().any(|target| self.takes(target)) {
                self.patterns.insert(id);
            }
        }
    }

    fn takes(&self, target: &Target) -> bool {
        match target {
            Target::Aggregate { aggregate, .. } => self.aggregates.contains(aggregate),
            Target::Step { pattern, .. } => self.patterns.contains(pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::load_texts;
    use crate::engine::catalog::TimeZone;
    use crate::wire::schema::SchemaSet;

    #[test]
    fn only_what_a_segment_reads_is_fed() {
        let text = "segments:\n  - {name: a, when: did(click)}\n  - {name: b, when: segment(\"a\") and did(purchase over 1d)}\n  \
                    - {name: c, when: did(click without purchase within 1h over 1d)}\n";
        let schemas = SchemaSet::shipped().unwrap();
        let files = [("a.yaml".to_owned(), text.to_owned())];
        let catalog = load_texts(&files, schemas.schemas(), TimeZone::default().0).unwrap().catalog;
        let feeds = |of: Option<&str>| {
            let id = of.and_then(|name| catalog.segment_ids.get(name).copied());
            only(&catalog, id).event_types.iter().map(|event_type| event_type.feeds.len()).sum::<usize>()
        };
        let counts = [None, Some("a"), Some("b"), Some("c")].map(feeds);
        assert_eq!(counts, [0, 1, 2, 2]);
        assert_eq!(largest(&catalog, 1).len(), 1);
    }
}
