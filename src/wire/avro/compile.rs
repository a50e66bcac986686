//! From two schemas and what is wanted to a program.

use std::collections::{HashMap, HashSet};

use super::super::json::Node;
use super::super::wanted::{Goal, View};
use super::CompileError;
use super::leaf::Leaf;
use super::program::{BlockId, Program, Step};
use super::resolve::{Resolution, incompatible, is_for};
use super::shape::{RecordShape, Shape, ShapeId, Shapes};

/// Compiles a program that reads what is wanted of a record and skips the rest.
pub(super) fn compile(writer: &Shapes, reader: &Shapes, view: &View<'_>) -> Result<Program, CompileError> {
    let (Some(written), Some(read)) = (writer.record(), reader.record()) else { return Err(CompileError::NotARecord) };
    let mut resolution = Resolution::new(writer, reader);
    resolution.check(writer.root(), reader.root(), "")?;
    let mut compiler = Compiler { resolution, blocks: Vec::new(), records: HashMap::new(), sizes: HashMap::new() };
    let mut steps = Vec::new();
    compiler.record(written, read, std::slice::from_ref(view), &mut steps)?;
    let main = compiler.block(steps);
    Ok(Program { blocks: compiler.blocks, main })
}

/// Compiles a program that skips a value.
pub(super) fn skipping(writer: &Shapes) -> Program {
    let resolution = Resolution::new(writer, writer);
    let mut compiler = Compiler { resolution, blocks: Vec::new(), records: HashMap::new(), sizes: HashMap::new() };
    let main = compiler.skipping(writer.root());
    Program { blocks: compiler.blocks, main }
}

struct Compiler<'a> {
    resolution: Resolution<'a>,
    blocks: Vec<Vec<Step>>,
    /// Blocks that skip a record.
    records: HashMap<ShapeId, BlockId>,
    /// Least sizes of records; `None` while being found.
    sizes: HashMap<ShapeId, Option<usize>>,
}

impl Compiler<'_> {
    fn block(&mut self, steps: Vec<Step>) -> BlockId {
        self.blocks.push(steps);
        BlockId(self.blocks.len() - 1)
    }

    fn record(
        &mut self,
        writer: &RecordShape,
        reader: &RecordShape,
        views: &[View<'_>],
        steps: &mut Vec<Step>,
    ) -> Result<(), CompileError> {
        let begins: Box<[usize]> = views.iter().filter_map(|view| view.begins).collect();
        if !begins.is_empty() {
            steps.push(Step::BeginElements(begins.clone()));
        }
        let mut seen = HashSet::new();
        for field in &writer.fields {
            let read = reader.fields.iter().find(|read| is_for(reader, &field.name, &read.name));
            let first = read.filter(|read| seen.insert(read.name.as_str()));
            match first {
                Some(read) => self.value(field.shape, read.shape, &of_field(views, &read.name), steps)?,
                None => self.skip(field.shape, steps),
            }
        }
        for field in reader.fields.iter().filter(|field| !seen.contains(field.name.as_str())) {
            let views = of_field(views, &field.name);
            if let Some(default) = field.default.as_ref().filter(|default| !views.is_empty() && !default.is_null()) {
                let (node, default) = Node::of_default(self.resolution.reader, field.shape, &views, default);
                steps.push(Step::Default(Box::new((node, default))));
            }
        }
        if !begins.is_empty() {
            steps.push(Step::EndElements(begins));
        }
        Ok(())
    }

    fn value(
        &mut self,
        writer: ShapeId,
        reader: ShapeId,
        views: &[View<'_>],
        steps: &mut Vec<Step>,
    ) -> Result<(), CompileError> {
        if views.is_empty() {
            self.skip(writer, steps);
            return Ok(());
        }
        if let Shape::Union(branches) = self.resolution.writer.get(writer) {
            return self.union(branches, reader, views, steps);
        }
        let Some(reader) = self.resolution.branch(writer, reader) else {
            return Err(incompatible("", "its type cannot be read as ours"));
        };
        match (self.resolution.writer.get(writer), self.resolution.reader.get(reader)) {
            (Shape::Record(writer), Shape::Record(reader)) => self.record(writer, reader, views, steps),
            (Shape::Array(written), Shape::Array(read)) => self.array(*written, *read, views, steps),
            (Shape::Map(written), Shape::Map(read)) if views.iter().any(View::is_traits) => {
                let mut inside = Vec::new();
                self.value(*written, *read, views, &mut inside)?;
                let min_size = 1 + self.min_size(*written);
                let values = self.block(inside);
                steps.push(Step::Traits { values, min_size });
                Ok(())
            }
            (written, read) => {
                let goals: Box<[Goal]> = views.iter().flat_map(View::goals).collect();
                match Leaf::new(written, read) {
                    Some(Leaf::Text)
                        if let [Goal { place, list: None }] = *goals
                            && place.is_text_of_envelope() =>
                    {
                        steps.push(Step::ReadEnvelope(place));
                    }
                    Some(leaf) if leaf != Leaf::Opaque && !goals.is_empty() => steps.push(Step::Read(leaf, goals)),
                    _ => self.skip(writer, steps),
                }
                Ok(())
            }
        }
    }

    fn union(
        &mut self,
        branches: &[ShapeId],
        reader: ShapeId,
        views: &[View<'_>],
        steps: &mut Vec<Step>,
    ) -> Result<(), CompileError> {
        let mut compiled = Vec::with_capacity(branches.len());
        let in_envelope = views.iter().flat_map(View::goals).any(|goal| goal.place.is_envelope());
        for branch in branches {
            if in_envelope && matches!(self.resolution.writer.get(*branch), Shape::Null) {
                // Refused for what it lacks, in terms of the envelope.
                compiled.push(Some(Vec::new()));
                continue;
            }
            if self.resolution.branch(*branch, reader).is_none() {
                compiled.push(None);
                continue;
            }
            let mut inside = Vec::new();
            self.value(*branch, reader, views, &mut inside)?;
            compiled.push(Some(inside));
        }
        steps.push(Step::Union(compiled.into()));
        Ok(())
    }

    fn array(
        &mut self,
        writer: ShapeId,
        reader: ShapeId,
        views: &[View<'_>],
        steps: &mut Vec<Step>,
    ) -> Result<(), CompileError> {
        let (opens, inside_views) = of_items(self.resolution.reader, reader, views);
        let mut inside = Vec::new();
        self.value(writer, reader, &inside_views, &mut inside)?;
        let min_size = self.min_size(writer);
        let items = self.block(inside);
        steps.push(Step::Array { items, min_size, opens });
        Ok(())
    }

    fn skip(&mut self, writer: ShapeId, steps: &mut Vec<Step>) {
        match self.resolution.writer.get(writer) {
            Shape::Null => {}
            Shape::Boolean => skip_fixed(1, steps),
            Shape::Float => skip_fixed(4, steps),
            Shape::Double => skip_fixed(8, steps),
            Shape::Fixed { size, .. } | Shape::Decimal { size: Some(size), .. } => skip_fixed(*size, steps),
            Shape::Bytes | Shape::String | Shape::Decimal { size: None, .. } => steps.push(Step::SkipBytes),
            Shape::Int
            | Shape::Long
            | Shape::Date
            | Shape::TimeOfDay { .. }
            | Shape::Timestamp(_)
            | Shape::Enum { .. } => steps.push(Step::SkipInteger),
            Shape::Array(items) => {
                let (items, min_size) = (self.skipping(*items), self.min_size(*items));
                steps.push(Step::SkipArray { items, min_size });
            }
            Shape::Map(values) => {
                let (values, min_size) = (self.skipping(*values), 1 + self.min_size(*values));
                steps.push(Step::SkipMap { values, min_size });
            }
            Shape::Union(branches) => {
                let branches = branches.iter().map(|branch| Some(self.skipped(*branch))).collect();
                steps.push(Step::Union(branches));
            }
            Shape::Record(record) => {
                let call = self.skipping_record(writer, record);
                steps.push(Step::Call(call));
            }
        }
    }

    fn skipping(&mut self, writer: ShapeId) -> BlockId {
        let steps = self.skipped(writer);
        self.block(steps)
    }

    fn skipped(&mut self, writer: ShapeId) -> Vec<Step> {
        let mut steps = Vec::new();
        self.skip(writer, &mut steps);
        steps
    }

    /// The block that skips a record, made once however often the record is used.
    fn skipping_record(&mut self, id: ShapeId, record: &RecordShape) -> BlockId {
        if let Some(block) = self.records.get(&id) {
            return *block;
        }
        let block = self.block(Vec::new());
        self.records.insert(id, block);
        let mut steps = Vec::new();
        for field in &record.fields {
            self.skip(field.shape, &mut steps);
        }
        if let Some(slot) = self.blocks.get_mut(block.0) {
            *slot = steps;
        }
        block
    }

    /// The least number of bytes that a value takes; 0 only for those that never take any.
    fn min_size(&mut self, writer: ShapeId) -> usize {
        match self.resolution.writer.get(writer) {
            Shape::Null => 0,
            Shape::Float => 4,
            Shape::Double => 8,
            Shape::Fixed { size, .. } | Shape::Decimal { size: Some(size), .. } => *size,
            Shape::Record(record) => {
                if let Some(known) = self.sizes.get(&writer) {
                    // A record that cannot be without itself has no end, so it is surely not empty.
                    return known.unwrap_or(1);
                }
                self.sizes.insert(writer, None);
                let size = record.fields.iter().fold(0_usize, |sum, f| sum.saturating_add(self.min_size(f.shape)));
                self.sizes.insert(writer, Some(size));
                size
            }
            _ => 1,
        }
    }
}

/// Fixed sizes in a row are one.
fn skip_fixed(size: usize, steps: &mut Vec<Step>) {
    match steps.last_mut() {
        Some(Step::SkipFixed(before)) => *before = before.saturating_add(size),
        _ => steps.push(Step::SkipFixed(size)),
    }
}

/// What is wanted of a field.
pub(crate) fn of_field<'a>(views: &[View<'a>], name: &str) -> Vec<View<'a>> {
    views.iter().filter_map(|view| view.field(name)).collect()
}

/// What is wanted of an array's items (given by the reader's schema of them), and the lists that begin with the array.
pub(crate) fn of_items<'a>(reader: &Shapes, items: ShapeId, views: &[View<'a>]) -> (Box<[usize]>, Vec<View<'a>>) {
    let innermost = reader.known(items).is_none_or(|known| !matches!(reader.get(known), Shape::Array(_)));
    let (mut opens, mut inside) = (Vec::new(), Vec::new());
    for view in views {
        view.opens(&mut opens);
        view.items(innermost, &mut inside);
    }
    (opens.into(), inside)
}
