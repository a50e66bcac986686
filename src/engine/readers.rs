//! Who reads what: the segments and held conditions that a change of an aggregate, a trait, a consent or another
//! membership can affect. What an event does not touch is not looked at.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::catalog::{AggregateId, Catalog, HoldId, NodeId, Op, PatternId, Relation, SegmentId, Window};
use super::conditions;
use super::customer::Customer;
use super::evaluator::{Evaluator, Scratch};
use super::families::{Families, FamilyId};
use super::pattern::PatternState;
use super::percentile::CutOffs;

/// Something that is re-evaluated: segments by position, then held conditions after them.
pub(super) type Root = u32;

/// The year 1, before which nothing happens.
const EARLIEST_INSTANT: i64 = -62_135_596_800_000;

/// The roots that read each thing, in order.
///
/// A root made of comparisons of aggregates with constants, and of what time does not move, is *watched*: it is evaluated
/// when one of those comparisons turns, which [`Families`] tell. Any other is evaluated whenever something it reads is
/// touched, or when its own time is up.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers {
    /// Aggregates, with what watches them and who reads them otherwise.
    pub(super) families: Families,
    /// By profile trait.
    pub(super) profile_traits: Vec<Vec<Root>>,
    /// By purpose.
    pub(super) purposes: Vec<Vec<Root>>,
    /// By segment, through `segment()`.
    pub(super) segments: Vec<Vec<Root>>,
    /// Whether each root is watched.
    is_watched: Vec<bool>,
    /// Roots that may be other than false for somebody of whom nothing is known, or become so with time.
    pub(super) restless: Vec<Root>,
    /// All roots, by what they read.
    all: ByKey,
    /// Those that are not watched.
    direct: ByKey,
    /// Of any percentile.
    pub(super) percentiles: Vec<Root>,
    /// The patterns that time decides, by key.
    deciding: HashMap<u64, PatternId, foldhash::fast::RandomState>,
}

/// What a customer's schedule keeps an instant of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// What is watched of a family.
    Family(FamilyId),
    /// A root that is not watched.
    Root(Root),
    /// The next decision of a pattern.
    Pattern(PatternId),
}

/// The roots that read what is stored under a key: an aggregate, a trait, a consent, a held condition, a segment's standing;
/// or that it is of.
type ByKey = HashMap<u64, Vec<Root>, foldhash::fast::RandomState>;

impl Readers {
    /// Who reads what in a catalog.
    #[must_use]
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut families = Families::of(catalog);
        let mut readers = Self {
            is_watched: conditions::watch(catalog, &mut families),
            families,
            profile_traits: vec![Vec::new(); catalog.profile_traits.len()],
            purposes: vec![Vec::new(); catalog.purposes.len()],
            segments: vec![Vec::new(); catalog.segments.len()],
            restless: restless(catalog),
            deciding: deciding(catalog),
            ..Self::default()
        };
        let mut walk = Walk { catalog, seen: vec![Root::MAX; catalog.nodes.len()], readers: &mut readers };
        for root in 0..n_roots(catalog) {
            for node in nodes_of(catalog, root) {
                walk.node(node, root);
            }
            let key = match kind_of(catalog, root) {
                RootKind::Segment(segment) => catalog.segments[segment.index()].key,
                RootKind::Hold(hold) => catalog.holds[hold.index()].key,
            };
            walk.readers.note_key(key, root);
        }
        readers
    }

    fn note_key(&mut self, key: u64, root: Root) {
        note(self.all.entry(key).or_default(), root);
        if !self.is_watched(root) {
            note(self.direct.entry(key).or_default(), root);
        }
    }

    /// Whether a root is only evaluated when something in it turns; the rest keep until when they hold.
    pub(super) fn is_watched(&self, root: Root) -> bool {
        self.is_watched[root as usize]
    }

    /// What a root that is not watched is called in a customer's schedule, after the families.
    pub(super) fn timer_of_root(&self, root: Root) -> u32 {
        self.n_families().saturating_add(root)
    }

    /// What a pattern is called there, after the roots.
    pub(super) fn timer_of_pattern(&self, id: PatternId) -> u32 {
        self.timer_of_root(self.n_roots()).saturating_add(id.0)
    }

    /// What is called so.
    pub(super) fn timer(&self, timer: u32) -> Timer {
        match timer.checked_sub(self.n_families()) {
            None => Timer::Family(timer),
            Some(root) => match root.checked_sub(self.n_roots()) {
                None => Timer::Root(root),
                Some(pattern) => Timer::Pattern(PatternId(pattern)),
            },
        }
    }

    fn n_families(&self) -> u32 {
        u32::try_from(self.families.len()).unwrap_or(u32::MAX)
    }

    fn n_roots(&self) -> u32 {
        u32::try_from(self.is_watched.len()).unwrap_or(u32::MAX)
    }

    /// The patterns of which time may have decided something by `now`.
    pub(super) fn decisions(&self, customer: &Customer, now: i64) -> SmallVec<[PatternId; 8]> {
        let first = self.timer_of_pattern(PatternId(0));
        match customer.schedule.due_from(first, now) {
            Some(due) => due.map(|timer| PatternId(timer - first)).collect(),
            None => self.deciding(customer).map(|(id, _)| id).collect(),
        }
    }

    /// When time decides something next, `i64::MAX` for never.
    pub(super) fn next_decision(&self, catalog: &Catalog, customer: &Customer) -> i64 {
        let decided_at = |(id, state): (PatternId, &PatternState)| state.decides_at(&catalog.patterns[id.index()]);
        self.deciding(customer).filter_map(decided_at).min().unwrap_or(i64::MAX)
    }

    fn deciding<'c>(&self, customer: &'c Customer) -> impl Iterator<Item = (PatternId, &'c PatternState)> {
        customer.patterns.iter().filter_map(|(key, state)| Some((*self.deciding.get(key)?, state)))
    }

    /// From here on a customer's schedule is known, as soon as all of them that is evaluated has been.
    pub(super) fn begin_schedule(&self, catalog: &Catalog, customer: &mut Customer) {
        let mut schedule = std::mem::take(&mut customer.schedule);
        schedule.begin();
        for (id, state) in self.deciding(customer) {
            let decided_at = state.decides_at(&catalog.patterns[id.index()]);
            schedule.set(self.timer_of_pattern(id), decided_at.unwrap_or(i64::MAX));
        }
        customer.schedule = schedule;
    }

    /// The roots that may be other than false for ever for this customer; some more than once.
    pub(super) fn concerned(&self, customer: &Customer, mut take: impl FnMut(&[Root])) {
        take(&self.restless);
        keys_of(customer).filter_map(|key| self.all.get(&key)).for_each(|roots| take(roots));
    }

    /// Those of them that are not watched.
    pub(super) fn concerned_directly(&self, customer: &Customer, mut take: impl FnMut(&[Root])) {
        self.restless.iter().filter(|root| !self.is_watched(**root)).for_each(|root| take(std::slice::from_ref(root)));
        keys_of(customer).filter_map(|key| self.direct.get(&key)).for_each(|roots| take(roots));
    }
}

fn deciding(catalog: &Catalog) -> HashMap<u64, PatternId, foldhash::fast::RandomState> {
    let patterns = (0..).map(PatternId).zip(&catalog.patterns);
    patterns
        .filter(|(_, pattern)| pattern.relation == Relation::Without)
        .map(|(id, pattern)| (pattern.key, id))
        .collect()
}

/// The names of all that is known of a customer.
fn keys_of(customer: &Customer) -> impl Iterator<Item = u64> {
    let aggregates = customer.aggregates.iter().map(|(key, _)| *key);
    let profile_traits = customer.profile.iter().map(|(key, _)| *key);
    let purposes = customer.consents.iter().map(|(key, _)| *key);
    let holds = customer.holds.iter().map(|(key, _)| *key);
    let segments = customer.standings.iter().map(|(key, _)| *key);
    aggregates.chain(profile_traits).chain(purposes).chain(holds).chain(segments)
}

/// The nodes that a root is.
pub(super) fn nodes_of(catalog: &Catalog, root: Root) -> impl Iterator<Item = NodeId> {
    let nodes = match kind_of(catalog, root) {
        RootKind::Segment(segment) => {
            let segment = &catalog.segments[segment.index()];
            [Some(segment.when), segment.until, segment.ending]
        }
        RootKind::Hold(hold) => [Some(catalog.holds[hold.index()].condition), None, None],
    };
    nodes.into_iter().flatten()
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

/// How many roots there are.
#[must_use]
pub(super) fn n_roots(catalog: &Catalog) -> Root {
    root_of_hold(catalog, HoldId(u32::try_from(catalog.holds.len()).unwrap_or(u32::MAX)))
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
            Op::ProfileTrait(profile_trait) => {
                note(&mut self.readers.profile_traits[profile_trait.index()], root);
                self.readers.note_key(self.catalog.profile_traits[profile_trait.index()].key, root);
            }
            Op::Consent(purpose) => {
                note(&mut self.readers.purposes[purpose.index()], root);
                self.readers.note_key(self.catalog.purposes[purpose.index()].key, root);
            }
            Op::Segment(segment) => {
                note(&mut self.readers.segments[segment.index()], root);
                self.readers.note_key(self.catalog.segments[segment.index()].key, root);
            }
            Op::Percentile(percentile) => {
                note(&mut self.readers.percentiles, root);
                self.aggregate(self.catalog.percentiles[percentile.index()].aggregate, root);
            }
            Op::Held(hold) => {
                let hold = &self.catalog.holds[hold.index()];
                self.readers.note_key(hold.key, root);
                self.node(hold.condition, root);
            }
            _ => op.operands().for_each(|operand| self.node(operand, root)),
        }
    }

    fn aggregate(&mut self, id: AggregateId, root: Root) {
        let aggregate = &self.catalog.aggregates[id.index()];
        self.readers.note_key(aggregate.key, root);
        if !self.readers.is_watched(root) {
            self.readers.families.read_directly(id, root);
        }
        if let Window::SinceAnchor { anchor } = aggregate.window {
            self.aggregate(anchor, root);
        }
    }
}

fn note(readers: &mut Vec<Root>, root: Root) {
    if readers.last() != Some(&root) {
        readers.push(root);
    }
}
