//! Aggregates that are kept as one: the same of the same events over windows of several lengths. One state, as long as the
//! longest of them needs, serves them all; and one look at it tells whose conditions an event or the passing of time turns,
//! and until when it will stay so.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::boundaries::Boundaries;
use super::catalog::{Aggregate, AggregateId, Catalog, Function, Window};
use super::customer::find;
use super::readers::Root;
use super::series::{Series, View};
use super::thresholds::{Cell, Thresholds};
use super::value::Value;

/// A position in the list of families.
pub(super) type FamilyId = u32;

/// All aggregates of a catalog, by what is kept of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Families {
    list: Vec<Family>,
    /// By aggregate.
    of: Vec<FamilyId>,
    by_key: HashMap<u64, FamilyId, foldhash::fast::RandomState>,
}

/// What shares a state.
#[derive(Debug, Clone)]
pub(super) struct Family {
    pub(super) key: u64,
    function: Function,
    /// The one whose window is longest: what it needs is kept.
    pub(super) longest: AggregateId,
    /// Whether there are others.
    pub(super) is_shared: bool,
    /// Those that conditions watch.
    watched: Vec<Watched>,
    /// The same conditions where they are on counts or sums over sliding windows.
    boundaries: Boundaries,
    /// Whoever else reads any of them.
    direct: Vec<Root>,
}

/// An aggregate and the conditions on it.
#[derive(Debug, Clone)]
struct Watched {
    aggregate: AggregateId,
    thresholds: Thresholds,
}

impl Families {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut families = Self::default();
        for (id, aggregate) in (0..).map(AggregateId).zip(&catalog.aggregates) {
            let new = FamilyId::try_from(families.list.len()).unwrap_or(FamilyId::MAX);
            let family = *families.by_key.entry(aggregate.key).or_insert(new);
            families.of.push(family);
            match families.list.get_mut(family as usize) {
                Some(family) => {
                    family.is_shared = true;
                    if duration_of(aggregate) > duration_of(&catalog.aggregates[family.longest.index()]) {
                        family.longest = id;
                    }
                }
                None => families.list.push(Family {
                    key: aggregate.key,
                    function: aggregate.function,
                    longest: id,
                    is_shared: false,
                    watched: Vec::new(),
                    boundaries: Boundaries::default(),
                    direct: Vec::new(),
                }),
            }
        }
        families
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, id: FamilyId) -> &Family {
        &self.list[id as usize]
    }

    /// The family of an aggregate.
    pub(super) fn id_of(&self, aggregate: AggregateId) -> FamilyId {
        self.of[aggregate.index()]
    }

    /// The family whose state has that key, if anything watches it.
    pub(super) fn watched(&self, key: u64) -> Option<FamilyId> {
        let id = *self.by_key.get(&key)?;
        self.get(id).is_watched().then_some(id)
    }

    /// Whether what is given to this aggregate is to be kept: it is the one of its family that keeps.
    pub(super) fn keeps(&self, aggregate: AggregateId) -> bool {
        self.get(self.id_of(aggregate)).longest == aggregate
    }

    /// Lets conditions watch aggregates.
    pub(super) fn watch(&mut self, catalog: &Catalog, conditions: impl IntoIterator<Item = (AggregateId, Thresholds)>) {
        for (aggregate, thresholds) in conditions {
            let family = &mut self.list[self.of[aggregate.index()] as usize];
            family.watched.push(Watched { aggregate, thresholds });
        }
        for family in &mut self.list {
            if duration_of(&catalog.aggregates[family.longest.index()]) > 0 {
                let duration = |watched: &Watched| duration_of(&catalog.aggregates[watched.aggregate.index()]);
                let windows = family.watched.iter().map(|watched| (duration(watched), &watched.thresholds));
                family.boundaries = Boundaries::of(family.function, windows);
            }
            if family.function == Function::Count && !family.boundaries.is_empty() {
                // Those of a count say it all; a sum may come to have something negative in it.
                family.watched = Vec::new();
            }
        }
    }

    /// Notes a root that is to be evaluated whenever an aggregate is touched.
    pub(super) fn read_directly(&mut self, aggregate: AggregateId, root: Root) {
        let family = &mut self.list[self.of[aggregate.index()] as usize];
        if family.direct.last() != Some(&root) {
            family.direct.push(root);
        }
    }
}

/// How long a sliding window is, milliseconds; 0 for others, which share nothing.
fn duration_of(aggregate: &Aggregate) -> i64 {
    if let Window::Over { duration_ms } = aggregate.window { duration_ms } else { 0 }
}

/// Where what is watched of a family was, to be compared with where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The cell of each watched aggregate.
    Cells,
    /// The age of each boundary.
    Ages,
}

impl Family {
    fn is_watched(&self) -> bool {
        !self.watched.is_empty() || !self.boundaries.is_empty()
    }

    /// Notes where what is watched is at an instant.
    fn note(&self, catalog: &Catalog, series: Option<&Series>, at: i64, places: &mut Vec<i64>) -> Before {
        let n_places = places.len();
        if !self.boundaries.is_empty() {
            let Some(series) = series else { return Before::Ages };
            if self.boundaries.note_ages(series, at, places) {
                return Before::Ages;
            }
            places.truncate(n_places);
        }
        self.look(catalog, series, at, false, |_, cell, _| places.push(cell.into()));
        Before::Cells
    }

    /// Tells the readers of what has turned since then; and until when nothing will.
    fn turned(
        &self,
        catalog: &Catalog,
        series: Option<&Series>,
        now: i64,
        (before, places): (Before, &[i64]),
        mut turned: impl FnMut(&[Root]),
    ) -> i64 {
        if let (false, Some(series)) = (self.boundaries.is_empty(), series) {
            let ages = if before == Before::Ages { places } else { &[] };
            let holds_until = self.boundaries.turned(series, now, ages, &mut turned);
            if holds_until.is_some() != (before == Before::Ages) {
                // What was told in one way cannot be compared with what is told in the other.
                self.watched.iter().for_each(|watched| watched.thresholds.readers().for_each(&mut turned));
            }
            if let Some(holds_until) = holds_until {
                return holds_until;
            }
        }
        let mut holds_until = i64::MAX;
        let mut cells = if before == Before::Cells { places } else { &[] }.iter();
        self.look(catalog, series, now, true, |watched, cell, until| {
            holds_until = holds_until.min(until);
            let before = cells.next().and_then(|before| Cell::try_from(*before).ok());
            if let Some(before) = before.filter(|before| *before != cell) {
                watched.thresholds.crossed(before, cell).for_each(&mut turned);
            }
        });
        holds_until
    }

    /// Until when no condition turns if nothing else happens.
    pub(super) fn holds_until(&self, catalog: &Catalog, series: Option<&Series>, now: i64) -> i64 {
        self.turned(catalog, series, now, (Before::Ages, &[]), |_| {})
    }

    /// Tells the cell of each watched aggregate, and if asked until when its value concerns nobody.
    fn look(
        &self,
        catalog: &Catalog,
        series: Option<&Series>,
        at: i64,
        ahead: bool,
        mut tell: impl FnMut(&Watched, Cell, i64),
    ) {
        for watched in &self.watched {
            let Some(series) = series else {
                tell(watched, watched.thresholds.of_nothing, i64::MAX);
                continue;
            };
            let aggregate = &catalog.aggregates[watched.aggregate.index()];
            let view = View::new(catalog, aggregate, at, None);
            let cell = watched.thresholds.cell_of(&series.read(&view).value);
            let (first, last) = watched.thresholds.calm(cell);
            let is_calm = |value: &Value| (first..=last).contains(&watched.thresholds.cell_of(value));
            let until = if ahead { series.holds_until(&view, is_calm).1 } else { i64::MAX };
            tell(watched, cell, until);
        }
    }
}

/// The aggregates that were touched in an evaluation, and where their values were before.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// As of when that is: the last instant at which nothing had turned yet.
    then: i64,
    families: SmallVec<[Note; 32]>,
    /// What the notes say, one after the other.
    places: Vec<i64>,
    /// By family, the round in which it was touched last.
    rounds: Vec<u32>,
    round: u32,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    family: FamilyId,
    before: Before,
    /// Where in the places it begins and ends.
    from: usize,
    to: usize,
}

impl Touched {
    pub(super) fn begin(&mut self, families: &Families, then: i64) {
        self.then = then;
        self.families.clear();
        self.places.clear();
        self.round = self.round.wrapping_add(1);
        if self.rounds.len() != families.len() || self.round == 0 {
            self.rounds.clear();
            self.rounds.resize(families.len(), 0);
            self.round = 1;
        }
    }

    /// Notes that a family is about to be changed, or that time may have changed what is watched of it.
    pub(super) fn note(&mut self, catalog: &Catalog, families: &Families, id: FamilyId, series: Option<&Series>) {
        if std::mem::replace(&mut self.rounds[id as usize], self.round) == self.round {
            return;
        }
        let from = self.places.len();
        let before = families.get(id).note(catalog, series, self.then, &mut self.places);
        self.families.push(Note { family: id, before, from, to: self.places.len() });
    }

    /// Takes the families that were touched, and tells the readers of what has turned, and for each family until when
    /// nothing of it will.
    pub(super) fn settle(
        &mut self,
        catalog: &Catalog,
        families: &Families,
        aggregates: &[(u64, Series)],
        now: i64,
        mut turned: impl FnMut(&[Root]),
        mut holds_until: impl FnMut(FamilyId, i64),
    ) {
        for Note { family: id, before, from, to } in self.families.drain(..) {
            let family = families.get(id);
            turned(&family.direct);
            if family.is_watched() {
                let before = (before, self.places.get(from..to).unwrap_or_default());
                holds_until(id, family.turned(catalog, find(aggregates, family.key), now, before, &mut turned));
            }
        }
    }
}
