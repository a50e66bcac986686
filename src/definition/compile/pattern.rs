//! Checks patterns: their steps, and what must be equal in both.

use crate::engine::value::Type;

use super::super::ast::{On, Path, Pattern, PatternKind, Relation, Step};
use super::fields::{EventScope, path_span, path_text};
use super::mismatch;
use super::types::Checker;

impl<'a> Checker<'a> {
    /// What the matches of a pattern have as their fields.
    pub(super) fn pattern(&mut self, pattern: &Pattern) -> Option<EventScope<'a>> {
        match &pattern.kind {
            PatternKind::Step(step) => self.step(step),
            PatternKind::Then(relation) => self.relation(relation).map(|(_, second)| second),
            PatternKind::Without(relation) | PatternKind::After(relation) => {
                self.relation(relation).map(|(first, _)| first)
            }
        }
    }

    fn step(&mut self, step: &Step) -> Option<EventScope<'a>> {
        match step {
            Step::Pattern(pattern) => self.pattern(pattern),
            Step::Events { source, filter } => {
                let (scope, rest) = self.source(source)?;
                if let Some(rest) = rest {
                    let message = format!("`{}` is not a list of records", path_text(&rest));
                    let help = format!("a step is the elements themselves: `each {}`", scope.name());
                    self.report("unknown-field", path_span(&rest), message, Some(help));
                    return None;
                }
                let filtered = filter.as_ref().map(|filter| self.condition(filter, Some(&scope), "`where` takes"));
                if filtered == Some(None) { None } else { Some(scope) }
            }
        }
    }

    fn relation(&mut self, relation: &Relation) -> Option<(EventScope<'a>, EventScope<'a>)> {
        let (first, second) = (self.step(&relation.first), self.step(&relation.second));
        let (first, second) = (first?, second?);
        if let Some(on) = &relation.on {
            self.on(on, &first, &second)?;
        }
        Some((first, second))
    }

    fn on(&mut self, on: &On, first: &EventScope<'_>, second: &EventScope<'_>) -> Option<()> {
        let second_path = on.second.as_ref().unwrap_or(&on.first);
        let first_field = first.resolve(&on.first);
        let second_field = second.resolve(second_path);
        let (first_field, second_field) = match (first_field, second_field) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(problem), _) => return self.path_problem(problem),
            (Ok(_), Err(mut problem)) => {
                if on.second.is_none() {
                    let text = path_text(&on.first);
                    let near = problem.help.filter(|help| help.starts_with("did you"));
                    let help = format!(
                        "`on {text}` needs it in both steps; if it has another name in {}: `on {text} = …`",
                        second.name()
                    );
                    problem.help = Some(near.map_or_else(|| help.clone(), |near| format!("{near} {help}")));
                }
                return self.path_problem(problem);
            }
        };
        if first_field.value_type == second_field.value_type {
            return Some(());
        }
        let describe = |scope: &EventScope<'_>, path: &Path, found| {
            format!("`{}` of {} is {}", path_text(path), scope.name(), mismatch::with_article(found))
        };
        let message = format!(
            "`on` pairs values of one type, but {} and {}",
            describe(first, &on.first, &first_field.value_type),
            describe(second, second_path, &second_field.value_type)
        );
        let listed = [
            (first, &first_field.value_type, &second_field.value_type),
            (second, &second_field.value_type, &first_field.value_type),
        ];
        let listed =
            listed.into_iter().find(|(_, found, other)| matches!(found, Type::List(item) if item.as_ref() == *other));
        let help = listed.map(|(scope, _, _)| {
            format!("to pair with one element of a list, make the elements the step: `each {}.LIST`", scope.event.name)
        });
        self.report("type-mismatch", on.span, message, help);
        None
    }
}
