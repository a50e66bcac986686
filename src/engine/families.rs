//! Aggregates that are kept as one: the same of the same events over windows of several lengths. One state, as long as the
//! longest of them needs, serves them all; and one look at it tells whose conditions an event or the passing of time turns,
//! and until when it will stay so.

use hashbrown::HashMap;
use rust_decimal::Decimal;
use smallvec::SmallVec;

use super::accumulator::Accumulator;
use super::catalog::{Aggregate, AggregateId, Catalog, Function, Window};
use super::customer::find;
use super::readers::Root;
use super::series::{Entry, Series, View};
use super::thresholds::{Cell, Thresholds, halves_of_count};

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
    /// Those that conditions watch, the shortest window first.
    watched: Vec<Watched>,
    /// Of counts: once there are more, it makes no difference to anybody how many.
    counted_to: u64,
    /// Whoever else reads any of them.
    direct: Vec<Root>,
}

/// An aggregate and the conditions on it.
#[derive(Debug, Clone)]
struct Watched {
    aggregate: AggregateId,
    /// Of a window that slides.
    duration_ms: i64,
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
                    counted_to: 0,
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
        (!self.get(id).watched.is_empty()).then_some(id)
    }

    /// Whether what is given to this aggregate is to be kept: it is the one of its family that keeps.
    pub(super) fn keeps(&self, aggregate: AggregateId) -> bool {
        self.get(self.id_of(aggregate)).longest == aggregate
    }

    /// Lets conditions watch an aggregate.
    pub(super) fn watch(&mut self, catalog: &Catalog, aggregate: AggregateId, thresholds: Thresholds) {
        let duration_ms = duration_of(&catalog.aggregates[aggregate.index()]);
        let family = &mut self.list[self.of[aggregate.index()] as usize];
        family.counted_to = family.counted_to.max(thresholds.greatest_count());
        let place = family.watched.partition_point(|other| other.duration_ms < duration_ms);
        family.watched.insert(place, Watched { aggregate, duration_ms, thresholds });
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

/// Totals of the youngest entries of a state, reused from one look to the next: of none, of one, of two …
#[derive(Debug, Default)]
pub(super) struct Totals {
    counts: Vec<u64>,
    sums: Vec<Decimal>,
    /// No sum is negative, so that they fall as entries leave.
    only_fall: bool,
}

impl Family {
    /// The cell of each watched aggregate at an instant.
    pub(super) fn cells(
        &self,
        catalog: &Catalog,
        series: Option<&Series>,
        at: i64,
        totals: &mut Totals,
        cells: &mut Vec<Cell>,
    ) {
        self.look(catalog, series, at, totals, false, |_, cell, _| cells.push(cell));
    }

    /// The readers of what has turned since the aggregates were in the cells `before`; and until when nothing will.
    pub(super) fn turned(
        &self,
        catalog: &Catalog,
        series: Option<&Series>,
        now: i64,
        totals: &mut Totals,
        before: &[Cell],
        mut turned: impl FnMut(&[Root]),
    ) -> i64 {
        let mut holds_until = i64::MAX;
        let mut before = before.iter();
        self.look(catalog, series, now, totals, true, |watched, cell, until| {
            holds_until = holds_until.min(until);
            if let Some(before) = before.next().filter(|before| **before != cell) {
                watched.thresholds.crossed(*before, cell).for_each(&mut turned);
            }
        });
        holds_until
    }

    /// Until when no condition turns if nothing else happens.
    pub(super) fn holds_until(&self, catalog: &Catalog, series: Option<&Series>, now: i64, totals: &mut Totals) -> i64 {
        self.turned(catalog, series, now, totals, &[], |_| {})
    }

    /// Tells the cell of each watched aggregate, and if asked until when its value concerns nobody.
    fn look(
        &self,
        catalog: &Catalog,
        series: Option<&Series>,
        at: i64,
        totals: &mut Totals,
        ahead: bool,
        mut tell: impl FnMut(&Watched, Cell, i64),
    ) {
        let Some(series) = series else {
            return self.watched.iter().for_each(|watched| tell(watched, watched.thresholds.of_nothing, i64::MAX));
        };
        match (series, self.function) {
            (Series::Entries(entries), Function::Count) => self.look_at_counts(entries, at, totals, ahead, tell),
            (Series::Entries(entries), Function::Sum) if totals.add_up(entries) => {
                self.look_at_sums(entries, at, totals, ahead, tell);
            }
            _ => {
                for watched in &self.watched {
                    let aggregate = &catalog.aggregates[watched.aggregate.index()];
                    let view = View::new(catalog, aggregate, at, None);
                    let cell = watched.thresholds.cell_of(&series.read(&view).value);
                    let until = if ahead { watched.lasts(series, &view, cell) } else { i64::MAX };
                    tell(watched, cell, until);
                }
            }
        }
    }

    /// From the youngest entry on, as far as a longer window can make a difference.
    fn look_at_counts(
        &self,
        entries: &[Entry],
        at: i64,
        totals: &mut Totals,
        ahead: bool,
        mut tell: impl FnMut(&Watched, Cell, i64),
    ) {
        let counts = &mut totals.counts;
        counts.clear();
        counts.push(0);
        let mut total = 0_u64;
        let mut older = entries.iter().rev().peekable();
        for watched in &self.watched {
            let inside = at.saturating_sub(watched.duration_ms).saturating_add(1);
            while let Some(entry) = older.next_if(|entry| entry.youngest >= inside && total <= self.counted_to) {
                total += if let Accumulator::Count(count) = entry.accumulator { count } else { 0 };
                counts.push(total);
            }
            let cell = watched.thresholds.cell_of_count(total);
            let until = if ahead { watched.count_lasts(entries, counts, cell) } else { i64::MAX };
            tell(watched, cell, until);
        }
    }

    fn look_at_sums(
        &self,
        entries: &[Entry],
        at: i64,
        totals: &Totals,
        ahead: bool,
        mut tell: impl FnMut(&Watched, Cell, i64),
    ) {
        let mut n_inside = 0;
        for watched in &self.watched {
            let inside = at.saturating_sub(watched.duration_ms).saturating_add(1);
            let older = entries.iter().rev().skip(n_inside);
            n_inside += older.take_while(|entry| entry.youngest >= inside).count();
            let cell = watched.thresholds.cell_of_number(totals.sums[n_inside]);
            let until = if ahead { watched.sum_lasts(entries, totals, n_inside, cell) } else { i64::MAX };
            tell(watched, cell, until);
        }
    }
}

impl Totals {
    /// Adds up the sums of entries; `false` where that is more than a decimal can hold.
    fn add_up(&mut self, entries: &[Entry]) -> bool {
        self.sums.clear();
        self.sums.push(Decimal::ZERO);
        self.only_fall = true;
        let mut total = Decimal::ZERO;
        for entry in entries.iter().rev() {
            let Accumulator::Sum(Some(sum)) = entry.accumulator else { return false };
            let Some(sum_up_to) = total.checked_add(sum) else { return false };
            self.only_fall &= !sum.is_sign_negative();
            total = sum_up_to;
            self.sums.push(total);
        }
        true
    }
}

impl Watched {
    /// Until when a value in a cell stays where it concerns nobody.
    fn lasts(&self, series: &Series, view: &View<'_>, cell: Cell) -> i64 {
        let (first, last) = self.thresholds.calm(cell);
        series.holds_until(view, |value| (first..=last).contains(&self.thresholds.cell_of(value))).1
    }

    /// The same of a count, which only falls.
    fn count_lasts(&self, entries: &[Entry], counts: &[u64], cell: Cell) -> i64 {
        let (first, _) = self.thresholds.calm(cell);
        let Some(least) = self.thresholds.least_halves(first) else { return i64::MAX };
        self.leaves_at(entries, counts.partition_point(|count| halves_of_count(*count) < least))
    }

    /// The same of a sum, which only falls unless something negative is in it.
    fn sum_lasts(&self, entries: &[Entry], totals: &Totals, n_inside: usize, cell: Cell) -> i64 {
        let (first, last) = self.thresholds.calm(cell);
        let sums = &totals.sums[..n_inside];
        let n_left = if totals.only_fall {
            sums.partition_point(|sum| self.thresholds.cell_of_number(*sum) < first).checked_sub(1)
        } else {
            sums.iter().rposition(|sum| !(first..=last).contains(&self.thresholds.cell_of_number(*sum)))
        };
        n_left.map_or(i64::MAX, |n_left| self.leaves_at(entries, n_left + 1))
    }

    /// When the entry leaves that so many are at least as young as.
    fn leaves_at(&self, entries: &[Entry], n_as_young: usize) -> i64 {
        let entry = entries.len().checked_sub(n_as_young).and_then(|place| entries.get(place));
        entry.map_or(i64::MAX, |entry| entry.youngest.saturating_add(self.duration_ms))
    }
}

/// The aggregates that were touched in an evaluation, and where their values were before.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// As of when those values are: the last instant at which nothing had turned yet.
    then: i64,
    /// Each family with the place of its first cell.
    families: SmallVec<[(FamilyId, u32); 32]>,
    cells: Vec<Cell>,
    /// By family, the round in which it was touched last.
    rounds: Vec<u32>,
    round: u32,
    pub(super) totals: Totals,
}

impl Touched {
    pub(super) fn begin(&mut self, families: &Families, then: i64) {
        self.then = then;
        self.families.clear();
        self.cells.clear();
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
        self.families.push((id, u32::try_from(self.cells.len()).unwrap_or(u32::MAX)));
        families.get(id).cells(catalog, series, self.then, &mut self.totals, &mut self.cells);
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
        for (id, place) in std::mem::take(&mut self.families) {
            let family = families.get(id);
            turned(&family.direct);
            if family.watched.is_empty() {
                continue;
            }
            let before = self.cells.get(place as usize..).unwrap_or_default();
            let series = find(aggregates, family.key);
            holds_until(id, family.turned(catalog, series, now, &mut self.totals, before, &mut turned));
        }
    }
}
