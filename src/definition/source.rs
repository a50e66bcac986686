//! The files of a set of definitions, places in them, and the problems found at those places.

use std::ops::Range;

use super::ast::Span;
use super::diagnostic::Diagnostic;
use super::yaml::Scalar;

/// A file of definitions.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// As the user would name it.
    pub(super) name: String,
    /// All of it.
    pub(super) text: String,
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
        let text = files.get(self.file).map_or("", |file| file.text.as_str());
        1 + text.as_bytes().iter().take(self.start).filter(|byte| **byte == b'\n').count()
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
}

impl ExpressionText {
    /// Where `span` of the expression is in the file.
    pub(super) fn locate(&self, files: &[SourceFile], span: Span) -> Place {
        let Some(file) = files.get(self.place.file) else { return self.place };
        let range = self.scalar.locate(&file.text, &self.place.range(), &(span.start..span.end));
        Place::new(self.place.file, &range)
    }
}

impl Problem {
    /// As it is shown to who wrote the files.
    pub(super) fn diagnostic(&self, files: &[SourceFile]) -> Diagnostic {
        let (name, text) = files.get(self.place.file).map_or(("", ""), |file| (&file.name, &file.text));
        let range = self.place.range();
        let shown = Diagnostic::new(name, text, &range, code_of(self.code), self.message.clone());
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
