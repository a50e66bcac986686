//! Two-step patterns: `A then B within D`, `A without B within D`, `B after D without A`. `segments.md` section 4.
//!
//! A pattern remembers the occurrences of its steps that a later record may still be paired with; records may be late,
//! so occurrences are kept until nothing that is not refused as too late can concern them. A match, once made, stands.

use smallvec::SmallVec;

use super::catalog::{Pattern, Relation, Side};
use super::value::Value;

/// Occurrences of one step that a customer's pattern remembers at most; the oldest makes room.
pub const OCCURRENCES_MAX: usize = 512;

/// The place of an event among all of a customer's: by arrival, an element after its record and by its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rank(pub u64);

impl Rank {
    /// Elements of one record that are told apart.
    const ELEMENTS_MAX: u64 = 1 << 16;

    /// The rank of the `arrival`-th record of a customer; elements are numbered from 1, the record itself is 0.
    #[must_use]
    pub fn new(arrival: u64, element: usize) -> Self {
        Self(arrival * Self::ELEMENTS_MAX + (element as u64).min(Self::ELEMENTS_MAX - 1))
    }
}

/// What an `on` compares: the hashes of a value, or of each element of a list; empty when unknown.
pub type Key = SmallVec<[u64; 1]>;
/// The keys an occurrence carries, see [`Pattern`].
pub type Keys = SmallVec<[Key; 1]>;

/// The key of a value.
#[must_use]
pub fn key_of(value: &Value) -> Key {
    match value {
        Value::Unknown => Key::new(),
        Value::List(items) => items.iter().map(Value::stable_hash).collect(),
        scalar => SmallVec::from_elem(scalar.stable_hash(), 1),
    }
}

/// Occurrences of one step; mostly there are very few.
pub type Occurrences = SmallVec<[Occurrence; 2]>;

/// One occurrence of a step, or a match.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// When, milliseconds since the epoch.
    pub at: i64,
    /// Orders occurrences of one instant.
    pub rank: Rank,
    /// What it is paired by, here and in the patterns around.
    pub keys: Keys,
}

impl Occurrence {
    fn order(&self) -> (i64, Rank) {
        (self.at, self.rank)
    }

    fn pairs_with(&self, other: &Self, on: bool) -> bool {
        if !on {
            return true;
        }
        match (self.keys.first(), other.keys.first()) {
            (Some(mine), Some(theirs)) => mine.iter().any(|hash| theirs.contains(hash)),
            _ => false,
        }
    }

    /// The match of which this is the base, at `at`.
    fn matched(&self, at: i64, on: bool) -> Self {
        Self { at, rank: self.rank, keys: self.keys.iter().skip(usize::from(on)).cloned().collect() }
    }
}

/// What a customer's pattern remembers, each side in order of instant and arrival.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PatternState {
    /// Occurrences of A. `Without`: those not yet decided.
    pub a: Occurrences,
    /// Occurrences of B. `Then`: those without a match so far. `After`: none.
    pub b: Occurrences,
}

/// The instants between which a pattern works.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The customer's own time.
    pub now: i64,
    /// Nothing that occurred before this can arrive any more.
    pub horizon: i64,
}

impl PatternState {
    /// Takes in an occurrence of a step; what it brings about at once goes to `matches`.
    pub fn take(
        &mut self,
        pattern: &Pattern,
        side: Side,
        occurrence: Occurrence,
        bounds: Bounds,
        matches: &mut Vec<Occurrence>,
    ) {
        self.forget(pattern, bounds);
        match (pattern.relation, side) {
            (Relation::Then, Side::A) => self.then_a(pattern, occurrence, matches),
            (Relation::Then, Side::B) => self.then_b(pattern, occurrence, matches),
            (Relation::Without, Side::A) => self.without_a(pattern, occurrence),
            (Relation::Without, Side::B) => self.without_b(pattern, occurrence),
            (Relation::After, Side::A) => insert(&mut self.a, occurrence),
            (Relation::After, Side::B) => {
                if !self.a.iter().any(|a| precedes(a, &occurrence, pattern)) {
                    matches.push(occurrence.matched(occurrence.at, pattern.on));
                }
            }
        }
    }

    fn then_a(&mut self, pattern: &Pattern, a: Occurrence, matches: &mut Vec<Occurrence>) {
        self.b.retain(|b| {
            let found = precedes(&a, b, pattern);
            if found {
                matches.push(b.matched(b.at, pattern.on));
            }
            !found
        });
        insert(&mut self.a, a);
    }

    fn then_b(&mut self, pattern: &Pattern, b: Occurrence, matches: &mut Vec<Occurrence>) {
        if self.a.iter().any(|a| precedes(a, &b, pattern)) {
            matches.push(b.matched(b.at, pattern.on));
        } else {
            insert(&mut self.b, b);
        }
    }

    /// A late A whose time has passed waits for what else its record holds, and is decided with it.
    fn without_a(&mut self, pattern: &Pattern, a: Occurrence) {
        if !self.b.iter().any(|b| precedes(&a, b, pattern)) {
            insert(&mut self.a, a);
        }
    }

    fn without_b(&mut self, pattern: &Pattern, b: Occurrence) {
        self.a.retain(|a| !precedes(a, &b, pattern));
        insert(&mut self.b, b);
    }

    /// The next instant at which time alone decides a `without`.
    #[must_use]
    pub fn decides_at(&self, pattern: &Pattern) -> Option<i64> {
        match pattern.relation {
            Relation::Without => self.a.first().map(|a| a.at.saturating_add(pattern.duration_ms)),
            Relation::Then | Relation::After => None,
        }
    }

    /// The earliest undecided occurrence, if it is due by `now`, as the match it became.
    pub fn decide(&mut self, pattern: &Pattern, now: i64) -> Option<Occurrence> {
        let decided_at = self.decides_at(pattern).filter(|decided_at| *decided_at <= now)?;
        Some(self.a.remove(0).matched(decided_at, pattern.on))
    }

    /// Forgets what nothing that may still arrive can be paired with.
    fn forget(&mut self, pattern: &Pattern, bounds: Bounds) {
        self.b.drain(..self.b.partition_point(|b| b.at < bounds.horizon));
        if pattern.relation != Relation::Without {
            let gone = |a: &Occurrence| a.at.saturating_add(pattern.duration_ms) <= bounds.horizon;
            self.a.drain(..self.a.partition_point(gone));
        }
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.a.is_empty() && self.b.is_empty()
    }
}

/// Whether `a` is an A before `b`, less than D apart and with the same key: what `then` and `after` look for before a
/// B, and `without` after an A. A match has the rank of the event whose fields it has, and is no other event than that.
fn precedes(a: &Occurrence, b: &Occurrence, pattern: &Pattern) -> bool {
    a.rank != b.rank
        && a.order() < b.order()
        && b.at < a.at.saturating_add(pattern.duration_ms)
        && a.pairs_with(b, pattern.on)
}

fn insert(occurrences: &mut Occurrences, occurrence: Occurrence) {
    if occurrences.len() == OCCURRENCES_MAX {
        occurrences.remove(0);
    }
    let position = occurrences.partition_point(|other| other.order() <= occurrence.order());
    occurrences.insert(position, occurrence);
}
