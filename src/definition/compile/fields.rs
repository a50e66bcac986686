//! Paths into events: which field a path names, what type it has there, and which array an `each` goes through.

use crate::engine::schema::{EventSchema, Field, FieldType};
use crate::engine::value::Type;

use super::super::ast::{Name, Path, Span};
use super::super::diagnostic::did_you_mean;
use super::mismatch;

/// The envelope, which every element of an array has from its record.
const ENVELOPE: [&str; 3] = ["event_id", "customer_id", "occurred_at"];

/// What a step or a filter looks at: an event, or an element of an array in it.
#[derive(Debug, Clone)]
pub(super) struct EventScope<'s> {
    pub(super) event: &'s EventSchema,
    /// For an `each` source: the path to the array and what its elements have.
    pub(super) array: Option<(Vec<String>, &'s [Field])>,
}

/// A field that has been found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ResolvedField {
    pub(super) path: Vec<String>,
    pub(super) value_type: Type,
}

/// Why a path leads nowhere.
#[derive(Debug)]
pub(super) struct PathProblem {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl<'s> EventScope<'s> {
    /// The source `each event.path`; the rest of the path, after the array, is the value's.
    pub(super) fn each(event: &'s EventSchema, path: &Path) -> Result<(Self, Option<Path>), PathProblem> {
        let mut fields = event.fields.as_slice();
        let mut longest: Option<(usize, &'s [Field])> = None;
        for (position, name) in path.names.iter().enumerate() {
            let Some(field) = fields.iter().find(|field| field.name == name.node) else {
                if longest.is_none() {
                    return Err(unknown_field(&event.name, name, fields));
                }
                break;
            };
            fields = match &field.field_type {
                FieldType::Record(inner) => inner,
                FieldType::Array(item) => match item.as_ref() {
                    FieldType::Record(inner) => {
                        longest = Some((position, inner));
                        inner
                    }
                    _ => break,
                },
                FieldType::Scalar(_) | FieldType::Other(_) => break,
            };
        }
        let Some((position, fields)) = longest else {
            let span = path_span(path);
            let message = format!("`{}.{}` is not a list of records", event.name, path_text(path));
            return Err(PathProblem { span, message, help: Some("leave out `each`".to_owned()) });
        };
        let array = path.names.iter().take(position + 1).map(|name| name.node.clone()).collect();
        let rest: Vec<Name> = path.names.iter().skip(position + 1).cloned().collect();
        let rest = (!rest.is_empty()).then_some(Path { names: rest });
        Ok((Self { event, array: Some((array, fields)) }, rest))
    }

    /// The fields that a bare path can start with, without the envelope of an element's record.
    pub(super) fn fields(&self) -> &'s [Field] {
        self.array.as_ref().map_or(self.event.fields.as_slice(), |(_, fields)| fields)
    }

    /// What it is called in a message.
    pub(super) fn name(&self) -> String {
        match &self.array {
            None => self.event.name.clone(),
            Some((path, _)) => format!("{}.{}", self.event.name, path.join(".")),
        }
    }

    /// The field that a path names.
    pub(super) fn resolve(&self, path: &Path) -> Result<ResolvedField, PathProblem> {
        let Some(first) = path.names.first() else {
            return Err(PathProblem { span: Span::default(), message: "a field is missing".to_owned(), help: None });
        };
        let own = self.fields().iter().find(|field| field.name == first.node);
        let envelope = || {
            let envelope = self.event.fields.iter().find(|field| field.name == first.node);
            envelope.filter(|_| ENVELOPE.contains(&first.node.as_str()))
        };
        let Some(field) = own.or_else(envelope) else { return Err(self.unknown(path, first)) };
        let value_type = Walk { path, through_array: false }.value_type(0, &field.field_type)?;
        Ok(ResolvedField { path: path.names.iter().map(|name| name.node.clone()).collect(), value_type })
    }

    fn unknown(&self, path: &Path, first: &Name) -> PathProblem {
        let problem = unknown_field(&self.name(), first, self.fields());
        if first.node == self.event.name && path.names.len() > 1 {
            let rest: Vec<&str> = path.names.iter().skip(1).map(|name| name.node.as_str()).collect();
            let help = format!("here the fields of {} are named alone: `{}`", self.name(), rest.join("."));
            return PathProblem { help: Some(help), ..problem };
        }
        if let Some((array, _)) = &self.array
            && self.event.fields.iter().any(|field| field.name == first.node)
        {
            let help = format!("it is a field of the {}, not of each of its {}", self.event.name, array.join("."));
            return PathProblem { help: Some(help), ..problem };
        }
        problem
    }
}

/// Follows a path through the types of fields.
struct Walk<'p> {
    path: &'p Path,
    through_array: bool,
}

impl Walk<'_> {
    fn value_type(mut self, start: usize, field_type: &FieldType) -> Result<Type, PathProblem> {
        let mut field_type = field_type;
        let mut position = start;
        loop {
            let next = self.path.names.get(position + 1);
            match (field_type, next) {
                (FieldType::Scalar(found), None) => return Ok(self.found(found)),
                (FieldType::Record(fields), Some(name)) => {
                    let Some(field) = fields.iter().find(|field| field.name == name.node) else {
                        return Err(unknown_field(&self.prefix(position), name, fields));
                    };
                    field_type = &field.field_type;
                    position += 1;
                }
                (FieldType::Array(item), _) => match item.as_ref() {
                    FieldType::Scalar(found) if next.is_none() => {
                        self.through_array = true;
                        return Ok(self.found(found));
                    }
                    FieldType::Record(fields) if next.is_none() => {
                        let message = format!("`{}` is a list of records", self.prefix(position));
                        return Err(self.unusable(message, self.one_of(position, fields)));
                    }
                    FieldType::Array(_) => {
                        let message =
                            format!("definitions cannot use `{}`: it is a list of lists", self.prefix(position));
                        return Err(self.unusable(message, None));
                    }
                    item => {
                        self.through_array = true;
                        field_type = item;
                    }
                },
                (FieldType::Record(fields), None) => {
                    let message = format!("`{}` is a record, not a value", self.prefix(position));
                    return Err(self.unusable(message, self.one_of(position, fields)));
                }
                (FieldType::Scalar(found), Some(name)) => {
                    let found = mismatch::with_article(found);
                    let message = format!("`{}` is {found}: it has no field `{}`", self.prefix(position), name.node);
                    let help = format!("leave `.{}` out", name.node);
                    return Err(PathProblem { span: name.span, message, help: Some(help) });
                }
                (FieldType::Other(what), _) => {
                    let message = format!("definitions cannot use `{}`: it is {what}", self.prefix(position));
                    return Err(self.unusable(message, None));
                }
            }
        }
    }

    fn found(&self, found: &Type) -> Type {
        if self.through_array { Type::List(Box::new(found.clone())) } else { found.clone() }
    }

    fn unusable(&self, message: String, help: Option<String>) -> PathProblem {
        PathProblem { span: path_span(self.path), message, help }
    }

    fn prefix(&self, position: usize) -> String {
        let names: Vec<&str> = self.path.names.iter().take(position + 1).map(|name| name.node.as_str()).collect();
        names.join(".")
    }

    fn one_of(&self, position: usize, fields: &[Field]) -> Option<String> {
        let first = fields.first()?;
        Some(format!("name one of its fields: `{}.{}`", self.prefix(position), first.name))
    }
}

fn unknown_field(owner: &str, name: &Name, fields: &[Field]) -> PathProblem {
    let message = format!("`{owner}` has no field `{}`", name.node);
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let begun = || names.iter().find(|field| field.starts_with(&format!("{}_", name.node)));
    let help = did_you_mean(&name.node, names.iter().copied());
    let help = help.or_else(|| begun().map(|field| format!("did you mean `{field}`?")));
    let help = help.unwrap_or_else(|| format!("its fields are `{}`", names.join("`, `")));
    PathProblem { span: name.span, message, help: Some(help) }
}

/// From the first name to the last.
pub(super) fn path_span(path: &Path) -> Span {
    let start = path.names.first().map_or(0, |name| name.span.start);
    let end = path.names.last().map_or(start, |name| name.span.end);
    Span { start, end }
}

/// With its dots.
pub(super) fn path_text(path: &Path) -> String {
    let names: Vec<&str> = path.names.iter().map(|name| name.node.as_str()).collect();
    names.join(".")
}
