//! A tree of YAML written out line by line, with the comments and the blank lines of the file it was read from.

use super::super::yaml::{Node, NodeKind, Scalar, ScalarStyle};
use super::expression::tidy;
use super::{Part, WIDTH};

/// A comment of the file.
struct Comment<'t> {
    start: usize,
    text: &'t str,
    /// Nothing else is on its line.
    alone: bool,
}

/// The lines written so far.
pub(super) struct Lines<'t> {
    text: &'t str,
    comments: Vec<Comment<'t>>,
    n_written: usize,
    out: String,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str, roots: &[Node]) -> Self {
        let mut scalars = Vec::new();
        for root in roots {
            find_scalars(root, &mut scalars);
        }
        scalars.sort_unstable();
        let comments = find_comments(text, &scalars);
        Self { text, comments, n_written: 0, out: String::with_capacity(text.len() + 64) }
    }

    /// The text, the comments behind everything else included.
    pub(super) fn finish(mut self) -> String {
        self.comments_before(self.text.len(), 0);
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    /// A whole file.
    pub(super) fn document(&mut self, root: &Node) {
        match &root.kind {
            NodeKind::Mapping(entries) if !self.is_flow(root) => {
                for (key, value) in entries {
                    self.comments_before(key.range.start, 0);
                    // Each of the lists of a file stands apart, with the comments that belong to it.
                    self.part_from(key.range.start);
                    self.entry(key, value, 0, Part::File);
                }
            }
            _ => self.item(root, 0, Part::File),
        }
    }

    /// A blank line before what starts here and before its comments, unless there is one.
    fn part_from(&mut self, start: usize) {
        let line = self.line_start(start);
        let mut first = line;
        for comment in self.comments.iter().take(self.n_written).rev() {
            let begins = self.line_start(comment.start);
            let adjoins = comment.alone && self.text.get(begins..first).is_some_and(|t| t.matches('\n').count() == 1);
            if !adjoins {
                break;
            }
            first = begins;
        }
        let n_lines = self.text.get(first..line).map_or(0, |comments| comments.matches('\n').count());
        let mut position = self.out.len();
        for _ in 0..n_lines {
            let above = self.out.get(..position).unwrap_or("").trim_end_matches('\n');
            position = above.rfind('\n').map_or(0, |line_break| line_break + 1);
        }
        let above = self.out.get(..position).unwrap_or("");
        if !above.is_empty() && !above.ends_with("\n\n") {
            self.out.insert(position, '\n');
        }
    }

    fn line_start(&self, position: usize) -> usize {
        self.text.get(..position).and_then(|before| before.rfind('\n')).map_or(0, |line_break| line_break + 1)
    }

    fn has_blank_line_above(&self, position: usize) -> bool {
        let above = self.text.get(..self.line_start(position)).unwrap_or("");
        let mut lines = above.rsplit('\n').skip(1);
        lines.next().is_some_and(|line| line.trim().is_empty())
    }

    fn blank_line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    fn comments_before(&mut self, position: usize, indent: usize) {
        while let Some(comment) = self.comments.get(self.n_written).filter(|comment| comment.start < position) {
            let (start, text, alone) = (comment.start, comment.text, comment.alone);
            self.n_written += 1;
            if alone {
                if self.has_blank_line_above(start) {
                    self.blank_line();
                }
                self.indent(indent);
            } else if self.out.ends_with('\n') {
                self.out.pop();
                self.out.push(' ');
            }
            self.out.push_str(text);
            self.out.push('\n');
        }
    }

    fn is_flow(&self, node: &Node) -> bool {
        let is_collection = !matches!(node.kind, NodeKind::Scalar(_));
        is_collection && self.text.get(node.range.start..).is_some_and(|text| text.starts_with(['{', '[']))
    }

    fn has_comment(&self, node: &Node) -> bool {
        let range = node.range.start..self.end_of(node);
        self.comments.iter().any(|comment| range.contains(&comment.start))
    }

    fn has_lines(&self, node: &Node) -> bool {
        self.text.get(node.range.start..self.end_of(node)).is_some_and(|text| text.contains('\n'))
    }

    /// One past the last byte. The parser counts blanks and comments behind a bracket to what it closes.
    fn end_of(&self, node: &Node) -> usize {
        if !self.is_flow(node) {
            return node.range.end;
        }
        let last = match &node.kind {
            NodeKind::Mapping(entries) => entries.last().map(|(key, value)| self.end_of(key).max(self.end_of(value))),
            NodeKind::Sequence(items) => items.last().map(|item| self.end_of(item)),
            NodeKind::Scalar(_) => None,
        };
        let mut end = last.unwrap_or(node.range.start + 1);
        loop {
            let rest = self.text.get(end..).unwrap_or("");
            end += match rest.chars().next() {
                Some('#') => rest.find('\n').unwrap_or(rest.len()),
                Some('}' | ']') => return end + 1,
                Some(between) => between.len_utf8(),
                None => return end,
            };
        }
    }

    /// A key and its value; the line is begun already up to its indentation where `is_begun`.
    fn entry(&mut self, key: &Node, value: &Node, indent: usize, part: Part) {
        self.indent(indent);
        self.begun_entry(key, value, indent, part);
    }

    fn begun_entry(&mut self, key: &Node, value: &Node, indent: usize, part: Part) {
        let key_text = self.text.get(key.range.clone()).unwrap_or("");
        self.out.push_str(key_text);
        self.out.push(':');
        let part = part.under_node(key);
        let is_block = !matches!(value.kind, NodeKind::Scalar(_)) && !self.fits(value, indent + key_text.len() + 2);
        if is_block {
            self.out.push('\n');
            return self.block(value, indent + 2, part);
        }
        if self.text.get(value.range.clone()).is_some_and(|text| !text.is_empty()) {
            self.out.push(' ');
        }
        self.inline(value, indent, part);
    }

    /// Whether a collection is written in one line, from this column on: one that was, or that has the room.
    fn fits(&self, node: &Node, column: usize) -> bool {
        let has_room = |flow: String| !self.has_lines(node) || column + flow.chars().count() <= WIDTH;
        let flows = self.is_flow(node) && !self.has_comment(node);
        flows && self.flow(node, Part::Other).is_some_and(has_room) || is_empty(node)
    }

    /// An item of a list, from its dash on.
    fn item(&mut self, node: &Node, indent: usize, part: Part) {
        match &node.kind {
            NodeKind::Mapping(entries) if !self.fits(node, indent + 2) => {
                for (number, (key, value)) in entries.iter().enumerate() {
                    if number > 0 {
                        self.between(key.range.start, indent);
                        self.indent(indent);
                    }
                    self.begun_entry(key, value, indent, part);
                }
            }
            NodeKind::Sequence(items) if !self.fits(node, indent + 2) => {
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.between(item.range.start, indent);
                        self.indent(indent);
                    }
                    self.out.push_str("- ");
                    self.item(item, indent + 2, part);
                }
            }
            _ => self.inline(node, indent.saturating_sub(2), part),
        }
    }

    /// Comments and at most one blank line before what starts here.
    fn between(&mut self, start: usize, indent: usize) {
        self.comments_before(start, indent);
        if self.has_blank_line_above(start) {
            self.blank_line();
        }
    }

    /// A collection on lines of its own.
    fn block(&mut self, node: &Node, indent: usize, part: Part) {
        match &node.kind {
            NodeKind::Mapping(entries) => {
                for (number, (key, value)) in entries.iter().enumerate() {
                    self.comments_before(key.range.start, indent);
                    if number > 0 && self.has_blank_line_above(key.range.start) {
                        self.blank_line();
                    }
                    self.entry(key, value, indent, part);
                }
            }
            NodeKind::Sequence(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.comments_before(item.range.start, indent);
                    if number > 0 && self.has_blank_line_above(item.range.start) {
                        self.blank_line();
                    }
                    self.indent(indent);
                    self.out.push_str("- ");
                    self.item(item, indent + 2, part);
                }
            }
            NodeKind::Scalar(_) => self.inline(node, indent, part),
        }
    }

    /// A value behind its key or dash, up to the end of its last line. `indent` is that of the key.
    fn inline(&mut self, node: &Node, indent: usize, part: Part) {
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.is_block() => self.block_scalar(node, scalar, indent, part),
            NodeKind::Scalar(scalar) => {
                let line = self.scalar(node, scalar, part);
                let breakable = self.has_lines(node) && !line.contains('\n');
                if breakable {
                    self.wrapped(&line, indent + 2);
                } else {
                    self.out.push_str(&line);
                }
                self.out.push('\n');
            }
            _ => {
                let flow = self.flow(node, part).unwrap_or_default();
                self.out.push_str(&flow);
                self.out.push('\n');
            }
        }
    }

    /// Words, broken where the line would be too wide. Text in quotes is not broken.
    fn wrapped(&mut self, line: &str, indent: usize) {
        let mut column = self.out.len() - self.out.rfind('\n').map_or(0, |line_break| line_break + 1);
        for (number, word) in words(line).into_iter().enumerate() {
            let width = word.chars().count();
            if number > 0 && column + 1 + width > WIDTH && !word.starts_with(['-', '#']) {
                self.out.push('\n');
                self.indent(indent);
                column = indent;
            } else if number > 0 {
                self.out.push(' ');
                column += 1;
            }
            self.out.push_str(word);
            column += width;
        }
    }

    fn block_scalar(&mut self, node: &Node, scalar: &Scalar, indent: usize, part: Part) {
        let before = self.text.get(..node.range.start).unwrap_or("");
        let header_end = before.trim_end().len();
        let header_line = self.text.get(self.line_start(header_end)..header_end).unwrap_or("");
        let header_line = header_line.split(" #").next().unwrap_or("").trim_end();
        let header = header_line.rsplit(char::is_whitespace).next().unwrap_or("");
        self.out.push_str(header);
        self.out.push('\n');
        self.comments_before(node.range.start, 0);
        let written = self.text.get(self.line_start(node.range.start)..node.range.end).unwrap_or("");
        let tidied = if part == Part::Expression { tidy(&scalar.value) } else { None };
        // What a fold has joined cannot be told from the value; then only the indentation changes.
        let lines: Vec<&str> = match (&tidied, scalar.style()) {
            (Some(tidied), ScalarStyle::Literal) => tidied.lines().collect(),
            _ => written.lines().collect(),
        };
        let margin = |line: &&str| line.len() - line.trim_start().len();
        let least = lines.iter().filter(|line| !line.trim().is_empty()).map(margin).min().unwrap_or(0);
        for line in lines {
            if !line.trim().is_empty() {
                self.indent(indent + 2);
                self.out.push_str(line.get(least..).unwrap_or("").trim_end());
            }
            self.out.push('\n');
        }
    }

    /// A scalar that is no block, in one line if it can be.
    fn scalar(&self, node: &Node, scalar: &Scalar, part: Part) -> String {
        let written = self.text.get(node.range.clone()).unwrap_or("");
        if part == Part::Expression
            && let Some(tidied) = tidy(&scalar.value).filter(|tidied| !tidied.contains('\n'))
        {
            return if scalar.plain { tidied } else { format!("'{}'", tidied.replace('\'', "''")) };
        }
        if !written.contains('\n') || scalar.value.contains('\n') || written.contains('\\') {
            return written.to_owned();
        }
        written.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// A collection in braces or brackets on one line; `None` when there is something in it that has several.
    fn flow(&self, node: &Node, part: Part) -> Option<String> {
        match &node.kind {
            NodeKind::Scalar(scalar) if scalar.is_block() => None,
            NodeKind::Scalar(scalar) => Some(self.scalar(node, scalar, part)).filter(|line| !line.contains('\n')),
            NodeKind::Sequence(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| self.flow(item, part)).collect();
                Some(format!("[{}]", items?.join(", ")))
            }
            NodeKind::Mapping(entries) => {
                let entry = |(key, value): &(Node, Node)| {
                    let (key_text, value) = (self.flow(key, Part::Other)?, self.flow(value, part.under_node(key))?);
                    Some(if value.is_empty() { format!("{key_text}:") } else { format!("{key_text}: {value}") })
                };
                let entries: Option<Vec<_>> = entries.iter().map(entry).collect();
                Some(format!("{{{}}}", entries?.join(", ")))
            }
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Sequence(items) => items.is_empty(),
        NodeKind::Mapping(entries) => entries.is_empty(),
        NodeKind::Scalar(_) => false,
    }
}

/// The words of a line; what is in quotes is part of one word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (position, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                words.push(line.get(start..position).unwrap_or(""));
                start = position + 1;
            }
            _ => {}
        }
    }
    words.push(line.get(start..).unwrap_or(""));
    words
}

fn find_scalars(node: &Node, scalars: &mut Vec<(usize, usize)>) {
    match &node.kind {
        NodeKind::Scalar(_) => scalars.push((node.range.start, node.range.end)),
        NodeKind::Sequence(items) => items.iter().for_each(|item| find_scalars(item, scalars)),
        NodeKind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            find_scalars(key, scalars);
            find_scalars(value, scalars);
        }),
    }
}

/// Every `#` that is in no scalar and begins a word, up to the end of its line.
fn find_comments<'t>(text: &'t str, scalars: &[(usize, usize)]) -> Vec<Comment<'t>> {
    let mut comments = Vec::new();
    let mut scalars = scalars.iter().peekable();
    let mut position = 0;
    while let Some(found) = text.get(position..).and_then(|rest| rest.find('#')) {
        let start = position + found;
        while scalars.next_if(|(_, end)| *end <= start).is_some() {}
        if let Some((_, end)) = scalars.peek().filter(|(begin, _)| *begin <= start) {
            position = *end;
            continue;
        }
        let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |line_break| line_break + 1);
        let before = text.get(line_start..start).unwrap_or("");
        let end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| start + length);
        if before.is_empty() || before.ends_with(char::is_whitespace) {
            let text = text.get(start..end).unwrap_or("").trim_end();
            comments.push(Comment { start, text, alone: before.trim().is_empty() });
        }
        position = end;
    }
    comments
}
