//! The files of a set of definitions, places in them, and the problems found at those places.

use std::cell::OnceCell;
use std::ops::Range;

use super::ast::Span;
use super::diagnostic::Diagnostic;
use super::yaml::{Scalar, locate};

/// A file of definitions.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// As the user would name it.
    pub(super) name: String,
    /// All of it.
    pub(super) text: String,
    /// Where each line but the first begins.
    line_starts: Vec<usize>,
}

impl SourceFile {
    pub(super) fn new(name: String, text: String) -> Self {
        let line_starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { name, text, line_starts }
    }

    /// The line that holds a byte, from 1.
    fn line_of(&self, byte: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= byte)
    }
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub(super) struct Place {
    /// A position in the list of files.
    pub(super) file: usize,
    /// First byte.
    pub(super) start: usize,
    /// One past the last byte.
    pub(super) end: usize,
}

impl Place {
    pub(super) fn new(file: usize, range: &Range<usize>) -> Self {
        Self { file, start: range.start, end: range.end }
    }

    /// As a range of bytes of its file.
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Its line in `files`, from 1.
    pub(super) fn line(self, files: &[SourceFile]) -> usize {
        files.get(self.file).map_or(1, |file| file.line_of(self.start))
    }
}

/// Something wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// A stable word for its kind.
    pub(super) code: &'static str,
    /// Where.
    pub(super) place: Place,
    /// What is wrong: one sentence without a capital or a full stop.
    pub(super) message: String,
    /// What could have stood there instead.
    pub(super) expected: Option<String>,
    /// What to do, if that can be said.
    pub(super) help: Option<String>,
    /// Other places that matter, and why.
    pub(super) also: Vec<(Place, String)>,
}

impl Problem {
    pub(super) fn new(code: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { code, place, message: message.into(), expected: None, help: None, also: Vec::new() }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub(super) fn also(mut self, place: Place, note: impl Into<String>) -> Self {
        self.also.push((place, note.into()));
        self
    }
}

/// Text written as one scalar of a file.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The text, escapes and folds resolved.
    pub(super) value: String,
    /// All of it.
    pub(super) place: Place,
}

/// A scalar that holds an expression, able to say where each part of it is written.
#[derive(Debug, Clone)]
pub(super) struct ExpressionText {
    pub(super) scalar: Scalar,
    pub(super) place: Place,
    /// For each byte of the scalar's value, where it is written; found when it is first asked for.
    alignment: OnceCell<Vec<usize>>,
}

impl ExpressionText {
    pub(super) fn new(scalar: Scalar, place: Place) -> Self {
        Self { scalar, place, alignment: OnceCell::new() }
    }

    /// Where `span` of the expression is in the file.
    pub(super) fn locate(&self, files: &[SourceFile], span: Span) -> Place {
        let Some(file) = files.get(self.place.file) else { return self.place };
        let range = self.place.range();
        let alignment = self.alignment.get_or_init(|| self.scalar.alignment(&file.text, &range));
        Place::new(self.place.file, &locate(&file.text, &range, alignment, &(span.start..span.end)))
    }
}

impl Problem {
    /// As it is shown to who wrote the files.
    pub(super) fn diagnostic(&self, files: &[SourceFile]) -> Diagnostic {
        let (name, text) = files.get(self.place.file).map_or(("", ""), |file| (&file.name, &file.text));
        let range = self.place.range();
        let line = self.place.line(files);
        let shown = Diagnostic::on_line(line, name, text, &range, code_of(self.code), self.message.clone());
        let mut help = self.help.clone();
        for (place, note) in &self.also {
            let (name, line) = (files.get(place.file).map_or("", |file| file.name.as_str()), place.line(files));
            let note = format!("{note} {name}:{line}");
            help = Some(help.map_or_else(|| note.clone(), |help| format!("{note}; {help}")));
        }
        Diagnostic { expected: self.expected.clone(), help, ..shown }
    }
}

/// The stable code of a kind of problem; those under `SEG100` are the parser's.
fn code_of(word: &'static str) -> &'static str {
    match word {
        "yaml" => "SEG101",
        "wrong-kind" => "SEG102",
        "unknown-key" => "SEG103",
        "missing-key" => "SEG104",
        "duplicate-key" => "SEG105",
        "cut-off" => "SEG111",
        "bad-name" => "SEG106",
        "duplicate-name" => "SEG107",
        "unknown-type" => "SEG108",
        "bad-purpose" => "SEG109",
        "no-tiers" => "SEG110",
        "unknown-event" => "SEG120",
        "unknown-field" => "SEG121",
        "unknown-trait" => "SEG122",
        "unknown-segment" => "SEG123",
        "bare-path" => "SEG124",
        "missing-field" => "SEG125",
        "cycle" => "SEG130",
        "type-mismatch" => "SEG140",
        "not-a-condition" => "SEG141",
        "not-in-filter" => "SEG142",
        "too-large" => "SEG150",
        "bad-instant" => "SEG160",
        "unknown-customer" => "SEG161",
        "contradiction" => "SEG162",
        "bad-change" => "SEG163",
        "bug" => "SEG199",
        parsed => parsed,
    }
}
