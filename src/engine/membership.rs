//! One evaluation: from what an input touched to who enters and leaves, with the reasons, and to the next deadline.

use std::sync::Arc;

use compact_str::CompactString;

use super::Names;
use super::catalog::{Catalog, HoldId, NodeId, SegmentId};
use super::customer::{Customer, Standing};
use super::effects::{Cause, Change};
use super::evaluator::{Evaluator, Scratch};
use super::percentile::CutOffs;
use super::readers::{Readers, Root, RootKind, kind_of};
use super::record::Origin;
use super::why;

/// The roots to evaluate, each once, in order: a segment before those that ask about it.
#[derive(Debug)]
pub(super) struct Agenda {
    listed: Vec<bool>,
    /// The last one first, once they are being evaluated.
    roots: Vec<Root>,
    in_order: bool,
    /// Whatever time may turn is to be looked at.
    is_whole: bool,
}

impl Agenda {
    pub(super) fn new(catalog: &Catalog) -> Self {
        let n_roots = catalog.segments.len() + catalog.holds.len();
        Self { listed: vec![false; n_roots], roots: Vec::new(), in_order: false, is_whole: false }
    }

    pub(super) fn add(&mut self, roots: &[Root]) {
        for root in roots {
            if std::mem::replace(&mut self.listed[*root as usize], true) {
                continue;
            }
            let place = if self.in_order { self.roots.partition_point(|other| other > root) } else { self.roots.len() };
            self.roots.insert(place, *root);
        }
    }

    /// Whatever time may turn is to be looked at in this evaluation, because it is of an earlier instant than one before, or
    /// of other definitions.
    pub(super) fn look_at_all(&mut self) {
        self.is_whole = true;
    }

    /// Whether it is; asked once.
    pub(super) fn looks_at_all(&mut self) -> bool {
        std::mem::take(&mut self.is_whole)
    }

    pub(super) fn clear(&mut self) {
        while self.next().is_some() {}
        self.is_whole = false;
    }

    fn next(&mut self) -> Option<Root> {
        if !self.in_order {
            self.roots.sort_unstable_by(|a, b| b.cmp(a));
        }
        let root = self.roots.pop();
        self.in_order = root.is_some();
        self.listed[root? as usize] = false;
        root
    }
}

/// What brings an evaluation about; made a [`Cause`] only for a change.
pub(super) enum Because<'a> {
    /// An event or a profile record.
    Record { event_type: Arc<str>, event_id: &'a CompactString, origin: &'a Origin },
    /// Anything else.
    Other(Cause),
}

impl Because<'_> {
    fn cause(&self) -> Cause {
        match self {
            Self::Record { event_type, event_id, origin } => Cause::Event {
                event_type: event_type.clone(),
                event_id: (*event_id).clone(),
                origin: (*origin).clone(),
            },
            Self::Other(cause) => cause.clone(),
        }
    }
}

/// A membership that begins or ends.
struct Move {
    segment: SegmentId,
    entered: bool,
    /// The condition that decided: `when`, or the `until` that ended it.
    decided_by: NodeId,
}

/// One evaluation of a customer.
pub(super) struct Evaluation<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) readers: &'a Readers,
    pub(super) names: &'a Names,
    pub(super) cut_offs: &'a CutOffs,
    pub(super) customer_id: &'a str,
    pub(super) now: i64,
    pub(super) cause: &'a Because<'a>,
}

impl Evaluation<'_> {
    /// Evaluates what is on the agenda and says whether anything flipped. `until` is for how long what is watched holds.
    pub(super) fn run(
        &self,
        customer: &mut Customer,
        agenda: &mut Agenda,
        scratch: &mut Scratch,
        mut until: i64,
        changes: &mut Vec<Change>,
    ) -> bool {
        let mut evaluator = Evaluator::new(self.catalog, self.cut_offs, customer, self.customer_id, self.now, scratch);
        let mut flipped = false;
        let mut moves = Vec::new();
        while let Some(root) = agenda.next() {
            let root_until = match kind_of(self.catalog, root) {
                RootKind::Segment(id) => {
                    let n_moves = moves.len();
                    let (root_until, root_flipped) = self.segment(&mut evaluator, id, &mut moves);
                    flipped |= root_flipped;
                    if moves.len() > n_moves {
                        agenda.add(&self.readers.segments[id.index()]);
                    }
                    root_until
                }
                RootKind::Hold(id) => hold(&mut evaluator, id),
            };
            if !self.readers.is_watched(root) {
                until = until.min(root_until);
                evaluator.customer.schedule.set(self.readers.timer_of_root(root), root_until);
            }
        }
        self.emit(&mut evaluator, moves, changes);
        flipped |= evaluator.hold_flipped;
        // While the schedule is not known, what was not evaluated keeps its deadline, which is somewhere in the customer's.
        let until = customer.schedule.next().unwrap_or_else(|| {
            let decided_at = self.readers.next_decision(self.catalog, customer);
            until.min(customer.deadline.unwrap_or(i64::MAX)).min(decided_at)
        });
        customer.deadline = (until < i64::MAX).then(|| until.max(self.now.saturating_add(1)));
        flipped
    }

    /// Brings a customer's standing towards a segment up to date; until when it holds, and whether it flipped.
    fn segment(&self, evaluator: &mut Evaluator<'_>, id: SegmentId, moves: &mut Vec<Move>) -> (i64, bool) {
        let segment = &self.catalog.segments[id.index()];
        let before = evaluator.customer.standing(segment.key);
        // How long what is watched holds is known without looking at each condition of each segment.
        let is_watched = self.readers.is_watched(id.0);
        let look = |evaluator: &mut Evaluator<'_>, node: NodeId| {
            if is_watched {
                return (evaluator.truth(node), i64::MAX);
            }
            let answer = evaluator.answer(node);
            (answer.value.is_true(), answer.until)
        };
        let (when, mut root_until) = look(evaluator, segment.when);
        let mut after = Standing { member: when, ..before };
        let mut decided_by = segment.when;
        if let (Some(until), Some(ending)) = (segment.until, segment.ending) {
            let (until, until_holds) = look(evaluator, until);
            let (ends, ending_holds) = look(evaluator, ending);
            (after.when, after.until) = (when, until);
            root_until = root_until.min(until_holds).min(ending_holds);
            after.member = if before.member { !ends } else { when && !before.when && !ends };
            if before.member {
                decided_by = ending;
            }
        }
        if after.member != before.member {
            after.since = if after.member { self.now } else { 0 };
            moves.push(Move { segment: id, entered: after.member, decided_by });
        }
        if after != before {
            evaluator.customer.set_standing(segment.key, after);
        }
        (root_until, after != before)
    }

    /// Numbers the changes in their order, `left` before `entered`, then by name, and says why.
    fn emit(&self, evaluator: &mut Evaluator<'_>, mut moves: Vec<Move>, changes: &mut Vec<Change>) {
        moves.sort_unstable_by_key(|moved| (moved.entered, self.names.ranks[moved.segment.index()]));
        changes.reserve(moves.len());
        for Move { segment: id, entered, decided_by } in moves {
            let segment = &self.catalog.segments[id.index()];
            let carried = segment.carry.iter().zip(&self.names.carried[id.index()]);
            let traits = carried.map(|((_, node), name)| (name.clone(), evaluator.value(*node).clone())).collect();
            let why = why::reasons(evaluator, decided_by);
            evaluator.customer.sequence += 1;
            changes.push(Change {
                customer_id: self.customer_id.into(),
                segment: self.names.segments[id.index()].clone(),
                entered,
                at: self.now,
                sequence: evaluator.customer.sequence,
                definition: self.names.definitions[id.index()].clone(),
                cause: self.cause.cause(),
                why,
                traits,
            });
        }
    }
}

/// Keeps up since when the condition of a `P for D` holds; until when that stays so.
fn hold(evaluator: &mut Evaluator<'_>, id: HoldId) -> i64 {
    let condition = evaluator.catalog.holds[id.index()].condition;
    evaluator.held(id);
    // What the condition's own flip brings about must not be missed, even while D has not passed.
    evaluator.answer(condition).until
}
