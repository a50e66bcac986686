//! One canonical style for definition files: what `segue fmt` writes. Comments, names, the order of everything and what
//! it means stay as they are; only blank space, line breaks and the spelling of keywords change.
//!
//! A file that is written in a way this cannot reproduce (anchors, aliases, tags, several documents) is left as it is,
//! and so is any whose rewritten text would not be read back as the same tree.

mod expression;
mod lines;
#[cfg(test)]
mod tests;

use super::diagnostic::Diagnostic;
use super::parser;
use super::read;
use super::source::SourceFile;
use super::spec::Spec;
use super::yaml::{self, Node, NodeKind};
use lines::Lines;

/// Lines are at most this wide, in characters, where they can be broken.
const WIDTH: usize = 120;

/// The text of a file of definitions in canonical style.
///
/// # Errors
/// What is wrong with the file by itself: it must be YAML, and its expressions must parse.
pub fn format(name: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let unix = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let files = [SourceFile::new(name.to_owned(), unix)];
    let mut problems = Vec::new();
    read::read_file(&files, 0, &mut Spec::default(), &mut problems);
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.place);
        return Err(problems.iter().map(|problem| problem.diagnostic(&files)).collect());
    }
    let [SourceFile { text: unix, .. }] = files;
    Ok(rewritten(&unix).unwrap_or_else(|| text.to_owned()))
}

/// The text in canonical style, if it can be written so and still be the same.
fn rewritten(text: &str) -> Option<String> {
    if yaml::is_intricate(text) {
        return None;
    }
    let documents = yaml::parse(text).ok()?;
    let [root] = documents.as_slice() else {
        // Nothing but comments and blank lines.
        return documents.is_empty().then(|| Lines::new(text, &[]).finish());
    };
    let mut lines = Lines::new(text, std::slice::from_ref(root));
    lines.document(root);
    let written = lines.finish();
    let read_back = yaml::parse(&written).ok()?;
    let [same] = read_back.as_slice() else { return None };
    is_same(root, same, Part::File).then_some(written)
}

/// What a node is to a definition file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    File,
    /// A list of traits, segments or tiers, or one of them.
    Traits,
    Segments,
    Groups,
    Expression,
    Other,
}

impl Part {
    /// What the value of a key is.
    fn under(self, key: &str) -> Self {
        match (self, key) {
            (Self::File, "traits") => Self::Traits,
            (Self::File, "segments") => Self::Segments,
            (Self::File, "groups") => Self::Groups,
            (Self::Groups, "tiers") => Self::Segments,
            (Self::Traits, "value") | (Self::Segments, "when" | "until") => Self::Expression,
            _ => Self::Other,
        }
    }

    fn under_node(self, key: &Node) -> Self {
        key.as_scalar().map_or(Self::Other, |key| self.under(&key.value))
    }
}

/// Whether two trees say the same.
fn is_same(before: &Node, after: &Node, part: Part) -> bool {
    match (&before.kind, &after.kind) {
        (NodeKind::Scalar(before), NodeKind::Scalar(after)) if part == Part::Expression => {
            let canonical = |text: &str| parser::parse(text).ok().map(|expression| expression.to_string());
            before.value == after.value || canonical(&before.value) == canonical(&after.value)
        }
        (NodeKind::Scalar(before), NodeKind::Scalar(after)) => {
            before.value == after.value && before.plain == after.plain
        }
        (NodeKind::Sequence(before), NodeKind::Sequence(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_same(before, after, part))
        }
        (NodeKind::Mapping(before), NodeKind::Mapping(after)) => {
            let same = |((key, value), (other_key, other)): (&(Node, Node), &(Node, Node))| {
                is_same(key, other_key, Part::Other) && is_same(value, other, part.under_node(key))
            };
            before.len() == after.len() && before.iter().zip(after).all(same)
        }
        _ => false,
    }
}
