//! Checks aggregates: their events, the value taken of each, and their windows; and paths that stand alone.

use crate::engine::schema::FieldType;
use crate::engine::value::Type;

use super::super::ast::{Aggregate, Function, Operand, Path, Source, Spanned, Window};
use super::fields::{EventScope, PathProblem, ResolvedField, path_span, path_text};
use super::mismatch;
use super::operators;
use super::types::{Checker, Scope};

impl<'a> Checker<'a> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Option<Type> {
        let found = match &aggregate.over {
            Operand::Pattern(pattern) => {
                self.pattern(pattern)?;
                Some(if aggregate.function.node == Function::Did { Type::Bool } else { Type::Number })
            }
            Operand::Values { source, path, filter } => {
                let scope = self.value_scope(source, path.as_ref());
                scope.as_ref().and_then(|(scope, path)| {
                    if let Some(filter) = filter {
                        self.condition(filter, Some(scope), "`where` takes");
                    }
                    self.value(&aggregate.function, source, scope, path.as_ref())
                })
            }
        };
        let window = self.window(&aggregate.window);
        found.filter(|_| window.is_some())
    }

    /// What a source gives, and the path of the value in it.
    fn value_scope(&mut self, source: &Source, path: Option<&Path>) -> Option<(EventScope<'a>, Option<Path>)> {
        let (scope, rest) = self.source(source)?;
        Some((scope, rest.or_else(|| path.cloned())))
    }

    /// The events of a source; for `each`, what is left of its path after the array.
    pub(super) fn source(&mut self, source: &Source) -> Option<(EventScope<'a>, Option<Path>)> {
        let Some(event) = self.names.schemas.events.get(&source.event.node) else {
            let problem = self.names.unknown_event(&source.event, self.place(source.event.span));
            self.problems.push(problem);
            return None;
        };
        match (&source.path, source.each) {
            (Some(path), true) => match EventScope::each(event, path) {
                Ok(found) => Some(found),
                Err(problem) => self.path_problem(problem),
            },
            _ => Some((EventScope { event, array: None }, None)),
        }
    }

    fn value(
        &mut self,
        function: &Spanned<Function>,
        source: &Source,
        scope: &EventScope<'_>,
        path: Option<&Path>,
    ) -> Option<Type> {
        let Some(path) = path else {
            if matches!(function.node, Function::First | Function::Last) {
                return Some(Type::Instant);
            }
            let message = format!("`{}` needs a field of `{}`", word(function.node), scope.name());
            let each = if source.each { "each " } else { "" };
            let fitting = scope.fields().iter().find(|field| match &field.field_type {
                FieldType::Scalar(found) => result_type(function.node, found).is_some(),
                _ => false,
            });
            let name = fitting.map_or("FIELD", |field| field.name.as_str());
            let help = format!("for example `{}({each}{}.{name})`", word(function.node), scope.name());
            self.report("missing-field", source.span, message, Some(help));
            return None;
        };
        let field = match scope.resolve(path) {
            Ok(field) => field,
            Err(problem) => return self.path_problem(problem),
        };
        self.result(function.node, &field, path)
    }

    /// The type of an aggregate of a field.
    fn result(&mut self, function: Function, field: &ResolvedField, path: &Path) -> Option<Type> {
        let element = operators::element(&field.value_type);
        let found = result_type(function, &field.value_type);
        if found.is_none() {
            let takes = match function {
                Function::Sum | Function::Avg => "numbers",
                _ => "numbers, instants or durations",
            };
            let message = format!(
                "`{}` takes {takes}, but `{}` is {}",
                word(function),
                path_text(path),
                mismatch::with_article(element)
            );
            let help = match element {
                Type::Text => Some("of texts there are `distinct`, `top`, `list`, `first` and `last`".to_owned()),
                Type::Bool => Some(format!("count those of which it is true: `count(… where {})`", path_text(path))),
                _ => None,
            };
            self.report("type-mismatch", path_span(path), message, help);
        }
        found
    }

    fn window(&mut self, window: &Window) -> Option<()> {
        match window {
            Window::Ever | Window::Over(_) | Window::This(_) | Window::SinceInstant(_) => Some(()),
            Window::SinceAnchor(anchor) => {
                let Some(event) = self.names.schemas.events.get(&anchor.event.node) else {
                    let problem = self.names.unknown_event(&anchor.event, self.place(anchor.event.span));
                    self.problems.push(problem);
                    return None;
                };
                match &anchor.filter {
                    Some(filter) => self.condition(filter, Some(&EventScope { event, array: None }), "`where` takes"),
                    None => Some(()),
                }
            }
        }
    }

    /// A bare path: a field inside a filter, a slip outside.
    pub(super) fn field(&mut self, path: &Path, scope: Scope<'_>) -> Option<Type> {
        if let Some(scope) = scope {
            return match scope.resolve(path) {
                Ok(field) => Some(field.value_type),
                Err(problem) => self.path_problem(problem),
            };
        }
        let text = path_text(path);
        let first = path.names.first().map_or("", |name| name.node.as_str());
        let alone = path.names.len() == 1;
        let owner =
            self.names.schemas.events.values().find(|event| event.fields.iter().any(|field| field.name == first));
        let (message, help) = if self.names.schemas.events.contains_key(first) {
            if alone {
                let message = format!("`{text}` is an event type, not a value");
                (message, Some(format!("ask whether it happened: `did({text})`, or how often: `count({text})`")))
            } else {
                let message = format!("`{text}` is a field of many events, not one value");
                (message, Some(format!("say which is meant: `last({text})`, `sum({text} over 30d)` …")))
            }
        } else if self.names.traits.contains_key(text.as_str()) {
            (format!("`{text}` alone is not a value"), Some(format!("a trait is written `trait.{text}`")))
        } else if self.names.segment_positions.contains_key(&text) {
            (
                format!("`{text}` alone is not a value"),
                Some(format!("a segment is asked about with `segment(\"{text}\")`")),
            )
        } else {
            let near = super::super::diagnostic::nearest(&text, self.names.traits.keys().copied());
            let help = match near {
                Some(near) => format!("did you mean `trait.{near}`?"),
                None => match owner {
                    Some(owner) => format!("as a field of an event: `last({}.{text})`", owner.name),
                    None => "a text is written in double quotes, a trait as `trait.NAME`".to_owned(),
                },
            };
            (format!("`{text}` alone is not a value"), Some(help))
        };
        self.report("bare-path", path_span(path), message, help);
        None
    }

    pub(super) fn path_problem<T>(&mut self, problem: PathProblem) -> Option<T> {
        self.report("unknown-field", problem.span, problem.message, problem.help);
        None
    }
}

/// The type of `function` over values of a type, if it takes them.
pub(super) fn result_type(function: Function, value_type: &Type) -> Option<Type> {
    let element = operators::element(value_type);
    match function {
        Function::Did => Some(Type::Bool),
        Function::Count | Function::Distinct => Some(Type::Number),
        Function::First | Function::Last => Some(value_type.clone()),
        Function::Sum | Function::Avg => (*element == Type::Number).then_some(Type::Number),
        Function::Min | Function::Max => operators::is_ordered(element).then(|| element.clone()),
        Function::Top => Some(element.clone()),
        Function::List => Some(Type::List(Box::new(element.clone()))),
    }
}

/// As it is written.
pub(super) fn word(function: Function) -> &'static str {
    match function {
        Function::Did => "did",
        Function::Count => "count",
        Function::First => "first",
        Function::Last => "last",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
        Function::Distinct => "distinct",
        Function::Top => "top",
        Function::List => "list",
    }
}
