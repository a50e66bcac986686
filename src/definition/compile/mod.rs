//! From what a set of files says to the catalog the engine runs: names resolved, types checked, everything shared folded
//! into one graph. All problems are found in one go; only a set without any is built.

mod aggregate;
mod feeds;
mod fields;
mod filter;
mod graph;
mod inline;
mod mismatch;
mod names;
mod operators;
mod pattern;
mod references;
mod segments;
mod types;

use jiff::tz::TimeZone;

use crate::engine::catalog::Catalog;
use crate::engine::schema::Schemas;
use crate::engine::value::Type;

use super::ast::Expr;
use super::source::{Problem, SourceFile};
use super::spec::{Expression, Spec};
use super::test_case::{self, TestCase, TestNames};

use inline::Inliner;
use names::{Names, TraitEntry};
use references::{Item, Order};
use types::Checker;

pub(super) use names::unknown_segment;

/// Checks a set and builds it; `None` when there are problems.
pub(super) fn compile(
    spec: &Spec,
    files: &[SourceFile],
    schemas: &Schemas,
    time_zone: TimeZone,
    problems: &mut Vec<Problem>,
) -> Option<(Catalog, Vec<TestCase>)> {
    let names = Names::new(spec, schemas, problems);
    let order = references::order(&names, files, problems);
    let mut check = Check { names: &names, files, trait_types: vec![None; spec.traits.len()], problems };
    check.all(&order);
    let tests = check_tests(&names, files, &time_zone, problems);
    if !problems.is_empty() {
        return None;
    }
    let written = write_out(&names, &order, problems);
    if !problems.is_empty() {
        return None;
    }
    match segments::build(&names, &order, &written, time_zone) {
        Ok(catalog) => Some((catalog, tests)),
        Err(place) => {
            let message = "this passed every check, yet cannot be compiled: please report it as a bug of segue";
            problems.push(Problem::new("bug", place, message));
            None
        }
    }
}

/// Checks every expression of a set, each trait before what uses it.
struct Check<'a, 'p> {
    names: &'a Names<'a>,
    files: &'a [SourceFile],
    trait_types: Vec<Option<Type>>,
    problems: &'p mut Vec<Problem>,
}

impl Check<'_, '_> {
    fn all(&mut self, order: &Order) {
        for item in &order.items {
            match item {
                Item::Trait(position) => {
                    let value = self.names.spec.traits.get(*position).and_then(|entry| entry.value.as_ref());
                    let found = value.and_then(|value| self.checker(value).check());
                    let found = found.filter(|_| !order.circular.contains(item));
                    if let Some(slot) = self.trait_types.get_mut(*position) {
                        *slot = found;
                    }
                }
                Item::Segment(position) => self.segment(*position),
            }
        }
        for segment in &self.names.spec.segments {
            self.carry(&segment.carry);
        }
        for group in &self.names.spec.groups {
            self.carry(&group.carry);
        }
    }

    fn checker<'c>(&'c mut self, expression: &'c Expression) -> Checker<'c> {
        Checker {
            names: self.names,
            files: self.files,
            trait_types: &self.trait_types,
            expression,
            problems: self.problems,
        }
    }

    fn segment(&mut self, position: usize) {
        let Some(entry) = self.names.segments.get(position) else { return };
        for (expression, key) in [(entry.when, "`when` is"), (entry.until, "`until` is")] {
            if let Some(expression) = expression {
                self.checker(expression).check_condition(key);
            }
        }
    }

    fn carry(&mut self, carry: &[super::source::Text]) {
        for (position, name) in carry.iter().enumerate() {
            if !self.names.traits.contains_key(name.value.as_str()) {
                self.problems.push(self.names.unknown_trait(&name.value, name.place));
            } else if let Some(first) = carry.iter().take(position).find(|other| other.value == name.value) {
                let message = format!("`{}` is carried twice", name.value);
                self.problems
                    .push(Problem::new("duplicate-name", name.place, message).also(first.place, "first named at"));
            }
        }
    }
}

fn check_tests(
    names: &Names<'_>,
    files: &[SourceFile],
    time_zone: &TimeZone,
    problems: &mut Vec<Problem>,
) -> Vec<TestCase> {
    let test_names = TestNames {
        files,
        schemas: names.schemas,
        time_zone,
        profile: names.spec.profile.iter().map(|entry| entry.name.value.as_str()).collect(),
        segments: names.segment_names(),
        segment_set: names.segment_names().into_iter().collect(),
    };
    names.spec.tests.iter().filter_map(|test| test_case::check(test, &test_names, problems)).collect()
}

/// The expressions of a set with computed traits written out, by position.
pub(super) struct Written {
    traits: Vec<Option<Expr>>,
    /// `when` and `until`.
    segments: Vec<(Option<Expr>, Option<Expr>)>,
}

fn write_out(names: &Names<'_>, order: &Order, problems: &mut Vec<Problem>) -> Written {
    let mut written =
        Written { traits: vec![None; names.spec.traits.len()], segments: vec![(None, None); names.segments.len()] };
    for item in &order.items {
        match item {
            Item::Trait(position) => {
                let value = names.spec.traits.get(*position).and_then(|entry| entry.value.as_ref());
                let value = written.out(value, names, problems);
                if let Some(slot) = written.traits.get_mut(*position) {
                    *slot = value;
                }
            }
            Item::Segment(position) => {
                let Some(entry) = names.segments.get(*position) else { continue };
                let conditions = (written.out(entry.when, names, problems), written.out(entry.until, names, problems));
                if let Some(slot) = written.segments.get_mut(*position) {
                    *slot = conditions;
                }
            }
        }
    }
    written
}

impl Written {
    fn out(&self, expression: Option<&Expression>, names: &Names<'_>, problems: &mut Vec<Problem>) -> Option<Expr> {
        let expression = expression?;
        let value = |name: &str| match names.traits.get(name) {
            Some(TraitEntry::Computed(position, _)) => self.traits.get(*position)?.as_ref(),
            _ => None,
        };
        let written = Inliner::new(&value).expr(&expression.expr);
        if written.is_err() {
            let message = "this grows too large once its traits are written out";
            let help = "use fewer traits that are made of other traits";
            problems.push(Problem::new("too-large", expression.place(), message).help(help));
        }
        written.ok()
    }
}

#[cfg(test)]
mod tests;
