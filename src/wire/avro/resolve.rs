//! The rules by which data written with one schema is read with another.

use std::collections::HashSet;

use super::CompileError;
use super::leaf::Leaf;
use super::shape::{RecordShape, Shape, ShapeId, Shapes};

/// A pair of schemas, and what is already known of their parts.
pub(super) struct Resolution<'a> {
    pub(super) writer: &'a Shapes,
    pub(super) reader: &'a Shapes,
    /// Pairs found, or being found, compatible: what is inside itself is as compatible as the rest of it.
    compatible: HashSet<(ShapeId, ShapeId)>,
}

impl<'a> Resolution<'a> {
    pub(super) fn new(writer: &'a Shapes, reader: &'a Shapes) -> Self {
        Self { writer, reader, compatible: HashSet::new() }
    }

    /// The branch of a reader's union (or the reader itself) that takes what this writer, no union, wrote.
    pub(super) fn branch(&mut self, writer: ShapeId, reader: ShapeId) -> Option<ShapeId> {
        let shapes = self.reader;
        let Shape::Union(branches) = shapes.get(reader) else {
            return self.check(writer, reader, "").is_ok().then_some(reader);
        };
        let exact = branches.iter().find(|branch| self.same_kind(writer, **branch));
        if let Some(exact) = exact
            && self.check(writer, *exact, "").is_ok()
        {
            return Some(*exact);
        }
        branches.iter().copied().find(|branch| self.check(writer, *branch, "").is_ok())
    }

    fn same_kind(&self, writer: ShapeId, reader: ShapeId) -> bool {
        match (self.writer.get(writer), self.reader.get(reader)) {
            (Shape::Record(writer), Shape::Record(reader)) => {
                writer.name == reader.name || reader.aliases.contains(&writer.name)
            }
            (writer, reader) => std::mem::discriminant(writer) == std::mem::discriminant(reader),
        }
    }

    /// Whether the reader can read what the writer writes; of a writer's union, one branch is enough.
    pub(super) fn check(&mut self, writer: ShapeId, reader: ShapeId, path: &str) -> Result<(), CompileError> {
        if !self.compatible.insert((writer, reader)) {
            return Ok(());
        }
        let checked = self.check_new(writer, reader, path);
        if checked.is_err() {
            self.compatible.remove(&(writer, reader));
        }
        checked
    }

    fn check_new(&mut self, writer: ShapeId, reader: ShapeId, path: &str) -> Result<(), CompileError> {
        let (writers, readers) = (self.writer, self.reader);
        match (writers.get(writer), readers.get(reader)) {
            (Shape::Union(branches), _) => {
                let readable = branches.iter().any(|branch| self.branch(*branch, reader).is_some());
                if readable { Ok(()) } else { Err(incompatible(path, "no branch of the union can be read")) }
            }
            (_, Shape::Union(_)) => match self.branch(writer, reader) {
                Some(_) => Ok(()),
                None => Err(incompatible(path, "the union has no branch for it")),
            },
            (Shape::Array(writer), Shape::Array(reader)) | (Shape::Map(writer), Shape::Map(reader)) => {
                self.check(*writer, *reader, path)
            }
            (Shape::Record(writer), Shape::Record(reader)) => self.check_record(writer, reader, path),
            (writer, reader) => match Leaf::new(writer, reader) {
                Some(_) => Ok(()),
                None => Err(incompatible(path, "its type cannot be read as ours")),
            },
        }
    }

    fn check_record(&mut self, writer: &RecordShape, reader: &RecordShape, path: &str) -> Result<(), CompileError> {
        for field in &reader.fields {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            match writer.fields.iter().find(|written| is_for(reader, &written.name, &field.name)) {
                Some(written) => self.check(written.shape, field.shape, &path)?,
                None if field.default.is_some() => {}
                // Such a record is refused for what it lacks, in terms of the envelope.
                None if matches!(path.as_str(), "event_id" | "customer_id" | "occurred_at") => {}
                None => return Err(incompatible(&path, "it is not written and has no default")),
            }
        }
        Ok(())
    }
}

/// Whether what was written as `written` is the reader's field `name`: by name, or else by alias.
pub(super) fn is_for(reader: &RecordShape, written: &str, name: &str) -> bool {
    let by_name = reader.fields.iter().find(|field| field.name == written);
    let field = by_name.or_else(|| reader.fields.iter().find(|field| field.answers_to(written)));
    field.is_some_and(|field| field.name == name)
}

pub(super) fn incompatible(path: &str, reason: &str) -> CompileError {
    CompileError::Incompatible { path: path.to_owned(), reason: reason.to_owned() }
}
