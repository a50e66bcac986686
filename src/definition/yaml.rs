//! A file of YAML as a tree in which everything knows its place, so that a problem can be shown where it was written.
//! Built from the parser's events without recursion and within limits: a hostile file is refused, not suffered.

use std::ops::Range;

use hashbrown::HashMap;
pub(super) use saphyr_parser::ScalarStyle;
use saphyr_parser::{Event, Marker, Parser, ScanError, Span};

/// Deeper nesting than this is refused.
const DEPTH_LIMIT: usize = 32;
/// More nodes than this in one file, aliases written out, are refused.
const NODE_LIMIT: usize = 1_000_000;

/// A node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order written; a key may be repeated or anything else YAML allows.
    Mapping(Vec<(Node, Node)>),
}

/// A single value, before anything is read into it.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// Its text, escapes and folds resolved.
    pub value: String,
    /// Written without quotes, so `null`, `true` and `12` mean what they say.
    pub plain: bool,
    /// How it is written.
    style: ScalarStyle,
}

/// Why a file is not YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlProblem {
    /// Bytes of the file.
    pub range: Range<usize>,
    /// What is wrong, in one sentence without a capital or a full stop.
    pub message: String,
}

impl Node {
    /// The scalar, if it is one.
    #[must_use]
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            NodeKind::Scalar(scalar) => Some(scalar),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => None,
        }
    }

    /// Whether it is nothing: `key:` with no value, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_scalar()
            .is_some_and(|scalar| scalar.plain && matches!(scalar.value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What a person would call it.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(_) if self.is_null() => "nothing",
            NodeKind::Scalar(_) => "a single value",
            NodeKind::Sequence(_) => "a list",
            NodeKind::Mapping(_) => "a set of keys",
        }
    }
}

/// Reads every document of a file.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlProblem> {
    let bytes = CharacterBytes::new(text);
    let mut builder =
        Builder { text, bytes, open: Vec::new(), anchors: HashMap::new(), nodes: 0, documents: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| builder.scan_problem(&error))?;
        builder.accept(event, span)?;
    }
    Ok(builder.documents)
}

/// Whether a file uses what a tree does not keep: anchors, aliases, tags, directives or marks between documents.
pub(super) fn is_intricate(text: &str) -> bool {
    let marked = |line: &str| line.starts_with("---") || line.starts_with("...") || line.starts_with('%');
    let named = |event: &Event<'_>| match event {
        Event::Alias(_) => true,
        Event::Scalar(_, _, anchor, tag) => *anchor != 0 || tag.is_some(),
        Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => *anchor != 0 || tag.is_some(),
        _ => false,
    };
    let mut parser = Parser::new_from_str(text);
    let events = std::iter::from_fn(|| parser.next_event());
    text.lines().any(marked) || events.map_while(Result::ok).any(|(event, _)| named(&event))
}

/// Where each character starts, for a parser that counts characters.
struct CharacterBytes {
    /// `None` while they are the same, in a file of ASCII.
    starts: Option<Vec<usize>>,
    end: usize,
}

impl CharacterBytes {
    fn new(text: &str) -> Self {
        let starts = (!text.is_ascii()).then(|| text.char_indices().map(|(start, _)| start).collect());
        Self { starts, end: text.len() }
    }

    fn byte(&self, marker: &Marker) -> usize {
        match &self.starts {
            None => marker.index().min(self.end),
            Some(starts) => starts.get(marker.index()).copied().unwrap_or(self.end),
        }
    }
}

/// A list or mapping that has not ended yet.
struct Open {
    start: usize,
    anchor: usize,
    children: Vec<Node>,
    mapping: bool,
}

struct Builder<'a> {
    text: &'a str,
    bytes: CharacterBytes,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: Vec<Node>,
}

impl Builder<'_> {
    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlProblem> {
        let range = self.bytes.byte(&span.start)..self.bytes.byte(&span.end);
        match event {
            Event::Scalar(value, style, anchor, _tag) => {
                let plain = style == ScalarStyle::Plain;
                let range = self.trimmed(range);
                let kind = NodeKind::Scalar(Scalar { value: value.into_owned(), plain, style });
                self.finish(Node { kind, range }, anchor, 1)
            }
            Event::SequenceStart(anchor, _tag) => self.start(range, anchor, false),
            Event::MappingStart(anchor, _tag) => self.start(range, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(range),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(YamlProblem {
                        range,
                        message: "an alias cannot be used inside what it names".to_owned(),
                    });
                };
                // Counted before it is copied: a few lines of aliases of aliases stand for billions of values.
                let size = *size;
                if self.nodes.saturating_add(size) > NODE_LIMIT {
                    return Err(too_many(range));
                }
                let node = node.clone();
                self.finish(node, 0, size)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn start(&mut self, range: Range<usize>, anchor: usize, mapping: bool) -> Result<(), YamlProblem> {
        if self.open.len() >= DEPTH_LIMIT {
            let message = format!("this is nested deeper than {DEPTH_LIMIT} levels");
            return Err(YamlProblem { range, message });
        }
        self.open.push(Open { start: range.start, anchor, children: Vec::new(), mapping });
        Ok(())
    }

    fn end(&mut self, range: Range<usize>) -> Result<(), YamlProblem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let last = open.children.last().map_or(range.end, |child| child.range.end.max(range.end));
        let range = self.trimmed(open.start..last.max(open.start));
        let kind = if open.mapping {
            let mut children = open.children.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                entries.push((key, value));
            }
            NodeKind::Mapping(entries)
        } else {
            NodeKind::Sequence(open.children)
        };
        self.finish(Node { kind, range }, open.anchor, 1)
    }

    /// Puts a finished node where it belongs; `size` is what it adds to the count of nodes.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), YamlProblem> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > NODE_LIMIT {
            return Err(too_many(node.range));
        }
        if anchor != 0 {
            let size = count(&node);
            self.nodes = self.nodes.saturating_add(size);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.documents.push(node),
        }
        Ok(())
    }

    /// Without the blank space that the parser counts to the end of a value.
    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let written = self.text.get(range.clone()).unwrap_or("");
        range.start..range.start + written.trim_end().len()
    }

    fn scan_problem(&self, error: &ScanError) -> YamlProblem {
        let start = self.bytes.byte(error.marker()).min(self.text.len());
        YamlProblem { range: start..start, message: format!("this is not YAML: {}", error.info()) }
    }
}

fn too_many(range: Range<usize>) -> YamlProblem {
    YamlProblem {
        range,
        message: format!("this file holds more than {NODE_LIMIT} values, with its aliases written out"),
    }
}

/// Nodes in a tree no deeper than [`DEPTH_LIMIT`].
fn count(node: &Node) -> usize {
    match &node.kind {
        NodeKind::Scalar(_) => 1,
        NodeKind::Sequence(items) => 1 + items.iter().map(count).sum::<usize>(),
        NodeKind::Mapping(entries) => 1 + entries.iter().map(|(key, value)| count(key) + count(value)).sum::<usize>(),
    }
}

impl Scalar {
    /// How it is written.
    pub(super) fn style(&self) -> ScalarStyle {
        self.style
    }

    /// Whether it is written on lines of its own after `|` or `>`.
    pub(super) fn is_block(&self) -> bool {
        matches!(self.style, ScalarStyle::Literal | ScalarStyle::Folded)
    }

    /// For each byte of the value, the byte of what is written that it comes from; one more for the end. `range` is the
    /// scalar's own in `text`, the file.
    #[must_use]
    pub(super) fn alignment(&self, text: &str, range: &Range<usize>) -> Vec<usize> {
        alignment(&self.value, text.get(range.clone()).unwrap_or(""), self.style)
    }

    /// Bytes of the file that hold the bytes `within` of the value. `range` is the scalar's own in `text`, the file.
    #[must_use]
    pub fn locate(&self, text: &str, range: &Range<usize>, within: &Range<usize>) -> Range<usize> {
        locate(text, range, &self.alignment(text, range), within)
    }
}

/// Bytes of the file that hold the bytes `within` of a scalar's value, by its alignment.
pub(super) fn locate(text: &str, range: &Range<usize>, alignment: &[usize], within: &Range<usize>) -> Range<usize> {
    let at = |position: usize| alignment.get(position).map_or(range.end, |offset| range.start + offset);
    let start = at(within.start);
    // The end is after the last byte inside, not before the next: a line break may lie between the two.
    let end = match within.end.checked_sub(1).filter(|last| *last >= within.start) {
        Some(last) => {
            let last = at(last);
            last + text.get(last..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
        }
        None => start,
    };
    start..end.max(start)
}

/// For each byte of `value`, the byte of `written` it comes from; one more for the end.
fn alignment(value: &str, written: &str, style: ScalarStyle) -> Vec<usize> {
    let mut cursor = Cursor { written, position: 0, style };
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => cursor.position = 1,
        // The parser gives a block its place without the line of its `|` or `>`.
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => {}
    }
    let mut map = Vec::with_capacity(value.len() + 1);
    for character in value.chars() {
        let start = cursor.find(character);
        map.extend(std::iter::repeat_n(start, character.len_utf8()));
    }
    map.push(cursor.position.min(written.len()));
    map
}

struct Cursor<'a> {
    written: &'a str,
    position: usize,
    style: ScalarStyle,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        self.written.get(self.position..).unwrap_or("")
    }

    fn skip(&mut self, while_true: fn(char) -> bool) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches(while_true).len();
    }

    /// Where the value's next character is written; moves past it.
    fn find(&mut self, character: char) -> usize {
        if !character.is_whitespace() {
            self.skip(char::is_whitespace);
        }
        if self.style == ScalarStyle::DoubleQuoted {
            while self.rest().starts_with("\\\n") || self.rest().starts_with("\\\r") {
                self.position += 1;
                self.skip(char::is_whitespace);
            }
        }
        let start = self.position;
        let rest = self.rest();
        let length = match (self.style, rest.chars().next()) {
            (_, None) => 0,
            (ScalarStyle::DoubleQuoted, Some('\\')) => escape_length(rest),
            (ScalarStyle::SingleQuoted, Some('\'')) => 2,
            // A folded line break gives a blank; a blank that is not written here was eaten by the fold.
            (_, Some(written)) if character.is_whitespace() && !written.is_whitespace() => 0,
            (_, Some(written)) => written.len_utf8(),
        };
        self.position = (self.position + length).min(self.written.len());
        start
    }
}

fn escape_length(rest: &str) -> usize {
    match rest.chars().nth(1) {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(other) => 1 + other.len_utf8(),
        None => 1,
    }
}

#[cfg(test)]
mod tests;
