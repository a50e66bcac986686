//! Everything a customer did, and the matches of patterns in it: found anew from the whole history at every step.

use std::collections::BTreeMap;
use std::rc::Rc;

use segue::definition::ast::{Expr, On, Path, Pattern, PatternKind, Relation, Source, Step};

use crate::evaluate::filter_holds;
use crate::record::{Tree, with_envelope_of};
use crate::replay::World;
use crate::value::Val;

/// Place in the order of arrival: the record's, then 0 for itself and 1, 2 … for the elements of its list.
pub(crate) type Rank = (usize, usize);

/// An event, an element or a match: ordered by instant, then by rank, which also says which event it is.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    pub(crate) at: i64,
    pub(crate) rank: Rank,
    pub(crate) tree: Rc<Tree>,
}

impl Occurrence {
    fn order(&self) -> (i64, Rank) {
        (self.at, self.rank)
    }
}

/// The events of a customer, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<(String, Occurrence)>,
    /// The matches made so far, by pattern: a match, once made, stands.
    made: BTreeMap<usize, BTreeMap<Rank, Occurrence>>,
}

/// The names of a path.
pub(crate) fn names(path: &Path) -> Vec<&str> {
    path.names.iter().map(|name| name.node.as_str()).collect()
}

fn identity(pattern: &Pattern) -> usize {
    std::ptr::from_ref(pattern) as usize
}

impl History {
    /// The events or elements of a source that pass a filter, in order. `array` is how many names lead to the array.
    pub(crate) fn occurrences(&self, source: &Source, filter: Option<&Expr>, world: &World) -> Vec<Occurrence> {
        let mut found = vec![];
        for (_, event) in self.events.iter().filter(|(event_type, _)| *event_type == source.event.node) {
            if source.each {
                let path = source.path.as_ref().map(names).unwrap_or_default();
                let array = &path[..world.array_length(&source.event.node, &path)];
                for (place, element) in event.tree.elements(array).iter().enumerate() {
                    let tree = Rc::new(with_envelope_of(element, &event.tree));
                    found.push(Occurrence { at: event.at, rank: (event.rank.0, place + 1), tree });
                }
            } else {
                found.push(event.clone());
            }
        }
        found.retain(|occurrence| filter.is_none_or(|filter| filter_holds(filter, &occurrence.tree, world)));
        found.sort_by_key(Occurrence::order);
        found
    }

    /// The instants of the events of a type that pass a filter.
    pub(crate) fn instants(&self, event_type: &str, filter: Option<&Expr>, world: &World) -> Vec<i64> {
        let events = self.events.iter().filter(|(known, _)| known == event_type);
        let passing = events.filter(|(_, event)| filter.is_none_or(|filter| filter_holds(filter, &event.tree, world)));
        passing.map(|(_, event)| event.at).collect()
    }

    /// The matches of a pattern made so far, in order of their instants.
    pub(crate) fn matches(&self, pattern: &Pattern, world: &World) -> Vec<Occurrence> {
        if let PatternKind::Step(step) = &pattern.kind {
            return self.step(step, world);
        }
        let mut made: Vec<_> =
            self.made.get(&identity(pattern)).map(|made| made.values().cloned().collect()).unwrap_or_default();
        made.sort_by_key(Occurrence::order);
        made
    }

    fn step(&self, step: &Step, world: &World) -> Vec<Occurrence> {
        match step {
            Step::Events { source, filter } => self.occurrences(source, filter.as_deref(), world),
            Step::Pattern(pattern) => self.matches(pattern, world),
        }
    }

    /// Makes the matches of a two-step pattern that there are at `now`. Inner patterns come first.
    pub(crate) fn make_matches(&mut self, pattern: &Pattern, now: i64, world: &World) {
        let found = match &pattern.kind {
            PatternKind::Step(_) => return,
            PatternKind::Then(relation) => self.second_after_first(relation, world),
            PatternKind::After(relation) => self.first_alone_before(relation, world),
            PatternKind::Without(relation) => {
                let mut found = self.first_alone_after(relation, world);
                for occurrence in &mut found {
                    occurrence.at += relation.duration_ms.node;
                }
                found.retain(|occurrence| occurrence.at <= now);
                found
            }
        };
        let made = self.made.entry(identity(pattern)).or_default();
        for occurrence in found {
            made.entry(occurrence.rank).or_insert(occurrence);
        }
    }

    /// `A without B`: when it will be decided for each A that has no B yet and is not decided.
    pub(crate) fn undecided(&self, pattern: &Pattern, now: i64, world: &World) -> Vec<i64> {
        let PatternKind::Without(relation) = &pattern.kind else { return vec![] };
        let decided = self.first_alone_after(relation, world).into_iter().map(|a| a.at + relation.duration_ms.node);
        decided.filter(|at| *at > now).collect()
    }

    /// `A then B within D`: each B that has some other event A with `tB - D < tA <= tB`.
    fn second_after_first(&self, relation: &Relation, world: &World) -> Vec<Occurrence> {
        let (firsts, mut seconds) = (self.step(&relation.first, world), self.step(&relation.second, world));
        seconds.retain(|b| {
            firsts.iter().any(|a| {
                a.rank != b.rank
                    && b.at - relation.duration_ms.node < a.at
                    && a.order() < b.order()
                    && pair(relation.on.as_ref(), a, b)
            })
        });
        seconds
    }

    /// `A without B within D`: each A with no other event B in `tA <= tB < tA + D`.
    fn first_alone_after(&self, relation: &Relation, world: &World) -> Vec<Occurrence> {
        let (mut firsts, seconds) = (self.step(&relation.first, world), self.step(&relation.second, world));
        firsts.retain(|a| {
            !seconds.iter().any(|b| {
                a.rank != b.rank
                    && a.order() < b.order()
                    && b.at < a.at + relation.duration_ms.node
                    && pair(relation.on.as_ref(), a, b)
            })
        });
        firsts
    }

    /// `B after D without A`: each B with no other event A in `tB - D < tA <= tB`.
    fn first_alone_before(&self, relation: &Relation, world: &World) -> Vec<Occurrence> {
        let (mut firsts, seconds) = (self.step(&relation.first, world), self.step(&relation.second, world));
        firsts.retain(|b| {
            !seconds.iter().any(|a| {
                a.rank != b.rank
                    && b.at - relation.duration_ms.node < a.at
                    && a.order() < b.order()
                    && pair(relation.on.as_ref(), b, a)
            })
        });
        firsts
    }
}

/// Whether two events pair: what `on` names is known in both and equal, or shares an element.
fn pair(on: Option<&On>, first: &Occurrence, second: &Occurrence) -> bool {
    let Some(on) = on else { return true };
    let left = first.tree.value(&names(&on.first));
    let right = second.tree.value(&names(on.second.as_ref().unwrap_or(&on.first)));
    match (left, right) {
        (Val::Unknown, _) | (_, Val::Unknown) => false,
        (Val::List(left), Val::List(right)) => left.iter().any(|value| right.contains(value)),
        (Val::List(values), value) | (value, Val::List(values)) => values.contains(&value),
        (left, right) => left == right,
    }
}
